package containers

import (
	"context"
	"encoding/json"
	"errors"
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

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// serve answers at a unix socket.
func serve(t *testing.T, h http.HandlerFunc) Engine {
	t.Helper()
	path := filepath.Join(t.TempDir(), "engine.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // until it is closed
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return Engine{"docker", path}
}

// recorded are answers of a Docker Engine, cut to the fields that matter and
// some that do not. The names are those of its API.
var recorded = map[string]string{
	"/containers/json": `[
 {"Id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","Names":["/web"],"Image":"nginx:1","Command":"nginx","Created":1,"State":"running","Status":"Up 2 hours",
  "Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"PrivatePort":443,"Type":"tcp"},{"PrivatePort":53,"PublicPort":53,"Type":"udp"}],
  "Labels":{"x":"\u001b[2J"},"HostConfig":{"NetworkMode":"default"}},
 {"Id":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","Names":["/db"],"Image":"postgres","State":"exited","Status":"Exited (137) 1 minute ago","Ports":[],"HostConfig":{"NetworkMode":"host"}},
 {"Id":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","Names":["/gone"],"Image":"x","State":"exited","Ports":[]}]`,
	"/containers/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb/json": `{"Id":"bbb","Name":"/db","RestartCount":4,
  "State":{"Status":"exited","Running":false,"Restarting":false,"OOMKilled":true,"Dead":false,"Pid":0,"ExitCode":137,"Error":"driver failed: Bind for 0.0.0.0:5432 failed: port is already allocated\u001b[0m","StartedAt":"2026-01-02T03:00:00Z","FinishedAt":"2026-01-02T03:04:05.678Z"},
  "Config":{"ExposedPorts":{"5432/tcp":{},"53/udp":{},"x/tcp":{},"0/tcp":{},"99999/tcp":{}}},
  "HostConfig":{"NetworkMode":"host","PortBindings":{"5432/tcp":[{"HostIp":"","HostPort":"5432"},{"HostIp":"127.0.0.1","HostPort":"15432"},{"HostIp":"fe80::1%eth0","HostPort":"1"},{"HostIp":"","HostPort":""},{"HostIp":"nonsense","HostPort":"5"}]}},
  "NetworkSettings":{"Ports":{}}}`,
	"/containers/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/json": `{"State":{"Status":"running","Pid":4711,"ExitCode":0,"FinishedAt":"0001-01-01T00:00:00Z"},"RestartCount":0,"Config":{"ExposedPorts":{"80/tcp":{}}},
  "HostConfig":{"NetworkMode":"default","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":""}]}},"NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}],"443/tcp":null}}}`,
}

func answer(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/v1.24")
	if text, known := recorded[path]; ok && known {
		_, _ = io.WriteString(w, text) // to a client that is gone
		return
	}
	http.NotFound(w, r)
}

func check(t *testing.T, list []Container) {
	t.Helper()
	if len(list) != 2 {
		t.Fatalf("%+v", list)
	}
	all := netip.MustParseAddrPort
	want := evidence.Container{Engine: "docker", ID: "aaaaaaaaaaaa", Name: "web", Image: "nginx:1", State: "running", PID: 4711,
		Published: []evidence.Published{{Host: all("0.0.0.0:8080"), Port: 80}, {Host: all("[::]:8080"), Port: 80}}, Exposed: []uint16{80, 443}}
	if a, b := asJSON(t, list[0].Container), asJSON(t, want); a != b {
		t.Errorf("got  %s\nwant %s", a, b)
	}
	want = evidence.Container{Engine: "docker", ID: "bbbbbbbbbbbb", Name: "db", Image: "postgres", State: "exited", ExitCode: 137, OOMKilled: true, Restarts: 4,
		Published: []evidence.Published{{Host: all("0.0.0.0:5432"), Port: 5432}, {Host: all("127.0.0.1:15432"), Port: 5432}}, Exposed: []uint16{5432}}
	if a, b := asJSON(t, list[1].Container), asJSON(t, want); a != b {
		t.Errorf("got  %s\nwant %s", a, b)
	}
	db := list[1]
	if !db.HostNetwork || list[0].HostNetwork || !db.Finished.Equal(time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)) || !strings.HasSuffix(db.Error, `port is already allocated\x1b[0m`) {
		t.Errorf("%+v", db)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRecordedDocker(t *testing.T) {
	nettest.LeakCheck(t)
	list, err := List(t.Context(), serve(t, answer), nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, list)
	// What need not be looked at closely is as the list tells it.
	list, err = List(t.Context(), serve(t, answer), func(c *Container) bool { return false })
	if err != nil || len(list) != 3 || list[1].ExitCode != 0 || !slices.Equal(list[0].Exposed, []uint16{80, 443}) || len(list[0].Published) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
}

// Docker 29 refuses versions before 1.44, with status 400.
func TestEngineThatIsTooNew(t *testing.T) {
	list, err := List(t.Context(), serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1.24/") {
			http.Error(w, `{"message":"client version 1.24 is too old. Minimum supported API version is 1.44, please upgrade your client to a newer version"}`, http.StatusBadRequest)
			return
		}
		r.URL.Path = "/v1.24" + r.URL.Path
		answer(w, r)
	}), nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, list)
}

