package firewall

import (
	"net/netip"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/xtables"
)

// execXT runs a rule of iptables.
func (w *walker) execXT(r *ruleRef, p packet, _ place) []branch {
	a, conds := w.matchXT(r, &p)
	if a == no {
		return []branch{{packet: p}}
	}
	var out []branch
	if a == maybe {
		out = []branch{{packet: p, conds: conds}}
	}
	for _, b := range w.targetXT(r, p) {
		b.conds = append(slices.Clone(conds), b.conds...)
		out = append(out, b)
	}
	return out
}

// matchXT is the conjunction of the header and all matches, and what it turns
// on.
func (w *walker) matchXT(r *ruleRef, p *packet) (answer, []condition) {
	var conds []condition
	all := yes
	and := func(a answer, why string) {
		if a == maybe {
			conds = append(conds, condition{why, r})
		}
		all = both(all, a)
	}
	const tcp = 6
	h := r.xt.Header
	and(inNetwork(p.src, h.Src), p.side(whySrc, "the server's address"))
	and(inNetwork(p.dst, h.Dst), p.side(whyDst, whySrc))
	and(onInterface(p.in, p.noIn, h.In), whyIn)
	and(onInterface(p.out, p.noOut, h.Out), whyOut)
	if h.Proto != 0 {
		and(answerOf((h.Proto == tcp) != h.NotProto), "")
	}
	if h.Fragments {
		and(no, "") // a SYN comes in one piece
	}
	if h.TOS {
		and(maybe, "the traffic class")
	}
	f := r.chain.xtable.Family
	for _, m := range r.xt.Matches {
		if all == no {
			break
		}
		a, why := w.match(f, m, p)
		and(a, why)
	}
	return all, conds
}

func inNetwork(a netip.Addr, n xtables.Network) answer {
	if !n.Mask.IsValid() || n.Mask.IsUnspecified() && n.Addr.IsUnspecified() {
		return answerOf(!n.Not)
	}
	if !a.IsValid() {
		return maybe
	}
	x, want, mask := a.AsSlice(), n.Addr.AsSlice(), n.Mask.AsSlice()
	if len(x) != len(want) {
		return no
	}
	in := true
	for i := range x {
		in = in && x[i]&mask[i] == want[i]
	}
	return answerOf(in != n.Not)
}

func onInterface(name string, none bool, i xtables.Interface) answer {
	switch {
	case i.Name == "":
		return answerOf(!i.Not)
	case none:
		return answerOf(i.Not)
	case name == "":
		return maybe
	case i.Prefix:
		return answerOf((len(name) >= len(i.Name) && name[:len(i.Name)] == i.Name) != i.Not)
	}
	return answerOf((name == i.Name) != i.Not)
}

// absent are matches on headers that a SYN of TCP does not have.
var absent = []string{"ah", "esp", "frag", "hbh", "dst", "rt", "mh", "udp", "udplite", "icmp", "icmp6", "sctp", "dccp", "ipcomp"}

// match evaluates one match, and says what it turns on.
func (w *walker) match(f xtables.Family, x xtables.Extension, p *packet) (answer, string) {
	why := xtables.MatchText(f, x)
	switch m := xtables.Match(f, x).(type) {
	case *xtables.Comment:
		return yes, ""
	case *xtables.TCP:
		return tcpMatch(m, p)
	case *xtables.Multiport:
		return multiport(m, p)
	case *xtables.Conntrack:
		return w.conntrackMatch(m, p), why
	case *xtables.AddrType:
		return w.addrTypeMatch(m, p), why
	case *xtables.Mark:
		k := p.mark
		if m.Conn {
			switch p.track {
			case trackNew, trackReply:
				k = p.ctMark
			case trackUntracked, trackInvalid:
				return no, ""
			default:
				return maybe, why
			}
		}
		if m.Mark&^m.Mask != 0 {
			return answerOf(m.Not), ""
		}
		return k.is(m.Mark, m.Mask).not(m.Not), why
	case *xtables.IPRange:
		return both(inRange(p.src, m.Src, m.NotSrc), inRange(p.dst, m.Dst, m.NotDst)), why
	}
	if slices.Contains(absent, x.Name) {
		return no, ""
	}
	return maybe, why
}

func inRange(a netip.Addr, r [2]netip.Addr, inverted bool) answer {
	switch {
	case !r[0].IsValid():
		return yes
	case !a.IsValid():
		return maybe
	}
	return answerOf((a.Compare(r[0]) >= 0 && a.Compare(r[1]) <= 0) != inverted)
}

func inPorts(port int, r [2]uint16) answer {
	switch {
	case r == [2]uint16{0, 0xffff}:
		return yes
	case port < 0:
		return maybe
	}
	return answerOf(int(r[0]) <= port && port <= int(r[1]))
}

