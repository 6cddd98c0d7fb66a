package pcapfilter_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/net/bpf"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/pcapfilter"
)

// packet is one of the test's, from the network header on.
type packet struct {
	etherType layers.EthernetType
	data      []byte
}

// packets are of all the kinds that the language can tell apart.
func packets(t testing.TB) []packet {
	var out []packet
	add := func(e layers.EthernetType, l ...gopacket.SerializableLayer) {
		b := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true}, l...); err != nil {
			t.Fatal(err)
		}
		out = append(out, packet{e, bytes.Clone(b.Bytes())})
	}
	ends := [][2]string{{"192.0.2.1", "198.51.100.7"}, {"198.51.100.7", "192.0.2.1"}, {"192.0.2.200", "203.0.113.9"}}
	ends6 := [][2]string{{"2001:db8::1", "2001:db8:1::7"}, {"2001:db8:1::7", "2001:db8::1"}}
	ports := [][2]uint16{{40000, 443}, {443, 40000}, {53, 53}, {8000, 8080}}
	for _, e := range ends {
		ip := func(p layers.IPProtocol) *layers.IPv4 {
			return &layers.IPv4{Version: 4, TTL: 64, Protocol: p, SrcIP: netip.MustParseAddr(e[0]).AsSlice(), DstIP: netip.MustParseAddr(e[1]).AsSlice()}
		}
		for _, p := range ports {
			for _, f := range []layers.TCP{{SYN: true}, {SYN: true, ACK: true}, {RST: true, ACK: true}, {ACK: true, PSH: true}} {
				f.SrcPort, f.DstPort = layers.TCPPort(p[0]), layers.TCPPort(p[1])
				add(layers.EthernetTypeIPv4, ip(layers.IPProtocolTCP), &f)
				long := ip(layers.IPProtocolTCP)
				long.Options = []layers.IPv4Option{{OptionType: 1}, {OptionType: 1}, {OptionType: 1}, {OptionType: 0}}
				add(layers.EthernetTypeIPv4, long, &f)
			}
			add(layers.EthernetTypeIPv4, ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: layers.UDPPort(p[0]), DstPort: layers.UDPPort(p[1])})
			fragment := ip(layers.IPProtocolTCP)
			fragment.FragOffset = 100
			add(layers.EthernetTypeIPv4, fragment, &layers.TCP{SrcPort: layers.TCPPort(p[0]), DstPort: layers.TCPPort(p[1]), SYN: true})
		}
		add(layers.EthernetTypeIPv4, ip(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0)})
		add(layers.EthernetTypeARP, &layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: 1, SourceHwAddress: make([]byte, 6), DstHwAddress: make([]byte, 6),
			SourceProtAddress: netip.MustParseAddr(e[0]).AsSlice(), DstProtAddress: netip.MustParseAddr(e[1]).AsSlice()})
	}
	for _, e := range ends6 {
		ip := func(p layers.IPProtocol) *layers.IPv6 {
			return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: p, SrcIP: netip.MustParseAddr(e[0]).AsSlice(), DstIP: netip.MustParseAddr(e[1]).AsSlice()}
		}
		for _, p := range ports {
			add(layers.EthernetTypeIPv6, ip(layers.IPProtocolTCP), &layers.TCP{SrcPort: layers.TCPPort(p[0]), DstPort: layers.TCPPort(p[1]), SYN: true})
			add(layers.EthernetTypeIPv6, ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: layers.UDPPort(p[0]), DstPort: layers.UDPPort(p[1])})
		}
		add(layers.EthernetTypeIPv6, ip(layers.IPProtocolICMPv6), &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(128, 0)}, gopacket.Payload(make([]byte, 8)))
	}
	return out
}

// accepts runs a filter on a packet as the kernel would: the machine of x/net
// does not know the packet's EtherType, which is put in as a constant.
func accepts(t testing.TB, f *pcapfilter.Filter, p packet) bool {
	t.Helper()
	raw, err := f.Program(65535)
	if err != nil {
		t.Fatal(err)
	}
	code, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the program does not disassemble")
	}
	for i, op := range code {
		if e, ok := op.(bpf.LoadExtension); ok && e.Num == bpf.ExtProto {
			code[i] = bpf.LoadConstant{Dst: bpf.RegA, Val: uint32(p.etherType)}
		}
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		t.Fatal(err)
	}
	n, err := vm.Run(p.data)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

var filters = []string{
	"tcp", "udp", "icmp", "icmp6", "ip", "ip6", "arp", "not tcp", "tcp or udp and icmp", "tcp or (udp and icmp)",
	"host 192.0.2.1", "src host 192.0.2.1", "dst host 192.0.2.1", "src 192.0.2.1", "src or dst host 192.0.2.1", "src and dst host 192.0.2.1",
	"host 2001:db8::1", "ip6 and dst host 2001:db8::1", "ip host 192.0.2.1", "tcp and host 192.0.2.1",
	"net 192.0.2.0/24", "src net 192.0.2.128/25", "net 2001:db8:1::/48", "net 0.0.0.0/0", "dst net 2001:db8::/33",
	"port 443", "tcp port 443", "udp port 53", "src port 443", "tcp dst port 443", "port 443 or 53", "port 443 or 53 and udp", "portrange 8000-8080", "tcp src portrange 400-500",
	"port https", "not port 443 and not arp", "! udp && ! arp", "host 192.0.2.1 and not (port 443 or port 53)", "not (tcp or udp)",
	"ip and tcp[tcpflags] & tcp-syn != 0", "ip and tcp[tcpflags] & (tcp-syn|tcp-rst) != 0", "ip and tcp[tcpflags] == tcp-syn", "ip and tcp[13] & 2 != 0", "ip and tcp[13] = 18",
	"ip and tcp[tcpflags] & (tcp-syn|tcp-ack) == (tcp-syn|tcp-ack)", "ip and tcp[tcpflags] != tcp-syn",
}

