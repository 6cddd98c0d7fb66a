package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/tcpwhy/tcpwhy/internal/diagnose"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/report"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// runs are real runs in the lab, diagnosed: the evidence of package diagnose.
func runs(t testing.TB) map[string]*verdict.Diagnosis {
	t.Helper()
	files, err := filepath.Glob("../diagnose/testdata/golden/*/evidence.json")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d sets of evidence: %v", len(files), err)
	}
	out := map[string]*verdict.Diagnosis{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		set := &evidence.Set{}
		if err := json.Unmarshal(text, set); err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(filepath.Dir(f))] = diagnose.Diagnose(set)
	}
	return out
}

// everything is every diagnosis that tests have but for the huge one.
func everything(t testing.TB) map[string]*verdict.Diagnosis {
	t.Helper()
	all := runs(t)
	for name, make := range fixtures {
		if name != "many" {
			all["fixture "+name] = make()
		}
	}
	return all
}

func read(t testing.TB, s string) []*verdict.Diagnosis {
	t.Helper()
	list, err := report.Read(strings.NewReader(s), "a.json")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// What JSON wrote is read back whole: written again it is the same, and its
// text is that of the run itself.
func TestReadBack(t *testing.T) {
	for name, d := range everything(t) {
		if name == "fixture hostile" {
			continue // its texts are in fields that hold words
		}
		line := jsonLine(t, d)
		back := read(t, string(line))[0]
		if diff := cmp.Diff(string(line), string(jsonLine(t, back))); diff != "" {
			t.Errorf("%s: JSON (-written +read and written):\n%s", name, diff)
		}
		if d.Outcome == verdict.Open {
			continue // JSON does not hold what the server said
		}
		want, got := text(t, d, report.Options{Unicode: true}), text(t, back, report.Options{Unicode: true})
		// JSON keeps microseconds, which may round another way.
		if diff := cmp.Diff(tenths.ReplaceAllString(want, "ms"), tenths.ReplaceAllString(got, "ms")); diff != "" {
			t.Errorf("%s: text (-of the run +of what was read):\n%s", name, diff)
		}
	}
}

func TestReadSeveral(t *testing.T) {
	a, b := string(jsonLine(t, works())), string(jsonLine(t, tlsFailed()))
	for name, s := range map[string]string{
		"lines": a + b, "empty lines": "\n" + a + "\r\n\n" + b + "\n\n", "one line": strings.TrimSpace(a) + b,
		"unknown fields": strings.Replace(a, `"target":{`, `"new":[{"x":null}],"target":{"zone":"eu",`, 1) + b,
	} {
		if got := len(read(t, s)); got != 2 {
			t.Errorf("%s: %d diagnoses, want 2", name, got)
		}
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, []byte(a), "", "  "); err != nil {
		t.Fatal(err)
	}
	read(t, indented.String())
}

// Packets that were saved before JSON named their attempt are drawn all the same.
func TestReadWithoutAttempt(t *testing.T) {
	attempt := regexp.MustCompile(`"attempt":\{[^}]*\},`)
	arrows := func(s string) string {
		var out []string
		for line := range strings.Lines(s) {
			if strings.Contains(line, "SYN") && strings.Contains(line, "|") || strings.Contains(line, "RST") && strings.Contains(line, "|<") {
				out = append(out, tenths.ReplaceAllString(line, "ms"))
			}
		}
		return strings.Join(out, "")
	}
	for name, d := range everything(t) {
		line := string(jsonLine(t, d))
		old := attempt.ReplaceAllString(line, "")
		if name == "fixture hostile" || old == line {
			continue
		}
		want, got := arrows(text(t, d, report.Options{})), arrows(text(t, read(t, old)[0], report.Options{}))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-of the run +of what was read):\n%s", name, diff)
		}
	}
}

