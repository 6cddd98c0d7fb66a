package lab_test

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// effective is the set of capabilities a program says it has.
const effective = "grep CapEff /proc/self/status; id -u; cat /etc/resolv.conf /etc/hosts"

func TestCommand(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		l := open(t, find(t, "hosts-file-override"), lab.V4)
		defer l.Close()
		for _, ordinary := range []bool{true, false} {
			out, err := l.Command(lab.Client, ordinary, "/bin/sh", "-c", effective).Output()
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(string(out), "\n")
			none := strings.Fields(lines[0])[1] == "0000000000000000"
			if none != ordinary || (lines[1] == "0") == ordinary {
				t.Errorf("ordinary %v: %s, user %s", ordinary, lines[0], lines[1])
			}
			for _, want := range []string{"nameserver 10.77.1.1\n", "10.77.3.1 app.example\n"} {
				if !strings.Contains(string(out), want) {
					t.Errorf("ordinary %v: the program does not see %q:\n%s", ordinary, want, out)
				}
			}
		}
	})
}

// An ordinary program must not be able to change the network it is judged in.
func TestOrdinaryHasNoPower(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		ip := nettest.NeedProgram(t, "ip")
		nettest.LeakCheck(t)
		l := open(t, find(t, "none"), lab.V4)
		defer l.Close()
		down := []string{"link", "set", "eth0", "down"}
		if out, err := l.Command(lab.Client, true, ip, down...).CombinedOutput(); err == nil || !strings.Contains(string(out), "not permitted") {
			t.Errorf("an ordinary user sets a link down: %v %s", err, out)
		}
		if err := l.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		if out, err := l.Command(lab.Client, false, ip, down...).CombinedOutput(); err != nil {
			t.Errorf("the privileged user does not: %v %s", err, out)
		}
	})
}

func TestCloseEndsCommands(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		l := open(t, find(t, "none"), lab.V4)
		cmd := l.Command(lab.Server, true, "sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("the command ended with %v, want it killed", err)
		}
	})
}

func TestOutputKeepsErrors(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		l := open(t, find(t, "none"), lab.V4)
		defer l.Close()
		out, err := l.Command(lab.Client, true, "/bin/sh", "-c", "echo out; echo err >&2; exit 3").Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 3 || string(exit.Stderr) != "err\n" || string(out) != "out\n" {
			t.Errorf("Output = %q, %v", out, err)
		}
		if _, err := l.Command(lab.Client, true, "/no/such/program").Output(); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("a program that does not exist: %v", err)
		}
	})
}
