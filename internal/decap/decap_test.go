package decap_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/tcpwhy/tcpwhy/internal/decap"
)

type layer = gopacket.SerializableLayer

func build(t testing.TB, l ...layer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true}, l...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var (
	mac  = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	tcp  = &layers.TCP{SrcPort: 40000, DstPort: 443, Seq: 7, SYN: true, Window: 9, Options: []layers.TCPOption{{OptionType: 2, OptionLength: 4, OptionData: []byte{5, 180}}}}
	data = gopacket.Payload("data")
)

func ip4(proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 61, Id: 77, Protocol: proto, SrcIP: net.IP{192, 0, 2, 1}, DstIP: net.IP{198, 51, 100, 7}}
}

func ip6(next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 61, NextHeader: next, SrcIP: net.ParseIP("2001:db8::1"), DstIP: net.ParseIP("2001:db8::7")}
}

func eth(t layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: t}
}

func raw(b ...byte) layer { return gopacket.Payload(b) }

func cat(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return
}

type sample struct {
	name      string
	link      uint16
	data      []byte
	v6, inner bool
	dir       decap.Direction
}

// samples are one TCP segment in every wrapping.
func samples(t testing.TB) []sample {
	const v4, v6, tcp6 = layers.EthernetTypeIPv4, layers.EthernetTypeIPv6, layers.IPProtocolTCP
	four, six := build(t, ip4(tcp6), tcp, data), build(t, ip6(tcp6), tcp, data)
	snap := []byte{0xaa, 0xaa, 3, 0, 0, 0, 8, 0}
	udp := func(port layers.UDPPort) layer { return &layers.UDP{SrcPort: 5555, DstPort: port} }
	inner := build(t, eth(v4), ip4(tcp6), tcp, data)
	options := ip4(tcp6)
	options.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
	mpls := func(bottom bool) layer { return &layers.MPLS{Label: 100, TTL: 9, StackBottom: bottom} }
	nflog := cat([]byte{2, 0, 0, 1}, []byte{8, 0, 1, 0, 8, 0, 3, 0}, []byte{5, 0, 10, 0, 'x', 0, 0, 0}, []byte{byte(len(four) + 4), 0, 9, 0}, four)
	sll := func(kind byte, proto uint16) []byte {
		return cat([]byte{0, kind, 0, 1, 0, 6}, mac, []byte{0, 0, byte(proto >> 8), byte(proto)})
	}
	return []sample{
		{"ethernet", 1, build(t, eth(v4), ip4(tcp6), tcp, data), false, false, 0},
		{"ethernet, padded", 1, cat(build(t, eth(v4), ip4(tcp6), tcp, data), make([]byte, 9)), false, false, 0},
		{"ethernet, IPv6", 1, build(t, eth(v6), ip6(tcp6), tcp, data), true, false, 0},
		{"IPv4 options", 1, build(t, eth(v4), options, tcp, data), false, false, 0},
		{"VLAN", 1, build(t, eth(layers.EthernetTypeDot1Q), &layers.Dot1Q{VLANIdentifier: 5, Type: v4}, ip4(tcp6), tcp, data), false, false, 0},
		{"QinQ", 1, build(t, eth(layers.EthernetTypeQinQ), &layers.Dot1Q{VLANIdentifier: 5, Type: layers.EthernetTypeDot1Q}, &layers.Dot1Q{VLANIdentifier: 6, Type: v6}, ip6(tcp6), tcp, data), true, false, 0},
		{"MPLS", 1, build(t, eth(layers.EthernetTypeMPLSUnicast), mpls(false), mpls(true), ip4(tcp6), tcp, data), false, false, 0},
		{"PPPoE", 1, build(t, eth(layers.EthernetTypePPPoESession), raw(0x11, 0, 0, 1, 0, 99, 0, 0x57), ip6(tcp6), tcp, data), true, false, 0},
		{"802.3 with SNAP", 1, cat(mac, mac, []byte{0, 99}, snap, four), false, false, 0},
		{"SLL out", 113, cat(sll(4, 0x0800), four), false, false, decap.Outgoing},
		{"SLL in", 113, cat(sll(0, 0x86dd), six), true, false, decap.Incoming},
		{"SLL, VLAN", 113, cat(sll(3, 0x8100), []byte{0, 5, 8, 0}, four), false, false, decap.Unknown},
		{"SLL2", 276, cat([]byte{8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 4, 6}, mac, []byte{0, 0}, four), false, false, decap.Outgoing},
		{"raw", 101, four, false, false, 0}, {"raw, BSD", 12, six, true, false, 0}, {"IPv4", 228, four, false, false, 0}, {"IPv6", 229, six, true, false, 0},
		{"null", 0, cat([]byte{2, 0, 0, 0}, four), false, false, 0},
		{"null, big-endian, IPv6 of macOS", 0, cat([]byte{0, 0, 0, 30}, six), true, false, 0},
		{"loop", 108, cat([]byte{0, 0, 0, 2}, four), false, false, 0},
		{"PPP", 9, cat([]byte{0xff, 3, 0, 0x21}, four), false, false, 0},
		{"PPP, compressed", 9, cat([]byte{0x57}, six), true, false, 0},
		{"PPP serial", 50, cat([]byte{0xff, 3, 0, 0x21}, four), false, false, 0},
		{"HDLC", 104, cat([]byte{0x0f, 0, 8, 0}, four), false, false, 0},
		{"PPP ether", 51, cat([]byte{0x11, 0, 0, 1, 0, 99, 0, 0x21}, four), false, false, 0},
		{"802.11", 105, cat([]byte{8, 1}, make([]byte, 22), snap, four), false, false, 0},
		{"802.11 QoS, four addresses", 105, cat([]byte{0x88, 3}, make([]byte, 30), snap, four), false, false, 0},
		{"radiotap", 127, cat([]byte{0, 0, 8, 0, 0, 0, 0, 0, 8, 1}, make([]byte, 22), snap, four), false, false, 0},
		{"radiotap, padded", 127, cat([]byte{0, 0, 9, 0, 2, 0, 0, 0, 0x20, 0x88, 1}, make([]byte, 24), []byte{0, 0}, snap, four), false, false, 0},
		{"nflog", 239, nflog, false, false, 0},
		{"hop-by-hop and destination options", 1, build(t, eth(v6), ip6(0), raw(60, 0, 1, 4, 0, 0, 0, 0), raw(6, 0, 1, 4, 0, 0, 0, 0), tcp, data), true, false, 0},
		{"first fragment, IPv6", 1, build(t, eth(v6), ip6(44), raw(6, 0, 0, 1, 0, 0, 0, 9), tcp, data), true, false, 0},
		{"AH", 1, build(t, eth(v4), ip4(51), raw(6, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), tcp, data), false, false, 0},
		{"GRE", 1, build(t, eth(v4), ip4(47), raw(0, 0, 8, 0), ip4(tcp6), tcp, data), false, true, 0},
		{"GRE, key and sequence, Ethernet", 1, build(t, eth(v4), ip4(47), raw(0x30, 0, 0x65, 0x58, 0, 0, 0, 1, 0, 0, 0, 2), eth(v6), ip6(tcp6), tcp, data), true, true, 0},
		{"IP in IP", 1, build(t, eth(v4), ip4(4), ip4(tcp6), tcp, data), false, true, 0},
		{"6in4", 1, build(t, eth(v4), ip4(41), ip6(tcp6), tcp, data), true, true, 0},
		{"4in6", 1, build(t, eth(v6), ip6(4), ip4(tcp6), tcp, data), false, true, 0},
		{"VXLAN", 1, build(t, eth(v4), ip4(17), udp(4789), raw(8, 0, 0, 0, 0, 0, 5, 0), gopacket.Payload(inner)), false, true, 0},
		{"Geneve", 1, build(t, eth(v6), ip6(17), udp(6081), raw(1, 0, 0x65, 0x58, 0, 0, 5, 0, 1, 2, 3, 0), gopacket.Payload(inner)), false, true, 0},
		{"Geneve, IP", 1, build(t, eth(v4), ip4(17), udp(6081), raw(0, 0, 0x86, 0xdd, 0, 0, 5, 0), gopacket.Payload(six)), true, true, 0},
	}
}

