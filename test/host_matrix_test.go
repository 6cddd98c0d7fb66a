//go:build linux

package test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/judge"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// TestHostMatrix judges the diagnosis of scenarios with what the server's host
// tells beside the client's evidence. The truth must be among the candidates, and
// a verdict that says certain must be the truth; no more may be left than the
// scenario's ideal. Without root of the machine the kernel gives no reasons, so
// more may be left.
func TestHostMatrix(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		program := nettest.Build(t, "../cmd/tcpwhy")
		traced := !inUserNS()
		t.Run("cases", func(t *testing.T) {
			for _, c := range judge.Cases(lab.Scenarios(), judge.WithHost) {
				stage := c.Scenario.Stage
				if stage == "name" || !traced && stage != "host" && stage != "listener" || os.Getenv("TCPWHY_HOST") != "all" && twin(c) {
					continue // nothing of it is the host's to tell, or its twin tells it
				}
				t.Run(c.String(), func(t *testing.T) {
					t.Parallel()
					r := judge.Try(t.Context(), c, program)
					if r.Sound && !r.Sharp && r.Why == "" {
						r = judge.Try(t.Context(), c, program) // as in TestMatrix
					}
					switch {
					case r.Unsupported != "":
						nettest.Unsupported(t, r.Unsupported)
					case r.Error != "":
						t.Fatal(r.Error)
					case !r.Sound:
						t.Errorf("unsound: %s of %s, the truth is %s: %s", r.Certainty, r.Left, r.Truth, r.Finding)
					case traced && !r.Sharp && r.Why == "":
						t.Errorf("not sharp: %s is left beyond the ideal %s: %s", r.Extra, c.Ideal(), r.Finding)
					}
				})
			}
		})
	})
}

// twin says that a healthy case differs from others in nothing that a host sees.
func twin(c judge.Case) bool {
	return c.Scenario.Stage == "healthy" && c.Family == lab.V6
}

// inUserNS says whether the test is root of a user namespace only.
func inUserNS() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return err != nil || !slices.Equal(strings.Fields(string(b)), []string{"0", "0", "4294967295"})
}
