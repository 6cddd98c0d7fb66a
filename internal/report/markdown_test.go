package report_test

import (
	"bytes"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/tcpwhy/tcpwhy/internal/report"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

func markdown(t testing.TB, list ...*verdict.Diagnosis) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.Markdown(&b, list, report.Options{Titles: title}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGoldenMarkdown(t *testing.T) {
	for _, name := range []string{"refused-narrowed", "prohibited-by-router", "two-addresses", "works", "hostile", "interrupted"} {
		golden(t, filepath.Join("testdata", name+".md"), []byte(markdown(t, fixtures[name]())))
	}
}

// outsideCode is Markdown without fenced blocks and code spans.
func outsideCode(t testing.TB, md string) string {
	t.Helper()
	var b strings.Builder
	fence := ""
	for line := range strings.Lines(md) {
		rest := strings.TrimLeft(line, " ")
		ticks := rest[:len(rest)-len(strings.TrimLeft(rest, "`"))]
		switch {
		case fence == "" && len(ticks) >= 3:
			fence = ticks
		case fence != "" && strings.TrimSpace(rest) == fence:
			fence = ""
		case fence == "":
			b.WriteString(line)
		}
	}
	if fence != "" {
		t.Errorf("a fenced block does not end")
	}
	return spans.ReplaceAllString(b.String(), "")
}

// spans are code spans of one tick, and marks that were escaped.
var spans = regexp.MustCompile("\\\\[\\\\`*_\\[\\]<>|~$&!#+=:.)-]|`` .*? ``|`[^`\n]*`")

// No text of a diagnosis becomes markup, a link, a mention or a reference.
func TestMarkdownEscapes(t *testing.T) {
	const bad = "# h\n- [x](https://a.example) ![i](http://b.example/i.png) <b>@team #12 GH-7 www.c.example **x** __y__ ~~z~~ `c` ``d`` | $m$ &amp; \x1b[2J"
	d := hostile()
	d.Set.Target.Host, d.Set.Target.Input = bad, bad
	d.Verdict.Finding, d.Facts[0].Text = bad, bad
	d.Verdict.Certainty = verdict.Narrowed
	d.Verdict.Candidates = []verdict.Candidate{{Cause: bad, Likelihood: 0.6}, {Cause: "x", Likelihood: 0.4}}
	d.Verdict.RuledOut = []verdict.RuledOut{{Cause: bad}}
	d.Verdict.Next = []verdict.Step{{Check: bad, Command: "```\nrm -rf\n```` " + bad, Where: bad}}
	d.Addresses[0].Verdict = d.Verdict
	d.Set.Addresses[0].Packets[0].Flags = "```\n" + bad
	d.NotChecked[0].How = "sudo ```" + bad
	got := markdown(t, d)
	for i, r := range got {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("%q in …%q", r, got[max(0, i-40):i])
		}
	}
	rest := outsideCode(t, got)
	for _, mark := range []string{"[x]", "](", "![", "<b>", "@team", "#12", "GH-7", "https:", "http:", "www.", "**x", "__y", "~~z", "$m", "&amp", "`"} {
		if i := strings.Index(rest, mark); i >= 0 {
			t.Errorf("%s is markup in …%q", mark, rest[max(0, i-40):min(len(rest), i+40)])
		}
	}
	for line := range strings.Lines(rest) {
		if strings.HasPrefix(line, "# ") {
			t.Errorf("a heading: %q", line)
		}
	}
}

func TestMarkdownOfSeveral(t *testing.T) {
	got := markdown(t, refusedNarrowed(), works())
	if strings.Count(got, "\n## ")+1 != 2 || !strings.Contains(got, "\n---\n") {
		t.Errorf("two targets:\n%s", got)
	}
	if n := len(markdown(t, many())); n > 400_000 {
		t.Errorf("%d bytes for 10,000 of everything", n)
	}
}

func FuzzMarkdown(f *testing.F) {
	f.Add("a|b `c` **d**", "```\nx")
	f.Add("1. x", "~~~\n@a #1")
	f.Fuzz(func(t *testing.T, s, command string) {
		d := refusedCertainLocal()
		d.Verdict.Finding, d.Facts[0].Text, d.Verdict.Next[0].Command = s, s, command
		d.Addresses[0].Verdict = d.Verdict
		got := markdown(t, d)
		rest := outsideCode(t, got)
		if want := strings.Count(outsideCode(t, markdown(t, refusedCertainLocal())), "\n## "); strings.Count(rest, "\n## ") != want {
			t.Errorf("headings in %q", got)
		}
		for line := range strings.Lines(rest) {
			if strings.HasPrefix(line, "| e1 ") && strings.Count(line, "|") != 5 {
				t.Errorf("cells of %q", line)
			}
		}
	})
}
