//go:build linux

package test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// event is a line of the JSON that an application of the sandbox writes.
type event struct {
	Event, Local, Peer, Name, Ended, Error, Errno, Rcode, Text string
	Client, Number, PID                                        int
	Window                                                     *struct {
		Queued, Unsent int
		PeerWindow     int `json:"peer_window"`
	}
}

// application is one that runs, with JSON on stdout.
type application struct {
	*exec.Cmd
	events chan event
	stderr strings.Builder
}

// startApplication runs "tcpwhy sandbox" until the test ends.
func startApplication(t *testing.T, program string, args ...string) *application {
	t.Helper()
	a := &application{Cmd: exec.Command(program, append(append([]string{"sandbox"}, args...), "-o", "json")...), events: make(chan event, 10000)}
	a.Stderr = &a.stderr
	out, err := a.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(a.events)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				e = event{Event: "no JSON", Text: lines.Text()}
			}
			a.events <- e
		}
	}()
	t.Cleanup(func() {
		a.Process.Kill()
		<-read
		a.Wait()
	})
	return a
}

// await skips events until one of a kind.
func (a *application) await(t *testing.T, kind string) event {
	t.Helper()
	late := time.After(hang)
	for {
		select {
		case e, ok := <-a.events:
			if !ok {
				t.Fatalf("%v ended without event %s: %s", a.Args, kind, &a.stderr)
			}
			if e.Event == kind {
				return e
			}
		case <-late:
			t.Fatalf("%v has no event %s", a.Args, kind)
		}
	}
}

// ends waits for the end and checks the exit code.
func (a *application) ends(t *testing.T, code int) {
	t.Helper()
	for range a.events {
	}
	a.Wait()
	if got := a.ProcessState.ExitCode(); got != code || a.stderr.Len() > 0 {
		t.Errorf("%v: exit code %d, want %d: %s", a.Args, got, code, &a.stderr)
	}
}

// TestSandbox runs the applications against each other as a person does.
func TestSandbox(t *testing.T) {
	program := nettest.Build(t, "../cmd/tcpwhy")
	for family, addr := range map[string]string{"IPv4": "127.0.0.1:0", "IPv6": "[::1]:0"} {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Logf("no %s here: %v", family, err)
			continue
		}
		ln.Close()
		for name, test := range map[string]func(t *testing.T, program, addr string){
			"talk": sandboxTalk, "interrupt": sandboxInterrupt, "kill": sandboxKill, "window": sandboxWindow, "tls": sandboxTLS, "dns": sandboxDNS, "full": sandboxFull,
		} {
			t.Run(family+"/"+name, func(t *testing.T) {
				t.Parallel()
				test(t, program, addr)
			})
		}
	}
}

func sandboxTalk(t *testing.T, program, addr string) {
	s := startApplication(t, program, "server", addr)
	at := s.await(t, "listening").Local
	c := startApplication(t, program, "client", at, "-n", "alice", "--msg-count", "2", "--interval", "1ms")
	if e := s.await(t, "connected"); e.Client != 1 {
		t.Errorf("%+v", e)
	}
	if e := s.await(t, "received"); e.Name != "alice" || e.PID != c.Process.Pid || e.Number != 1 {
		t.Errorf("%+v", e)
	}
	if e := c.await(t, "answered"); e.PID != s.Process.Pid || e.Number != 1 {
		t.Errorf("%+v", e)
	}
	c.ends(t, 0)
	if e := s.await(t, "disconnected"); e.Ended != "FIN" || e.Number != 2 {
		t.Errorf("%+v", e)
	}
	s.Process.Signal(os.Interrupt)
	if e := s.await(t, "summary"); e.Number != 2 {
		t.Errorf("%+v", e)
	}
	s.ends(t, 0)
}

// Ctrl-C ends a client that waits, with a summary.
func sandboxInterrupt(t *testing.T, program, addr string) {
	s := startApplication(t, program, "server", addr, "--silent")
	c := startApplication(t, program, "client", s.await(t, "listening").Local)
	s.await(t, "received")
	c.Process.Signal(os.Interrupt)
	if e := c.await(t, "summary"); e.Number != 0 {
		t.Errorf("%+v", e)
	}
	c.ends(t, 1)
	s.Process.Signal(syscall.SIGTERM)
	s.ends(t, 0)
}

