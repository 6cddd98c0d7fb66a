package pcapfile_test

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// packets are a SYN, its SYN-ACK and an ARP request on two interfaces.
func packets() []pcapfile.Packet {
	client, server := netip.MustParseAddrPort("192.0.2.1:40000"), netip.MustParseAddrPort("198.51.100.7:443")
	syn := wire.Segment{Src: client, Dst: server, TTL: 64, Seq: 1, Flags: wire.SYN, Options: wire.AppendSYNOptions(nil, 1460, 5)}
	ack := wire.Segment{Src: server, Dst: client, TTL: 60, Seq: 9, Ack: 2, Flags: wire.SYN | wire.ACK}
	at := time.Unix(1700000000, 123456789)
	mac := []byte{2, 0, 0, 0, 0, 1}
	arp := append([]byte{0, 1, 8, 0, 6, 4, 0, 1}, append(mac, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 254)...)
	list := []pcapfile.Packet{
		{Time: at, Interface: 7, Name: "lan0", EtherType: 0x0800, HardwareType: 1, PacketType: 4, HardwareAddr: mac, Data: syn.Append(nil)},
		{Time: at.Add(time.Millisecond), Interface: 8, Name: "lan1", EtherType: 0x0800, HardwareType: 1, Data: ack.Append(nil)},
		{Time: at.Add(2 * time.Millisecond), Interface: 7, Name: "lan0", EtherType: 0x0806, HardwareType: 1, PacketType: 4, HardwareAddr: mac, Data: arp},
	}
	for i := range list {
		list[i].OriginalLength = len(list[i].Data)
	}
	return list
}

func write(t *testing.T, b *bytes.Buffer) {
	t.Helper()
	w := pcapfile.NewWriter(b, "tcpwhy test")
	for _, p := range packets() {
		before := b.Len()
		if err := w.Write(p); err != nil {
			t.Fatal(err)
		}
		if b.Len() < before+len(p.Data) {
			t.Error("a packet was held back")
		}
	}
	if err := w.Conclude("certain: no-listener"); err != nil {
		t.Fatal(err)
	}
}

func TestWriter(t *testing.T) {
	var b bytes.Buffer
	write(t, &b)
	r, err := pcapgo.NewNgReader(&b, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range packets() {
		data, info, err := r.ReadPacketData()
		if err != nil {
			t.Fatal(err)
		}
		i, err := r.Interface(info.InterfaceIndex)
		if err != nil || i.Name != want.Name || i.LinkType != layers.LinkTypeLinuxSLL2 {
			t.Errorf("%+v, %v; want %s", i, err, want.Name)
		}
		if !info.Timestamp.Equal(want.Time) || !bytes.Equal(data[20:], want.Data) || info.Length != 20+want.OriginalLength {
			t.Errorf("%+v %x, want %+v", info, data, want)
		}
	}
}

// tcpdump must show direction and content, read what it is given without a
// complaint, and Wireshark's reader the interfaces and the conclusion.
func TestReaders(t *testing.T) {
	var b bytes.Buffer
	write(t, &b)
	file := filepath.Join(t.TempDir(), "a.pcapng")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, program string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), nettest.NeedProgram(t, program), args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil || strings.Contains(stderr.String(), "rror") {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, &stderr)
		}
		return string(out)
	}
	contains := func(t *testing.T, out string, wants ...string) {
		t.Helper()
		for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
			if i >= len(wants) {
				t.Errorf("one line too many: %s", line)
				continue
			}
			for w := range strings.SplitSeq(wants[i], "|") {
				if !strings.Contains(line, w) {
					t.Errorf("line %d: %s\nhas no %q", i, line, w)
				}
			}
		}
	}
	t.Run("tcpdump", func(t *testing.T) {
		contains(t, run(t, "tcpdump", "-nn", "-tt", "-r", file),
			"1700000000.123456| Out IP 192.0.2.1.40000 > 198.51.100.7.443: Flags [S]|mss 1460,sackOK,TS val 5 ecr 0,nop,wscale 7",
			"1700000000.124456| In  IP 198.51.100.7.443 > 192.0.2.1.40000: Flags [S.]",
			" Out ARP, Request who-has 192.0.2.254 tell 192.0.2.1")
	})
	// A second opinion where there is one; tcpdump is enough to require.
	if _, err := exec.LookPath("tshark"); err != nil {
		return
	}
	t.Run("tshark", func(t *testing.T) {
		contains(t, run(t, "tshark", "-n", "-r", file, "-T", "fields", "-e", "frame.interface_name", "-e", "sll.pkttype", "-e", "ip.src", "-e", "tcp.flags.syn"),
			"lan0\t4\t192.0.2.1", "lan1\t0\t198.51.100.7", "lan0\t4")
	})
}

func TestConcludeOnly(t *testing.T) {
	var b bytes.Buffer
	if err := pcapfile.NewWriter(&b, "tcpwhy test").Conclude(strings.Repeat("x", 100_000)); err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewNgReader(&b, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.SectionInfo().Comment); n != 65000 {
		t.Errorf("comment of %d bytes", n)
	}
}

type failing struct{ left int }

var errFull = errors.New("disk full")

func (f *failing) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestWriteError(t *testing.T) {
	for _, room := range []int{0, 200, 300} {
		w := pcapfile.NewWriter(&failing{room}, "tcpwhy test")
		var err error
		for _, p := range packets() {
			err = errors.Join(err, w.Write(p))
		}
		if !errors.Is(err, errFull) {
			t.Errorf("with room for %d bytes: %v", room, err)
		}
	}
}
