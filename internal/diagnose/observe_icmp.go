package diagnose

import (
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// icmpCode classifies an ICMP error by RFC 792, RFC 1812 section 5.2.7.1 and
// RFC 4443 section 3.
func icmpCode(v4 bool, typ, code int) evidence.Value {
	if v4 {
		switch {
		case typ == 11 && code == 0:
			return evidence.ICMPExceeded
		case typ != 3:
			return evidence.ICMPOther
		}
		switch code {
		case 0, 6, 11:
			return evidence.ICMPNet
		case 1, 7, 12:
			return evidence.ICMPHost
		case 3:
			return evidence.ICMPPort
		case 4:
			return evidence.ICMPTooBig
		case 9, 10, 13, 14, 15:
			return evidence.ICMPProhibited
		}
		return evidence.ICMPOther
	}
	switch {
	case typ == 2:
		return evidence.ICMPTooBig
	case typ == 3 && code == 0:
		return evidence.ICMPExceeded
	case typ != 1:
		return evidence.ICMPOther
	}
	switch code {
	case 0:
		return evidence.ICMPNet
	case 1, 5, 6:
		return evidence.ICMPProhibited
	case 3:
		return evidence.ICMPHost
	case 4:
		return evidence.ICMPPort
	}
	return evidence.ICMPOther
}

var icmpWords = map[evidence.Value]string{
	evidence.ICMPPort: "port unreachable", evidence.ICMPHost: "host unreachable",
	evidence.ICMPNet: "network unreachable", evidence.ICMPProhibited: "administratively prohibited",
	evidence.ICMPExceeded: "time exceeded", evidence.ICMPTooBig: "packet too big", evidence.ICMPOther: "another error",
}

// A failed address resolution takes 3 requests 1 s apart on Linux (arp(7),
// mcast_solicit), so its error comes after about 3 s. In between, the error
// may answer a retransmitted SYN, and the delay tells nothing.
const (
	icmpAtOnce = 900 * time.Millisecond
	icmpLate   = 2500 * time.Millisecond
)

// icmp derives the facts about the ICMP error that ended the attempt.
func (o *observer) icmp(v *view) {
	e := v.icmp
	if e == nil {
		return
	}
	v4 := v.addr().Is4() || v.addr().Is4In6()
	code := icmpCode(v4, e.Type, e.Code)
	o.add(evidence.ICMPCode, code, "connect", e.At, "the ICMP error says %s (type %d code %d)", icmpWords[code], e.Type, e.Code)
	switch {
	case v.here:
		o.add(evidence.ICMPFrom, evidence.FromHereTarget, "connect", e.At, "the ICMP error was made on this host, which is the target")
	case e.Local || v.own(e.From):
		o.add(evidence.ICMPFrom, evidence.FromHere, "connect", e.At, "the ICMP error comes from this host itself")
	case e.From == v.addr():
		o.add(evidence.ICMPFrom, evidence.FromTarget, "connect", e.At, "the ICMP error comes from the target's own address %v", e.From)
	case e.From.IsValid():
		o.add(evidence.ICMPFrom, evidence.FromRouter, "connect", e.At, "the ICMP error comes from %v, which is not the target", e.From)
	}
	if (e.Local || v.own(e.From)) && !v.here {
		o.add(evidence.AnswerVia, evidence.ViaLoopback, "connect", e.At, "the error did not come from the network")
	}
	switch d := e.At - v.main.At; {
	case d < icmpAtOnce:
		o.add(evidence.ICMPDelay, evidence.DelayNone, "connect", e.At, "the ICMP error came at once, after %s", ms(d))
	case d >= icmpLate:
		o.add(evidence.ICMPDelay, evidence.DelayLate, "connect", e.At, "the ICMP error came late, after %s, as after an address resolution that failed", ms(d))
	}
	switch e.Quote {
	case evidence.QuoteIntact:
		o.add(evidence.ICMPQuote, evidence.Value(e.Quote), "connect", e.At, "the packet it quotes is our SYN, unchanged")
	case evidence.QuoteRewritten:
		o.add(evidence.ICMPQuote, evidence.Value(e.Quote), "connect", e.At, "the packet it quotes is our SYN with its addresses rewritten (NAT)")
	}
}
