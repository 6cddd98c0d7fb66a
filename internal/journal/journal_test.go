package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// exported is a journal in the export format, systemd.io/JOURNAL_EXPORT_FORMATS.
type exported struct{ bytes.Buffer }

func (x *exported) add(n int, fields ...string) {
	fmt.Fprintf(x, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=00000000000000000000000000000001\n_MACHINE_ID=00000000000000000000000000000002\n", 1_700_000_000_000_000+n*1_000_000, n+1)
	for i := 0; i < len(fields); i += 2 {
		name, value := fields[i], fields[i+1]
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			size := make([]byte, 8)
			for j := range 4 {
				size[j] = byte(len(value) >> (8 * j))
			}
			fmt.Fprintf(x, "%s\n%s%s\n", name, size, value)
		} else {
			fmt.Fprintf(x, "%s=%s\n", name, value)
		}
	}
	x.WriteByte('\n')
}

// file makes a journal file of it.
func (x *exported) file(t *testing.T) string {
	t.Helper()
	remote := "/lib/systemd/systemd-journal-remote"
	nettest.NeedFile(t, remote)
	nettest.NeedProgram(t, "journalctl")
	path := filepath.Join(t.TempDir(), "test.journal")
	cmd := exec.CommandContext(t.Context(), remote, "--output="+path, "-")
	cmd.Stdin = x
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func TestRealJournal(t *testing.T) {
	var x exported
	nginx := []string{"_SYSTEMD_UNIT", "nginx.service", "_PID", "77", "_COMM", "nginx", "SYSLOG_IDENTIFIER", "nginx", "_TRANSPORT", "stdout"}
	x.add(0, append(nginx, "MESSAGE", "old")...)
	x.add(10, append(nginx, "MESSAGE", "bind() to 0.0.0.0:80 failed (98: Address already in use)")...)
	x.add(11, append(nginx, "MESSAGE", "red \x1b[31m\xff\x00 end")...)
	x.add(12, "_PID", "1", "_COMM", "systemd", "UNIT", "nginx.service", "_SYSTEMD_UNIT", "init.scope", "SYSLOG_IDENTIFIER", "systemd", "MESSAGE", "nginx.service: Main process exited, code=exited, status=1/FAILURE")
	x.add(13, "_TRANSPORT", "kernel", "SYSLOG_IDENTIFIER", "kernel", "MESSAGE", "Out of memory: Killed process 123 (java)")
	x.add(14, "_PID", "99", "_COMM", "logger\n", "SYSLOG_IDENTIFIER", "systemd\x1b[2J", "UNIT", "nginx.service", "_SYSTEMD_UNIT", "session-1.scope", "MESSAGE", "forged")
	x.add(15, "_PID", "100", "SYSLOG_IDENTIFIER", "dockerd", "_SYSTEMD_UNIT", "docker.service", "CONTAINER_ID_FULL", "abc", "MESSAGE", "inside")
	x.add(16, "_PID", "101", "_SYSTEMD_UNIT", "long.service", "MESSAGE", strings.Repeat("x", 40_000))
	x.add(17, "_PID", "102", "_SYSTEMD_UNIT", "none.service")
	path := x.file(t)

	read := func(q Query) (texts []string) {
		t.Helper()
		q.Dir = path
		entries, err := Read(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			texts = append(texts, string(e.Message[:min(len(e.Message), 20)]))
		}
		return texts
	}
	all, err := Read(t.Context(), Query{Dir: path})
	if err != nil || len(all) != 9 {
		t.Fatalf("%d entries, %v", len(all), err)
	}
	if e := all[1]; e.Unit != "nginx.service" || e.PID != 77 || e.Comm != "nginx" || e.Identifier != "nginx" || e.Kernel || e.Manager || !e.Time.Equal(time.Unix(1_700_000_010, 0)) {
		t.Errorf("%+v", e)
	}
	if got := string(all[2].Message); got != "red \x1b[31m\xff\x00 end" {
		t.Errorf("bytes: %q", got)
	}
	if e := all[3]; !e.Manager || e.About != "nginx.service" || e.Unit != "init.scope" {
		t.Errorf("of the manager: %+v", e)
	}
	if e := all[4]; !e.Kernel || e.Manager {
		t.Errorf("of the kernel: %+v", e)
	}
	if e := all[5]; e.Manager || e.About != "" || e.Comm != `logger\x0a` || e.Identifier != `systemd\x1b[2J` {
		t.Errorf("forged: %+v", e)
	}
	if !all[6].Container || all[1].Container {
		t.Errorf("of a container: %+v", all[6])
	}
	if len(all[7].Message) != maxMessage || all[8].Message != nil {
		t.Errorf("%d bytes, %q", len(all[7].Message), all[8].Message)
	}

	if got := read(Query{Units: []string{"nginx.service"}}); len(got) != 4 || got[0] != "old" {
		t.Errorf("by unit: %q", got)
	}
	if got := read(Query{Units: []string{"nginx.service", "long.service"}, Since: time.Unix(1_700_000_011, 0)}); len(got) != 3 {
		t.Errorf("since: %q", got)
	}
	if got := read(Query{Last: 2}); len(got) != 2 || got[1] != "" {
		t.Errorf("last: %q", got)
	}
	if got := read(Query{Kernel: true}); len(got) != 1 || !strings.HasPrefix(got[0], "Out of") {
		t.Errorf("kernel: %q", got)
	}
	if got := read(Query{PIDs: []int{77, 99}, Match: func(e *Entry) bool { return bytes.HasPrefix(e.Message, []byte("f")) }}); !slices.Equal(got, []string{"forged"}) {
		t.Errorf("by PID and match: %q", got)
	}
	if got := read(Query{Identifiers: []string{"dockerd"}}); !slices.Equal(got, []string{"inside"}) {
		t.Errorf("by identifier: %q", got)
	}
	if got := read(Query{Units: []string{"", "long.service"}}); len(got) != 1 {
		t.Errorf("one name is wrong: %q", got)
	}
	if got := read(Query{Units: []string{"*"}}); got != nil {
		t.Errorf("by nothing but wrong names: %q", got)
	}
	if got := read(Query{Units: []string{"--help", "x\x1b", "", "a*"}}); got != nil {
		t.Errorf("by what is no unit: %q", got)
	}
}

// program puts a journalctl of our own first in PATH.
func program(t *testing.T, script string) Query {
	t.Helper()
	if runtime.GOOS == "windows" {
		nettest.Unsupported(t, "a shell")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"journalctl": "#!/bin/sh\n" + script, "a.journal": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return Query{Dir: dir}
}

func TestHostileJournalctl(t *testing.T) {
	const entry = `{"__REALTIME_TIMESTAMP":"1700000000000000","MESSAGE":"x"}`
	for name, tt := range map[string]struct {
		script string
		n      int
		err    error
	}{
		"without end":        {"exec yes '" + entry + "'", maxEntries, ErrCut},
		"garbage":            {"head -c 300000 /dev/zero; echo; echo '" + entry + "'; echo '[]'; echo '{\"__REALTIME_TIMESTAMP\":7}'; echo null", 1, ErrCut},
		"broken off":         {"echo '" + entry + "'; printf '%s' '" + entry[:30] + "'", 1, ErrCut},
		"nested":             {"echo '{\"__REALTIME_TIMESTAMP\":\"1\",\"MESSAGE\":[[[\"x\"]],[]]}'", 1, nil},
		"complains for ever": {"head -c 1000000 /dev/zero >&2; echo '" + entry + "'", 1, nil},
		"silent":             {"true", 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			nettest.LeakCheck(t)
			entries, err := Read(t.Context(), program(t, tt.script))
			if len(entries) != tt.n || !errors.Is(err, tt.err) {
				t.Errorf("%d entries, %v, want %d, %v", len(entries), err, tt.n, tt.err)
			}
		})
	}
}

func TestJournalctlThatHangs(t *testing.T) {
	nettest.LeakCheck(t)
	q := program(t, `echo '{"__REALTIME_TIMESTAMP":"1700000000000000","MESSAGE":"x"}'; sleep 5 & wait`)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	entries, err := Read(ctx, q)
	if len(entries) != 1 || !errors.Is(err, ErrCut) {
		t.Errorf("%d entries, %v, want the first and ErrCut", len(entries), err)
	}
}

func TestNoJournal(t *testing.T) {
	if _, err := Read(t.Context(), Query{Dir: t.TempDir()}); !errors.Is(err, ErrNone) {
		t.Errorf("without files: %v", err)
	}
	q := program(t, "echo 'Failed: \x1b[2J' >&2; exit 3")
	if _, err := Read(t.Context(), q); err == nil || !strings.Contains(err.Error(), `Failed: \x1b[2J`) {
		t.Errorf("failing: %v", err)
	}
	if err := os.Remove(filepath.Join(q.Dir, "journalctl")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", q.Dir)
	if _, err := Read(t.Context(), q); !errors.Is(err, ErrNone) {
		t.Errorf("without the program: %v", err)
	}
}

func TestJournalOfOthers(t *testing.T) {
	if os.Geteuid() == 0 {
		return // root may read every journal
	}
	q := program(t, "true")
	if err := os.Chmod(filepath.Join(q.Dir, "a.journal"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t.Context(), q); !errors.Is(err, os.ErrPermission) {
		t.Errorf("%v, want os.ErrPermission", err)
	}
}

func TestTail(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string][]string{
		"": nil, "\n": nil, "a": {"a"}, "a\nb\n": {"a", "b"}, "a\n\nb": {"a", "", "b"}, strings.Repeat("x", 2*maxTail) + "\nend\n": {"end"}, strings.Repeat("y", 5000): {strings.Repeat("y", maxMessage)},
	} {
		write(text)
		lines, err := Tail(path)
		var got []string
		for _, l := range lines {
			got = append(got, string(l))
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%.20q: %.60q, %v, want %.60q", text, got, err, want)
		}
	}
	write(strings.Repeat("line\n", 10_000))
	if lines, err := Tail(path); len(lines) != maxLines || err != nil {
		t.Errorf("%d lines, %v", len(lines), err)
	}
	if _, err := Tail(dir); err == nil {
		t.Error("a directory is no log")
	}
	if _, err := Tail(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want os.ErrNotExist", err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err == nil {
		if _, err := Tail(link); err == nil {
			t.Error("a link leads to what its owner may not read")
		}
	}
}

func FuzzEntry(f *testing.F) {
	f.Add([]byte(`{"__REALTIME_TIMESTAMP":"1700000000000000","MESSAGE":[1,2,255],"_PID":"1","UNIT":["a","b"]}`))
	f.Add([]byte(`{"__REALTIME_TIMESTAMP":["1"],"MESSAGE":[[1],[2]],"_COMM":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := parseEntry(b)
		if !ok {
			return
		}
		for _, s := range []string{e.Unit, e.About, e.Identifier, e.Comm} {
			if len(s) > maxText+8 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q", s)
			}
		}
		if len(e.Message) > maxMessage || e.PID < 0 || e.Time.IsZero() {
			t.Errorf("%+v", e)
		}
		parse(bytes.NewReader(b), nil)
	})
}
