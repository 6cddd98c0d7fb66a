package nettest

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// LeakCheck fails the test if goroutines or file descriptors that did not exist
// when it was called are left when the test has ended, its subtests and later
// cleanups included. What is on its way out gets Patience. It counts for the
// whole process: call it in the test that parallel subtests belong to, never in
// a test that itself runs in parallel with others.
func LeakCheck(t testing.TB) {
	t.Helper()
	leakCheck(t, Patience)
}

func leakCheck(t testing.TB, patience time.Duration) {
	t.Helper()
	// The collector closes files that were forgotten, and so hides them: let it
	// rest until the end, or until memory gets scarce.
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(512<<20)
	goroutines, files := currentGoroutines(), openFiles()
	t.Cleanup(func() {
		t.Helper()
		defer debug.SetMemoryLimit(limit)
		defer debug.SetGCPercent(percent)
		for end, pause := time.Now().Add(patience), time.Millisecond; ; time.Sleep(pause) {
			pause = min(2*pause, 100*time.Millisecond)
			left := append(added(goroutines, currentGoroutines()), added(files, openFiles())...)
			if len(left) == 0 {
				return
			}
			if time.Now().After(end) {
				t.Errorf("%d leaked:\n%s", len(left), strings.Join(left, "\n"))
				return
			}
		}
	})
}

// added lists what is in now and was not before.
func added(before, now map[string]string) []string {
	var list []string
	for k, v := range now {
		if _, ok := before[k]; !ok {
			list = append(list, v)
		}
	}
	return list
}

// currentGoroutines gives the stack of each goroutine by its number.
func currentGoroutines() map[string]string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)] // of what does not fit the rest is not seen
	m := make(map[string]string)
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		// "goroutine 18 [select]:\n…"
		if f := strings.Fields(stack); len(f) > 1 {
			m[f[1]] = stack
		}
	}
	return m
}

// openFiles gives what each descriptor of the process refers to, keyed by both,
// so that a number used again for something else counts as new. It is empty on
// systems without /proc.
func openFiles() map[string]string {
	const dir = "/proc/self/fd/"
	m := make(map[string]string)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		to, err := os.Readlink(dir + e.Name())
		switch {
		case err != nil: // closed since, as the one that read the directory
		case to == "anon_inode:[eventpoll]" || to == "anon_inode:[eventfd]":
			// The runtime's own poller, made when first needed, kept for good.
		default:
			s := "descriptor " + e.Name() + ": " + to
			m[s] = s
		}
	}
	return m
}
