package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// explainHost is a world of strings, with a terminal of so many columns.
func explainHost(in string, columns int, env map[string]string) (Host, *bytes.Buffer, *bytes.Buffer) {
	var out, errs bytes.Buffer
	return Host{Stdin: strings.NewReader(in), Stdout: &out, Stderr: &errs, Columns: columns, Getenv: func(k string) string { return env[k] }}, &out, &errs
}

// TestExplainJSON holds what explain writes to its schema, for every error text
// of the table and every page, and with hostile input.
func TestExplainJSON(t *testing.T) {
	schema, err := os.ReadFile("schema/tcpwhy.explanation-1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("urn:tcpwhy:explanation:1", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("urn:tcpwhy:explanation:1")
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("../errtext/testdata/lines.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range []struct {
		in   string
		args []string
		most int
	}{
		{"", nil, 60}, {"", []string{"no-listener"}, 1}, {"", []string{"refused-or-timeout"}, 1}, {"", []string{"61"}, 1}, {"", []string{"WSAETIMEDOUT"}, 1},
		{"", []string{"--search", "conntrack"}, 2}, {string(table), []string{"-"}, 150},
		{"connect to \x1b[31m\xff\u202e:80 failed: Connection refused \U0001f600" + strings.Repeat("x", 1<<16) + "\nread ECONNRESET", []string{"-"}, 2},
	} {
		h, out, errs := explainHost(run.in, 0, nil)
		if code := Main(append([]string{"explain", "-o", "json"}, run.args...), h); code != exitWorks || errs.Len() > 0 {
			t.Fatalf("%v: exit code %d: %s", run.args, code, errs)
		}
		n := 0
		for line := range strings.Lines(out.String()) {
			n++
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\n' || r > '~' }) || !utf8.ValidString(line) {
				t.Errorf("%v: not plain: %q", run.args, line)
			}
			doc, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
			if err == nil {
				err = s.Validate(doc)
			}
			if err != nil {
				t.Errorf("%v: %v\n%.300s", run.args, err, line)
			}
		}
		if n < run.most {
			t.Errorf("%v: %d lines, want at least %d", run.args, n, run.most)
		}
	}
}

// TestExplainStreamIsBounded: many different errors are counted, not all shown.
func TestExplainStreamIsBounded(t *testing.T) {
	var in strings.Builder
	for i := range 500 {
		in.WriteString("dial tcp 192.0.2.7:" + string(rune('1'+i%9)) + strings.Repeat("0", i%4) + ": connect: connection refused h" + strings.Repeat("x", i) + ".example:1\n")
		in.WriteString("ssh: Could not resolve hostname h" + strings.Repeat("x", i%240) + ".example: Name or service not known\n")
	}
	h, out, errs := explainHost(in.String(), 0, nil)
	if code := Main([]string{"explain", "-"}, h); code != exitWorks {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	if n := strings.Count(out.String(), "find out"); n > maxExplained {
		t.Errorf("%d explanations", n)
	}
	if !strings.Contains(out.String(), "1000 of 1000 lines") {
		t.Errorf("%s", out.String()[out.Len()-500:])
	}
}

func TestExplainPager(t *testing.T) {
	dir := t.TempDir()
	pager := filepath.Join(dir, "pager")
	if err := os.WriteFile(pager, []byte("#!/bin/sh\necho \"PAGED $1\"\ncat\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/bin/sh"); err != nil {
		nettest.Unsupported(t, "/bin/sh")
	}
	for _, c := range []struct {
		columns       int
		env           map[string]string
		paged, colour bool
	}{
		{80, map[string]string{"PAGER": pager + " -x"}, true, true},
		{80, map[string]string{"PAGER": pager, "NO_COLOR": "1"}, true, false},
		{80, map[string]string{"PAGER": "/nowhere/at/all"}, false, true},
		{0, map[string]string{"PAGER": pager}, false, false},
	} {
		h, out, errs := explainHost("", c.columns, c.env)
		if code := Main([]string{"explain", "ECONNREFUSED"}, h); code != exitWorks || errs.Len() > 0 {
			t.Fatalf("%v: exit code %d: %s", c, code, errs)
		}
		text := out.String()
		if strings.HasPrefix(text, "PAGED") != c.paged || strings.Contains(text, "\x1b[") != c.colour || !strings.Contains(text, "no-listener") {
			t.Errorf("%v: %q", c, text)
		}
		if c.env["PAGER"] == pager+" -x" && !strings.HasPrefix(text, "PAGED -x\n") {
			t.Errorf("the pager's arguments are lost: %q", text)
		}
	}
}