func tcpMatch(m *xtables.TCP, p *packet) (answer, string) {
	const syn, ack, ecn = 0x02, 0x10, 0xc0
	src, dst := inPorts(p.sport, m.Src).not(m.NotSrc), inPorts(p.dport, m.Dst).not(m.NotDst)
	flags := byte(syn)
	if p.synAck {
		flags |= ack
	}
	set := exact([]byte{flags & m.Mask})
	set.known[0] &^= ecn & m.Mask
	f := set.equal([]byte{m.Flags}).not(m.NotFlags)
	option := yes
	if m.Option != 0 {
		option = maybe
	}
	all := both(both(src, dst), both(f, option))
	switch {
	case all != maybe:
		return all, ""
	case src == maybe:
		return all, p.side(whySport, "the server's port")
	case dst == maybe:
		return all, p.side(whyDport, whySport)
	case f == maybe:
		return all, "the flags ECE and CWR"
	}
	return all, "the TCP options"
}

func multiport(m *xtables.Multiport, p *packet) (answer, string) {
	hit := no
	for _, r := range m.Ranges {
		if m.Src {
			hit = either(hit, inPorts(p.sport, r))
		}
		if m.Dst {
			hit = either(hit, inPorts(p.dport, r))
		}
	}
	why := p.side(whyDport, whySport)
	if m.Src {
		why = p.side(whySport, "the server's port")
	}
	return hit.not(m.Not), why
}

// conntrackMatch is xt_conntrack.c.
func (w *walker) conntrackMatch(m *xtables.Conntrack, p *packet) answer {
	var bit uint16
	tracked := false
	switch p.track {
	case trackNew:
		bit, tracked = xtables.StateNew, true
		if p.nat.IsValid() {
			bit |= xtables.StateDNAT
		}
	case trackReply:
		bit, tracked = xtables.StateEstablished, true
	case trackInvalid:
		bit = xtables.StateInvalid
	case trackUntracked:
		bit = xtables.StateUntracked
	case trackNone:
		if p.in == "lo" || p.in == "" && !p.noIn {
			return maybe
		}
		bit = xtables.StateInvalid
	default:
		return maybe
	}
	inverted := func(flag uint16) bool { return m.Inverted&flag != 0 }
	all := yes
	if m.Flags&xtables.ConntrackState != 0 {
		a := answerOf(m.State&bit != 0)
		// Whether NAT changed the connection of an answer is not known here, nor
		// whether its source will be changed.
		const natted = xtables.StateSNAT | xtables.StateDNAT
		if a == no && tracked && m.State&natted != 0 && (p.synAck || m.State&xtables.StateSNAT != 0 && p.snatDone) {
			a = maybe
		}
		all = a.not(inverted(xtables.ConntrackState))
	}
	if !tracked {
		if m.Flags&xtables.ConntrackState == 0 {
			return no
		}
		return all
	}
	rest := m.Flags &^ xtables.ConntrackState
	if rest&xtables.ConntrackDirection != 0 {
		all = both(all, answerOf(p.synAck == inverted(xtables.ConntrackDirection)))
		rest &^= xtables.ConntrackDirection
	}
	if !p.synAck && !p.nat.IsValid() && !p.snatDone {
		// The connection is as the packet still is.
		if rest&xtables.ConntrackOrigSrc != 0 {
			n := m.OrigSrc
			n.Not = inverted(xtables.ConntrackOrigSrc)
			all, rest = both(all, inNetwork(p.src, n)), rest&^xtables.ConntrackOrigSrc
		}
		if rest&xtables.ConntrackOrigDst != 0 {
			n := m.OrigDst
			n.Not = inverted(xtables.ConntrackOrigDst)
			all, rest = both(all, inNetwork(p.dst, n)), rest&^xtables.ConntrackOrigDst
		}
		if rest&xtables.ConntrackOrigDstPort != 0 {
			a := inPorts(p.dport, m.OrigDstPorts).not(inverted(xtables.ConntrackOrigDstPort))
			all, rest = both(all, a), rest&^xtables.ConntrackOrigDstPort
		}
	}
	if rest != 0 {
		all = both(all, maybe)
	}
	return all
}

func (w *walker) addrTypeMatch(m *xtables.AddrType, p *packet) answer {
	dev, restricted := "", m.IfaceIn || m.IfaceOut
	if m.IfaceIn {
		dev = p.in
	} else if m.IfaceOut {
		dev = p.out
	}
	side := func(a netip.Addr, set uint16, inverted bool) answer {
		if set == 0 {
			return yes
		}
		if !a.IsValid() {
			return maybe
		}
		kind, ok := w.world.addrType(a, restricted, dev)
		if !ok {
			return maybe
		}
		return answerOf((set&(1<<kind) != 0) != inverted)
	}
	return both(side(p.src, m.Src, m.NotSrc), side(p.dst, m.Dst, m.NotDst))
}
