package manual

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

const goodTopic = `---
id: x
title: how it is
see: [no-listener]
sources: ["man 7 tcp"]
---
First it
is so.

## Then
- one
  more
- two

` + "```linux\nss -ltn\nss -tn\n```\n\n```text\na\n\nb\n```" + `

| system | time |
| --- | --- |
| Linux | 1 s |
`

func TestParseTopic(t *testing.T) {
	s, err := parseTopic(goodTopic)
	if err != nil {
		t.Fatal(err)
	}
	want := []Block{
		{Kind: Paragraph, Text: "First it is so."},
		{Kind: Heading, Text: "Then"},
		{Kind: Bullet, Text: "one more"},
		{Kind: Bullet, Text: "two"},
		{Kind: Code, Text: "ss -ltn\nss -tn", OS: "linux"},
		{Kind: Code, Text: "a\n\nb"},
		{Kind: Table, Rows: [][]string{{"system", "time"}, {"Linux", "1 s"}}},
	}
	if !reflect.DeepEqual(s.Blocks, want) {
		t.Errorf("got  %+v\nwant %+v", s.Blocks, want)
	}
	p := &printer{width: 40}
	p.topic(s)
	const text = `x: how it is

First it is so.

Then
- one more
- two

    ss -ltn
    ss -tn

    a

    b

  system  time
  Linux   1 s

Read more
  no-listener: nothing listens on the
    port

Sources
  man 7 tcp
`
	if got := p.b.String(); got != text {
		t.Errorf("got\n%s\nwant\n%s", got, text)
	}
}

func TestParseTopicErrors(t *testing.T) {
	change := func(old, new string) string {
		if !strings.Contains(goodTopic, old) {
			t.Fatalf("no %q to change", old)
		}
		return strings.Replace(goodTopic, old, new, 1)
	}
	for _, c := range []struct{ page, want string }{
		{"", "begins with"},
		{change("see: [no-listener]\n", ""), "no see"},
		{change("title: how it is", "colour: red"), "unknown key"},
		{goodTopic[:strings.Index(goodTopic, "First")], "without text"},
		{change("## Then", "# Then"), "two signs"},
		{change("```linux", "```"), "neither text nor a system"},
		{change("```linux", "```sh"), "neither text nor a system"},
		{change("b\n```", "b\n"), "does not end"},
		{change("ss -ltn\nss -tn\n", ""), "empty"},
		{change("| Linux | 1 s |\n", ""), "without rows"},
		{change("| Linux | 1 s |", "| Linux |"), "1 cells below 2"},
		{change("| Linux | 1 s |", "| Linux | 1 s"), "ends with"},
		{change("| --- | --- |", "| a | b |"), "dashes"},
	} {
		got, err := parseTopic(c.page)
		if err == nil || got != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}

func FuzzParseTopic(f *testing.F) {
	f.Add(goodTopic)
	for _, s := range allTopics(f) {
		f.Add("---\nid: x\ntitle: x\nsee: [x]\nsources: [x]\n---\n" + s.Markdown)
	}
	f.Fuzz(func(t *testing.T, page string) {
		s, err := parseTopic(page)
		if err != nil {
			if s != nil {
				t.Fatal("a topic and an error")
			}
			return
		}
		for _, b := range s.Blocks {
			if b.Kind == Table && (len(b.Rows) < 2 || b.Text != "") || b.Kind != Table && b.Text == "" && len(b.Rows) > 0 {
				t.Fatalf("block %+v", b)
			}
			if b.Kind != Code && strings.Contains(b.Text, "\n") {
				t.Fatalf("a line with a newline: %q", b.Text)
			}
		}
		(&printer{width: 40}).topic(s)
		(&marker{}).topic(s)
	})
}

func TestTopics(t *testing.T) {
	known := everyID()
	for _, s := range allTopics(t) {
		t.Run(s.ID, func(t *testing.T) {
			if got, ok := Topic(s.ID); !ok || got.ID != s.ID {
				t.Fatal("the front matter names another ID than the file")
			}
			if s.Title == "" || strings.HasSuffix(s.Title, ".") {
				t.Errorf("title %q", s.Title)
			}
			checkKnown(t, "see", s.See, known)
			checkSources(t, s.Sources)
			for _, b := range s.Blocks {
				if b.Kind != Code {
					continue
				}
				for line := range strings.SplitSeq(b.Text, "\n") {
					if utf8.RuneCountInString(line) > 150 || b.OS == "" && utf8.RuneCountInString(line) > 76 {
						t.Errorf("%d columns: %s", utf8.RuneCountInString(line), line)
					}
					if b.OS != "" {
						checkItem(t, Item{OS: b.OS, Command: line})
					}
				}
			}
			checkLength(t, s.ID)
			text, _ := Render(s.ID, columns)
			for line := range strings.Lines(text) {
				if utf8.RuneCountInString(line) > columns+1 && !strings.HasPrefix(line, "    ") {
					t.Errorf("%d columns: %s", utf8.RuneCountInString(line), line)
				}
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for _, e := range allErrors(t) {
		t.Run(e.ID, func(t *testing.T) {
			if got, ok := Errors(e.ID); !ok || got.ID != e.ID {
				t.Fatal("the front matter names another ID than the file")
			}
			if len(e.Texts) > 16 || e.Title == "" || len(e.Names) == 0 {
				t.Errorf("%d texts, title %q, names %v", len(e.Texts), e.Title, e.Names)
			}
			checkSources(t, e.Sources)
		})
	}
	if e, ok := Errors("../errors/refused"); ok || e != nil {
		t.Error("an ID out of the folder")
	}
}
