package report

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// TargetChange is what changed at one target from a run to a later one.
type TargetChange struct {
	// Before and After are the runs; nil where the target is in one of them only.
	Before, After *verdict.Diagnosis
	Items         []Change
}

// Change is one thing that differs, said in words on both sides.
type Change struct {
	Kind          ChangeKind
	Addr          netip.Addr   // whose it is; none of the whole run
	Key           evidence.Key // of ChangedFact
	What          string       // in words: "cause", "10.0.0.7: what did connect() say?"
	Before, After string
}

// ChangeKind says what sort of thing differs.
type ChangeKind string

// The kinds. ChangedTime is of a duration, ChangedNotChecked of what was left
// out.
const (
	ChangedOutcome    ChangeKind = "outcome"
	ChangedCause      ChangeKind = "cause"
	ChangedCandidates ChangeKind = "candidates"
	ChangedFinding    ChangeKind = "finding"
	ChangedAddress    ChangeKind = "address"
	ChangedFact       ChangeKind = "fact"
	ChangedPath       ChangeKind = "path"
	ChangedTime       ChangeKind = "time"
	ChangedNotChecked ChangeKind = "not-checked"
)

// Compare matches two runs by their targets, in the order of the first, and
// says what changed. A target that a run has several times is matched in order.
func Compare(before, after []*verdict.Diagnosis) []TargetChange {
	later := map[string][]*verdict.Diagnosis{}
	for _, d := range after {
		key := targetKey(d)
		later[key] = append(later[key], d)
	}
	var out []TargetChange
	for _, d := range before {
		c := TargetChange{Before: d}
		if key := targetKey(d); len(later[key]) > 0 {
			c.After, later[key] = later[key][0], later[key][1:]
			c.Items = changes(d, c.After)
		}
		out = append(out, c)
	}
	for _, d := range after {
		if key := targetKey(d); len(later[key]) > 0 && later[key][0] == d {
			later[key] = later[key][1:]
			out = append(out, TargetChange{After: d})
		}
	}
	return out
}

func targetKey(d *verdict.Diagnosis) string { return strings.ToLower(target(d.Set.Target)) }

// changeList gathers changes; equal sides are none.
type changeList []Change

func (l *changeList) add(c Change) {
	if c.Before != c.After {
		*l = append(*l, c)
	}
}

func changes(a, b *verdict.Diagnosis) []Change {
	var l changeList
	l.add(Change{Kind: ChangedOutcome, What: "outcome", Before: outcomeWord(a.Outcome), After: outcomeWord(b.Outcome)})
	l.verdict(&a.Verdict, &b.Verdict)
	l.addresses(a, b)
	l.facts(a, b)
	for i := range b.Set.Addresses {
		e := &b.Set.Addresses[i]
		k := slices.IndexFunc(a.Set.Addresses, func(o evidence.Address) bool { return o.Addr == e.Addr })
		if k >= 0 {
			l.paths(&a.Set.Addresses[k], e)
			l.times(&a.Set.Addresses[k], e)
		}
	}
	l.took(Change{What: "time of the whole run"}, a.Set.Elapsed, b.Set.Elapsed, time.Second)
	l.notChecked(a.NotChecked, b.NotChecked)
	return l
}

// verdict compares two verdicts about the same.
func (l *changeList) verdict(a, b *verdict.Verdict) {
	say := func(v *verdict.Verdict) string {
		s := string(v.Cause) + " (" + string(v.Certainty) + ")"
		if v.Where.IsValid() {
			s += " at " + v.Where.String()
		}
		return s
	}
	left := func(v *verdict.Verdict) string {
		if v.Certainty != verdict.Narrowed {
			return "no other"
		}
		var ids []string
		for _, c := range v.Candidates[:min(len(v.Candidates), mostRows)] {
			ids = append(ids, string(c.Cause))
		}
		slices.Sort(ids) // the order is a matter of likelihood
		return strings.Join(ids, ", ")
	}
	n := len(*l)
	l.add(Change{Kind: ChangedCause, What: "cause", Before: say(a), After: say(b)})
	l.add(Change{Kind: ChangedCandidates, What: "causes left", Before: left(a), After: left(b)})
	if len(*l) > n {
		l.add(Change{Kind: ChangedFinding, What: "finding", Before: a.Finding, After: b.Finding})
	}
}

func (l *changeList) addresses(a, b *verdict.Diagnosis) {
	say := func(d *verdict.Diagnosis, at netip.AddrPort) (string, *verdict.AddressVerdict) {
		i := slices.IndexFunc(d.Addresses, func(v verdict.AddressVerdict) bool { return v.Addr == at })
		if i < 0 {
			return "not there", nil
		}
		return outcomeWord(d.Addresses[i].Outcome) + ", " + string(d.Addresses[i].Verdict.Cause), &d.Addresses[i]
	}
	several := len(a.Addresses) > 1 || len(b.Addresses) > 1
	seen := set[netip.AddrPort]{}
	for _, v := range slices.Concat(a.Addresses, b.Addresses) {
		if len(seen) == mostRows || !seen.add(v.Addr) {
			continue
		}
		was, x := say(a, v.Addr)
		is, y := say(b, v.Addr)
		if several || x == nil || y == nil {
			l.add(Change{Kind: ChangedAddress, Addr: v.Addr.Addr(), What: "address " + v.Addr.Addr().String(), Before: was, After: is})
		}
	}
}

