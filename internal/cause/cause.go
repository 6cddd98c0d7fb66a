// Package cause is the catalogue of why a TCP connection fails, as data: every
// cause with its stage, its title, and what it predicts for each fact. It is
// pure: no I/O, no clock. It may import the values of layer 0 only.
//
// A prediction lists the answers that a fact may have if the cause is true. A
// key that is not listed may have any answer. A cause that shows in several
// ways has several prediction sets and is contradicted only if every one is.
package cause

import (
	"slices"
	"sync"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// Stage is where on the way to a working session a cause sits.
type Stage string

// The stages, in the order in which a connection passes them.
const (
	StageName     Stage = "name"
	StageLocal    Stage = "local"
	StagePath     Stage = "path"
	StageHost     Stage = "host"
	StageListener Stage = "listener"
	StageSession  Stage = "session"
	// StageNone is the stage of "none" and "undetermined".
	StageNone Stage = "none"
)

// P is one way a cause shows: for each key the answers that it allows.
type P map[evidence.Key][]evidence.Value

// Weight makes a candidate more or less likely when a fact has a value. It
// orders candidates and never rules one out.
type Weight struct {
	Key    evidence.Key
	Value  evidence.Value
	Factor float64
}

// Cause is one entry of the catalogue.
type Cause struct {
	ID    verdict.CauseID
	Stage Stage
	// Title says what is wrong, without article and full stop.
	Title string
	// Refines names the more general cause that this one explains: where
	// nothing listens because the service is down, both are true.
	Refines verdict.CauseID
	// Prior is how often it is met, relative to the others. A judgement.
	Prior float64
	// Ways are the prediction sets.
	Ways []P
	// Weights adjust the order of candidates.
	Weights []Weight
}

// Allowed returns the answers that the cause allows for a key in any of its
// ways, and whether it says anything about the key at all.
func (c *Cause) Allowed(k evidence.Key) (vs []evidence.Value, says bool) {
	for _, w := range c.Ways {
		a, ok := w[k]
		if !ok {
			return nil, false
		}
		for _, v := range a {
			if !slices.Contains(vs, v) {
				vs = append(vs, v)
			}
		}
	}
	return vs, len(c.Ways) > 0
}

// allows says whether one way permits a fact.
func (p P) allows(k evidence.Key, v evidence.Value) bool {
	a, ok := p[k]
	return !ok || slices.Contains(a, v)
}

// Open returns the ways that no fact contradicts. When there are none, the
// facts that contradict them are returned, one for each way, without repeats.
func (c *Cause) Open(facts []evidence.Fact) (open []P, against []evidence.ID) {
	for _, w := range c.Ways {
		i := slices.IndexFunc(facts, func(f evidence.Fact) bool { return !w.allows(f.Key, f.Value) })
		if i < 0 {
			open = append(open, w)
		} else if !slices.Contains(against, facts[i].ID) {
			against = append(against, facts[i].ID)
		}
	}
	if open != nil {
		return open, nil
	}
	return nil, against
}

// Scope says what a cause is about: the name as a whole or one address.
func (c *Cause) Scope() evidence.Scope {
	if c.Stage == StageName {
		return evidence.ScopeName
	}
	return evidence.ScopeAddress
}

var catalogue = sync.OnceValue(func() []Cause {
	all := slices.Concat(nameCauses(), localCauses(), pathCauses(), hostCauses(),
		listenerCauses(), sessionCauses(), []Cause{works()})
	for i := range all {
		for _, w := range all[i].Ways {
			allowCrossed(w)
		}
	}
	return all
})

// allowCrossed makes a way that allows an end before or after our hello allow one
// that crossed it.
func allowCrossed(w P) {
	for _, c := range []struct{ before, after, crossed evidence.Value }{
		{evidence.EndRST, evidence.EndRSTAfter, evidence.EndRSTCrossed},
		{evidence.EndFIN, evidence.EndFINAfter, evidence.EndFINCrossed},
	} {
		if ends := w[evidence.SessionEnd]; slices.Contains(ends, c.before) || slices.Contains(ends, c.after) {
			w[evidence.SessionEnd] = append(slices.Clip(ends), c.crossed)
		}
	}
}

// All returns the catalogue in stage order, "none" last. The result is shared
// and must not be changed.
func All() []Cause { return catalogue() }

// Get returns the entry of an ID.
func Get(id verdict.CauseID) (*Cause, bool) {
	all := All()
	i := slices.IndexFunc(all, func(c Cause) bool { return c.ID == id })
	if i < 0 {
		return nil, false
	}
	return &all[i], true
}

// Title returns the title of an ID, or the ID itself when it is not known.
func Title(id verdict.CauseID) string {
	if id == verdict.Undetermined {
		return "the evidence fits no known cause"
	}
	if c, ok := Get(id); ok {
		return c.Title
	}
	return string(id)
}
