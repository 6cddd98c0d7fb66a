package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
)

// within starts a command in a namespace; end interrupts it and waits.
func within(t *testing.T, ns *netns.NS, cmd *exec.Cmd) (end func()) {
	t.Helper()
	if err := ns.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	over := false
	t.Cleanup(func() {
		if !over {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return func() {
		cmd.Process.Signal(syscall.SIGINT)
		cmd.Wait()
		over = true
	}
}

// longAndShort makes one connection that carries megabytes, between its parts
// attempts at a port where nothing listens, and an attempt at lastPort at the end.
func longAndShort(ns *netns.NS, rounds, each int) error {
	refused := func(port string) error {
		if _, err := net.Dial("tcp", "127.0.0.1:"+port); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("port %s: %v", port, err)
		}
		return nil
	}
	return ns.Do(func() error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		done := make(chan error, 1)
		go func() {
			c, err := l.Accept()
			if err == nil {
				_, err = io.Copy(c, c)
				c.Close()
			}
			done <- err
		}()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return err
		}
		data := make([]byte, each)
		for range rounds {
			if _, err := c.Write(data); err != nil {
				return err
			}
			if _, err := io.ReadFull(c, data); err != nil {
				return err
			}
			if err := refused("1"); err != nil {
				return err
			}
		}
		c.(*net.TCPConn).CloseWrite()
		if _, err := c.Read(data); err != io.EOF {
			return err
		}
		c.Close()
		if err := <-done; err != nil {
			return err
		}
		return refused(lastPort)
	})
}

const lastPort = "2"

// counted is the summary of captures.
type counted struct {
	Kind    string
	FileSet bool `json:"file_set"`
	Files   []struct{ Name string }
	Missing []struct{ Names []string }
	Packets struct {
		All   int
		Drops *int `json:"kernel_drops"`
	}
	Connections struct{ All, Older, Fine, Failed, Undecided int }
}

// summaryOf runs the program on captures; talk is what it complains of.
func summaryOf(t *testing.T, program string, args ...string) (c counted, talk string) {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, append([]string{"pcap", "-q", "-o", "json"}, args...)...)
	cmd.Stderr = &said
	out, _ := cmd.Output()
	if err := json.Unmarshal(out, &c); err != nil {
		t.Fatalf("%q: %v, %s%s", args, err, out, &said)
	}
	if err := reporttest.ValidateCapture(out); err != nil {
		t.Error(err)
	}
	return c, said.String()
}

// countedBy is summaryOf captures that are whole.
func countedBy(t *testing.T, program string, args ...string) counted {
	t.Helper()
	c, talk := summaryOf(t, program, args...)
	if talk != "" {
		t.Fatalf("%q: %s", args, talk)
	}
	return c
}

// untilTheEnd waits for the last connection of longAndShort in files that are
// being written: the last one may end anywhere, and those of a ring may go while
// they are read.
func untilTheEnd(t *testing.T, program string, files func() []string) {
	t.Helper()
	nettest.Eventually(t, "the end is not in the capture", func() bool {
		args := append([]string{"pcap", "-q", "-o", "json", "--file-set", "--target", ":" + lastPort}, files()...)
		out, _ := exec.CommandContext(t.Context(), program, args...).Output()
		var c counted
		return json.Unmarshal(out, &c) == nil && c.Connections.Failed == 1
	})
}

