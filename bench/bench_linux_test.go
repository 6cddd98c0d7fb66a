package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// TestMain makes the test program its own launcher and reader too.
func TestMain(m *testing.M) {
	if code, ok := child(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func TestRun(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		t.Setenv("TMPDIR", t.TempDir())
		if err := openToAll(os.Getenv("TMPDIR")); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		code, err := run(t.Context(), []string{"-runs", "2", "-targets", "refused,explain", "-peers", "none", "-o", "json"}, &stdout, &stderr)
		if errors.Is(err, errors.ErrUnsupported) {
			nettest.Unsupported(t, err.Error())
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, &stderr)
		}
		var r results
		if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		// How fast a busy machine is must not decide about the test.
		if want := map[bool]int{false: exitMet, true: exitMissed}[r.missed()]; code != want {
			t.Errorf("exit code %d, want %d", code, want)
		}
		if len(r.Cases) != 3 || r.BinaryBytes < 1<<20 || r.Machine.Cores < 1 {
			t.Fatalf("incomplete: %s", &stdout)
		}
		for _, c := range r.Cases {
			if len(c.Tools) != 2 || (c.Target == "") != (c.Name == "explain") {
				t.Errorf("incomplete: %+v", c)
			}
			for _, m := range c.Tools {
				if m.Runs != 2 || len(m.AllMS) != 2 || m.MedianMS <= 0 || m.P90MS < m.MedianMS || m.PeakMB < 1 || m.Failed+m.TimedOut > 0 {
					t.Errorf("%s: not measured: %+v", c.Name, m)
				}
			}
		}
		if left, _ := filepath.Glob(os.Getenv("TMPDIR") + "/*"); left != nil {
			t.Errorf("left behind: %v", left)
		}
	})
}

// openToAll lets an ordinary user reach a directory of the test.
func openToAll(dir string) error {
	return errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755))
}

// TestPeersMeasureTheTarget runs the tools that are installed on an open port:
// a wrong option would make them fast.
func TestPeersMeasureTheTarget(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		s, _ := lab.Find("none")
		for _, f := range s.Families {
			l, err := lab.Open(t.Context(), s, f, lab.Params{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			for _, tool := range peerTools() {
				t.Run(tool.Name+"/"+f.String(), func(t *testing.T) {
					t.Parallel() // mtr takes its time
					program, err := exec.LookPath(tool.program)
					if err != nil {
						t.Logf("%s is not installed", tool.program)
						return
					}
					out, err := l.Command(lab.Client, !tool.root, program, tool.args(l.Dst())...).CombinedOutput()
					if err != nil {
						t.Errorf("%v\n%s", err, out)
					}
					if !bytes.Contains(out, []byte(l.Dst().Addr().String())) {
						t.Errorf("the output does not name the target:\n%s", out)
					}
					t.Logf("%s", out)
				})
			}
		}
	})
}

func TestLaunch(t *testing.T) {
	got := launched(t, "sh", "-c", "exit 3")
	if got.Exit != 3 || got.TimedOut || got.Elapsed <= 0 || got.PeakKB <= 0 {
		t.Errorf("%+v", got)
	}
	out, err := exec.Command("/proc/self/exe", launchFlag, "/nonexistent").Output()
	if err == nil || len(out) > 0 {
		t.Errorf("a program that does not exist: %v, %s", err, out)
	}
}

func launched(t *testing.T, argv ...string) (s sample) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", append([]string{launchFlag}, argv...)...)
	if _, err := cmd.StdinPipe(); err != nil { // open until the end
		t.Fatal(err)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestLaunchLeavesNothing ends a launcher in the ways it can end, while its
// program and a child of that run.
func TestLaunchLeavesNothing(t *testing.T) {
	for name, end := range map[string]func(*exec.Cmd, io.Closer) error{
		"stdin ends": func(_ *exec.Cmd, stdin io.Closer) error { return stdin.Close() },
		"killed":     func(c *exec.Cmd, _ io.Closer) error { return c.Process.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			pids := filepath.Join(t.TempDir(), "pids")
			script := `sleep 60 & echo $$ $! > "$0.new"; mv "$0.new" "$0"; wait`
			if name == "killed" {
				script = `echo $$ > "$0.new"; mv "$0.new" "$0"; exec sleep 60`
			}
			cmd := exec.Command("/proc/self/exe", launchFlag, "sh", "-c", script, pids)
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				cmd.Process.Kill()
				cmd.Wait()
			})
			nettest.Eventually(t, "the program does not start", func() bool { _, err := os.Stat(pids); return err == nil })
			if err := end(cmd, stdin); err != nil {
				t.Fatal(err)
			}
			list, err := os.ReadFile(pids)
			if err != nil {
				t.Fatal(err)
			}
			for pid := range strings.FieldsSeq(string(list)) {
				n, err := strconv.Atoi(pid)
				if err != nil {
					t.Fatal(err)
				}
				nettest.Eventually(t, "a process is left", func() bool { return !runs(n) })
			}
		})
	}
}

// runs says whether a process is there and not only its entry; proc_pid_stat(5).
func runs(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args  string
		cases int
		err   string
	}{
		{"", 16, ""},
		{"-targets open", 2, ""},
		{"-targets open,explain -peers none -runs 1 -o json", 3, ""},
		{"-targets opne", 0, `no "opne"`},
		{"-peers ping", 0, `no "ping"`},
		{"-runs 0", 0, "-runs 0"},
		{"-o html", 0, `"html"`},
		{"open", 0, "-targets"},
		{"-x", 0, "-x"},
	} {
		o, err := parse(strings.Fields(c.args), io.Discard)
		switch {
		case c.err == "" && err != nil, c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%q: error %v, want %q", c.args, err, c.err)
		case err == nil && len(o.cases) != c.cases:
			t.Errorf("%q: %d cases, want %d", c.args, len(o.cases), c.cases)
		}
	}
}

// TestScenesExist: the cases and the lab must agree.
func TestScenesExist(t *testing.T) {
	for _, s := range scenes() {
		made, ok := lab.Find(s.scenario)
		if !ok || !slices.Contains(made.Families, s.family) {
			t.Errorf("%s: the lab has no scenario %s for %v", s.label(), s.scenario, s.family)
		}
	}
}

// TestInterrupt ends a run in its middle.
func TestInterrupt(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := openToAll(dir); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(nettest.Build(t, "."), "-targets", "dropped-host", "-runs", "100", "-peers", "none")
		cmd.Env = append(os.Environ(), "TMPDIR="+dir)
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		// The first line comes when the first lab is about to be made.
		if _, err := io.ReadFull(stderr, make([]byte, len("dropped-host"))); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(stderr)
		start := time.Now()
		if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != exitFailed {
			t.Errorf("%v, want exit code %d", err, exitFailed)
		}
		if !bytes.Contains(rest, []byte("interrupted")) {
			t.Errorf("it does not say that it was interrupted: %s", rest)
		}
		if left, _ := filepath.Glob(dir + "/*"); left != nil {
			t.Errorf("left behind after %v: %v", time.Since(start), left)
		}
	})
}
