package cli

import (
	"bytes"
	"encoding/csv"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"

	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// tape writes a capture packet by packet, from the place of the client.
type tape struct {
	t   *testing.T
	w   *pcapfile.Writer
	out bytes.Buffer
}

var tapeBegin = time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)

func newTape(t *testing.T) *tape {
	tp := &tape{t: t}
	tp.w = pcapfile.NewWriter(&tp.out, "test")
	return tp
}

func (tp *tape) packet(at time.Duration, fromClient bool, data []byte) {
	tp.t.Helper()
	p := pcapfile.Packet{Time: tapeBegin.Add(at), Interface: 2, Name: "lan0", EtherType: 0x0800, HardwareType: 1, Data: data, OriginalLength: len(data)}
	if fromClient {
		p.PacketType = 4
	}
	if err := tp.w.Write(p); err != nil {
		tp.t.Fatal(err)
	}
}

var (
	tapeClient = netip.MustParseAddr("192.0.2.1")
	tapeServer = netip.MustParseAddr("198.51.100.7")
)

// segment writes a TCP packet.
func (tp *tape) segment(at time.Duration, fromClient bool, client, server uint16, flags wire.Flags, seq, ack uint32, ttl uint8) {
	s := wire.Segment{Src: netip.AddrPortFrom(tapeClient, client), Dst: netip.AddrPortFrom(tapeServer, server), TTL: 64, Seq: seq, Ack: ack, Flags: flags, Window: 1000}
	if !fromClient {
		s.Src, s.Dst, s.TTL = s.Dst, s.Src, ttl
	}
	tp.packet(at, fromClient, s.Append(nil))
}

func (tp *tape) refused(at time.Duration, client, server uint16, ttl uint8) {
	tp.segment(at, true, client, server, wire.SYN, 1, 0, 0)
	tp.segment(at+time.Millisecond, false, client, server, wire.RST|wire.ACK, 0, 2, ttl)
}

func (tp *tape) silent(at time.Duration, client, server uint16) {
	for _, d := range []time.Duration{0, time.Second, 3 * time.Second} {
		tp.segment(at+d, true, client, server, wire.SYN, 1, 0, 0)
	}
}

func (tp *tape) works(at time.Duration, client, server uint16) {
	tp.segment(at, true, client, server, wire.SYN, 1, 0, 0)
	for i, f := range []struct {
		client   bool
		flags    wire.Flags
		seq, ack uint32
	}{
		{false, wire.SYN | wire.ACK, 9, 2}, {true, wire.ACK, 2, 10}, {true, wire.FIN | wire.ACK, 2, 10},
		{false, wire.FIN | wire.ACK, 10, 3}, {true, wire.ACK, 3, 11},
	} {
		tp.segment(at+time.Duration(i+1)*time.Millisecond, f.client, client, server, f.flags, f.seq, f.ack, 62)
	}
}

// mixture has a connection of each kind: three refused, two silent, one that
// works, and one of which too little is seen.
func mixture(t *testing.T) []byte {
	tp := newTape(t)
	tp.works(0, 40000, 22)
	tp.refused(time.Second, 40001, 81, 63)
	tp.refused(2*time.Second, 40002, 81, 63)
	tp.refused(3*time.Second, 40003, 82, 62)
	tp.silent(4*time.Second, 40004, 443)
	tp.silent(10*time.Second, 40005, 443)
	tp.works(20*time.Second, 40006, 22)
	tp.segment(20500*time.Millisecond, true, 40007, 443, wire.SYN, 1, 0, 0)
	return tp.out.Bytes()
}

func put(t *testing.T, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "a.pcapng")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// runPcap calls the program.
func runPcap(t *testing.T, stdin io.Reader, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, talk bytes.Buffer
	code = Main(append([]string{"pcap"}, args...), Host{Stdin: stdin, Stdout: &out, Stderr: &talk, Getenv: func(string) string { return "" }})
	return code, out.String(), talk.String()
}

