package packets

import (
	"net/netip"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/afpacket"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

var us, target = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.7")

func syn() []byte {
	s := wire.Segment{
		Src: netip.AddrPortFrom(us, 40000), Dst: netip.AddrPortFrom(target, 443), TTL: 9, ID: 3, Seq: 5, Flags: wire.SYN, Window: 8,
		Options: wire.AppendSYNOptions(nil, 1460, 1),
	}
	return s.Append(nil)
}

// icmp makes an ICMP message from the target to us.
func icmp(kind byte, body []byte) []byte {
	b := wire.AppendEcho(syn()[:20], false, 0, 0, body)
	b[3], b[9] = byte(len(b)), wire.ProtoICMP
	copy(b[12:], target.AsSlice())
	copy(b[16:], us.AsSlice())
	b[20] = kind
	// The type has changed from that of an echo request, and the checksum by
	// as much.
	sum := int(b[22])<<8 + int(b[23]) + (wire.TypeEchoRequest-int(kind))<<8
	if sum < 0 || sum > 0xffff {
		sum = (sum + 0xffff) % 0xffff
	}
	b[22], b[23] = byte(sum>>8), byte(sum)
	return b
}

func TestDecode(t *testing.T) {
	edit := func(b []byte, at int, v byte) []byte {
		b[at] = v
		return b
	}
	udp := edit(syn(), 9, wire.ProtoUDP)
	for _, c := range []struct {
		name string
		data []byte
		err  error
		want evidence.Quote
	}{
		{"SYN", syn(), nil, ""},
		{"SYN cut", syn()[:30], wire.ErrShort, ""},
		{"TCP header too short", edit(syn(), 32, 0x40), wire.ErrHeader, ""},
		{"later fragment", edit(syn(), 7, 1), errOther, ""},
		{"UDP", udp, errOther, ""},
		{"nothing", nil, wire.ErrShort, ""},
		{"error about our SYN", icmp(3, syn()), nil, evidence.QuoteIntact},
		{"error about 8 bytes of it", icmp(3, syn()[:28]), nil, evidence.QuoteUnknown},
		{"error about less", icmp(3, syn()[:22]), nil, evidence.QuoteUnknown},
		{"error about UDP", icmp(3, udp), nil, evidence.QuoteForeign},
		{"error about another host's SYN", icmp(3, edit(syn(), 15, 99)), nil, evidence.QuoteForeign},
		{"error about a SYN with a changed checksum", icmp(3, edit(syn(), 36, 0x55)), nil, evidence.QuoteRewritten},
		{"error with a wrong checksum", edit(icmp(3, syn()), 22, 0xff), wire.ErrChecksum, ""},
		{"echo reply", icmp(0, nil), nil, ""},
		{"redirect", icmp(5, syn()), errOther, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := decoder{target: target}
			var e evidence.Packet
			err := d.decode(&afpacket.Packet{EtherType: afpacket.EtherTypeIPv4, Data: c.data, Len: len(c.data)}, &e)
			if err != c.err || err == nil && e.Quote != c.want {
				t.Errorf("%+v, %v; want %q, %v", e, err, c.want, c.err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(uint16(afpacket.EtherTypeIPv4), syn())
	f.Add(uint16(afpacket.EtherTypeIPv4), icmp(3, syn()))
	f.Add(uint16(afpacket.EtherTypeARP), make([]byte, 28))
	f.Add(uint16(afpacket.EtherTypeIPv6), []byte{0x60, 0, 0, 0, 0, 24, 58, 255, 40: 135, 63: 0})
	d := decoder{target: target}
	f.Fuzz(func(t *testing.T, etherType uint16, b []byte) {
		var e evidence.Packet
		if err := d.decode(&afpacket.Packet{EtherType: etherType, Data: b, Len: len(b)}, &e); err != nil {
			return
		}
		if e.Kind == "" || e.PayloadLen < 0 || len(e.Options) > 500 || len(d.options) > 256 {
			t.Errorf("%+v", e)
		}
	})
}
