package probe

import (
	"net/netip"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

func TestArrivedBy(t *testing.T) {
	client, server := netip.MustParseAddrPort("192.0.2.1:4000"), netip.MustParseAddrPort("198.51.100.7:80")
	in := func(name string) evidence.Packet {
		return evidence.Packet{Kind: "tcp", Interface: name, Src: server, Dst: client, Flags: "SYN,ACK"}
	}
	out := evidence.Packet{Kind: "tcp", Interface: "eth1", Outgoing: true, Src: client, Dst: server, Flags: "SYN"}
	for _, tt := range []struct {
		packets []evidence.Packet
		want    string
	}{
		{nil, ""},
		{[]evidence.Packet{out}, ""},
		{[]evidence.Packet{out, in("eth0"), in("eth0")}, "eth0"},
		{[]evidence.Packet{in("eth0"), in("eth0.10")}, ""},
	} {
		v := &investigation{a: &evidence.Address{Addr: server, Packets: tt.packets}}
		if got := v.arrivedBy(client); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.packets, got, tt.want)
		}
	}
}

func TestFailed(t *testing.T) {
	attempt := func(port uint16, connected bool) evidence.Attempt {
		a := evidence.Attempt{Connected: connected}
		a.Tuple.Local = netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port)
		return a
	}
	for _, tt := range []struct {
		attempts []evidence.Attempt
		want     uint16
	}{
		{nil, 0},
		{[]evidence.Attempt{attempt(1, true), attempt(2, true)}, 1},
		{[]evidence.Attempt{attempt(1, true), attempt(2, false), attempt(3, false)}, 2},
	} {
		v := &investigation{a: &evidence.Address{Attempts: tt.attempts}}
		if got := v.failed().Port(); got != tt.want {
			t.Errorf("%v: source port %d, want %d", tt.attempts, got, tt.want)
		}
	}
}
