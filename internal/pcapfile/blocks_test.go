package pcapfile_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
)

// TestBlocks: texts, times, lengths and directions come back from our own reader
// and from Wireshark's, hostile ones as valid text of bounded length.
func TestBlocks(t *testing.T) {
	var out bytes.Buffer
	w := pcapfile.NewBlocks(&out)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	frame := append(make([]byte, 12), 0x88, 0xb5, 1, 2, 3) // an experimental EtherType
	check(w.Section("tcpwhy test", "about \xff all"))
	for n, name := range []string{"lan0", "", "w\xfflan", strings.Repeat("é", 40_000)} {
		i, err := w.Interface(1, name, "of a.pcap", pcapfile.Nanoseconds)
		check(err)
		if i != n {
			t.Errorf("interface %d is %d", n, i)
		}
	}
	const at = 1_700_000_000_123_456_789
	check(w.Packet(&pcapfile.Captured{Time: at, Interface: 0, Length: 1500, Data: frame, Dir: pcapfile.DirOut, Comment: "a \x1b[31m comment"}))
	check(w.Packet(&pcapfile.Captured{Time: at + 1, Interface: 2, Data: frame, Dir: pcapfile.DirIn, Comment: strings.Repeat("é", 40_000)}))
	check(w.Packet(&pcapfile.Captured{Time: at + 2, Interface: 1, Data: frame}))
	check(w.Section("tcpwhy test", ""))
	i, err := w.Interface(1, "again", "", pcapfile.Nanoseconds)
	check(err)
	check(w.Packet(&pcapfile.Captured{Time: at + 3, Interface: i, Data: frame}))

	file := filepath.Join(t.TempDir(), "a.pcapng")
	check(os.WriteFile(file, out.Bytes(), 0o600))
	r, err := pcapfile.Open(file, pcapfile.ReadOptions{})
	check(err)
	defer r.Close()
	var b pcapfile.Batch
	check(r.ReadBatch(t.Context(), &b))
	if len(b.Records) != 4 {
		t.Fatalf("%d records", len(b.Records))
	}
	for i := range b.Records {
		rec := &b.Records[i]
		want := pcapfile.Record{Time: at + int64(i), Iface: []uint8{0, 2, 1, 0}[i], OrigLen: []uint32{1500, 17, 17, 17}[i], Dir: []pcapfile.Direction{pcapfile.DirOut, pcapfile.DirIn, 0, 0}[i]}
		if rec.Time != want.Time || rec.Iface != want.Iface || rec.OrigLen != want.OrigLen || rec.Dir != want.Dir || !bytes.Equal(b.Packet(rec), frame) {
			t.Errorf("record %d: %+v", i, rec)
		}
	}

	cmd := exec.CommandContext(t.Context(), nettest.NeedProgram(t, "tshark"), "-n", "-r", file, "-T", "fields",
		"-e", "frame.interface_name", "-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.packet_flags_direction", "-e", "frame.comment")
	text, err := cmd.Output()
	check(err)
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if len(lines) != 4 || !utf8.Valid(text) {
		t.Fatalf("%q", text)
	}
	// The name in the second section is left out: tshark 4.0 takes those of the first.
	for i, want := range []string{"lan0\t1700000000.123456789\t1500\t0x00000002\ta ", "w\uFFFDlan\t1700000000.123456790\t17\t0x00000001\téé", "\t1700000000.123456791\t17\t\t", "\t1700000000.123456792\t17\t\t"} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("packet %d: %.200q, want %q", i+1, lines[i], want)
		}
	}
}
