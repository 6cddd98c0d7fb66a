package manual

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
)

// all parses every file of a folder of pages; one that does not parse fails the
// test.
func all[T any](t testing.TB, folder string, ids []string, parse func(string) (*T, error)) []*T {
	t.Helper()
	var all []*T
	for _, id := range ids {
		text, err := fs.ReadFile(pages, path.Join("pages", folder, id+".md"))
		if err != nil {
			t.Error(err)
			continue
		}
		c, err := parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		all = append(all, c)
	}
	return all
}

func allPages(t testing.TB) []*Cause       { return all(t, "", IDs(), parse) }
func allTopics(t testing.TB) []*Subject    { return all(t, "topics", Topics(), parseTopic) }
func allErrors(t testing.TB) []*ErrorTexts { return all(t, "errors", ErrorIDs(), parseErrors) }

func TestEveryIDHasItsPageAndNoMore(t *testing.T) {
	for folder, ids := range map[string][]string{"": IDs(), "topics": Topics(), "errors": ErrorIDs()} {
		files, err := fs.Glob(pages, path.Join("pages", folder, "*.*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			name := path.Join("pages", folder, id+".md")
			if i := slices.Index(files, name); i < 0 {
				t.Errorf("no file %s", name)
			} else {
				files = slices.Delete(files, i, i+1)
			}
		}
		if len(files) > 0 {
			t.Errorf("files without an ID: %v", files)
		}
	}
}

func TestIDsAreInStageOrder(t *testing.T) {
	stages := []string{"name", "local", "path", "host", "listener", "session", "none"}
	at := 0
	for _, c := range allPages(t) {
		i := slices.Index(stages, c.Stage)
		if i < at {
			t.Errorf("%s: stage %q is unknown or out of order", c.ID, c.Stage)
		}
		at = max(at, i)
	}
	if got := IDs()[len(IDs())-2:]; !slices.Equal(got, []string{"none", "undetermined"}) {
		t.Errorf("the list ends with %v", got)
	}
}

func TestIDsAreTheCallersOwn(t *testing.T) {
	IDs()[0] = "changed"
	if IDs()[0] == "changed" {
		t.Error("a caller can change the list")
	}
}

func TestPageUnknown(t *testing.T) {
	for _, id := range []string{"", "no-such-cause", "../pages/none", "none.md", "No-Listener", "none\x00"} {
		if c, ok := Page(id); ok || c != nil {
			t.Errorf("Page(%q) = %v, %v", id, c, ok)
		}
		if s, ok := Render(id, 80); ok || s != "" {
			t.Errorf("Render(%q) = %q, %v", id, s, ok)
		}
	}
}

// Every word leads to one page at most.
func TestNamesAreUnique(t *testing.T) {
	owner := make(map[string]string)
	take := func(id string, names []string) {
		for _, n := range names {
			if n != strings.Join(strings.Fields(n), " ") {
				t.Errorf("%s: alias %q", id, n)
			}
			n = strings.ToLower(n)
			if other, taken := owner[n]; taken {
				t.Errorf("%q is a name of %s and of %s", n, other, id)
			}
			owner[n] = id
		}
	}
	for _, c := range allPages(t) {
		take(c.ID, append([]string{c.ID}, c.Aliases...))
	}
	for _, s := range allTopics(t) {
		take(s.ID, append([]string{s.ID}, s.Aliases...))
	}
	for n, id := range owner {
		if got, ok := Lookup(" " + strings.ToUpper(n) + "  "); !ok || got != id {
			t.Errorf("Lookup(%q) = %q, %v, want %q", n, got, ok, id)
		}
	}
	for _, n := range []string{"", "no such words", "../no-listener", "\x00"} {
		if id, ok := Lookup(n); ok {
			t.Errorf("Lookup(%q) = %q", n, id)
		}
	}
}
