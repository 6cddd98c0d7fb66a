package diagnose

import (
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// icmp: who refused the SYN by an ICMP error, how, and when?
func (w *recorded) icmp(o *observer) {
	const source = "capture"
	e := w.hard()
	if e == nil || w.answer() != evidence.AnswerICMP {
		return
	}
	target := w.Tuple.Remote.Addr()
	code := icmpCode(target.Is4() || target.Is4In6(), e.Type, e.Code)
	o.add(evidence.ICMPCode, code, source, e.At, "the ICMP error says %s (type %d code %d)", icmpWords[code], e.Type, e.Code)
	switch {
	case !w.elsewhere():
		o.add(evidence.ICMPFrom, evidence.FromHereTarget, source, e.At, "the ICMP error was made on the client's host, which is the target")
	case e.From == w.Tuple.Local.Addr():
		o.add(evidence.ICMPFrom, evidence.FromHere, source, e.At, "the ICMP error comes from the client's own host")
	case e.From == target:
		o.add(evidence.ICMPFrom, evidence.FromTarget, source, e.At, "the ICMP error comes from the target's own address %v", e.From)
	default:
		o.add(evidence.ICMPFrom, evidence.FromRouter, source, e.At, "the ICMP error comes from %v, which is not the target", e.From)
	}
	switch d := e.At; {
	case d < icmpAtOnce:
		o.add(evidence.ICMPDelay, evidence.DelayNone, source, e.At, "the ICMP error came at once, after %s", ms(d))
	case d >= icmpLate && w.together(e):
		o.add(evidence.ICMPDelay, evidence.DelayLate, source, e.At, "the ICMP error came late, after %s, as after an address resolution that failed", ms(d))
	}
	switch e.Quote {
	case evidence.QuoteIntact, evidence.QuoteRewritten:
		o.add(evidence.ICMPQuote, evidence.Value(e.Quote), source, e.At, "the packet it quotes is the client's SYN, %s", e.Quote)
	}
}

// together says that an ICMP error is no answer to the last SYN alone: it comes
// long after that one, or others come with it, for SYNs that waited together.
func (w *recorded) together(e *evidence.SocketError) bool {
	last := time.Duration(0)
	for _, t := range w.r.SYNs {
		if t <= e.At {
			last = t
		}
	}
	if e.At-last >= icmpAtOnce {
		return true
	}
	n := 0
	for _, x := range w.r.ICMP {
		if x.TTL == e.TTL && x.At >= e.At && x.At-e.At < icmpBurst {
			n++
		}
	}
	return n >= manyICMP
}

// icmpBurst bounds the time between errors for packets that waited for the same
// address resolution; SYNs that are answered one by one are farther apart.
// manyICMP is how many they must be: two may be one that was captured twice.
const (
	icmpBurst = 200 * time.Millisecond
	manyICMP  = 3
)
