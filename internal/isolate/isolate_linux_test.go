package isolate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// TestMain is the program that isolates itself, where it is called as that.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "init" {
		code, err := Init("copy", append([]string{"inside"}, os.Args[2:]...)...)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 99
		}
		os.Exit(code)
	}
	if len(os.Args) > 1 && os.Args[1] == "inside" {
		os.Exit(inside(os.Args[2]))
	}
	os.Exit(m.Run())
}

// inside is the work of the copy.
func inside(what string) int {
	ctx, guests, err := Enter(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 98
	}
	switch what {
	case "exit":
		return 17
	case "die":
		unix.Kill(os.Getpid(), unix.SIGKILL)
	case "pipe":
		unix.Exec("/bin/sh", []string{"sh", "-c", "kill -PIPE $$"}, nil)
	case "orphan":
		// The grandchild loses its parent; PID 1 reaps it, and goes on.
		if err := exec.Command("/bin/sh", "-c", "(sleep 0.05; exit 3) & exit 0").Run(); err != nil {
			return 97
		}
		return 18
	}
	for conn := range guests {
		go func() {
			g, err := Listen(conn)
			if err != nil {
				return
			}
			defer g.Close()
			switch g.Request.Op {
			case "look":
				g.Reply(Reply{Text: look(), Done: true})
			case "shell":
				cmd := exec.CommandContext(ctx, "/bin/sh", g.Request.Args...)
				if err := g.Shell(cmd, cmd.Start, cmd.Wait, -1, "welcome"); err != nil {
					g.Reply(Reply{Error: err.Error(), Hint: "none"})
				}
			}
		}()
	}
	return 19
}

// look tells what the copy sees of itself.
func look() string {
	links, _ := net.Interfaces()
	files, _ := os.ReadDir(Dir)
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	return fmt.Sprintf("uid %d, pid 1 above: %v, %d link, in %s: %v, TMPDIR %s, privileged: %v",
		os.Geteuid(), os.Getppid() == 1, len(links), Dir, names, os.TempDir(), netns.Privileged())
}

// start starts a copy, or ends the test where that is not allowed.
func start(t *testing.T, what string) *Cell {
	t.Helper()
	c, err := Start("init", what)
	if e := new(netns.ForbiddenError); errors.As(err, &e) {
		nettest.Unsupported(t, e.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.End()
		c.Wait()
	})
	return c
}

func TestExitCodes(t *testing.T) {
	nettest.LeakCheck(t)
	for what, want := range map[string]int{"exit": 17, "orphan": 18} {
		if code, err := start(t, what).Wait(); code != want || err != nil {
			t.Errorf("%s: %d, %v, want %d", what, code, err, want)
		}
	}
	c := start(t, "wait")
	c.End()
	if code, err := c.Wait(); code != 19 || err != nil {
		t.Errorf("after End: %d, %v, want 19", code, err)
	}
	if code, err := start(t, "pipe").Wait(); code != 128+13 || err != nil {
		t.Errorf("nobody reads any more: %d, %v, want %d", code, err, 128+13)
	}
	// The work is killed: PID 1 says so.
	if code, err := start(t, "die").Wait(); code != 99 || err != nil {
		t.Errorf("killed inside: %d, %v, want 99", code, err)
	}
	c = start(t, "wait")
	killChildren(t)
	if code, err := c.Wait(); err == nil {
		t.Errorf("PID 1 was killed, and Wait says %d without an error", code)
	}
	if _, err := c.Connect(); err == nil {
		t.Error("a connection to a copy that has ended")
	}
}

// killChildren kills what this process has started.
func killChildren(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(files) == 0 {
		nettest.Unsupported(t, "children in /proc")
	}
	for _, f := range files {
		b, _ := os.ReadFile(f)
		for pid := range strings.FieldsSeq(string(b)) {
			if n, err := strconv.Atoi(pid); err == nil {
				unix.Kill(n, unix.SIGKILL)
			}
		}
	}
}

