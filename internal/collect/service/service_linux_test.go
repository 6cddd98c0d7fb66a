package service

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/containers"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/systemd/systemdtest"
)

const nginxConf = `daemon off; pid /run/%[1]s.pid; error_log stderr;
events {} http { access_log off; client_body_temp_path /tmp/%[1]s; proxy_temp_path /tmp/%[1]s; fastcgi_temp_path /tmp/%[1]s; uwsgi_temp_path /tmp/%[1]s; scgi_temp_path /tmp/%[1]s;
server { listen 127.0.0.1:80; } }`

// A real systemd with real servers of which some cannot listen.
func TestRealServicesThatFail(t *testing.T) {
	nginx, python := nettest.NeedProgram(t, "nginx"), nettest.NeedProgram(t, "python3")
	if p := "/usr/bin/python3"; exec.Command(p, "-V").Run() == nil {
		python = p
	}
	h := systemdtest.Boot(t, map[string]string{
		"nginx.service":  "[Service]\nExecStartPre=/bin/sh -c 'echo \"" + strings.ReplaceAll(fmt.Sprintf(nginxConf, "one"), "\n", " ") + "\" > /run/one.conf'\nExecStart=" + nginx + " -c /run/one.conf\n",
		"second.service": "[Service]\nExecStartPre=/bin/sh -c 'echo \"" + strings.ReplaceAll(fmt.Sprintf(nginxConf, "two"), "\n", " ") + "\" > /run/two.conf'\nExecStart=" + nginx + " -c /run/two.conf\n",
		"web.service": "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=" + python + " -m http.server --bind 192.0.2.9 8000\n" +
			"Restart=always\nRestartSec=30\n",
		"hostile.service":    "[Service]\nType=oneshot\nExecStart=/usr/bin/printf 'bind() to 127.0.0.1:8000 failed (98: Address already in use)\\\\x1b[2J\\\\x1b]0;owned\\\\x07 --password=hunter2 \\\\xff\\\\n'\n",
		"redis.socket":       "[Socket]\nListenStream=127.0.0.1:6379\n",
		"redis.service":      "[Service]\nExecStart=/bin/sleep 1000\n",
		"apache2.service":    "[Service]\nExecStart=/bin/sleep 1000\n",
		"unrelated.service":  "[Service]\nExecStart=/bin/sh -c 'echo listen tcp 127.0.0.1:8443: bind: address already in use; exit 1'\n",
		"postgresql.service": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n", "postgresql@.service": "[Service]\nExecStart=/bin/sh -c 'exit 2'\n",
	}, "nginx.service", "web.service", "redis.socket", "postgresql.service", "postgresql@15-main.service", "unrelated.service", "hostile.service")
	src := sources{bus: h.Bus(), journal: h.Journal(), logs: t.TempDir()}
	get := func(t *testing.T, o Options) evidence.Service {
		t.Helper()
		o.Clock = collect.NewClock()
		s, missed, err := src.collect(t.Context(), o)
		if err != nil || len(missed) > 0 {
			t.Fatalf("%v, %v", missed, err)
		}
		return s
	}
	unit := func(s evidence.Service, name string) evidence.Unit {
		for _, u := range s.Units {
			if u.Name == name {
				return u
			}
		}
		return evidence.Unit{}
	}
	line := func(s evidence.Service, unit string, kind evidence.LogKind) evidence.LogLine {
		for _, l := range slices.Backward(s.Log) {
			if l.Unit == unit && l.Kind == kind {
				return l
			}
		}
		return evidence.LogLine{}
	}

	t.Run("second nginx", func(t *testing.T) {
		nettest.Eventually(t, "nginx listens", func() bool { u := unit(get(t, Options{Port: 80}), "nginx.service"); return u.Sub == "running" })
		h.Unit(t, "StartUnit", "second.service")
		var s evidence.Service
		nettest.Eventually(t, "the second nginx has failed", func() bool { s = get(t, Options{Port: 80}); return unit(s, "second.service").Active == "failed" })
		if u := unit(s, "nginx.service"); u.Why != "usual for port 80" || u.Active != "active" || u.MainPID == 0 {
			t.Errorf("%+v", u)
		}
		if u := unit(s, "second.service"); u.Why != "its log names the port" || u.Result != "exit-code" || u.ExitCode != "exited" || u.ExitStatus != 1 {
			t.Errorf("%+v", u)
		}
		if u := unit(s, "apache2.service"); u.Active != "inactive" {
			t.Errorf("%+v", u)
		}
		l := line(s, "second.service", evidence.LogBindInUse)
		if l.Addr != netip.MustParseAddrPort("127.0.0.1:80") || l.Process != "nginx" || l.PID == 0 || !strings.Contains(l.Text, "bind() to 127.0.0.1:80 failed (98: ") {
			t.Errorf("%+v", l)
		}
		if l := line(s, "second.service", evidence.LogExit); l.Process != "systemd" || !strings.Contains(l.Text, "second.service: ") {
			t.Errorf("%+v", l)
		}
		if u := unit(s, "unrelated.service"); u.Name != "" {
			t.Errorf("a unit that has nothing to do with the port: %+v", u)
		}
		if len(s.Log) > maxLog {
			t.Errorf("%d lines", len(s.Log))
		}
	})
	t.Run("python traceback", func(t *testing.T) {
		var s evidence.Service
		nettest.Eventually(t, "web.service waits for its restart", func() bool {
			s = get(t, Options{Port: 8000, Names: []string{"web"}})
			return unit(s, "web.service").Sub == "auto-restart" && line(s, "web.service", evidence.LogExit).Unit != ""
		})
		if u := unit(s, "web.service"); u.Why != "asked for" || u.ExitStatus != 1 {
			t.Errorf("%+v", u)
		}
		if l := line(s, "web.service", evidence.LogBindNoAddress); !strings.Contains(l.Text, "Errno 99") {
			t.Errorf("%+v in %+v", l, s.Log)
		}
	})
	t.Run("hostile", func(t *testing.T) {
		s := get(t, Options{Port: 8000})
		l := line(s, "hostile.service", evidence.LogBindInUse)
		if !strings.Contains(l.Text, `\x1b[2J\x1b]0;owned\a`) || strings.ContainsFunc(l.Text, func(r rune) bool { return r < ' ' || r > '~' }) || strings.Contains(l.Text, "hunter2") {
			t.Errorf("%q", l.Text)
		}
	})
	t.Run("socket unit", func(t *testing.T) {
		s := get(t, Options{Port: 6379})
		if u := unit(s, "redis.socket"); u.Active != "active" || !slices.Equal(u.Listens, []string{"127.0.0.1:6379"}) || !strings.Contains(u.Why, "port 6379") {
			t.Errorf("%+v", s.Units)
		}
		if u := unit(s, "redis.service"); u.Active != "inactive" {
			t.Errorf("%+v", u)
		}
		s = get(t, Options{Port: 6379, Names: []string{"no-such-unit"}, PIDs: []int{1}})
		if unit(s, "init.scope").Name != "" {
			t.Error("process 1 holds sockets for others")
		}
	})
	t.Run("instances", func(t *testing.T) {
		nettest.Eventually(t, "the instance has failed", func() bool {
			s := get(t, Options{Port: 5432})
			u := unit(s, "postgresql@15-main.service")
			return u.Active == "failed" && u.ExitStatus == 2 && unit(s, "postgresql.service").Sub == "exited"
		})
	})
	t.Run("owner", func(t *testing.T) {
		pid := unit(get(t, Options{Port: 80}), "nginx.service").MainPID
		s := get(t, Options{PIDs: []int{pid}})
		if u := unit(s, "nginx.service"); u.Why != "owns the listener" || len(s.Units) != 1 {
			t.Errorf("%+v", s.Units)
		}
	})
}

