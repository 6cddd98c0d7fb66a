package manual_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/tcpwhy/tcpwhy/internal/manual"
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
)

func site(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := manual.Site()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Every page of the site is whole, has nothing from outside, and leads only to
// pages that are there.
func TestSiteIsSound(t *testing.T) {
	files := site(t)
	inside := func(href string) bool {
		name, id, _ := strings.Cut(href, "#")
		return files[name] != nil && (id == "" || bytes.Contains(files[name], []byte(` id="`+id+`"`)))
	}
	for name, text := range files {
		if err := reporttest.CheckPage(text, inside); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The index leads to every page there is.
func TestSiteIsComplete(t *testing.T) {
	files := site(t)
	all := slices.Concat(manual.IDs(), manual.Topics())
	known := 0
	for _, id := range all {
		_, cause := manual.Page(id)
		if _, topic := manual.Topic(id); !cause && !topic {
			continue // other tests say that a page is missing
		}
		known++
		if files[id+".html"] == nil || !bytes.Contains(files["index.html"], []byte(`<a href="`+id+`.html">`)) {
			t.Errorf("no page of %s, or no way to it", id)
		}
	}
	if len(files) != known+1 {
		t.Errorf("%d files for %d pages and the index", len(files), known)
	}
}

// A page has all that its source has.
func TestSiteSaysAll(t *testing.T) {
	files := site(t)
	for _, id := range manual.IDs() {
		c, ok := manual.Page(id)
		if !ok {
			continue
		}
		got := pageWords(t, files[id+".html"])
		want := []string{c.Title, c.Ladder}
		for _, s := range c.Texts() {
			want = append(want, s.Program, s.Fill(manual.Vars{}).Text)
		}
		for _, items := range [][]manual.Item{c.Confirm, c.Fix, c.Verify, c.Prevent} {
			for _, it := range items {
				it = it.Fill(manual.Vars{})
				want = append(want, it.Text, it.Command, it.Healthy, it.Sick, it.Changes, it.Undo, it.UndoCommand)
			}
		}
		want = append(append(want, c.LookAlikes...), c.Sources...)
		for _, w := range want {
			w = strings.Join(strings.Fields(strings.ReplaceAll(w, "`", "")), " ")
			if !strings.Contains(got, w) {
				t.Errorf("%s does not say %q", id, w)
			}
		}
	}
	for _, id := range manual.Topics() {
		s, ok := manual.Topic(id)
		if !ok {
			continue
		}
		got := pageWords(t, files[id+".html"])
		for _, b := range s.Blocks {
			for _, w := range append(slices.Concat(b.Rows...), b.Text) {
				if strings.Contains(w, "{{") {
					continue
				}
				w = strings.Join(strings.Fields(strings.ReplaceAll(w, "`", "")), " ")
				if b.Kind == manual.Code {
					w = strings.Join(strings.Fields(b.Text), " ")
				}
				if !strings.Contains(got, w) {
					t.Errorf("%s does not say %q", id, w)
				}
			}
		}
	}
}

// pageWords is the text of a page without markup, with single spaces.
func pageWords(t *testing.T, page []byte) string {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func TestWriteSite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	n, err := manual.WriteSite(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != n || n < 50 {
		t.Fatalf("%d entries, said %d: %v", len(entries), n, err)
	}
	// Its own earlier copy gives way, with every file as it should be again.
	page := filepath.Join(dir, "no-listener.html")
	if err := os.WriteFile(filepath.Join(dir, "cause-of-old.html"), site(t)["none.html"], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(page, append([]byte("old "), site(t)["no-listener.html"]...), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := manual.WriteSite(dir, false); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if got, _ := os.ReadFile(page); !bytes.Equal(got, site(t)["no-listener.html"]) {
		t.Error("the page of the earlier copy is still there")
	}
}

// What is not of the site is never touched without force, and with force
// nothing but the site's own names is.
func TestWriteSiteKeepsOthers(t *testing.T) {
	put := func(dir, name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, tc := range []struct{ name, file string }{
		{"another file", "notes.txt"}, {"a hidden file", ".git/config"}, {"somebody's index", "index.html"}, {"a folder of that name", "no-listener.html/x"},
	} {
		dir := t.TempDir()
		file := put(dir, tc.file, "mine")
		var taken *manual.TakenError
		if _, err := manual.WriteSite(dir, false); !errors.As(err, &taken) || !strings.Contains(err.Error(), strings.Split(tc.file, "/")[0]) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if got, _ := os.ReadFile(file); string(got) != "mine" {
			t.Errorf("%s was touched", tc.name)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Errorf("%s: %d files were written", tc.name, len(entries)-1)
		}
		_, err := manual.WriteSite(dir, true)
		if wrong := tc.name == "a folder of that name"; (err != nil) != wrong {
			t.Errorf("%s, with force: %v", tc.name, err)
		}
		if got, _ := os.ReadFile(file); string(got) != "mine" && tc.file != "index.html" {
			t.Errorf("%s was touched with force", tc.name)
		}
	}
	// A link that leads out is not followed.
	dir, outside := t.TempDir(), put(t.TempDir(), "precious", "mine")
	if err := os.Symlink(outside, filepath.Join(dir, "index.html")); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	for _, force := range []bool{false, true} {
		if _, err := manual.WriteSite(dir, force); err == nil {
			t.Errorf("force %t: wrote through a link", force)
		}
	}
	if got, _ := os.ReadFile(outside); string(got) != "mine" {
		t.Error("wrote out of the folder")
	}
	if _, err := manual.WriteSite(outside, true); err == nil {
		t.Error("wrote into a file")
	}
}