func TestPcapText(t *testing.T) {
	name := put(t, mixture(t))
	for _, c := range []struct {
		args string
		code int
		want []string // substrings in order
		not  string
	}{
		{"", 1, []string{"5 of 8 connections failed, 1 undecided", "2026-01-02 10:00:00.000 to 10:00:20.500 UTC", "Linux cooked v2", "8 opened in the capture, 0 older",
			"2 fine, 3 refused, 2 timed out, 1 undecided", "2 of 2", "198.51.100.7:81 is refused", "2 times from 192.0.2.1, 2026-01-02 10:00:01.000 to 10:00:02.000 UTC", "do next", "was not decided"}, ""},
		{"-q", 1, []string{"5 of 8 connections failed, 1 undecided"}, "UTC"},
		{"--failed", 1, []string{"10:00:01.000  192.0.2.1:40001 > 198.51.100.7:81  refused", "10:00:10.000  192.0.2.1:40005 > 198.51.100.7:443  timeout"}, "40006"},
		{"--all", 1, []string{"192.0.2.1:40000 > 198.51.100.7:22", "192.0.2.1:40007 > 198.51.100.7:443"}, ""},
		{"--target :22", 0, []string{"none of 2 connections failed"}, ""},
		{"--target 198.51.100.7:443", 1, []string{"2 of 3 connections failed"}, "refused"},
		{"--target none.example", 0, []string{"no TCP connection in it"}, ""},
		{"--between 0.5,2.5", 1, []string{"2 of 2 connections failed"}, ""},
		{"--between 10:00:03 10:00:04", 1, []string{"2 of 2 connections failed"}, ""},
		{"--between 2026-01-02T10:00:20Z,2026-01-02T10:00:21Z", 0, []string{"none of 2 connections failed, 1 undecided"}, ""},
		{"--max-connections 16", 1, []string{"of 8 connections failed"}, ""},
	} {
		code, out, talk := runPcap(t, nil, append(strings.Fields(c.args), name)...)
		if code != c.code || talk != "" {
			t.Errorf("%q: exit code %d, want %d; %s", c.args, code, c.code, talk)
		}
		rest := strings.Join(strings.Fields(out), " ") // as if it were not wrapped
		for _, w := range c.want {
			w = strings.Join(strings.Fields(w), " ")
			i := strings.Index(rest, w)
			if i < 0 {
				t.Errorf("%q: no %q behind what was found before in\n%s", c.args, w, out)
				break
			}
			rest = rest[i+len(w):]
		}
		if c.not != "" && strings.Contains(out, c.not) {
			t.Errorf("%q: %q in\n%s", c.args, c.not, out)
		}
		for line := range strings.Lines(out) {
			if len(line) > 81 && !strings.Contains(line, name) && c.args == "" {
				t.Errorf("%d columns: %q", len(line), line)
			}
		}
	}
}

func TestPcapUsage(t *testing.T) {
	name := put(t, mixture(t))
	for _, c := range []struct{ args, problem string }{
		{"", "no capture given"},
		{"/nowhere/x.pcap", "no such file"},
		{".", "directory"},
		{"-o xml " + name, "xml"},
		{"-q -v " + name, "exclude"},
		{"--failed --all " + name, "exclude"},
		{"--cause no-listner " + name, "no-listner"},
		{"--target a:b " + name, "port"},
		{"--target a:99999 " + name, "port"},
		{"--between 5 " + name, "two times"},
		{"--between 5,x " + name, "two times"},
		{"--between 9,5 " + name, "before it begins"},
		{"--follow - " + name, "one capture"},
		{"--follow --target db.example -", "no name"},
		{"--write x -", "second time"},
		{"--write " + name + " " + name, "overwrite"},
		{name + " " + name, "twice"},
		{"- -", "once only"},
		{"--parallel -1 " + name, "--parallel"},
		{"--max-connections -1 " + name, "--max-connections"},
	} {
		code, out, talk := runPcap(t, strings.NewReader(""), strings.Fields(c.args)...)
		if code != 2 || out != "" || !strings.Contains(talk, c.problem) || strings.Count(talk, "\n") != 2 {
			t.Errorf("%q: exit code %d, %q", c.args, code, talk)
		}
	}
}

func TestPcapUnreadable(t *testing.T) {
	whole := mixture(t)
	for what, data := range map[string][]byte{"empty": nil, "text": []byte("hello, world\n")} {
		if code, out, talk := runPcap(t, bytes.NewReader(data), "-"); code != 4 || out != "" || !strings.Contains(talk, "capture") {
			t.Errorf("%s: exit code %d, %q, %q", what, code, out, talk)
		}
	}
	code, out, talk := runPcap(t, bytes.NewReader(whole[:len(whole)-10]), "-")
	if code != 1 || !strings.Contains(talk, "damaged at byte") || !strings.Contains(out, "damaged at byte") || !strings.Contains(out, "5 of 7") {
		t.Errorf("cut: exit code %d, %s%s", code, out, talk)
	}
	if code, out, _ := runPcap(t, bytes.NewReader(whole[:len(whole)-10]), "-o", "json", "-"); code != 1 || !strings.Contains(out, `"damaged":{"offset":`) {
		t.Errorf("cut: exit code %d, %s", code, out)
	}
}

