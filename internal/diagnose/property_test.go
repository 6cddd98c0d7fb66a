package diagnose

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

const rounds = 300

// predicted draws facts that one way of a cause allows, each key with
// probability p.
func predicted(rng *rand.Rand, c *cause.Cause, w cause.P, p float64) []evidence.Fact {
	var facts []evidence.Fact
	for _, info := range evidence.Keys() {
		if info.Scope != c.Scope() || rng.Float64() > p {
			continue
		}
		vs, ok := w[info.Key]
		if !ok {
			vs = info.Values
		}
		facts = append(facts, evidence.Fact{ID: evidence.ID(fmt.Sprintf("e%d", len(facts)+1)), Key: info.Key, Value: vs[rng.IntN(len(vs))]})
	}
	return facts
}

// each calls f with random evidence that a random cause predicts.
func each(t *testing.T, f func(rng *rand.Rand, c *cause.Cause, facts []evidence.Fact)) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	all := cause.All()
	for i := range all {
		for _, w := range all[i].Ways {
			for range rounds / 10 {
				f(rng, &all[i], predicted(rng, &all[i], w, rng.Float64()))
			}
		}
	}
}

func TestNoPredictedEvidenceRulesItsCauseOut(t *testing.T) {
	each(t, func(_ *rand.Rand, c *cause.Cause, facts []evidence.Fact) {
		if d := Differ(c.Scope(), facts); !d.has(c.ID) {
			t.Fatalf("%s is ruled out by evidence that it predicts: %v", c.ID, facts)
		}
	})
}

func TestOrderOfEvidenceDoesNotMatter(t *testing.T) {
	each(t, func(rng *rand.Rand, c *cause.Cause, facts []evidence.Fact) {
		want := Differ(c.Scope(), facts).Candidates()
		shuffled := slices.Clone(facts)
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if got := Differ(c.Scope(), shuffled).Candidates(); !slices.Equal(got, want) {
			t.Fatalf("%v in another order gives %v, not %v", facts, got, want)
		}
	})
}

func TestLessEvidenceIsNeverMoreCertain(t *testing.T) {
	each(t, func(rng *rand.Rand, c *cause.Cause, facts []evidence.Fact) {
		if len(facts) == 0 {
			return
		}
		all := Differ(c.Scope(), facts)
		i := rng.IntN(len(facts))
		fewer := Differ(c.Scope(), slices.Delete(slices.Clone(facts), i, i+1))
		for _, l := range all.left {
			if !fewer.has(l.cause.ID) {
				t.Fatalf("without %v, %s is ruled out", facts[i], l.cause.ID)
			}
		}
		if fewer.Settled() && !all.Settled() {
			t.Fatalf("without %v the verdict is settled, with it it is not", facts[i])
		}
	})
}

// Whatever is ruled out is ruled out by facts that do contradict it.
func TestRuledOutCitesContradictions(t *testing.T) {
	each(t, func(_ *rand.Rand, c *cause.Cause, facts []evidence.Fact) {
		for _, r := range Differ(c.Scope(), facts).ruled {
			if len(r.Because) == 0 {
				t.Fatalf("%s is ruled out without a reason", r.Cause)
			}
			var cited []evidence.Fact
			for _, id := range r.Because {
				i := slices.IndexFunc(facts, func(f evidence.Fact) bool { return f.ID == id })
				if i < 0 {
					t.Fatalf("%s is ruled out by %s, which is no fact", r.Cause, id)
				}
				cited = append(cited, facts[i])
			}
			x, _ := cause.Get(r.Cause)
			if open, _ := x.Open(cited); open != nil {
				t.Fatalf("%s is ruled out by %v, which do not contradict it", r.Cause, cited)
			}
		}
	})
}

// With all evidence, the host's included, each cause can come out alone: no
// two entries of the catalogue predict the same.
func TestEveryCauseCanComeOutAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	all := cause.All()
	for i := range all {
		c := &all[i]
		alone := false
		for range 4000 {
			facts := predicted(rng, c, c.Ways[rng.IntN(len(c.Ways))], 1)
			d := Differ(c.Scope(), facts)
			if d.has(c.ID) && (len(d.left) == 1 || c.Refines != "" && len(d.left) == 2 && d.has(c.Refines)) {
				alone = true
				break
			}
		}
		if !alone {
			t.Errorf("no evidence tells %s from the rest of the catalogue", c.ID)
		}
	}
}

func TestPlanMakesNoCheckThatCannotSplit(t *testing.T) {
	each(t, func(_ *rand.Rand, c *cause.Cause, facts []evidence.Fact) {
		d := Differ(c.Scope(), facts)
		cost := 0
		for _, check := range d.Plan(nil, true, 8) {
			cost += check.Packets
			if d.gain(&check) <= 0 && !slices.ContainsFunc(check.Grounds, d.has) {
				t.Fatalf("%s is planned although it splits nothing of %v", check.ID, d.Candidates())
			}
		}
		if cost > 8 {
			t.Fatalf("the plan costs %d packets", cost)
		}
		if d.Settled() && slices.ContainsFunc(d.Plan(nil, true, 8), func(c Check) bool { return !slices.ContainsFunc(c.Grounds, d.has) }) {
			t.Fatal("a settled case still plans checks")
		}
	})
}

func TestNothingContradictsNothing(t *testing.T) {
	d := Differ(evidence.ScopeAddress, nil)
	if len(d.ruled) != 0 {
		t.Errorf("without facts %v are ruled out", d.ruled)
	}
	v := Diagnose(&evidence.Set{})
	if v.Verdict.Certainty != verdict.Unknown {
		t.Errorf("without evidence the verdict is %s %s", v.Verdict.Certainty, v.Verdict.Cause)
	}
}
