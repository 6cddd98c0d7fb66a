package tcpflow_test

import (
	"io"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// What has come through a stream is told at once: no worker waits for more of
// it with packets left to apply.
func TestTellsWhileItWaits(t *testing.T) {
	const rounds, syns = 40, 2000
	first := func(i uint64) uint64 { return i*(syns+1) + 1 }
	for _, n := range []int{1, 2, 5} {
		pr, pw := io.Pipe()
		told, ended := make(chan uint64, rounds), make(chan error, 1)
		go func() {
			r, err := pcapfile.NewReader(pr, pcapfile.ReadOptions{})
			if err == nil {
				_, err = tcpflow.Analyze(t.Context(), r, tcpflow.Options{
					Parallelism: n, Linger: time.Second,
					Conn: func(c *tcpflow.Conn) error { told <- c.ID; return nil },
				})
			}
			ended <- err
		}()
		k := newTalk()
		written := 0
		for i := range uint64(rounds) {
			// A connection that is refused; the SYN of the next one makes the
			// clock go on. There are many, so that decoding takes a while.
			k.client(10_000, segment{flags: syn, seq: uint32(i) * 100})
			for range syns - 1 {
				k.client(0, segment{flags: syn, seq: uint32(i) * 100})
			}
			if _, err := pw.Write(k.b.Bytes()[written:]); err != nil {
				t.Fatal(err)
			}
			written = k.b.Len()
			if i > 0 {
				select {
				case id := <-told:
					if id != first(i-1) {
						t.Errorf("%d workers: connection %d, want %d", n, id, first(i-1))
					}
				case <-time.After(nettest.Patience):
					t.Fatalf("%d workers: connection %d is not told", n, first(i-1))
				}
			}
			k.server(1, segment{flags: rst | ack, ack: uint32(i)*100 + 1})
		}
		pw.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
