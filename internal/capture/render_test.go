package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/diagnose"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// TestOrdered: the results come in order whoever is done first, and nothing is
// left running when who takes them stops.
func TestOrdered(t *testing.T) {
	nettest.LeakCheck(t)
	var runs [][]int
	for i := range 100 {
		runs = append(runs, []int{i})
	}
	for _, workers := range []int{1, 2, 7} {
		for _, most := range []int{1, 5, 100} {
			second := make(chan struct{})
			do := func(run []int) int {
				switch run[0] {
				case 0:
					if workers > 1 {
						<-second
					}
				case 1:
					close(second)
				}
				return run[0]
			}
			next := 0
			for got := range ordered(workers, slices.Values(runs), do) {
				if got != next {
					t.Fatalf("%d workers: %d comes as number %d", workers, got, next)
				}
				if next++; next == most {
					break
				}
			}
			if next != most {
				t.Errorf("%d workers: %d results, want %d", workers, next, most)
			}
		}
	}
}

// refusals is what a capture of n connections that are refused holds.
func refusals(t *testing.T, n, parallel int) *Result {
	t.Helper()
	var out bytes.Buffer
	w := pcapfile.NewWriter(&out, "test")
	at := time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)
	client, server := netip.MustParseAddr("192.0.2.1"), netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), 81)
	for i := range n {
		from := netip.AddrPortFrom(client, uint16(20000+i))
		for _, s := range []wire.Segment{
			{Src: from, Dst: server, TTL: 64, Seq: 1, Flags: wire.SYN, Window: 1000},
			{Src: server, Dst: from, TTL: 60, Ack: 2, Flags: wire.RST | wire.ACK},
		} {
			at = at.Add(time.Millisecond)
			data := s.Append(nil)
			if err := w.Write(pcapfile.Packet{Time: at, Name: "lan0", EtherType: 0x0800, HardwareType: 1, Data: data, OriginalLength: len(data)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	r, err := Analyze(t.Context(), []Source{FromStream("test", &out)}, Options{Parallelism: parallel})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRender: all in order, whatever the parallelism, until the first error.
func TestRender(t *testing.T) {
	nettest.LeakCheck(t)
	const n = 300
	bad := errors.New("no more")
	for _, parallel := range []int{1, 4} {
		r := refusals(t, n, parallel)
		for _, end := range []int{n, 150, 0} {
			one := func(w io.Writer, c *Connection) error {
				i := int(c.Number / 2) // of two packets each
				if i == end {
					return bad
				}
				_, err := fmt.Fprintf(w, "%d %v %s %d\n", i, c.Client, c.Verdict.Cause, len(c.Facts))
				return err
			}
			var out bytes.Buffer
			err := r.Render(&out, Filter{}, OnlyFailed, one)
			if (err == bad) != (end < n) || err != nil && err != bad {
				t.Errorf("%d at a time, to %d: %v", parallel, end, err)
			}
			i := 0
			for line := range bytes.Lines(out.Bytes()) {
				if want := fmt.Sprintf("%d 192.0.2.1:%d no-listener ", i, 20000+i); !bytes.HasPrefix(line, []byte(want)) {
					t.Fatalf("line %d is %q, want %q…", i, line, want)
				}
				i++
			}
			if i != end {
				t.Errorf("%d at a time, to %d: %d lines", parallel, end, i)
			}
		}
		cut, in := io.Pipe()
		cut.CloseWithError(bad)
		if err := r.Render(in, Filter{}, OnlyFailed, func(w io.Writer, _ *Connection) error { _, err := io.WriteString(w, "x"); return err }); err != bad {
			t.Errorf("a writer that fails: %v", err)
		}
		i := 0
		for c := range r.Connections(Filter{}, OnlyFailed) {
			if c.Client.Port() != uint16(20000+i) {
				t.Fatalf("connection %d is of port %d", i, c.Client.Port())
			}
			if i++; i == 100 {
				break
			}
		}
	}
}

// TestMemo: what is remembered of others changes nothing.
func TestMemo(t *testing.T) {
	r := random{rand.New(rand.NewPCG(5, 6))}
	var m diagnose.Memo
	for range 2000 {
		c := r.conversation()
		wantFacts, want := diagnose.Conversation(c)
		facts, got := m.Conversation(c)
		if !reflect.DeepEqual(facts, wantFacts) || !reflect.DeepEqual(got, want) {
			t.Fatalf("alone, and with others:\n%+v\n%+v", want, got)
		}
	}
}
