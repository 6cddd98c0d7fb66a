package diagnose

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

var update = flag.Bool("update", false, "write the golden verdicts anew")

// Each folder of testdata/golden holds the raw evidence of a real run in the
// lab (made by `TCPWHY_GOLDEN=… go test ./test -run TestMatrix`) and the
// verdict on it. A change of the reasoning shows here as a diff, without a lab.
func TestGolden(t *testing.T) {
	sets, err := filepath.Glob("testdata/golden/*/evidence.json")
	if err != nil || len(sets) < 40 {
		t.Fatalf("%d golden sets found: %v", len(sets), err)
	}
	for _, file := range sets {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			set := load(t, file)
			d := Diagnose(set)
			checkCitations(t, d)
			got := summary(d)
			want := filepath.Join(dir, "verdict.txt")
			if *update {
				if err := os.WriteFile(want, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			text, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(text), string(got)); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
			if again := summary(Diagnose(load(t, file))); !bytes.Equal(again, got) {
				t.Error("the same evidence gave another verdict the second time")
			}
		})
	}
}

func load(t *testing.T, file string) *evidence.Set {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	set := &evidence.Set{}
	if err := json.Unmarshal(text, set); err != nil {
		t.Fatal(err)
	}
	return set
}

// checkCitations: every sentence of a verdict rests on facts that are there.
func checkCitations(t *testing.T, d *verdict.Diagnosis) {
	t.Helper()
	facts := map[evidence.ID]bool{}
	for _, f := range d.Facts {
		facts[f.ID] = true
	}
	check := func(v *verdict.Verdict) {
		if len(v.Because) == 0 {
			t.Errorf("%q cites no evidence", v.Finding)
		}
		for _, r := range v.RuledOut {
			for _, id := range r.Because {
				if !facts[id] {
					t.Errorf("%s is ruled out by %s, which is no fact", r.Cause, id)
				}
			}
		}
		for _, id := range v.Because {
			if !facts[id] {
				t.Errorf("%q cites %s, which is no fact", v.Finding, id)
			}
		}
	}
	check(&d.Verdict)
	for i := range d.Addresses {
		check(&d.Addresses[i].Verdict)
	}
}

// summary is what of a verdict a person would compare.
func summary(d *verdict.Diagnosis) []byte {
	var b bytes.Buffer
	text := map[evidence.ID]string{}
	for _, f := range d.Facts {
		text[f.ID] = fmt.Sprintf("%s = %s", f.Key, f.Value)
	}
	fmt.Fprintf(&b, "%s: %s %s\n%s\n", d.Outcome, d.Verdict.Certainty, d.Verdict.Cause, d.Verdict.Finding)
	for _, c := range d.Verdict.Candidates {
		fmt.Fprintf(&b, "  %.3f %s", c.Likelihood, c.Cause)
		if c.Refines != "" {
			fmt.Fprintf(&b, " (refines %s)", c.Refines)
		}
		fmt.Fprintln(&b)
	}
	for _, id := range d.Verdict.Because {
		fmt.Fprintln(&b, "because", text[id])
	}
	for _, s := range d.Verdict.Next {
		fmt.Fprintf(&b, "next %s | %s %v\n", s.Check, s.Command, s.Separates)
	}
	for _, a := range d.Addresses {
		fmt.Fprintf(&b, "%v %s: %s %s\n", a.Addr, a.Outcome, a.Verdict.Certainty, a.Verdict.Cause)
	}
	return b.Bytes()
}
