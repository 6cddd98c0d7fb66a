package wire

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// segments are built packets of both families.
func segments() []Segment {
	return []Segment{
		{Src: ap("192.0.2.1:40000"), Dst: ap("198.51.100.7:5432"), TTL: 3, ID: 77, Seq: 1 << 31, Flags: SYN | ECE | CWR, Window: 64240, Options: AppendSYNOptions(nil, 1460, 99)},
		{Src: ap("192.0.2.1:40000"), Dst: ap("198.51.100.7:5432"), TTL: 64, ID: 1, Ack: 5, Flags: ACK},
		{Src: ap("[2001:db8::1]:40000"), Dst: ap("[2001:db8:1::2]:443"), TTL: 255, Seq: 7, Flags: SYN, Window: 1, Options: AppendSYNOptions(nil, 1440, 0)},
		{Src: ap("[2001:db8::1]:40000"), Dst: ap("[2001:db8:1::2]:443"), TTL: 64, Seq: 7, Flags: FIN},
		{Src: ap("[2001:db8::1]:40000"), Dst: ap("[2001:db8:1::2]:443"), TTL: 64, Seq: 7, Flags: RST | ACK, Options: []byte{1, 1, 4, 2}},
	}
}

// What is built must be what gopacket builds from the same fields, checksums
// among them, and decode to what it was built from.
func TestSegment(t *testing.T) {
	for _, s := range segments() {
		got := s.Append(nil)
		if want := gopacketSegment(t, s); !bytes.Equal(got, want) {
			t.Errorf("%+v:\n got %x\nwant %x", s, got, want)
		}
		var ip IP
		var tcp TCP
		if err := ip.Decode(got); err != nil {
			t.Fatal(err)
		}
		if err := tcp.Decode(ip.Payload); err != nil {
			t.Fatal(err)
		}
		back := Segment{
			Src: netip.AddrPortFrom(ip.Src, tcp.SrcPort), Dst: netip.AddrPortFrom(ip.Dst, tcp.DstPort), TTL: ip.TTL, ID: ip.ID,
			Seq: tcp.Seq, Ack: tcp.Ack, Flags: tcp.Flags, Window: tcp.Window, Options: s.Options,
		}
		if !bytes.Equal(tcp.Options, s.Options) {
			t.Errorf("options %x, want %x", tcp.Options, s.Options)
		}
		if d := cmp.Diff(s, back, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
			t.Error(d)
		}
	}
}

