package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/report"
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

func TestExitCode(t *testing.T) {
	for _, tc := range []struct {
		d    *verdict.Diagnosis
		want int
	}{
		{works(), 0}, {refusedCertainLocal(), 1}, {refusedNarrowed(), 1}, {twoAddresses(), 1},
		{tlsFailed(), 1}, {nameNotFound(), 1}, {undetermined(), 3}, {interrupted(), 3},
		{&verdict.Diagnosis{}, 3},
	} {
		if got := report.ExitCode(tc.d); got != tc.want {
			t.Errorf("%s %s %s: exit code %d, want %d", tc.d.Set.Target.Input, tc.d.Outcome, tc.d.Verdict.Certainty, got, tc.want)
		}
	}
}

// The first screen of a terminal holds answer, cause, proof and next step.
func TestFirstScreen(t *testing.T) {
	for _, name := range names() {
		d := fixtures[name]()
		if len(d.Addresses) > 1 || name == "hostile" || name == "interrupted" || d.Outcome == verdict.Open {
			continue
		}
		lines := strings.Split(text(t, d, report.Options{Titles: title}), "\n")
		screen := strings.Join(lines[:min(len(lines), 24)], "\n")
		step := "\ndo next "
		if d.Verdict.Certainty == verdict.Certain {
			step = "\nto confirm "
		}
		for _, label := range []string{"\nwhy ", step, d.Verdict.Next[0].Command} {
			if !strings.Contains(screen, label) {
				t.Errorf("%s: %q is not on the first screen:\n%s", name, label, screen)
			}
		}
	}
}

func TestWorksIsShort(t *testing.T) {
	if got := strings.Count(text(t, works(), report.Options{}), "\n"); got < 3 || got > 4 {
		t.Errorf("a connection that works takes %d lines, want 3 or 4", got)
	}
}

func TestQuietIsOneLine(t *testing.T) {
	for name, make := range fixtures {
		d := make()
		got := text(t, d, report.Options{Quiet: true, Width: 40})
		if strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") {
			t.Errorf("%s: %q is not one line", name, got)
		}
	}
}

// What is not certain is never said as if it were.
func TestNarrowedIsNotCertain(t *testing.T) {
	for name, make := range fixtures {
		d := make()
		first, _, _ := strings.Cut(text(t, d, report.Options{Quiet: true}), "\n")
		certain := strings.Contains(first, "(certain)")
		if want := d.Verdict.Certainty == verdict.Certain && d.Outcome != verdict.Open; certain != want {
			t.Errorf("%s: says certain: %t, want %t: %s", name, certain, want, first)
		}
	}
}

