package firewall

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/xtables"
)

// maxDepends bounds what a verdict names as undecided.
const maxDepends = 16

// judge follows the packet of a query and says what becomes of it.
func judge(p *program, r router, q Query) (evidence.RuleVerdict, error) {
	w, err := newWorld(r)
	if err != nil {
		return evidence.RuleVerdict{}, err
	}
	v := evidence.RuleVerdict{Packet: "syn", Tuple: flow.Tuple{Local: q.Client, Remote: q.Server}, In: nft.Printable(q.In)}
	translated := false
	switch q.Kind {
	case SYNACKOut:
		syn := q
		syn.Kind = SYNIn
		first := newWalker(p, w)
		q.Server, w.reply = first.reply(q, first.walk(syn.start(w)))
	case SYNACKIn:
		syn := q
		syn.Kind = SYNOut
		first := newWalker(p, w)
		sent, at := syn.start(w)
		ends := first.walk(sent, at)
		_, w.reply = first.reply(syn, ends)
		translated = slices.ContainsFunc(ends, sent.translated)
	}
	if q.Kind.answer() {
		v.Packet, v.Tuple = "syn-ack", flow.Tuple{Local: q.Server, Remote: q.Client}
	}
	walk := newWalker(p, w)
	pk, at := q.start(w)
	if translated { // the answer comes from, and to, what only the connection table knows
		pk.src, pk.dst, pk.sport, pk.dport = netip.Addr{}, netip.Addr{}, -1, -1
	}
	if pk.noIn {
		v.In, v.Out = "", nft.Printable(pk.out)
	}
	outcomes := walk.walk(pk, at)
	walk.report(&v, outcomes, q)
	return v, nil
}

// start is the packet of a query and where it begins.
func (q Query) start(w *world) (packet, place) {
	p := packet{
		v6: q.v6(), synAck: q.Kind.answer(),
		src: known(q.Client.Addr()), sport: knownPort(q.Client.Port()),
		dst: known(q.Server.Addr()), dport: knownPort(q.Server.Port()),
		in: q.In, noOut: true, local: yes,
		ctMark: mark{known: 0xffffffff},
	}
	if q.Unmarked {
		p.mark.known = 0xffffffff
	}
	if l := w.link(q.In); l != nil && l.Master != 0 {
		p.in = "" // rules see the bridge, the bond or the VRF that it is a port of
	}
	at := place{stage: stageIngress}
	switch q.Kind {
	case SYNForward:
		p.local = no
	case SYNACKOut, SYNACKIn:
		p.src, p.dst, p.sport, p.dport = p.dst, p.src, p.dport, p.sport
		p.ctMark = mark{}
	}
	if q.Kind == SYNACKOut || q.Kind == SYNOut {
		p.in, p.noIn, p.noOut, p.out = "", true, false, w.device(p.dst)
		at.stage = stageOutput
	}
	if q.Kind == SYNOut && q.Out != "" {
		p.out = q.Out
		if l := w.link(q.Out); l == nil || l.Master != 0 {
			p.out = "" // rules see a VRF as well as its port
		}
		w.bound = true
	}
	return p, at
}

// answer says whether the packet is the answer to a SYN.
func (k Kind) answer() bool { return k == SYNACKOut || k == SYNACKIn }

// translated says whether rules have given the packet another source or
// destination on the way to an end.
func (p packet) translated(o outcome) bool {
	e := o.end
	return o.natRule != nil || e.src != p.src || e.dst != p.dst || e.sport != p.sport || e.dport != p.dport
}

