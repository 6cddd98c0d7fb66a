package tcpwhy

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"sync"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/errtext"
	ev "github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// picture is one way in which a kind of error comes about, as facts in the
// vocabulary of the catalogue. The catalogue then says which causes it leaves.
type picture struct {
	facts []ev.Fact
	// names is a key that a cause must say something about to be left: an error
	// of bind() is no sign of a cause that has nothing to do with binding.
	names ev.Key
	// open says that the connection was opened.
	open bool
	// share is how likely this way is among those of its kind, 0 for 1.
	share float64
}

func fact(k ev.Key, v ev.Value) ev.Fact { return ev.Fact{Key: k, Value: v} }

// connects: connect() ended so, with more facts.
func connects(v ev.Value, more ...ev.Fact) picture {
	return picture{facts: append([]ev.Fact{fact(ev.Connect, v), fact(ev.NameSpeed, ev.SpeedFast)}, more...)}
}

// inCall: connect() failed before any packet.
func inCall(v ev.Value) picture {
	return picture{facts: []ev.Fact{fact(ev.Connect, v), fact(ev.ConnectWhen, ev.WhenAtOnce)}, names: ev.Connect}
}

// rejected: an ICMP error was the answer. Which errno each code becomes: Linux
// net/ipv4/icmp.c icmp_err_convert, net/ipv6/icmp.c icmpv6_err_convert.
func rejected(v, code ev.Value) picture {
	return connects(v, fact(ev.ConnectWhen, ev.WhenAnswered), fact(ev.Answer, ev.AnswerICMP), fact(ev.ICMPCode, code))
}

// talks: the connection was open, and then.
func talks(more ...ev.Fact) picture {
	return picture{open: true, facts: append([]ev.Fact{fact(ev.Connect, ev.ConnOpen), fact(ev.SelfConnect, ev.No), fact(ev.NameSpeed, ev.SpeedFast)}, more...)}
}

// answers: the connection was open, and what came over it is the complaint. Then
// it is not about whether connecting works, works always, or lasts.
func answers(reply ev.Value) picture {
	return talks(fact(ev.SessionReply, reply), fact(ev.ConnectInTime, ev.Yes), fact(ev.ConnectRepeat, ev.NotAsked), fact(ev.ProbeLoss, ev.LossNone), fact(ev.SessionIdle, ev.NotAsked))
}

func resolves(v ev.Value) picture {
	return picture{facts: []ev.Fact{fact(ev.NameResult, v)}, names: ev.NameResult}
}

// served: a service could not start to listen.
func served(v ev.Value) picture {
	return picture{facts: []ev.Fact{fact(ev.HostService, v)}, names: ev.HostService}
}

func (p picture) rarely(share float64) picture {
	p.share = share
	return p
}

// and is the picture with another fact.
func (p picture) and(f ev.Fact) picture {
	p.facts = append(slices.Clone(p.facts), f)
	return p
}

func rarely(ps []picture, share float64) []picture {
	out := slices.Clone(ps)
	for i := range out {
		out[i].share = share * cmp.Or(out[i].share, 1)
	}
	return out
}

