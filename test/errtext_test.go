//go:build linux

package test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/errtext"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// errorFault is a fault whose errors programs are made to print. Of the kinds
// the first is what it is; the others are what a program may say that does not
// tell as much.
type errorFault struct {
	scenario string
	kinds    []errtext.Kind
	// vague are the programs whose words never tell the first kind.
	vague string
}

var errorFaults = []errorFault{
	{"no-listener", []errtext.Kind{errtext.Refused, errtext.ConnectFailed}, ""},
	{"host-firewall-drop", []errtext.Kind{errtext.ConnectTimeout, errtext.Timeout}, "Python, Node.js, psql, curl"},
	{"host-firewall-reject-host", []errtext.Kind{errtext.HostUnreachable, errtext.ConnectFailed}, ""},
	{"no-route", []errtext.Kind{errtext.NetworkUnreachable, errtext.ConnectFailed}, ""},
	// The RST may come before the program looks whether it is connected.
	{"reset-on-accept", []errtext.Kind{errtext.Reset, errtext.Closed, errtext.ConnectFailed}, "psql"},
	{"closed-on-accept", []errtext.Kind{errtext.Closed}, ""},
	{"application-silent", []errtext.Kind{errtext.ReadTimeout, errtext.Timeout}, "Python, Node.js, psql"},
	{"name-not-found", []errtext.Kind{errtext.NameNotFound, errtext.NameFailed, errtext.ConnectFailed}, "curl"},
	{"dns-server-failure", []errtext.Kind{errtext.NameTemporary, errtext.NameFailed, errtext.ConnectFailed}, "curl"},
}

// limit is the seconds that a program waits: short only where nothing ends the
// waiting but the limit.
func (f *errorFault) limit() string {
	if slices.Contains(f.kinds, errtext.Timeout) {
		return "2"
	}
	return "30"
}

// prey is a program that is made to fail.
type prey struct {
	name string
	// args is the command for a target, the program first. seconds is its limit,
	// where it has one.
	args func(host, port, seconds string) []string
	// silent are the faults of which it prints nothing that could be told from
	// other things, or does not notice.
	silent string
}

// preys are the programs that are installed, and the names of those that are
// not. What must be compiled is compiled once.
func preys(t *testing.T) (all []prey, missing []string) {
	t.Helper()
	dir := publicDir(t)
	source := func(name string) string {
		path, err := filepath.Abs("testdata/errors/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	have := func(program string) bool {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
			return false
		}
		return true
	}
	url := func(host, port string) string { return "http://" + net.JoinHostPort(host, port) + "/" }
	golang := nettest.Build(t, "./testdata/errors")
	if have("java") && have("javac") {
		if out, err := exec.CommandContext(t.Context(), "javac", "-d", dir, source("Errors.java")).CombinedOutput(); err != nil {
			t.Fatalf("javac: %v\n%s", err, out)
		}
	}
	for _, p := range []prey{
		{"Go", func(h, p, s string) []string { return []string{golang, h, p, s} }, ""},
		{"Python", func(h, p, s string) []string { return []string{"python3", source("errors.py"), h, p, s} }, ""},
		{"Java", func(h, p, s string) []string {
			return []string{"java", "-XX:TieredStopAtLevel=1", "-cp", dir, "Errors", h, p, s}
		}, ""},
		{"Node.js", func(h, p, s string) []string { return []string{"node", source("errors.js"), h, p, s} }, ""},
		{"Perl", func(h, p, s string) []string { return []string{"perl", source("errors.pl"), h, p, s} }, ""},
		{"curl", func(h, p, s string) []string { return []string{"curl", "-sS", "-v", "-m", s, url(h, p)} }, ""},
		{"wget", func(h, p, s string) []string {
			return []string{"wget", "-T", s, "-t", "1", "-O", "/dev/null", url(h, p)}
		}, ""},
		{"ssh", func(h, p, s string) []string {
			return []string{"ssh", "-F", "none", "-o", "ConnectTimeout=" + s, "-o", "BatchMode=yes", "-p", p, h, "true"}
		}, ""},
		{"psql", func(h, p, s string) []string {
			return []string{"psql", "-w", "-d", "postgresql://u@" + net.JoinHostPort(h, p) + "/d?connect_timeout=" + s}
		}, ""},
		{"redis-cli", func(h, p, s string) []string { return []string{"redis-cli", "-h", h, "-p", p, "ping"} }, "host-firewall-drop application-silent"}, // it has no timeout
		{"nc", func(h, p, s string) []string { return []string{"nc", "-v", "-w", s, h, p} }, "reset-on-accept closed-on-accept application-silent"},
		{"openssl", func(h, p, s string) []string {
			return []string{"openssl", "s_client", "-connect", net.JoinHostPort(h, p)}
		}, "host-firewall-drop application-silent"},
	} {
		if have(p.args("h", "1", "1")[0]) {
			all = append(all, p)
		}
	}
	return all, missing
}

