package firewall

import (
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/nft"
)

// enter takes the packet to the next base chain of its hook, or to the next
// hook. It returns several ways where more than one is possible.
func (w *walker) enter(p *packet, at *place) ([]way, *outcome) {
	switch at.stage {
	case stageEnd:
		o := w.end(verdictAccept, "", nil, *p, *at)
		return nil, &o
	case stageRoute:
		return w.route(p, at), nil
	}
	items := w.prog.hooks[stageHook[at.stage]]
	if at.item >= len(items) {
		at.stage, at.item, at.done = next[at.stage], 0, 0
		return nil, nil
	}
	// Items that tie come in the order they were made, which nobody tells.
	n := 1
	for at.item+n < len(items) && n < 32 && items[at.item].compare(items[at.item+n]) == 0 {
		n++
	}
	var left []int
	for i := range n {
		if at.done&(1<<i) == 0 {
			left = append(left, i)
		}
	}
	if len(left) == 0 {
		at.item, at.done = at.item+n, 0
		return nil, nil
	}
	if len(left) > 1 {
		var ways []way
		cond := []condition{{text: "which of the chains with priority " + itoa(items[at.item].priority) + " at " + stageHook[at.stage] + " comes first"}}
		for _, i := range left {
			ways = append(ways, way{cond, func() []outcome { return w.visitWalk(*p, *at, items[at.item+i], i) }})
		}
		return ways, nil
	}
	return w.visit(p, at, items[at.item+left[0]], left[0]), nil
}

func (w *walker) visitWalk(p packet, at place, it item, bit int) []outcome {
	if ways := w.visit(&p, &at, it, bit); ways != nil {
		return w.fork(ways)
	}
	return w.walk(p, at)
}

// visit sends the packet into an item, or past it.
func (w *walker) visit(p *packet, at *place, it item, bit int) []way {
	at.done |= 1 << bit
	if it.conntrack {
		w.conntrack(p)
		return nil
	}
	applies := yes
	var why string
	if it.base.nat {
		applies, why = w.translates(p, at.stage), whyCt
	}
	if len(it.devices) > 0 || at.stage == stageIngress || at.stage == stageEgress {
		dev, unknownDev := p.in, whyIn
		if at.stage == stageEgress {
			dev, unknownDev = p.out, whyOut
		}
		switch {
		case dev == "":
			applies, why = both(applies, maybe), unknownDev
		case slices.ContainsFunc(it.devices, func(name string) bool { return deviceMatches(name, dev) }):
		case w.world.stacked(dev): // it may pass the device below it, too
			applies, why = both(applies, maybe), "the interface below "+nft.Printable(dev)
		default:
			applies = no
		}
	}
	into := *at
	into.base, into.frame = it.base, w.frame(it.base, 0, nil)
	switch applies {
	case yes:
		*at = into
	case maybe:
		cond := []condition{{text: why}}
		past, q := *at, *p
		return []way{
			{cond, func() []outcome { return w.walk(q, into) }},
			{cond, func() []outcome { return w.walk(q, past) }},
		}
	}
	return nil
}

// deviceMatches compares with the name in a chain, which may end in an asterisk
// since Linux 6.16.
func deviceMatches(pattern, dev string) bool {
	if n := len(pattern); n > 0 && pattern[n-1] == '*' {
		return len(dev) >= n-1 && dev[:n-1] == pattern[:n-1]
	}
	return pattern == dev
}

// conntrack is the kernel's own hook, nf_conntrack_in.
func (w *walker) conntrack(p *packet) {
	switch {
	case p.track != trackNone:
	case p.synAck:
		p.track = w.world.reply
	case !p.noIn && p.in == "lo" && w.prog.untracks:
		p.track = trackAny // as the rules at output had it
	default:
		p.track = trackNew
	}
}

// translates says whether NAT chains see the packet: the first one of a
// connection, until one of them has decided; nf_nat_inet_fn.
func (w *walker) translates(p *packet, s stage) answer {
	if (s == stagePrerouting || s == stageOutput) && p.dnatDone || (s == stageInput || s == stagePostrouting) && p.snatDone {
		return no
	}
	switch p.track {
	case trackNew:
		return yes
	case trackAny:
		return maybe
	}
	return no
}

// route decides between this host and others.
func (w *walker) route(p *packet, at *place) []way {
	to := func(p packet, at place, local bool) (packet, place) {
		at.stage, at.item, at.done = stageInput, 0, 0
		if !local {
			at.stage, at.forwarded = stageForward, true
			p.out, p.noOut = w.world.device(p.dst), false
		}
		return p, at
	}
	switch p.local {
	case yes, no:
		*p, *at = to(*p, *at, p.local == yes)
		return nil
	}
	cond := []condition{{text: "where the packet is sent on to"}}
	q, from := *p, *at
	return []way{
		{cond, func() []outcome { return w.walk(to(q, from, true)) }},
		{cond, func() []outcome { return w.walk(to(q, from, false)) }},
	}
}
