package manual

import (
	"slices"
	"strings"
	"testing"
)

const goodPage = `---
id: x
stage: host
title: it is so
aliases: [a b]
errors: [refused]
look_alikes: [y, "z"]
topics: [t]
sources: ["man 7 tcp", RFC 793]
---
It is
so.

` + "```ladder\n" + `a     b
|---->|
` + "```\n" + `
## How it shows
- curl | no: never
- Go, C | so
  it is

## How to confirm
- linux host: look | ` + "`ss -ltn | wc -l`" + `
  healthy: 0
  or more
  sick: nothing
- macos: look
  longer
  | ` + "`netstat -an`" + `

## How to fix
- windows client: mend: it
  changes: all
  undo: break it | ` + "`break`" + `
- linux: mend | ` + "`true`" + `
  undo: ` + "`false`" + `

## How to verify
- any client: try | ` + "`true`" + `

## How to prevent it
- any: do
`

func TestParse(t *testing.T) {
	c, err := parse(goodPage)
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != "x" || c.Stage != "host" || c.Title != "it is so" || c.Meaning != "It is so." ||
		!slices.Equal(c.LookAlikes, []string{"y", "z"}) || !slices.Equal(c.Sources, []string{"man 7 tcp", "RFC 793"}) {
		t.Errorf("got %+v", c)
	}
	if want := []Item{
		{OS: "linux", Where: "host", Text: "look", Command: "ss -ltn | wc -l", Healthy: "0 or more", Sick: "nothing"},
		{OS: "macos", Text: "look longer", Command: "netstat -an"}}; !slices.Equal(c.Confirm, want) {
		t.Errorf("confirm %+v", c.Confirm)
	}
	if want := []Item{{OS: "windows", Where: "client", Text: "mend: it", Changes: "all", Undo: "break it", UndoCommand: "break"},
		{OS: "linux", Text: "mend", Command: "true", UndoCommand: "false"}}; !slices.Equal(c.Fix, want) {
		t.Errorf("fix %+v", c.Fix)
	}
	if c.Ladder != "a     b\n|---->|" {
		t.Errorf("ladder %q", c.Ladder)
	}
	if want := []Shown{{"curl", "no: never"}, {"Go, C", "so it is"}}; !slices.Equal(c.Shows, want) {
		t.Errorf("shows %+v", c.Shows)
	}
	if len(c.Verify) != 1 || len(c.Prevent) != 1 || !slices.Equal(c.Aliases, []string{"a b"}) || !slices.Equal(c.Errors, []string{"refused"}) || !slices.Equal(c.Topics, []string{"t"}) {
		t.Errorf("got %+v", c)
	}
	if !strings.Contains(c.Markdown, "## How it shows\n- curl | no") || strings.Contains(c.Markdown, "stage:") {
		t.Errorf("markdown %q", c.Markdown)
	}
}

func TestParseErrors(t *testing.T) {
	change := func(old, new string) string {
		if !strings.Contains(goodPage, old) {
			t.Fatalf("no %q to change", old)
		}
		return strings.Replace(goodPage, old, new, 1)
	}
	for _, c := range []struct{ page, want string }{
		{"", "begins with"},
		{"---\nid: x\n", "ends with"},
		{change("id: x\n", ""), "no id"},
		{change("stage: host", "stage"), "no new key"},
		{change("stage: host", "id: y"), "no new key"},
		{change("stage: host", "colour: red"), "unknown key"},
		{change(`[y, "z"]`, "y"), "no list"},
		{change(`[y, "z"]`, "[]"), "empty"},
		{change(`[y, "z"]`, `[y, "z]`), "badly quoted"},
		{change(`[y, "z"]`, `[y, "z, a]`), "badly quoted"},
		{change(`[y, "z"]`, `[y, , z]`), "empty"},
		{change("It is\nso.", ""), "no paragraph"},
		{change("- linux host: look", "- linux host look"), "no colon"},
		{change("- linux host: look", "- beos host: look"), "no system"},
		{change("- linux host: look", "- linux router: look"), "no place"},
		{change("- linux host: look", "* linux host: look"), "neither an item"},
		{change("wc -l`", "wc -l"), "backticks"},
		{change("wc -l`", "wc -l` x"), "backticks"},
		{change("`ss -ltn | wc -l`", "``"), "backticks"},
		{change("look | `", " | `"), "no text"},
		{change("## How to verify", "## Background"), "unknown section"},
		{change("## How to verify", "## How to fix"), "twice or too late"},
		{change("## How to verify", "## How it shows"), "twice or too late"},
		{change("- curl | no", "- curl: no"), "between"},
		{change("- curl | no: never", "- curl | "), "between"},
		{change("```ladder", "```text"), "no ```ladder"},
		{change("|---->|\n```", "|---->|\n"), "the ladder"},
		{change("|---->|\n```", "|---->|\n```\nmore"), "the ladder"},
		{change("  sick: nothing", "  healthy: nothing"), "twice"},
		{change("  sick: nothing", "  sick: "), "empty"},
		{change("`break`", "`break"), "backticks"},
		{change("`false`", "``"), "backticks"},
	} {
		got, err := parse(c.page)
		if err == nil || got != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(goodPage)
	f.Add("---\n\n---\n")
	f.Add("---\nid: \n---\n## How to fix\n-  : ")
	f.Add(everyPart)
	for _, c := range allPages(f) {
		f.Add("---\nid: x\nstage: x\ntitle: x\nlook_alikes: [x]\nsources: [x]\n---\n" + c.Markdown)
	}
	f.Fuzz(func(t *testing.T, page string) {
		c, err := parse(page)
		if err != nil {
			if c != nil {
				t.Fatal("a page and an error")
			}
			return
		}
		if c.Meaning == "" || len(c.LookAlikes) == 0 || len(c.Sources) == 0 || !strings.HasSuffix(page, c.Markdown) {
			t.Fatalf("accepted without its parts: %+v", c)
		}
		for _, it := range c.all() {
			if it.Text == "" || strings.ContainsAny(it.Command+it.UndoCommand, "`\n") || strings.Contains(it.Text+it.Healthy+it.Sick+it.Changes+it.Undo, "\n") {
				t.Fatalf("item %+v", it)
			}
			it.Fill(sample)
		}
	})
}
