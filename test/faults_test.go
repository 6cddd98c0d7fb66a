//go:build linux

package test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// hang is how long no run may take, whatever the target does: several times
// the longest that any of these should.
const hang = 20 * time.Second

// result is what a run of the program left.
type result struct {
	stdout, stderr string
	code           int // -1 if a signal ended it
	took           time.Duration
}

// finish runs a command to its end. A run that hangs or panics fails the test.
func finish(t *testing.T, cmd *lab.Cmd) result {
	t.Helper()
	start := time.Now()
	wait := begin(t, cmd)
	return wait(start)
}

// begin starts a command and returns what waits for its end.
func begin(t *testing.T, cmd *lab.Cmd) func(since time.Time) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &stdout
	}
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func(since time.Time) result {
		t.Helper()
		hung := time.AfterFunc(hang, func() { cmd.Process.Signal(syscall.SIGQUIT) })
		cmd.Wait()
		r := result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode(), time.Since(since)}
		if !hung.Stop() {
			t.Fatalf("%v hung:\n%s%s", cmd.Args, r.stdout, r.stderr)
		}
		for _, bad := range []string{"panic:", "internal error", "goroutine ", "fatal error", "DATA RACE"} {
			if strings.Contains(r.stderr, bad) {
				t.Fatalf("%v crashed:\n%s", cmd.Args, r.stderr)
			}
		}
		return r
	}
}

// full is the JSON as far as these tests read it, beyond answer.
type full struct {
	answer
	Target    struct{ Input, Host string }
	Addresses []struct {
		Addr    string
		Outcome string
		Packets []json.RawMessage
	}
	NotChecked []struct{ Check, Reason, How string } `json:"not_checked"`
}

func (r result) json(t *testing.T) *full {
	t.Helper()
	parse(t, []byte(r.stdout))
	f := &full{}
	if err := json.Unmarshal([]byte(r.stdout), f); err != nil {
		t.Fatal(err)
	}
	return f
}

// says checks the exit code and that a cause is among the candidates, with no
// other one claimed.
func (r result) says(t *testing.T, code int, outcome, cause string) *full {
	t.Helper()
	f := r.json(t)
	among := slices.ContainsFunc(f.Verdict.Candidates, func(c struct{ Cause, Refines string }) bool { return c.Cause == cause })
	if r.code != code || f.Outcome != outcome || !among {
		t.Errorf("exit code %d, %s, %s of %v: %q\nwant %d, %s, %s", r.code, f.Outcome, f.Verdict.Certainty, f.Verdict.Candidates,
			f.Verdict.Finding, code, outcome, cause)
	}
	return f
}

// faults is a fault test: the program and a way to its own lab.
type faults struct{ program string }

func (f faults) open(t *testing.T, scenario string) *lab.Lab {
	t.Helper()
	s, ok := lab.Find(scenario)
	if !ok {
		t.Fatalf("no scenario %s", scenario)
	}
	return open(t, s, s.Families[0])
}

// run runs the program where the user sits.
func (f faults) run(t *testing.T, l *lab.Lab, ordinary bool, args ...string) result {
	t.Helper()
	return finish(t, l.Command(l.Scenario.From, ordinary, f.program, args...))
}

// under runs the program as root after a line of shell. The shell has a mount
// namespace of its own.
func (f faults) under(t *testing.T, l *lab.Lab, line string, args ...string) result {
	t.Helper()
	return finish(t, l.Command(l.Scenario.From, false, "sh", append([]string{"-ec", line + "\nexec \"$@\"", "sh", f.program}, args...)...))
}

// both runs a subtest as root and as an ordinary user.
func both(t *testing.T, test func(t *testing.T, ordinary bool)) {
	for _, ordinary := range []bool{false, true} {
		t.Run(who(ordinary), func(t *testing.T) {
			t.Parallel()
			test(t, ordinary)
		})
	}
}

// TestFaults gives the program bad surroundings and bad peers.
func TestFaults(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		f := faults{nettest.Build(t, "../cmd/tcpwhy")}
		for name, test := range map[string]func(*testing.T){
			"interrupt": f.interrupt, "timeout": f.timeout, "peers": f.peers, "addresses": f.addresses,
			"resolver": f.resolver, "no-files": f.noFiles, "no-ipv6": f.noIPv6, "descriptors": f.descriptors,
			"source": f.source, "interface": f.noInterface, "stdout": f.stdout, "write": f.write, "strangers": f.strangers,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t)
			})
		}
	})
}

