package manual

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// everyID lists all pages, those of causes and topics.
func everyID() []string { return append(IDs(), Topics()...) }

// verbatim returns the lines of a page that must not be broken.
func verbatimLines(id string, v View) map[string]bool {
	lines := make(map[string]bool)
	add := func(s string) {
		for line := range strings.SplitSeq(s, "\n") {
			lines[strings.TrimSpace(line)] = true
		}
	}
	if c, ok := Page(id); ok {
		add(c.Ladder)
		for _, it := range c.all() {
			it = it.Fill(v.Vars)
			add(it.Command)
			add(it.UndoCommand)
			add("undo: " + it.UndoCommand)
		}
	}
	if s, ok := Topic(id); ok {
		for _, b := range s.Blocks {
			add(v.fillBlock(b).Text)
			if b.Kind == Table {
				p := &printer{width: max(v.Width, minWidth)}
				p.table(b.Rows)
				add(p.b.String())
			}
		}
	}
	return lines
}

func TestRender(t *testing.T) {
	for _, id := range everyID() {
		t.Run(id, func(t *testing.T) {
			for _, width := range []int{80, 40, 0} {
				v := View{Width: width}
				s, ok := Render(id, width)
				if !ok || !strings.HasPrefix(s, id+":") || !strings.HasSuffix(s, "\n") || strings.Contains(s, "{{") || strings.Contains(s, "`") {
					t.Fatalf("Render(%q, %d) = %q, %v", id, width, s, ok)
				}
				unbroken := verbatimLines(id, v)
				for line := range strings.Lines(s) {
					line = strings.TrimSuffix(line, "\n")
					oneWord := !strings.Contains(strings.TrimSpace(line), " ")
					if utf8.RuneCountInString(line) > max(width, minWidth) && !unbroken[strings.TrimSpace(line)] && !oneWord {
						t.Errorf("%d columns in %d: %q", len(line), width, line)
					}
					if strings.TrimRight(line, " ") != line {
						t.Errorf("blanks at the end: %q", line)
					}
				}
			}
		})
	}
}

// hostile are values as they may come from the network.
var hostile = []Vars{
	{Host: "$(reboot)`id`", Addr: "192.0.2.7; reboot", Port: "80 && reboot", Client: "a\x1b[2J", Service: "a'b\"c", Path: "/tmp/x y", Interface: "e;h", Server: "@x", Gateway: "-f", Router: "fe80::1%$(x)"},
	{Host: "<script>alert(1)</script>", Service: "a|b\n# head", Path: "[x](javascript:y)", Interface: "*_~", Addr: "2001:db8::7", Port: "5432"},
	{Host: "{{.Port}}", Service: "}}{{", Path: "```", Interface: "\u202e", Client: "\xff"},
	{Host: strings.Repeat("a", 255), Service: strings.Repeat("b", 255), Path: strings.Repeat("c", 4096)},
	sample,
}

// Every page renders for everybody, whatever the values are: nothing in it can
// control the terminal, and nothing is left unfilled.
func TestRenderForEveryVantage(t *testing.T) {
	for _, id := range everyID() {
		t.Run(id, func(t *testing.T) {
			for i, vars := range hostile {
				for _, os := range []string{"", "linux", "macos", "windows"} {
					for _, where := range []string{"", "client", "host"} {
						v := View{Width: columns, Vars: vars, OS: os, Where: where}
						text, ok := v.Render(id)
						md, okMarkdown := v.Markdown(id)
						if !ok || !okMarkdown {
							t.Fatal("not shown")
						}
						for _, s := range []string{text, md} {
							if strings.Contains(s, "<value>") || i != 2 && strings.Contains(s, "{{") {
								t.Errorf("%d %s %s: badly filled", i, os, where)
							}
							if j := strings.IndexFunc(s, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); j >= 0 {
								t.Errorf("%d %s %s: a character that controls: %q", i, os, where, s[max(0, j-20):j+1])
							}
						}
						if strings.Contains(md, "<script") && !onlyInCode(md, "<script") || strings.Contains(md, "\n# head") {
							t.Errorf("%d %s %s: a value becomes markup", i, os, where)
						}
					}
				}
			}
		})
	}
}

// onlyInCode says whether every line with s has it behind a backtick.
func onlyInCode(md, s string) bool {
	fenced := false
	for line := range strings.Lines(md) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		before, _, found := strings.Cut(line, s)
		if found && !fenced && strings.Count(before, "`")%2 == 0 {
			return false
		}
	}
	return true
}

