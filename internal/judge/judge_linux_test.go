package judge_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/judge"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// Whatever a program says is held against the truth.
func TestTry(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		s, ok := lab.Find("no-listener-local")
		if !ok {
			t.Fatal("no scenario")
		}
		for _, c := range []struct {
			what, says   string
			sound, sharp bool
			failed       string
		}{
			{"the truth", `{"verdict":{"certainty":"certain","cause":"no-listener","candidates":[{"cause":"no-listener"}]}}`, true, true, ""},
			{"a refinement of it", `{"verdict":{"certainty":"certain","cause":"no-listener","candidates":[{"cause":"no-listener"},{"cause":"service-down","refines":"no-listener"}]}}`, true, true, ""},
			{"sure of what is wrong", `{"verdict":{"certainty":"certain","cause":"host-down","candidates":[{"cause":"host-down"}]}}`, false, false, ""},
			{"sure beside the truth", `{"verdict":{"certainty":"certain","cause":"host-down","candidates":[{"cause":"host-down"},{"cause":"no-listener"}]}}`, false, false, ""},
			{"one of two", `{"verdict":{"certainty":"narrowed","cause":"host-down","candidates":[{"cause":"host-down"},{"cause":"no-listener"}]}}`, true, false, ""},
			{"nothing", `{"verdict":{"certainty":"unknown"}}`, false, true, ""},
			{"no JSON", `it is broken`, false, false, "the program's answer"},
			{"silence", ``, false, false, "gave no answer"},
		} {
			r := judge.Try(t.Context(), judge.Case{Scenario: s, Family: lab.V4, Vantage: judge.Root}, script(t, c.says))
			if c.failed != "" {
				if !strings.Contains(r.Error, c.failed) {
					t.Errorf("%s: error %q, want one with %q", c.what, r.Error, c.failed)
				}
				continue
			}
			if r.Error != "" || r.Sound != c.sound || r.Sharp != c.sharp {
				t.Errorf("%s: sound %v, sharp %v, error %q; want %v, %v", c.what, r.Sound, r.Sharp, r.Error, c.sound, c.sharp)
			}
		}
	})
}

// script is a program that says the same to everybody.
func script(t *testing.T, says string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nprintf %s '"+says+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCaptureErrors(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		s, _ := lab.Find("none-own-link")
		l, err := judge.Open(t.Context(), judge.Case{Scenario: s, Family: lab.V4})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		dir := filepath.Join(t.TempDir(), "gone")
		if _, err := judge.NewCapture(l, dir, lab.Client); err == nil || !strings.Contains(err.Error(), "client.pcapng") {
			t.Errorf("a capture to nowhere: %v, want an error that names the file", err)
		}
	})
}
