package test

import (
	"bytes"
	"encoding/json"
	"errors"
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

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
)

// told is what tcpwhy host says, as far as these tests read it.
type told struct {
	answer
	Evidence   []struct{ Kind, Value, Text string }
	NotChecked []struct{ Check, Reason, How string } `json:"not_checked"`
	Host       evidence.Host
}

func decodeInto(t *testing.T, line string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(line), v); err != nil {
		t.Fatalf("%v\n%.2000s", err, line)
	}
}

func decodeHost(line []byte) (*told, error) {
	if err := reporttest.ValidateHost(line); err != nil {
		return nil, fmt.Errorf("the answer breaks the schema: %w\n%.2000s", err, line)
	}
	a := &told{}
	return a, json.Unmarshal(line, a)
}

// lastLine is the last of several lines of JSON.
func lastLine(out []byte) []byte {
	if i := bytes.LastIndexByte(bytes.TrimSuffix(out, []byte("\n")), '\n'); i >= 0 {
		return out[i+1:]
	}
	return out
}

// alone is a line of shell that hides from a program what this machine runs and
// logs beside the test: units, containers and logs of the same name may explain
// a fault just as well.
const alone = "mount -t tmpfs none /run; mount -t tmpfs none /var/log"

// hostCommand is tcpwhy host on a host of the lab, as root.
func (s *site) hostCommand(host, program string, args ...string) *lab.Cmd {
	return s.Command(host, false, "/bin/sh", append([]string{"-ec", alone + "\nexec \"$@\"", "sh", program, "host"}, args...)...)
}

// tells runs it to the end and reads what it says.
func (s *site) tells(t *testing.T, host, program string, code int, args ...string) *told {
	t.Helper()
	r := finish(t, s.hostCommand(host, program, append(args, "-o", "json")...))
	a, err := decodeHost(lastLine([]byte(r.stdout)))
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, r.stderr)
	}
	if r.code != code || r.stderr != "" {
		t.Errorf("%v: exit code %d, want %d: %s, %q\n%s", args, r.code, code, a.Outcome, a.Verdict.Finding, r.stderr)
	}
	return a
}

// claims checks what a host says for certain, with words of the finding. Without
// root of the machine it does not see all BPF programs, and says that one of them
// may be in the way; then the words are in what it goes by.
func (a *told) claims(t *testing.T, outcome, cause string, words ...string) {
	t.Helper()
	v := &a.Verdict
	text, right := v.Finding, v.Cause == cause && v.Certainty == "certain"
	if inUserNS() && v.Certainty == "narrowed" {
		right, text = false, fmt.Sprint(a.Evidence)
		allowed := []string{cause, "host-packet-filter"}
		for _, c := range v.Candidates {
			if c.Cause == cause {
				right, allowed = true, append(allowed, c.Refines)
			}
		}
		for _, c := range v.Candidates {
			right = right && slices.Contains(allowed, c.Cause)
		}
	}
	if a.Outcome != outcome || !right {
		t.Errorf("it is %s, %s of %v: %q\nwant %s, certain: %s\nnot checked: %v", a.Outcome, v.Certainty, v.Candidates, v.Finding, outcome, cause, a.NotChecked)
	}
	contains(t, text, words...)
}

// visitor is where the attempts come from that these tests ask about.
const visitor = "10.77.1.2"

// TestHostReal asks hosts about real servers, right and wrong.
func TestHostReal(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		program := nettest.Build(t, "../cmd/tcpwhy")
		for name, test := range map[string]func(*testing.T, string){
			"nginx-loopback": hostNginxLoopback, "nginx-second": hostNginxSecond, "nginx-elsewhere": hostNginxElsewhere,
			"postgres": hostPostgres, "python-full": hostPythonFull,
			"nft-handles": hostHandles, "iptables-legacy": hostLegacy, "ufw": hostUFW, "firewalld": hostFirewalld,
			"hostile-process": hostHostileProcess, "hostile-rule": hostHostileRule, "hostile-log": hostHostileLog, "hostile-evidence": hostHostileEvidence,
			"ordinary": hostOrdinary, "saved": hostSaved, "interrupt": hostInterrupt,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, program)
			})
		}
	})
}

// owner says that a listener of the port is known with the program that owns it.
func (a *told) owner(t *testing.T, process string, at string) *evidence.Listener {
	t.Helper()
	if a.Host.Sockets != nil {
		for i, l := range a.Host.Sockets.Listeners {
			if l.Process == process && l.PID != 0 && l.Addr.String() == at {
				return &a.Host.Sockets.Listeners[i]
			}
		}
	}
	t.Errorf("no listener of %s at %s: %+v", process, at, a.Host.Sockets)
	return &evidence.Listener{}
}