func TestViewLeavesOut(t *testing.T) {
	items := []Item{{OS: "linux", Where: "host", Text: "1"}, {OS: "macos", Where: "client", Text: "2"}, {OS: "windows", Text: "3"},
		{OS: "any", Where: "both", Text: "4"}, {OS: "aws", Text: "5"}, {OS: "docker", Where: "host", Text: "6"}}
	for _, c := range []struct{ os, where, want string }{
		{"", "", "123456"},
		{"linux", "", "1456"},
		{"windows", "", "3456"},
		{"", "client", "2345"},
		{"linux", "host", "1456"},
		{"macos", "host", "456"},
	} {
		var got strings.Builder
		for _, it := range (View{OS: c.os, Where: c.where}).items(items) {
			got.WriteString(it.Text)
		}
		if got.String() != c.want {
			t.Errorf("%q %q: got %s, want %s", c.os, c.where, got.String(), c.want)
		}
	}
}

const everyPart = `---
id: x
stage: host
title: it is so
aliases: [so]
look_alikes: [no-listener]
topics: [four-tuple]
sources: ["man 7 tcp", "RFC 793"]
---
It is <so> at {{.Addr}}.

` + "```ladder\nclient    host\n  |--SYN-->|\n```" + `

## How it shows
- curl | Failed to connect to {{.Host}}

## How to confirm
- linux host: look | ` + "`ss -ltn 'sport = :{{.Port}}'`" + `
  healthy: LISTEN
  sick: nothing
- windows client: look there

## How to fix
- linux host: mend {{.Service}} | ` + "`systemctl start {{.Service}}`" + `
  changes: it runs
  undo: ` + "`systemctl stop {{.Service}}`" + `
- linux: mend more
  undo: by hand | ` + "`true`" + `
`

func TestRenderParts(t *testing.T) {
	c, err := parse(everyPart)
	if err != nil {
		t.Fatal(err)
	}
	p := &printer{view: View{Vars: Vars{Service: "a b", Port: "81"}}, width: 60}
	p.cause(c)
	const want = `x: it is so

It is <so> at <address>.

  client    host
    |--SYN-->|

How it shows
  curl: Failed to connect to <host>

How to confirm
  on the host: look
      ss -ltn 'sport = :81'
    healthy: LISTEN
    sick: nothing
  here (Windows): look there

How to fix
  on the host: mend a b
      systemctl start 'a b'
    changes: it runs
    undo: systemctl stop 'a b'
  mend more
    undo: by hand
      true

Easily mistaken for it
  no-listener: nothing listens on the port

Read more
  four-tuple: what makes a connection: the four-tuple

Sources
  man 7 tcp; RFC 793
`
	if got := p.b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMarkdownParts(t *testing.T) {
	c, err := parse(everyPart)
	if err != nil {
		t.Fatal(err)
	}
	m := &marker{view: View{Vars: Vars{Service: "a_b", Port: "81"}}}
	m.cause(c)
	const want = "# x: it is so\n\nIt is &lt;so&gt; at &lt;address&gt;.\n\n```\nclient    host\n  |--SYN-->|\n```\n" + `
## How it shows

- curl: ` + "`Failed to connect to <host>`" + `

## How to confirm

- on the host: look
  ` + "`ss -ltn 'sport = :81'`" + `
  - healthy: LISTEN
  - sick: nothing
- here (Windows): look there

## How to fix

- on the host: mend a\_b
  ` + "`systemctl start a_b`" + `
  - changes: it runs
  - undo: ` + "`systemctl stop a_b`" + `
- mend more
  - undo: by hand
  - undo: ` + "`true`" + `

## Easily mistaken for it

- ` + "`no-listener`" + `: nothing listens on the port

## Read more

- ` + "`four-tuple`" + `: what makes a connection: the four-tuple

## Sources

- man 7 tcp
- RFC 793
`
	if got := m.b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTable(t *testing.T) {
	rows := [][]string{{"system", "what it does"}, {"Linux", "drops `SYN` after some time"}, {"a-very-long-word", "x"}}
	for _, c := range []struct {
		width int
		want  string
	}{
		{80, "  system            what it does\n  Linux             drops SYN after some time\n  a-very-long-word  x\n"},
		{36, "  system            what it does\n  Linux             drops SYN after\n                    some time\n  a-very-long-word  x\n"},
		{4, "  system            what\n                    it\n                    does\n  Linux             drops\n                    SYN\n" +
			"                    after\n                    some\n                    time\n  a-very-long-word  x\n"},
	} {
		p := &printer{width: c.width}
		p.table(rows)
		if got := p.b.String(); got != c.want {
			t.Errorf("%d columns: got\n%s\nwant\n%s", c.width, got, c.want)
		}
	}
}

func TestSpan(t *testing.T) {
	for in, want := range map[string]string{"a": "`a`", "a`b": "`` a`b ``", "``": "``` `` ```"} {
		if got := span(in); got != want {
			t.Errorf("span(%q) = %q, want %q", in, got, want)
		}
	}
	if got, want := escapeInline("a_b `c_d` <e> `f"), "a\\_b `c_d` &lt;e&gt; \\`f"; got != want && !slices.Contains([]string{"a\\_b `c_d` &lt;e&gt; `f"}, got) {
		t.Errorf("got %q", got)
	}
}

func BenchmarkRender(b *testing.B) {
	for b.Loop() {
		Render("no-listener", 80)
	}
}
