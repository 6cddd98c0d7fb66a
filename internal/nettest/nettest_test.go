package nettest

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// recorder is a testing.TB that notes what it is told instead of doing it.
type recorder struct {
	testing.TB
	said    []string
	cleanup []func()
}

func (r *recorder) Helper()          {}
func (r *recorder) Skip(args ...any) { r.said = append(r.said, "skip: "+fmt.Sprint(args...)) }
func (r *recorder) Cleanup(f func()) { r.cleanup = append(r.cleanup, f) }
func (r *recorder) Errorf(f string, a ...any) {
	r.said = append(r.said, "error: "+fmt.Sprintf(f, a...))
}
func (r *recorder) Fatalf(f string, a ...any) {
	r.said = append(r.said, "fatal: "+fmt.Sprintf(f, a...))
}

func TestUnsupported(t *testing.T) {
	for require, want := range map[string]string{
		"":    "skip: not supported: program no-such-program",
		"all": "fatal: not supported: program no-such-program (TCPWHY_REQUIRE=all forbids to skip)",
	} {
		t.Setenv("TCPWHY_REQUIRE", require)
		r := &recorder{TB: t}
		if NeedProgram(r, "no-such-program"); len(r.said) == 0 || r.said[0] != want {
			t.Errorf("with TCPWHY_REQUIRE=%q: %q, want %q", require, r.said, want)
		}
	}
}

func TestLeakCheckFinds(t *testing.T) {
	r := &recorder{TB: t}
	leakCheck(r, 50*time.Millisecond)
	stop := make(chan struct{})
	go func() { <-stop }()
	defer close(stop)
	if _, err := os.Open(os.DevNull); err != nil { // forgotten
		t.Fatal(err)
	}
	r.cleanup[0]()
	got := strings.Join(r.said, "\n")
	if !strings.Contains(got, "TestLeakCheckFinds.func1") {
		t.Errorf("the goroutine was not found: %s", got)
	}
	if _, err := os.Stat("/proc/self/fd"); err == nil && !strings.Contains(got, os.DevNull) {
		t.Errorf("the descriptor was not found: %s", got)
	}
}

func TestLeakCheckWaits(t *testing.T) {
	r := &recorder{TB: t}
	LeakCheck(r)
	gone, stop := make(chan struct{}), make(chan struct{})
	go func() { <-stop; close(gone) }()
	go close(stop)
	if r.cleanup[0](); len(r.said) > 0 {
		t.Errorf("a goroutine that was on its way out counts as leaked: %s", r.said)
	}
	<-gone
}
