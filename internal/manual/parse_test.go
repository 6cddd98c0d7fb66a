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
look_alikes: [y, "z"]
sources: ["man 7 tcp", RFC 793]
---
It is
so.

## How to confirm
- linux host: look | ` + "`ss -ltn | wc -l`" + `
- macos: look
  longer
  | ` + "`netstat -an`" + `

## Background
Free | text, kept.

## How to fix
- windows client: mend: it
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
	if want := []Item{{"linux", "host", "look", "ss -ltn | wc -l"}, {"macos", "", "look longer", "netstat -an"}}; !slices.Equal(c.Confirm, want) {
		t.Errorf("confirm %+v", c.Confirm)
	}
	if want := []Item{{"windows", "client", "mend: it", ""}}; !slices.Equal(c.Fix, want) {
		t.Errorf("fix %+v", c.Fix)
	}
	if !strings.Contains(c.Markdown, "## Background\nFree | text, kept.") || strings.Contains(c.Markdown, "stage:") {
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
		{change("It is\nso.", ""), "no paragraph"},
		{change("- linux host: look", "- linux host look"), "no colon"},
		{change("- linux host: look", "- beos host: look"), "no system"},
		{change("- linux host: look", "- linux router: look"), "no place"},
		{change("- linux host: look", "* linux host: look"), "neither an item"},
		{change("wc -l`", "wc -l"), "backticks"},
		{change("wc -l`", "wc -l` x"), "backticks"},
		{change("`ss -ltn | wc -l`", "``"), "backticks"},
		{change("look | `", " | `"), "no text"},
		{change("## Background", "## How to fix"), "neither an item"},
		{change("## Background\nFree | text, kept.", "## How to fix"), "twice"},
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
		for _, it := range slices.Concat(c.Confirm, c.Fix) {
			if it.Text == "" || strings.ContainsAny(it.Command, "`\n") || strings.Contains(it.Text, "\n") {
				t.Fatalf("item %+v", it)
			}
			it.Fill(sample)
		}
	})
}
