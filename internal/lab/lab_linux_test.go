package lab_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// The labs spend their time waiting for silence, so many may run at once.
func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "12")
	os.Exit(m.Run())
}

func open(t *testing.T, s lab.Scenario, f lab.Family) *lab.Lab {
	t.Helper()
	l, err := lab.Open(t.Context(), s, f, lab.Params{})
	if errors.Is(err, errors.ErrUnsupported) {
		nettest.Unsupported(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Every fault is what its scenario says, and leaves nothing behind.
func TestScenarios(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		for _, s := range lab.Scenarios() {
			for _, f := range s.Families {
				t.Run(fmt.Sprintf("%s/%v", s.Name, f), func(t *testing.T) {
					t.Parallel()
					l := open(t, s, f)
					if err := l.Verify(t.Context()); err != nil {
						t.Error(err)
					}
					if err := l.Close(); err != nil {
						t.Error(err)
					}
				})
			}
		}
	})
}

// What Verify says must depend on what the kernel does.
func TestVerifyFinds(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		l := open(t, find(t, "no-listener"), lab.V4)
		defer l.Close()
		l.Scenario.Connect = lab.HostUnreach
		if err := l.Verify(t.Context()); err == nil || !strings.Contains(err.Error(), "ECONNREFUSED, want EHOSTUNREACH") {
			t.Errorf("a scenario that predicts the wrong errno: %v", err)
		}
		l.Scenario = find(t, "none")
		l.Scenario.After = lab.Silent
		if err := l.Verify(t.Context()); err == nil {
			t.Error("a refused port passes for an open one")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Verify(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("with a cancelled context: %v", err)
		}

		l2 := open(t, find(t, "none"), lab.V6)
		defer l2.Close()
		l2.Scenario.After = lab.Silent
		if err := l2.Verify(t.Context()); err == nil || !strings.Contains(err.Error(), "talks, want silent") {
			t.Errorf("a server that talks passes for a silent one: %v", err)
		}
	})
}

func TestOpenErrors(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		if _, err := lab.Open(t.Context(), find(t, "host-reverse-path-filter"), lab.V6, lab.Params{}); err == nil {
			t.Error("a scenario was opened for a family it does not have")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if l, err := lab.Open(ctx, find(t, "ports-exhausted"), lab.V4, lab.Params{}); err == nil {
			l.Close()
			t.Error("a lab was opened with a context that has ended")
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("files are left: %v (%v)", left, err)
		}
	})
}

// After Close no thread and no descriptor of ours refers to a namespace of the
// lab, so the kernel removes it.
func TestNamespacesGo(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		l := open(t, find(t, "accept-queue-full"), lab.V4)
		inside := make(map[string]bool)
		for _, h := range l.Scenario.Topology.Hosts {
			err := l.Do(h, func() error {
				id, err := os.Readlink("/proc/thread-self/ns/net")
				inside[id] = true
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if len(inside) != 4 {
			t.Fatalf("4 hosts live in %d namespaces", len(inside))
		}
		used := func() bool {
			for _, pattern := range []string{"/proc/self/task/*/ns/net", "/proc/self/fd/*"} {
				paths, _ := filepath.Glob(pattern)
				for _, p := range paths {
					if id, err := os.Readlink(p); err == nil && inside[id] {
						return true
					}
				}
			}
			return false
		}
		if !used() {
			t.Fatal("the check does not see the lab's namespaces while they are open")
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		nettest.Eventually(t, "a namespace of the lab is still in use", func() bool { return !used() })
	})
}

func TestScenarioList(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range lab.Scenarios() {
		if seen[s.Name] {
			t.Errorf("two scenarios are called %s", s.Name)
		}
		seen[s.Name] = true
		if s.Cause == "" || len(s.Families) == 0 || !slices.Contains(s.Topology.Hosts, s.From) {
			t.Errorf("%s is not complete: %+v", s.Name, s)
		}
	}
	if _, ok := lab.Find("no-such-scenario"); ok {
		t.Error("a scenario was found that does not exist")
	}
}

func find(t *testing.T, name string) lab.Scenario {
	t.Helper()
	s, ok := lab.Find(name)
	if !ok {
		t.Fatalf("no scenario %s", name)
	}
	return s
}

func BenchmarkOpen(b *testing.B) {
	nettest.NeedRoot(b)
	s, _ := lab.Find("none")
	for b.Loop() {
		l, err := lab.Open(b.Context(), s, lab.V4, lab.Params{})
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