func TestCertainWithRefinements(t *testing.T) {
	d := refusedNarrowed()
	d.Verdict.Certainty, d.Verdict.Candidates = verdict.Certain, d.Verdict.Candidates[:3]
	got := text(t, d, report.Options{Titles: title})
	for _, want := range []string{"(certain)", "\ncause        no-listener", "\nbehind it    perhaps service-down 22 %, listens-on-loopback 15 %\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	got = text(t, d, report.Options{Verbose: true})
	for _, want := range []string{"certain  no-listener", "22 %             service-down"} {
		if !strings.Contains(got, want) {
			t.Errorf("-v: %q is missing in\n%s", want, got)
		}
	}
	d.Verdict.Certainty = verdict.Narrowed
	if got := text(t, d, report.Options{Quiet: true}); !strings.Contains(got, "no-listener, though what is behind it is open") {
		t.Errorf("one cause and its refinements: %s", got)
	}
}

// Candidates that refine each other do no harm.
func TestRefinementCycle(t *testing.T) {
	d := refusedNarrowed()
	d.Verdict.Candidates = []verdict.Candidate{
		{Cause: "a", Likelihood: 0.5, Refines: "b"}, {Cause: "b", Likelihood: 0.3, Refines: "a"}, {Cause: "c", Likelihood: 0.2, Refines: "c"},
	}
	if got := text(t, d, report.Options{}); !strings.Contains(got, "one of 3 causes") {
		t.Errorf("cycle: %s", got)
	}
}

type failing struct{}

var errDisk = errors.New("disk full")

func (failing) Write([]byte) (int, error) { return 0, errDisk }

func TestWriteErrors(t *testing.T) {
	if err := report.Text(failing{}, works(), report.Options{}); !errors.Is(err, errDisk) {
		t.Errorf("Text: %v", err)
	}
	if err := report.JSON(failing{}, works()); !errors.Is(err, errDisk) {
		t.Errorf("JSON: %v", err)
	}
}

// A diagnosis with nothing in it is shown, and its JSON has no null.
func TestEmpty(t *testing.T) {
	d := &verdict.Diagnosis{}
	if got := text(t, d, report.Options{Verbose: true, Predicts: predicts}); !strings.Contains(got, "was not decided") {
		t.Errorf("empty: %q", got)
	}
	if line := jsonLine(t, d); bytes.Contains(line, []byte("null")) {
		t.Errorf("null in %s", line)
	}
}

func TestValidateRejects(t *testing.T) {
	good := jsonLine(t, refusedNarrowed())
	for _, tc := range []struct{ name, old, new string }{
		{"unknown outcome", `"outcome":"refused"`, `"outcome":"maybe"`},
		{"unknown certainty", `"certainty":"narrowed"`, `"certainty":"sure"`},
		{"unknown field", `"outcome":"refused"`, `"outcome":"refused","extra":1`},
		{"null array", `"because":["e3","e4"]`, `"because":null`},
		{"other version", `diagnosis/1`, `diagnosis/2`},
		{"two lines", `"target"`, "\n\"target\""},
		{"not UTF-8", `db.internal`, "db\xff"},
	} {
		bad := bytes.Replace(good, []byte(tc.old), []byte(tc.new), 1)
		if bytes.Equal(bad, good) {
			t.Errorf("%s: nothing to replace", tc.name)
		}
		if reporttest.Validate(bad) == nil {
			t.Errorf("%s passes", tc.name)
		}
	}
}

// columns counts the terminal columns of a line without SGR sequences.
func columns(line string) int {
	n := 0
	for _, r := range line {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me):
		case width.LookupRune(r).Kind() == width.EastAsianWide, width.LookupRune(r).Kind() == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

var sgr = strings.NewReplacer("\x1b[0m", "", "\x1b[2m", "", "\x1b[1;31m", "", "\x1b[1;32m", "", "\x1b[1;33m", "")

// checkText checks what holds for every report: no control characters but line
// ends (and SGR in colour), ASCII only when asked for, no line that is too
// wide, no space at the end of a line. commands says that there are commands,
// which may be wide.
func checkText(t *testing.T, got string, o report.Options, commands bool) {
	t.Helper()
	if !utf8.ValidString(got) {
		t.Errorf("not valid UTF-8: %q", got)
	}
	if o.Color {
		got = sgr.Replace(got)
	}
	for line := range strings.Lines(got) {
		line = strings.TrimSuffix(line, "\n")
		for _, r := range line {
			if !unicode.IsPrint(r) || !o.Unicode && r > unicode.MaxASCII {
				t.Fatalf("%q in line %q", r, line)
			}
		}
		if n := columns(line); n > o.Width && !commands {
			t.Errorf("%d columns of %d: %q", n, o.Width, line)
		}
		if strings.HasSuffix(line, " ") {
			t.Errorf("space at the end of %q", line)
		}
	}
	if strings.Contains(got, "\n\n\n") || strings.HasSuffix(got, "\n\n") {
		t.Error("empty lines in a row or at the end")
	}
}

// withoutCommands takes out what may be wider than the page.
func withoutCommands(d *verdict.Diagnosis) {
	clear := func(v *verdict.Verdict) {
		v.Next, v.Fix = slices.Clone(v.Next), slices.Clone(v.Fix)
		for i := range v.Next {
			v.Next[i].Command = ""
		}
		for i := range v.Fix {
			v.Fix[i].Command = ""
		}
	}
	clear(&d.Verdict)
	for i := range d.Addresses {
		clear(&d.Addresses[i].Verdict)
	}
	d.NotChecked = slices.Clone(d.NotChecked)
	for i := range d.NotChecked {
		if strings.HasPrefix(d.NotChecked[i].How, "sudo ") {
			d.NotChecked[i].How = ""
		}
	}
}

func TestEveryLineFits(t *testing.T) {
	for _, name := range names() {
		d := fixtures[name]()
		withoutCommands(d)
		widths := []int{40, 48, 63, 64, 80, 81, 132}
		if name == "many" {
			widths = []int{80}
		}
		for _, w := range widths {
			for flags := range 8 {
				o := report.Options{Width: w, Unicode: flags&1 != 0, Color: flags&2 != 0, Verbose: flags&4 != 0, Titles: title, Predicts: predicts}
				checkText(t, text(t, d, o), o, false)
			}
		}
	}
}

// However much there is, a report can be read.
func TestBounded(t *testing.T) {
	d := many()
	if n := strings.Count(text(t, d, report.Options{}), "\n"); n > 120 {
		t.Errorf("%d lines for 10,000 of everything", n)
	}
	if n := strings.Count(text(t, d, report.Options{Verbose: true, Predicts: predicts}), "\n"); n > 6000 {
		t.Errorf("%d lines with Verbose", n)
	}
}

func FuzzReport(f *testing.F) {
	f.Add("nothing listens on the port", "10.77.3.2", uint8(0), uint8(80))
	f.Add(evil, "rst\x1b[2J", uint8(255), uint8(40))
	f.Add(strings.Repeat("漢", 100), strings.Repeat("\u0301", 90), uint8(3), uint8(50))
	f.Add("a b  c\t\n", "", uint8(7), uint8(0))
	f.Add("\xf0\x9f\x92\xa9 5 ms 5 s", "\U000e0001", uint8(13), uint8(64))
	f.Fuzz(func(t *testing.T, a, b string, flags, wide uint8) {
		d := hostile()
		d.Set.Target.Host = a
		d.Verdict.Finding, d.Verdict.Cause = b, verdict.CauseID(a)
		d.Verdict.Certainty = verdict.Narrowed
		d.Verdict.Candidates = []verdict.Candidate{{Cause: verdict.CauseID(a), Likelihood: 0.6}, {Cause: verdict.CauseID(b), Likelihood: 0.4, Refines: verdict.CauseID(a)}}
		d.Verdict.RuledOut = []verdict.RuledOut{{Cause: verdict.CauseID(b), Because: []evidence.ID{evidence.ID(a)}}}
		d.Addresses[0].Verdict = d.Verdict
		d.Facts[0].Text, d.Facts[0].ID, d.Facts[0].Value = a, evidence.ID(b), evidence.Value(a)
		d.NotChecked = []evidence.NotChecked{{Check: a, Reason: b, How: "- " + a}}
		d.Set.Addresses[0].Packets[0].Flags = a
		if flags&16 != 0 {
			d.Set.Addresses[0].Packets = nil
		}
		line := jsonLine(t, d)
		if !json.Valid(line) || bytes.Count(line, []byte("\n")) != 1 {
			t.Errorf("not one line of JSON: %q", line)
		}
		for _, r := range strings.TrimSuffix(string(line), "\n") {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q in JSON", r)
			}
		}
		withoutCommands(d)
		o := report.Options{
			Width: max(40, int(wide)), Unicode: flags&1 != 0, Color: flags&2 != 0, Verbose: flags&4 != 0,
			Predicts: predicts, Titles: func(verdict.CauseID) string { return b },
		}
		checkText(t, text(t, d, o), o, false)
		o.Quiet = true
		if got := text(t, d, o); strings.Count(got, "\n") != 1 {
			t.Errorf("quiet: %q", got)
		}
	})
}

// A fix for any system is not called one for a system.
func TestFixesNameTheirSystem(t *testing.T) {
	d := refusedNarrowed()
	d.Verdict.Fix = []verdict.Fix{{OS: "linux", Text: "start it"}, {OS: "any", Text: "correct the port"}}
	if got := text(t, d, report.Options{}); strings.Contains(got, "(any)") || strings.Contains(got, "(linux)") {
		t.Errorf("a system is named:\n%s", got)
	}
	d.Verdict.Fix = append(d.Verdict.Fix, verdict.Fix{OS: "windows", Text: "start it there"})
	got := text(t, d, report.Options{})
	for _, want := range []string{"start it (linux)", "correct the port\n", "start it there (windows)"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
