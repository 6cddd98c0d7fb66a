package caplive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/tcpwhy/tcpwhy/internal/afpacket"
	"github.com/tcpwhy/tcpwhy/internal/caplive"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
)

// everything is a filter that leaves packets whole.
func everything(t *testing.T) []bpf.RawInstruction {
	t.Helper()
	p, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: afpacket.MaxPacket}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// start begins a capture in a namespace and returns what ends it.
func start(t *testing.T, ns *netns.NS, o caplive.Options) (end func() *caplive.Summary) {
	t.Helper()
	if o.Filter == nil {
		o.Filter = everything(t)
	}
	var c *caplive.Capture
	if err := ns.Do(func() (err error) { c, err = caplive.Start(o); return err }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	type result struct {
		sum *caplive.Summary
		err error
	}
	done := make(chan result, 1)
	go func() {
		sum, err := c.Run(ctx)
		done <- result{sum, err}
	}()
	return func() *caplive.Summary {
		cancel()
		r := <-done
		if r.err != nil {
			t.Fatal(r.err)
		}
		return r.sum
	}
}

// send sends datagrams with numbers over the loopback.
func send(t *testing.T, ns *netns.NS, n, size int) {
	t.Helper()
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
		for i := range n {
			b := make([]byte, size)
			copy(b, fmt.Sprintf("%08d", i))
			if _, err := from.Write(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// numbers reads those of the datagrams in captures, in order.
func numbers(t *testing.T, files ...string) (out []string) {
	t.Helper()
	for _, file := range files {
		r, err := pcapfile.Open(file, pcapfile.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for b := new(pcapfile.Batch); r.ReadBatch(t.Context(), b) == nil; {
			for i := range b.Records {
				if p := b.Packet(&b.Records[i]); len(p) >= 20+28+8 {
					out = append(out, string(p[20+28:20+28+8]))
				}
			}
		}
		r.Close()
	}
	return out
}

func inOrder(t *testing.T, got []string, from, to int) {
	t.Helper()
	if len(got) != to-from {
		t.Fatalf("%d packets, want %d", len(got), to-from)
	}
	for i, s := range got {
		if s != fmt.Sprintf("%08d", from+i) {
			t.Fatalf("packet %d is %s", from+i, s)
		}
	}
}

func TestKeepsAllInOrder(t *testing.T) { nettest.InUserNS(t, testKeepsAllInOrder) }

func testKeepsAllInOrder(t *testing.T) {
	ns := nettest.Loopback(t)
	file := filepath.Join(t.TempDir(), "a.pcapng")
	var copied bytes.Buffer
	end := start(t, ns, caplive.Options{Files: &caplive.Files{Path: file}, Copy: &copied})
	const n = 3000
	send(t, ns, n, 100)
	sum := end()
	if sum.Packets != n || sum.Dropped != 0 {
		t.Errorf("%+v, want %d packets", sum, n)
	}
	inOrder(t, numbers(t, file), 0, n)
	// The copy is the same, but for the empty head of the file.
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(b, copied.Bytes()[copied.Len()/2:]) {
		t.Error("the copy differs")
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v", info.Mode())
	}
}

func TestRingOfFiles(t *testing.T) { nettest.InUserNS(t, testRingOfFiles) }

func testRingOfFiles(t *testing.T) {
	ns := nettest.Loopback(t)
	dir := t.TempDir()
	files := &caplive.Files{Path: filepath.Join(dir, "a.pcapng"), Size: 64 << 10, Keep: 3}
	end := start(t, ns, caplive.Options{Files: files})
	const n = 1000
	send(t, ns, n, 1000)
	end()
	names := files.Names()
	there, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(names) != 3 || len(there) != 3 {
		t.Fatalf("files are %v, there are %v", names, there)
	}
	got := numbers(t, names...)
	inOrder(t, got, n-len(got), n)
	for _, name := range names[:2] {
		if info, err := os.Stat(name); err != nil || info.Size() < 64<<10 || info.Size() > 70<<10 {
			t.Errorf("%s: %v, %v", name, info.Size(), err)
		}
	}
}

func TestCount(t *testing.T) { nettest.InUserNS(t, testCount) }

func testCount(t *testing.T) {
	ns := nettest.Loopback(t)
	file := filepath.Join(t.TempDir(), "a.pcapng")
	end := start(t, ns, caplive.Options{Files: &caplive.Files{Path: file}, Count: 5})
	send(t, ns, 50, 100)
	// It ends by itself: wait for the file to hold all.
	nettest.Eventually(t, "the file does not hold the packets", func() bool {
		info, err := os.Stat(file)
		return err == nil && info.Size() > 0 && len(numbers(t, file)) == 5
	})
	if sum := end(); sum.Packets != 5 {
		t.Errorf("%d packets, want 5", sum.Packets)
	}
	inOrder(t, numbers(t, file), 0, 5)
}

// TestSoon reads packets from the file while the capture goes on.
func TestSoon(t *testing.T) { nettest.InUserNS(t, testSoon) }

func testSoon(t *testing.T) {
	ns := nettest.Loopback(t)
	file := filepath.Join(t.TempDir(), "a.pcapng")
	end := start(t, ns, caplive.Options{Files: &caplive.Files{Path: file}})
	defer end()
	nettest.Eventually(t, "the file does not hold the packets", func() bool {
		_, err := pcapfile.Open(file, pcapfile.ReadOptions{})
		return err == nil // the file is whole though empty
	})
	send(t, ns, 1, 100)
	nettest.Eventually(t, "the file does not hold the packets", func() bool { return len(numbers(t, file)) == 1 })
}

// TestDropsAreCounted sends more than a small ring holds while nobody reads.
func TestDropsAreCounted(t *testing.T) { nettest.InUserNS(t, testDropsAreCounted) }

func testDropsAreCounted(t *testing.T) {
	ns := nettest.Loopback(t)
	told := 0
	hold := make(chan struct{})
	o := caplive.Options{Filter: everything(t), Copy: blocked{hold}, Dropped: func(n int) { told += n }}
	o.Ring.Bytes = 1 << 20
	end := start(t, ns, o)
	const n = 2000
	send(t, ns, n, 1400)
	close(hold)
	sum := end()
	if sum.Dropped == 0 || told != int(sum.Dropped) || sum.Packets+sum.Dropped/2 > n || sum.Packets+sum.Dropped < n {
		t.Errorf("%+v, %d told, of %d packets", sum, told, n)
	}
}

// blocked takes nothing until its channel closes.
type blocked struct{ until chan struct{} }

func (b blocked) Write(p []byte) (int, error) {
	<-b.until
	return len(p), nil
}

func TestWithoutPrivilege(t *testing.T) {
	if os.Geteuid() == 0 {
		return // who has the privilege sees the other tests
	}
	_, err := caplive.Start(caplive.Options{Filter: everything(t)})
	var denied *afpacket.PermissionError
	if err != nil && (!errors.As(err, &denied) || !errors.Is(err, fs.ErrPermission)) {
		t.Errorf("%v", err)
	}
}