func TestPcapJSON(t *testing.T) {
	name := put(t, mixture(t))
	for _, args := range []string{"", "--all", "-q"} {
		code, out, talk := runPcap(t, nil, append(strings.Fields(args), "-o", "json", name)...)
		if code != 1 || talk != "" {
			t.Errorf("%q: exit code %d, %s", args, code, talk)
		}
		if err := reporttest.ValidateCapture([]byte(out)); err != nil {
			t.Errorf("%q: %v", args, err)
		}
		if n := strings.Count(out, "\n"); n != map[string]int{"": 6, "--all": 9, "-q": 1}[args] {
			t.Errorf("%q: %d lines", args, n)
		}
		if !strings.HasPrefix(out, `{"schema":"tcpwhy.capture/1","kind":"summary"`) {
			t.Errorf("%q begins with %.100s", args, out)
		}
	}
}

func TestPcapCSV(t *testing.T) {
	code, out, _ := runPcap(t, bytes.NewReader(mixture(t)), "-o", "csv", "--all", "-")
	all, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if code != 1 || err != nil || len(all) != 9 || all[0][0] != "first" || all[2][9] != "refused" || all[2][14] != "7" {
		t.Errorf("exit code %d, %v\n%s", code, err, out)
	}
}

// TestPcapParallel: the answer does not depend on how many work.
func TestPcapParallel(t *testing.T) {
	name := put(t, mixture(t))
	_, want, _ := runPcap(t, nil, "-o", "json", "--all", "--parallel", "1", name)
	for _, n := range []string{"2", "5"} {
		if _, got, _ := runPcap(t, nil, "-o", "json", "--all", "--parallel", n, name); got != want {
			t.Errorf("with %s:\n%s\nwith one:\n%s", n, got, want)
		}
	}
}

// TestPcapWrite: the packets of failed connections only, with comments.
func TestPcapWrite(t *testing.T) {
	name := put(t, mixture(t))
	to := filepath.Join(t.TempDir(), "failed.pcapng")
	if code, _, talk := runPcap(t, nil, "--write", to, name); code != 1 || talk != "" {
		t.Fatalf("exit code %d, %s", code, talk)
	}
	f, err := os.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewNgReader(f, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		t.Fatal(err)
	}
	var comments []string
	for {
		_, info, o, err := r.ReadPacketDataWithOptions()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Comments) != 1 {
			t.Fatalf("%d comments", len(o.Comments))
		}
		comments = append(comments, info.Timestamp.UTC().Format("05.000 ")+o.Comments[0])
	}
	want := []string{
		"01.000 SYN, the first try", "01.001 RST from the server's address with TTL 63, the server's other packets have 62: made up on the way, nearer than what sent those",
		"02.000 SYN, the first try", "02.001 RST from the server's address with TTL 63, the server's other packets have 62: made up on the way, nearer than what sent those",
		"03.000 SYN, the first try", "03.001 RST: the SYN is refused, by the server's address",
		"04.000 SYN, the first try, no answer", "05.000 SYN, 2nd try after 1.0 s, no answer", "07.000 SYN, 3rd try after 3.0 s, no answer",
		"10.000 SYN, the first try, no answer", "11.000 SYN, 2nd try after 1.0 s, no answer", "13.000 SYN, 3rd try after 3.0 s, no answer",
	}
	if strings.Join(comments, "\n") != strings.Join(want, "\n") {
		t.Errorf("the comments are\n%s\nwant\n%s", strings.Join(comments, "\n"), strings.Join(want, "\n"))
	}
}

// TestPcapFollow: failed connections come before the capture ends.
func TestPcapFollow(t *testing.T) {
	in, feed := io.Pipe()
	out, heard := io.Pipe()
	var talk bytes.Buffer
	done := make(chan int)
	go func() {
		code := Main([]string{"pcap", "--follow", "-"}, Host{Stdin: in, Stdout: heard, Stderr: &talk, Getenv: func(string) string { return "" }})
		heard.Close()
		done <- code
	}()
	data := mixture(t)
	go func() {
		feed.Write(data)
		tp := newTape(t) // a section of its own, later
		for i := range 10 {
			tp.works(time.Duration(30+i)*time.Second, uint16(41000+i), 22)
		}
		feed.Write(tp.out.Bytes())
	}()
	buf := make([]byte, 4096)
	n, err := io.ReadAtLeast(out, buf, 20)
	if err != nil || !strings.Contains(string(buf[:n]), "192.0.2.1:40001 > 198.51.100.7:81") {
		t.Fatalf("%v, %q", err, buf[:n])
	}
	feed.Close()
	rest, err := io.ReadAll(out)
	if code := <-done; code != 1 || err != nil || !strings.Contains(string(rest), "of 18 connections failed") {
		t.Errorf("exit code %d, %v, %s%s", code, err, rest, &talk)
	}
}