// pictures says for each kind how it comes about. A kind without any says
// nothing about causes.
var pictures = sync.OnceValue(func() map[errtext.Kind][]picture {
	refused := []picture{
		// What loses packets now and then is not what refused this one.
		connects(ev.ConnRefused, fact(ev.ConnectWhen, ev.WhenAnswered), fact(ev.Answer, ev.AnswerRST), fact(ev.ProbeLoss, ev.LossNone)),
		rejected(ev.ConnRefused, ev.ICMPPort),
	}
	unanswered := []picture{
		{facts: []ev.Fact{fact(ev.Connect, ev.ConnTimeout), fact(ev.ConnectWhen, ev.WhenNever), fact(ev.Answer, ev.AnswerNone)}},
		// Some systems wait on although an ICMP error came.
		picture{facts: []ev.Fact{fact(ev.Connect, ev.ConnTimeout), fact(ev.Answer, ev.AnswerICMP)}}.rarely(0.1),
	}
	unreachableHost := []picture{
		rejected(ev.ConnHostUnreach, ev.ICMPHost), rejected(ev.ConnHostUnreach, ev.ICMPProhibited), rejected(ev.ConnHostUnreach, ev.ICMPOther).rarely(0.3),
		rejected(ev.ConnHostUnreach, ev.ICMPExceeded).rarely(0.3), inCall(ev.ConnHostUnreach),
	}
	unreachableNet := []picture{inCall(ev.ConnNetUnreach), rejected(ev.ConnNetUnreach, ev.ICMPNet), rejected(ev.ConnNetUnreach, ev.ICMPProhibited).rarely(0.3)}
	mute := []picture{
		talks(fact(ev.SessionReply, ev.ReplyNothing), fact(ev.SessionEnd, ev.EndNone)),
		talks(fact(ev.SessionLarge, ev.LargeStalls), fact(ev.SessionEnd, ev.EndNone)),
		talks(fact(ev.SessionIdle, ev.IdleDies), fact(ev.SessionEnd, ev.EndNone)),
	}
	reset := []picture{talks(fact(ev.SessionEnd, ev.EndRST)), talks(fact(ev.SessionEnd, ev.EndRSTAfter))}
	ended := []picture{talks(fact(ev.SessionEnd, ev.EndFIN)), talks(fact(ev.SessionEnd, ev.EndFINAfter))}
	notFound := []picture{resolves(ev.NameNXDomain), resolves(ev.NameNoData).rarely(0.5), resolves(ev.NameBrokenAlias)}
	noAnswers := []picture{resolves(ev.NameTimeout), resolves(ev.NameServFail), resolves(ev.NameUnreachable), resolves(ev.NameNoServer), resolves(ev.NameRefused), resolves(ev.NameTCPBlocked)}
	tlsFails := []picture{answers(ev.ReplyTLSError)}
	// A certificate is large: it would not have come through a hole for large ones.
	badCert := []picture{answers(ev.ReplyTLSError).and(fact(ev.SessionLarge, ev.NotAsked))}
	gateway := []picture{answers(ev.ReplyGateway)}
	return map[errtext.Kind][]picture{
		errtext.Refused:        refused,
		errtext.ConnectTimeout: unanswered,
		errtext.ReadTimeout:    mute,
		errtext.Timeout:        slices.Concat(unanswered, mute, noAnswers),
		// Some libraries say no more for a name that they could not resolve, or when
		// a reset comes before they saw that the connection is open.
		errtext.ConnectFailed:       slices.Concat(refused, unanswered, unreachableHost, unreachableNet, rarely(notFound, 0.3), rarely(noAnswers, 0.3), rarely(reset, 0.1)),
		errtext.HostUnreachable:     unreachableHost,
		errtext.NetworkUnreachable:  unreachableNet,
		errtext.NetworkDown:         {{facts: []ev.Fact{fact(ev.LinkState, ev.LinkDown)}, names: ev.LinkState}},
		errtext.ProtocolUnreachable: {rejected(ev.ConnNoProto, ev.ICMPOther)},
		errtext.AccessDenied:        {inCall(ev.ConnDenied), rejected(ev.ConnDenied, ev.ICMPProhibited), served(ev.ServiceBindPerm)},
		errtext.NotPermitted:        {inCall(ev.ConnNotPermit)},
		errtext.InvalidArgument:     {inCall(ev.ConnInvalid)},
		errtext.AddressNotAvailable: {inCall(ev.ConnNoAddress), served(ev.ServiceBindAddr)},
		errtext.AddressInUse:        {inCall(ev.ConnInUse), served(ev.ServiceBindInUse)},
		errtext.FamilyUnsupported:   {inCall(ev.ConnNoFamily)},
		errtext.TooManyFiles:        {inCall(ev.ConnNoFiles)},
		errtext.NoBuffers:           {{facts: []ev.Fact{fact(ev.PortsHere, ev.Full)}, names: ev.PortsHere}},
		errtext.Reset:               reset,
		errtext.Aborted:             mute,
		// Some programs call a reset so, too.
		errtext.Closed:             slices.Concat(ended, rarely(reset, 0.5)),
		errtext.NameNotFound:       notFound,
		errtext.NameNoAddress:      {resolves(ev.NameNoData)},
		errtext.NameTemporary:      noAnswers,
		errtext.NameFailed:         slices.Concat(notFound, noAnswers),
		errtext.CertExpired:        badCert,
		errtext.CertUntrusted:      badCert,
		errtext.CertName:           badCert,
		errtext.TLSVersion:         tlsFails,
		errtext.TLSFailed:          append([]picture{answers(ev.ReplyOther).rarely(0.5)}, tlsFails...),
		errtext.WrongProtocol:      append([]picture{answers(ev.ReplyOther)}, tlsFails...),
		errtext.BadGateway:         gateway,
		errtext.ServiceUnavailable: gateway,
		errtext.GatewayTimeout:     gateway,
		errtext.NoBackend:          gateway,
	}
})

