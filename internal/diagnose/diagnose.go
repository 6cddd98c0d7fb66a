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

// roots counts the candidates that are not mere refinements of another one.
func (d *Differential) roots() (n int, first *left) {
	for i := range d.left {
		if d.has(d.left[i].cause.Refines) {
			continue
		}
		if n++; first == nil {
			first = &d.left[i]
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

// known says whether a fact with the key is there.
func (d *Differential) known(k evidence.Key) bool {
	return slices.ContainsFunc(d.facts, func(f evidence.Fact) bool { return f.Key == k })
}

// because picks the facts that carry the verdict for a cause: those it
// predicts, the ones that contradict most of the catalogue first.
func (d *Differential) because(l *left) []evidence.ID {
	type scored struct {
		f    evidence.Fact
		mass float64
	}
	var fs []scored
	all := cause.All()
	for _, f := range d.facts {
		if !slices.ContainsFunc(l.ways, func(p cause.P) bool { _, ok := p[f.Key]; return ok }) {
			continue
		}
		s := scored{f: f}
		for i := range all {
			if c := &all[i]; c.Scope() == d.scope && c != l.cause {
				if open, _ := c.Open([]evidence.Fact{f}); open == nil {
					s.mass += c.Prior
				}
			}
		}
		if s.mass > 0 {
			fs = append(fs, s)
		}
	}
	slices.SortStableFunc(fs, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.mass, a.mass), cmp.Compare(a.f.Key, b.f.Key))
	})
	const most = 5
	if len(fs) > most {
		fs = fs[:most]
	}
	// Shown in the order in which things happened.
	slices.SortFunc(fs, func(a, b scored) int {
		return slices.IndexFunc(d.facts, func(f evidence.Fact) bool { return f.ID == a.f.ID }) -
			slices.IndexFunc(d.facts, func(f evidence.Fact) bool { return f.ID == b.f.ID })
	})
	ids := make([]evidence.ID, len(fs))
	for i, s := range fs {
		ids[i] = s.f.ID
	}
	return ids
}