func TestInside(t *testing.T) {
	nettest.LeakCheck(t)
	c := start(t, "wait")
	conn, err := c.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r, err := Ask(conn, Request{Op: "look"})
	want := "uid 0, pid 1 above: true, 1 link, in /dev/shm: [bin], TMPDIR /dev/shm, privileged: true"
	if err != nil || r.Text != want {
		t.Errorf("it sees %q (%v), want %q", r.Text, err, want)
	}
}

// A shell without a terminal has the guest's streams.
func TestAttach(t *testing.T) {
	nettest.LeakCheck(t)
	c := start(t, "wait")
	conn, err := c.Connect()
	if err != nil {
		t.Fatal(err)
	}
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var banner string
	code, err := Attach(t.Context(), conn, Request{Op: "shell", Args: []string{"-c", "echo hello; exit 5"}}, in, out, os.Stderr, func(s string) { banner = s })
	out.Close()
	b := make([]byte, 100)
	n, _ := in.Read(b)
	if code != 5 || err != nil || banner != "welcome" || string(b[:n]) != "hello\n" {
		t.Errorf("code %d, %v, banner %q, output %q", code, err, banner, b[:n])
	}
}

// A door lets the own user in, and is listed while it is open.
func TestDoor(t *testing.T) {
	nettest.LeakCheck(t)
	listed := func() bool {
		doors, err := Doors()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(doors, func(d Door) bool { return d.Pid == os.Getpid() })
		return i >= 0 && slices.Equal(doors[i].Command, os.Args)
	}
	if listed() {
		t.Fatal("a door is listed before it is open")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := start(t, "wait")
	if err := c.Open(ctx); err != nil {
		t.Fatal(err)
	}
	if !listed() {
		t.Error("the door is not listed")
	}
	conn, err := Dial(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if r, err := Ask(conn, Request{Op: "look"}); err != nil || !strings.HasPrefix(r.Text, "uid 0") {
		t.Errorf("through the door: %q, %v", r.Text, err)
	}
	cancel()
	nettest.Eventually(t, "the door stays open", func() bool { return !listed() })
	if _, err := Dial(os.Getpid()); err == nil {
		t.Error("a door that is closed opens")
	}
}

func TestTerminal(t *testing.T) {
	nettest.LeakCheck(t)
	master, slave, err := openPTY(33, 77, -1)
	if err != nil {
		nettest.Unsupported(t, err.Error())
	}
	defer master.Close()
	defer slave.Close()
	size, err := unix.IoctlGetWinsize(int(slave.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Row != 33 || size.Col != 77 {
		t.Errorf("size %+v, %v, want 33 rows, 77 columns", size, err)
	}
}

// Whatever a guest sends, it gets no further than its own connection.
func TestBadMessages(t *testing.T) {
	nettest.LeakCheck(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fd := int(null.Fd())
	for what, m := range map[string]struct {
		data   []byte
		rights []byte
	}{
		"nothing":            {nil, nil},
		"no JSON":            {[]byte("shell"), nil},
		"no JSON, and files": {[]byte("{"), unix.UnixRights(fd, fd)},
		"too many files":     {[]byte("{}"), unix.UnixRights(fd, fd, fd, fd, fd, fd, fd, fd)},
		"too long":           {[]byte(`{"Op":"` + strings.Repeat("x", maxMessage) + `"}`), nil},
	} {
		ours, f, err := socketPair()
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := unixConn(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := ours.WriteMsgUnix(m.data, m.rights, nil); err != nil {
			t.Fatal(err)
		}
		if g, err := Listen(theirs); err == nil {
			t.Errorf("%s: is taken for the request %+v", what, g.Request)
			g.Close()
		}
		ours.Close()
	}
}

func TestNotIsolated(t *testing.T) {
	if _, err := Init("copy"); err == nil {
		t.Error("PID 1 is any program")
	}
	if _, _, err := Enter(t.Context()); err == nil {
		t.Error("every program is the copy")
	}
}
