//go:build linux

package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/judge"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
)

// comparedLine is what the tests read of a line of --compare -o json.
type comparedLine struct {
	Kind, State, Outcome, Why string
	Client                    struct{ Client, Server netip.AddrPort }
	Server                    *struct{ Client, Server netip.AddrPort }
	MatchedBy                 string `json:"matched_by"`
	Translated, Whole         bool
	Directions                [2]struct {
		Sent, Arrived, Lost int
		MadeUp              int `json:"made_up"`
		Hops                []int
		Delay               []float64 `json:"delay_ms"`
		Changes             []struct{ What, From, To string }
	}
	Packets []struct {
		From, Fate, Flags string
	}
	Verdict struct {
		Certainty, Cause, Finding string
		Candidates                []struct{ Cause, Refines string }
	}
	ServerFirst bool `json:"server_first"`
	Clock       struct {
		Known  bool
		Offset float64 `json:"offset_ms"`
		Error  float64 `json:"error_ms"`
		Drift  float64 `json:"drift_ppm"`
		Off    float64 `json:"drift_error_ppm"`
	}
}

// compareFiles runs the program on two captures.
func compareFiles(t *testing.T, program string, args ...string) []comparedLine {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, append([]string{"pcap", "--compare", "--all", "-o", "json"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, _ := cmd.Output()
	if err := reporttest.ValidateCompare(out); err != nil {
		t.Errorf("%v\n%s", err, stderr.String())
	}
	var lines []comparedLine
	for line := range bytes.Lines(out) {
		var l comparedLine
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("%v\n%s", err, line)
		}
		lines = append(lines, l)
	}
	if len(lines) == 0 || lines[len(lines)-1].Kind != "summary" {
		t.Fatalf("%v gives no summary (exit code %d):\n%s\n%s", cmd.Args, cmd.ProcessState.ExitCode(), out, stderr.String())
	}
	return lines
}

// onBothSides runs something in a lab while client and server are captured, and
// returns the files.
func onBothSides(t *testing.T, l *lab.Lab, do func()) []string {
	t.Helper()
	dir := t.TempDir()
	c, err := judge.NewCapture(l, dir, lab.Client, lab.Server)
	if err != nil {
		t.Fatal(err)
	}
	marks(l)
	do()
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		marks(l)
	}
	if err := c.Close(""); err != nil {
		t.Fatal(err)
	}
	return c.Paths()
}

// marks makes packets within each captured host, so that its capture shows when
// it ran.
func marks(l *lab.Lab) {
	for _, host := range []string{lab.Client, lab.Server} {
		l.Do(host, func() error {
			for _, to := range []string{"127.0.0.1:9", "[::1]:9"} {
				if c, err := net.DialTimeout("tcp", to, time.Second); err == nil {
					c.Close()
				}
			}
			return nil
		})
	}
}

// visits makes some attempts at the lab's target as its user would, and some at
// other ports of the host, before and after.
func visits(l *lab.Lab) {
	visit := func(to netip.AddrPort, patience time.Duration) {
		l.Do(l.Scenario.From, func() error {
			c, err := net.DialTimeout("tcp", to.String(), patience)
			if err != nil {
				return nil
			}
			defer c.Close()
			if !strings.Contains(l.Scenario.Name, "on-accept") { // else a client that listens first
				fmt.Fprintf(c, "HEAD / HTTP/1.1\r\nHost: lab\r\n\r\n")
			}
			if l.Scenario.After == lab.Stalled {
				c.SetWriteDeadline(time.Now().Add(3 * time.Second))
				io.Copy(c, zeros{})
				return nil
			}
			c.SetReadDeadline(time.Now().Add(time.Second))
			c.Read(make([]byte, 512))
			return nil
		})
	}
	others := func() {
		var wg sync.WaitGroup
		for _, port := range []uint16{22, 81} {
			wg.Go(func() { visit(netip.AddrPortFrom(l.Dst().Addr(), port), 300*time.Millisecond) })
		}
		wg.Wait()
	}
	others()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { visit(l.Dst(), 3500*time.Millisecond) })
	}
	wg.Wait()
	// For a while more, so that the captures show that they ran.
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		others()
	}
}

// zeros never end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// TestCompareIsSound compares captures of both sides of every fault that leaves
// packets: the truth is among what is left, and what is certain is the truth.
func TestCompareIsSound(t *testing.T) {
	nettest.NeedRoot(t)
	program := nettest.Build(t, "../cmd/tcpwhy")
	for _, s := range lab.Scenarios() {
		if s.Connect == "" || s.From != lab.Client || s.Stage == "name" || !slices.Contains(s.Topology.Hosts, lab.Server) {
			continue
		}
		if speaksOtherwise(s.Name) || strings.Contains(s.Name, "-local") { // a local one has one side only
			continue
		}
		families := s.Families
		if testing.Short() {
			families = families[:1]
		}
		for _, f := range families {
			t.Run(s.Name+"/"+f.String(), func(t *testing.T) {
				t.Parallel()
				l := open(t, s, f)
				files := onBothSides(t, l, func() { visits(l) })
				for _, args := range [][]string{nil, {"--complete"}} {
					soundly(t, s, l, compareFiles(t, program, append(args, files...)...), args != nil)
				}
			})
		}
	}
}

// speaksOtherwise says that a service takes another client than one of HTTP.
func speaksOtherwise(name string) bool {
	for _, p := range []string{"tls", "postgres", "redis", "mysql", "ssh", "smtp", "ftp"} {
		if strings.Contains(name, p) {
			return true
		}
	}
	return false
}

// soundly checks the verdicts about connections to the target.
func soundly(t *testing.T, s lab.Scenario, l *lab.Lab, lines []comparedLine, complete bool) {
	t.Helper()
	for _, c := range lines {
		if c.Kind != "connection" || c.Client.Server != l.Dst() || c.State == "fine" || c.State == "undecided" {
			continue
		}
		var left []string
		sound := false
		for _, x := range c.Verdict.Candidates {
			sound = sound || slices.Contains(s.Truth(), x.Cause)
			if x.Refines == "" {
				left = append(left, x.Cause)
			}
		}
		if !sound {
			t.Errorf("unsound: %s is not among %s %v: %s", s.Cause, c.Verdict.Certainty, left, c.Verdict.Finding)
		}
		if c.Verdict.Certainty == "certain" && !slices.Contains(s.Truth(), c.Verdict.Cause) {
			t.Errorf("wrong: %s is certain, the truth is %s: %s", c.Verdict.Cause, s.Cause, c.Verdict.Finding)
		}
		ideal := s.Ideal.Captures
		if ideal == nil {
			ideal = []string{s.Cause}
		}
		extra := slices.DeleteFunc(slices.Clone(left), func(x string) bool { return slices.Contains(ideal, x) })
		t.Logf("blunt %v; complete %v whole %v (%s): %s %v", extra, complete, c.Whole, c.Why, c.Verdict.Certainty, left)
	}
}