// An interrupt ends a run soon, with the verdict so far.
func (f faults) interrupt(t *testing.T) {
	for _, s := range []struct{ scenario, phase string }{
		{"host-down-silent", "connecting"}, {"dns-timeout", "resolving"}, {"never-accepted", "talking"},
	} {
		l := f.open(t, s.scenario)
		for i, after := range []time.Duration{0, 3, 20, 90, 170, 260, 450, 800, 1500, 2600} {
			after *= time.Millisecond
			format := []string{"json", "text"}[i/2%2]
			t.Run(fmt.Sprintf("%s/%v/%s", s.phase, after, format), func(t *testing.T) {
				t.Parallel()
				cmd := l.Command(lab.Client, i%2 == 0, f.program, "-o", format, l.Target())
				wait := begin(t, cmd)
				// Not to wait for something: the moment itself is the input.
				time.Sleep(after)
				cmd.Process.Signal(os.Interrupt)
				r := wait(time.Now())
				switch {
				case r.took > nettest.Patience:
					t.Errorf("it ended %v after the signal", r.took)
				case r.code == -1 && after < 100*time.Millisecond && r.stdout == "":
					return // the program had not begun to listen for it
				case r.code != 1 && r.code != 3:
					t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
				case format == "json":
					r.json(t)
				case r.stdout == "":
					t.Error("no verdict")
				}
				if r.stderr != "" {
					t.Errorf("it said %q", r.stderr)
				}
			})
		}
	}
}

// A run lasts no longer than its timeout and a second. On a machine that is
// busy with other tests one of a few runs must do.
func (f faults) timeout(t *testing.T) {
	for _, c := range []struct {
		scenario string
		limit    time.Duration
		args     []string
	}{
		{"host-down-silent", 4 * time.Second, nil},
		{"host-down-silent", 2 * time.Second, []string{"--connect-timeout", "1s"}},
		{"host-firewall-drop", 2 * time.Second, []string{"--connect-timeout", "1s"}},
		{"host-down-silent", 4 * time.Second, []string{"--count", "2", "--connect-timeout", "1500ms"}},
	} {
		l := f.open(t, c.scenario)
		both(t, func(t *testing.T, ordinary bool) {
			for try := 1; ; try++ {
				r := f.run(t, l, ordinary, append(c.args, "-q", l.Target())...)
				if r.took <= c.limit {
					return
				}
				if try == 3 {
					t.Fatalf("%s %v took %v, more than %v", c.scenario, c.args, r.took, c.limit)
				}
			}
		})
	}
}