func TestFindsTCP(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(s.name, func(t *testing.T) {
			var p decap.Packet
			if k := p.Decode(s.link, s.data, len(s.data)); k != decap.TCP {
				t.Fatalf("kind %d", k)
			}
			want := "192.0.2.1 198.51.100.7"
			if s.v6 {
				want = "2001:db8::1 2001:db8::7"
			}
			src, dst := p.Addrs(s.data)
			sp, dp := p.Ports(s.data)
			if got := fmt.Sprint(src, " ", dst); got != want {
				t.Errorf("addresses %s, want %s", got, want)
			}
			if sp != 40000 || dp != 443 || p.V6 != s.v6 || p.Tunnelled != s.inner || p.Dir != s.dir || p.TTL != 61 || p.Cut() {
				t.Errorf("%d > %d, %+v", sp, dp, p)
			}
			if got := string(s.data[p.Payload:p.End]); got != "data" || p.Len != 4 {
				t.Errorf("payload %q of %d", got, p.Len)
			}
			if !s.v6 && p.IPID != 77 {
				t.Errorf("ID %d", p.IPID)
			}
			// Cut anywhere it is TCP with data missing, or cut; never damaged.
			for n := range s.data {
				switch k := p.Decode(s.link, s.data[:n], len(s.data)); {
				case k == decap.TCP && p.Payload+4 <= n:
				case k == decap.TCP && p.Cut():
				case k != decap.Snapped:
					t.Fatalf("cut to %d of %d: kind %d, %+v", n, len(s.data), k, p)
				}
			}
		})
	}
}

