package report_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/report"
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

var update = flag.Bool("update", false, "write the golden files and the example in docs/json.md")

// golden compares got with a file, or writes it.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; write it with go test -update", err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs (-want +got), write it anew with go test -update:\n%s", path, d)
	}
}

func text(t *testing.T, d *verdict.Diagnosis, o report.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.Text(&b, d, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func jsonLine(t *testing.T, d *verdict.Diagnosis) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := report.JSON(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func names() []string { return slices.Sorted(maps.Keys(fixtures)) }

// predicts says something about a few causes, for the table of Verbose.
func predicts(c verdict.CauseID, k evidence.Key) (allowed []evidence.Value, any bool) {
	switch {
	case k == evidence.Answer && c == "host-down":
		return []evidence.Value{evidence.AnswerNone, evidence.AnswerICMP}, false
	case k == evidence.Answer || k == evidence.Connect && c == "no-listener":
		return []evidence.Value{evidence.AnswerRST, evidence.ConnRefused}, false
	default:
		return nil, true
	}
}

func TestGoldenText(t *testing.T) {
	for _, name := range names() {
		d := fixtures[name]()
		t.Run(name, func(t *testing.T) {
			dir := "testdata"
			golden(t, filepath.Join(dir, name+".txt"), []byte(text(t, d, report.Options{Unicode: true, Titles: title})))
			golden(t, filepath.Join(dir, name+".ascii.txt"), []byte(text(t, d, report.Options{Titles: title})))
		})
	}
	for _, name := range []string{"refused-narrowed", "works", "two-addresses"} {
		golden(t, filepath.Join("testdata", name+".verbose.txt"),
			[]byte(text(t, fixtures[name](), report.Options{Unicode: true, Verbose: true, Titles: title, Predicts: predicts})))
	}
	golden(t, "testdata/timeout-narrowed.color.txt",
		[]byte(text(t, timeoutNarrowed(), report.Options{Unicode: true, Color: true, Titles: title})))
	golden(t, "testdata/refused-narrowed.narrow.txt",
		[]byte(text(t, refusedNarrowed(), report.Options{Width: 48, Titles: title})))
}

func TestGoldenJSON(t *testing.T) {
	for _, name := range names() {
		d := fixtures[name]()
		t.Run(name, func(t *testing.T) {
			line := jsonLine(t, d)
			if err := reporttest.Validate(line); err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(line, []byte(":null")) || bytes.Contains(line, []byte("[null")) {
				t.Error("something is null")
			}
			if name != "many" { // 10 MB
				golden(t, filepath.Join("testdata", name+".json"), line)
			}
		})
	}
}

const (
	docFile    = "../../docs/json.md"
	fenceOpen  = "```json\n"
	fenceClose = "```\n"
)

// The example in the documentation is what the program writes, indented.
func TestExampleInDocs(t *testing.T) {
	var example bytes.Buffer
	if err := json.Indent(&example, jsonLine(t, refusedNarrowed()), "", "  "); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), fenceOpen)
	_, after, ok2 := strings.Cut(rest, fenceClose)
	if !ok || !ok2 {
		t.Fatalf("%s has no example in ```json", docFile)
	}
	golden(t, docFile, []byte(before+fenceOpen+example.String()+fenceClose+after))
}

// Every field of the schema has a line in the documentation, and no other has.
func TestDocsNameEveryField(t *testing.T) {
	page, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	diagnosis, captures, ok := strings.Cut(string(page), "\n## Captures\n")
	if !ok {
		t.Fatal("docs/json.md has no section on captures")
	}
	want, got := fields(t, report.Schema()), documented(diagnosis)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("fields of the schema and of docs/json.md (-schema +docs):\n%s", d)
	}
	captures, compared, ok := strings.Cut(captures, "\n## Comparing two captures\n")
	if !ok {
		t.Fatal("docs/json.md has no section on two captures")
	}
	// What captures share with a diagnosis, and the names of outcomes, causes
	// and peculiarities, are told of elsewhere or in the text.
	for _, section := range []struct{ text, schema string }{{captures, report.CaptureSchema()}, {compared, report.CompareSchema()}} {
		has := fields(t, section.schema)
		for name := range has {
			if !want[name] && !strings.Contains(captures+section.text, "`"+name+"`") {
				t.Errorf("docs/json.md does not tell of %q", name)
			}
		}
		for name := range documented(section.text) {
			if !has[name] {
				t.Errorf("docs/json.md tells of %q, which its schema does not have", name)
			}
		}
	}
}

// Every field of what changed stands in its section of the documentation.
func TestDocsNameEveryFieldOfChanges(t *testing.T) {
	page, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(page), "\n## What changed between two runs\n")
	if !ok {
		t.Fatal("docs/json.md has no section on what changed")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for name := range fields(t, report.DiffSchema()) {
		if !strings.Contains(section, "`"+name+"`") {
			t.Errorf("docs/json.md does not tell of %q", name)
		}
	}
}

// fields are the names of the properties in a schema.
func fields(t *testing.T, text string) map[string]bool {
	t.Helper()
	var schema map[string]any
	if err := json.Unmarshal([]byte(text), &schema); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	var walk func(node any)
	walk = func(node any) {
		switch n := node.(type) {
		case map[string]any:
			if props, ok := n["properties"].(map[string]any); ok {
				for name := range props {
					want[name] = true
				}
			}
			for _, v := range n {
				walk(v)
			}
		case []any:
			for _, v := range n {
				walk(v)
			}
		}
	}
	walk(schema)
	return want
}

// documented are the names in the first columns of the tables of a page.
func documented(page string) map[string]bool {
	got := map[string]bool{}
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ := strings.Cut(rest, "`")
			got[name] = true
		}
	}
	return got
}

// Every field of what a host tells stands in a page of its own.
func TestDocsNameEveryFieldOfHosts(t *testing.T) {
	page, err := os.ReadFile("../../docs/json-host.md")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := fields(t, report.Schema())
	for name := range fields(t, report.HostSchema()) {
		if !elsewhere[name] && !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/json-host.md does not tell of %q", name)
		}
	}
	has := fields(t, report.HostSchema())
	for name := range documented(string(page)) {
		if !has[name] {
			t.Errorf("docs/json-host.md tells of %q, which the schema does not have", name)
		}
	}
}
