package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/cli"
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
)

// run calls the program as if its standard output were a terminal of so many
// columns; 0 is a pipe.
func run(t *testing.T, columns int, args ...string) (code int, out, talk string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = cli.Main(args, cli.Host{
		Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Columns: columns,
		Getenv: func(name string) string { return map[string]string{"LANG": "C.UTF-8", "TERM": "xterm"}[name] },
	})
	return code, stdout.String(), stderr.String()
}

const saved = "../report/testdata/refused-narrowed.json"

// A terminal is spared a page of HTML, and nothing is sent before.
func TestHTMLIsNotForTerminals(t *testing.T) {
	for _, args := range [][]string{{"report", "-o", "html", saved}, {"-o", "html", "192.0.2.1:9"}, {"report", "-o", "html", saved, saved}} {
		code, out, talk := run(t, 80, args...)
		if code != 2 || out != "" || !strings.Contains(talk, "> report.html") {
			t.Errorf("%v: exit code %d, %q, %q", args, code, out, talk)
		}
	}
	if code, out, talk := run(t, 0, "report", "-o", "html", saved); code != 0 || !strings.HasPrefix(out, "<!DOCTYPE html>") || talk != "" {
		t.Errorf("in a pipe: exit code %d, %.40q, %q", code, out, talk)
	}
}

// A copy has neither the colours nor the width of the terminal beside it, and
// is for its owner.
func TestCopiesAreForElsewhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.txt")
	code, out, talk := run(t, 50, "report", "--report", file, saved)
	if code != 0 || !strings.Contains(out, "\x1b[") || talk != "" {
		t.Fatalf("exit code %d, %q, %q", code, out, talk)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("\x1b")) || !bytes.Contains(text, []byte("db.internal:5432 is refused: one of 3 causes, likeliest no-listener\n")) {
		t.Errorf("the copy is\n%s", text)
	}
	if info, err := os.Stat(file); runtime.GOOS != "windows" && (err != nil || info.Mode().Perm()&0o077 != 0) {
		t.Errorf("the copy has mode %v: %v", info.Mode(), err)
	}
}

// A comparison for programs: one line, by its schema.
func TestComparisonAsJSON(t *testing.T) {
	code, out, talk := run(t, 0, "report", "-o", "json", saved, "../report/testdata/timeout-narrowed.json")
	if err := reporttest.ValidateDiff([]byte(out)); err != nil || code != 0 || talk != "" || !strings.Contains(out, `"status":"changed"`) {
		t.Errorf("exit code %d, %v, %q, %s", code, err, talk, out)
	}
	if code, out, talk := run(t, 0, "report", "--report", "a.html", saved, saved); code != 2 || out != "" || !strings.Contains(talk, "-o") {
		t.Errorf("exit code %d, %q, %q", code, out, talk)
	}
}

// Two files are redacted as one: the same original, the same placeholder.
func TestComparisonIsRedacted(t *testing.T) {
	code, out, _ := run(t, 0, "report", "--redact", saved, "../report/testdata/timeout-narrowed.json")
	if code != 0 || strings.Contains(out, "10.77.") || strings.Contains(out, "db.internal") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if !strings.Contains(out, "host-1.example:5432 times out; before it was refused") || !strings.HasPrefix(out, "redacted: ") {
		t.Errorf("%s", out)
	}
}
