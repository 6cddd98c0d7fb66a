package service

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/containers"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/journal"
)

// bare are sources of a host without anything.
func bare(t *testing.T) sources {
	t.Helper()
	return sources{bus: "unix:path=" + filepath.Join(t.TempDir(), "none"), journal: t.TempDir(), logs: t.TempDir()}
}

func (src sources) write(t *testing.T, path, text string) {
	t.Helper()
	path = filepath.Join(src.logs, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func kinds(s evidence.Service) (list []string) {
	for _, l := range s.Log {
		if l.Kind != "" {
			list = append(list, l.Process+" "+string(l.Kind)+" "+l.Addr.String())
		}
	}
	return list
}

func TestLogsWithoutJournal(t *testing.T) {
	src := bare(t)
	at := func(age time.Duration, layout string) string { return time.Now().Add(-age).Format(layout) }
	const slash, stamp = "2006/01/02 15:04:05", time.Stamp
	src.write(t, "/var/log/nginx/error.log", "bind() to 192.0.2.8:80 failed (98: Address already in use)\n"+ // no time: perhaps of last year
		at(48*time.Hour, slash)+" [emerg] 1#1: bind() to 192.0.2.7:80 failed (98: Address already in use)\n"+
		at(time.Minute, slash)+" [emerg] 2#2: bind() to 192.0.2.1:80 failed (98: Address already in use)\n")
	src.write(t, "/var/log/syslog", at(3*time.Minute, stamp)+" host haproxy[7]: [ALERT] (7) : Binding [h:7] for frontend f: cannot bind socket (Address already in use) for [192.0.2.2:80]\n"+
		at(2*time.Minute, stamp)+" host systemd[1]: nginx.service: Main process exited, code=exited, status=1/FAILURE\n"+
		at(2*time.Minute, stamp)+" host evil[9]: nginx: bind() to 192.0.2.3:80 failed (98: Address already in use)\n"+
		at(2*time.Minute, stamp)+" host systemd[1]: cron.service: Main process exited, code=exited, status=1/FAILURE\n"+
		at(2*time.Minute, stamp)+" host kernel: Out of memory: Killed process 3 (chrome) total-vm:1kB\n"+
		at(2*time.Minute, stamp)+" host kernel: Out of memory: Killed process 4 (nginx) total-vm:1kB\n"+
		"\x1b[2J garbage\nkernel: \n: \n")
	s, missed, err := src.collect(t.Context(), Options{Port: 80})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"haproxy bind-in-use 192.0.2.2:80", "systemd exit invalid AddrPort", "kernel oom invalid AddrPort", "nginx bind-in-use 192.0.2.1:80"}
	if got := kinds(s); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, check := range []string{checkUnits, checkScan, checkKernel} {
		if !slices.ContainsFunc(missed, func(n evidence.NotChecked) bool { return n.Check == check }) {
			t.Errorf("%q is missing in %+v", check, missed)
		}
	}

	src.write(t, "/var/log/postgresql/postgresql-15-main.log",
		at(time.Minute, "2006-01-02 15:04:05.000")+` TZ [8614] LOG:  could not bind IPv4 address "127.0.0.1": Address already in use`+"\n"+
			at(time.Minute, "2006-01-02 15:04:05.000")+" TZ [8614] HINT:  Is another postmaster already running on port 5432? If not, wait a few seconds and retry.\n")
	if s, _, _ = src.collect(t.Context(), Options{Port: 5432}); !slices.Equal(kinds(s), []string{"postgres bind-in-use 127.0.0.1:5432"}) {
		t.Errorf("PostgreSQL: %+v", s.Log)
	}
	src.write(t, "/var/log/redis/redis.log", strings.Repeat("1:M "+at(time.Minute, "02 Jan 2006 15:04:05.000")+" * ok\n", 1000))
	if s, _, _ = src.collect(t.Context(), Options{Port: 6379}); len(s.Log) > maxLog {
		t.Errorf("%d lines", len(s.Log))
	}
}

func TestContainersOfThePort(t *testing.T) {
	src := bare(t)
	path := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := map[string]string{
			"/v1.24/containers/json": `[{"Id":"a","Names":["/up"],"State":"running","Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}]},
				{"Id":"b","Names":["/blocked"],"State":"created"},{"Id":"c","Names":["/other"],"State":"exited"},{"Id":"d","Names":["/busy"],"State":"running"}]`,
			"/v1.24/containers/a/json": `{"State":{"Status":"running","Pid":5},"NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]}}}`,
			"/v1.24/containers/b/json": `{"State":{"Status":"created","Error":"driver failed programming external connectivity on endpoint blocked (0): Bind for 192.0.2.1:8080 failed: port is already allocated"},"HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"192.0.2.1","HostPort":"8080"}]}}}`,
			"/v1.24/containers/c/json": `{"State":{"Status":"exited","Error":"Bind for 0.0.0.0:9 failed: port is already allocated"},"Config":{"ExposedPorts":{"9/tcp":{}}}}`,
		}[r.URL.Path]
		if text == "" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		_, _ = io.WriteString(w, text) // to a client that is gone
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // until it is closed
	}()
	defer func() { srv.Close(); <-done }()
	src.engines = []containers.Engine{{Name: "docker", Socket: path}}
	names := func(o Options) (list []string) {
		t.Helper()
		s, missed, err := src.collect(t.Context(), o)
		if err != nil || slices.ContainsFunc(missed, func(n evidence.NotChecked) bool { return strings.Contains(n.Check, "containers") }) {
			t.Fatalf("%+v, %v", missed, err)
		}
		for _, c := range s.Containers {
			list = append(list, c.Name)
		}
		return append(list, kinds(s)...)
	}
	if got, want := names(Options{Port: 8080}), []string{"up", "blocked", "docker bind-in-use 192.0.2.1:8080"}; !slices.Equal(got, want) {
		t.Errorf("by the published port: %q, want %q", got, want)
	}
	if got, want := names(Options{Port: 9}), []string{"other", "docker bind-in-use 0.0.0.0:9"}; !slices.Equal(got, want) {
		t.Errorf("by the exposed port: %q, want %q", got, want)
	}
	if got := names(Options{PIDs: []int{5}, Names: []string{"web"}}); !slices.Equal(got, nil) {
		t.Errorf("of a container that runs only the list is read: %q", got)
	}

	src.engines = []containers.Engine{{Name: "docker", Socket: path + ".old"}}
	if _, missed, err := src.collect(t.Context(), Options{Port: 80}); err != nil || !slices.ContainsFunc(missed, func(n evidence.NotChecked) bool {
		return n.Check == "containers of docker" && strings.Contains(n.Reason, "does not run")
	}) {
		t.Errorf("an engine that does not run: %+v, %v", missed, err)
	}
	src.engines, src.otherEngines = nil, []string{"/run/containerd/containerd.sock"}
	_, missed, err := src.collect(t.Context(), Options{Port: 80})
	if err != nil || !slices.ContainsFunc(missed, func(n evidence.NotChecked) bool {
		return strings.Contains(n.Check, "containerd") && strings.Contains(n.How, "crictl")
	}) {
		t.Errorf("containerd: %+v, %v", missed, err)
	}
}

