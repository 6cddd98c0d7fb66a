package firewall

import (
	"net/netip"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/xtables"
)

// targetXT does what the rule says.
func (w *walker) targetXT(r *ruleRef, p packet) []branch {
	t := r.xt.Target
	switch {
	case t.Extension != nil:
		return w.action(r, r.chain.xtable.Family, *t.Extension, p)
	case t.Chain != "":
		to := w.prog.jump(r.chain, t.Chain)
		if to == nil {
			return mystery(r, p, "the chain "+xtables.Printable(t.Chain)+", which is not there")
		}
		do := doJump
		if t.Goto {
			do = doGoto
		}
		return []branch{{packet: p, do: do, chain: to}}
	}
	switch t.Verdict {
	case xtables.Accept:
		return []branch{{packet: p, do: doAccept}}
	case xtables.Drop:
		return []branch{{packet: p, do: doDrop}}
	case xtables.Return:
		return []branch{{packet: p, do: doReturn}}
	case xtables.Queue:
		return []branch{{packet: p, do: doGive, with: "the program that reads the queue"}}
	}
	return []branch{{packet: p}}
}

func mystery(r *ruleRef, p packet, what string) []branch {
	cond := []condition{{what, r}}
	return []branch{{packet: p, conds: cond}, {packet: p, do: doGive, with: what, conds: cond}}
}

// action does what a target says, of either system.
func (w *walker) action(r *ruleRef, f xtables.Family, x xtables.Extension, p packet) []branch {
	goOn := func() []branch { return []branch{{packet: p}} }
	switch a := xtables.Action(f, x).(type) {
	case *xtables.Pass, *xtables.Log, *xtables.GroupLog:
		return goOn()
	case *xtables.Reject:
		if a.With == "tcp-reset" {
			return []branch{{packet: p, do: doReset, with: "tcp reset"}}
		}
		return []branch{{packet: p, do: doReject, with: a.Answer()}}
	case *xtables.SetMark:
		p.mark = p.mark.and(^a.Mask).xor(mark{a.Mark, 0xffffffff})
		w.remark(&p)
		return goOn()
	case *xtables.ConnMark:
		if p.track != trackNew && p.track != trackReply {
			if p.track == trackAny || p.track == trackNone {
				p.mark, p.ctMark = mark{}, mark{}
			}
			return goOn()
		}
		switch a.Mode {
		case xtables.ConnMarkSet:
			p.ctMark = p.ctMark.and(^a.Mask).xor(mark{a.Mark, 0xffffffff})
		case xtables.ConnMarkSave:
			p.ctMark = p.ctMark.and(^a.Mask).xor(p.mark.and(a.NFMask))
		case xtables.ConnMarkRestore:
			p.mark = p.mark.and(^a.NFMask).xor(p.ctMark.and(a.Mask))
			w.remark(&p)
		}
		return goOn()
	case *xtables.NoTrack:
		if p.track == trackNone {
			p.track = trackUntracked
		}
		return goOn()
	case *xtables.NAT:
		return w.natXT(r, a, p)
	}
	switch x.Name {
	case "SYNPROXY":
		if p.synAck {
			return goOn()
		}
		return []branch{{packet: p, do: doGive, with: "the SYN proxy, which answers itself"}}
	case "NFQUEUE":
		return []branch{{packet: p, do: doGive, with: "the program that reads the queue"}}
	case "SET":
		if x.Revision >= 3 { // it may set the mark to what the set says
			p.mark = mark{}
			w.remark(&p)
		}
		return goOn()
	}
	return mystery(r, p, xtables.ActionText(f, x))
}

func (w *walker) natXT(r *ruleRef, a *xtables.NAT, p packet) []branch {
	if !a.Dest {
		p.src, p.sport, p.snatDone = netip.Addr{}, -1, true
		return []branch{{packet: p, do: doAccept}}
	}
	to := destination{port: -1, keepPort: a.Flags&xtables.RangePorts == 0, self: a.ToSelf}
	if a.Ports[0] == a.Ports[1] && a.Flags&xtables.RangeOffset == 0 {
		to.port = int(a.Ports[0])
	}
	switch {
	case a.ToSelf:
		to.addr = w.world.redirected(p)
	case a.Flags&xtables.RangeAddrs == 0:
		to.addr = p.dst
	case a.Addrs[0] == a.Addrs[1] && a.Flags&xtables.RangeNetmap == 0:
		to.addr = a.Addrs[0]
	}
	w.setDestination(r, &p, to)
	return []branch{{packet: p, do: doAccept}}
}

// xt runs a match or a target of iptables-nft.
func (x *nftRule) xt(m run, e *nft.XT) []run {
	f := xtables.IPv4
	if m.v6 {
		f = xtables.IPv6
	}
	ext := xtables.Extension{Name: e.Name, Revision: e.Revision, Info: e.Info}
	if !e.Target {
		a, why := x.w.match(f, ext, &m.packet)
		return x.match(m, a, why)
	}
	var on []run
	for _, b := range x.w.action(x.r, f, ext, m.packet) {
		if b.do == doNext && len(b.conds) == 0 {
			next := m
			next.packet = b.packet
			on = append(on, next)
			continue
		}
		b.conds = append(slices.Clone(m.conds), b.conds...)
		x.out = append(x.out, b)
	}
	return on
}