// misled is how much less likely a name led to the wrong machine if that has
// such a port open. A judgement.
const misled = 0.2

// question is what the causes that remain depend on.
type question struct {
	kind    errtext.Kind
	op      errtext.Op // listen, unknown, or connect for all others
	literal bool       // the target is an address, so no name misled
	here    bool       // the target is this host
}

// asked holds the answers given before: there are few questions, and a log asks
// them again and again. The lists are shared.
var asked sync.Map // of question to []Cause

// remaining returns the causes that an error of the kind leaves, the likeliest
// first. The result is the caller's own.
func remaining(k errtext.Kind, op errtext.Op, host string, addr netip.Addr) []Cause {
	q := question{kind: k, op: op, literal: addr.IsValid() && addr.String() == host, here: addr.IsLoopback() || host == "localhost"}
	if op != errtext.OpListen && op != errtext.OpUnknown {
		q.op = errtext.OpConnect
	}
	known, ok := asked.Load(q)
	if !ok {
		known, _ = asked.LoadOrStore(q, q.ask())
	}
	return slices.Clone(known.([]Cause))
}

// ask lets the catalogue decide: a cause is left if it allows the facts of one
// of the kind's pictures together with what is known of the target.
func (q question) ask() []Cause {
	var out []verdict.Candidate
	sum := 0.0
	all := cause.All()
	for i := range all {
		c := &all[i]
		if c.ID == verdict.None {
			continue
		}
		best := 0.0
		for _, p := range pictures()[q.kind] {
			if !q.fits(p) {
				continue
			}
			facts := slices.Concat(p.facts, q.facts(p))
			if open, _ := c.Open(facts); open == nil || p.names != "" && !says(open, p.names) {
				continue
			}
			likelihood := c.Prior * weigh(c, facts) * cmp.Or(p.share, 1)
			if p.open && c.Stage == cause.StageName {
				likelihood *= misled
			}
			best = max(best, likelihood)
		}
		if best > 0 {
			out = append(out, verdict.Candidate{Cause: c.ID, Refines: c.Refines, Likelihood: best})
			sum += best
		}
	}
	slices.SortStableFunc(out, func(a, b verdict.Candidate) int { return cmp.Compare(b.Likelihood, a.Likelihood) })
	causes := make([]Cause, 0, len(out))
	for _, c := range out {
		c.Likelihood = math.Round(c.Likelihood/sum*1000) / 1000
		if !slices.ContainsFunc(out, func(o verdict.Candidate) bool { return o.Cause == c.Refines }) {
			c.Refines = ""
		}
		causes = append(causes, named(c))
	}
	return causes
}

// fits says whether a picture goes with the target and with what the program
// was doing.
func (q question) fits(p picture) bool {
	if p.names == ev.NameResult && q.literal {
		return false // there was no name to resolve
	}
	return q.op == errtext.OpUnknown || (p.names == ev.HostService) == (q.op == errtext.OpListen)
}

// facts are those that the target alone gives.
func (q question) facts(p picture) []ev.Fact {
	var facts []ev.Fact
	switch {
	case p.names == ev.NameResult:
	case q.literal:
		facts = append(facts, fact(ev.NameResult, ev.NameLiteral))
	default:
		facts = append(facts, fact(ev.NameResult, ev.NameResolved))
	}
	if q.here {
		facts = append(facts, fact(ev.TargetHere, ev.Yes))
	}
	return facts
}

// says that one of the ways speaks of the key.
func says(ways []cause.P, k ev.Key) bool {
	return slices.ContainsFunc(ways, func(w cause.P) bool { _, ok := w[k]; return ok })
}

// weigh is how much more or less likely the facts make a cause.
func weigh(c *cause.Cause, facts []ev.Fact) float64 {
	w := 1.0
	for _, f := range c.Weights {
		if slices.ContainsFunc(facts, func(x ev.Fact) bool { return x.Key == f.Key && x.Value == f.Value }) {
			w *= f.Factor
		}
	}
	return w
}
