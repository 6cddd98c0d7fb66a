package report_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/report"
)

// terminal is a buffer that may be read while it is written.
type terminal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *terminal) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// screen applies what was written to the one line of a terminal.
func screen(s string) string {
	var line []byte
	at := 0
	for i := range len(s) {
		if s[i] == '\r' {
			at = 0
			continue
		}
		if at == len(line) {
			line = append(line, 0)
		}
		line[at] = s[i]
		at++
	}
	return strings.TrimRight(string(line), " ")
}

func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b terminal
		p := report.Live(&b, 40)
		p.Step("resolving \x1b[2J " + strings.Repeat("long ", 20))
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		if b.String() != "" {
			t.Errorf("a short run shows %q", b.String())
		}
		time.Sleep(1200 * time.Millisecond)
		synctest.Wait()
		got := screen(b.String())
		if !strings.HasPrefix(got, `1.2 s  resolving \x1b[2J long`) || len(got) > 39 {
			t.Errorf("the line is %q", got)
		}
		p.Step("connecting")
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if got := screen(b.String()); got != "1.3 s  connecting" {
			t.Errorf("the line is %q", got)
		}
		p.Aside(func() error {
			if got := screen(b.String()); got != "" {
				t.Errorf("the answer is written behind %q", got)
			}
			return nil
		})
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if got := screen(b.String()); got != "1.4 s  connecting" {
			t.Errorf("after the answer the line is %q", got)
		}
		p.Done()
		if got := screen(b.String()); got != "" {
			t.Errorf("Done leaves %q", got)
		}
		written := b.String()
		p.Done()
		p.Step("too late")
		time.Sleep(time.Second)
		if b.String() != written {
			t.Error("something is written after Done")
		}
	}) // fails when a goroutine is left
}

func TestLiveConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b terminal
		p := report.Live(&b, 0)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					p.Step("probing")
					time.Sleep(7 * time.Millisecond)
				}
				p.Done()
			})
		}
		wg.Wait()
	})
}
