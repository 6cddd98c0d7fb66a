package manual

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// allPages parses every page; a page that does not parse fails the test.
func allPages(t testing.TB) []*Cause {
	t.Helper()
	var all []*Cause
	for _, id := range IDs() {
		text, err := fs.ReadFile(pages, "pages/"+id+".md")
		if err != nil {
			t.Fatal(err)
		}
		c, err := parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		all = append(all, c)
	}
	return all
}

func TestEveryIDHasItsPageAndNoMore(t *testing.T) {
	files, err := fs.Glob(pages, "pages/*")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, id := range IDs() {
		want = append(want, "pages/"+id+".md")
	}
	slices.Sort(want)
	if !slices.Equal(files, want) {
		t.Errorf("pages %v\nIDs   %v", files, want)
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

var (
	source      = regexp.MustCompile(`^(RFC \d+( section \d+(\.\d+)*)?|man \d \S+|Linux Documentation/\S+\.rst)$`)
	placeholder = regexp.MustCompile(`\{\{\.(Host|Addr|Port|Client|Interface|Gateway|Router|Service|Server|Path)\}\}`)
	// A full stop, colon or the like in the middle that begins a new sentence.
	newSentence = regexp.MustCompile(`[.!?] +[A-Z]`)
)

func TestPages(t *testing.T) {
	for _, c := range allPages(t) {
		t.Run(c.ID, func(t *testing.T) {
			got, ok := Page(c.ID)
			if !ok || got.ID != c.ID || got.Markdown != c.Markdown {
				t.Fatalf("Page gives %v, %v", got, ok)
			}
			if !slices.Contains(IDs(), c.ID) {
				t.Error("the front matter names another ID than the file")
			}
			if c.Title == "" || strings.HasSuffix(c.Title, ".") {
				t.Errorf("title %q", c.Title)
			}
			if !strings.HasSuffix(c.Meaning, ".") || newSentence.MatchString(c.Meaning) {
				t.Errorf("the meaning is not one sentence: %q", c.Meaning)
			}
			if len(c.LookAlikes) == 0 || slices.Contains(c.LookAlikes, c.ID) {
				t.Errorf("look-alikes %v", c.LookAlikes)
			}
			for _, id := range c.LookAlikes {
				if !slices.Contains(IDs(), id) {
					t.Errorf("look-alike %q is no cause", id)
				}
			}
			if len(c.Sources) == 0 {
				t.Error("no source")
			}
			for _, s := range c.Sources {
				if !source.MatchString(s) {
					t.Errorf("source %q", s)
				}
			}
			if c.ID != "none" && (len(c.Confirm) == 0 || len(c.Fix) == 0) {
				t.Errorf("%d ways to confirm, %d to fix", len(c.Confirm), len(c.Fix))
			}
			if len(c.Confirm) > 0 && c.Confirm[0].Command == "" {
				t.Error("the check that separates it has no command")
			}
			if n := len(c.Confirm) + len(c.Fix); n > 9 {
				t.Errorf("%d items are too many at night", n)
			}
			for line := range strings.SplitSeq(c.Markdown, "\n") {
				if utf8.RuneCountInString(line) > 100 {
					t.Errorf("longer than 100 columns: %s", line)
				}
			}
			for _, it := range slices.Concat(c.Confirm, c.Fix) {
				checkItem(t, it)
			}
		})
	}
}

func checkItem(t *testing.T, it Item) {
	t.Helper()
	if s := placeholder.ReplaceAllString(it.Text+it.Command, ""); strings.Contains(s, "{{") || strings.Contains(s, "}}") {
		t.Errorf("unknown placeholder: %+v", it)
	}
	// What only the reader knows is a word, never an example to paste by mistake.
	for _, w := range blank.FindAllString(it.Command, -1) {
		if !slices.Contains(blanksKnown, w) {
			t.Errorf("unknown blank %s", w)
		}
	}
	empty, full := it.Fill(Vars{}), it.Fill(sample)
	for _, f := range []Item{empty, full} {
		if s := f.Text + f.Command; strings.Contains(s, "{{") || strings.Contains(s, "<no value>") || strings.Contains(s, "<value>") {
			t.Errorf("badly filled: %+v", f)
		}
		if f.OS != it.OS || f.Where != it.Where {
			t.Errorf("Fill changes more than text: %+v", f)
		}
	}
	// Fill knows single quotes only.
	if strings.Count(it.Command, "'")%2 != 0 || strings.ContainsAny(it.Command, "\"$\\`#") &&
		strings.Contains(it.Command, "{{") && !strings.Contains(it.Command, `\n' `) {
		t.Errorf("placeholder beside shell syntax that Fill does not know: %s", it.Command)
	}
	// Interface and Gateway are the client's: they mean nothing elsewhere.
	if it.Where != "client" {
		for _, p := range []string{"{{.Interface}}", "{{.Gateway}}"} {
			if strings.Contains(it.Command, p) {
				t.Errorf("%s in a command for another machine: %s", p, it.Command)
			}
		}
	}
	// ss wants IPv6 addresses in brackets, IPv4 without.
	if strings.HasPrefix(it.Command, "ss ") && strings.Contains(placeholderOtherThanPort(it.Command), "{{") {
		t.Errorf("an address in a filter of ss: %s", it.Command)
	}
	// nft joins its arguments and reads them anew, so quoting does not help.
	if strings.HasPrefix(it.Command, "nft ") && strings.Contains(placeholderOtherThanPort(it.Command), "{{") {
		t.Errorf("more than a port in a rule: %s", it.Command)
	}
	if i := strings.Index(it.Command, "tcpwhy "); i >= 0 {
		for f := range strings.FieldsSeq(it.Command[i:]) {
			if strings.HasPrefix(f, "-") && !slices.Contains(tcpwhyFlags, f) {
				t.Errorf("tcpwhy has no flag %s", f)
			}
		}
	}
}

var (
	blank       = regexp.MustCompile(`<[^ <>]*>`)
	blanksKnown = strings.Fields("<pid> <handle> <next-hop> <prefix> <device> <other-server> <image> <container> <backend>")
)

var tcpwhyFlags = []string{"--source", "--interface", "-4", "-6", "--connect-timeout", "--count",
	"--write", "--gentle", "--patience", "--idle", "-o", "-v"}

func placeholderOtherThanPort(s string) string { return strings.ReplaceAll(s, "{{.Port}}", "") }

func TestRender(t *testing.T) {
	for _, c := range allPages(t) {
		for _, width := range []int{80, 40, 0} {
			s, ok := Render(c.ID, width)
			if !ok || !strings.HasPrefix(s, c.ID+":") || !strings.HasSuffix(s, "\n") || strings.Contains(s, "{{") || strings.Contains(s, "`") {
				t.Fatalf("Render(%q, %d) = %q, %v", c.ID, width, s, ok)
			}
			for line := range strings.Lines(s) {
				line = strings.TrimSuffix(line, "\n")
				command := strings.HasPrefix(line, "      ")
				oneWord := !strings.Contains(strings.TrimSpace(line), " ")
				if utf8.RuneCountInString(line) > max(width, minWidth) && !command && !oneWord {
					t.Errorf("%s: %d columns in %d: %q", c.ID, len(line), width, line)
				}
				if strings.TrimRight(line, " ") != line {
					t.Errorf("%s: blanks at the end: %q", c.ID, line)
				}
			}
		}
	}
}

func TestRenderNoListener(t *testing.T) {
	got, _ := Render("no-listener", 80)
	const want = `no-listener: nothing listens on the port

The host is up and says that nothing listens on this port.

How to confirm
  on the host: no line for the port
      ss -ltnp 'sport = :<port>'
`
	if !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s", got)
	}
	for _, part := range []string{"\nEasily mistaken for it\n", "  service-down: the service is not running\n", "\nSources\n  RFC 9293 section 3.10.7.1\n  man 7 tcp\n"} {
		if !strings.Contains(got, part) {
			t.Errorf("no %q in\n%s", part, got)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	for b.Loop() {
		Render("no-listener", 80)
	}
}