func TestHostileEngines(t *testing.T) {
	nettest.LeakCheck(t)
	for name, h := range map[string]http.HandlerFunc{
		"no JSON":    func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "\x1b[2J") },
		"wrong JSON": func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, `{"message":"x"}`) },
		"error":      func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) },
		"old":        func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(400) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		},
		"without end": func(w http.ResponseWriter, r *http.Request) {
			for b := make([]byte, 1<<20); ; {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		},
		"closed": func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
	} {
		list, err := List(t.Context(), serve(t, h), nil)
		if err == nil || len(list) != 0 || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
}

func TestManyContainers(t *testing.T) {
	asked := 0
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/containers/json") {
			_, _ = io.WriteString(w, "["+strings.Repeat(`{"Id":"../../x?a","Names":["/\u001b[31m\u202e"],"State":"exited"},`, maxContainers)+`{}]`)
			return
		}
		if asked++; r.URL.EscapedPath() != "/v1.24/containers/..%2F..%2Fx%3Fa/json" {
			t.Errorf("asked for %s", r.URL.EscapedPath())
		}
		_, _ = io.WriteString(w, "{}")
	})
	list, err := List(t.Context(), e, nil)
	if len(list) != maxContainers || !errors.Is(err, ErrCut) || asked != maxInspected {
		t.Errorf("%d containers, %d asked for, %v", len(list), asked, err)
	}
	if got := list[0].Name; got != `\x1b[31m\u202e` {
		t.Errorf("%q", got)
	}
}

func TestNoEngine(t *testing.T) {
	nettest.LeakCheck(t)
	dir := t.TempDir()
	if _, err := List(t.Context(), Engine{"docker", filepath.Join(dir, "none")}, nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without socket: %v", err)
	}
	// A socket that nobody serves any more.
	path := filepath.Join(dir, "old")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := List(t.Context(), Engine{"docker", path}, nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("old socket: %v", err)
	}
	// One that takes the connection and says nothing.
	mute := filepath.Join(dir, "mute")
	m, err := net.Listen("unix", mute)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := List(ctx, Engine{"docker", mute}, nil); err == nil || !strings.Contains(err.Error(), "in time") {
		t.Errorf("mute: %v", err)
	}
	if os.Geteuid() != 0 {
		if err := os.Chmod(mute, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := List(t.Context(), Engine{"docker", mute}, nil); !errors.Is(err, os.ErrPermission) {
			t.Errorf("of another: %v", err)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	for _, text := range recorded {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s []summary
		var d details
		_, _ = json.Unmarshal(b, &s), json.Unmarshal(b, &d)
		s = append(s[:min(len(s), 10)], summary{})
		for i := range s {
			c := s[i].container("docker")
			d.add(&c)
			for _, text := range []string{c.ID, c.Name, c.Image, c.State, c.Error} {
				if len(text) > maxError+3 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
					t.Errorf("%q", text)
				}
			}
			if len(c.Exposed) > maxPorts || len(c.Published) > maxPorts {
				t.Errorf("%d, %d ports", len(c.Exposed), len(c.Published))
			}
		}
	})
}
