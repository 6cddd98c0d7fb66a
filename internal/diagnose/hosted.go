package diagnose

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// supposition is the source of facts that are taken for granted, not seen.
const supposition = "supposed"

// maxHosted bounds the addresses of a host that are judged.
const maxHosted = 32

// Hosted says whether a client would be served at the port of a host, by what the
// host tells of itself, and if not why. It judges the addresses, or without any
// those of the host that others can use. It supposes that a SYN arrives there: the
// path to the host is not in question, nor what follows the handshake.
func Hosted(h *evidence.Host, addrs ...netip.Addr) *verdict.HostDiagnosis {
	d := &verdict.HostDiagnosis{Host: *h, NotChecked: nonNil(h.NotChecked)}
	if len(addrs) == 0 {
		addrs = Usable(h)
	}
	for _, a := range addrs {
		at := netip.AddrPortFrom(a.Unmap(), h.Port)
		facts := supposed(h, at)
		for i := range facts {
			facts[i].ID = evidence.ID(fmt.Sprintf("e%d", len(d.Facts)+i+1))
		}
		d.Facts = append(d.Facts, facts...)
		diff := Differ(evidence.ScopeAddress, facts).within(cause.StageHost, cause.StageListener, cause.StageNone)
		if f := foreign(h, facts); f != nil {
			diff.only("host-address-missing", f.ID)
		}
		v := newView(&evidence.Set{Target: flow.Target{Addr: a, Host: a.String(), Port: h.Port}}, &evidence.Address{Addr: at, Host: h})
		one := verdict.AddressVerdict{Addr: at, Verdict: diff.verdict(v)}
		one.Outcome = expected(one.Verdict.Cause)
		one.Verdict.Next = watchIt(h, &one.Verdict)
		if one.Verdict.Certainty == verdict.Certain && one.Verdict.Cause != verdict.None {
			one.Verdict.Where = a
		}
		d.Addresses = append(d.Addresses, one)
	}
	if len(d.Addresses) == 0 {
		d.Outcome, d.Verdict = verdict.LocalError, verdict.Verdict{Certainty: verdict.Unknown, Cause: verdict.Undetermined,
			Finding: "the host has no address that is up", Candidates: []verdict.Candidate{}, RuledOut: []verdict.RuledOut{}, Because: []evidence.ID{}, Next: []verdict.Step{}, Fix: []verdict.Fix{}}
		return d
	}
	lead := slices.IndexFunc(d.Addresses, func(a verdict.AddressVerdict) bool { return a.Outcome != verdict.Open })
	d.Outcome, d.Verdict = d.Addresses[max(lead, 0)].Outcome, d.Addresses[max(lead, 0)].Verdict
	if lead >= 0 && slices.ContainsFunc(d.Addresses, func(a verdict.AddressVerdict) bool { return a.Outcome == verdict.Open }) {
		d.Outcome = verdict.Degraded
	}
	return d
}

// watchIt is what to do next on the host itself, where that would tell more.
func watchIt(h *evidence.Host, v *verdict.Verdict) []verdict.Step {
	if h.Watched != nil || v.Certainty == verdict.Certain {
		return []verdict.Step{}
	}
	from := ""
	if h.Client.IsValid() {
		from = " --from " + h.Client.String()
	}
	return []verdict.Step{{Check: "see what the kernel does while a client tries", Where: "host",
		Command: fmt.Sprintf("sudo tcpwhy host :%d%s --during 30s", h.Port, from)}}
}

// Usable are the addresses at which the client, or others, can reach the host;
// without any, its loopback ones.
func Usable(h *evidence.Host) []netip.Addr {
	var others, loopback []netip.Addr
	for _, a := range h.Addresses {
		addr := a.Prefix.Addr()
		switch {
		case !a.Up || a.Tentative || addr.IsLinkLocalUnicast() || h.Client.IsValid() && h.Client.Is4() != addr.Is4():
		case addr.IsLoopback():
			loopback = append(loopback, addr)
		default:
			others = append(others, addr)
		}
	}
	if len(others) == 0 {
		others = loopback
	}
	return others[:min(len(others), maxHosted)]
}