// Whatever hangs, the answer comes, and says what is missing.
func TestNothingAnswers(t *testing.T) {
	nettest.LeakCheck(t)
	dir := t.TempDir()
	mute := filepath.Join(dir, "mute.sock")
	l, err := net.Listen("unix", mute)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// A journalctl that never ends, and a child of it that holds its output.
	if err := os.WriteFile(filepath.Join(dir, "journalctl"), []byte("#!/bin/sh\nsleep 3 &\nwait\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.journal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	src := sources{bus: "unix:path=" + mute, journal: dir, logs: dir, engines: []containers.Engine{{Name: "docker", Socket: mute}}, otherEngines: nil}
	start := time.Now()
	_, missed, err := src.collect(t.Context(), Options{Port: 80})
	if took := time.Since(start); took > nettest.Patience {
		t.Errorf("took %v", took)
	}
	if err != nil {
		t.Error(err)
	}
	for _, check := range []string{checkUnits, checkScan, "containers of docker", checkKernel} {
		if !slices.ContainsFunc(missed, func(n evidence.NotChecked) bool { return n.Check == check && n.Reason != "" && n.How != "" }) {
			t.Errorf("%q is not among what was not checked: %+v", check, missed)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := (sources{journal: t.TempDir(), logs: t.TempDir()}).collect(ctx, Options{Port: 80}); err != nil {
		t.Error(err)
	}
	if _, _, err := Collect(ctx, Options{}); err == nil {
		t.Error("nothing to look for, and no error")
	}
}
