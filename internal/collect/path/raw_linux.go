package path

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/afpacket"
	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/rawsock"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// TraceRaw does what Trace does with packets made by hand: all from one source
// port, so that a router that spreads flows over several paths sends them all
// the same way (as Paris traceroute does). It needs CAP_NET_RAW; without it the
// error is a *rawsock.PermissionError. env.SourcePort is used if set.
//
// It sees answers before this host's firewall does, and ends as Trace does. No
// connection comes about: the kernel, which knows of none, resets what the
// port accepts.
func TraceRaw(ctx context.Context, env collect.Env, addr netip.AddrPort, opts Options) (evidence.Path, error) {
	p, err := traceRaw(ctx, env, addr, opts)
	if err != nil {
		return p, fmt.Errorf("path to %v: %w", addr, err)
	}
	return p, nil
}

func traceRaw(ctx context.Context, env collect.Env, addr netip.AddrPort, opts Options) (evidence.Path, error) {
	if opts.MaxTTL <= 0 {
		opts.MaxTTL = defaultMaxTTL
	}
	if opts.Timeout <= 0 {
		opts.Timeout = defaultTimeout
	}
	t := &rawTracer{
		opts:   opts,
		remote: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()),
		base:   rand.Uint32(),
		idBase: uint16(rand.Uint32()),
		hops:   make([]rawHop, min(opts.MaxTTL, maxTTL)),
		begin:  time.Now(),
	}
	for i := range t.hops {
		t.hops[i].Hop = evidence.Hop{TTL: i + 1, Kind: silent}
	}
	defer t.close()
	err := t.open(env)
	if err == nil {
		defer context.AfterFunc(ctx, func() { _ = t.recv.SetDeadline(time.Unix(1, 0)) })()
		err = t.run(ctx)
	}
	return t.path(env.Clock), err
}

// rawTracer is a trace by raw packets under way.
type rawTracer struct {
	opts          Options
	local, remote netip.AddrPort
	port          *rawsock.Port
	send          *rawsock.Conn
	recv          *afpacket.Conn
	begin         time.Time

	base    uint32 // see seq
	idBase  uint16
	hops    []rawHop
	answer  int           // smallest TTL at which the port answered, or 0
	top     int           // largest TTL heard
	news    time.Time     // when a hop was last heard, or the second tries sent
	longest time.Duration // largest round trip seen
	retried bool
}

type rawHop struct {
	evidence.Hop
	sent [2]time.Time // by try
}

func (t *rawTracer) open(env collect.Env) (err error) {
	if t.send, err = rawsock.Open(t.remote.Addr().Is6(), env.Interface); err != nil {
		return err
	}
	local := env.Source.Unmap()
	if !local.IsValid() {
		if local, err = rawsock.Source(t.remote, env.Interface); err != nil {
			return err
		}
	}
	if t.port, err = rawsock.Reserve(local, env.SourcePort, env.Interface); err != nil {
		return err
	}
	t.local = netip.AddrPortFrom(local.WithZone(""), t.port.Number)
	filter, err := afpacket.Filter{Target: t.remote.Addr()}.Program()
	if err != nil {
		return err
	}
	t.recv, err = afpacket.Open(filter, 0)
	return err
}

func (t *rawTracer) close() {
	if t.send != nil {
		t.send.Close()
	}
	if t.port != nil {
		t.port.Close()
	}
	if t.recv != nil {
		t.recv.Close()
	}
}

// run sends and listens until the trace is complete.
func (t *rawTracer) run(ctx context.Context) error {
	var sent int
	var failure error
	for ttl := 1; ttl <= len(t.hops) && t.answer == 0; ttl++ {
		if err := t.syn(ttl, 0); err != nil {
			failure = err
			continue
		}
		sent++
		// A near port may have answered already, which spares the rest.
		if err := t.recv.Drain(t.take); err != nil {
			return err
		}
	}
	if sent == 0 {
		return failure
	}
	for !t.complete() {
		wake := t.deadline()
		if err := t.listen(ctx, wake); err != nil {
			return err
		}
		if !time.Now().Before(wake) && !t.retry() && !time.Now().Before(t.deadline()) {
			return nil
		}
	}
	return nil
}

