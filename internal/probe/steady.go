package probe

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect/connect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// samples is how many SYNs from different source ports must fare alike: over
// two parallel paths as many agree by chance once in 64 times, and two such sets
// that differ from each other once in 4096.
const samples = 6

// steady asks again at the smaller one of two distances that differ, and at a hop
// that only another port's SYNs reach: parallel paths of unequal length look like
// somebody who answers, or drops, before the host.
func (v *investigation) steady(ctx context.Context) {
	p, other := v.a.Path, v.a.OtherPath
	if p == nil || other == nil || v.weighed || ctx.Err() != nil {
		return
	}
	var ttl int
	switch {
	case p.AnswerTTL > 0 && other.AnswerTTL > 0 && p.AnswerTTL != other.AnswerTTL:
		ttl = min(p.AnswerTTL, other.AnswerTTL)
	case p.AnswerTTL == 0 && deepest(p) < deepest(other):
		ttl = deepest(other)
	default:
		return
	}
	v.weighed = true
	env := v.env
	env.SourcePort = 0
	// How far the hops are is known, also where the port is silent.
	wait := min(v.wait(), max(v.opts.Patience/2, 10*max(slowest(p), slowest(other))))
	var wg group
	var mu sync.Mutex
	for _, path := range []*evidence.Path{p, other} {
		for range samples {
			wg.Go(func() {
				t, conn := connect.Attempt(ctx, env, netip.AddrPortFrom(v.a.Addr.Addr(), path.Port), wait, connect.Options{TTL: ttl})
				if conn != nil {
					conn.SetLinger(0)
					conn.Close()
				}
				answered := t.Connected || t.Errno == "ECONNREFUSED" && len(t.ICMP) == 0
				hop, _ := hopAt(path, ttl)
				heard := answered || len(t.ICMP) > 0
				if heard && (answered != (path.AnswerTTL == ttl && path.Answer != "icmp") || path.AnswerTTL == 0 && hop.Kind != "time-exceeded") {
					mu.Lock()
					defer mu.Unlock()
					path.Uneven = true
				}
			})
		}
	}
	wg.Wait()
}

// slowest is the longest round trip of a trace.
func slowest(p *evidence.Path) (rtt time.Duration) {
	for _, h := range p.Hops {
		rtt = max(rtt, h.RTT)
	}
	return rtt
}

func hopAt(p *evidence.Path, ttl int) (h evidence.Hop, ok bool) {
	for _, h := range p.Hops {
		if h.TTL == ttl {
			return h, true
		}
	}
	return h, false
}

// steadyReturn connects some more times where packets of the target came from
// different distances, so that the capture shows whether each kind always comes
// from its own: parallel paths back would mix them.
func (v *investigation) steadyReturn(ctx context.Context) {
	if v.capture == nil || v.returned || ctx.Err() != nil {
		return
	}
	ttls := map[int]bool{}
	refused := false
	for _, p := range v.capture.Snapshot() {
		if p.Outgoing || p.Src.Addr() != v.a.Addr.Addr() || p.TTL == 0 || p.Kind == "nd" {
			continue
		}
		ttls[p.TTL] = true
		refused = refused || p.Src == v.a.Addr && p.Kind == "tcp" && p.Flags != "SYN,ACK" && p.PayloadLen == 0
	}
	if len(ttls) < 2 || !refused {
		return
	}
	v.returned = true
	env := v.env
	env.SourcePort = 0
	var wg group
	for range samples {
		wg.Go(func() {
			if _, conn := connect.Attempt(ctx, env, v.a.Addr, v.wait(), connect.Options{}); conn != nil {
				conn.SetLinger(0)
				conn.Close()
			}
		})
	}
	wg.Wait()
}