// Peers that never end, and peers that send what a terminal would obey.
func (f faults) peers(t *testing.T) {
	l := f.open(t, "none-own-link")
	escapes := "\x1b[31m\x1b]0;owned\x07\x9b31m\u009b2J\xff\xfe\xc3\x28\u202e\x7f\x00\r\n"
	serve := func(port uint16, handle func(net.Conn)) {
		serveAt(t, l, lab.Server, netip.AddrPortFrom(l.Addr(lab.Server), port), handle)
	}
	forever := func(first string, what []byte, pause time.Duration) func(net.Conn) {
		return func(c net.Conn) {
			go io.Copy(io.Discard, c) // so that what we sent draws no RST
			for _, err := io.WriteString(c, first); err == nil; _, err = c.Write(what) {
				if pause > 0 {
					time.Sleep(pause)
				}
			}
		}
	}
	once := func(s string) func(net.Conn) {
		return func(c net.Conn) {
			io.WriteString(c, s)
			io.Copy(io.Discard, c)
		}
	}
	const ok = "HTTP/1.1 200 OK\r\n"
	noise := bytes.Repeat([]byte("x"), 64<<10)
	for port, handle := range map[uint16]func(net.Conn){
		7001: forever("", noise, 0),
		7002: forever("", []byte("x"), time.Second),
		7003: once(escapes),
		7004: forever("", []byte(escapes), 0),
		7005: forever(ok+"X: ", noise, 0), // a header without an end
		7006: forever(ok, []byte("X-Header: x\r\n"), 0),
		7007: once(ok + "Server: " + escapes + "\r\n"),
		7008: once("SSH-2.0-" + escapes),
		7009: once("HTTP/1.1 999999999999 \x1b[1m\r\nContent-Length: -1\r\n\r\n"),
		7010: once("HTTP/1.1 502 Bad\r\nServer: \x1b[1mx\u009b\r\n\r\n"),
		7011: once("\x16\x03\x03\xff\xff"), // a TLS record of 64 KiB that does not come
		7012: once("\x15\x03\x03\x00\x02\x02\x28"),
		7013: forever("\x16\x03\x03\x40\x00", noise, 0),
		7014: forever("-ERR ", noise, 0),
	} {
		serve(port, handle)
	}
	for port := 7001; port <= 7014; port++ {
		for _, scheme := range []string{"", "http://", "https://", "ssh://", "postgres://"} {
			t.Run(fmt.Sprintf("%s%d", scheme, port), func(t *testing.T) {
				t.Parallel()
				target := fmt.Sprintf("%s%v:%d", scheme, l.Addr(lab.Server), port)
				ordinary := port%2 == 0
				r := f.run(t, l, ordinary, "-o", "json", target)
				if r.code != 0 && r.code != 1 {
					t.Errorf("exit code %d: %s", r.code, r.stdout)
				}
				r.json(t)
				clean(t, r.stdout)
				// One scheme each is enough for the text, which has the same sources.
				if scheme == "" || scheme == "http://" {
					clean(t, f.run(t, l, ordinary, "-v", target).stdout)
				}
			})
		}
	}
}

// clean says that nothing in a text could control a terminal.
func clean(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Errorf("not UTF-8: %q", s)
	}
	bad := func(r rune) bool {
		return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}
	if i := strings.IndexFunc(s, bad); i >= 0 {
		t.Errorf("a raw control character: %q", s[max(0, i-60):min(len(s), i+60)])
	}
}