func known(a netip.Addr) netip.Addr {
	if a = a.Unmap().WithZone(""); a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

func knownPort(n uint16) int {
	if n == 0 {
		return -1
	}
	return int(n)
}

// reply says how connection tracking sees the answer to a SYN that met these
// ends, and from where the answer comes: rules may have sent the SYN to another
// port.
func (w *walker) reply(q Query, ends []outcome) (netip.AddrPort, track) {
	if i := slices.IndexFunc(ends, func(o outcome) bool { return o.verdict == verdictAccept }); i >= 0 {
		ends = slices.DeleteFunc(slices.Clone(ends), func(o outcome) bool { return o.verdict != verdictAccept })
	}
	server, how := q.Server, trackReply
	for i, o := range ends {
		one := trackReply
		switch o.end.track {
		case trackUntracked:
			one = trackInvalid // an answer that comes first
		case trackAny:
			one = trackAny
		}
		if i > 0 && one != how {
			one = trackAny
		}
		how = one
	}
	if len(ends) > 0 && ends[0].nat.IsValid() && !ends[0].forwarded && ends[0].end.dst.IsValid() {
		e := ends[0].end
		if !slices.ContainsFunc(ends, func(o outcome) bool { return o.end.dst != e.dst || o.end.dport != e.dport }) {
			server = addrPort(e.dst, max(e.dport, 0))
		}
	}
	return server, how
}

// report puts the ends that the packet may meet into a verdict.
func (w *walker) report(v *evidence.RuleVerdict, ends []outcome, q Query) {
	first := ends[0]
	sure := !slices.ContainsFunc(ends, func(o outcome) bool { return o.kind() != first.kind() || o.verdict == verdictDepends })
	decides := first
	if !sure {
		// Show the rule that the packet may fail at.
		if i := slices.IndexFunc(ends, func(o outcome) bool { return o.verdict != verdictAccept }); i >= 0 {
			decides = ends[i]
		}
	} else if i := slices.IndexFunc(ends, func(o outcome) bool { return o.rule != first.rule }); i >= 0 && first.verdict == verdictAccept {
		decides.rule = nil // one of several, all of which accept
	}
	v.Verdict, v.With = first.verdict, first.with
	if !sure {
		v.Verdict, v.With = verdictDepends, ""
	}
	if decides.rule != nil {
		v.Rule = decides.rule.evidence(decides.base)
		if decides.verdict != verdictAccept {
			v.Rule.Allow = w.prog.allow(decides, q)
		}
	}
	v.Forwarded = decides.forwarded
	if v.Forwarded && v.Out == "" {
		v.Out = nft.Printable(decides.end.out)
	}
	same := !slices.ContainsFunc(ends, func(o outcome) bool { return o.nat != first.nat || o.natRule != first.natRule })
	if same && first.natRule != nil {
		v.NAT, v.NATRule = first.nat, first.natRule.evidence(first.natRule.chain)
	}
	switch {
	case !sure:
		v.Depends = texts(w.depends)
	case first.verdict != verdictAccept:
		v.Depends = texts(w.chooses)
	}
}

func texts(conds map[condition]int) []string {
	var list []condition
	for c := range conds {
		list = append(list, c)
	}
	// Those of the first rules were found last: see walker.run.
	slices.SortFunc(list, func(a, b condition) int { return cmp.Compare(conds[b], conds[a]) })
	var out []string
	for _, c := range list {
		s := c.text
		if c.rule != nil {
			s += " (" + c.rule.place() + ")"
		}
		if slices.Contains(out, s) {
			continue
		}
		if out = append(out, s); len(out) == maxDepends {
			break
		}
	}
	return out
}

// place says in few words where the rule stands.
func (r *ruleRef) place() string {
	c := r.chain
	if c.table != nil {
		s := fmt.Sprintf("%s %s %s", c.table.Family, nft.Printable(c.table.Name), nft.Printable(c.ntc.Name))
		if r.nft != nil {
			s += fmt.Sprintf(" handle %d", r.nft.Handle)
		}
		return s
	}
	s := fmt.Sprintf("%s %s %s", c.xtable.Family, c.xtable.Name, xtables.Printable(c.xtc.Name))
	if r.xt != nil {
		s += fmt.Sprintf(" rule %d", r.xt.Number)
	}
	return s
}

// evidence is the rule, or the policy, as it is shown. base is the base chain it
// was reached from.
func (r *ruleRef) evidence(base *chain) *evidence.Rule {
	c := r.chain
	out := &evidence.Rule{Policy: r.nft == nil && r.xt == nil, Manager: c.manager()}
	if c.xtable != nil {
		out.System, out.Table, out.Chain = string(c.xtable.Family), xtables.Printable(c.xtable.Name), xtables.Printable(c.xtc.Name)
		if base != nil && base.xtc != nil {
			out.Hook, out.Priority = base.xtc.Hook, xtPriority[base.xtable.Name]
			if base.nat && (out.Hook == "input" || out.Hook == "postrouting") {
				out.Priority = priNATSource
			}
		}
		packets, bytes := c.xtc.Packets, c.xtc.Bytes
		if r.xt != nil {
			packets, bytes = r.xt.Packets, r.xt.Bytes
			out.Number, out.Text = r.xt.Number, r.xt.Text(c.xtable.Family, c.xtc.Name)
			out.Comment = commentOf(c.xtable.Family, r.xt.Matches)
		} else {
			out.Text = c.xtc.PolicyText()
		}
		out.Packets, out.Bytes = &packets, &bytes
		return out
	}
	out.System, out.Family, out.Table, out.Chain = "nftables", c.table.Family.String(), nft.Printable(c.table.Name), nft.Printable(c.ntc.Name)
	if base != nil && base.ntc != nil {
		out.Hook, out.Priority = base.ntc.Hook, base.ntc.Priority
	}
	if r.nft == nil {
		out.Text = "policy drop"
		return out
	}
	out.Handle, out.Text, out.Comment = r.nft.Handle, c.table.Text(r.nft), nft.Printable(r.nft.Comment)
	if n := r.nft.Counter(); n != nil {
		packets, bytes := n.Packets, n.Bytes
		out.Packets, out.Bytes = &packets, &bytes
	}
	if out.Comment == "" {
		var matches []xtables.Extension
		for _, e := range r.nft.Exprs {
			if x, ok := e.(*nft.XT); ok && !x.Target {
				matches = append(matches, xtables.Extension{Name: x.Name, Revision: x.Revision, Info: x.Info})
			}
		}
		out.Comment = commentOf(xtables.IPv4, matches)
	}
	return out
}

func commentOf(f xtables.Family, matches []xtables.Extension) string {
	for _, m := range matches {
		if c, ok := xtables.Match(f, m).(*xtables.Comment); ok {
			return xtables.Printable(c.Text)
		}
	}
	return ""
}