// listen waits for an answer until the deadline and takes all there are.
func (t *rawTracer) listen(ctx context.Context, deadline time.Time) error {
	if err := t.recv.SetDeadline(deadline); err != nil {
		return err
	}
	// In this order: when ctx ends, the deadline moves to the past.
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := t.recv.Wait(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return t.recv.Drain(t.take)
}

// Each SYN has a sequence number that tells its TTL and try: routers quote it,
// and the port acknowledges it. They lie further apart than any window of a
// handshake, so that a listener takes none for a part of another's connection.
const (
	tryShift = 24
	ttlShift = tryShift + 1
)

func (t *rawTracer) seq(ttl, try int) uint32 {
	return t.base + uint32(ttl)<<ttlShift + uint32(try)<<tryShift
}

// id is a second mark, for where a firewall on the way changes sequence
// numbers and does not change them back in what it quotes. IPv4 only.
func (t *rawTracer) id(ttl, try int) uint16 { return t.idBase + uint16(ttl<<1+try) }

// find is the inverse of seq and id: the probe that f holds for.
func (t *rawTracer) find(f func(ttl, try int) bool) (h *rawHop, try int) {
	for i := range t.hops {
		for try, at := range t.hops[i].sent {
			if !at.IsZero() && f(i+1, try) {
				return &t.hops[i], try
			}
		}
	}
	return nil, 0
}

// syn sends the SYN for a TTL. A failure becomes the hop's.
func (t *rawTracer) syn(ttl, try int) error {
	mss := uint16(1460)
	if t.remote.Addr().Is6() {
		mss = 1440
	}
	s := wire.Segment{
		Src: t.local, Dst: t.remote, TTL: uint8(ttl), ID: t.id(ttl, try), Seq: t.seq(ttl, try),
		Flags: wire.SYN, Window: 64240, Options: wire.AppendSYNOptions(nil, mss, t.base),
	}
	h := &t.hops[ttl-1]
	h.sent[try] = time.Now()
	if err := t.send.Send(s.Append(nil), t.remote.Addr()); err != nil {
		h.sent[try] = time.Time{}
		if errno := unix.Errno(0); h.Kind == silent && h.Tries == 0 && errors.As(err, &errno) {
			h.Kind, h.Errno = failed, unix.ErrnoName(errno)
		}
		return err
	}
	h.Tries++
	return nil
}

// take enters an answer at its hop, if the packet is one.
func (t *rawTracer) take(p *afpacket.Packet) {
	var ip wire.IP
	if p.Direction == afpacket.Outgoing || ip.Decode(p.Data) != nil {
		return
	}
	h, try := t.classify(&ip)
	if h == nil {
		return
	}
	h.RTT = max(p.Time.Sub(h.sent[try].Round(0)), 0)
	t.news = time.Now()
	t.longest = max(t.longest, h.RTT)
	t.top = max(t.top, h.TTL)
	if h.Kind != timeExceeded && (t.answer == 0 || h.TTL < t.answer) {
		t.answer = h.TTL
	}
}

// classify finds the hop that a packet is the first answer for, and says there
// what it is.
func (t *rawTracer) classify(ip *wire.IP) (*rawHop, int) {
	var seg wire.TCP
	remote := t.remote.Addr().WithZone("")
	if ip.Proto == wire.ProtoTCP {
		if seg.Decode(ip.Payload) != nil || ip.Src != remote || seg.SrcPort != t.remote.Port() ||
			ip.Dst != t.local.Addr() || seg.DstPort != t.local.Port() {
			return nil, 0
		}
		kind := synAck
		switch {
		case seg.Flags&wire.RST != 0:
			kind = rst
		case seg.Flags&(wire.SYN|wire.ACK) != wire.SYN|wire.ACK:
			return nil, 0
		}
		h, try := t.find(func(ttl, try int) bool { return t.seq(ttl, try)+1 == seg.Ack })
		if h == nil || h.Kind != silent {
			return nil, 0
		}
		h.Kind = kind
		return h, try
	}
	var m wire.ICMP
	var q wire.Quoted
	if m.Decode(ip) != nil || !m.IsError() || q.Decode(m.Body) != nil || q.Src() != t.local ||
		q.IP.Dst != remote || q.DstPort != t.remote.Port() {
		return nil, 0
	}
	h, try := t.find(func(ttl, try int) bool { return t.seq(ttl, try) == q.Seq })
	if h == nil && !q.IP.Is6() {
		h, try = t.find(func(ttl, try int) bool { return t.id(ttl, try) == q.IP.ID })
	}
	if h == nil || h.Kind != silent {
		return nil, 0
	}
	h.Addr = ip.Src
	if m.IsExceeded() {
		h.Kind = timeExceeded
	} else {
		h.Kind = icmp
	}
	h.Type, h.Code = int(m.Type), int(m.Code)
	return h, try
}

// complete says that nothing more can be learned: every TTL was heard, at
// least those below the one at which the port answered.
func (t *rawTracer) complete() bool {
	below := len(t.hops)
	if t.answer > 0 {
		below = t.answer - 1
	}
	for _, h := range t.hops[:below] {
		if h.Kind == silent {
			return false
		}
	}
	return true
}

// deadline is when the trace ends, or makes its second tries, if nothing comes.
func (t *rawTracer) deadline() time.Time {
	return t.opts.deadline(t.begin, t.news, t.longest, t.retried)
}

// retry sends once more to the TTLs between hops that answered, when half of
// the settling time is over. It says whether the trace goes on.
func (t *rawTracer) retry() bool {
	if t.retried || t.news.IsZero() || !time.Now().Before(t.begin.Add(t.opts.Timeout)) {
		return false
	}
	t.retried = true
	again := maxRetries
	for _, h := range t.hops[:max(t.top-1, 0)] {
		if h.Kind == silent && again > 0 && (t.answer == 0 || h.TTL < t.answer) {
			if t.syn(h.TTL, 1) == nil {
				t.news = time.Now()
			}
			again--
		}
	}
	return true
}

// path is what was found.
func (t *rawTracer) path(clock collect.Clock) evidence.Path {
	p := evidence.Path{
		Port:      t.remote.Port(),
		Method:    "raw",
		At:        clock.Since(t.begin),
		Took:      time.Since(t.begin),
		AnswerTTL: t.answer,
	}
	if t.answer > 0 {
		p.Answer = t.hops[t.answer-1].Kind
	}
	for _, h := range t.hops {
		switch {
		case t.answer > 0 && h.TTL > t.answer:
			continue // nothing that the answer did not tell
		case h.Kind != silent:
		case h.Tries == 0:
			continue // never sent
		case h.TTL > t.top:
			p.Unanswered++
		}
		p.Hops = append(p.Hops, h.Hop)
	}
	return p
}