func hostNginxLoopback(t *testing.T, program string) {
	s := newSite(t)
	s.nginx(t, "127.0.0.1:7083", `server { listen 127.0.0.1:7083; return 200 "well\n"; }`)
	a := s.tells(t, lab.Server, program, 1, ":7083", "--from", visitor)
	a.claims(t, "refused", "listens-on-loopback", "127.0.0.1:7083", "nginx (PID ")
	a.owner(t, "nginx", "127.0.0.1:7083")
	// The host's own programs are served there.
	if a := s.tells(t, lab.Server, program, 0, "127.0.0.1:7083"); a.Outcome != "open" {
		t.Errorf("at the loopback it is %s: %s", a.Outcome, a.Verdict.Finding)
	}
	if err := s.Do(lab.Client, func() error { return dialOnce(siteAddr+":7083", time.Second) }); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a client sees %v", err)
	}
}

func dialOnce(addr string, patience time.Duration) error {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err == nil {
		c.Close()
	}
	return err
}

// secondNginx starts an nginx that cannot bind, waits for its end and returns its
// error log.
func (s *site) secondNginx(t *testing.T, at string) string {
	t.Helper()
	dir := publicDir(t)
	second := &site{s.Lab, dir}
	config := second.write(t, "nginx.conf", `
daemon off; master_process off; pid second.pid; error_log error.log;
events {}
http {
	access_log off;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	server { listen `+at+`; return 200 "well\n"; }
}
`)
	log := filepath.Join(dir, "error.log")
	cmd := s.Command(lab.Server, true, nettest.NeedProgram(t, "nginx"), "-p", dir, "-e", log, "-c", config)
	cmd.Dir = dir
	if r := finish(t, cmd); r.code != 1 {
		t.Fatalf("the second nginx ends with %d: %s", r.code, r.stderr)
	}
	return log
}

