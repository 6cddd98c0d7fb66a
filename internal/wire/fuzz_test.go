package wire

import (
	"net/netip"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// FuzzPacket holds that no input makes a decoder panic or point outside of it.
func FuzzPacket(f *testing.F) {
	for _, s := range segments() {
		f.Add(s.Append(nil))
	}
	for _, q := range quotes {
		b := unhex(f, q.hex)
		f.Add(b)
		f.Add(inICMP(b))
	}
	f.Add([]byte{0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 0x1f, 192, 0, 2, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 9})
	f.Add([]byte{0x60, 0, 0, 0, 0, 16, 0, 1, 40: 58, 0, 5, 2, 0, 0, 1, 0, 135, 55: 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var arp ARP
		if arp.Decode(b) == nil && !arp.Sender.Is4() {
			t.Error("ARP without sender")
		}
		var ip IP
		if ip.Decode(b) != nil {
			return
		}
		if len(ip.Payload) > len(b)-20 || ip.Len < -1 {
			t.Errorf("payload of %d bytes of %d, claimed %d", len(ip.Payload), len(b), ip.Len)
		}
		var tcp TCP
		if ip.Proto == ProtoTCP && tcp.Decode(ip.Payload) == nil {
			if len(tcp.Header)+len(tcp.Payload) != len(ip.Payload) || len(tcp.Options) > 40 {
				t.Errorf("%d+%d bytes of %d", len(tcp.Header), len(tcp.Payload), len(ip.Payload))
			}
			if s := tcp.AppendOptions(nil); len(s) > 40*len("unknown 255,") {
				t.Errorf("options %q", s)
			}
			VerifyQuote(netip.AddrPortFrom(ip.Src, tcp.SrcPort), netip.AddrPortFrom(ip.Dst, tcp.DstPort), b)
		}
		var m ICMP
		if m.Decode(&ip) != nil {
			return
		}
		m.ChecksumFits(&ip)
		var nd ND
		var q Quoted
		_ = nd.Decode(&m)
		_ = q.Decode(m.Body)
	})
}

// FuzzQuote holds that an untouched SYN is never called rewritten, whatever
// its addresses, ports and options, and wherever its quote is cut.
func FuzzQuote(f *testing.F) {
	f.Add([]byte{192, 0, 2, 1}, []byte{198, 51, 100, 7}, uint16(40000), uint16(443), uint32(1), AppendSYNOptions(nil, 1460, 1), 60, false)
	f.Add(make([]byte, 16), make([]byte, 16), uint16(0), uint16(0), uint32(0), []byte{2, 4, 0, 0, 1, 1, 4, 2}, 48, true)
	f.Fuzz(func(t *testing.T, src, dst []byte, sport, dport uint16, seq uint32, options []byte, cut int, partial bool) {
		a, ok1 := netip.AddrFromSlice(src)
		b, ok2 := netip.AddrFromSlice(dst)
		if !ok1 || !ok2 || a.Unmap().Is4() != b.Unmap().Is4() {
			return
		}
		s := Segment{Src: netip.AddrPortFrom(a, sport), Dst: netip.AddrPortFrom(b, dport), TTL: 1, Seq: seq, Flags: SYN, Options: options}
		p := s.Append(nil)
		var ip IP
		var tcp TCP
		if err := ip.Decode(p); err != nil {
			t.Fatal(err)
		}
		if err := tcp.Decode(ip.Payload); err != nil {
			t.Fatal(err)
		}
		if partial {
			sum := fold(pseudo(ip.Src, ip.Dst, ProtoTCP, len(tcp.Header)))
			tcp.Header[16], tcp.Header[17] = byte(sum>>8), byte(sum)
		}
		whole := VerifyQuote(s.Src, s.Dst, p)
		if whole != evidence.QuoteIntact && whole != evidence.QuoteUnknown {
			t.Errorf("whole: %q", whole)
		}
		if cut < 0 || cut > len(p) {
			return
		}
		if got := VerifyQuote(s.Src, s.Dst, p[:cut]); got == evidence.QuoteRewritten {
			t.Errorf("cut to %d: %q", cut, got)
		}
	})
}

// inICMP wraps a packet in a destination unreachable of its family.
func inICMP(b []byte) []byte {
	if b[0]>>4 == 4 {
		out := append([]byte{}, b[:20]...)
		out[9] = ProtoICMP
		return append(append(out, 3, 1, 0, 0, 0, 0, 0, 0), b...)
	}
	out := append([]byte{}, b[:40]...)
	out[6] = ProtoICMPv6
	return append(append(out, 1, 3, 0, 0, 0, 0, 0, 0), b...)
}
