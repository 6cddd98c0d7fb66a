//go:build linux

package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/judge"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
)

// TestCaptureSession is a person with tcpdump: a capture where the user sits
// while a firewall on the way resets the port, then tcpwhy pcap on it in every
// form. What --write leaves must open in Wireshark's tshark where that is
// installed; the tests of the command line read it anyway.
func TestCaptureSession(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		tcpdump := nettest.NeedProgram(t, "tcpdump")
		program := nettest.Build(t, "../cmd/tcpwhy")
		s, ok := lab.Find("path-firewall-reset-r1")
		if !ok {
			t.Fatal("there is no such scenario")
		}
		file := filepath.Join(t.TempDir(), "client.pcap")
		r := record(t.Context(), judge.Case{Scenario: s, Family: lab.V4, Vantage: judge.Root}, tcpdump, file)
		if r.unsupported != "" {
			nettest.Unsupported(t, r.unsupported)
		}
		if r.err != nil {
			t.Fatal(r.err)
		}
		target := r.to.String()
		run := func(code int, stdin []byte, args ...string) string {
			t.Helper()
			cmd := exec.CommandContext(t.Context(), program, append([]string{"pcap"}, args...)...)
			var talk bytes.Buffer
			cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &talk
			out, _ := cmd.Output()
			if got := cmd.ProcessState.ExitCode(); got != code || talk.Len() > 0 {
				t.Errorf("%q: exit code %d, want %d; %s", args, got, code, &talk)
			}
			return string(out)
		}
		text := run(1, nil, file)
		for _, want := range []string{target + " is refused", "path-firewall-reset", "do next", "Linux cooked"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
		packets, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := run(1, packets, "-"); !strings.Contains(got, target+" is refused") {
			t.Errorf("from standard input:\n%s", got)
		}
		if err := reporttest.ValidateCapture([]byte(run(1, nil, "-o", "json", "--all", file))); err != nil {
			t.Error(err)
		}
		run(0, nil, "--target", ":22", file)
		failed := filepath.Join(t.TempDir(), "failed.pcapng")
		run(1, nil, "--target", target, "--write", failed, file)
		tshark, err := exec.LookPath("tshark")
		if err != nil {
			return
		}
		out, err := exec.CommandContext(t.Context(), tshark, "-n", "-r", failed, "-T", "fields", "-e", "tcp.flags.reset", "-e", "frame.comment").Output()
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		syns, resets := 0, 0
		for _, line := range lines {
			switch {
			case strings.Contains(line, "SYN, the first try"):
				syns++
			case strings.Contains(line, "made up on the way"):
				resets++
			}
		}
		if syns == 0 || syns != resets || syns+resets != len(lines) {
			t.Errorf("%d SYNs and %d resets in %d comments:\n%s", syns, resets, len(lines), out)
		}
	})
}
