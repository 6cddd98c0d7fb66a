package cli_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/cli"
)

// screen is what standard output and standard error of a terminal share.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

// On a terminal the line that shows progress is gone before the answer comes:
// each answer begins at the left edge.
func TestAnswersBeginAtTheEdge(t *testing.T) {
	var s screen
	cli.Main([]string{"host", ":1", "--during", "300ms"}, cli.Host{
		Stdin: strings.NewReader(""), Stdout: &s, Stderr: &s, Columns: 80, Live: true,
		Getenv: func(name string) string { return map[string]string{"LANG": "C.UTF-8", "NO_COLOR": "1"}[name] },
	})
	progress, _, ok := strings.Cut(s.b.String(), "port 1 of ")
	if !ok || !strings.Contains(progress, "watching the kernel") {
		t.Fatalf("no progress was shown: %q", s.b.String())
	}
	if !strings.HasSuffix(progress, " \r") {
		t.Errorf("the answer begins behind %q", progress[max(0, len(progress)-80):])
	}
}