// Each side says what it sees when the other is killed.
func sandboxKill(t *testing.T, program, addr string) {
	s := startApplication(t, program, "server", addr)
	at := s.await(t, "listening").Local
	c := startApplication(t, program, "client", at, "--interval", "1h")
	c.await(t, "answered")
	c.Process.Kill()
	if e := s.await(t, "disconnected"); e.Ended != "FIN" {
		t.Errorf("%+v", e)
	}
	c = startApplication(t, program, "client", at, "--interval", "10ms", "-c", "0")
	c.await(t, "answered")
	s.Process.Kill()
	if e := c.await(t, "failed"); e.Error == "" {
		t.Errorf("%+v", e)
	}
	c.ends(t, 1)
	// Nobody listens there any more; --why says so.
	c = startApplication(t, program, "client", at, "--why")
	if e := c.await(t, "failed"); e.Errno != "ECONNREFUSED" {
		t.Errorf("%+v", e)
	}
	c.ends(t, 1)
}

func sandboxWindow(t *testing.T, program, addr string) {
	s := startApplication(t, program, "server", addr, "--stop-reading")
	c := startApplication(t, program, "client", s.await(t, "listening").Local, "--eager")
	for {
		if e := c.await(t, "blocked"); e.Window != nil && e.Window.PeerWindow == 0 && e.Window.Unsent > 0 {
			break
		}
	}
	c.Process.Signal(os.Interrupt)
	c.await(t, "summary")
	c.ends(t, 1)
}

func sandboxTLS(t *testing.T, program, addr string) {
	s := startApplication(t, program, "server", addr, "--tls")
	at := s.await(t, "listening").Local
	startApplication(t, program, "client", at, "--tls", "-c", "1").ends(t, 0)
	startApplication(t, program, "client", at, "-c", "1").ends(t, 1)
}

func sandboxDNS(t *testing.T, program, addr string) {
	s := startApplication(t, program, "dns", addr, "--record", "app.example A 192.0.2.7", "--wrong", "*=192.0.2.99", "--truncate", "app.example", "--servfail", "sf.example")
	at := s.await(t, "listening").Local
	for _, c := range []struct {
		args  []string
		code  int
		rcode string
		text  string
	}{
		{[]string{"app.example", "A", "--tcp"}, 0, "NOERROR", "app.example. 60 IN A 192.0.2.7"},
		{[]string{"app.example"}, 1, "NOERROR", ""},
		{[]string{"other.example"}, 0, "NOERROR", "other.example. 60 IN A 192.0.2.99"},
		{[]string{"other.example", "aaaa"}, 1, "NOERROR", ""},
		{[]string{"sf.example"}, 1, "SERVFAIL", ""},
	} {
		q := startApplication(t, program, append([]string{"query", "--server", at}, c.args...)...)
		if e := q.await(t, "response"); e.Rcode != c.rcode {
			t.Errorf("%v: %s", c.args, e.Text)
		}
		if c.text != "" {
			if e := q.await(t, "record"); e.Text != c.text {
				t.Errorf("%v: %s", c.args, e.Text)
			}
		}
		q.ends(t, c.code)
	}
	s.Process.Signal(os.Interrupt)
	if e := s.await(t, "summary"); e.Number != 5 {
		t.Errorf("%+v", e)
	}
	s.ends(t, 0)
}

// A stdout that takes nothing ends an application.
func sandboxFull(t *testing.T, program, addr string) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		nettest.Unsupported(t, err.Error())
	}
	defer full.Close()
	for _, app := range []string{"server", "dns"} {
		cmd := exec.CommandContext(t.Context(), program, "sandbox", app, addr)
		talk, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout = full
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		hung := time.AfterFunc(hang, func() { cmd.Process.Kill() })
		said, _ := io.ReadAll(talk)
		cmd.Wait()
		if !hung.Stop() || cmd.ProcessState.ExitCode() != 4 || !strings.Contains(string(said), "no space left on device") {
			t.Errorf("%s: exit code %d: %s", app, cmd.ProcessState.ExitCode(), said)
		}
	}
}
