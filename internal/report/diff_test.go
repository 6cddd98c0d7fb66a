package report_test

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/report"
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

func compareText(t testing.TB, before, after []*verdict.Diagnosis, o report.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.ChangesText(&b, report.Compare(before, after), o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func one(d *verdict.Diagnosis) []*verdict.Diagnosis { return []*verdict.Diagnosis{d} }

// whats lists what changed at the only target.
func whats(t testing.TB, before, after *verdict.Diagnosis) string {
	t.Helper()
	list := report.Compare(one(before), one(after))
	if len(list) != 1 || list[0].Before == nil || list[0].After == nil {
		t.Fatalf("%d targets", len(list))
	}
	var out []string
	for _, c := range list[0].Items {
		out = append(out, c.What)
	}
	return strings.Join(out, "; ")
}

// Of a name that leads elsewhere, the new address is compared with the old one,
// not each of them with nothing.
func TestCompareMovedAddress(t *testing.T) {
	a, b := refusedNarrowed(), refusedNarrowed()
	for _, at := range []*netip.AddrPort{&b.Set.Addresses[0].Addr, &b.Addresses[0].Addr} {
		*at = netip.AddrPortFrom(addr("10.77.3.9"), at.Port())
	}
	for i := range b.Facts {
		if b.Facts[i].Addr.IsValid() {
			b.Facts[i].Addr = b.Addresses[0].Addr
		}
	}
	if got, want := whats(t, a, b), "address 10.77.3.2; address 10.77.3.9"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A run that is as the one before has no changes, though its numbers differ.
func TestCompareSame(t *testing.T) {
	for name, d := range everything(t) {
		if got := whats(t, d, d); got != "" {
			t.Errorf("%s changed by itself: %s", name, got)
		}
	}
	a, b := refusedNarrowed(), refusedNarrowed()
	b.Set.Started = b.Set.Started.Add(time.Hour)
	b.Set.Addresses[0].Attempts[0].Took *= 3 // 0.3 ms and 0.9 ms are the same
	b.Facts[1].Text = "connect() failed after 0.9 ms"
	b.Verdict.Candidates[1], b.Verdict.Candidates[2] = b.Verdict.Candidates[2], b.Verdict.Candidates[1]
	a.Set.Elapsed, b.Set.Elapsed = 10*time.Second, 14*time.Second // not twice as long
	if got := whats(t, a, b); got != "" {
		t.Errorf("nothing changed but: %s", got)
	}
	if got := compareText(t, one(a), one(b), report.Options{}); !strings.Contains(got, "nothing changed") {
		t.Errorf("%q", got)
	}
}

func TestCompare(t *testing.T) {
	change := func(f func(d *verdict.Diagnosis)) *verdict.Diagnosis {
		d := refusedNarrowed()
		f(d)
		return d
	}
	for _, tc := range []struct {
		want string
		d    *verdict.Diagnosis
	}{
		{"outcome; cause; causes left; finding; what did connect() say?; what answered the SYN?; does the host answer anything?; how far do SYNs to the port get?;" +
			" what does resolving the name give?; how far away is who answered, compared with the host?; path to 10.77.3.2; time of connect() to 10.77.3.2; time of the whole run", timeoutNarrowed()},
		{"cause; finding", change(func(d *verdict.Diagnosis) {
			d.Verdict.Where, d.Verdict.Finding = addr("10.77.3.9"), "it is elsewhere"
		})},
		{"causes left", change(func(d *verdict.Diagnosis) { d.Verdict.Candidates = d.Verdict.Candidates[:3] })},
		{"cause; causes left", change(func(d *verdict.Diagnosis) { d.Verdict.Certainty = verdict.Certain })},
		{"what answered the SYN?", change(func(d *verdict.Diagnosis) { d.Facts[2].Value = evidence.AnswerICMP })},
		{"how far away is who answered, compared with the host?", change(func(d *verdict.Diagnosis) { d.Facts = d.Facts[:3] })},
		{"path to 10.77.3.2", change(func(d *verdict.Diagnosis) { d.Set.Addresses[0].Path.Hops[1].Addr = addr("10.77.9.9") })},
		{"time of connect() to 10.77.3.2", change(func(d *verdict.Diagnosis) { d.Set.Addresses[0].Attempts[0].Took = 200 * ms })},
		{"time of the whole run", change(func(d *verdict.Diagnosis) { d.Set.Elapsed = 5 * time.Second })},
		{"not checked", change(func(d *verdict.Diagnosis) { d.NotChecked = d.NotChecked[:1] })},
	} {
		got := whats(t, refusedNarrowed(), tc.d)
		if tc.d.Set.Addresses[0].Path.AnswerTTL == 0 { // the order of facts is that of the runs
			if strings.Count(got, ";") < 10 || !strings.HasPrefix(got, "outcome; cause; causes left; finding; ") {
				t.Errorf("changed: %s", got)
			}
			continue
		}
		if got != tc.want {
			t.Errorf("changed: %s\nwant:    %s", got, tc.want)
		}
	}
}

func TestCompareAddresses(t *testing.T) {
	if got, want := whats(t, works(), worksTwoAddresses()), "address fd77:3::2"; got != want {
		t.Errorf("changed: %s, want %s", got, want)
	}
	a := threeAlike()
	b := threeAlike()
	b.Addresses[1].Outcome = verdict.Open
	if got, want := whats(t, a, b), "address 10.77.3.3"; got != want {
		t.Errorf("changed: %s, want %s", got, want)
	}
}

// Targets are matched whatever their order, those without a partner are named,
// and one that comes twice is matched in order.
func TestCompareTargets(t *testing.T) {
	before := []*verdict.Diagnosis{refusedNarrowed(), works(), refusedNarrowed()}
	after := []*verdict.Diagnosis{tlsFailed(), timeoutNarrowed(), refusedNarrowed()}
	got := compareText(t, before, after, report.Options{Quiet: true})
	want := `db.internal:5432 times out; before it was refused
bastion.example:22 is in the first run only
db.internal:5432 is refused, as before: nothing changed
www.example:443 is in the second run only: works only in part
`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func changesJSON(t testing.TB, list []report.TargetChange) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.ChangesJSON(&b, list); err != nil {
		t.Fatal(err)
	}
	if err := reporttest.ValidateDiff(b.Bytes()); err != nil {
		t.Error(err)
	}
	return b.String()
}

// A line a target, each with what happened to it.
func TestChangesJSON(t *testing.T) {
	before := []*verdict.Diagnosis{refusedNarrowed(), works(), tlsFailed()}
	after := []*verdict.Diagnosis{timeoutNarrowed(), tlsFailed(), nameNotFound()}
	list := report.Compare(before, after)
	got := strings.Split(changesJSON(t, list), "\n")
	for i, want := range []string{
		`{"schema":"tcpwhy.diff/1","target":{"input":"db.internal:5432","host":"db.internal","port":5432},"status":"changed","before":{"started":"`,
		`"status":"only-before","before":{`,
		`"status":"same","before":{`,
		`"status":"only-after","after":{`,
	} {
		if !strings.Contains(got[i], want) {
			t.Errorf("line %d has no %s:\n%s", i+1, want, got[i])
		}
	}
	for _, want := range []string{
		`{"kind":"outcome","what":"outcome","before":"refused","after":"`,
		`{"kind":"fact","addr":"10.77.3.2","fact":"connect.result","what":"what did connect() say?","before":"`,
		`{"kind":"path","addr":"10.77.3.2","what":"path to 10.77.3.2",`,
		`{"kind":"time","addr":"10.77.3.2","what":"time of connect() to 10.77.3.2",`,
	} {
		if !strings.Contains(got[0], want) {
			t.Errorf("no %s in %s", want, got[0])
		}
	}
	r := report.NewRedactor()
	redacted := changesJSON(t, report.Compare(one(r.Redact(refusedNarrowed())), one(r.Redact(timeoutNarrowed()))))
	if !strings.Contains(redacted, `"redacted":true`) || strings.Contains(redacted, "10.77.") {
		t.Errorf("%s", redacted)
	}
	if got := changesJSON(t, report.Compare(nil, one(hostile()))); strings.ContainsAny(got, "\x1b\u202e") {
		t.Errorf("not escaped: %q", got)
	}
}

func TestGoldenChanges(t *testing.T) {
	before, after := one(refusedNarrowed()), one(timeoutNarrowed())
	golden(t, filepath.Join("testdata", "changes.txt"), []byte(compareText(t, before, after, report.Options{})))
	var b bytes.Buffer
	if err := report.ChangesMarkdown(&b, report.Compare(before, after), report.Options{}); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("testdata", "changes.md"), b.Bytes())
}

// Comparisons of everything with everything are sound in every form.
func TestChangesAreSound(t *testing.T) {
	all := everything(t)
	var list []*verdict.Diagnosis
	for _, d := range all {
		list = append(list, d)
	}
	for name, d := range all {
		for _, e := range list[:8] {
			e.Set.Target = d.Set.Target
			changes := report.Compare(one(d), one(e))
			o := report.Options{Width: 60}
			checkText(t, compareText(t, one(d), one(e), o), o, false)
			var page, md bytes.Buffer
			if err := report.ChangesHTML(&page, changes, o); err != nil {
				t.Fatal(err)
			}
			if err := reporttest.CheckPage(page.Bytes(), nil); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := report.ChangesMarkdown(&md, changes, o); err != nil {
				t.Fatal(err)
			}
			outsideCode(t, md.String())
			changesJSON(t, changes)
		}
	}
	if got := compareText(t, one(report.NewRedactor().Redact(works())), one(works()), report.Options{}); !strings.HasPrefix(got, "redacted: ") {
		t.Errorf("does not say that it is redacted: %q", got)
	}
}
