//go:build linux

package test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

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
		// As root, tcpdump would change its user, which a user namespace forbids.
		packets, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		shown := filepath.Join(dir, "shown.pcapng")
		if err := os.WriteFile(shown, packets, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := l.Command(lab.Client, true, tcpdump, "-nr", shown, "port "+port).CombinedOutput()
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