func TestKinds(t *testing.T) {
	frag := ip4(6)
	frag.FragOffset = 10
	first := ip4(6)
	first.Flags = layers.IPv4MoreFragments
	four := build(t, ip4(6), tcp, data)
	change := func(at int, v byte) []byte {
		b := append([]byte(nil), four...)
		b[at] = v
		return b
	}
	udp := &layers.UDP{SrcPort: 53, DstPort: 4444}
	for _, c := range []struct {
		name string
		link uint16
		data []byte
		want decap.Kind
	}{
		{"ARP", 1, build(t, eth(layers.EthernetTypeARP), raw(make([]byte, 28)...)), decap.Other},
		{"DNS", 1, build(t, eth(layers.EthernetTypeIPv4), ip4(17), udp, data), decap.DNS},
		{"unreachable", 101, build(t, ip4(1), raw(3, 1, 0, 0, 0, 0, 0, 0, 0x45)), decap.ICMPError},
		{"echo", 101, build(t, ip4(1), raw(8, 0, 0, 0, 0, 0, 0, 0)), decap.Other},
		{"unreachable, IPv6", 101, build(t, ip6(58), raw(1, 4, 0, 0, 0, 0, 0, 0, 0x60)), decap.ICMPError},
		{"neighbour discovery", 101, build(t, ip6(58), raw(135, 0, 0, 0, 0, 0, 0, 0)), decap.Other},
		{"ICMP of the other family", 101, build(t, ip6(1), raw(3, 1, 0, 0, 0, 0, 0, 0)), decap.Malformed},
		{"later fragment", 101, build(t, frag, raw(1, 2, 3, 4, 5, 6, 7, 8)), decap.Fragment},
		{"later fragment, IPv6", 101, build(t, ip6(44), raw(6, 0, 0, 8, 0, 0, 0, 9), data), decap.Fragment},
		{"first fragment", 101, build(t, first, tcp, data), decap.TCP},
		{"tunnel in a tunnel", 101, build(t, ip4(4), ip4(4), ip4(6), tcp), decap.Other},
		{"unknown link", 999, four, decap.UnknownLink},
		{"version", 101, change(0, 0x75), decap.Malformed},
		{"header length", 101, change(0, 0x44), decap.Malformed},
		{"total length", 101, change(3, 5), decap.Malformed},
		{"data offset", 101, change(32, 0x10), decap.Malformed},
		{"data offset beyond the packet", 101, change(32, 0xf0), decap.Malformed},
		{"empty", 1, nil, decap.Malformed},
		{"wifi beacon", 105, []byte{0x80, 0, 0, 0}, decap.Other},
		{"wifi encrypted", 105, append([]byte{8, 0x41}, make([]byte, 40)...), decap.Other},
		{"nflog with a bad attribute", 239, []byte{2, 0, 0, 0, 1, 0, 0, 0}, decap.Malformed},
		{"radiotap of no length", 127, make([]byte, 10), decap.Malformed},
	} {
		var p decap.Packet
		if got := p.Decode(c.link, c.data, len(c.data)); got != c.want {
			t.Errorf("%s: kind %d, want %d", c.name, got, c.want)
		}
		if c.name == "first fragment" && !p.MoreFragments {
			t.Error("the first fragment is not marked")
		}
	}
}

