//go:build linux

package test

import (
	"errors"
	"io"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// TestScripts runs the program as a user types it; testdata/script holds what
// is typed. Nothing leaves this machine: a script sees $WEB, where an HTTP
// server answers, $SSH, where an SSH server greets, and $CLOSED, where surely
// nothing listens, all on 127.0.0.1; $CLOSEDPORT is the last one's port.
func TestScripts(t *testing.T) {
	web := listen(t, func(c net.Conn) {
		c.Read(make([]byte, 4096))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	ssh := listen(t, func(c net.Conn) {
		io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n")
		io.Copy(io.Discard, c)
	})
	closed := reserve(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		ContinueOnError:     true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("WEB", web)
			e.Setenv("SSH", ssh)
			e.Setenv("CLOSED", closed)
			e.Setenv("LONGNAME", strings.Repeat("abcdefghi.", 26)[:259]+"x")
			e.Setenv("LONGLABEL", strings.Repeat("x", 64))
			e.Setenv("ESCAPE", "a\x1b[31mb")
			_, port, err := net.SplitHostPort(closed)
			e.Setenv("CLOSEDPORT", port)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "answers": answers, "wrong": wrong, "plain": plain, "ascii": ascii, "lines": lines,
		},
	})
}

// listen serves on 127.0.0.1 until the test ends.
func listen(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nettest.Serve(t, ln, handle)
	return ln.Addr().String()
}

// reserve takes a port of 127.0.0.1 without listening on it, so that nobody
// else does until the test ends.
func reserve(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(at.(*unix.SockaddrInet4).Port))
}

// The commands of the scripts follow.

// exits CODE PROGRAM ARGS… runs a program and checks its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v: %v", args[1:], err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("%q exits with %d, want %d", args[1:], code, want)
	}
}

// wrong PROBLEM HINT says that the last call was wrong: nothing on stdout, and
// on stderr what was wrong and, at the end, what to do, both as substrings.
func wrong(ts *testscript.TestScript, neg bool, args []string) {
	out, talk := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	if out != "" {
		ts.Fatalf("a wrong call writes to stdout: %q", out)
	}
	problem := strings.Index(talk, args[0])
	hint := strings.LastIndex(talk, args[1])
	switch {
	case !strings.HasPrefix(talk, "tcpwhy: ") || !strings.HasSuffix(talk, "\n") || strings.Count(talk, "\n") > 2:
		ts.Fatalf("an error is one or two lines of tcpwhy: %q", talk)
	case problem < 0:
		ts.Fatalf("%q does not say %q", talk, args[0])
	case hint < problem+len(args[0]):
		ts.Fatalf("%q does not end with what to do: %q", talk, args[1])
	}
}

// answers OUTCOME CERTAINTY CAUSE… says that the last output is one line of
// JSON for each cause, by the schema.
func answers(ts *testscript.TestScript, neg bool, args []string) {
	got := slices.Collect(strings.Lines(ts.ReadFile("stdout")))
	if len(got)*3 != len(args) {
		ts.Fatalf("%d lines of JSON, want %d", len(got), len(args)/3)
	}
	for i, line := range got {
		a, err := decode([]byte(line))
		ts.Check(err)
		if g, w := []string{a.Outcome, a.Verdict.Certainty, a.Verdict.Cause}, args[3*i:3*i+3]; !slices.Equal(g, w) {
			ts.Fatalf("answer %d is %v, want %v", i+1, g, w)
		}
	}
}

// plain says that the last output is fit for a pipe: 80 columns, no control
// characters.
func plain(ts *testscript.TestScript, neg bool, args []string) {
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); n > 80 {
			ts.Fatalf("%d columns: %q", n, line)
		}
		if i := strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == utf8.RuneError }); i >= 0 {
			ts.Fatalf("a control character: %q", line)
		}
	}
}

// ascii says that all that was written last is ASCII.
func ascii(ts *testscript.TestScript, neg bool, args []string) {
	all := ts.ReadFile("stdout") + ts.ReadFile("stderr")
	i := strings.IndexFunc(all, func(r rune) bool { return r > 127 })
	if (i < 0) == neg {
		ts.Fatalf("ASCII: %v in %q", i < 0, all)
	}
}

// lines N says how many lines the last output has.
func lines(ts *testscript.TestScript, neg bool, args []string) {
	if n := strings.Count(ts.ReadFile("stdout"), "\n"); strconv.Itoa(n) != args[0] {
		ts.Fatalf("%d lines, want %s", n, args[0])
	}
}
