package kernel

import (
	"net/netip"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
)

func end(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n >> 8)}), uint16(n))
}

// Of others a part is kept, and all that is not is counted.
func TestOthersAreBounded(t *testing.T) {
	var out evidence.Watched
	o := others{ends: make(map[netip.AddrPort]struct{})}
	if o.keep(&out, end(1), false) || out.OtherSYNs != 0 || out.OthersOmitted != 0 {
		t.Error("something that is no SYN makes an end known")
	}
	kept := 0
	for n := range maxOthers + 10 {
		if o.keep(&out, end(n), true) {
			kept++
		}
	}
	if kept != maxOthers || out.OtherSYNs != 10 || out.OthersOmitted != 0 {
		t.Errorf("%d kept, %d counted, %d omitted", kept, out.OtherSYNs, out.OthersOmitted)
	}
	for range maxOfOthers {
		if o.keep(&out, end(7), false) {
			kept++
		}
	}
	if kept != maxOfOthers || out.OthersOmitted != maxOthers {
		t.Errorf("%d kept, %d omitted", kept, out.OthersOmitted)
	}
	if o.keep(&out, end(maxOthers+11), true) || out.OtherSYNs != 11 {
		t.Errorf("without room it takes a new end, or counts %d", out.OtherSYNs)
	}
	// The IPv4-mapped form is the same end.
	if o.keep(&out, netip.AddrPortFrom(netip.AddrFrom16(end(7).Addr().As16()), end(7).Port()), true) || out.OthersOmitted != maxOthers+1 {
		t.Errorf("%d omitted", out.OthersOmitted)
	}
	none := others{none: true}
	if none.keep(&out, end(1), true) || out.OtherSYNs != 12 {
		t.Errorf("a watch that keeps nothing keeps others, or counts %d", out.OtherSYNs)
	}
}

func TestFarEnd(t *testing.T) {
	client, server := netip.MustParseAddrPort("192.0.2.1:40000"), netip.MustParseAddrPort("192.0.2.7:80")
	for _, c := range []struct {
		name string
		p    evidence.Packet
		port uint16
	}{
		{"to the port", evidence.Packet{Kind: "tcp", Src: client, Dst: server}, 80},
		{"from the port", evidence.Packet{Kind: "tcp", Src: server, Dst: client, Outgoing: true}, 80},
		{"to any port", evidence.Packet{Kind: "tcp", Src: client, Dst: server}, 0},
		{"from any port", evidence.Packet{Kind: "tcp", Src: server, Dst: client, Outgoing: true}, 0},
		{"an error about what the client sent", evidence.Packet{Kind: "icmp", Inner: flow.Tuple{Local: client, Remote: server}}, 80},
		{"an error about what the server sent", evidence.Packet{Kind: "icmp", Inner: flow.Tuple{Local: server, Remote: client}}, 80},
	} {
		if got := farEnd(&c.p, c.port); got != client {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
