// Package diagnose turns evidence into a verdict. It is pure: no I/O, no
// clock, the same evidence always gives the same verdict.
//
//	raw evidence --Observe--> facts --Differential--> candidates --Diagnose--> verdict
//	                                              \--Plan--> the next check
//
// It may import cause and manual of its own layer, and the values of layer 0.
package diagnose

import (
	"cmp"
	"math"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// left is a cause that no fact contradicts, with the ways still open to it.
type left struct {
	cause  *cause.Cause
	ways   []cause.P
	weight float64
}

// Differential is the catalogue of one scope after the facts.
type Differential struct {
	scope evidence.Scope
	facts []evidence.Fact
	left  []left // likeliest first
	ruled []verdict.RuledOut
}

// Differ strikes out of the catalogue what the facts contradict. Facts of
// another scope are ignored.
func Differ(scope evidence.Scope, facts []evidence.Fact) *Differential {
	d := &Differential{scope: scope}
	for _, f := range facts {
		if k, ok := evidence.Lookup(f.Key); ok && k.Scope == scope {
			d.facts = append(d.facts, f)
		}
	}
	all := cause.All()
	for i := range all {
		c := &all[i]
		if c.Scope() != scope {
			continue
		}
		open, against := c.Open(d.facts)
		if open == nil {
			d.ruled = append(d.ruled, verdict.RuledOut{Cause: c.ID, Because: against})
			continue
		}
		d.left = append(d.left, left{c, open, c.Prior * weigh(c, d.facts)})
	}
	// An impossible tie is broken by ID, so that the order never depends on the
	// order of the catalogue or of the evidence.
	slices.SortFunc(d.left, func(a, b left) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.cause.ID, b.cause.ID))
	})
	return d
}

func weigh(c *cause.Cause, facts []evidence.Fact) float64 {
	w := 1.0
	for _, f := range c.Weights {
		if slices.ContainsFunc(facts, func(x evidence.Fact) bool { return x.Key == f.Key && x.Value == f.Value }) {
			w *= f.Factor
		}
	}
	return w
}

// Candidates lists what is left, likeliest first, likelihoods summing to 1.
func (d *Differential) Candidates() []verdict.Candidate {
	sum := 0.0
	for _, l := range d.left {
		sum += l.weight
	}
	cs := make([]verdict.Candidate, 0, len(d.left))
	for _, l := range d.left {
		c := verdict.Candidate{Cause: l.cause.ID, Likelihood: math.Round(l.weight/sum*1000) / 1000}
		if d.has(l.cause.Refines) {
			c.Refines = l.cause.Refines
		}
		cs = append(cs, c)
	}
	return cs
}

func (d *Differential) has(id verdict.CauseID) bool {
	return slices.ContainsFunc(d.left, func(l left) bool { return l.cause.ID == id })
}

// roots counts the candidates that are not mere refinements of another one, and
// returns the likeliest of them, its refinements included.
func (d *Differential) roots() (n int, first *left) {
	top := 0.0
	for i := range d.left {
		l := &d.left[i]
		if d.has(l.cause.Refines) {
			continue
		}
		n++
		sum := l.weight
		for _, o := range d.left {
			if o.cause.Refines == l.cause.ID {
				sum += o.weight
			}
		}
		if sum > top {
			first, top = l, sum
		}
	}
	return n, first
}

// Settled says that nothing is left to find out: at most one cause, or one and
// its refinements.
func (d *Differential) Settled() bool {
	n, _ := d.roots()
	return n <= 1
}

// refined is the one cause left that explains a more general one further, where
// the host said why; else the general one.
func (d *Differential) refined(general *left) *left {
	if !slices.ContainsFunc(d.facts, func(f evidence.Fact) bool { return f.Key == evidence.HostService }) {
		return general
	}
	var one *left
	for i := range d.left {
		if d.left[i].cause.Refines != general.cause.ID {
			continue
		}
		if one != nil {
			return general
		}
		one = &d.left[i]
	}
	return cmp.Or(one, general)
}

// known says whether a fact with the key is there that no check can better. That
// an answer comes from as far away as a closed port's can become "as the
// host's", and that only resets come back, or nothing yet, "the host answers".
func (d *Differential) known(k evidence.Key) bool {
	return slices.ContainsFunc(d.facts, func(f evidence.Fact) bool {
		return f.Key == k && f.Value != evidence.DistanceSame && f.Value != evidence.ResetsOnly && !(k == evidence.HostAnswers && f.Value == evidence.No)
	})
}

// is says whether a fact has the value.
func (d *Differential) is(k evidence.Key, v evidence.Value) bool {
	return slices.ContainsFunc(d.facts, func(f evidence.Fact) bool { return f.Key == k && f.Value == v })
}

// because picks the facts that carry the verdict for a cause, in the order in
// which they were seen: the result of the attempt, then one after the other the
// fact that contradicts most of what the facts before it leave standing. For a
// name they are what the cause predicts: there is little to contradict.
func (d *Differential) because(l *left) []evidence.ID {
	if d.scope == evidence.ScopeName {
		var ids []evidence.ID
		for _, f := range d.facts {
			if slices.ContainsFunc(l.ways, func(p cause.P) bool { _, ok := p[f.Key]; return ok }) {
				ids = append(ids, f.ID)
			}
		}
		return ids
	}
	// The ways of the other causes that the chosen facts leave.
	others := make([]cause.Cause, 0, len(cause.All()))
	for _, c := range cause.All() {
		if c.Scope() == d.scope && c.ID != l.cause.ID {
			c.Prior /= float64(len(c.Ways)) // of one way
			others = append(others, c)
		}
	}
	chosen := make([]bool, len(d.facts))
	choose := func(n int) {
		chosen[n] = true
		for i := range others {
			others[i].Ways, _ = others[i].Open(d.facts[n : n+1])
		}
	}
	if n := slices.IndexFunc(d.facts, func(f evidence.Fact) bool { return f.Key == evidence.Connect }); n >= 0 {
		choose(n)
	}
	const (
		most   = 6
		little = 2.0 // prior mass that a fact must strike to be worth a line
	)
	for range most {
		best, top := -1, little
		for n := range d.facts {
			if chosen[n] || d.facts[n].Value == evidence.NotAsked || d.facts[n].Source == supposition {
				continue // that nobody looked is no reason to give
			}
			mass := 0.0
			for i := range others {
				open, _ := others[i].Open(d.facts[n : n+1])
				mass += others[i].Prior * float64(len(others[i].Ways)-len(open))
			}
			if mass > top {
				best, top = n, mass
			}
		}
		if best < 0 {
			break
		}
		choose(best)
	}
	var ids []evidence.ID
	for n, f := range d.facts {
		if chosen[n] {
			ids = append(ids, f.ID)
		}
	}
	return ids
}