// subjects maps an address of either run to what its facts are compared under. An
// address that was replaced by another one is compared with it, and one of
// several that is in one run only with nothing: that it is not there was said.
func subjects(a, b *verdict.Diagnosis) func(netip.Addr) (netip.Addr, bool) {
	has := func(d *verdict.Diagnosis, at netip.Addr) bool {
		return slices.ContainsFunc(d.Addresses, func(v verdict.AddressVerdict) bool { return v.Addr.Addr() == at })
	}
	return func(at netip.Addr) (netip.Addr, bool) {
		switch {
		case !at.IsValid() || has(a, at) == has(b, at):
			return at, true
		case len(a.Addresses) == 1 && len(b.Addresses) == 1:
			return netip.Addr{}, true
		}
		return at, false
	}
}

// facts compares the answers to the same question about the same address.
func (l *changeList) facts(a, b *verdict.Diagnosis) {
	type question struct {
		key  evidence.Key
		addr netip.Addr
	}
	var order []question
	type answer struct{ values, texts string }
	subject := subjects(a, b)
	collect := func(d *verdict.Diagnosis) map[question]answer {
		m := map[question]answer{}
		for _, f := range d.Facts[:min(len(d.Facts), 20*mostRows)] {
			at, compared := subject(f.Addr.Addr())
			if !compared {
				continue
			}
			q := question{f.Key, at}
			if !slices.Contains(order, q) {
				order = append(order, q)
			}
			got := m[q]
			if got.values != "" {
				got.values, got.texts = got.values+" ", got.texts+"; "
			}
			m[q] = answer{got.values + string(f.Value), got.texts + f.Text}
		}
		return m
	}
	was, is := collect(a), collect(b)
	several := len(a.Addresses) > 1 || len(b.Addresses) > 1
	for _, q := range order {
		x, y := was[q], is[q]
		if x.values == y.values {
			continue // the same answer in other numbers
		}
		what := string(q.key)
		if k, ok := evidence.Lookup(q.key); ok {
			what = k.Question + "?"
		}
		if several && q.addr.IsValid() {
			what = q.addr.String() + ": " + what
		}
		if x.texts == y.texts {
			x.texts, y.texts = x.values, y.values
		}
		*l = append(*l, Change{
			Kind: ChangedFact, Addr: q.addr, Key: q.key, What: what, Before: cmp.Or(x.texts, "not known"), After: cmp.Or(y.texts, "not known"),
		})
	}
}

// paths compares what answered at each TTL.
func (l *changeList) paths(a, b *evidence.Address) {
	hops := func(p *evidence.Path) string {
		if p == nil {
			return "not traced"
		}
		var s []string
		for _, h := range p.Hops[:min(len(p.Hops), 64)] {
			switch {
			case h.Addr.IsValid():
				s = append(s, h.Addr.String())
			case h.Kind == "silent":
				s = append(s, "*")
			default:
				s = append(s, h.Kind)
			}
		}
		for len(s) > 0 && s[len(s)-1] == "*" {
			s = s[:len(s)-1]
		}
		return cmp.Or(strings.Join(s, ", "), "nothing answered")
	}
	at := a.Addr.Addr()
	l.add(Change{Kind: ChangedPath, Addr: at, What: "path to " + at.String(), Before: hops(a.Path), After: hops(b.Path)})
}

// times compares how long connecting took.
func (l *changeList) times(a, b *evidence.Address) {
	x, _ := shown(a)
	y, _ := shown(b)
	if x != nil && y != nil {
		at := a.Addr.Addr()
		l.took(Change{Addr: at, What: "time of connect() to " + at.String()}, x.Took, y.Took, 10*time.Millisecond)
	}
}

// took compares two times. Times vary by themselves: a change is half or twice
// as long, and by more than least.
func (l *changeList) took(c Change, a, b, least time.Duration) {
	if short, long := min(a, b), max(a, b); long >= 2*short && long-short >= least {
		c.Kind, c.Before, c.After = ChangedTime, duration(a), duration(b)
		l.add(c)
	}
}

func (l *changeList) notChecked(a, b []evidence.NotChecked) {
	names := func(list []evidence.NotChecked) string {
		var s []string
		for _, n := range list[:min(len(list), mostRows)] {
			s = append(s, n.Check)
		}
		slices.Sort(s)
		return cmp.Or(strings.Join(slices.Compact(s), ", "), "nothing")
	}
	l.add(Change{Kind: ChangedNotChecked, What: "not checked", Before: names(a), After: names(b)})
}

// headline says a change in a line.
func (c *TargetChange) headline() string {
	switch {
	case c.After == nil:
		return target(c.Before.Set.Target) + " is in the first run only"
	case c.Before == nil:
		return target(c.After.Set.Target) + " is in the second run only: " + experience(c.After.Outcome)
	}
	name, was, is := target(c.After.Set.Target), experience(c.Before.Outcome), experience(c.After.Outcome)
	switch {
	case len(c.Items) == 0:
		return name + " " + is + ", as before: nothing changed"
	case was == is:
		return name + " " + is + ", as before: " + count(len(c.Items), "difference", "differences")
	default:
		return fmt.Sprintf("%s %s; before it %s", name, is, past(c.Before.Outcome))
	}
}

// past says an outcome as it was, with "it" for its subject.
func past(o verdict.Outcome) string {
	switch o {
	case verdict.Open:
		return "worked"
	case verdict.Refused:
		return "was refused"
	case verdict.Timeout:
		return "timed out"
	case verdict.Unreachable:
		return "was unreachable"
	case verdict.Reset:
		return "was reset"
	case verdict.LocalError:
		return "failed on this host"
	case verdict.NameError:
		return "could not be resolved"
	case verdict.Degraded:
		return "worked only in part"
	default:
		return "was not decided"
	}
}
