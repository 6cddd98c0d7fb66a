//go:build linux

package test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/probe"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// leakTargets are, in the environment, what the copy of the test program below
// runs against: outcome and target in turn.
const leakTargets = "TCPWHY_TEST_LEAK_TARGETS"

// TestLeaks makes many runs in one process and looks for what they left. The
// process must be in the lab as a whole, so it is a copy of the test program.
func TestLeaks(t *testing.T) {
	if targets := os.Getenv(leakTargets); targets != "" {
		leaks(t, strings.Fields(targets))
		return
	}
	nettest.InUserNS(t, func(t *testing.T) {
		s, _ := lab.Find("host-firewall-drop")
		l := open(t, s, lab.V4)
		// A copy, because everybody must be able to read it.
		self := filepath.Join(publicDir(t), "test")
		program, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(self, program, 0o755); err != nil {
			t.Fatal(err)
		}
		both(t, func(t *testing.T, ordinary bool) {
			cmd := l.Command(lab.Client, ordinary, self, "-test.run=^TestLeaks$", "-test.v")
			cmd.Env = append(cmd.Env, leakTargets+"=open 10.77.3.2:22 refused 10.77.3.2:8099 timeout 10.77.3.2:8080 "+
				"degraded http://10.77.3.2:22 name-error app.example:80 refused 127.0.0.1:81")
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS: TestLeaks") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	})
}

func leaks(t *testing.T, targets []string) {
	nettest.LeakCheck(t)
	run := func(ctx context.Context, text, outcome string) {
		target, err := flow.ParseTarget(text)
		if err != nil {
			t.Error(err)
			return
		}
		if d := probe.Run(ctx, target, probe.Options{}); ctx.Err() == nil && d.Outcome != verdict.Outcome(outcome) {
			t.Errorf("%s: %s, want %s: %s", text, d.Outcome, outcome, d.Verdict.Finding)
		}
	}
	for i := 0; i < len(targets); i += 2 {
		var wg sync.WaitGroup
		for n := range 20 {
			wg.Go(func() { run(t.Context(), targets[i+1], targets[i]) })
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n*n)*time.Millisecond)
				defer cancel()
				run(ctx, targets[i+1], targets[i])
			})
			if n%5 == 4 {
				wg.Wait()
			}
		}
		wg.Wait()
	}
}
