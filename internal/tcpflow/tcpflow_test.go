package tcpflow_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow/flowtest"
)

// analyze gives all connections of a capture.
func analyze(t testing.TB, capture []byte, ro pcapfile.ReadOptions, o tcpflow.Options) ([]*tcpflow.Conn, *tcpflow.Summary) {
	t.Helper()
	r, err := pcapfile.NewReader(bytes.NewReader(capture), ro)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var conns []*tcpflow.Conn
	o.Conn = func(c *tcpflow.Conn) error { conns = append(conns, c.Clone()); return nil }
	s, err := tcpflow.Analyze(t.Context(), r, o)
	if err != nil {
		t.Fatal(err)
	}
	return conns, s
}

func generate(t testing.TB, c flowtest.Config) ([]byte, flowtest.Truth) {
	t.Helper()
	var b bytes.Buffer
	truth, err := flowtest.Write(&b, c)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), truth
}

// What the generator did is what is found.
func TestTruth(t *testing.T) {
	capture, truth := generate(t, flowtest.Config{Connections: 3000, Seconds: 5, Seed: 1, Snaplen: 128})
	conns, s := analyze(t, capture, pcapfile.ReadOptions{}, tcpflow.Options{})
	if s.Packets != truth.Packets || s.TCP+s.ICMP != truth.Packets || s.Connections != 3000 {
		t.Errorf("%+v, want %d packets and 3000 connections", s.Counts, truth.Packets)
	}
	outcomes := map[string]int{}
	var repeated, again, resets int
	for _, c := range conns {
		outcomes[c.Outcome.String()]++
		repeated += int(c.SYN.Count) - 1
		resets += int(c.ResetCount)
		for _, d := range c.Dir {
			again += int(d.Retransmissions)
			if d.OutOfOrder+d.DupACKs+d.LostSegments+d.ZeroWindows+d.KeepAlives > 0 {
				t.Errorf("%+v", d)
			}
		}
		if c.SYNACK.Count > 1 {
			again -= int(c.SYNACK.Count) - 1
		}
	}
	if !maps.Equal(outcomes, truth.Outcomes) {
		t.Errorf("%v, want %v", outcomes, truth.Outcomes)
	}
	if repeated != truth.RepeatedSYNs || resets != truth.Resets || again != truth.Retransmissions+repeated {
		t.Errorf("%d SYNs again, %d RSTs, %d retransmissions; want %+v", repeated, resets, again, truth)
	}
}

// The answer is the same whatever the parallelism and the size of batches,
// also where the table is too small.
func TestSameWhateverParallelism(t *testing.T) {
	capture, _ := generate(t, flowtest.Config{Connections: 1500, Seconds: 5, Seed: 2, Snaplen: 100})
	for _, o := range []tcpflow.Options{{}, {MaxConnections: 96}, {Linger: 2 * time.Second}} {
		var want []*tcpflow.Conn
		var sum *tcpflow.Summary
		for _, n := range []int{1, 2, 3, 8} {
			for _, size := range []int{0, 3000} {
				conns, s := analyze(t, capture, pcapfile.ReadOptions{BatchBytes: size}, with(o, n))
				if want == nil {
					want, sum = conns, s
					inOrder := slices.IsSortedFunc(conns, func(a, b *tcpflow.Conn) int { return cmp.Compare(a.ID, b.ID) })
					if (o.MaxConnections > 0) != (s.LetGo > 0) || inOrder != (o.MaxConnections == 0 && o.Linger == 0) {
						t.Errorf("in order: %v, %+v", inOrder, s.Counts)
					}
					continue
				}
				if d := gocmp.Diff(sum, s, cmpopts.EquateComparable()); d != "" {
					t.Fatalf("%d goroutines, batches of %d: %s", n, size, d)
				}
				if !slices.EqualFunc(want, conns, func(a, b *tcpflow.Conn) bool {
					return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b)
				}) {
					t.Fatalf("%d goroutines, batches of %d: other connections", n, size)
				}
			}
		}
	}
}

func with(o tcpflow.Options, parallelism int) tcpflow.Options {
	o.Parallelism = parallelism
	return o
}