func gopacketSegment(t *testing.T, s Segment) []byte {
	t.Helper()
	tcp := &layers.TCP{
		SrcPort: layers.TCPPort(s.Src.Port()), DstPort: layers.TCPPort(s.Dst.Port()), Seq: s.Seq, Ack: s.Ack, Window: s.Window,
		SYN: s.Flags&SYN != 0, ACK: s.Flags&ACK != 0, FIN: s.Flags&FIN != 0, RST: s.Flags&RST != 0, ECE: s.Flags&ECE != 0, CWR: s.Flags&CWR != 0,
	}
	for o := s.Options; len(o) > 0; {
		n := 1
		opt := layers.TCPOption{OptionType: layers.TCPOptionKind(o[0])}
		if o[0] > 1 {
			n = int(o[1])
			opt.OptionLength, opt.OptionData = o[1], o[2:n]
		}
		tcp.Options = append(tcp.Options, opt)
		o = o[n:]
	}
	var ip gopacket.SerializableLayer
	src, dst := net.IP(s.Src.Addr().AsSlice()), net.IP(s.Dst.Addr().AsSlice())
	if s.Src.Addr().Is4() {
		l := &layers.IPv4{Version: 4, IHL: 5, Id: s.ID, TTL: s.TTL, Protocol: layers.IPProtocolTCP, SrcIP: src, DstIP: dst, Flags: layers.IPv4DontFragment}
		_ = tcp.SetNetworkLayerForChecksum(l)
		ip = l
	} else {
		l := &layers.IPv6{Version: 6, HopLimit: s.TTL, NextHeader: layers.IPProtocolTCP, SrcIP: src, DstIP: dst}
		_ = tcp.SetNetworkLayerForChecksum(l)
		ip = l
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, tcp); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDecodeAllocatesNothing(t *testing.T) {
	b := segments()[0].Append(nil)
	six := segments()[2].Append(nil)
	var ip IP
	var tcp TCP
	var q Quoted
	text := make([]byte, 0, 100)
	n := testing.AllocsPerRun(100, func() {
		for _, b := range [][]byte{b, six} {
			if ip.Decode(b) != nil || tcp.Decode(ip.Payload) != nil || q.Decode(b) != nil {
				t.Fatal("does not decode")
			}
			text = tcp.AppendOptions(text[:0])
			if VerifyQuote(q.Src(), q.Dst(), b) != "intact" {
				t.Fatal("not intact")
			}
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestFlags(t *testing.T) {
	for f, want := range map[Flags]string{
		0: "", SYN: "SYN", SYN | ACK: "SYN,ACK", RST | ACK: "RST,ACK", RST: "RST", SYN | ECE | CWR: "SYN,ECE,CWR",
		SYN | ACK | ECE: "SYN,ACK,ECE", FIN | PSH | ACK: "FIN,PSH,ACK", 0xff: "SYN,FIN,RST,PSH,ACK,URG,ECE,CWR",
	} {
		if got := f.String(); got != want {
			t.Errorf("%#x: %q, want %q", uint8(f), got, want)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		name, want string
		options    []byte
		bad        bool
	}{
		{"none", "", nil, false},
		{"Linux", "mss 1460,sackOK,ts,wscale 7", AppendSYNOptions(nil, 1460, 1), false},
		{"ended", "mss 536", []byte{2, 4, 2, 24, 0, 0, 0, 0}, false},
		{"padding", "", []byte{1, 1, 1, 1}, false},
		{"signed", "md5", append([]byte{1, 1, 19, 18}, make([]byte, 16)...), false},
		{"others", "ao,tfo,sack,unknown 253", []byte{29, 4, 0, 0, 34, 2, 5, 2, 253, 2, 1, 1}, false},
		{"length 0", "sackOK,bad", []byte{4, 2, 2, 0}, true},
		{"length beyond", "bad", []byte{2, 40, 0, 0}, true},
		{"kind only", "sackOK,bad", []byte{1, 4, 2, 8}, true},
		{"mss of a wrong size", "unknown 2", []byte{2, 3, 1, 1}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := segments()[0]
			s.Options = c.options
			var tcp TCP
			if err := tcp.Decode(s.Append(nil)[20:]); err != nil {
				t.Fatal(err)
			}
			if got := string(tcp.AppendOptions(nil)); got != c.want || tcp.BadOptions != c.bad {
				t.Errorf("%q, bad %v; want %q, bad %v", got, tcp.BadOptions, c.want, c.bad)
			}
		})
	}
	var tcp TCP
	if err := tcp.Decode(segments()[0].Append(nil)[20:]); err != nil {
		t.Fatal(err)
	}
	if tcp.MSS != 1460 || tcp.WScale != 7 || !tcp.SACKOK || !tcp.Timestamps || tcp.TSVal != 99 || tcp.MD5 || tcp.AO {
		t.Errorf("%+v", tcp)
	}
}

func TestIP(t *testing.T) {
	syn4, syn6 := segments()[0].Append(nil), segments()[2].Append(nil)
	edit := func(b []byte, at int, v ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], v)
		return b
	}
	// extended puts an extension header before TCP.
	extended := func(kind byte, header ...byte) []byte {
		b := append(bytes.Clone(syn6[:40]), header...)
		b = append(b, syn6[40:]...)
		b[6], b[5] = kind, byte(len(b)-40)
		return b
	}
	hops := []byte{6, 0, 5, 2, 0, 0, 1, 0}
	chain := edit(edit(syn6, 6, 0), 5, 8*maxExtensions)[:40:40]
	for range maxExtensions {
		chain = append(chain, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	for _, c := range []struct {
		name    string
		packet  []byte
		want    error
		payload int // its length
		proto   uint8
	}{
		{"IPv4", syn4, nil, 40, 6},
		{"IPv4 with link padding", append(bytes.Clone(syn4), 0, 0, 0), nil, 40, 6},
		{"IPv4 cut", syn4[:30], nil, 10, 6},
		{"IPv4 of length 0", edit(syn4, 2, 0, 0), nil, 40, 6},
		{"IPv4 with options", append(edit(syn4[:20], 0, 0x46), append([]byte{1, 1, 1, 1}, syn4[20:]...)...), nil, 36, 6},
		{"IPv4 header beyond the packet", edit(syn4[:24], 0, 0x4f), ErrShort, 0, 0},
		{"IPv4 header of 16 bytes", edit(syn4, 0, 0x44), ErrHeader, 0, 0},
		{"IPv4 first fragment", edit(syn4, 6, 0x20, 0), nil, 40, 6},
		{"IPv4 second fragment", edit(syn4, 6, 0x20, 1), ErrFragment, 0, 0},
		{"IPv4 without address", syn4[:19], ErrShort, 0, 0},
		{"IPv6", syn6, nil, 40, 6},
		{"IPv6 hop-by-hop", extended(0, hops...), nil, 40, 6},
		{"IPv6 authenticated", extended(51, 6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), nil, 40, 6},
		{"IPv6 first fragment", extended(44, 6, 0, 0, 1, 0, 0, 0, 9), nil, 40, 6},
		{"IPv6 second fragment", extended(44, 6, 0, 0, 8, 0, 0, 0, 9), ErrFragment, 0, 0},
		{"IPv6 extension beyond the packet", extended(0, 6, 200, 0, 0, 0, 0, 0, 0), ErrShort, 0, 0},
		{"IPv6 extensions without end", chain, ErrExtension, 0, 0},
		{"IPv6 cut", syn6[:39], ErrShort, 0, 0},
		{"IPv5", edit(syn4, 0, 0x55), ErrVersion, 0, 0},
		{"nothing", nil, ErrShort, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ip IP
			err := ip.Decode(c.packet)
			if err != c.want {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err == nil && (len(ip.Payload) != c.payload || ip.Proto != c.proto) {
				t.Errorf("payload of %d bytes, protocol %d; want %d, %d", len(ip.Payload), ip.Proto, c.payload, c.proto)
			}
		})
	}
}

func TestEcho(t *testing.T) {
	b := AppendEcho([]byte("x"), false, 7, 8, []byte("abc"))[1:]
	ip := IP{Proto: ProtoICMP, Payload: b, Len: len(b)}
	var m ICMP
	if err := m.Decode(&ip); err != nil {
		t.Fatal(err)
	}
	if !m.ChecksumFits(&ip) || m.Type != TypeEchoRequest || m.ID != 7 || m.Seq != 8 || string(m.Body) != "abc" || m.IsError() || !m.IsEcho() || m.IsEchoReply() {
		t.Errorf("%+v", m)
	}
	b[9] ^= 1
	if m.ChecksumFits(&ip) {
		t.Error("a wrong checksum fits")
	}
	b = AppendEcho(nil, true, 7, 8, nil)
	if err := m.Decode(&IP{Proto: ProtoICMPv6, Payload: b}); err != nil || m.Type != TypeEchoRequest6 {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestICMPMTU(t *testing.T) {
	var m ICMP
	for _, c := range []struct {
		ip   IP
		want int
	}{
		{IP{Proto: ProtoICMP, Payload: []byte{3, 4, 0, 0, 0, 0, 5, 120}}, 1400},
		{IP{Proto: ProtoICMPv6, Payload: []byte{2, 0, 0, 0, 0, 0, 5, 0}}, 1280},
		{IP{Proto: ProtoICMPv6, Payload: []byte{2, 0, 0, 0, 255, 255, 255, 255}}, 1 << 30},
		{IP{Proto: ProtoICMP, Payload: []byte{3, 3, 0, 0, 0, 0, 5, 120}}, 0},
	} {
		if err := m.Decode(&c.ip); err != nil || m.MTU != c.want {
			t.Errorf("MTU %d, %v; want %d", m.MTU, err, c.want)
		}
	}
	if err := m.Decode(&IP{Proto: ProtoTCP, Payload: make([]byte, 8)}); err != ErrProtocol {
		t.Error(err)
	}
}

func TestARP(t *testing.T) {
	b := []byte{0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 0x1f, 192, 0, 2, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 9}
	var a ARP
	if err := a.Decode(b); err != nil {
		t.Fatal(err)
	}
	want := ARP{Reply: true, Sender: netip.MustParseAddr("192.0.2.1"), Target: netip.MustParseAddr("192.0.2.9"), SenderMAC: MAC{2, 0, 0, 0, 0, 0x1f}}
	if a != want || a.SenderMAC.String() != "02:00:00:00:00:1f" {
		t.Errorf("%+v, want %+v", a, want)
	}
	if err := a.Decode(b[:27]); err != ErrShort {
		t.Error(err)
	}
	b[4] = 8
	if err := a.Decode(b); err != ErrProtocol {
		t.Error(err)
	}
}

func TestND(t *testing.T) {
	target := netip.MustParseAddr("2001:db8::5")
	m := ICMP{V6: true, Type: TypeAdvert6, Body: append(target.AsSlice(), 1, 1, 9, 9, 9, 9, 9, 9, 2, 1, 2, 0, 0, 0, 0, 7)}
	var n ND
	if err := n.Decode(&m); err != nil || n != (ND{Advert: true, Target: target, MAC: MAC{2, 0, 0, 0, 0, 7}}) {
		t.Errorf("%+v, %v", n, err)
	}
	m.Type = TypeSolicitation6
	if err := n.Decode(&m); err != nil || n.Advert || n.MAC != (MAC{9, 9, 9, 9, 9, 9}) {
		t.Errorf("%+v, %v", n, err)
	}
	m.Body[17] = 0
	if err := n.Decode(&m); err != ErrHeader {
		t.Error(err)
	}
	m.Body = m.Body[:15]
	if err := n.Decode(&m); err != ErrShort {
		t.Error(err)
	}
}
