package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

var stages = []string{"healthy", "name", "local", "path", "host", "listener", "session"}

// ErrCombination says that scenarios do not go together.
var ErrCombination = errors.New("cannot be combined")

// Stages are those that scenarios have, in the order in which a connection goes
// through them.
func Stages() []string { return slices.Clone(stages) }

// Combine makes one scenario of several: what each sets up, one after the other,
// and then what each breaks. They must share topology, user's host and a family,
// and, as Open finds out, what the user would type.
//
// What connect(2) must see is what the first fault on the packets' way makes of
// it. The causes are those of all; the ideal is the union of theirs.
func Combine(names ...string) (Scenario, error) {
	if len(names) == 0 {
		return Scenario{}, errors.New("lab: no scenario to combine")
	}
	var parts []Scenario
	for i, name := range names {
		s, ok := Find(name)
		switch {
		case !ok:
			return Scenario{}, fmt.Errorf("lab: there is no scenario %q", name)
		case slices.Contains(names[:i], name):
			return Scenario{}, fmt.Errorf("lab: %s is named twice", name)
		}
		parts = append(parts, s)
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	all := Scenario{
		Name: strings.Join(names, "+"), Stage: "combined",
		Topology: parts[0].Topology, From: parts[0].From, Families: slices.Clone(parts[0].Families),
	}
	var shows []string
	for _, p := range parts {
		no := func(why string, a, b any) (Scenario, error) {
			return Scenario{}, fmt.Errorf("lab: %s and %s %w: %s (%v and %v)", parts[0].Name, p.Name, ErrCombination, why, a, b)
		}
		switch {
		case p.Topology.Name != all.Topology.Name:
			return no("they need other networks", all.Topology.Name, p.Topology.Name)
		case p.From != all.From:
			return no("the user sits elsewhere", all.From, p.From)
		}
		both := slices.DeleteFunc(slices.Clone(all.Families), func(f Family) bool { return !slices.Contains(p.Families, f) })
		if len(both) == 0 {
			return no("they share no address family", all.Families, p.Families)
		}
		all.Families = both
		if cause := p.Cause; cause != "none" {
			switch {
			case all.Cause == "":
				all.Cause = cause
			case cause != all.Cause && !slices.Contains(all.Also, cause):
				all.Also = append(all.Also, cause)
			}
		}
		all.Also = append(all.Also, p.Also...)
		all.Loss = max(all.Loss, p.Loss)
		all.Args = slices.Concat(all.Args, p.Arguments(V4))
		all.Args6 = slices.Concat(all.Args6, p.Arguments(V6))
		if p.Shows != "" {
			shows = append(shows, p.Shows)
		}
	}
	all.Cause = cmp.Or(all.Cause, "none")
	all.Shows = strings.Join(shows, " ")
	all.Ideal = union(parts)
	all.make(parts)
	all.predict(parts)
	return all, nil
}

// make sets up and breaks the parts.
func (s *Scenario) make(parts []Scenario) {
	s.setup = func(l *Lab) {
		dst, target, by := l.dst, l.target, ""
		wanted := struct {
			dst    netip.AddrPort
			target string
		}{dst, target}
		for _, p := range parts {
			l.dst, l.target = dst, target
			l.of(p, p.healthy)
			switch {
			case l.dst == dst && l.target == target: // it does not care
			case by != "" && (l.dst != wanted.dst || l.target != wanted.target):
				l.fail(fmt.Errorf("%s and %s %w: they need other targets (%v and %v)", by, p.Name, ErrCombination, cmp.Or(wanted.target, wanted.dst.String()), cmp.Or(l.target, l.dst.String())))
			default:
				by, wanted.dst, wanted.target = p.Name, l.dst, l.target
			}
		}
		l.dst, l.target = wanted.dst, wanted.target
	}
	broken := func(l *Lab) {
		for _, p := range parts {
			if p.fault != nil {
				l.of(p, p.fault)
			}
		}
	}
	if slices.ContainsFunc(parts, func(p Scenario) bool { return !p.StartsWell() && p.Cause != "none" }) {
		setup := s.setup
		s.setup = func(l *Lab) { setup(l); broken(l) }
	} else if slices.ContainsFunc(parts, func(p Scenario) bool { return p.fault != nil }) {
		s.fault = broken
	}
}

// of makes a part, and names it in an error.
func (l *Lab) of(p Scenario, make func(*Lab)) {
	if l.err != nil {
		return
	}
	whole := l.Scenario
	l.Scenario = p
	make(l)
	l.Scenario = whole
	if l.err != nil {
		l.err = fmt.Errorf("%s %w: %s: %w", whole.Name, ErrCombination, p.Name, l.err)
	}
}

// predict says what a connection to the parts together sees, and proves what of
// each can still be seen.
func (s *Scenario) predict(parts []Scenario) {
	first := func(f Family) (at int, o Outcome) {
		at, o = len(stages), Opens
		for _, p := range parts {
			i := slices.Index(stages, p.Stage)
			switch got := p.Expected(f); {
			case got == Opens:
			case i < at:
				at, o = i, got
			case i == at && got != o:
				o = "" // which of them comes first is not known
			}
		}
		return at, o
	}
	_, s.Connect = first(V4)
	if _, six := first(V6); six != s.Connect {
		s.Connect6 = six
	}
	for _, p := range parts {
		switch {
		case p.After == Whatever || p.After == Talks || p.After == s.After:
		case s.After == Whatever:
			s.After = p.After
		default:
			s.After = Whatever
		}
	}
	s.prove = func(ctx context.Context, l *Lab) error {
		for _, p := range parts {
			if p.prove == nil || p.Expected(l.Family) != "" && p.Expected(l.Family) != s.Expected(l.Family) {
				continue // another fault hides it
			}
			if err := p.prove(ctx, l); err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
		}
		return nil
	}
}

func union(parts []Scenario) Ideal {
	of := func(pick func(Ideal) []string) []string {
		var all []string
		for _, p := range parts {
			left := pick(p.Ideal)
			if left == nil {
				left = []string{p.Cause}
			}
			for _, c := range left {
				if !slices.Contains(all, c) {
					all = append(all, c)
				}
			}
		}
		return all
	}
	return Ideal{
		Ordinary: of(func(i Ideal) []string { return i.Ordinary }),
		Root:     of(func(i Ideal) []string { return i.Root }),
		Host:     of(func(i Ideal) []string { return i.Host }),
		Captures: of(func(i Ideal) []string { return i.Captures }),
	}
}