func TestWhoMayNameThePort(t *testing.T) {
	g := &gathering{o: Options{Port: 80}}
	const text = "bind() to 0.0.0.0:80 failed (98: Address already in use)"
	for _, tt := range []struct {
		e    journal.Entry
		want bool
	}{
		{journal.Entry{Unit: "nginx.service", Message: []byte(text)}, true},
		{journal.Entry{Unit: "init.scope", About: "web.socket", PID: 1, Manager: true, Message: []byte("web.socket: Failed to create listening socket (0.0.0.0:80): Address already in use")}, true},
		{journal.Entry{Unit: "nginx.service", Message: []byte(strings.Replace(text, ":80", ":81", 1))}, false},
		{journal.Entry{Unit: "session-1.scope", Message: []byte(text)}, false},
		{journal.Entry{Unit: "user@1000.service", Message: []byte(text)}, false},
		{journal.Entry{Unit: "docker.service", Container: true, Message: []byte(text)}, false},
		{journal.Entry{Kernel: true, Message: []byte(text)}, false},
		{journal.Entry{Message: []byte(text)}, false},
	} {
		if got := g.namesPort(&tt.e); got != tt.want {
			t.Errorf("%+v: %v", tt.e, got)
		}
	}
}

func TestPortOf(t *testing.T) {
	for in, want := range map[string]uint16{"[::]:22": 22, "0.0.0.0:80": 80, "8080": 8080, "/run/x.sock": 0, "@abstract": 0, "vsock:2:80": 0, "": 0, "99999": 0} {
		if got := portOf(in); got != want {
			t.Errorf("portOf(%q) = %d, want %d", in, got, want)
		}
	}
}

func TestChooseKeepsWhatMatters(t *testing.T) {
	var ls []line
	for i := range 100 {
		l := line{LogLine: evidence.LogLine{Time: time.Unix(int64(i), 0)}, raw: []byte("chatter")}
		if i == 3 {
			l.Kind, l.Addr = evidence.LogBindInUse, netip.MustParseAddrPort("192.0.2.1:80")
		}
		ls = append(ls, l)
	}
	got := choose(inOrder(append(ls, ls...)))
	if len(got) != maxLog || got[0].Kind != evidence.LogBindInUse || got[maxLog-1].Time.Unix() != 99 || got[1].Time.Unix() != 81 {
		t.Errorf("%d lines: %+v", len(got), got)
	}
}
