package cli

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"os"
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
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// pieces is a file set: a silent attempt whose SYNs are in three files, a
// connection that begins in the first and ends in the last, and refused ones in
// between. The second file is a classic one of another link type.
func pieces(t *testing.T) [][]byte {
	a, c := newTape(t), newTape(t)
	a.works(0, 40000, 22)
	a.segment(time.Second, true, 40001, 22, wire.SYN, 1, 0, 0)
	a.segment(1001*time.Millisecond, false, 40001, 22, wire.SYN|wire.ACK, 9, 2, 62)
	a.segment(1002*time.Millisecond, true, 40001, 22, wire.ACK, 2, 10, 0)
	a.segment(9*time.Second, true, 40002, 443, wire.SYN, 1, 0, 0)

	var b bytes.Buffer
	raw := pcapgo.NewWriter(&b)
	if err := raw.WriteFileHeader(1<<16, layers.LinkTypeRaw); err != nil {
		t.Fatal(err)
	}
	packet := func(at time.Duration, s wire.Segment) {
		data := s.Append(nil)
		if err := raw.WritePacket(gopacket.CaptureInfo{Timestamp: tapeBegin.Add(at), CaptureLength: len(data), Length: len(data)}, data); err != nil {
			t.Fatal(err)
		}
	}
	packet(10*time.Second, wire.Segment{Src: netip.AddrPortFrom(tapeClient, 40002), Dst: netip.AddrPortFrom(tapeServer, 443), TTL: 64, Seq: 1, Flags: wire.SYN, Window: 1000})
	packet(11*time.Second, wire.Segment{Src: netip.AddrPortFrom(tapeClient, 40003), Dst: netip.AddrPortFrom(tapeServer, 81), TTL: 64, Seq: 1, Flags: wire.SYN, Window: 1000})
	packet(11001*time.Millisecond, wire.Segment{Src: netip.AddrPortFrom(tapeServer, 81), Dst: netip.AddrPortFrom(tapeClient, 40003), TTL: 62, Ack: 2, Flags: wire.RST | wire.ACK})

	c.segment(12*time.Second, true, 40002, 443, wire.SYN, 1, 0, 0)
	c.segment(13*time.Second, true, 40001, 22, wire.FIN|wire.ACK, 2, 10, 0)
	c.segment(13001*time.Millisecond, false, 40001, 22, wire.FIN|wire.ACK, 10, 3, 62)
	c.segment(13002*time.Millisecond, true, 40001, 22, wire.ACK, 3, 11, 0)
	c.refused(20*time.Second, 40004, 81, 62)
	return [][]byte{a.out.Bytes(), b.Bytes(), c.out.Bytes()}
}