// A segment that the interface is to cut up has no length in its IP header.
func TestNoLength(t *testing.T) {
	b := build(t, eth(layers.EthernetTypeIPv4), ip4(6), tcp, data)
	binary.BigEndian.PutUint16(b[16:], 0)
	var p decap.Packet
	if k := p.Decode(1, b, len(b)+70000); k != decap.TCP || p.Len != 70004 || !p.Cut() {
		t.Errorf("kind %d, %+v", k, p)
	}
}

// The short way for plain TCP leaves alone what is not plain.
func TestFragmentsOfPlainTCP(t *testing.T) {
	for frag, want := range map[uint16]decap.Packet{
		0x4000: {IP: 14, L4: 34, Payload: 58, End: 62, Len: 4, IPID: 77, TTL: 61},
		0x2000: {IP: 14, L4: 34, Payload: 58, End: 62, Len: 4, IPID: 77, TTL: 61, MoreFragments: true},
		0x0001: {},
	} {
		b := build(t, eth(layers.EthernetTypeIPv4), ip4(6), tcp, data)
		binary.BigEndian.PutUint16(b[20:], frag)
		kind := decap.TCP
		if want.L4 == 0 {
			kind = decap.Fragment
		}
		got := decap.Packet{IPID: 9}
		if k := got.Decode(decap.LinkEthernet, b, len(b)); k != kind || got != want {
			t.Errorf("%#x: kind %d, %+v, want %+v", frag, k, got, want)
		}
	}
}

// FuzzDecode holds Decode to its promises for any bytes: no panic, offsets that
// lie within them, and the same found in an Ethernet frame as in the IP packet
// that it carries.
func FuzzDecode(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s.link, s.data, len(s.data))
	}
	f.Fuzz(func(t *testing.T, link uint16, b []byte, orig int) {
		var p decap.Packet
		switch k := p.Decode(link, b, orig); k {
		case decap.TCP, decap.ICMPError, decap.DNS:
			if p.IP < 0 || p.L4 < p.IP+20 || p.End > len(b) || p.Payload < p.L4+8 || p.Len < 0 {
				t.Fatalf("kind %d: %+v of %d bytes", k, p, len(b))
			}
			p.Addrs(b)
			p.Ports(b)
			if k == decap.TCP {
				_ = b[p.L4+15]
			}
			if k != decap.TCP && p.Payload > p.End {
				t.Fatalf("%+v", p)
			}
		}
		if len(b) < 54 {
			return
		}
		frame := slices.Clone(b)
		copy(frame[12:], map[byte]string{4: "\x08\x00", 6: "\x86\xdd"}[frame[14]>>4])
		var whole, inner decap.Packet
		k, ki := whole.Decode(decap.LinkEthernet, frame, orig), inner.Decode(decap.LinkRaw, frame[14:], orig-14)
		if v := frame[14] >> 4; v != 4 && v != 6 {
			return
		}
		switch k {
		case decap.TCP, decap.ICMPError, decap.DNS:
			inner.IP += 14
			inner.L4 += 14
			inner.Payload += 14
			inner.End += 14
		default:
			inner = whole
		}
		if k != ki || whole != inner {
			t.Fatalf("in a frame: kind %d, %+v; alone: kind %d, %+v", k, whole, ki, inner)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, s := range samples(b) {
		switch s.name {
		case "ethernet", "ethernet, IPv6", "SLL2", "QinQ", "VXLAN":
			b.Run(s.name, func(b *testing.B) {
				b.ReportAllocs()
				var p decap.Packet
				for b.Loop() {
					if p.Decode(s.link, s.data, len(s.data)) != decap.TCP {
						b.Fatal("not TCP")
					}
				}
			})
		}
	}
}

func TestAllocatesNothing(t *testing.T) {
	var p decap.Packet
	for _, s := range samples(t) {
		if n := testing.AllocsPerRun(10, func() { p.Decode(s.link, s.data, len(s.data)) }); n != 0 {
			t.Errorf("%s: %v allocations", s.name, n)
		}
	}
}
