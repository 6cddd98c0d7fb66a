package diagnose

import (
	"cmp"
	"math"
	"net/netip"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// Diagnose says what the evidence of one run shows: a verdict for each address
// and one on top for the name.
func Diagnose(s *evidence.Set) *verdict.Diagnosis {
	d := &verdict.Diagnosis{Set: *s, Facts: Observe(s), NotChecked: notChecked(s)}
	for i := range s.Addresses {
		a := &s.Addresses[i]
		if len(a.Attempts) == 0 {
			continue
		}
		d.Addresses = append(d.Addresses, addressVerdict(s, a, d.Facts))
	}
	top(d)
	return d
}

// notChecked gathers every check that was not made, once.
func notChecked(s *evidence.Set) []evidence.NotChecked {
	var out []evidence.NotChecked
	add := func(ns []evidence.NotChecked) {
		for _, n := range ns {
			if !slices.ContainsFunc(out, func(o evidence.NotChecked) bool { return o.Check == n.Check && o.Reason == n.Reason }) {
				out = append(out, n)
			}
		}
	}
	add(s.NotChecked)
	if s.Name != nil {
		add(s.Name.NotChecked)
	}
	for i := range s.Addresses {
		a := &s.Addresses[i]
		add(a.NotChecked)
		if a.Route != nil {
			add(a.Route.NotChecked)
		}
		if a.Session != nil {
			add(a.Session.NotChecked)
		}
	}
	return out
}

func addressVerdict(s *evidence.Set, a *evidence.Address, all []evidence.Fact) verdict.AddressVerdict {
	var facts []evidence.Fact
	for _, f := range all {
		if f.Addr == a.Addr {
			facts = append(facts, f)
		}
	}
	d := Differ(evidence.ScopeAddress, facts)
	v := newView(s, a)
	out := verdict.AddressVerdict{Addr: a.Addr, Verdict: d.verdict(v)}
	out.Outcome = outcome(v, out.Verdict.Cause)
	return out
}

// verdict says what the differential leaves.
func (d *Differential) verdict(v *view) verdict.Verdict {
	if v.unfinished() {
		return verdict.Verdict{
			Certainty: verdict.Unknown, Cause: verdict.Undetermined, Finding: "the run was stopped while the SYN waited for its answer",
			Candidates: []verdict.Candidate{}, RuledOut: nonNil(d.ruled), Because: []evidence.ID{}, Next: []verdict.Step{}, Fix: []verdict.Fix{},
		}
	}
	return d.conclude(v.set.Options.Privileged).verdict(v)
}

func moveFirst(cs []verdict.Candidate, id verdict.CauseID) {
	if i := slices.IndexFunc(cs, func(c verdict.Candidate) bool { return c.Cause == id }); i > 0 {
		c := cs[i]
		copy(cs[1:i+1], cs[:i])
		cs[0] = c
	}
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// outcome is what a program would experience at the address.
func outcome(v *view, id verdict.CauseID) verdict.Outcome {
	m := v.main
	switch {
	case m.Connected && (v.a.Session != nil && v.a.Session.End == "rst"):
		return verdict.Reset
	case m.Connected && id == verdict.None:
		return verdict.Open
	case m.Connected:
		return verdict.Degraded
	case v.inCall():
		return verdict.LocalError
	case m.Errno == "ECONNREFUSED":
		return verdict.Refused
	case m.Errno == "ECONNRESET":
		return verdict.Reset
	case m.Errno == "" || m.Errno == "ETIMEDOUT":
		return verdict.Timeout
	default:
		return verdict.Unreachable
	}
}

// where is the machine at which it fails, as far as the verdict says it.
func (v *view) where(id verdict.CauseID, c verdict.Certainty) netip.Addr {
	if c == verdict.Unknown || v.main == nil {
		return netip.Addr{}
	}
	if v.icmp != nil && !v.own(v.icmp.From) && icmpCode(v.addr().Is4(), v.icmp.Type, v.icmp.Code) != evidence.ICMPExceeded {
		return v.icmp.From
	}
	if c != verdict.Certain {
		return netip.Addr{}
	}
	entry, ok := cause.Get(id)
	switch {
	case !ok:
	case entry.Stage == cause.StagePath:
		if h, ok := hopAt(v.a.Path, lastHop(v.a.Path)); ok {
			return h.Addr
		}
	case entry.Stage == cause.StageLocal:
		return v.main.Tuple.Local.Addr()
	case entry.Stage != cause.StageName:
		return v.addr()
	}
	return netip.Addr{}
}

// top makes the verdict for the name as a whole.
func top(d *verdict.Diagnosis) {
	names := Differ(evidence.ScopeName, d.Facts)
	if len(d.Addresses) == 0 {
		d.Outcome = verdict.NameError
		v := &view{set: &d.Set, a: &evidence.Address{}}
		if len(names.facts) == 0 {
			d.Outcome = verdict.LocalError
		}
		d.Verdict = names.verdict(v)
		return
	}
	lead := leading(d.Addresses)
	d.Outcome, d.Verdict = lead.Outcome, lead.Verdict
	d.Verdict.RuledOut = slices.Concat(d.Verdict.RuledOut, names.ruled)
	if len(names.left) == 0 {
		return
	}
	odd(d, names, lead)
}

// leading is the address that the name's verdict follows: the first that fails
// for another reason than a family that this host has not, if there is any.
func leading(as []verdict.AddressVerdict) verdict.AddressVerdict {
	lead := as[0]
	for _, a := range as {
		switch {
		case a.Verdict.Cause == "family-unsupported":
			continue
		case lead.Verdict.Cause == "family-unsupported", lead.Outcome == verdict.Open:
			lead = a
		}
	}
	return lead
}

// odd puts what is odd about the name on top. That some addresses work and
// others fail is seen, not inferred; that a name leads to the wrong place is
// one explanation beside those for the address itself.
func odd(d *verdict.Diagnosis, names *Differential, lead verdict.AddressVerdict) {
	v := &view{set: &d.Set, a: &evidence.Address{Addr: lead.Addr}}
	for i := range d.Set.Addresses {
		if d.Set.Addresses[i].Addr == lead.Addr {
			v = newView(&d.Set, &d.Set.Addresses[i])
		}
	}
	nv := names.verdict(v)
	nv.Where = netip.Addr{} // of the name as such
	nv.RuledOut = d.Verdict.RuledOut
	mixed := slices.ContainsFunc(d.Facts, func(f evidence.Fact) bool {
		return f.Key == evidence.NameOutcomes && (f.Value == evidence.OutcomesSomeFail || f.Value == evidence.OutcomesFamilyFail)
	})
	works := lead.Outcome == verdict.Open
	switch {
	case mixed:
		d.Outcome = verdict.Degraded
		nv.Finding = v.mixed(d, nv)
		nv.Because = append(nv.Because, lead.Verdict.Because...)
		nv.Next = append(nv.Next, lead.Verdict.Next...)
		d.Verdict = nv
	case works:
		d.Outcome, d.Verdict = verdict.Degraded, nv
	default:
		const share = 0.6 // of an oddity of the name, against the causes at the address
		for i := range nv.Candidates {
			nv.Candidates[i].Likelihood *= share
		}
		for _, c := range lead.Verdict.Candidates {
			c.Likelihood *= 1 - share
			nv.Candidates = append(nv.Candidates, c)
		}
		slices.SortStableFunc(nv.Candidates[1:], func(a, b verdict.Candidate) int { return cmp.Compare(b.Likelihood, a.Likelihood) })
		for i := range nv.Candidates {
			nv.Candidates[i].Likelihood = math.Round(nv.Candidates[i].Likelihood*1000) / 1000
		}
		nv.Certainty = verdict.Narrowed
		nv.Finding += "; at that address, " + lead.Verdict.Finding
		nv.Because = append(nv.Because, lead.Verdict.Because...)
		nv.Next = append(nv.Next, lead.Verdict.Next...)
		d.Verdict = nv
	}
}
