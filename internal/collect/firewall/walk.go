package firewall

import (
	"maps"
	"net/netip"
	"slices"
)

const (
	// maxSteps bounds the rules run for one packet, maxStates the states kept at
	// forks, maxDepth forks within forks: a rule set can be made to fork without end.
	maxSteps  = 1 << 19
	maxStates = 1 << 15
	maxDepth  = 1 << 10

	// maxAlike bounds the ends that are kept of those that are the same for the
	// packet.
	maxAlike = 3
)

// stage is a part of the packet's way through the kernel.
type stage uint8

const (
	stageIngress stage = iota
	stagePrerouting
	stageRoute
	stageInput
	stageForward
	stageOutput
	stagePostrouting
	stageEgress
	stageEnd
)

var stageHook = map[stage]string{
	stageIngress: "ingress", stagePrerouting: "prerouting", stageInput: "input", stageForward: "forward",
	stageOutput: "output", stagePostrouting: "postrouting", stageEgress: "egress",
}

// next is what follows a stage.
var next = map[stage]stage{
	stageIngress: stagePrerouting, stagePrerouting: stageRoute, stageInput: stageEnd,
	stageForward: stagePostrouting, stageOutput: stagePostrouting, stagePostrouting: stageEgress, stageEgress: stageEnd,
}

// frame is a place in a chain with the places to return to. Frames are interned:
// equal ones are one pointer.
type frame struct {
	chain *chain
	at    int
	up    *frame
}

// place is where a packet is. Of items with one priority any may come first;
// done has those that are behind it.
type place struct {
	stage     stage
	item      int
	done      uint32
	base      *chain
	frame     *frame
	forwarded bool
}

// outcome is one end that a packet may meet.
type outcome struct {
	verdict, with string
	rule          *ruleRef
	base          *chain
	forwarded     bool
	nat           netip.AddrPort
	natRule       *ruleRef
	end           packet // accepted: as it was at the end
}

// kind is what two outcomes must share to be the same for the packet.
type kind struct {
	verdict, with string
	forwarded     bool
	nat           netip.AddrPort
}

func (o outcome) kind() kind { return kind{o.verdict, o.with, o.forwarded, o.nat} }

// condition is something that cannot be decided, of a rule if it has one.
type condition struct {
	text string
	rule *ruleRef
}

// branch is one way on from a rule.
type branch struct {
	packet
	do    action
	chain *chain // of a jump or goto
	with  string
	conds []condition
}

// action is what a rule has the packet do.
type action uint8

const (
	doNext action = iota // go on with the next rule
	doAccept
	doDrop
	doReset
	doReject
	doJump
	doGoto
	doReturn
	doGive // somebody else takes it: a program, another interface
)

// state is all that decides what becomes of a packet.
type state struct {
	packet
	place
}

// walker follows one packet through the program along every way it may take.
type walker struct {
	prog   *program
	world  *world
	frames map[frame]*frame
	memo   map[state][]outcome
	steps  int
	depth  int
	// depends are the conditions on which the outcome turns, by when they were
	// found; chooses those that only decide which rule has the same outcome.
	depends, chooses map[condition]int
}

func newWalker(p *program, w *world) *walker {
	return &walker{prog: p, world: w, frames: map[frame]*frame{}, memo: map[state][]outcome{},
		depends: map[condition]int{}, chooses: map[condition]int{}}
}

func (w *walker) frame(c *chain, at int, up *frame) *frame {
	f := frame{c, at, up}
	if p := w.frames[f]; p != nil {
		return p
	}
	w.frames[f] = &f
	return &f
}

// walk follows a packet from a place to every end.
func (w *walker) walk(p packet, at place) []outcome {
	s := state{p, at}
	if out, ok := w.memo[s]; ok {
		return out
	}
	if w.depth == maxDepth {
		return w.giveUp()
	}
	w.depth++
	out := w.run(p, at)
	w.depth--
	w.keep(s, out)
	return out
}

func (w *walker) keep(s state, out []outcome) {
	if len(w.memo) < maxStates {
		w.memo[s] = out
	}
}

func (w *walker) giveUp() []outcome {
	w.depend(w.depends, condition{text: "more rules than can be followed"})
	return []outcome{{verdict: verdictDepends}}
}

// pending is something on the way of a packet that its end completes: a rule
// that accepted it, or a fork of which the first way was taken.
type pending struct {
	accepted *ruleRef
	base     *chain
	taken    []condition // of the first way
	rest     state       // where it went on
	others   []way
}

