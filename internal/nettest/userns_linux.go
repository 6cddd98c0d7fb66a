package nettest

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/netns"
)

// NeedRoot ends the test unless it runs as root with the capabilities to make
// namespaces and links. Inside InUserNS that always holds.
func NeedRoot(t testing.TB) {
	t.Helper()
	if !netns.Privileged() {
		Unsupported(t, "root (CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_NET_RAW)")
	}
}

// NeedUserNS ends the test where its user cannot make user namespaces, and
// names the sysctl that forbids it.
func NeedUserNS(t testing.TB) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^$")
	cmd.SysProcAttr = userNS()
	if err := cmd.Run(); err != nil {
		Unsupported(t, netns.Forbidden(err).Error())
	}
}

// InUserNS runs body as root of the network it works in: at once when the test
// already runs as root, else in a copy of the test program that is root in new
// user, network and mount namespaces, so that an ordinary user can run it too.
// The copy runs this test only (with what -test.run says about subtests), and
// its result becomes the result of t. Where user namespaces are forbidden the
// test ends as not supported.
//
// It is called from a top-level test, once, with the whole test in body.
func InUserNS(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	if netns.Privileged() {
		body(t)
		return
	}
	// The copy gets the signal when the thread that started it ends, so this
	// one must not be handed to others: it lasts as long as the test.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", copyArgs(t)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = userNS()
	cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	cmd.WaitDelay = Patience
	if err := cmd.Start(); err != nil {
		Unsupported(t, netns.Forbidden(err).Error())
	}
	err := cmd.Wait()
	log := regexp.MustCompile(`(?m)^\s*=== .*\n`).ReplaceAll(out.Bytes(), nil)
	skipped := regexp.MustCompile(`(?m)^--- SKIP: ` + t.Name() + ` .*\n\s*(.*)`).FindSubmatch(out.Bytes())
	switch {
	case err != nil:
		t.Fatalf("in a user namespace: %v\n%s", err, log)
	case skipped != nil:
		t.Skip(string(skipped[1]))
	case !bytes.Contains(out.Bytes(), []byte("--- PASS: "+t.Name()+" ")):
		t.Fatalf("in a user namespace the test did not run:\n%s", log)
	}
	t.Logf("in a user namespace:\n%s", log)
}

// copyArgs are the flags of the copy: those of this run that bear on one test.
func copyArgs(t *testing.T) []string {
	run := "^" + t.Name() + "$"
	args := []string{"-test.v", "-test.count=1"}
	for _, a := range os.Args[1:] {
		name, value, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
		switch name {
		case "test.run":
			if _, below, ok := strings.Cut(value, "/"); ok {
				run += "/" + below
			}
		case "test.parallel", "test.short", "test.cpu":
			args = append(args, a)
		}
	}
	if end, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout="+time.Until(end).String())
	}
	return append(args, "-test.run="+run)
}

// userNS maps the user to root of new namespaces.
func userNS() *syscall.SysProcAttr {
	attr := netns.UserNS()
	attr.Cloneflags |= unix.CLONE_NEWNET | unix.CLONE_NEWNS
	return attr
}
