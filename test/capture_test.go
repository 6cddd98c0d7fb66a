//go:build linux

package test

import (
	"bytes"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// capturing runs tcpwhy capture on the client of a lab and waits until it
// captures. out sees what it prints.
func capturing(t *testing.T, l *lab.Lab, program, file string, out *watcher, args ...string) *lab.Cmd {
	t.Helper()
	cmd := l.Command(lab.Client, false, program, append([]string{"capture", "-w", file}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	// The file is there as soon as the capture runs.
	nettest.Eventually(t, "the capture does not begin", func() bool { return len(framesOf(t, file)) == 0 && isFile(file) })
	return cmd
}

func isFile(name string) bool {
	m, _ := filepath.Glob(name)
	return len(m) == 1
}

// framesOf lists the packets that tcpdump finds in a file.
func framesOf(t *testing.T, file string) []string {
	t.Helper()
	nettest.NeedProgram(t, "tcpdump")
	out, _ := exec.CommandContext(t.Context(), "tcpdump", "-nn", "-r", file).Output()
	return slices.DeleteFunc(strings.Split(string(out), "\n"), func(s string) bool { return s == "" })
}

// try connects from the client, and gives up after a while.
func try(l *lab.Lab, patience time.Duration) {
	l.Do(lab.Client, func() error {
		if c, err := net.DialTimeout("tcp", l.Dst().String(), patience); err == nil {
			c.Close()
		}
		return nil
	})
}

// TestLiveCaptureSays captures a target while attempts at it fail: the verdict is
// printed while the capture goes on, and Ctrl-C ends it with the summary.
func TestLiveCaptureSays(t *testing.T) {
	nettest.NeedRoot(t)
	program := nettest.Build(t, "../cmd/tcpwhy")
	for scenario, says := range map[string]string{"no-listener": "refused  no-listener", "path-prohibited": "unreachable  path-prohibited", "host-firewall-drop": "timeout  host-firewall-drop"} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			s, _ := lab.Find(scenario)
			l := open(t, s, lab.V4)
			file := filepath.Join(t.TempDir(), "a.pcapng")
			out := newWatcher(says)
			cmd := capturing(t, l, program, file, out, l.Dst().String())
			try(l, 2500*time.Millisecond)
			select {
			case <-out.seen:
			case <-time.After(hang):
				t.Fatalf("it does not say %q:\n%s", says, out.text())
			}
			if strings.Contains(out.text(), "captured, ") {
				t.Error("the summary came before the end")
			}
			cmd.Process.Signal(syscall.SIGINT)
			cmd.Wait()
			contains(t, out.text(), "the capture: 1 of 1 connection failed", " packets captured, 0 dropped by the kernel; written to ")
			if code := cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			if again, err := exec.CommandContext(t.Context(), program, "pcap", "--failed", file).Output(); err == nil || !bytes.Contains(again, []byte(says)) {
				t.Errorf("read again: %v\n%s", err, again)
			}
		})
	}
}

// TestLiveCaptureKilled kills the capture without warning: all packets are in the
// file, and it is whole.
func TestLiveCaptureKilled(t *testing.T) {
	nettest.NeedRoot(t)
	program := nettest.Build(t, "../cmd/tcpwhy")
	s, _ := lab.Find("no-listener")
	l := open(t, s, lab.V4)
	file := filepath.Join(t.TempDir(), "a.pcapng")
	cmd := capturing(t, l, program, file, newWatcher("never"), "host", l.Dst().Addr().String(), "and", "tcp")
	for range 5 {
		try(l, time.Second)
	}
	nettest.Eventually(t, "the packets are not in the file", func() bool { return len(framesOf(t, file)) == 10 })
	cmd.Process.Kill()
	cmd.Wait()
	if got := framesOf(t, file); len(got) != 10 {
		t.Errorf("%d packets after the kill, want 10:\n%s", len(got), strings.Join(got, "\n"))
	}
	out, err := exec.CommandContext(t.Context(), program, "pcap", file).CombinedOutput()
	if err == nil || bytes.Contains(out, []byte("damaged")) || !bytes.Contains(out, []byte("5 of 5 connections failed")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestLiveCaptureTarget leaves out what is not about the target, by name, too.
func TestLiveCaptureTarget(t *testing.T) {
	nettest.NeedRoot(t)
	program := nettest.Build(t, "../cmd/tcpwhy")
	s, _ := lab.Find("host-firewall-reject")
	l := open(t, s, lab.V4)
	file := filepath.Join(t.TempDir(), "a.pcapng")
	capturing(t, l, program, file, newWatcher("never"), "server:"+strings.TrimPrefix(l.Dst().String(), l.Dst().Addr().String()+":"))
	visits(l)
	var icmp, syn int
	nettest.Eventually(t, "the packets are not in the file", func() bool {
		icmp, syn = 0, 0
		for _, f := range framesOf(t, file) {
			switch {
			case strings.Contains(f, "ICMP"):
				icmp++
			case strings.Contains(f, ".8080: Flags [S]"):
				syn++
			default:
				t.Fatalf("not about the target: %s", f)
			}
		}
		return icmp == 3 && syn == 3
	})
}

// TestLiveCaptureNeedsPrivilege says how to get it.
func TestLiveCaptureNeedsPrivilege(t *testing.T) {
	nettest.NeedRoot(t)
	program := nettest.Build(t, "../cmd/tcpwhy")
	s, _ := lab.Find("none")
	l := open(t, s, lab.V4)
	cmd := l.Command(lab.Client, true, program, "capture")
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("%v", err)
	}
	contains(t, out.String(), "capturing needs CAP_NET_RAW", "sudo setcap cap_net_raw+ep")
}
