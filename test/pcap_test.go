//go:build linux

package test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/capture"
	"github.com/tcpwhy/tcpwhy/internal/judge"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// labsAtOnce is how many labs TestCaptureMatrix runs: they spend their time
// waiting.
const labsAtOnce = 16

// recorded is what a capture of a scenario said.
type recorded struct {
	unsupported string
	err         error
	result      *capture.Result
	from        netip.Addr     // of the user
	to          netip.AddrPort // that the user connects to
}

// TestCaptureMatrix captures, with tcpdump where the user sits, what a plain
// client experiences in every scenario, and judges what the capture is said to
// show of its connections to the target: a verdict that is certain must be the
// truth, and the truth must be among what is left. TCPWHY_MATRIX=1 prints a
// table.
func TestCaptureMatrix(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		tcpdump := nettest.NeedProgram(t, "tcpdump")
		var cases []judge.Case
		for _, c := range judge.Cases(lab.Scenarios(), judge.Vantages...) {
			if c.Vantage == judge.Root && c.Family == c.Scenario.Families[0] {
				cases = append(cases, c)
			}
		}
		all := make([]recorded, len(cases))
		var wg sync.WaitGroup
		slots := make(chan struct{}, labsAtOnce)
		dir := t.TempDir()
		for i, c := range cases {
			wg.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				all[i] = record(t.Context(), c, tcpdump, filepath.Join(dir, c.Scenario.Name+".pcap"))
			})
		}
		wg.Wait()
		for i, c := range cases {
			t.Run(fmt.Sprintf("%s/%v", c.Scenario.Name, c.Family), func(t *testing.T) {
				switch r := &all[i]; {
				case r.unsupported != "":
					nettest.Unsupported(t, r.unsupported)
				case r.err != nil:
					t.Fatal(r.err)
				default:
					judgeCapture(t, c, r)
				}
			})
		}
	})
}

// judgeCapture holds what is said of the connections to the target against the
// truth.
func judgeCapture(t *testing.T, c judge.Case, r *recorded) {
	truth := c.Scenario.Truth()
	if c.Scenario.Stage == "name" {
		truth = nil // what is wrong with the name is no fault of the address
	}
	said := 0
	for conn := range r.result.Connections(capture.Filter{Addr: r.to.Addr(), Port: r.to.Port()}, capture.Everything) {
		var left []string
		for _, x := range conn.Verdict.Candidates {
			if x.Refines == "" || slices.Contains(truth, string(x.Cause)) {
				left = append(left, string(x.Cause))
			}
		}
		if os.Getenv("TCPWHY_MATRIX") != "" {
			fmt.Printf("CAPTURE %-32s %-14s %-9s %-11s %-8s %v: %s\n", c.Scenario.Name, c.Scenario.Cause, conn.State, conn.Outcome, conn.Verdict.Certainty, left, conn.Verdict.Finding)
		}
		other := conn.Client.Addr() != r.from && !conn.Client.Addr().IsLoopback() // such as those of a flood
		if conn.State == capture.Fine || conn.State == capture.Undecided || other {
			continue
		}
		said++
		has := slices.ContainsFunc(truth, func(x string) bool { return slices.Contains(left, x) })
		if conn.Verdict.Certainty == verdict.Certain && !slices.Contains(truth, string(conn.Verdict.Cause)) {
			t.Errorf("certain of %s, the truth is %s: %s", conn.Verdict.Cause, truth, conn.Verdict.Finding)
		} else if !has && truth != nil {
			t.Errorf("left are %s, the truth is %s: %s", left, truth, conn.Verdict.Finding)
		}
		for _, f := range conn.Facts {
			if t.Failed() {
				t.Logf("%s %s=%s %s", f.ID, f.Key, f.Value, f.Text)
			}
		}
	}
	if os.Getenv("TCPWHY_MATRIX") != "" && said == 0 {
		fmt.Printf("CAPTURE %-32s %-14s nothing said, of %d packets\n", c.Scenario.Name, c.Scenario.Cause, r.result.Total.Packets)
	}
}

// record captures what a plain client experiences: the connection that proves
// the fault, others to the same host, and two more to the target.
func record(ctx context.Context, c judge.Case, tcpdump, file string) (out recorded) {
	l, err := lab.Open(ctx, c.Scenario, c.Family, lab.Params{})
	if errors.Is(err, errors.ErrUnsupported) {
		return recorded{unsupported: err.Error()}
	}
	if err != nil {
		return recorded{err: err}
	}
	defer func() {
		if err := l.Close(); err != nil && out.err == nil {
			out.err = err
		}
	}()
	stop, err := sniff(l, c.Scenario.From, tcpdump, file)
	if errors.Is(err, errors.ErrUnsupported) {
		return recorded{unsupported: err.Error()}
	}
	if err != nil {
		return recorded{err: err}
	}
	err = l.Verify(ctx)
	out.to, out.from = l.Dst(), l.Addr(c.Scenario.From)
	if err == nil && out.to.IsValid() {
		var wg sync.WaitGroup
		for _, port := range []uint16{22, 81, out.to.Port(), out.to.Port()} {
			wg.Go(func() { stay(ctx, l, netip.AddrPortFrom(out.to.Addr(), port)) })
		}
		wg.Wait()
	}
	if e := stop(); err == nil {
		err = e
	}
	if err != nil {
		return recorded{err: err}
	}
	out.result, out.err = capture.Analyze(ctx, []capture.Source{capture.FromFile(file, false)}, capture.Options{All: true})
	return out
}

// stay connects as a plain client does, and hears what the server has to say.
func stay(ctx context.Context, l *lab.Lab, to netip.AddrPort) {
	l.Do(l.Scenario.From, func() error {
		d := net.Dialer{Timeout: lab.Patience}
		conn, err := d.DialContext(ctx, "tcp", to.String())
		if err != nil {
			return nil
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
		conn.Read(make([]byte, 512))
		return nil
	})
}

// sniff starts tcpdump on a host of the lab; stop ends it when it has written
// everything.
func sniff(l *lab.Lab, host, tcpdump, file string) (stop func() error, err error) {
	cmd := l.Command(host, false, tcpdump, "-i", "any", "-n", "-U", "--immediate-mode", "-s", "256", "-w", "-")
	out, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout = out
	talk, child, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = child
	err = cmd.Start()
	child.Close()
	if err != nil {
		talk.Close()
		return nil, err
	}
	lines := bufio.NewScanner(talk) // to its end unless tcpdump listens
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
		if strings.Contains(lines.Text(), "listening on") {
			go func() {
				for lines.Scan() { // until it ends
				}
				talk.Close()
			}()
			return func() error {
				cmd.Process.Signal(unix.SIGINT)
				err := cmd.Wait()
				if errors.Is(err, syscall.ESRCH) {
					return nil
				}
				return err
			}, nil
		}
	}
	if slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "Couldn't change to") }) {
		cmd.Wait()
		return nil, fmt.Errorf("%w: tcpdump built to change its user, in a user namespace that has one only", errors.ErrUnsupported)
	}
	return nil, errors.Join(fmt.Errorf("tcpdump: %s", strings.Join(said, "; ")), cmd.Wait())
}