// serveAt serves on a host of the lab until the test ends.
func serveAt(t *testing.T, l *lab.Lab, host string, at netip.AddrPort, handle func(net.Conn)) {
	t.Helper()
	var ln net.Listener
	err := l.Do(host, func() (err error) {
		ln, err = new(net.ListenConfig).Listen(t.Context(), "tcp", at.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
}

// A name with very many addresses is looked at in part, and the report says so.
func (f faults) addresses(t *testing.T) {
	l := f.open(t, "none")
	var hosts strings.Builder
	const n = 10000
	for i := range n {
		fmt.Fprintf(&hosts, "10.77.%d.%d many.example\n", 40+i/250, 1+i%250)
	}
	file := filepath.Join(publicDir(t), "hosts")
	if err := os.WriteFile(file, []byte(hosts.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []string{"64", "1024"} {
		r := f.under(t, l, "mount --bind "+file+" /etc/hosts; ulimit -n "+limit, "-o", "json", "many.example:8080")
		a := r.json(t)
		if len(a.Addresses) == 0 || len(a.Addresses) > 64 {
			t.Errorf("%d addresses were tried", len(a.Addresses))
		}
		for _, addr := range a.Addresses {
			if addr.Outcome == "local-error" {
				t.Errorf("ulimit -n %s: %s: %s", limit, addr.Addr, addr.Outcome)
			}
		}
		skipped := 0
		for _, no := range a.NotChecked {
			var more int
			if _, err := fmt.Sscanf(no.Check, "%d more addresses", &more); err == nil {
				skipped += more
			}
			if strings.Contains(no.Reason, "too many open files") {
				t.Errorf("ulimit -n %s is too low for %s: %s", limit, no.Check, no.Reason)
			}
		}
		if skipped != n-len(a.Addresses) {
			t.Errorf("%d addresses are said to be skipped, want %d", skipped, n-len(a.Addresses))
		}
		if r.code != 1 && r.code != 3 {
			t.Errorf("exit code %d", r.code)
		}
	}
}

// Name servers that answer what is no answer.
func (f faults) resolver(t *testing.T) {
	header := func(id uint16, rest ...byte) []byte { return append(binary.BigEndian.AppendUint16(nil, id), rest...) }
	for name, answers := range map[string]func(query []byte) [][]byte{
		"garbage": func([]byte) [][]byte { return [][]byte{bytes.Repeat([]byte{0xff}, 100)} },
		"empty":   func([]byte) [][]byte { return [][]byte{{}} },
		"echo":    func(q []byte) [][]byte { return [][]byte{q} },
		"short":   func(q []byte) [][]byte { return [][]byte{q[:7]} },
		"pointer-loop": func(q []byte) [][]byte {
			return [][]byte{append(header(id(q), 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0), 0xc0, 12, 0, 1, 0, 1)}
		},
		"wrong-id": func(q []byte) [][]byte { return [][]byte{accept(q, id(q)+1)} },
		"wrong-name": func(q []byte) [][]byte {
			a := accept(q, id(q))
			a[13] ^= 1
			return [][]byte{a}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := f.open(t, "none-own-link")
			nameServer(t, l, answers)
			both(t, func(t *testing.T, ordinary bool) {
				r := f.run(t, l, ordinary, "-o", "json", "app.example:8080")
				a := r.json(t)
				if a.Outcome != "name-error" || r.code != 1 && r.code != 3 {
					t.Errorf("exit code %d, %s, %v: %s", r.code, a.Outcome, a.Verdict.Candidates, a.Verdict.Finding)
				}
				if a.Verdict.Certainty == "certain" && strings.HasPrefix(a.Verdict.Cause, "name-") {
					t.Errorf("the name is not to blame: %s", a.Verdict.Finding)
				}
			})
		})
	}
	t.Run("right after wrong", func(t *testing.T) {
		t.Parallel()
		l := f.open(t, "none-own-link")
		nameServer(t, l, func(q []byte) [][]byte {
			return [][]byte{bytes.Repeat([]byte{0xff}, 20), accept(q, id(q)+1), accept(q, id(q))}
		})
		f.run(t, l, true, "-o", "json", "app.example:8080").says(t, 0, "open", "none")
	})
	t.Run("international", func(t *testing.T) {
		t.Parallel()
		l := f.open(t, "name-not-found")
		a := f.run(t, l, true, "-o", "json", "Bücher.example:8080").says(t, 1, "name-error", "name-not-found")
		if a.Target.Host != "xn--bcher-kva.example" {
			t.Errorf("host %q", a.Target.Host)
		}
	})
}

func id(message []byte) uint16 { return binary.BigEndian.Uint16(message) }

// accept answers a query for an A record with the server's address, and any
// other one with no records.
func accept(query []byte, id uint16) []byte {
	end := 12
	for query[end] != 0 {
		end += 1 + int(query[end])
	}
	end += 5
	a := binary.BigEndian.AppendUint16(nil, id)
	if binary.BigEndian.Uint16(query[end-4:]) != 1 {
		return append(append(a, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0), query[12:end]...)
	}
	a = append(append(a, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0), query[12:end]...)
	a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
	return append(a, net.ParseIP(siteAddr).To4()...)
}

// nameServer answers queries over UDP at the lab's resolver, which in a lab of
// one link is the server.
func nameServer(t *testing.T, l *lab.Lab, answers func(query []byte) [][]byte) {
	t.Helper()
	var pc net.PacketConn
	err := l.Do(lab.Server, func() (err error) {
		pc, err = new(net.ListenConfig).ListenPacket(t.Context(), "udp", netip.AddrPortFrom(l.Addr(lab.Server), 53).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, a := range answers(buf[:n]) {
				pc.WriteTo(a, from)
			}
		}
	}()
}

// A machine without /etc, or without /proc.
func (f faults) noFiles(t *testing.T) {
	const noEtc, noProc = "mount -t tmpfs none /etc", "mount -t tmpfs none /proc"
	for name, line := range map[string]string{"etc": noEtc, "proc": noProc, "etc and proc": noEtc + "; " + noProc} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := f.open(t, "none")
			f.under(t, l, line, "-o", "json", l.Target()).says(t, 0, "open", "none")
			closed := netip.AddrPortFrom(l.Addr(lab.Server), 8099).String()
			f.under(t, l, line, "-o", "json", closed).says(t, 1, "refused", "no-listener")
			f.under(t, l, line, "-o", "json", "127.0.0.1:8099").says(t, 1, "refused", "no-listener")
			f.under(t, l, line, "-o", "json", "localhost:8099").says(t, 1, "refused", "no-listener")
			if strings.Contains(line, "/etc") {
				f.under(t, l, line, "-o", "json", "app.example:8080").says(t, 1, "name-error", "dns-no-server")
			}
		})
	}
}

// A machine without IPv6.
func (f faults) noIPv6(t *testing.T) {
	l := f.open(t, "none-dual-stack")
	err := l.Do(lab.Client, func() error {
		return os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	both(t, func(t *testing.T, ordinary bool) {
		f.run(t, l, ordinary, "-o", "json", "[fd77:3::2]:8080").says(t, 1, "local-error", "family-unsupported")
		f.run(t, l, ordinary, "-o", "json", "10.77.3.2:8080").says(t, 0, "open", "none")
		f.run(t, l, ordinary, "-o", "json", "-4", l.Target()).says(t, 0, "open", "none")
		f.run(t, l, ordinary, "-o", "json", "-6", l.Target()).says(t, 1, "local-error", "family-unsupported")
		// Nobody on a machine without IPv6 misses the other address.
		f.run(t, l, ordinary, "-o", "json", l.Target()).says(t, 0, "open", "none")
	})
}

// So few descriptors that nothing can be opened is told from a network that
// fails.
func (f faults) descriptors(t *testing.T) {
	l := f.open(t, "none")
	told := 0
	for n := 4; n <= 24; n++ {
		r := f.under(t, l, fmt.Sprintf("ulimit -n %d", n), "-o", "json", l.Target())
		if r.stdout == "" {
			if r.code != 4 || r.stderr == "" {
				t.Errorf("ulimit -n %d: exit code %d without a word: %q", n, r.code, r.stderr)
			}
			continue
		}
		switch a := r.json(t); {
		case a.Outcome == "local-error":
			told++
			r.says(t, 1, "local-error", "too-many-open-files")
		case a.Verdict.Certainty == "certain" && a.Verdict.Cause != "none":
			t.Errorf("ulimit -n %d: certain of %s: %s", n, a.Verdict.Cause, a.Verdict.Finding)
		}
	}
	if told == 0 {
		t.Error("no limit gives too-many-open-files")
	}
}

// --source with what cannot be had.
func (f faults) source(t *testing.T) {
	l := f.open(t, "none")
	// A listening port of the client is busy for everybody.
	serveAt(t, l, lab.Client, netip.MustParseAddrPort("10.77.1.2:4000"), func(net.Conn) {})
	both(t, func(t *testing.T, ordinary bool) {
		r := f.run(t, l, ordinary, "-o", "json", "--source", "192.0.2.1", l.Target())
		if a := r.says(t, 1, "local-error", "source-address-missing"); a.Verdict.Certainty != "certain" || !strings.Contains(r.stdout, "192.0.2.1") {
			t.Errorf("%s: %s", a.Verdict.Certainty, a.Verdict.Finding)
		}
		r = f.run(t, l, ordinary, "-o", "json", "--source", "10.77.1.2:4000", l.Target())
		if a := r.says(t, 1, "local-error", "source-port-busy"); a.Verdict.Certainty != "certain" || !strings.Contains(a.Verdict.Finding, "4000") {
			t.Errorf("%s: %s", a.Verdict.Certainty, a.Verdict.Finding)
		}
		f.run(t, l, ordinary, "-o", "json", "--source", "10.77.1.2", l.Target()).says(t, 0, "open", "none")
		port := "4001"
		if ordinary {
			port = "4002"
		}
		f.run(t, l, ordinary, "-o", "json", "--source", "10.77.1.2:"+port, "10.77.3.2:8099").says(t, 1, "refused", "no-listener")
	})
}

// --interface names one that does not exist: that is no riddle.
func (f faults) noInterface(t *testing.T) {
	l := f.open(t, "none")
	both(t, func(t *testing.T, ordinary bool) {
		r := f.run(t, l, ordinary, "--interface", "nope0", l.Target())
		if said := r.stdout + r.stderr; r.code != 1 && r.code != 2 || !strings.Contains(said, "nope0") {
			t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
		}
		f.run(t, l, ordinary, "-o", "json", "--interface", "eth0", l.Target()).says(t, 0, "open", "none")
	})
}

// The reader of the answer is gone, or there is no room for it.
func (f faults) stdout(t *testing.T) {
	l := f.open(t, "none")
	both(t, func(t *testing.T, ordinary bool) {
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		reader.Close()
		defer writer.Close()
		cmd := l.Command(lab.Client, ordinary, f.program, "-v", l.Target())
		cmd.Stdout = writer
		if r := finish(t, cmd); r.stderr != "" && !strings.Contains(r.stderr, "broken pipe") || r.code == 0 {
			t.Errorf("pipe closed: exit code %d: %q", r.code, r.stderr)
		}

		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			nettest.Unsupported(t, err.Error())
		}
		defer full.Close()
		cmd = l.Command(lab.Client, ordinary, f.program, l.Target())
		cmd.Stdout = full
		if r := finish(t, cmd); r.code != 4 || !strings.Contains(r.stderr, "no space left") {
			t.Errorf("no room: exit code %d: %q", r.code, r.stderr)
		}
		cmd = l.Command(lab.Client, ordinary, f.program, "explain")
		cmd.Stdout = full
		if r := finish(t, cmd); r.code != 4 || !strings.Contains(r.stderr, "no space left") {
			t.Errorf("no room for explain: exit code %d: %q", r.code, r.stderr)
		}
	})
}

// --write keeps what tcpdump can read.
func (f faults) write(t *testing.T) {
	tcpdump := nettest.NeedProgram(t, "tcpdump")
	l := f.open(t, "none")
	dir := publicDir(t)
	file := filepath.Join(dir, "attempt.pcapng")
	r := f.run(t, l, true, "--write", file, l.Target())
	if r.code != 2 || r.stdout != "" || !strings.Contains(r.stderr, "CAP_NET_RAW") || !strings.Contains(r.stderr, "setcap") {
		t.Errorf("without privilege: exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("without privilege a file is left")
	}
	for port, flags := range map[string][]string{
		"8080": {"Flags [S]", "Flags [S.]"},
		"8099": {"Flags [S]", "Flags [R.]"},
	} {
		r := f.run(t, l, false, "-q", "--write", file, "10.77.3.2:"+port)
		if r.stderr != "" {
			t.Errorf("it said %q", r.stderr)
		}
		out, err := exec.CommandContext(t.Context(), tcpdump, "-nr", file, "port "+port).CombinedOutput()
		if err != nil {
			t.Fatalf("tcpdump: %v\n%s", err, out)
		}
		for _, want := range flags {
			if !strings.Contains(string(out), want) {
				t.Errorf("port %s: no %s in\n%s", port, want, out)
			}
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the packets: %v, %v", info.Mode(), err)
	}
	r = f.run(t, l, false, "--write", filepath.Join(dir, "none", "such"), l.Target())
	if r.code != 2 || !strings.Contains(r.stderr, "none/such") {
		t.Errorf("no folder: exit code %d: %s", r.code, r.stderr)
	}
	r = f.run(t, l, false, "--write", "/dev/full", l.Target())
	if r.code == 0 || !strings.Contains(r.stderr+r.stdout, "no space left") {
		t.Errorf("no room: exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
}

// The packets of others to the same port are no evidence: an attempt that
// fails before it sends anything shows none, and one that works shows its own.
func (f faults) strangers(t *testing.T) {
	l := f.open(t, "none")
	serveAt(t, l, lab.Client, netip.MustParseAddrPort("10.77.1.2:4000"), func(net.Conn) {})
	busy := l.Command(lab.Client, true, "bash", "-c", "while :; do (exec 3<>/dev/tcp/10.77.3.2/8080; echo >&3) 2>/dev/null; done")
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	defer busy.Wait()
	defer busy.Process.Kill()
	for range 5 {
		a := f.run(t, l, false, "-o", "json", "--source", "10.77.1.2:4000", l.Target()).says(t, 1, "local-error", "source-port-busy")
		for _, addr := range a.Addresses {
			if len(addr.Packets) > 0 {
				t.Fatalf("packets of others: %s", addr.Packets)
			}
		}
		f.run(t, l, false, "-o", "json", l.Target()).says(t, 0, "open", "none")
		text := f.run(t, l, false, "--source", "10.77.1.2:4000", l.Target()).stdout
		if strings.Contains(text, "bytes ──") || strings.Contains(text, "bytes --") {
			t.Fatalf("packets of others:\n%s", text)
		}
	}
}
