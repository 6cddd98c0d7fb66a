package netns_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

func newNS(t *testing.T) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// id names the namespace of the calling thread: "net:[4026531840]".
func id(t *testing.T) string {
	t.Helper()
	s, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDo(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		ns := newNS(t)
		here := id(t)
		var there string
		var links []net.Interface
		want := errors.New("from inside")
		err := ns.Do(func() (err error) {
			there = id(t)
			if links, err = net.Interfaces(); err != nil {
				return err
			}
			return want
		})
		if !errors.Is(err, want) {
			t.Errorf("Do = %v, want the error of the function", err)
		}
		if there == here {
			t.Error("the function ran in our own namespace")
		}
		if len(links) != 1 || links[0].Name != "lo" {
			t.Errorf("interfaces inside = %v, want lo only", links)
		}
		if got := id(t); got != here {
			t.Errorf("we are in %s now, were in %s", got, here)
		}
	})
}

// No thread may be left in a namespace, wherever the scheduler put Do: with as
// many callers as this the main thread gets its turn too.
func TestNoThreadStays(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		ns := newNS(t)
		here := id(t)
		errs := make(chan error)
		for range 64 {
			go func() {
				errs <- ns.Do(func() error { runtime.Gosched(); return nil })
			}()
		}
		for range 64 {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		nettest.Eventually(t, "a thread stays in the namespace", func() bool {
			paths, _ := filepath.Glob("/proc/self/task/*/ns/net")
			for _, p := range paths {
				if s, err := os.Readlink(p); err == nil && s != here {
					return false
				}
			}
			return len(paths) > 0
		})
	})
}

func TestDoGoexit(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		ns := newNS(t)
		if err := ns.Do(func() error { runtime.Goexit(); return nil }); err == nil {
			t.Error("Do = nil for a function that never returned")
		}
	})
}

func TestStart(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		ns := newNS(t)
		file := filepath.Join(t.TempDir(), "hosts")
		if err := os.WriteFile(file, []byte("192.0.2.1 db.example\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile("/etc/hosts")
		if err != nil {
			nettest.Unsupported(t, "/etc/hosts: "+err.Error())
		}
		var out strings.Builder
		cmd := exec.Command("/bin/sh", "-c", "cat /etc/hosts; readlink /proc/self/ns/net")
		cmd.Stdout = &out
		if err := ns.Start(cmd, map[string]string{"/etc/hosts": file}); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		var there string
		if err := ns.Do(func() error { there = id(t); return nil }); err != nil {
			t.Fatal(err)
		}
		if want := "192.0.2.1 db.example\n" + there + "\n"; out.String() != want {
			t.Errorf("the child printed %q, want %q", out.String(), want)
		}
		if after, err := os.ReadFile("/etc/hosts"); err != nil || string(after) != string(before) {
			t.Errorf("/etc/hosts changed for us too (%v)", err)
		}
	})
}

func TestStartErrors(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		ns := newNS(t)
		missing := filepath.Join(t.TempDir(), "missing")
		err := ns.Start(exec.Command("/bin/true"), map[string]string{"/etc/hosts": missing})
		if !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), missing) {
			t.Errorf("a missing file to mount: %v, want ENOENT that names it", err)
		}
		cmd := exec.Command("/bin/true")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := ns.Start(cmd, nil); err == nil {
			t.Error("Pdeathsig was accepted")
		}
	})
}

func TestClosed(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		ns := newNS(t)
		if err := ns.Close(); err != nil {
			t.Fatal(err)
		}
		called := false
		if err := ns.Do(func() error { called = true; return nil }); err == nil || called {
			t.Errorf("Do after Close = %v, function called: %v", err, called)
		}
	})
}

func TestCurrent(t *testing.T) {
	nettest.LeakCheck(t)
	ns, err := netns.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if ns.Fd() < 0 {
		t.Errorf("Fd = %d", ns.Fd())
	}
}