// TestErrorTextsOfRealPrograms makes real programs fail in the lab and reads
// what they print. None of the lines stands in the table of package errtext:
// here the kernel and the programs decide what is printed.
func TestErrorTextsOfRealPrograms(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		programs, missing := preys(t)
		var mu sync.Mutex
		lines := map[string]bool{}
		note := func(line string) {
			mu.Lock()
			defer mu.Unlock()
			lines[line] = true
		}
		t.Run("faults", func(t *testing.T) {
			for _, f := range errorFaults {
				t.Run(f.scenario, func(t *testing.T) {
					t.Parallel()
					f.judge(t, programs, note)
				})
			}
		})
		if len(missing) > 0 {
			nettest.Unsupported(t, "programs "+strings.Join(missing, ", "))
		}
		t.Logf("%d different lines were recognised", len(lines))
		if len(lines) < 60 {
			t.Errorf("only %d different lines were recognised", len(lines))
		}
	})
}

func (f *errorFault) judge(t *testing.T, programs []prey, note func(line string)) {
	s, ok := lab.Find(f.scenario)
	if !ok {
		t.Fatalf("no scenario %s", f.scenario)
	}
	l := open(t, s, lab.V4)
	host, port, err := net.SplitHostPort(l.Target())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, p := range programs {
		wg.Go(func() {
			if strings.Contains(p.silent, f.scenario) {
				return
			}
			args := p.args(host, port, f.limit())
			cmd := l.Command(lab.Client, false, args[0], args[1:]...)
			cmd.Env = append(cmd.Env, "LC_ALL=C", "HOME=/nonexistent")
			out, _ := cmd.CombinedOutput()
			f.check(t, p.name, host, port, string(out), note)
		})
	}
	wg.Go(func() {
		if host == "app.example" {
			return // nginx would not start
		}
		f.check(t, "nginx", host, port, proxyLog(t, l, net.JoinHostPort(host, port), f.limit()), note)
	})
	wg.Wait()
}

// check reads what a program printed: at least one line must be recognised as
// the fault, none as another one, and each line that names the target gives it.
func (f *errorFault) check(t *testing.T, program, host, port, out string, note func(line string)) {
	told := false
	for line := range strings.Lines(out) {
		m, ok := errtext.Recognise([]byte(line))
		if !ok {
			continue
		}
		note(line)
		told = told || m.Kind == f.kinds[0] || strings.Contains(f.vague, program)
		if !slices.Contains(f.kinds, m.Kind) {
			t.Errorf("%s: %s is none of %v: %s", program, m.Kind, f.kinds, line)
		}
		want := ""
		if strings.Contains(line, host) {
			want = host
		}
		if m.Target.Host != want {
			t.Errorf("%s: target %v, want %q: %s", program, m.Target, want, line)
		}
		// A URL around a name that was looked up is not beside it.
		if n := m.Target.Port; n != 0 && m.Target.String() != net.JoinHostPort(host, port) || n == 0 && m.Op != errtext.OpLookup && want != "" && strings.Contains(line, port) {
			t.Errorf("%s: target %v, want port %s: %s", program, m.Target, port, line)
		}
	}
	if !told {
		t.Errorf("%s says nothing of %s:\n%s", program, f.kinds[0], out)
	}
}

// proxyLog lets nginx fail as a proxy for the target, and returns what it logs.
func proxyLog(t *testing.T, l *lab.Lab, target, limit string) string {
	nginx, err := exec.LookPath("/usr/sbin/nginx")
	if err != nil {
		nettest.Unsupported(t, "program nginx")
	}
	const at = "127.0.0.1:18080"
	dir := publicDir(t)
	config := `daemon off; master_process off; pid DIR/pid; error_log DIR/log error; user root root;
events {}
http {
	access_log off;
	client_body_temp_path DIR/a; proxy_temp_path DIR/b; fastcgi_temp_path DIR/c; uwsgi_temp_path DIR/d; scgi_temp_path DIR/e;
	server {
		listen ` + at + `;
		location / { proxy_pass http://` + target + `/; proxy_connect_timeout LIMITs; proxy_read_timeout LIMITs; proxy_next_upstream off; }
	}
}`
	path := filepath.Join(dir, "conf")
	if err := os.WriteFile(path, []byte(strings.NewReplacer("DIR", dir, "LIMIT", limit).Replace(config)), 0o644); err != nil {
		t.Error(err)
		return ""
	}
	cmd := l.Command(lab.Client, false, nginx, "-e", filepath.Join(dir, "log"), "-c", path)
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return ""
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	nettest.Eventually(t, "nginx answers", func() bool {
		var conn net.Conn
		err := l.Do(lab.Client, func() (err error) {
			conn, err = (&net.Dialer{}).DialContext(context.Background(), "tcp", at)
			return err
		})
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	out, _ := l.Command(lab.Client, false, "curl", "-sS", "-m", "40", "http://"+at+"/").CombinedOutput()
	if !strings.Contains(string(out), "50") {
		t.Errorf("nginx answers %s", out)
	}
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Error(err)
	}
	return string(log)
}