// TestFileSetOfTcpdump: the files that tcpdump -C writes are one capture, in
// whatever order they are named, as mergecap makes one of them.
func TestFileSetOfTcpdump(t *testing.T) {
	nettest.NeedRoot(t) // as root of a user namespace tcpdump would change its user, which that forbids
	tcpdump, mergecap := nettest.NeedProgram(t, "tcpdump"), nettest.NeedProgram(t, "mergecap")
	program := nettest.Build(t, "../cmd/tcpwhy")
	dir := t.TempDir()
	ns := nettest.Loopback(t)
	// Without --immediate-mode its ring has no slots that the snap length bounds,
	// and holds all that is sent.
	cmd := exec.Command(tcpdump, "-i", "lo", "-B", "65536", "-U", "-Z", "root", "-C", "1", "-w", filepath.Join(dir, "a.pcap"), "tcp")
	said := newWatcher("listening on")
	cmd.Stderr = said
	end := within(t, ns, cmd)
	select {
	case <-said.seen:
	case <-time.After(hang):
		t.Fatalf("tcpdump does not begin: %s", said.text())
	}
	const rounds = 12
	if err := longAndShort(ns, rounds, 500_000); err != nil {
		t.Fatal(err)
	}
	files := func() []string {
		names, _ := filepath.Glob(filepath.Join(dir, "a.pcap*"))
		return names
	}
	untilTheEnd(t, program, files)
	end()
	if !strings.Contains(said.text(), "\n0 packets dropped by kernel") {
		t.Fatalf("the test is at its limits: %s", said.text())
	}
	names := files()
	if len(names) < 11 { // a.pcap10 sorts before a.pcap2
		t.Fatalf("only %d files: %v", len(names), names)
	}
	merged := filepath.Join(dir, "merged.pcapng")
	if out, err := exec.Command(mergecap, append([]string{"-w", merged}, names...)...).CombinedOutput(); err != nil {
		t.Fatalf("mergecap: %v, %s", err, out)
	}
	whole, set := countedBy(t, program, merged), countedBy(t, program, append([]string{"--file-set"}, names...)...)
	if !set.FileSet || set.Packets != whole.Packets || set.Connections != whole.Connections || set.Connections.Failed != rounds+1 || set.Connections.Fine != 1 || set.Connections.All != rounds+2 {
		t.Errorf("as a file set %+v, by mergecap %+v", set, whole)
	}
	var order []string
	for i := range names {
		order = append(order, filepath.Join(dir, "a.pcap"+map[bool]string{true: "", false: fmt.Sprint(i)}[i == 0]))
	}
	for i, f := range set.Files {
		if f.Name != order[i] {
			t.Errorf("file %d is %s, want %s", i, f.Name, order[i])
		}
	}
	slices.Reverse(names)
	if back := countedBy(t, program, append([]string{"--file-set"}, names...)...); back.Connections != set.Connections {
		t.Errorf("in the other order %+v", back)
	}
	if each := countedBy(t, program, names...); each.FileSet || each.Connections.Older != len(names)-1 {
		t.Errorf("each by itself %+v, of %d files", each, len(names))
	}
	without(t, program, order, 5, order[5])
}

// without reads the files of a set, in their order, but one: which it is, is said.
func without(t *testing.T, program string, order []string, one int, says string) {
	t.Helper()
	rest := slices.Delete(slices.Clone(order), one, one+1)
	c, talk := summaryOf(t, program, append([]string{"--file-set"}, rest...)...)
	if len(c.Missing) != 1 || !slices.Equal(c.Missing[0].Names, []string{says}) || !strings.Contains(talk, says+" is missing") || strings.Count(talk, "\n") != 2 {
		t.Errorf("without %s: %+v, %s", order[one], c.Missing, talk)
	}
}

// ringOf has a program write what longAndShort does into a ring of files, waits for
// the end of it, and gives the files in the order of time.
func ringOf(t *testing.T, program, begins, pattern string, cmd *exec.Cmd) (order []string) {
	t.Helper()
	ns := nettest.Loopback(t)
	said := newWatcher(begins)
	cmd.Stderr = said
	end := within(t, ns, cmd)
	select {
	case <-said.seen:
	case <-time.After(hang):
		t.Fatalf("%v does not begin: %s", cmd.Args, said.text())
	}
	if err := longAndShort(ns, 12, 500_000); err != nil {
		t.Fatal(err)
	}
	files := func() []string {
		names, _ := filepath.Glob(pattern)
		return names
	}
	untilTheEnd(t, program, files)
	end()
	for _, f := range countedBy(t, program, append([]string{"--file-set"}, files()...)...).Files {
		order = append(order, f.Name)
	}
	return order
}

// TestFileSetOfRings: a ring that has wrapped, or has lost its oldest files, misses
// nothing; one without a file in the middle does.
func TestFileSetOfRings(t *testing.T) {
	nettest.NeedRoot(t) // as in TestFileSetOfTcpdump
	program := nettest.Build(t, "../cmd/tcpwhy")
	t.Run("tcpdump", func(t *testing.T) {
		base := filepath.Join(t.TempDir(), "a.pcap")
		order := ringOf(t, program, "listening on", base+"*", exec.Command(nettest.NeedProgram(t, "tcpdump"),
			"-i", "lo", "-B", "65536", "-U", "-Z", "root", "-C", "1", "-W", "7", "-w", base, "tcp"))
		if len(order) != 7 || order[0] == base+"0" {
			t.Fatalf("the ring has not wrapped: %v", order)
		}
		// One of which the numbers before and behind it tell, not where 0 follows.
		one := slices.IndexFunc(order[2:6], func(n string) bool { return n != base+"0" && n != base+"6" }) + 2
		without(t, program, order, one, order[one])
	})
	t.Run("dumpcap", func(t *testing.T) {
		base := filepath.Join(t.TempDir(), "a")
		order := ringOf(t, program, "File: ", base+"_*", exec.Command(nettest.NeedProgram(t, "dumpcap"),
			"-i", "lo", "-B", "64", "-f", "tcp", "-b", "filesize:1000", "-b", "files:6", "-w", base+".pcapng"))
		if len(order) != 6 || strings.HasPrefix(order[0], base+"_00001_") {
			t.Fatalf("the ring has not lost files: %v", order)
		}
		without(t, program, order, 2, order[2][:len(base)+len("_00001_")]+"*.pcapng")
	})
}

