package capture

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/diagnose"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// random makes conversations of the kinds that captures hold, and of kinds
// that they should not.
type random struct{ *rand.Rand }

func (r random) when() time.Duration {
	e := edges[r.IntN(len(edges))]
	return max(e+time.Duration(r.IntN(3)-1)*time.Duration(r.IntN(300))*time.Millisecond, 1)
}

func (r random) data() []byte {
	all := []string{"", "GET / HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 502 Bad", "HTTP/1.", "\x16\x03\x01\x02\x00\x01", "\x15\x03\x03\x00\x02", "\x15", "SSH-2.0-x", "\x16\x02\x00"}
	return []byte(all[r.IntN(len(all))])
}

func (r random) bool() bool { return r.IntN(2) == 0 }

func (r random) ttls() (out []int) {
	for range r.IntN(3) {
		out = append(out, []int{62, 63, 64, 250}[r.IntN(4)])
	}
	return out
}

func (r random) conversation() *evidence.Conversation {
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("198.51.100.1")}
	if r.IntN(4) == 0 {
		addrs = []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::9"), netip.IPv6Loopback(), netip.MustParseAddr("2001:db8:1::1")}
	}
	server := addrs[1+r.IntN(10)/9]
	rec := &evidence.Recording{
		Place: places[r.IntN(len(places))], Began: r.IntN(5) > 0, ACK: r.bool(), ECN: r.IntN(4) == 0, ZeroWindow: r.IntN(4) == 0, SYNACKAgain: r.IntN(4) == 0, Missed: r.IntN(9) == 0,
		ServerTTL: []int{0, 62, 63}[r.IntN(3)], Watched: r.when(), ClientData: r.data(), ServerData: r.data(),
	}
	if rec.Began {
		at := time.Duration(0)
		for range 1 + r.IntN(4) {
			rec.SYNs = append(rec.SYNs, at)
			at += r.when()
		}
		rec.SYNCount = len(rec.SYNs)
	}
	if r.bool() {
		rec.SYNACKCount, rec.SYNACK = 1+r.IntN(3), r.when()
	}
	rec.ClientBytes, rec.ServerBytes = int64(len(rec.ClientData)), int64(len(rec.ServerData))
	rec.Unacked, rec.Resent = int64(r.IntN(2)*r.IntN(100)), r.IntN(2)*r.IntN(9)
	if r.IntN(3) == 0 {
		rec.FINClient = r.when()
	}
	if r.IntN(3) == 0 {
		rec.FINServer = r.when()
	}
	for range r.IntN(3) {
		rec.Resets = append(rec.Resets, evidence.RecordedReset{At: r.when(), FromServer: r.bool(), Valid: r.IntN(4) > 0, TTL: []int{0, 62, 63, 64}[r.IntN(4)]})
	}
	for range r.IntN(6) / 2 {
		rec.ICMP = append(rec.ICMP, evidence.SocketError{
			At: r.when(), TTL: 63 + r.IntN(2), Type: []int{1, 3, 11}[r.IntN(3)], Code: []int{0, 1, 3, 4, 13}[r.IntN(5)], From: addrs[r.IntN(len(addrs))],
			Quote: []evidence.Quote{"", evidence.QuoteIntact, evidence.QuoteRewritten}[r.IntN(3)],
		})
	}
	p := evidence.Peers{OpenTTLs: r.ttls(), ClosedTTLs: r.ttls()}
	if r.bool() {
		p.Same, p.Other, p.Silent, p.Changed = r.IntN(3), r.IntN(6)/4, r.IntN(6)/4, r.IntN(2) == 0
		p.SYNs = (p.Same + p.Other) * (1 + r.IntN(4))
		p.LostSYNs = r.IntN(p.SYNs + 1)
		if r.bool() {
			p.LostSYNs = p.SYNs * r.IntN(2)
		}
	}
	return &evidence.Conversation{Tuple: flow.Tuple{Local: netip.AddrPortFrom(addrs[0], 40000), Remote: netip.AddrPortFrom(server, 80)}, Client: rec, Peers: p}
}

// jitter changes what no fact should depend on.
func (r random) jitter(c *evidence.Conversation) *evidence.Conversation {
	d, rec := *c, *c.Client
	few := func(t time.Duration) time.Duration {
		if t < 2 {
			return t
		}
		return t + time.Duration(r.IntN(7)-3)*time.Duration(r.IntN(1000000))
	}
	rec.Watched, rec.SYNACK, rec.FINClient, rec.FINServer = few(rec.Watched), few(rec.SYNACK), few(rec.FINClient), few(rec.FINServer)
	rec.Unacked *= int64(1 + r.IntN(3))
	if rec.SYNACKCount < 2 || rec.ServerBytes > 0 {
		rec.Resent *= 1 + r.IntN(3)
	}
	if r.bool() {
		d.Peers.Same *= 2
		d.Peers.SYNs *= 2
		d.Peers.LostSYNs *= 2
	}
	d.Client = &rec
	return &d
}

// signature is what a verdict depends on.
func signature(c *evidence.Conversation) string {
	facts, v := diagnose.Conversation(c)
	s := string(v.Outcome) + " " + string(v.Verdict.Certainty) + " " + string(v.Verdict.Cause)
	for _, f := range facts {
		s += fmt.Sprintf(" %s=%s", f.Key, f.Value)
	}
	return s
}

// TestShape: equal shapes, equal facts, and many conversations with few shapes.
func TestShape(t *testing.T) {
	r := random{rand.New(rand.NewPCG(1, 2))}
	seen := map[string]*evidence.Conversation{}
	equal := 0
	for range 4000 {
		c := r.conversation()
		for _, c := range []*evidence.Conversation{c, r.jitter(c)} {
			k := &kept{wire: tcpflow.Open}
			s := string(shape(nil, c, k, ""))
			first, ok := seen[s]
			if !ok {
				seen[s] = c
				continue
			}
			equal++
			if a, b := signature(first), signature(c); a != b {
				t.Fatalf("one shape, but\n%s\n%s\n%+v %+v\n%+v %+v", a, b, first.Client, first.Peers, c.Client, c.Peers)
			}
		}
	}
	if equal < 500 {
		t.Errorf("only %d conversations had the shape of another: this tests nothing", equal)
	}
	t.Logf("%d shapes, %d times the same", len(seen), equal)
}

func TestPack(t *testing.T) {
	r := random{rand.New(rand.NewPCG(3, 4))}
	for range 2000 {
		want := *r.conversation().Client
		var got evidence.Recording
		unpack(&got, pack(nil, &want))
		got.Watched = want.Watched
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Fatalf("\n%+v\n%+v", got, want)
		}
	}
}
