package tcpflow

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow/flowtest"
)

// TestQueueBounded: connections that had to leave a small table do not stay in
// the queue of those to be looked at.
func TestQueueBounded(t *testing.T) {
	var capture bytes.Buffer
	if _, err := flowtest.Write(&capture, flowtest.Config{Connections: 5000, Seconds: 1, Seed: 5, Snaplen: 128}); err != nil {
		t.Fatal(err)
	}
	r, err := pcapfile.NewReader(&capture, pcapfile.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a := newAnalysis(r, Options{Parallelism: 1, MaxConnections: 4 * shards, Linger: time.Hour, Part: func(int, *Conn) error { return nil }})
	defer a.arena.release()
	a.cancel = func(error) {}
	a.work(t.Context(), &a.workers[0])
	for k := range a.shards {
		for _, q := range []*lingerQueue{&a.shards[k].young, &a.shards[k].later} {
			if n := cap(q.all); n > 32 {
				t.Errorf("room for %d in the queue of a table for 4", n)
			}
		}
	}
}

// TestAfter: the end of time is not passed.
func TestAfter(t *testing.T) {
	for _, c := range [][3]int64{{1, 2, 3}, {math.MaxInt64 - 1, 2, math.MaxInt64}, {math.MinInt64, 2, math.MinInt64 + 2}} {
		if got := after(c[0], c[1]); got != c[2] {
			t.Errorf("%d after %d: %d", c[1], c[0], got)
		}
	}
}