// putAll writes files of a set and gives their names.
func putAll(t *testing.T, data ...[]byte) (names []string) {
	t.Helper()
	dir := t.TempDir()
	for i, b := range data {
		name := filepath.Join(dir, "ring.pcap"+string(rune('0'+i)))
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// captureLine is what a test looks at in a line of JSON.
type captureLine struct {
	Kind        string
	FileSet     bool `json:"file_set"`
	Files       []struct{ Name, First string }
	Connections struct{ All, Older, Fine, Failed, Undecided int }
	File        int
	Packet      int
	Client      string
	State       string
	SYNs        int
	Verdict     struct {
		Cause      string
		Candidates []struct{ Cause string }
	}
}

func captureLines(t *testing.T, code int, args ...string) (summary captureLine, connections []captureLine, raw string) {
	t.Helper()
	got, out, talk := runPcap(t, nil, append([]string{"-o", "json", "--all"}, args...)...)
	if got != code {
		t.Fatalf("%q: exit code %d, want %d; %s", args, got, code, talk)
	}
	if err := reporttest.ValidateCapture([]byte(out)); err != nil {
		t.Errorf("%q: %v", args, err)
	}
	for text := range strings.Lines(out) {
		var l captureLine
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		if l.Kind == "summary" {
			summary = l
		} else {
			connections = append(connections, l)
		}
	}
	return summary, connections, out
}

// TestFileSet: connections go on from file to file, whatever the order in which
// the files are named; without the option they do not.
func TestFileSet(t *testing.T) {
	names := putAll(t, pieces(t)...)
	order := slices.Clone(names)
	slices.Reverse(order)
	s, got, first := captureLines(t, 1, append([]string{"--file-set"}, order...)...)
	if !s.FileSet || len(s.Files) != 3 || s.Files[0].Name != names[0] || s.Files[2].Name != names[2] ||
		s.Connections.All != 5 || s.Connections.Older != 0 || s.Connections.Fine != 2 || s.Connections.Failed != 3 || s.Connections.Undecided != 0 {
		t.Errorf("%+v", s)
	}
	// By their first packets: the file, and the number there.
	for i, want := range []captureLine{
		{File: 0, Packet: 1, Client: "192.0.2.1:40000", SYNs: 1}, {File: 0, Packet: 7, Client: "192.0.2.1:40001", SYNs: 1},
		{File: 0, Packet: 10, Client: "192.0.2.1:40002", SYNs: 3}, {File: 1, Packet: 2, Client: "192.0.2.1:40003", SYNs: 1},
		{File: 2, Packet: 5, Client: "192.0.2.1:40004", SYNs: 1},
	} {
		if g := got[i]; g.File != want.File || g.Packet != want.Packet || g.Client != want.Client || g.SYNs != want.SYNs {
			t.Errorf("connection %d: %+v, want %+v", i, g, want)
		}
	}
	for _, n := range []string{"1", "3"} {
		if _, _, again := captureLines(t, 1, append([]string{"--file-set", "--parallel", n}, names...)...); again != first {
			t.Errorf("with %s at a time:\n%s\nelse\n%s", n, again, first)
		}
	}
	if s, _, _ := captureLines(t, 1, names...); s.FileSet || s.Connections.All != 8 || s.Connections.Older != 1 {
		t.Errorf("each by itself: %+v", s)
	}
	if _, out, _ := runPcap(t, nil, append([]string{"--file-set", "--target", ":81"}, names...)...); !strings.Contains(out, "file set of 3 files: 2 of 2") ||
		!strings.Contains(strings.Join(strings.Fields(out), " "), "packet 2 of "+names[1]+", from port 40003") || strings.Contains(out, "--file-set") {
		t.Error(out)
	}
	if _, out, _ := runPcap(t, nil, names...); !strings.Contains(strings.Join(strings.Fields(out), " "), "they follow each other in time: if one program wrote them, --file-set") {
		t.Error(out)
	}
}

// TestFileSetFaults: a file that is empty, one without packets, one that is
// damaged and one that is compressed belong to the set all the same.
func TestFileSetFaults(t *testing.T) {
	p := pieces(t)
	var none, packed bytes.Buffer
	if err := pcapgo.NewWriter(&none).WriteFileHeader(1<<16, layers.LinkTypeRaw); err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(&packed)
	z.Write(p[0])
	z.Close()
	names := putAll(t, nil, none.Bytes(), p[2], p[1][:len(p[1])-3], packed.Bytes())
	code, out, talk := runPcap(t, nil, append([]string{"-o", "json", "--all", "--file-set"}, names...)...)
	if code != 1 || !strings.Contains(talk, names[3]+": the capture is damaged at byte") || !strings.Contains(talk, names[0]+": the capture is damaged at byte 0: it is empty") || strings.Count(talk, "damaged") != 2 {
		t.Errorf("exit code %d, %s", code, talk)
	}
	if err := reporttest.ValidateCapture([]byte(out)); err != nil {
		t.Error(err)
	}
	// The last packet of the second piece is lost: a RST. The attempt that goes on in
	// the third may have been answered meanwhile.
	if !strings.Contains(out, `"connections":{"all":5,"attempts":5,"older":0,"fine":2,"impaired":0,"failed":1,"undecided":2}`) ||
		!strings.Contains(out, "in the middle of it \\\""+names[3]+"\\\" is damaged") {
		t.Errorf("%.2000s", out)
	}
}

// TestFileSetGap: a file that is missing in the middle is named, and what goes on
// behind it is undecided unless it fared well. What ended before it, or began behind
// it, is judged.
func TestFileSetGap(t *testing.T) {
	p := pieces(t)
	a := newTape(t)
	a.refused(-2*time.Second, 40009, 81, 62) // before it
	a.silent(-time.Minute, 40008, 443)
	a.segment(8*time.Second, true, 40007, 443, wire.SYN, 1, 0, 0) // until just before it
	a.segment(8100*time.Millisecond, true, 40006, 443, wire.SYN, 1, 0, 0)
	a.segment(8101*time.Millisecond, false, 40006, 443, wire.SYN|wire.ACK, 9, 2, 62)
	a.segment(8102*time.Millisecond, true, 40006, 443, wire.ACK, 2, 10, 0)
	request := wire.Segment{Src: netip.AddrPortFrom(tapeClient, 40006), Dst: netip.AddrPortFrom(tapeServer, 443), TTL: 64, Seq: 2, Ack: 10, Flags: wire.ACK, Window: 1000}
	data := append(request.Append(nil), "request"...)
	binary.BigEndian.PutUint16(data[2:], uint16(len(data))) // the total length of IPv4
	a.packet(8103*time.Millisecond, true, data)
	a.segment(8104*time.Millisecond, false, 40006, 443, wire.ACK, 10, 9, 62)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	first := append(a.out.Bytes(), p[0]...)
	var names []string
	for name, data := range map[string][]byte{"ring.pcap": first, "ring.pcap1": p[1], "ring.pcap2": p[2]} {
		if err := os.WriteFile(at(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, at(name))
	}
	code, out, talk := runPcap(t, nil, append([]string{"-o", "json", "--file-set"}, names...)...)
	if code != 1 || talk != "" || strings.Contains(out, `"missing"`) {
		t.Errorf("nothing is missing: exit code %d, %s%s", code, talk, out)
	}
	rest := []string{at("ring.pcap"), at("ring.pcap2")}
	says := at("ring.pcap1") + " is missing: by its number it belongs between " + at("ring.pcap") + " and " + at("ring.pcap2")
	code, out, talk = runPcap(t, nil, append([]string{"-o", "json", "--all", "--file-set"}, rest...)...)
	if code != 1 || strings.Count(talk, "\n") != 2 || !strings.Contains(talk, says) {
		t.Errorf("exit code %d, %s", code, talk)
	}
	if err := reporttest.ValidateCapture([]byte(out)); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out, `"missing":[{"after":0,"before":1,"names":["`+at("ring.pcap1")+`"],"count":1}]`) {
		t.Errorf("%.2000s", out)
	}
	states := map[string]string{}
	for text := range strings.Lines(out) {
		var l captureLine
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		if l.Client != "" {
			states[strings.TrimPrefix(l.Client, "192.0.2.1:")] = l.State
		}
		if goes := strings.Contains(text, "in the middle of it a file of the set is missing"); goes != (l.Client == "192.0.2.1:40002") {
			t.Errorf("%s", text)
		}
	}
	for port, want := range map[string]string{
		"40009": "failed", "40008": "failed", "40007": "undecided", "40006": "undecided", "40000": "fine", "40001": "fine", "40002": "undecided", "40004": "failed",
	} {
		if states[port] != want {
			t.Errorf("the connection of port %s is %q, want %s", port, states[port], want)
		}
	}
	if _, out, _ := runPcap(t, nil, append([]string{"--file-set"}, rest...)...); !strings.Contains(strings.ReplaceAll(strings.Join(strings.Fields(out), ""), " ", ""), strings.ReplaceAll(says, " ", "")) {
		t.Error(out)
	}
	if _, out, talk := runPcap(t, nil, rest...); talk != "" || strings.Contains(out, "missing") {
		t.Errorf("each by itself: %s%s", talk, out)
	}
}

func TestFileSetUsage(t *testing.T) {
	p := pieces(t)
	names := putAll(t, p[0], p[2], mixture(t), []byte("no capture"))
	for _, c := range []struct {
		args     []string
		code     int
		problems []string
	}{
		{[]string{"--file-set", names[0], names[2]}, 2, []string{names[0], names[2], "overlap in time"}},
		{[]string{"--file-set", names[1], names[2], names[0]}, 2, []string{names[0], names[2], "overlap in time"}},
		{[]string{"--file-set", names[0], "-"}, 2, []string{"standard input"}},
		{[]string{"--file-set", "--follow", names[0]}, 2, []string{"--follow and --file-set"}},
		{[]string{"--file-set", "--compare", names[0], names[1]}, 2, []string{"--compare takes one capture of each side", "mergecap"}},
		{[]string{"--file-set", names[0], names[3]}, 4, []string{names[3], "not a capture"}},
	} {
		code, out, talk := runPcap(t, strings.NewReader(""), c.args...)
		if code != c.code || out != "" || strings.Count(talk, "\n") != 2 {
			t.Errorf("%q: exit code %d, %s%s", c.args, code, out, talk)
		}
		for _, p := range c.problems {
			if !strings.Contains(talk, p) {
				t.Errorf("%q: no %q in %s", c.args, p, talk)
			}
		}
	}
	// Two captures of the same connections are no file set.
	if _, out, _ := runPcap(t, nil, names[0], names[2]); strings.Contains(out, "--file-set") {
		t.Error(out)
	}
}

// TestPcapWriteInterfaces: what --write writes has the interfaces of its input by
// name, and Wireshark's own programs read it.
func TestPcapWriteInterfaces(t *testing.T) {
	tshark := nettest.NeedProgram(t, "tshark")
	capinfos := nettest.NeedProgram(t, "capinfos")
	// Two sections; lan0 is in both, at another number.
	var first, second bytes.Buffer
	write := func(out *bytes.Buffer, from time.Duration, names ...string) func(at time.Duration, iface, port int) {
		w := pcapfile.NewWriter(out, "test")
		for _, n := range names { // a packet of no connection makes it known
			if err := w.Write(pcapfile.Packet{Time: tapeBegin.Add(from), Name: n}); err != nil {
				t.Fatal(err)
			}
		}
		return func(at time.Duration, iface, port int) {
			for i, s := range []wire.Segment{
				{Src: netip.AddrPortFrom(tapeClient, uint16(port)), Dst: netip.AddrPortFrom(tapeServer, 81), TTL: 64, Seq: 1, Flags: wire.SYN, Window: 1000},
				{Src: netip.AddrPortFrom(tapeServer, 81), Dst: netip.AddrPortFrom(tapeClient, uint16(port)), TTL: 62, Ack: 2, Flags: wire.RST | wire.ACK},
			} {
				data := s.Append(nil)
				if err := w.Write(pcapfile.Packet{Time: tapeBegin.Add(at + time.Duration(i)), Name: names[iface], EtherType: 0x0800, HardwareType: 1, Data: data, OriginalLength: len(data)}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	a := write(&first, 0, "wan0", "lan0")
	a(time.Second, 1, 40001)
	a(2*time.Second, 0, 40002)
	b := write(&second, 3*time.Second, "lan0", "ppp0")
	b(3*time.Second, 0, 40003)
	b(4*time.Second, 1, 40004)
	read := func(args ...string) []string {
		t.Helper()
		to := filepath.Join(t.TempDir(), "failed.pcapng")
		if code, _, talk := runPcap(t, nil, append([]string{"--write", to}, args...)...); code != 1 || talk != "" {
			t.Fatalf("exit code %d, %s", code, talk)
		}
		if out, err := exec.CommandContext(t.Context(), capinfos, to).CombinedOutput(); err != nil {
			t.Fatalf("capinfos: %v\n%s", err, out)
		}
		out, err := exec.CommandContext(t.Context(), tshark, "-r", to, "-T", "fields", "-E", "separator=,", "-e", "frame.interface_id", "-e", "frame.interface_name", "-e", "tcp.srcport").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))
	}
	joined := append(slices.Clone(first.Bytes()), second.Bytes()...)
	// Numbers as they come up in the output: lan0 of the second section is another
	// of the first one's, by its number.
	want := []string{"0,lan0,40001", "0,lan0,81", "1,wan0,40002", "1,wan0,81", "2,lan0,40003", "2,lan0,81", "3,ppp0,40004", "3,ppp0,81"}
	if got := read(put(t, joined)); !slices.Equal(got, want) {
		t.Errorf("of two sections: %q, want %q", got, want)
	}
	set := putAll(t, first.Bytes(), second.Bytes())
	if got := read("--file-set", set[0], set[1]); len(got) != 8 || !strings.HasSuffix(got[7], "ppp0,81") {
		t.Errorf("of a file set: %q", got)
	}
	// A classic capture has no names, and none is made up, nor left from the file
	// before.
	mixed := putAll(t, first.Bytes(), pieces(t)[1])
	unnamed := []string{"2,,40003", "2,unknown,40003"} // tshark says the one or the other
	if got := read(mixed...); len(got) != 6 || !slices.Contains(unnamed, got[4]) {
		t.Errorf("of a classic file: %q", got)
	}
}
