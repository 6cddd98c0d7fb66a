package firewall

import (
	"strconv"
)

func itoa(n int) string { return strconv.Itoa(n) }

// maxBranches bounds the ways on from one rule; beyond it the rule counts as one
// that may do anything.
const maxBranches = 512

// exec runs one rule and gives every way on from it, at least one.
func (w *walker) exec(r *ruleRef, p packet, at place) []branch {
	var out []branch
	if r.nft != nil {
		out = w.execNFT(r, p, at)
	} else {
		out = w.execXT(r, p, at)
	}
	if len(out) == 0 || len(out) > maxBranches {
		return anything(r, p)
	}
	return out
}

// anything is what a rule does that cannot be followed: go on, or drop, or what
// nobody can tell.
func anything(r *ruleRef, p packet) []branch {
	cond := []condition{{"a rule too complex to follow", r}}
	return []branch{{packet: p, conds: cond}, {packet: p, do: doGive, with: "a rule too complex to follow", conds: cond}}
}

// setDestination is what DNAT and redirect do: the packet goes elsewhere and the
// chain accepts it. An address that is not valid is not known; a port of -1
// neither. keep says that the port stays.
func (w *walker) setDestination(r *ruleRef, p *packet, to destination) {
	if to.keepPort {
		to.port = p.dport
	}
	p.dst, p.dport, p.dnatDone, p.natRule = to.addr, to.port, true, r
	shown := to.addr
	if !shown.IsValid() {
		shown = w.world.any(p.v6)
	}
	p.nat = addrPort(shown, max(to.port, 0))
	switch {
	case to.self:
		p.local = yes
	case to.addr.IsValid():
		p.local = w.world.isLocal(to.addr)
	default:
		p.local = maybe
	}
	if p.noIn { // it was routed before: it may leave elsewhere now
		if p.out = ""; !w.world.bound {
			p.out = w.world.device(p.dst)
		}
	}
}