// TestFileSetOfOurs: so are those of tcpwhy capture --size.
func TestFileSetOfOurs(t *testing.T) {
	nettest.InUserNS(t, testFileSetOfOurs)
}

func testFileSetOfOurs(t *testing.T) {
	program := nettest.Build(t, "../cmd/tcpwhy")
	file := filepath.Join(t.TempDir(), "a.pcapng")
	ns := nettest.Loopback(t)
	var out, talk bytes.Buffer
	cmd := exec.Command(program, "capture", "-o", "json", "-w", file, "--size", "64kB", "--snaplen", "256", "tcp")
	cmd.Stdout, cmd.Stderr = &out, &talk
	end := within(t, ns, cmd)
	pattern := strings.TrimSuffix(file, ".pcapng") + "-*.pcapng"
	nettest.Eventually(t, "the capture does not begin", func() bool { return isFile(pattern) })
	const rounds = 60
	if err := longAndShort(ns, rounds, 100_000); err != nil {
		t.Fatal(err)
	}
	files := func() []string {
		names, _ := filepath.Glob(pattern)
		return names
	}
	untilTheEnd(t, program, files)
	end()
	names := files()
	set := countedBy(t, program, append([]string{"--file-set"}, names...)...)
	if len(names) < 2 || !set.FileSet || set.Connections.All != rounds+2 || set.Connections.Failed != rounds+1 || set.Connections.Fine != 1 {
		t.Errorf("%d files, %+v", len(names), set)
	}
	// As many names as tell that they are no times of day.
	if one := len(names) / 2; len(names) >= 5 {
		without(t, program, names, one, names[one])
	}
	live := last(t, out.Bytes())
	if live.Connections != set.Connections || live.Packets.Drops == nil || *live.Packets.Drops != 0 || set.Packets.Drops != nil {
		t.Errorf("live %+v, from the files %+v; %s", live, set, &talk)
	}
}

// last is the summary at the end of what tcpwhy capture prints.
func last(t *testing.T, out []byte) (c counted) {
	t.Helper()
	if err := reporttest.ValidateCapture(out); err != nil {
		t.Error(err)
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &c); err != nil || c.Kind != "summary" {
		t.Fatalf("%v: %s", err, lines[len(lines)-1])
	}
	return c
}

// TestKernelDrops stops a capture while more comes than there is room for: what
// the kernel dropped is in the summary.
func TestKernelDrops(t *testing.T) {
	nettest.InUserNS(t, testKernelDrops)
}

func testKernelDrops(t *testing.T) {
	program := nettest.Build(t, "../cmd/tcpwhy")
	file := filepath.Join(t.TempDir(), "a.pcapng")
	ns := nettest.Loopback(t)
	var out, talk bytes.Buffer
	cmd := exec.Command(program, "capture", "-o", "json", "-w", file, "udp")
	cmd.Stdout, cmd.Stderr = &out, &talk
	end := within(t, ns, cmd)
	nettest.Eventually(t, "the capture does not begin", func() bool { return isFile(file) })
	cmd.Process.Signal(syscall.SIGSTOP)
	const n, size = 4000, 32 << 10 // 125 MiB; the ring has 32
	err := ns.Do(func() error {
		to, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer to.Close()
		from, err := net.Dial("udp", to.LocalAddr().String())
		if err != nil {
			return err
		}
		defer from.Close()
		for range n {
			if _, err := from.Write(make([]byte, size)); err != nil {
				return err
			}
		}
		return nil
	})
	cmd.Process.Signal(syscall.SIGCONT)
	if err != nil {
		t.Fatal(err)
	}
	end()
	c := last(t, out.Bytes())
	if c.Packets.Drops == nil || *c.Packets.Drops == 0 || c.Packets.All == 0 || c.Packets.All+*c.Packets.Drops < n {
		t.Fatalf("%+v of %d packets; %s", c, n, &talk)
	}
	if !strings.Contains(talk.String(), fmt.Sprintf("%d dropped by the kernel", *c.Packets.Drops)) {
		t.Errorf("%d in JSON, and %s", *c.Packets.Drops, &talk)
	}
}