// Every error names the file, the line, what is wrong, and what to do.
func TestReadErrors(t *testing.T) {
	good := string(jsonLine(t, refusedNarrowed()))
	change := func(old, new string) string {
		t.Helper()
		s := strings.Replace(good, old, new, 1)
		if s == good {
			t.Fatalf("%q is not in the line", old)
		}
		return good + s
	}
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "a.json: there is no diagnosis"},
		{"spaces", " \n\n", "a.json: there is no diagnosis"},
		{"not JSON", good + "db:5432 is refused\n", "a.json:2: not JSON: invalid character 'd'"},
		{"cut", good + good[:200], "a.json:2: not JSON: it ends in the middle"},
		{"escape sequence", "\x1b[2J", `a.json:1: not JSON: invalid character '\x1b'`},
		{"a list", "[1,2]", "a.json:1: not an object"},
		{"null", "null", "no \"schema\""},
		{"other JSON", `{"a":1}`, `a.json:1: no diagnosis of tcpwhy: it has no "schema"`},
		{"a number as schema", `{"schema":7}`, `it has no "schema"`},
		{"other schema", `{"schema":"x\u001b/9"}`, `it is "x\\x1b/9", not tcpwhy.diagnosis/1`},
		{"newer", change(`diagnosis/1`, `diagnosis/2`), `a.json:2: version "2" of the format; this tcpwhy reads version 1`},
		{"wrong type", change(`"port":5432`, `"port":"x"`), `a.json:2: "target.port" is no uint16 but a string`},
		{"port", change(`"port":5432`, `"port":0`), "no host or no port"},
		{"port too large", change(`"port":5432`, `"port":65536`), "target.port"},
		{"time", change(`"elapsed_ms":31`, `"elapsed_ms":1e300`), "1e300 is no time"},
		{"started", change(`"started":"2026`, `"started":"today 2026`), "is no time"},
		{"outcome", change(`"outcome":"refused"`, `"outcome":"fine"`), `outcome "fine"`},
		{"certainty", change(`"certainty":"narrowed"`, `"certainty":"sure"`), `certainty "sure"`},
		{"cause", change(`"cause":"no-listener"`, `"cause":"<script>"`), `cause "<script>" is no ID`},
		{"likelihood", change(`"likelihood":0.41`, `"likelihood":7`), "likelihood of 7"},
		{"addr", change(`"addr":"10.77.3.2"`, `"addr":""`), "address 1 has no addr"},
		{"endpoint", change(`"src":"10.77.1.2:41234"`, `"src":"nowhere"`), `packet 1: "nowhere" is no address`},
		{"attempts", change(`"of":1`, `"of":1000000000`), "attempt 1 of 1000000000"},
		{"deep", strings.Repeat("[", 20_000), "exceeded max depth"},
	} {
		list, err := report.Read(strings.NewReader(tc.text), "a.json")
		var re *report.ReadError
		switch {
		case !errors.As(err, &re):
			t.Errorf("%s: %v and %d diagnoses", tc.name, err, len(list))
		case !strings.Contains(err.Error(), tc.want):
			t.Errorf("%s: %q, want %q", tc.name, err, tc.want)
		case re.Hint == "" || !strings.HasPrefix(err.Error(), "a.json"):
			t.Errorf("%s: %q, hint %q", tc.name, err, re.Hint)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%s: control characters in %q", tc.name, err)
		}
	}
	if _, err := report.Read(io.LimitReader(endless{}, report.MaxSaved+10), "a.json"); err == nil || !strings.Contains(err.Error(), "larger than 64 MiB") {
		t.Errorf("too large: %v", err)
	}
	if _, err := report.Read(iotest.ErrReader(errDisk), "a.json"); !errors.Is(err, errDisk) {
		t.Errorf("a reader that fails: %v", err)
	}
}

var tenths = regexp.MustCompile(`\.\d ms`)

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func FuzzRead(f *testing.F) {
	for _, d := range []*verdict.Diagnosis{nameNotFound(), noRoute(), tlsFailed()} {
		var b bytes.Buffer
		if err := report.JSON(&b, d); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := report.Read(bytes.NewReader(data), "a.json")
		if err != nil {
			return
		}
		for _, d := range list[:min(len(list), 3)] {
			line := jsonLine(t, d)
			again := jsonLine(t, read(t, string(line))[0])
			if !bytes.Equal(line, again) {
				t.Errorf("read and written twice:\n%s%s", line, again)
			}
			text(t, d, report.Options{Verbose: true})
		}
	})
}
