package diagnose

import (
	"fmt"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// probes derives the facts of control probes.
func (o *observer) probes(v *view) {
	if v.main == nil || v.inCall() {
		return
	}
	o.hostAnswers(v)
	o.bare(v)
	if c := v.control(evidence.ControlTTL255); c != nil && c.Answer != "not-sent" {
		val, text := evidence.ProbeSilent, "a SYN with TTL 255 goes unanswered too"
		if c.Answer == "syn-ack" || c.Answer == "rst" {
			val, text = evidence.ProbeAnswered, "a SYN with TTL 255 is answered"
		}
		o.add(evidence.ProbeTTL255, val, "control", c.At, "%s", text)
	}
	o.ecn(v)
	if b := v.a.OtherPath; b != nil && b.AnswerTTL > 0 {
		open := b.Answer == "syn-ack"
		does := "does not accept"
		if open {
			does = "accepts too"
		}
		o.add(evidence.EveryPort, yesNo(open), "path", b.At, "port %d, which hardly anybody uses, %s", b.Port, does)
	} else if s := v.a.Session; v.kind == evidence.AnswerSYNACK && (s == nil || s.Received > 0) {
		o.add(evidence.EveryPort, evidence.NotAsked, "connect", v.main.At, "no other port was tried")
	}
	o.owners(v)
}

// hostAnswers: is there life at the address, apart from the port asked for?
func (o *observer) hostAnswers(v *view) {
	if v.here || v.kind == evidence.AnswerRST || v.kind == evidence.AnswerSYNACK {
		return
	}
	b, echo := v.a.OtherPath, v.control(evidence.ControlEcho)
	switch {
	case echo != nil && echo.Answer == "echo-reply" && v.from(echo.From):
		o.add(evidence.HostAnswers, evidence.Yes, "control", echo.At, "%v answers ICMP echo after %s", v.addr(), ms(echo.Took))
	case v.bareAnswered():
		o.add(evidence.HostAnswers, evidence.Yes, "control", v.main.At, "%v answers a bare segment to the port with RST", v.addr())
	case v.reached(b) && b.Answer == "rst":
		o.add(evidence.HostAnswers, evidence.ResetsOnly, "path", b.At, "a RST comes back for port %d of %v", b.Port, v.addr())
	case v.reached(b):
		o.add(evidence.HostAnswers, evidence.Yes, "path", b.At, "%v answers on port %d (%s)", v.addr(), b.Port, b.Answer)
	case b != nil && b.Took >= v.rtt():
		what, does := fmt.Sprintf("port %d", b.Port), "gets"
		if echo != nil {
			what, does = what+" and ICMP echo", "get"
		}
		o.add(evidence.HostAnswers, evidence.No, "path", b.At, "%s %s no answer from %v either", what, does, v.addr())
	}
}

func (v *view) bareAnswered() bool {
	return slices.ContainsFunc(v.a.Controls, func(c evidence.Control) bool {
		return (c.Kind == evidence.ControlACK || c.Kind == evidence.ControlFIN) && c.Port == v.a.Addr.Port() && c.Answer == "rst"
	})
}

// bare: what bare ACK and FIN segments give. A closed port and a listener both
// answer a stray ACK with RST, a listener ignores a stray FIN (RFC 9293
// section 3.10.7.2).
func (o *observer) bare(v *view) {
	var here, other *evidence.Control
	for i := range v.a.Controls {
		c := &v.a.Controls[i]
		switch {
		case c.Kind != evidence.ControlACK || v.early(c):
		case c.Port == v.a.Addr.Port():
			here = c
		default:
			other = c
		}
	}
	switch {
	case here == nil || here.Answer == "not-sent":
	case here.Answer == "rst":
		o.add(evidence.ProbeACK, evidence.ProbeRST, "control", here.At, "a bare ACK to the port is answered with RST: packets to it reach a TCP that answers")
	case other != nil && other.Answer == "rst":
		o.add(evidence.ProbeACK, evidence.ProbeSilentHere, "control", here.At, "a bare ACK to the port goes unanswered, one to port %d does not", other.Port)
	default:
		o.add(evidence.ProbeACK, evidence.ProbeSilent, "control", here.At, "a bare ACK to the port goes unanswered")
	}
	if c := v.control(evidence.ControlFIN); c != nil && c.Answer != "not-sent" {
		val, text := evidence.ProbeSilent, "a bare FIN to the port goes unanswered"
		if c.Answer == "rst" {
			val, text = evidence.ProbeRST, "a bare FIN to the port is answered with RST, as from a closed port"
		}
		o.add(evidence.ProbeFIN, val, "control", c.At, "%s", text)
	}
}

func (o *observer) ecn(v *view) {
	plain, ecn := v.control(evidence.ControlPlain), v.control(evidence.ControlECN)
	if plain != nil && ecn != nil {
		switch answered := plain.Answer == "syn-ack" || plain.Answer == "rst"; {
		case answered && ecn.Answer == "silent":
			o.add(evidence.ProbeECN, evidence.ECNBlocked, "control", plain.At, "a SYN without ECN is answered, one with ECN is not")
		case plain.Answer == ecn.Answer && plain.Answer != "not-sent":
			o.add(evidence.ProbeECN, evidence.ECNPasses, "control", plain.At, "SYNs with and without ECN fare alike")
		}
		return
	}
	// tcp_ecn 1 is the only value that asks for ECN on connections going out.
	// See ip-sysctl, tcp_ecn; 4 and 5 are its AccECN kin.
	if c := v.a.Counters; c != nil {
		switch e := c.Sysctl["net.ipv4.tcp_ecn"]; e {
		case "0", "2", "3":
			o.add(evidence.ProbeECN, evidence.NotAsked, "counters", 0, "our SYNs do not ask for ECN (net.ipv4.tcp_ecn = %s)", e)
		}
	}
}

// owners: how many machines announce the address on the own link?
func (o *observer) owners(v *view) {
	if r := v.a.Route; r == nil || v.here || r.Gateway.IsValid() {
		return
	}
	macs := v.announced(v.addr())
	switch {
	case len(macs) > 1:
		o.add(evidence.NeighOwners, evidence.OwnersSeveral, "packets", 0, "%d machines claim %v", len(macs), v.addr())
	case len(macs) == 1:
		o.add(evidence.NeighOwners, evidence.OwnersOne, "packets", 0, "one machine claims %v", v.addr())
	case v.kind == evidence.AnswerSYNACK && v.main.Retransmits == 0:
		o.add(evidence.NeighOwners, evidence.NotAsked, "connect", 0, "nothing gave reason to look for a second owner of the address")
	}
}
