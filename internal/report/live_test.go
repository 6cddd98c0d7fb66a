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
		var b bytes.Buffer
		p := report.Live(&b, 40)
		p.Step("resolving \x1b[2J " + strings.Repeat("long ", 20))
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		if b.Len() > 0 {
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
		p.Done()
		if got := screen(b.String()); got != "" {
			t.Errorf("Done leaves %q", got)
		}
		n := b.Len()
		p.Done()
		p.Step("too late")
		time.Sleep(time.Second)
		if b.Len() != n {
			t.Error("something is written after Done")
		}
	}) // fails when a goroutine is left
}

func TestLiveConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
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