// A table that is too small loses no packet, and prefers what is finished.
func TestBoundedTable(t *testing.T) {
	capture, truth := generate(t, flowtest.Config{Connections: 3000, Seconds: 60, Seed: 3, Snaplen: 128})
	conns, s := analyze(t, capture, pcapfile.ReadOptions{}, tcpflow.Options{MaxConnections: 1600})
	var packets uint64
	letGo, unfinished := 0, 0
	last := uint64(0)
	for _, c := range conns {
		packets += c.Dir[0].Packets + c.Dir[1].Packets
		if c.LetGo {
			letGo++
			if c.Outcome == tcpflow.TimedOut || c.Outcome == tcpflow.Open {
				unfinished++
			}
			continue
		}
		if c.ID <= last {
			t.Errorf("connection %d comes after %d", c.ID, last)
		}
		last = c.ID
	}
	if packets != s.TCP || s.TCP+s.ICMP != truth.Packets {
		t.Errorf("%d packets in connections, %d TCP, %d written", packets, s.TCP, truth.Packets)
	}
	if letGo == 0 || uint64(letGo) != s.LetGo || s.Connections != uint64(len(conns)) {
		t.Errorf("%d let go: %+v", letGo, s.Counts)
	}
	if unfinished > letGo/4 {
		t.Errorf("%d of %d let go were not finished", unfinished, letGo)
	}
}

func TestCallbackError(t *testing.T) {
	capture, _ := generate(t, flowtest.Config{Connections: 500, Seconds: 1, Seed: 4})
	stop := errors.New("enough")
	for _, most := range []int{0, 32} {
		r, err := pcapfile.NewReader(bytes.NewReader(capture), pcapfile.ReadOptions{BatchBytes: 5000})
		if err != nil {
			t.Fatal(err)
		}
		calls := 0
		_, err = tcpflow.Analyze(t.Context(), r, tcpflow.Options{MaxConnections: most, Conn: func(*tcpflow.Conn) error { calls++; return stop }})
		if !errors.Is(err, stop) || calls != 1 {
			t.Errorf("most %d: %v after %d calls", most, err, calls)
		}
	}
}

func TestCancelled(t *testing.T) {
	capture, _ := generate(t, flowtest.Config{Connections: 500, Seconds: 1, Seed: 4})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := pcapfile.NewReader(bytes.NewReader(capture), pcapfile.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := tcpflow.Analyze(ctx, r, tcpflow.Options{}); !errors.Is(err, context.Canceled) || s == nil {
		t.Errorf("%v, %v", s, err)
	}
}

// A capture that ends within a packet keeps what it holds.
func TestDamage(t *testing.T) {
	capture, truth := generate(t, flowtest.Config{Connections: 50, Seconds: 1, Seed: 5})
	r, err := pcapfile.NewReader(bytes.NewReader(capture[:len(capture)-5]), pcapfile.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	s, err := tcpflow.Analyze(t.Context(), r, tcpflow.Options{Conn: func(*tcpflow.Conn) error { n++; return nil }})
	var damage *pcapfile.DamageError
	if !errors.As(err, &damage) || s.Packets != truth.Packets-1 || n != 50 {
		t.Errorf("%v; %+v; %d connections", err, s.Counts, n)
	}
}

// A file that grows gives its connections as they end, and its end is that of
// the context.
func TestFollow(t *testing.T) {
	capture, _ := generate(t, flowtest.Config{Connections: 300, Seconds: 30, Seed: 6})
	path := filepath.Join(t.TempDir(), "grows.pcap")
	half := len(capture) / 2
	if err := os.WriteFile(path, capture[:half], 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := pcapfile.Open(path, pcapfile.ReadOptions{Follow: true, BatchBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	early, grown := 0, false
	s, err := tcpflow.Analyze(ctx, r, tcpflow.Options{Linger: 3e9, Conn: func(c *tcpflow.Conn) error {
		early++
		if !grown {
			grown = true
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.Write(capture[half:])
			return errors.Join(err, f.Close())
		}
		if early == 150 {
			cancel()
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if early < 150 || s.LetGo != 0 || s.Connections < 150 {
		t.Errorf("%d handed out early: %+v", early, s.Counts)
	}
}
