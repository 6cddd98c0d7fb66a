package report_test

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/report"
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

func page(t testing.TB, list ...*verdict.Diagnosis) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.HTML(&b, list, report.Options{Titles: cause.Title}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// words is the text of a page without markup, with single spaces.
func words(t testing.TB, page string) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "style" {
			b.WriteString(n.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// Every page is whole, has nothing from outside, and is fit for everybody.
func TestPagesAreSound(t *testing.T) {
	var all []*verdict.Diagnosis
	for name, d := range everything(t) {
		all = append(all, d)
		if err := reporttest.CheckPage([]byte(page(t, d)), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := reporttest.CheckPage([]byte(page(t, all...)), nil); err != nil {
		t.Errorf("all in one: %v", err)
	}
}

// A page has all that the text has, and what -v adds.
func TestPageSaysAll(t *testing.T) {
	for name, d := range everything(t) {
		if name == "fixture hostile" {
			continue
		}
		got := words(t, page(t, d))
		first, _, _ := strings.Cut(text(t, d, report.Options{Quiet: true, Unicode: true}), "\n")
		want := []string{first}
		for _, f := range d.Facts {
			want = append(want, f.Text)
		}
		for _, c := range d.Verdict.Candidates {
			if d.Outcome != verdict.Open {
				want = append(want, string(c.Cause))
			}
		}
		for _, r := range d.Verdict.RuledOut {
			if len(d.Addresses) < 2 {
				want = append(want, string(r.Cause))
			}
		}
		for _, s := range d.Verdict.Next {
			want = append(want, s.Check, s.Command)
		}
		for _, f := range d.Verdict.Fix {
			want = append(want, f.Text, f.Command)
		}
		for _, n := range d.NotChecked {
			want = append(want, n.Check, n.Reason, n.How)
		}
		for _, w := range want {
			w = strings.Join(strings.Fields(w), " ")
			if !strings.Contains(got, w) {
				t.Errorf("%s: the page does not say %q", name, w)
			}
		}
	}
}

func TestPageOfSeveral(t *testing.T) {
	got := page(t, refusedNarrowed(), works())
	for _, want := range []string{
		`<h1>2 targets</h1>`, `<a href="#target-1">db.internal:5432</a>`, `<a href="#target-2">bastion.example:22</a>`, `id="target-2"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if strings.Contains(page(t, works()), "1 targets") {
		t.Error("one target has an overview")
	}
}

// No text of a diagnosis becomes markup.
func TestPageEscapes(t *testing.T) {
	const bad = `"><script>alert(1)</script><img src=x onerror=y>'` + "`{{.}}</svg></style>\x1b[2J\u202e"
	d := hostile()
	d.Set.Target.Host, d.Set.Target.Input = bad, bad
	d.Verdict.Finding, d.Facts[0].Text = bad, bad
	d.Facts[0].ID, d.Facts[0].Key, d.Facts[0].Value = bad, bad, bad
	d.Verdict.Certainty = verdict.Narrowed
	d.Verdict.Candidates = []verdict.Candidate{{Cause: bad, Likelihood: 0.6}, {Cause: "x", Likelihood: 0.4}}
	d.Verdict.RuledOut = []verdict.RuledOut{{Cause: bad}}
	d.Verdict.Next = []verdict.Step{{Check: bad, Command: bad, Where: bad}}
	d.Addresses[0].Verdict = d.Verdict
	d.Set.Addresses[0].Packets[0].Flags, d.Set.Addresses[0].Packets[0].Options = bad, bad
	d.Set.Addresses[0].Path.Hops[0].Errno = bad
	d.Set.Addresses[0].Path.Answer, d.Set.Addresses[0].Path.AnswerTTL = bad, 3
	d.NotChecked[0].How = "sudo " + bad
	got := page(t, d)
	if err := reporttest.CheckPage([]byte(got), nil); err != nil {
		t.Error(err)
	}
	if strings.Contains(got, "<script") || strings.Contains(got, "<img") {
		t.Error("text became an element")
	}
	if !strings.Contains(words(t, got), `"><script>alert(1)</script>`) {
		t.Error("the text itself is not there any more")
	}
}

// However much there is, a page can be read.
func TestPageIsBounded(t *testing.T) {
	d := many()
	if n := len(page(t, d)); n > 400_000 {
		t.Errorf("%d bytes for 10,000 of everything", n)
	}
	var list []*verdict.Diagnosis
	for range 1000 {
		list = append(list, works())
	}
	if n := len(page(t, list...)); n > 200*20_000 {
		t.Errorf("%d bytes for 1,000 targets", n)
	}
}

func TestCheckPageRejects(t *testing.T) {
	good := page(t, refusedNarrowed())
	for _, tc := range []struct{ name, old, new string }{
		{"a changed style", "color-scheme: light dark;\n", "color-scheme: light dark;\n\n"},
		{"an asset", "<main", `<img src="https://a.example/x.png"><main`},
		{"a link out", "<main", `<a href="https://a.example/">x</a><main`},
		{"a script", "<main", `<script>x()</script><main`},
		{"an attribute style", "<main", `<p style="color:red">x</p><main`},
		{"an open element", "</main>", ""},
		{"a second h1", "<main", "<h1>x</h1><main"},
		{"a level left out", "</main>", "<h2>a</h2><h4>x</h4></main>"},
		{"a header without scope", ` scope="col"`, ""},
		{"a picture without words", ` aria-label="Path`, ` data-x="Path`},
		{"no language", `<html lang="en">`, "<html>"},
		{"a control character", "</main>", "\u202e</main>"},
	} {
		bad := strings.Replace(good, tc.old, tc.new, 1)
		if bad == good {
			t.Errorf("%s: nothing to replace", tc.name)
		}
		if reporttest.CheckPage([]byte(bad), nil) == nil {
			t.Errorf("%s passes", tc.name)
		}
	}
}

// The classes that the pictures and the template use are those of the style sheet.
func TestStyleHasNoDeadClasses(t *testing.T) {
	var pages strings.Builder
	var list []*verdict.Diagnosis
	for _, d := range everything(t) {
		list = append(list, report.NewRedactor().Redact(d))
	}
	pages.WriteString(page(t, list...) + page(t, works()))
	var b bytes.Buffer
	if err := report.ChangesHTML(&b, report.Compare(list[:1], list[:1]), report.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := report.ChangesHTML(&b, report.Compare([]*verdict.Diagnosis{works()}, []*verdict.Diagnosis{worksTwoAddresses()}), report.Options{}); err != nil {
		t.Fatal(err)
	}
	pages.Write(b.Bytes())
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`class="([^"]*)"`).FindAllStringSubmatch(pages.String(), -1) {
		for c := range strings.FieldsSeq(m[1]) {
			used[c] = true
		}
	}
	sheet, err := os.ReadFile("html/report.css")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\.([a-z]+)[ ,{:.+>\[]`).FindAllStringSubmatch(string(sheet), -1) {
		if !used[m[1]] {
			t.Errorf("nothing has the class %s", m[1])
		}
	}
}

// A gateway is asked for its hardware address: no drawing says that the target
// was.
func TestLadderOfGateway(t *testing.T) {
	d := prohibitedByRouter()
	a := &d.Set.Addresses[0]
	ask := evidence.Packet{At: 4 * ms, Interface: "eth0", Outgoing: true, Kind: "arp", Op: "who-has", About: addr("10.77.1.1"), MAC: "02:00:00:00:00:01"}
	reply := ask
	reply.Outgoing, reply.Op, reply.MAC = false, "is-at", "02:00:00:00:00:02"
	a.Packets = append([]evidence.Packet{ask, reply}, a.Packets...)
	got := text(t, d, report.Options{})
	for _, want := range []string{"-> 10.77.1.1 ", "is-at 10.77.1.1 - 10.77.1.1 "} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if got := page(t, d); !strings.Contains(got, "ARP who-has 10.77.1.1, ends at 10.77.1.1") {
		t.Error("the page does not say where the request ends")
	}
	a.Packets = append(a.Packets[:1], a.Packets[2:]...)
	if got := text(t, d, report.Options{}); !strings.Contains(got, "who-has 10.77.1.1 ---") || !strings.Contains(got, "- ?") {
		t.Errorf("a gateway that is silent:\n%s", got)
	}
}
