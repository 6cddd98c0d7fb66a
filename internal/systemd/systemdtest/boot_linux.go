// Package systemdtest boots a real systemd as the first process of namespaces
// of its own, with units, journal and bus of its own, so that tests can look at
// services that fail. It imports nettest only; only tests import it.
package systemdtest

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

//go:embed boot.sh
var script string

// Host is a booted system.
type Host struct {
	root string // its file system, seen from outside
}

// Boot starts a system with these units, by name, beside a bus and a journal,
// and has started those that start names. Their state is not waited for. It
// needs root and ends with the test, at the latest with its process.
//
// The system shares the files of this one but for /run and /tmp, has its own
// process numbers and an own, empty network whose loopback is up.
func Boot(t testing.TB, units map[string]string, start ...string) *Host {
	t.Helper()
	nettest.NeedRoot(t)
	for _, p := range []string{"unshare", "dbus-daemon", "busctl"} {
		nettest.NeedProgram(t, p)
	}
	for _, f := range []string{"/lib/systemd/systemd", "/lib/systemd/systemd-journald", "/etc/machine-id", "/sys/fs/cgroup"} {
		nettest.NeedFile(t, f)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range base {
		write(t, dir, name, text)
	}
	for name, text := range units {
		write(t, dir, name, text)
	}
	write(t, dir, "default.target", "[Unit]\nRequires=dbus.socket systemd-journald.socket\nWants=dbus.service systemd-journald.service "+strings.Join(start, " ")+"\n")

	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	// The script ends the system when its input does, which is with this process.
	cmd := exec.Command("unshare", "--mount", "--net", "--uts", "--ipc", "--propagation", "private", "sh", "-c", script, "boot", dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // a Ctrl-C is not for it
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		nettest.Unsupported(t, err.Error())
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it was killed
	}()
	t.Cleanup(func() {
		input.Close()
		<-ended
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("log of systemd:\n%.8000s", text)
		}
	})
	h := &Host{fmt.Sprintf("/proc/%d/root", cmd.Process.Pid)}
	nettest.Eventually(t, "systemd, its bus and its journal are up", func() bool {
		select {
		case <-ended:
			text, _ := os.ReadFile(log.Name())
			nettest.Unsupported(t, "systemd in a container: "+string(text))
		default:
		}
		files, _ := filepath.Glob(h.Journal() + "/*/system.journal")
		return len(files) > 0 && exec.CommandContext(t.Context(), "busctl", "--address="+h.Bus(), "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
			"org.freedesktop.DBus.Peer", "Ping").Run() == nil
	})
	return h
}

// Bus is the address of its system bus.
func (h *Host) Bus() string { return "unix:path=" + h.root + "/run/dbus/system_bus_socket" }

// Journal is the directory of its journal.
func (h *Host) Journal() string { return h.root + "/run/log/journal" }

// Unit has systemd do something with a unit: "StartUnit", "StopUnit".
func (h *Host) Unit(t testing.TB, method, unit string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "busctl", "--address="+h.Bus(), "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
		"org.freedesktop.systemd1.Manager", method, "ss", unit, "replace").CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", method, unit, err, out)
	}
}

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.WriteString(f, text); err != nil {
		t.Fatal(err)
	}
}

// base are the units of every system. The journal does without /dev/log, which
// is this host's, and without the kernel's messages, which are.
var base = map[string]string{
	// What every unit depends on by default.
	"sysinit.target": "[Unit]\nDefaultDependencies=no\n", "basic.target": "[Unit]\nDefaultDependencies=no\n",
	"sockets.target": "[Unit]\nDefaultDependencies=no\n", "shutdown.target": "[Unit]\nDefaultDependencies=no\n",
	"dbus.socket": "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n",
	"dbus.service": "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n" +
		"[Service]\nType=notify\nExecStart=/usr/bin/dbus-daemon --config-file=/run/tcpwhy/bus.conf --address=systemd: --nofork --nopidfile --systemd-activation\n",
	"systemd-journald.socket": "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/systemd/journal/stdout\nListenDatagram=/run/systemd/journal/socket\nSocketMode=0666\n",
	"systemd-journald.service": "[Unit]\nDefaultDependencies=no\nRequires=systemd-journald.socket\n" +
		"[Service]\nType=notify\nExecStart=/lib/systemd/systemd-journald\nStandardOutput=null\n",
}
