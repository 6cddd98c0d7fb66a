package diagnose

import (
	"slices"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

var connectByErrno = map[string]evidence.Value{
	"ECONNREFUSED": evidence.ConnRefused, "ETIMEDOUT": evidence.ConnTimeout,
	"EHOSTUNREACH": evidence.ConnHostUnreach, "ENETUNREACH": evidence.ConnNetUnreach,
	"EHOSTDOWN": evidence.ConnHostUnreach, "ENETDOWN": evidence.ConnNetUnreach, "ENONET": evidence.ConnHostUnreach,
	"EACCES": evidence.ConnDenied, "EPERM": evidence.ConnNotPermit, "EINVAL": evidence.ConnInvalid,
	"EADDRNOTAVAIL": evidence.ConnNoAddress, "EADDRINUSE": evidence.ConnInUse,
	"EMFILE": evidence.ConnNoFiles, "ENFILE": evidence.ConnNoFiles,
	"EAFNOSUPPORT": evidence.ConnNoFamily, "ECONNRESET": evidence.ConnReset,
	"ENOPROTOOPT": evidence.ConnNoProto,
}

// connect derives the facts about the attempt itself.
func (o *observer) connect(v *view) {
	m := v.main
	if m == nil || v.unfinished() {
		return
	}
	from := ""
	if m.Tuple.Local.IsValid() && m.Tuple.Local.Port() != 0 {
		from = " from " + m.Tuple.Local.String()
	}
	result, known := connectByErrno[m.Errno]
	switch {
	case m.Connected:
		o.add(evidence.Connect, evidence.ConnOpen, "connect", m.At, "connect() to %v%s succeeded after %s", v.a.Addr, from, ms(m.Took))
	case m.Pending:
		o.add(evidence.Connect, evidence.ConnTimeout, "connect", m.At, "connect() to %v%s got no answer in %s%s", v.a.Addr, from, ms(m.Took), resent(m.Retransmits))
	case known:
		o.add(evidence.Connect, result, "connect", m.At, "connect() to %v%s: %s after %s", v.a.Addr, from, m.Errno, ms(m.Took))
	default:
		o.add(evidence.Connect, evidence.ConnOther, "connect", m.At, "connect() to %v%s failed: %s", v.a.Addr, from, orWord(m.Errno, m.Err))
	}
	end := m.At + m.Took
	switch {
	case v.inCall():
		o.add(evidence.ConnectWhen, evidence.WhenAtOnce, "connect", end, "%s() itself failed, without a packet", m.Syscall)
	case m.Pending || m.Errno == "ETIMEDOUT":
		o.add(evidence.ConnectWhen, evidence.WhenNever, "connect", end, "neither SYN-ACK nor RST nor an ICMP error came back")
	default:
		o.add(evidence.ConnectWhen, evidence.WhenAnswered, "connect", end, "an answer ended the attempt")
	}
	o.answer(v)
	o.repeats(v)
	o.inTime(v)
}

func resent(n int) string {
	if n == 0 {
		return ""
	}
	return ", with the SYN sent again " + plural(n, "time", "times")
}

func (o *observer) answer(v *view) {
	m := v.main
	at := m.At + m.Took
	switch v.kind {
	case evidence.AnswerSYNACK:
		o.add(evidence.Answer, v.kind, "connect", at, "the SYN was answered by SYN-ACK")
	case evidence.AnswerRST:
		if p := v.captured("RST"); p != nil {
			o.add(evidence.Answer, v.kind, "packets", p.At, "the SYN was answered by %s with TTL %d", p.Flags, p.TTL)
			return
		}
		o.add(evidence.Answer, v.kind, "connect", at, "the SYN was answered by RST: refused, with no ICMP error on the socket")
	case evidence.AnswerICMP:
		o.add(evidence.Answer, v.kind, "connect", v.icmp.At, "the SYN was answered by an ICMP error from %v", v.icmp.From)
	case evidence.AnswerNone:
		if !v.inCall() {
			o.add(evidence.Answer, v.kind, "connect", at, "nothing came back for the SYN")
			o.dropped(v)
		} else {
			o.add(evidence.Answer, v.kind, "connect", at, "no SYN was sent, so nothing came back")
		}
	}
}

// dropped: packets are captured before the rules of this host see them.
func (o *observer) dropped(v *view) {
	c := v.a.Capture
	// A server that missed our ACK, or whose SYN-ACK was lost, sends it again;
	// what comes once the attempt is over was not kept from it.
	const late = 20 * time.Millisecond
	switch p := v.captured("SYN"); {
	case p != nil && p.At > v.main.At+v.main.Took-late:
	case p != nil && v.filtered() != nil:
		r := v.filtered()
		o.add(evidence.AnswerDropped, evidence.DroppedReversePath, "packets", p.At, "%s arrived on %s, where the reverse path filter (%s) drops it: the way to %v is %s", p.Flags, r.Arrives, r.RPFilter, r.Client, wayOut(r))
	case p != nil:
		o.add(evidence.AnswerDropped, evidence.Yes, "packets", p.At, "%s arrived on %s, but this host's TCP never got it", p.Flags, p.Interface)
	case c != nil && c.Received > 0 && c.Dropped == 0:
		o.add(evidence.AnswerDropped, evidence.No, "packets", v.main.At, "no SYN-ACK arrived on any interface")
	}
}

// manySYNs is how many SYNs must fare alike before loss by chance is ruled
// out: at 30 % loss, 8 in a row are lost once in 15,000 runs.
const manySYNs = 8

// repeats: do all SYNs to the port fare alike?
func (o *observer) repeats(v *view) {
	m := v.main
	if v.inCall() {
		return
	}
	pathAnswers := v.a.Path != nil && v.a.Path.AnswerTTL > 0
	sent, lost := v.synsSent()
	tried, _ := v.sourcesAgree()
	mixed := v.varies()
	switch {
	case mixed:
		o.add(evidence.ConnectRepeat, evidence.RepeatMixed, "connect", m.At, "SYNs to the same port fare differently: %d of %d went unanswered", lost, max(sent, lost))
	case v.kind == evidence.AnswerNone && lost >= manySYNs:
		o.add(evidence.ConnectRepeat, evidence.RepeatSteady, "path", m.At, "%d SYNs from different source ports fared alike", lost)
	case v.kind != evidence.AnswerNone && (len(v.a.Attempts) > 1 || pathAnswers || tried):
		o.add(evidence.ConnectRepeat, evidence.RepeatSteady, "connect", m.At, "repeated SYNs got the same answer")
	case v.kind == evidence.AnswerSYNACK:
		o.add(evidence.ConnectRepeat, evidence.NotAsked, "connect", m.At, "the first attempt worked; it was not repeated")
	case v.kind == evidence.AnswerICMP:
		o.add(evidence.ConnectRepeat, evidence.NotAsked, "connect", m.At, "the attempt was not repeated")
	}
	if tried {
		o.sourcePorts(v, mixed)
	} else if v.kind == evidence.AnswerSYNACK && !mixed && lost == 0 {
		o.add(evidence.ProbeSources, evidence.NotAsked, "connect", m.At, "other source ports were not tried")
	}
	switch {
	case v.kind == evidence.AnswerICMP || v.kind == evidence.AnswerNone && lost == 0 && !pathAnswers:
	case sent > 0 && lost == sent && lost >= manySYNs:
		o.add(evidence.ProbeLoss, evidence.LossAll, "path", m.At, "all of %d SYNs went unanswered: chance loss does not do that", lost)
	case mixed && lost > 0, lost > 0 && lost < sent, v.kind == evidence.AnswerNone && pathAnswers:
		o.add(evidence.ProbeLoss, evidence.LossSome, "connect", m.At, "%d of %d SYNs went unanswered", lost, max(sent, lost))
	case lost == 0 && sent > 0 && !slices.ContainsFunc(v.a.Attempts, func(t evidence.Attempt) bool { return t.Retransmits > 0 }):
		o.add(evidence.ProbeLoss, evidence.LossNone, "connect", m.At, "no SYN had to be sent twice")
	case lost == 0 && sent > 0 && !slices.ContainsFunc(v.a.Attempts, v.overdue):
		o.add(evidence.ProbeLoss, evidence.LossNone, "connect", m.At, "SYNs were sent again only because the round trip takes %s, and the kernel waits 1 s", ms(v.rtt()))
	}
}

// varies says that SYNs to the port fared differently.
func (v *view) varies() bool {
	p := v.a.Path
	_, agree := v.sourcesAgree()
	return p != nil && p.AnswerTTL > 0 && evidence.Value(p.Answer) != v.kind || v.differ() || !agree
}

// overdue says that the SYN was sent again more often than a long round trip
// explains: once a second at most, RFC 6298 section 2.
func (v *view) overdue(t evidence.Attempt) bool { return t.Retransmits > int(v.rtt()/time.Second) }

// sourcesAgree says whether SYNs from other source ports were tried, and
// whether all fared as the attempt did.
func (v *view) sourcesAgree() (tried, agree bool) {
	agree = true
	want := string(v.kind)
	if v.kind == evidence.AnswerNone {
		want = "silent"
	}
	for _, answers := range v.sources() {
		for _, a := range answers {
			tried = true
			agree = agree && a == want
		}
	}
	return tried, agree
}

// sourcePorts: does the outcome stick to the source port, as where parallel
// paths are chosen by a hash of it, or does it come and go?
func (o *observer) sourcePorts(v *view, mixed bool) {
	var always, never, both int
	if v.main.Connected && v.main.Retransmits > 0 && v.rtt() > 0 && v.rtt() < 900*time.Millisecond {
		both++ // one SYN of the attempt was lost, the next from the same port was not
	}
	for _, answers := range v.sources() {
		silent := 0
		for _, a := range answers {
			if a == "silent" {
				silent++
			}
		}
		switch {
		case len(answers) < 2:
		case silent == 0:
			always++
		case silent == len(answers):
			never++
		default:
			both++
		}
	}
	if always > 0 && never > 0 && both == 0 {
		o.add(evidence.ProbeSources, evidence.SourcesDiffer, "control", v.main.At, "SYNs from one source port are always answered, from another one never")
		return
	}
	if both == 0 && mixed {
		return // each port fared alike both times, yet SYNs differ: nothing tells by what
	}
	o.add(evidence.ProbeSources, evidence.SourcesSame, "control", v.main.At, "the outcome does not stick to the source port")
}

// differ says that failed attempts failed in different ways.
func (v *view) differ() bool {
	for i := range v.a.Attempts {
		if t := &v.a.Attempts[i]; t.Connected != v.main.Connected || t.Errno != v.main.Errno {
			return true
		}
	}
	return false
}

// inTime: a connect that needs longer than the caller waits.
func (o *observer) inTime(v *view) {
	m := v.main
	limit := v.set.Options.ConnectTimeout
	switch {
	case v.inCall():
	case m.Connected && limit > 0 && m.Took > limit:
		o.add(evidence.ConnectInTime, evidence.No, "connect", m.At+m.Took, "the answer took %s, the caller waits %s", ms(m.Took), ms(limit))
	case !m.Pending && m.Errno != "ETIMEDOUT":
		o.add(evidence.ConnectInTime, evidence.Yes, "connect", m.At+m.Took, "the answer came after %s", ms(m.Took))
	case m.Errno == "ETIMEDOUT" || v.silentForLong() && v.rtt() == 0:
		o.add(evidence.ConnectInTime, evidence.WhenNever, "connect", m.At+m.Took, "no answer in %s", ms(m.Took))
	case v.silentForLong():
		o.add(evidence.ConnectInTime, evidence.WhenNever, "connect", m.At+m.Took, "the host's round trip is %s, yet no answer in %s", ms(v.rtt()), ms(m.Took))
	}
}
