//go:build linux

package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// hang is how long no run may take, whatever the target does: several times
// the longest that any of these should.
const hang = 20 * time.Second

// result is what a run of the program left.
type result struct {
	stdout, stderr string
	code           int // -1 if a signal ended it
	took           time.Duration
}

// finish runs a command to its end. A run that hangs or panics fails the test.
func finish(t *testing.T, cmd *lab.Cmd) result {
	t.Helper()
	start := time.Now()
	wait := begin(t, cmd)
	return wait(start)
}

// begin starts a command and returns what waits for its end.
func begin(t *testing.T, cmd *lab.Cmd) func(since time.Time) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &stdout
	}
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func(since time.Time) result {
		t.Helper()
		hung := time.AfterFunc(hang, func() { cmd.Process.Signal(syscall.SIGQUIT) })
		cmd.Wait()
		r := result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode(), time.Since(since)}
		if !hung.Stop() {
			t.Fatalf("%v hung:\n%s%s", cmd.Args, r.stdout, r.stderr)
		}
		for _, bad := range []string{"panic:", "internal error", "goroutine ", "fatal error", "DATA RACE"} {
			if strings.Contains(r.stderr, bad) {
				t.Fatalf("%v crashed:\n%s", cmd.Args, r.stderr)
			}
		}
		return r
	}
}

// full is the JSON as far as these tests read it, beyond answer.
type full struct {
	answer
	Target    struct{ Input, Host string }
	Addresses []struct {
		Addr    string
		Outcome string
		Packets []json.RawMessage
	}
	NotChecked []struct{ Check, Reason, How string } `json:"not_checked"`
}

func (r result) json(t *testing.T) *full {
	t.Helper()
	parse(t, []byte(r.stdout))
	f := &full{}
	if err := json.Unmarshal([]byte(r.stdout), f); err != nil {
		t.Fatal(err)
	}
	return f
}

// says checks the exit code and that a cause is among the candidates, with no
// other one claimed.
func (r result) says(t *testing.T, code int, outcome, cause string) *full {
	t.Helper()
	f := r.json(t)
	among := slices.ContainsFunc(f.Verdict.Candidates, func(c struct{ Cause, Refines string }) bool { return c.Cause == cause })
	if r.code != code || f.Outcome != outcome || !among {
		t.Errorf("exit code %d, %s, %s of %v: %q\nwant %d, %s, %s", r.code, f.Outcome, f.Verdict.Certainty, f.Verdict.Candidates,
			f.Verdict.Finding, code, outcome, cause)
	}
	return f
}

// faults is a fault test: the program and a way to its own lab.
type faults struct{ program string }

func (f faults) open(t *testing.T, scenario string) *lab.Lab {
	t.Helper()
	s, ok := lab.Find(scenario)
	if !ok {
		t.Fatalf("no scenario %s", scenario)
	}
	return open(t, s, s.Families[0])
}

// run runs the program where the user sits.
func (f faults) run(t *testing.T, l *lab.Lab, ordinary bool, args ...string) result {
	t.Helper()
	return finish(t, l.Command(l.Scenario.From, ordinary, f.program, args...))
}

// under runs the program as root after a line of shell. The shell has a mount
// namespace of its own.
func (f faults) under(t *testing.T, l *lab.Lab, line string, args ...string) result {
	t.Helper()
	return finish(t, l.Command(l.Scenario.From, false, "sh", append([]string{"-ec", line + "\nexec \"$@\"", "sh", f.program}, args...)...))
}

// both runs a subtest as root and as an ordinary user.
func both(t *testing.T, test func(t *testing.T, ordinary bool)) {
	for _, ordinary := range []bool{false, true} {
		t.Run(who(ordinary), func(t *testing.T) {
			t.Parallel()
			test(t, ordinary)
		})
	}
}

// TestFaults gives the program bad surroundings and bad peers.
func TestFaults(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		f := faults{nettest.Build(t, "../cmd/tcpwhy")}
		for name, test := range map[string]func(*testing.T){
			"interrupt": f.interrupt, "timeout": f.timeout, "peers": f.peers, "babble": f.babble, "addresses": f.addresses,
			"resolver": f.resolver, "no-files": f.noFiles, "no-ipv6": f.noIPv6, "descriptors": f.descriptors,
			"source": f.source, "interface": f.noInterface, "stdout": f.stdout, "write": f.write, "strangers": f.strangers, "manners": f.manners,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t)
			})
		}
	})
}

// An interrupt ends a run soon, with the verdict so far.
func (f faults) interrupt(t *testing.T) {
	for _, s := range []struct{ scenario, phase string }{
		{"host-down-silent", "connecting"}, {"dns-timeout", "resolving"}, {"never-accepted", "talking"},
	} {
		l := f.open(t, s.scenario)
		for i, after := range []time.Duration{0, 3, 20, 90, 170, 260, 450, 800, 1500, 2600} {
			after *= time.Millisecond
			format := []string{"json", "text"}[i/2%2]
			t.Run(fmt.Sprintf("%s/%v/%s", s.phase, after, format), func(t *testing.T) {
				t.Parallel()
				cmd := l.Command(lab.Client, i%2 == 0, f.program, "-o", format, l.Target())
				wait := begin(t, cmd)
				// Not to wait for something: the moment itself is the input.
				time.Sleep(after)
				cmd.Process.Signal(os.Interrupt)
				r := wait(time.Now())
				switch {
				case r.took > nettest.Patience:
					t.Errorf("it ended %v after the signal", r.took)
				case r.code == -1 && after < 100*time.Millisecond && r.stdout == "":
					return // the program had not begun to listen for it
				case r.code != 1 && r.code != 3:
					t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
				case format == "json":
					r.json(t)
				case r.stdout == "":
					t.Error("no verdict")
				}
				if r.stderr != "" {
					t.Errorf("it said %q", r.stderr)
				}
			})
		}
	}
}

// A run lasts no longer than its timeout and a second. On a machine that is
// busy with other tests one of a few runs must do.
func (f faults) timeout(t *testing.T) {
	for _, c := range []struct {
		scenario string
		limit    time.Duration
		args     []string
	}{
		{"host-down-silent", 4 * time.Second, nil},
		{"host-down-silent", 2 * time.Second, []string{"--connect-timeout", "1s"}},
		{"host-firewall-drop", 2 * time.Second, []string{"--connect-timeout", "1s"}},
		{"host-down-silent", 4 * time.Second, []string{"--count", "2", "--connect-timeout", "1500ms"}},
	} {
		l := f.open(t, c.scenario)
		both(t, func(t *testing.T, ordinary bool) {
			for try := 1; ; try++ {
				r := f.run(t, l, ordinary, append(c.args, "-q", l.Target())...)
				if r.took <= c.limit {
					return
				}
				if try == 3 {
					t.Fatalf("%s %v took %v, more than %v", c.scenario, c.args, r.took, c.limit)
				}
			}
		})
	}
}
