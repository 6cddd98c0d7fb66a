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
	"os"
	"os/exec"
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

// Patience bounds every wait for something that happens soon.
const Patience = 5 * time.Second

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

// Build compiles a command of this module, such as "./cmd/tcpwhy" seen from the
// test's directory, to a place where every user may run it; the directories of
// `go test` and t.TempDir are closed to others. It returns the program's path.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tcpwhy-build-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program := dir + "/program"
	cmd := exec.CommandContext(t.Context(), NeedProgram(t, "go"), "build", "-o", program, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return program
}
