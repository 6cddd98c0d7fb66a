package wire_test

import (
	"net/netip"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/wire"
)

func TestARPRequest(t *testing.T) {
	mac := wire.MAC{2, 0, 0, 0, 0, 1}
	sender, target := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.7")
	var got wire.ARP
	if err := got.Decode(wire.AppendARPRequest(nil, mac, sender, target)); err != nil {
		t.Fatal(err)
	}
	if want := (wire.ARP{Sender: sender, Target: target, SenderMAC: mac}); got != want {
		t.Errorf("ARP request = %+v, want %+v", got, want)
	}
}

func TestSolicitation(t *testing.T) {
	mac := wire.MAC{2, 0, 0, 0, 0, 1}
	sender, target := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::12:3456")
	var (
		ip   wire.IP
		icmp wire.ICMP
		nd   wire.ND
	)
	if err := ip.Decode(wire.AppendSolicitation(nil, mac, sender, target)); err != nil {
		t.Fatal(err)
	}
	if want := netip.MustParseAddr("ff02::1:ff12:3456"); ip.Dst != want || ip.Src != sender || ip.TTL != 255 {
		t.Errorf("from %v to %v with hop limit %d, want to %v with 255", ip.Src, ip.Dst, ip.TTL, want)
	}
	if err := icmp.Decode(&ip); err != nil {
		t.Fatal(err)
	}
	if !icmp.ChecksumFits(&ip) {
		t.Error("the checksum is wrong")
	}
	if err := nd.Decode(&icmp); err != nil {
		t.Fatal(err)
	}
	if want := (wire.ND{Target: target, MAC: mac}); nd != want {
		t.Errorf("solicitation = %+v, want %+v", nd, want)
	}
}
