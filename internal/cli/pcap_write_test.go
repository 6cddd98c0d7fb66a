package cli

import (
	"bytes"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// refusal is a SYN and the RST that answers it, as raw IP.
func refusal(client uint16) [2][]byte {
	from, to := netip.AddrPortFrom(tapeClient, client), netip.AddrPortFrom(tapeServer, 81)
	syn := wire.Segment{Src: from, Dst: to, TTL: 64, Seq: 1, Flags: wire.SYN, Window: 1000}
	rst := wire.Segment{Src: to, Dst: from, TTL: 62, Ack: 2, Flags: wire.RST | wire.ACK}
	return [2][]byte{syn.Append(nil), rst.Append(nil)}
}

// TestPcapWriteTimes: Wireshark shows the times and the interfaces of what --write
// writes with the same digits and by the same names as in the input, also where a
// section has more interfaces than a record has room to number.
func TestPcapWriteTimes(t *testing.T) {
	tshark := nettest.NeedProgram(t, "tshark")
	at := tapeBegin.Add(123456789 * time.Nanosecond)
	classic := func(nano bool) []byte {
		var out bytes.Buffer
		w := pcapgo.NewWriter(&out)
		if nano {
			w = pcapgo.NewWriterNanos(&out)
		}
		if err := w.WriteFileHeader(1<<16, layers.LinkTypeRaw); err != nil {
			t.Fatal(err)
		}
		for i, data := range refusal(40000) {
			info := gopacket.CaptureInfo{Timestamp: at.Add(time.Duration(i) * 1001 * time.Microsecond), CaptureLength: len(data), Length: len(data)}
			if err := w.WritePacket(info, data); err != nil {
				t.Fatal(err)
			}
		}
		return out.Bytes()
	}
	var next bytes.Buffer
	w := pcapfile.NewBlocks(&next)
	if err := w.Section("test", ""); err != nil {
		t.Fatal(err)
	}
	const linkRaw, interfaces = 101, 300
	for i := range interfaces {
		res := pcapfile.Resolution(i % 10)
		if i == 298 {
			res = 1<<7 | 10 // 2^-10 s
		}
		if _, err := w.Interface(linkRaw, fmt.Sprintf("lan%d", i), "", res); err != nil {
			t.Fatal(err)
		}
	}
	for n, i := range []int{299, 3, 254, 255, 256, 298, 0} {
		for k, data := range refusal(uint16(41000 + n)) {
			when := at.Add(time.Duration(n) * time.Second).Add(time.Duration(k) * 1500 * time.Microsecond)
			if err := w.Packet(&pcapfile.Captured{Time: when.UnixNano(), Interface: i, Data: data}); err != nil {
				t.Fatal(err)
			}
		}
	}
	show := func(name string) []string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), tshark, "-r", name, "-t", "e", "-T", "fields", "-E", "separator=,", "-e", "_ws.col.Time", "-e", "frame.interface_name", "-e", "tcp.srcport").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(strings.ReplaceAll(string(out), ",unknown,", ",,")) // tshark says the one or the other
	}
	for what, c := range map[string]struct {
		data []byte
		want string // the first line, so that the test itself cannot be blind
	}{
		"microseconds": {classic(false), "1767348000.123456,,40000"},
		"nanoseconds":  {classic(true), "1767348000.123456789,,40000"},
		"many":         {next.Bytes(), "1767348000.123456789,lan299,41000"},
	} {
		name, to := put(t, c.data), filepath.Join(t.TempDir(), "failed.pcapng")
		if code, _, talk := runPcap(t, nil, "--write", to, name); code != 1 || talk != "" {
			t.Fatalf("%s: exit code %d, %s", what, code, talk)
		}
		want, got := show(name), show(to)
		if len(want) == 0 || want[0] != c.want || !slices.Equal(got, want) {
			t.Errorf("%s:\n%q, want\n%q\nbeginning with %q", what, got, want, c.want)
		}
	}
}