// A second nginx that cannot bind: who has the port, and what its log says.
func hostNginxSecond(t *testing.T, program string) {
	s := newSite(t)
	s.nginx(t, siteAddr+":7080", `
	server { listen 10.77.1.3:7080; return 200 "well\n"; }
	server { listen 127.0.0.1:7081; return 200 "well\n"; }`)
	t.Run("same address", func(t *testing.T) {
		t.Parallel()
		log := s.secondNginx(t, siteAddr+":7080")

		a := s.tells(t, lab.Server, program, 0, siteAddr+":7080", "--log", log)
		first := a.owner(t, "nginx", siteAddr+":7080")
		r := finish(t, s.hostCommand(lab.Server, program, "--can-bind", siteAddr+":7080", "-o", "json"))
		var trial struct {
			Schema string
			evidence.BindTrial
		}
		if err := json.Unmarshal([]byte(r.stdout), &trial); err != nil {
			t.Fatalf("%v\n%s%s", err, r.stdout, r.stderr)
		}
		if r.code != 1 || trial.Schema != "tcpwhy.bind/1" || trial.Errno != "EADDRINUSE" || trial.WithReuse != "EADDRINUSE" ||
			!slices.ContainsFunc(trial.Holders, func(l evidence.Listener) bool { return l.Process == "nginx" && l.PID == first.PID }) {
			t.Errorf("exit code %d: %s", r.code, r.stdout)
		}
		text := finish(t, s.hostCommand(lab.Server, program, "--can-bind", siteAddr+":7080")).stdout
		contains(t, text, "a server cannot bind 10.77.1.3:7080: EADDRINUSE", fmt.Sprintf("nginx (PID %d)", first.PID))
		if r := finish(t, s.hostCommand(lab.Server, program, "--can-bind", "10.77.1.3:7079")); r.code != 0 || !strings.Contains(r.stdout, "a server can bind 10.77.1.3:7079") {
			t.Errorf("a free port: exit code %d: %s%s", r.code, r.stdout, r.stderr)
		}
	})
	// So a wildcard cannot be bound.
	t.Run("another address", func(t *testing.T) {
		t.Parallel()
		log := s.secondNginx(t, "0.0.0.0:7081")
		a := s.tells(t, lab.Server, program, 1, ":7081", "--from", visitor, "--log", log)
		a.claims(t, "refused", "bind-address-in-use", "0.0.0.0:7081")
	})
	t.Run("a connection", func(t *testing.T) {
		t.Parallel()
		serveAt(t, s.Lab, lab.Client, netip.MustParseAddrPort("10.77.1.2:7000"), func(c net.Conn) { c.Read(make([]byte, 1)) })
		err := s.Do(lab.Server, func() error {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(siteAddr), Port: 7082}, Timeout: nettest.Patience}
			c, err := d.DialContext(t.Context(), "tcp", "10.77.1.2:7000")
			if err == nil {
				t.Cleanup(func() { c.Close() })
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		log := s.secondNginx(t, siteAddr+":7082")
		a := s.tells(t, lab.Server, program, 1, ":7082", "--from", visitor, "--log", log)
		a.claims(t, "refused", "bind-address-in-use", siteAddr+":7082")
	})
}

// nginx has the web's port in another network namespace of the machine.
func hostNginxElsewhere(t *testing.T, program string) {
	s := newSite(t)
	s.nginx(t, siteAddr+":80", `server { listen 10.77.1.3:80; return 200 "well\n"; }`)
	a := s.tells(t, lab.Client, program, 1, ":80", "--from", siteAddr)
	a.claims(t, "refused", "listens-in-other-namespace", "port 80 is listened on", "in another network namespace")
	if l := a.owner(t, "nginx", siteAddr+":80"); l.Namespace == 0 {
		t.Errorf("not of another namespace: %+v", l)
	}
}

func hostPostgres(t *testing.T, program string) {
	s := newSite(t)
	bin, data := s.postgres(t)
	log := s.write(t, "postgres.log", "")
	if err := os.Chmod(log, 0o666); err != nil {
		t.Fatal(err)
	}
	options := func(addr, port string) []string {
		return []string{"-D", data, "-k", s.dir, "-F", "-c", "listen_addresses=" + addr, "-p", port}
	}
	// An address that the host does not have: it ends.
	cmd := s.Command(lab.Server, true, "/bin/sh", append([]string{"-c", `exec "$@" 2>` + log, "sh", bin + "/postgres"}, options("10.77.1.99", "5433")...)...)
	if r := finish(t, cmd); r.code != 1 {
		t.Fatalf("postgres ends with %d: %s", r.code, r.stderr)
	}
	a := s.tells(t, lab.Server, program, 1, ":5433", "--from", visitor, "--log", log)
	a.claims(t, "refused", "bind-address-missing", "10.77.1.99")

	// The loopback only, as it comes from Debian.
	s.run(t, "127.0.0.1:5434", bin+"/postgres", options("127.0.0.1", "5434")...)
	a = s.tells(t, lab.Server, program, 1, ":5434", "--from", visitor)
	a.claims(t, "refused", "listens-on-loopback", "127.0.0.1:5434", "postgres (PID ")
	a.owner(t, "postgres", "127.0.0.1:5434")

	// Another address than the one that is asked for.
	a = s.tells(t, lab.Server, program, 0, "127.0.0.1:5434")
	if a.Verdict.Cause != "none" {
		t.Errorf("at the loopback it is %s: %s", a.Verdict.Cause, a.Verdict.Finding)
	}
}

// python is the interpreter that every user may run.
const python = "/usr/bin/python3"

// startPython runs a script on the server as an ordinary user, and waits until a
// socket listens on the port.
func (s *site) startPython(t *testing.T, port int, script string) *lab.Cmd {
	t.Helper()
	nettest.NeedFile(t, python)
	cmd := s.Command(lab.Server, true, python, "-c", script)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	want := fmt.Sprintf(":%04X 00000000:0000 0A ", port) // proc_net_tcp: local, remote, LISTEN
	nettest.Eventually(t, "python listens", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", cmd.Process.Pid))
		return err == nil && bytes.Contains(b, []byte(want))
	})
	return cmd
}

// A Python server that stops accepting.
func hostPythonFull(t *testing.T, program string) {
	s := newSite(t)
	s.startPython(t, 7004, `
import signal, socket
s = socket.create_server(("10.77.1.3", 7004), backlog=0)
signal.pause()
`)
	if a := s.tells(t, lab.Server, program, 0, ":7004", "--from", visitor); a.Outcome != "open" {
		t.Errorf("while it is empty: %s, %s", a.Outcome, a.Verdict.Finding)
	}
	for i := 0; ; i++ {
		if i == 8 {
			t.Fatal("the queue never fills")
		}
		var conn net.Conn
		err := s.Do(lab.Client, func() (err error) {
			conn, err = net.DialTimeout("tcp", siteAddr+":7004", 700*time.Millisecond)
			return err
		})
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			continue
		}
		if nerr := net.Error(nil); !errors.As(err, &nerr) || !nerr.Timeout() {
			t.Fatal(err)
		}
		break // nobody is let in any more
	}
	a := s.tells(t, lab.Server, program, 1, ":7004", "--from", visitor)
	a.claims(t, "timeout", "accept-queue-full")
	if l := a.owner(t, "python3", siteAddr+":7004"); l.Queue <= l.Backlog || l.Backlog != 0 {
		t.Errorf("the queue is %d of %d", l.Queue, l.Backlog)
	}
	facts := fmt.Sprint(a.Evidence)
	contains(t, facts, "its accept queue is full", "backlog 0")
}

// said is what a command left on stderr.
func said(err error) string {
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return string(exit.Stderr)
	}
	return ""
}
