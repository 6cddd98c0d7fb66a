package systemd

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/systemd/systemdtest"
)

// units are what a real systemd is given.
var units = map[string]string{
	"good.service":        "[Service]\nExecStart=/bin/sleep 1000\n",
	"stopped.service":     "[Service]\nExecStart=/bin/sleep 1000\n",
	"never.service":       "[Service]\nExecStart=/bin/sleep 1000\n",
	"failed.service":      "[Service]\nExecStart=/bin/sh -c 'exit 3'\n",
	"killed.service":      "[Service]\nExecStart=/bin/sh -c 'kill -SEGV $$$$'\nLimitCORE=0\n",
	"flapping.service":    "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=10ms\n",
	"limited.service":     "[Unit]\nStartLimitIntervalSec=100\nStartLimitBurst=2\n[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=1ms\n",
	"web@.service":        "[Service]\nExecStart=/bin/sleep 1000\n",
	`odd\x2dname.service`: "[Service]\nExecStart=/bin/sleep 1000\n",
	"inet.socket":         "[Socket]\nListenStream=127.0.0.1:8080\nListenStream=[::1]:8081\nListenStream=/run/inet.sock\nListenDatagram=127.0.0.1:53\nAccept=no\n",
	"inet.service":        "[Service]\nExecStart=/bin/sleep 1000\n",
	"busy.socket":         "[Unit]\nAfter=inet.socket\n[Socket]\nListenStream=127.0.0.1:8080\n",
	"busy.service":        "[Service]\nExecStart=/bin/sleep 1000\n",
}

func TestStatesOfRealUnits(t *testing.T) {
	h := systemdtest.Boot(t, units, "good.service", "stopped.service", "failed.service", "killed.service", "flapping.service", "limited.service",
		"web@a.service", "inet.socket", "busy.socket", `odd\x2dname.service`)
	h.Unit(t, "StopUnit", "stopped.service")
	c, err := Open(t.Context(), h.Bus())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	one := func(name string) Unit {
		got, err := c.Units(t.Context(), name)
		if err != nil || len(got) != 1 {
			t.Fatalf("Units(%q) = %v, %v", name, got, err)
		}
		return got[0]
	}
	for _, tt := range []struct {
		name string
		want Unit
	}{
		{"good.service", Unit{Active: "active", Sub: "running", Result: "success"}},
		{"stopped", Unit{Active: "inactive", Sub: "dead", Result: "success", ExitCode: "killed", ExitStatus: 15}},
		{"never.service", Unit{Active: "inactive", Sub: "dead", Result: "success"}},
		{"failed.service", Unit{Active: "failed", Sub: "failed", Result: "exit-code", ExitCode: "exited", ExitStatus: 3}},
		{"killed.service", Unit{Active: "failed", Sub: "failed", Result: "signal", ExitCode: "killed", ExitStatus: 11}},
		{"limited.service", Unit{Active: "failed", Sub: "failed", Result: "exit-code", ExitCode: "exited", ExitStatus: 1, Restarts: 2}},
		{`odd\x2dname`, Unit{Active: "active", Sub: "running", Result: "success"}},
		{"busy.socket", Unit{Active: "failed", Sub: "failed", Result: "resources", Listens: []string{"127.0.0.1:8080"}, Triggers: []string{"busy.service"}}},
		{"inet.socket", Unit{Active: "active", Sub: "listening", Result: "success", Listens: []string{"127.0.0.1:8080", "[::1]:8081", "/run/inet.sock"}, Triggers: []string{"inet.service"}}},
	} {
		tt.want.Name, tt.want.Load = withSuffix(tt.name), "loaded"
		var got Unit
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("last: %+v", got)
			}
		})
		nettest.Eventually(t, tt.name+" is as it should be", func() bool {
			got = one(tt.name)
			pid, since := got.MainPID, got.Since
			got.MainPID, got.Since = 0, time.Time{}
			if !equal(got, tt.want) {
				return false
			}
			if up := got.Sub == "running"; up != (pid > 0) {
				t.Errorf("%s: MainPID %d in state %s", tt.name, pid, got.Sub)
			}
			if never := tt.name == "never.service"; never != since.IsZero() || !never && time.Since(since).Abs() > time.Minute {
				t.Errorf("%s: changed %v", tt.name, since)
			}
			return true
		})
	}
	nettest.Eventually(t, "flapping.service is restarted", func() bool { u := one("flapping"); return u.Restarts > 2 })

	names := func(patterns ...string) (list []string) {
		t.Helper()
		got, err := c.Units(t.Context(), patterns...)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range got {
			list = append(list, u.Name)
		}
		return list
	}
	// Patterns find what is loaded and what is only on disk, no template, nothing
	// twice; what is no name spoils nothing.
	if got, want := names("web@*", "nev*", "never", "no-such-unit", "a b", "x\x1b[2J", "../etc", "", strings.Repeat("x", 1000), "good.service"), []string{"web@a.service", "never.service", "good.service"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := names(); got != nil {
		t.Errorf("without patterns: %q", got)
	}

	good := one("good.service")
	for pid, want := range map[int]string{good.MainPID: "good.service", 0: "", -1: "", 1 << 30: "", 1 << 40: ""} {
		if got, err := c.UnitByPID(t.Context(), pid); err != nil || got != want {
			t.Errorf("UnitByPID(%d) = %q, %v, want %q", pid, got, err, want)
		}
	}
	odd := one(`odd\x2dname.service`)
	if got, err := c.UnitByPID(t.Context(), odd.MainPID); err != nil || got != odd.Name {
		t.Errorf("UnitByPID = %q, %v, want %q", got, err, odd.Name)
	}
}

func equal(a, b Unit) bool {
	return a.Name == b.Name && a.Load == b.Load && a.Active == b.Active && a.Sub == b.Sub && a.Result == b.Result && a.ExitCode == b.ExitCode &&
		a.ExitStatus == b.ExitStatus && a.Restarts == b.Restarts && slices.Equal(a.Listens, b.Listens) && slices.Equal(a.Triggers, b.Triggers)
}

func TestNoBus(t *testing.T) {
	nettest.LeakCheck(t)
	dir := t.TempDir()
	closed := filepath.Join(dir, "closed")
	if err := os.WriteFile(closed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"unix:path=" + filepath.Join(dir, "none"), "unix:path=" + closed, "nonsense", "unix:path=" + strings.Repeat("x", 500)} {
		if c, err := Open(t.Context(), address); !errors.Is(err, ErrNoBus) {
			t.Errorf("%.40s: %v, %v, want ErrNoBus", address, c, err)
		}
	}
}

// A bus that takes the connection and says nothing must not hold up anybody.
func TestMuteBus(t *testing.T) {
	nettest.LeakCheck(t)
	path := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if c, err := Open(ctx, "unix:path="+path); !errors.Is(err, ErrNoBus) || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("%v, %v, want ErrNoBus that says so", c, err)
	}
}

func TestBusOfAnother(t *testing.T) {
	if os.Geteuid() == 0 {
		return // root may open every socket
	}
	path := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), "unix:path="+path); !errors.Is(err, os.ErrPermission) {
		t.Errorf("%v, want os.ErrPermission", err)
	}
}
