package errtext

import (
	"os"
	"strings"
	"testing"
)

// lines reads a file of the test data without its comments.
func lines(t testing.TB, name string) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && line[0] != '#' {
			out = append(out, line)
		}
	}
	return out
}

func TestRecognise(t *testing.T) {
	table := lines(t, "lines.txt")
	if len(table) < 150 {
		t.Errorf("%d lines in the table, want at least 150", len(table))
	}
	for _, row := range table {
		f := strings.SplitN(row, " | ", 5)
		if len(f) != 5 || f[3] == "" {
			t.Fatalf("%q is no row", row)
		}
		want := [3]string{f[0], f[1], f[2]}
		m, ok := Recognise([]byte(f[4]))
		got := [3]string{string(m.Kind), dash(m.Target.String()), dash(m.Program)}
		if !ok || got != want {
			t.Errorf("%s\n got %v %v\nwant %v", f[4], got, ok, want)
			continue
		}
		if _, ok := Describe(m.Kind); !ok {
			t.Errorf("%s: kind %s is not described", f[4], m.Kind)
		}
		if m.Start < 0 || m.End > len(f[4]) || m.Start >= m.End {
			t.Errorf("%s: the words are at %d to %d", f[4], m.Start, m.End)
		}
		// A log puts its own words before, and the verdict stays.
		again, ok := Recognise([]byte("Jan  2 03:04:05 host1 app[77]: " + f[4] + "\r\n"))
		if starts := f[2] == "ssh" || f[2] == "nc"; ok != true && !starts || ok && again.Kind != m.Kind {
			t.Errorf("%s: in a log %v %s", f[4], ok, again.Kind)
		}
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func TestOthersAreNotRecognised(t *testing.T) {
	table := lines(t, "others.txt")
	if len(table) < 60 {
		t.Errorf("%d lines, want at least 60", len(table))
	}
	for _, line := range table {
		if m, ok := Recognise([]byte(line)); ok {
			t.Errorf("%s\n is taken for %s by %q", line, m.Kind, line[m.Start:m.End])
		}
	}
}
