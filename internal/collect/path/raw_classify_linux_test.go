package path

import (
	"net/netip"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// A firewall that changes sequence numbers leaves the IP ID to tell probes
// apart by; what is not ours tells nothing.
func TestRawClassify(t *testing.T) {
	router := netip.MustParseAddr("203.0.113.1")
	tracer := func() *rawTracer {
		r := &rawTracer{
			local: netip.MustParseAddrPort("192.0.2.1:40000"), remote: netip.MustParseAddrPort("198.51.100.7:443"),
			base: 0xfff00000, idBase: 0xfffe, hops: make([]rawHop, maxTTL),
		}
		for i := range r.hops {
			r.hops[i].Hop = evidence.Hop{TTL: i + 1, Kind: silent}
			r.hops[i].sent[0] = time.Now()
		}
		r.hops[4].sent[1] = time.Now()
		return r
	}
	exceeded := func(edit func(*wire.Segment)) *wire.IP {
		r := tracer()
		s := wire.Segment{Src: r.local, Dst: r.remote, TTL: 1, ID: r.id(5, 1), Seq: r.seq(5, 1), Flags: wire.SYN}
		edit(&s)
		b := s.Append(make([]byte, 8))
		b[0] = wire.TypeTimeExceeded
		return &wire.IP{Src: router, Dst: r.local.Addr(), Proto: wire.ProtoICMP, Payload: b, Len: len(b)}
	}
	answer := func(ack uint32, flags wire.Flags) *wire.IP {
		r := tracer()
		s := wire.Segment{Src: r.remote, Dst: r.local, TTL: 9, Ack: ack, Flags: flags}
		var ip wire.IP
		if err := ip.Decode(s.Append(nil)); err != nil {
			t.Fatal(err)
		}
		return &ip
	}
	r := tracer()
	for _, c := range []struct {
		name string
		ip   *wire.IP
		ttl  int // 0 for not ours
		try  int
		kind string
	}{
		{"quoted as sent", exceeded(func(*wire.Segment) {}), 5, 1, timeExceeded},
		{"sequence number changed", exceeded(func(s *wire.Segment) { s.Seq++ }), 5, 1, timeExceeded},
		{"ID changed", exceeded(func(s *wire.Segment) { s.ID += 99 }), 5, 1, timeExceeded},
		{"both changed", exceeded(func(s *wire.Segment) { s.Seq, s.ID = s.Seq+1, s.ID+999 }), 0, 0, ""},
		{"a probe not sent", exceeded(func(s *wire.Segment) { s.Seq, s.ID = r.seq(6, 1), r.id(6, 1) }), 0, 0, ""},
		{"another port's", exceeded(func(s *wire.Segment) { s.Dst = netip.AddrPortFrom(s.Dst.Addr(), 80) }), 0, 0, ""},
		{"another source's", exceeded(func(s *wire.Segment) { s.Src = netip.AddrPortFrom(s.Src.Addr(), 80) }), 0, 0, ""},
		{"SYN-ACK", answer(r.seq(64, 0)+1, wire.SYN|wire.ACK), 64, 0, synAck},
		{"RST", answer(r.seq(1, 0)+1, wire.RST|wire.ACK), 1, 0, rst},
		{"RST that acknowledges nothing of ours", answer(7, wire.RST|wire.ACK), 0, 0, ""},
		{"challenge ACK", answer(r.seq(1, 0)+1, wire.ACK), 0, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, try := tracer().classify(c.ip)
			if h == nil && c.ttl == 0 {
				return
			}
			if h == nil || h.TTL != c.ttl || h.Kind != c.kind || try != c.try {
				t.Errorf("%+v, try %d; want TTL %d, try %d, %q", h, try, c.ttl, c.try, c.kind)
			}
		})
	}
}
