package probe

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// A piece that is older than the question does not answer it, however long the
// pieces before it waited to be read.
func TestFeedWaitsForWhatIsNew(t *testing.T) {
	const (
		beat = 500 * time.Millisecond
		late = 60 * time.Millisecond // the watch is behind
	)
	for _, c := range []struct {
		name         string
		waited, took time.Duration // before the first piece is read, and until the question
		want         time.Duration // age of the host's clock in the piece that is taken
	}{
		{"read at once", 0, 100 * time.Millisecond, 600 * time.Millisecond},
		{"read late", 700 * time.Millisecond, 100 * time.Millisecond, 1600 * time.Millisecond},
		{"read very late", 20 * time.Second, time.Millisecond, 20600 * time.Millisecond},
		{"a long run", 0, 7 * time.Second, 7600 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := time.Now().Add(-c.waited - 100*time.Millisecond) // when it began
				next, stop := 100*time.Millisecond, make(chan struct{})
				f := NewFeed(func() (*evidence.Host, error) {
					select {
					case <-time.After(time.Until(host.Add(next))):
					case <-stop:
						return nil, io.EOF
					}
					h := &evidence.Host{Elapsed: next, Watched: &evidence.Watched{Until: next - late}}
					next += beat
					return h, nil
				})
				if _, err := f.First(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(c.took)
				asked := time.Since(host)
				h, live := f.until(t.Context(), 3*time.Second)
				if !live || h.Elapsed != c.want || h.Watched.Until < asked {
					t.Errorf("live %t, of %v, asked at %v, want %v", live, h.Elapsed, asked, c.want)
				}
				close(stop)
				synctest.Wait()
			})
		})
	}
}