// supposed are the facts of a SYN that arrives at the address: what the host is
// known to be, and what it did with the client's last attempt where one was seen.
func supposed(h *evidence.Host, at netip.AddrPort) []evidence.Fact {
	o := &observer{addr: at}
	v := &hostView{h: h, addr: at.Addr(), port: at.Port(), client: h.Client, live: h.Watched != nil}
	if t, ok := lastAttempt(h.Watched, v); ok {
		v.main, v.tuples = t, []flow.Tuple{t}
	}
	o.told(v)
	suppose := func(k evidence.Key, val evidence.Value, text string) {
		if !slices.ContainsFunc(o.facts, func(f evidence.Fact) bool { return f.Key == k }) {
			o.add(k, val, supposition, 0, "%s", text)
		}
	}
	suppose(evidence.HostSYN, evidence.Yes, "a SYN is supposed to arrive")
	if !h.Client.IsValid() && h.Watched == nil && unheard(o.facts) {
		const text = "the client is supposed to be one that the host can answer; --from ADDR has that looked up"
		suppose(evidence.HostBack, evidence.Yes, text)
		suppose(evidence.HostRPFilter, evidence.Yes, text)
	}
	suppose(evidence.TargetHere, yesNo(at.Addr().IsLoopback() || h.Client == at.Addr()), "the client is supposed to be where --from says, or on another machine")
	return o.facts
}

// foreign is the fact that the host has not the address, where nothing of it is
// known that would take the packets all the same; else nil. It is asked about itself,
// and not about a machine that lies behind it.
func foreign(h *evidence.Host, facts []evidence.Fact) *evidence.Fact {
	has := func(k evidence.Key, v evidence.Value) int {
		return slices.IndexFunc(facts, func(f evidence.Fact) bool { return f.Key == k && f.Value == v })
	}
	i := has(evidence.HostOwns, evidence.No)
	if i < 0 || has(evidence.HostNAT, evidence.No) < 0 || h.Watched != nil || h.Sockets == nil || len(h.Sockets.Diverted) > 0 || len(h.Programs) > 0 || !h.ProgramsRead {
		return nil
	}
	return &facts[i]
}

// only leaves one cause, by a fact that says more here than in general.
func (d *Differential) only(id verdict.CauseID, because evidence.ID) {
	d.left = slices.DeleteFunc(d.left, func(l left) bool {
		if l.cause.ID == id {
			return false
		}
		d.ruled = append(d.ruled, verdict.RuledOut{Cause: l.cause.ID, Because: []evidence.ID{because}})
		return true
	})
}

// unheard says that no socket takes what comes to the address, whoever sends it.
func unheard(facts []evidence.Fact) bool {
	return slices.ContainsFunc(facts, func(f evidence.Fact) bool {
		return f.Key == evidence.HostSockets && (f.Value == evidence.SocketsNone || f.Value == evidence.SocketsLoopback || f.Value == evidence.SocketsElsewhere)
	})
}

// lastAttempt is the four-tuple of the last SYN that was seen for the address.
func lastAttempt(w *evidence.Watched, v *hostView) (last flow.Tuple, ok bool) {
	if w == nil {
		return last, false
	}
	for i := range w.Packets {
		p := &w.Packets[i]
		if p.Kind == "tcp" && !p.Outgoing && p.Dst.Port() == v.port && p.Dst.Addr().Unmap() == v.addr && hasFlag(p.Flags, "SYN") &&
			(!v.client.IsValid() || p.Src.Addr().Unmap() == v.client) {
			last, ok = flow.Tuple{Local: p.Src, Remote: p.Dst}, true
		}
	}
	return last, ok
}

// within leaves the causes of some stages, where the others are not in question.
func (d *Differential) within(stages ...cause.Stage) *Differential {
	d.left = slices.DeleteFunc(d.left, func(l left) bool { return !slices.Contains(stages, l.cause.Stage) })
	d.ruled = slices.DeleteFunc(d.ruled, func(r verdict.RuledOut) bool {
		c, ok := cause.Get(r.Cause)
		return !ok || !slices.Contains(stages, c.Stage)
	})
	return d
}

// expected is what a program would experience of a cause.
func expected(id verdict.CauseID) verdict.Outcome {
	c, ok := cause.Get(id)
	if !ok {
		return verdict.LocalError
	}
	vs, _ := c.Allowed(evidence.Connect)
	first := c.Ways[0][evidence.Connect] // what it is as a rule
	switch {
	case slices.Contains(vs, evidence.ConnOpen) && id == verdict.None:
		return verdict.Open
	case len(first) == 1 && first[0] == evidence.ConnRefused:
		return verdict.Refused
	case slices.Contains(first, evidence.ConnTimeout) && !slices.Contains(first, evidence.ConnRefused):
		return verdict.Timeout
	}
	return verdict.Unreachable
}
