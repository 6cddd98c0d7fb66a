// Package nettest holds what tests of this project share: saying what a test
// needs, running it in a user namespace where it is not run as root, and
// finding leaks.
//
// A test that needs what the machine lacks skips with a message that starts
// with "not supported: " and names what is missing. With TCPWHY_REQUIRE=all in
// the environment, which CI sets, it fails instead: there all of it exists, and
// a skip would hide a test. It imports netns only; only tests import it.
package nettest

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Unsupported ends the test: as skipped, or as failed with TCPWHY_REQUIRE=all.
// missing names what is not there: "CAP_NET_RAW", "program nginx".
func Unsupported(t testing.TB, missing string) {
	t.Helper()
	if os.Getenv("TCPWHY_REQUIRE") == "all" {
		t.Fatalf("not supported: %s (TCPWHY_REQUIRE=all forbids to skip)", missing)
	}
	t.Skip("not supported: " + missing)
}

// NeedProgram returns the path of a program, which may also be in one of the
// sbin directories that an ordinary user's PATH leaves out.
func NeedProgram(t testing.TB, name string) string {
	t.Helper()
	for _, p := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if path, err := exec.LookPath(p); err == nil {
			return path
		}
	}
	Unsupported(t, "program "+name)
	return ""
}

// NeedFile ends the test where a file such as /dev/net/tun or a sysctl below
// /proc/sys does not exist.
func NeedFile(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		Unsupported(t, err.Error())
	}
}

// Patience bounds every wait for something that happens soon, with processors that
// have much else to do.
const Patience = 20 * time.Second

// Eventually fails the test with what if ok does not become true within
// Patience.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s (waited %v)", what, Patience)
		}
	}
}

// kept names, in the environment, the directory of KeepBuilt, for the copies of the
// test program that InUserNS starts, too.
const kept = "TCPWHY_TEST_BUILT"

// building is held while a program is built that others may want.
var building sync.Mutex

// KeepBuilt has Build build each command once for all tests of a package: linking
// takes two seconds of a processor. It is for TestMain; forget removes what was
// built.
func KeepBuilt() (forget func(), err error) {
	if os.Getenv(kept) != "" {
		return func() {}, nil // whoever started this copy does it
	}
	dir, err := publicDir("")
	if err != nil {
		return nil, err
	}
	if err := os.Setenv(kept, dir); err != nil {
		return nil, err
	}
	return func() { os.RemoveAll(dir) }, nil
}

// publicDir makes a directory that every user may look into.
func publicDir(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, "tcpwhy-build-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	return dir, err
}

// Build compiles a command of this module, such as "./cmd/tcpwhy" seen from the
// test's directory, to a place where every user may run it; the directories of
// `go test` and t.TempDir are closed to others. It returns the program's path. The
// program may be that of other tests, too; see KeepBuilt.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	parent := os.Getenv(kept)
	keep := filepath.Join(parent, strings.ReplaceAll(pkg, "/", "+"))
	if parent != "" {
		building.Lock()
		defer building.Unlock()
		if _, err := os.Stat(keep); err == nil {
			return keep + "/program"
		}
	}
	dir, err := publicDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	if parent == "" {
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	program := dir + "/program"
	cmd := exec.CommandContext(t.Context(), NeedProgram(t, "go"), "build", "-o", program, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	if parent == "" {
		return program
	}
	// Whole or not at all; another copy may have been faster.
	if err := os.Rename(dir, keep); err != nil {
		if _, other := os.Stat(keep); other != nil {
			t.Fatal(err)
		}
	}
	return keep + "/program"
}

// Start starts a program that lives until its standard input ends, which it does
// with the test, and gives the first line that it prints.
func Start(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait() // ended by the test, perhaps
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("%v ends before it prints a line: %v", cmd.Args, err)
	}
	return strings.TrimSuffix(line, "\n")
}

// Serve has the connections that a listener takes handled, each by itself, and
// closed. The listener is closed with the test.
func Serve(t testing.TB, l net.Listener, handle func(net.Conn)) {
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
}