// TestAgreesWithTcpdump filters the same packets with tcpdump.
func TestAgreesWithTcpdump(t *testing.T) {
	nettest.NeedProgram(t, "tcpdump")
	all := packets(t)
	file := filepath.Join(t.TempDir(), "all.pcap")
	write(t, file, all)
	for _, text := range filters {
		f, err := pcapfilter.Parse(text, nil)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		theirs := map[int]bool{}
		out, err := exec.CommandContext(t.Context(), "tcpdump", "-n", "-r", file, "-w", "-", text).Output()
		var exit *exec.ExitError
		switch {
		case err == nil:
			theirs = read(t, out)
		case errors.As(err, &exit) && bytes.Contains(exit.Stderr, []byte("rejects all packets")):
		default:
			t.Errorf("tcpdump %s: %v", text, err)
			continue
		}
		for i, p := range all {
			if ours := accepts(t, f, p); ours != theirs[i] {
				t.Errorf("%s: packet %d (%v, %x): %v, tcpdump says %v", text, i, p.etherType, p.data[:min(len(p.data), 24)], ours, theirs[i])
			}
		}
	}
}

// write makes a capture in which the number of a packet is its time.
func write(t *testing.T, file string, all []packet) {
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for i, p := range all {
		b := binary.BigEndian.AppendUint16(make([]byte, 12), uint16(p.etherType))
		b = append(b, p.data...)
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(int64(i+1), 0), CaptureLength: len(b), Length: len(b)}, b); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, capture []byte) map[int]bool {
	r, err := pcapgo.NewReader(bytes.NewReader(capture))
	if err != nil {
		t.Fatal(err)
	}
	out := map[int]bool{}
	for {
		_, info, err := r.ReadPacketData()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out[int(info.Timestamp.Unix())-1] = true
	}
}

func TestTarget(t *testing.T) {
	quote := make([]byte, 8, 64)
	quote[0], quote[1] = 3, 13
	quote = append(quote, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7, 0x9c, 0x40, 1, 0xbb, 0, 0, 0, 0)
	icmp := append([]byte{0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 203, 0, 113, 1, 192, 0, 2, 1}, quote...)
	f := pcapfilter.Target([]netip.Addr{netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("2001:db8:1::7")}, 443)
	if !accepts(t, f, packet{layers.EthernetTypeIPv4, icmp}) {
		t.Error("the ICMP error about the target is left out")
	}
	n := 0
	for _, p := range packets(t) {
		if accepts(t, f, p) {
			n++
		}
	}
	if want := 2*2*4*2 + 2*2; n != want { // IPv4: ends, ports, flags, with and without options; IPv6: ends, ports
		t.Errorf("%d packets, want %d", n, want)
	}
}

func TestErrors(t *testing.T) {
	for text, word := range map[string]string{
		"":                             "",
		"tcp prot 80":                  "prot",
		"host":                         "",
		"host nowhere":                 "nowhere",
		"host 192.0.2.1 port 80":       "port",
		"port 99999":                   "99999",
		"port 80 and":                  "",
		"(tcp or udp":                  "(",
		"tcp)":                         ")",
		"net 192.0.2.1/24":             "192.0.2.1/24",
		"net 192.0.2.0":                "192.0.2.0",
		"host 192.0.2.0/24":            "192.0.2.0/24",
		"icmp port 80":                 "80",
		"tcp[tcpflags] & tcp-foo != 0": "tcp-foo",
		"tcp[tcpflags":                 "",
		"tcp[99] == 1":                 "99",
		"udp[0] == 1":                  "[",
		"tcp and \x1b[2J":              "\x1b",
		"portrange 90-80":              "90-80",
		"frobnicate":                   "frobnicate",
	} {
		_, err := pcapfilter.Parse(text, nil)
		var e *pcapfilter.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := e.Filter[e.Offset : e.Offset+e.Len]; got != word {
			t.Errorf("%q: the error points at %q, want %q: %v", text, got, word, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range filters {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		filter, err := pcapfilter.Parse(text, nil)
		if err != nil {
			var e *pcapfilter.Error
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset+e.Len > len(e.Filter) {
				t.Fatalf("%q: %#v", text, err)
			}
			_ = e.Error() + e.Mark()
			return
		}
		if _, err := filter.Program(65535); err == nil {
			accepts(t, filter, packet{layers.EthernetTypeIPv4, make([]byte, 100)})
		}
	})
}