// run follows the packet. Of each fork it takes one way on at once and the others
// when it knows the end of that one: they mostly meet it again.
func (w *walker) run(p packet, at place) []outcome {
	var stack []pending
	finish := func(out []outcome) []outcome {
		for _, s := range slices.Backward(stack) {
			if s.accepted != nil {
				out = acceptedBy(s.accepted, s.base, out)
				continue
			}
			w.keep(s.rest, out)
			first := out
			out = w.fork(append([]way{{s.taken, func() []outcome { return first }}}, s.others...))
		}
		return out
	}
	for {
		if w.steps++; w.steps > maxSteps {
			return finish(w.giveUp())
		}
		if at.base == nil {
			ways, end := w.enter(&p, &at)
			if end != nil {
				return finish([]outcome{*end})
			}
			if ways != nil {
				return finish(w.fork(ways))
			}
			continue
		}
		if at.frame == nil { // the end of a base chain
			if at.base.policy != nil {
				return finish([]outcome{w.end(verdictDrop, "", at.base.policy, p, at)})
			}
			at.base = nil
			continue
		}
		f := at.frame
		if f.at >= len(f.chain.rules) {
			if at.frame = f.up; w.depth > 1 {
				if out, ok := w.memo[state{p, at}]; ok {
					return finish(out)
				}
			}
			continue
		}
		r := f.chain.rules[f.at]
		at.frame = w.frame(f.chain, f.at+1, f.up)
		base := at.base
		branches := w.exec(r, p, at)
		if len(branches) > 1 {
			first := max(0, slices.IndexFunc(branches, func(b branch) bool { return b.do == doNext }))
			from := at // at goes on before the others are taken
			s := pending{taken: branches[first].conds}
			for i, b := range branches {
				if i != first {
					s.others = append(s.others, way{b.conds, func() []outcome { return w.take(b, r, from) }})
				}
			}
			if b := branches[first]; b.do != doNext { // none goes on
				first := way{b.conds, func() []outcome { return w.take(b, r, from) }}
				return finish(w.fork(append([]way{first}, s.others...)))
			}
			p = branches[first].packet
			s.rest = state{p, at}
			stack = append(stack, s)
			if out, ok := w.memo[s.rest]; ok {
				return finish(out)
			}
			continue
		}
		acc, end := w.apply(branches[0], r, &p, &at)
		if end != nil {
			return finish([]outcome{*end})
		}
		if acc {
			stack = append(stack, pending{accepted: r, base: base})
		}
	}
}

// take goes the way of a branch of a rule.
func (w *walker) take(b branch, r *ruleRef, at place) []outcome {
	base, p := at.base, b.packet
	acc, end := w.apply(b, r, &p, &at)
	if end != nil {
		return []outcome{*end}
	}
	out := w.walk(p, at)
	if acc {
		out = acceptedBy(r, base, out)
	}
	return out
}

// acceptedBy names the rule in outcomes where no later one has a say.
func acceptedBy(r *ruleRef, base *chain, out []outcome) []outcome {
	out = slices.Clone(out)
	for i := range out {
		if out[i].verdict == verdictAccept && out[i].rule == nil {
			out[i].rule, out[i].base = r, base
		}
	}
	return out
}

// apply does what a rule says. It reports whether the rule accepted the packet
// for its base chain, and the outcome where that is the end.
func (w *walker) apply(b branch, r *ruleRef, p *packet, at *place) (accepted bool, end *outcome) {
	*p = b.packet
	switch b.do {
	case doAccept:
		at.base, at.frame = nil, nil
		return true, nil
	case doDrop, doReset, doReject:
		verdict := map[action]string{doDrop: verdictDrop, doReset: verdictReset, doReject: verdictReject}[b.do]
		o := w.end(verdict, b.with, r, *p, *at)
		return false, &o
	case doGive:
		o := w.end(verdictDepends, b.with, r, *p, *at)
		w.depend(w.depends, condition{b.with, r})
		return false, &o
	case doJump:
		at.frame = w.frame(b.chain, 0, at.frame)
	case doGoto:
		at.frame = w.frame(b.chain, 0, at.frame.up)
	case doReturn:
		at.frame = at.frame.up
	}
	return false, nil
}

func (w *walker) end(verdict, with string, r *ruleRef, p packet, at place) outcome {
	return outcome{verdict: verdict, with: with, rule: r, base: at.base, forwarded: at.forwarded, nat: p.nat, natRule: p.natRule, end: p}
}

// way is one of several ways on, which is taken if its conditions turn out so.
type way struct {
	conds []condition
	walk  func() []outcome
}

// fork takes every way and notes the conditions if they matter.
func (w *walker) fork(ways []way) []outcome {
	var (
		all   []outcome
		kinds []map[kind]bool
		rules []map[*ruleRef]bool
	)
	type likeness struct {
		kind
		track track
	}
	seen, alike := map[outcome]bool{}, map[likeness]int{}
	for _, way := range ways {
		k, r := map[kind]bool{}, map[*ruleRef]bool{}
		for _, o := range way.walk() {
			k[o.kind()], r[o.rule] = true, true
			if l := (likeness{o.kind(), o.end.track}); !seen[o] && alike[l] < maxAlike {
				seen[o] = true
				alike[l]++
				all = append(all, o)
			}
		}
		kinds, rules = append(kinds, k), append(rules, r)
	}
	note := func(to map[condition]int) {
		for _, way := range ways {
			for _, c := range way.conds {
				w.depend(to, c)
			}
		}
	}
	same := func(a, b map[kind]bool) bool { return maps.Equal(a, b) }
	switch {
	case slices.ContainsFunc(kinds, func(k map[kind]bool) bool { return !same(k, kinds[0]) }):
		note(w.depends)
	case slices.ContainsFunc(rules, func(r map[*ruleRef]bool) bool { return !maps.Equal(r, rules[0]) }):
		note(w.chooses)
	}
	return all
}

func (w *walker) depend(on map[condition]int, c condition) {
	if _, ok := on[c]; !ok {
		on[c] = len(on)
	}
}
