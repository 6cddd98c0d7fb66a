package diagnose

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// Conversation says what captures show of one connection: its facts, and the
// verdict they allow. What a live run can ask and a capture cannot (other ports,
// the path, tables of the hosts) is simply not known.
func Conversation(c *evidence.Conversation) ([]evidence.Fact, verdict.AddressVerdict) {
	return new(Memo).Conversation(c)
}

// Conversation says what the function of that name says.
func (m *Memo) Conversation(c *evidence.Conversation) ([]evidence.Fact, verdict.AddressVerdict) {
	o := &observer{addr: c.Tuple.Remote, facts: make([]evidence.Fact, 0, 24)}
	r := c.Client
	if r == nil {
		r = &evidence.Recording{}
	}
	w := &recorded{Conversation: c, r: r}
	w.observe(o)
	for i := range o.facts {
		o.facts[i].ID = evidence.ID("e" + strconv.Itoa(i+1))
	}
	known := m.conclusion(o.facts)
	out := verdict.AddressVerdict{Addr: c.Tuple.Remote, Outcome: w.outcome(known.cause)}
	if why := w.tooEarly(); why != "" {
		out.Verdict = verdict.Verdict{
			Certainty: verdict.Unknown, Cause: verdict.Undetermined, Finding: why,
			Candidates: []verdict.Candidate{}, RuledOut: []verdict.RuledOut{}, Because: []evidence.ID{},
		}
		return o.facts, out
	}
	set, a := w.set()
	out.Verdict = known.verdict(newView(set, a))
	return o.facts, out
}

// recorded is a conversation with what several facts need.
type recorded struct {
	*evidence.Conversation
	r *evidence.Recording // at the client, or the only one; never nil
}

// enough is how long a capture must go on after a SYN, and how often the SYN
// must have been sent again, before its silence means anything: the second SYN
// leaves after 1 s, RFC 6298 section 2.
const enough = 2 * time.Second

// tooEarly says why the recording shows too little to judge, "" if it does not.
func (w *recorded) tooEarly() string {
	switch {
	case w.r.SYNCount == 0 && !w.r.Began && w.r.ClientBytes+w.r.ServerBytes == 0 && len(w.r.Resets) == 0:
		return "the capture holds nothing of this connection's beginning or data"
	case w.halfOpen():
		return "the capture shows no ACK for the SYN-ACK, nor that the SYN was sent again: too little to judge"
	case w.answer() == evidence.AnswerNone && !w.silentForLong():
		return fmt.Sprintf("the capture ends %s after the SYN, too early to tell whether an answer came", ms(w.watched()))
	}
	return ""
}

// watched is the time from the first SYN to the end of the capture.
func (w *recorded) watched() time.Duration {
	last := w.r.Watched
	if n := len(w.r.SYNs); n > 0 {
		last += w.r.SYNs[n-1]
	}
	return last
}

func (w *recorded) silentForLong() bool { return w.watched() >= enough && w.r.SYNCount >= 2 }

// answer is the first that came back for the SYN.
func (w *recorded) answer() evidence.Value {
	switch {
	case w.ignored():
		return evidence.AnswerNone
	case w.r.SYNACKCount > 0 || !w.r.Began:
		return evidence.AnswerSYNACK
	case w.refusal() != nil:
		return evidence.AnswerRST
	case w.hard() != nil:
		return evidence.AnswerICMP
	}
	return evidence.AnswerNone
}

// unanswered says that nothing of the client follows the SYN-ACK.
func (w *recorded) unanswered() bool {
	byClient := slices.ContainsFunc(w.r.Resets, func(x evidence.RecordedReset) bool { return !x.FromServer })
	return w.r.Began && w.r.SYNACKCount > 0 && !w.r.ACK && !byClient
}

// ignored says that the client went on sending SYNs: the SYN-ACK did not get to
// it, or not to its TCP.
func (w *recorded) ignored() bool {
	n := len(w.r.SYNs)
	return w.unanswered() && n > 0 && w.r.SYNs[n-1] > w.r.SYNACK
}

func (w *recorded) halfOpen() bool { return w.unanswered() && !w.ignored() }

// refusal is the RST that answers the SYN.
func (w *recorded) refusal() *evidence.RecordedReset {
	if w.r.SYNACKCount > 0 {
		return nil
	}
	for i := range w.r.Resets {
		if r := &w.r.Resets[i]; r.FromServer {
			return r
		}
	}
	return nil
}

func (w *recorded) hard() *evidence.SocketError { return firstHard(w.r.ICMP) }

// elsewhere says that the two ends are different machines.
func (w *recorded) elsewhere() bool {
	return w.r.Place != "both" && !w.Tuple.Remote.Addr().IsLoopback()
}

func (w *recorded) observe(o *observer) {
	const source = "capture"
	r := w.r
	if w.tooEarly() != "" {
		return
	}
	if r.Place != "" {
		o.add(evidence.TargetHere, yesNo(!w.elsewhere()), source, 0, "the capture was made %s", placeText[r.Place])
	}
	self := "differ"
	if w.Tuple.Local == w.Tuple.Remote {
		self = "are the same socket address"
	}
	o.add(evidence.SelfConnect, yesNo(w.Tuple.Local == w.Tuple.Remote), source, 0, "source and destination of the connection %s", self)
	if r.Began && w.elsewhere() {
		o.add(evidence.SynLeft, evidence.Yes, source, 0, "the SYN is in the capture")
	}
	after := &observer{addr: o.addr}
	if w.answer() == evidence.AnswerSYNACK {
		w.session(after)
	}
	w.result(o)
	w.repeats(o, ending(after.facts))
	w.icmp(o)
	w.distance(o)
	o.facts = append(o.facts, after.facts...)
	switch {
	case w.Compared:
		w.otherSide(o)
	case w.r.Place == "server":
		w.atServer(o)
	}
	if w.answer() == evidence.AnswerNone && w.r.Place == "client" {
		o.add(evidence.AnswerDropped, yesNo(w.ignored()), source, 0, "%s in the capture, and the client's TCP sent its SYN again", plural(w.r.SYNACKCount, "SYN-ACK is", "SYN-ACKs are"))
	}
}

var placeText = map[string]string{
	"client": "on the client", "server": "on the server", "both": "on a machine that is both client and server",
	"between": "between the two, behind routers of both",
}

// result: what came back, and when.
func (w *recorded) result(o *observer) {
	const source = "capture"
	r := w.r
	switch w.answer() {
	case evidence.AnswerSYNACK:
		if !r.Began {
			o.add(evidence.Connect, evidence.ConnOpen, source, 0, "the connection is older than the capture")
			return
		}
		o.add(evidence.Connect, evidence.ConnOpen, source, r.SYNACK, "a SYN-ACK came %s after the first SYN", ms(r.SYNACK))
		o.add(evidence.ConnectWhen, evidence.WhenAnswered, source, r.SYNACK, "an answer ended the attempt")
		o.add(evidence.Answer, evidence.AnswerSYNACK, source, r.SYNACK, "the SYN was answered by SYN-ACK")
		if w.gaveUp() {
			o.add(evidence.ConnectInTime, evidence.No, source, r.SYNACK, "the client answered the SYN-ACK with a RST: it had given up before")
		} else {
			o.add(evidence.ConnectInTime, evidence.Yes, source, r.SYNACK, "the client took the SYN-ACK")
		}
	case evidence.AnswerRST:
		x := w.refusal()
		o.add(evidence.Connect, evidence.ConnRefused, source, x.At, "a RST refused the SYN after %s", ms(x.At))
		o.add(evidence.ConnectWhen, evidence.WhenAnswered, source, x.At, "an answer ended the attempt")
		o.add(evidence.Answer, evidence.AnswerRST, source, x.At, "the SYN was answered by RST with TTL %d", x.TTL)
		o.add(evidence.ConnectInTime, evidence.Yes, source, x.At, "the answer came after %s", ms(x.At))
		if w.elsewhere() {
			o.add(evidence.AnswerVia, evidence.ViaNetwork, source, x.At, "the RST came over the network")
		}
	case evidence.AnswerICMP:
		e := w.hard()
		o.add(evidence.ConnectWhen, evidence.WhenAnswered, source, e.At, "an answer ended the attempt")
		o.add(evidence.Answer, evidence.AnswerICMP, source, e.At, "the SYN was answered by an ICMP error from %v", e.From)
	default:
		o.add(evidence.Connect, evidence.ConnTimeout, source, w.watched(), "%s in %s, and nothing came back", plural(r.SYNCount, "SYN", "SYNs"), ms(w.watched()))
		o.add(evidence.ConnectWhen, evidence.WhenNever, source, w.watched(), "neither SYN-ACK nor RST nor an ICMP error came back")
		o.add(evidence.Answer, evidence.AnswerNone, source, w.watched(), "nothing came back for the SYN")
		o.add(evidence.ConnectInTime, evidence.WhenNever, source, w.watched(), "no answer in %s", ms(w.watched()))
	}
}

// gaveUp says that the client's own TCP refused the SYN-ACK: its connection was
// gone.
func (w *recorded) gaveUp() bool {
	return !w.r.ACK && len(w.r.Resets) > 0 && !w.r.Resets[0].FromServer && w.r.Resets[0].At >= w.r.SYNACK
}

// repeats: how do all SYNs to the port in the capture fare? A session that fails
// does so whatever was lost before, and however others fared.
func (w *recorded) repeats(o *observer, how end) {
	const source = "capture"
	r, p := w.r, w.Peers
	if !r.Began {
		return
	}
	lost := r.SYNCount - 1
	if w.answer() == evidence.AnswerNone {
		lost = r.SYNCount
	}
	sent := r.SYNCount + p.SYNs
	switch all := lost + p.LostSYNs; {
	case p.Changed:
	case p.Other > 0 && how != fine:
	case p.Other == 0 && p.Silent > 0:
	case p.Other > 0:
		o.add(evidence.ConnectRepeat, evidence.RepeatMixed, source, 0, "%s to the same port ended otherwise", plural(p.Other, "attempt", "attempts"))
	case w.answer() == evidence.AnswerNone && all >= manySYNs && p.Same > 0:
		o.add(evidence.ConnectRepeat, evidence.RepeatSteady, source, 0, "%s from different source ports fared alike", plural(p.Same+1, "attempt", "attempts"))
	case w.answer() == evidence.AnswerNone && w.Compared && w.Server != nil && w.Server.SYNACKCount >= manySYNs:
		o.add(evidence.ConnectRepeat, evidence.RepeatSteady, source, 0, "%d SYN-ACKs left the host, and none arrived", w.Server.SYNACKCount)
	case w.answer() != evidence.AnswerNone && p.Same > 0:
		o.add(evidence.ConnectRepeat, evidence.RepeatSteady, source, 0, "%s had the same answer", plural(p.Same+1, "attempt", "attempts"))
	case w.answer() == evidence.AnswerSYNACK:
		o.add(evidence.ConnectRepeat, evidence.NotAsked, source, 0, "the capture holds one attempt at this port")
	}
	switch all := lost + p.LostSYNs; {
	case w.answer() == evidence.AnswerICMP:
	case w.gaveUp(): // a SYN-ACK that was lost and sent again comes late, too
	case how != fine && all > 0: // which is not why it failed
	case how != failed && all == 0 && w.mayBeLost(): // no SYN was, but perhaps what followed
	case all == sent && all >= manySYNs && p.Other == 0 && !p.Changed:
		o.add(evidence.ProbeLoss, evidence.LossAll, source, 0, "all of %d SYNs went unanswered: chance loss does not do that", all)
	case all > 0 && all < sent && w.roundTrip() < 900*time.Millisecond:
		o.add(evidence.ProbeLoss, evidence.LossSome, source, 0, "%d of %d SYNs went unanswered", all, sent)
	case all == 0:
		o.add(evidence.ProbeLoss, evidence.LossNone, source, 0, "no SYN had to be sent twice")
	}
	if w.answer() == evidence.AnswerSYNACK && p.Other+p.Silent == 0 && lost == 0 {
		o.add(evidence.ProbeSources, evidence.NotAsked, source, 0, "nothing in the capture depends on the source port")
		o.add(evidence.NeighOwners, evidence.NotAsked, source, 0, "nothing gave reason to look for a second owner of the address")
	}
	if !r.ECN {
		o.add(evidence.ProbeECN, evidence.NotAsked, source, 0, "the SYN does not ask for ECN")
	}
}

// roundTrip is the shortest time that the answer can have taken: from the last
// SYN before it.
func (w *recorded) roundTrip() time.Duration {
	at := w.r.SYNACK
	if x := w.refusal(); x != nil {
		at = x.At
	}
	for _, t := range slices.Backward(w.r.SYNs) {
		if t <= at {
			return at - t
		}
	}
	return 0
}

// distance compares how far the RST travelled with the server's other packets. If
// not as far, it may have come by another path; packets of one kind that disagree
// tell nothing either.
func (w *recorded) distance(o *observer) {
	const source = "capture"
	p := w.Peers
	if len(p.OpenTTLs) > 0 {
		o.add(evidence.HostAnswers, evidence.Yes, source, 0, "the host answers on other connections in the capture")
	} else if len(p.ClosedTTLs) > 0 && w.answer() != evidence.AnswerRST {
		o.add(evidence.HostAnswers, evidence.ResetsOnly, source, 0, "the host's address answers other ports with RST")
	}
	x := w.refusal()
	if w.answer() != evidence.AnswerRST || x.TTL == 0 || !w.elsewhere() {
		return
	}
	with, val := p.OpenTTLs, evidence.DistanceHost
	if len(with) == 0 {
		with, val = p.ClosedTTLs, evidence.DistanceSame
	}
	if len(with) != 1 {
		return
	}
	mine, host := distanceOf(x.TTL), distanceOf(with[0])
	if mine != host { // several paths back differ as well; one packet tells too little
		return
	}
	o.add(evidence.AnswerFrom, val, source, x.At, "the RST has TTL %d, other packets of %v have %d", x.TTL, w.Tuple.Remote.Addr(), with[0])
}

// set is the evidence as a live run would have it, as far as findings and
// advice need it.
func (w *recorded) set() (*evidence.Set, *evidence.Address) {
	t := evidence.Attempt{
		Tuple: w.Tuple, Took: w.watched(), Retransmits: max(w.r.SYNCount-1, 0), ICMP: w.r.ICMP,
		Connected: w.answer() == evidence.AnswerSYNACK, Pending: w.answer() == evidence.AnswerNone,
	}
	switch w.answer() {
	case evidence.AnswerRST:
		t.Errno = "ECONNREFUSED"
	case evidence.AnswerICMP:
		t.Errno = "EHOSTUNREACH"
	case evidence.AnswerSYNACK:
		t.Took = w.r.SYNACK
	}
	s := &evidence.Set{Addresses: []evidence.Address{{Addr: w.Tuple.Remote, Attempts: []evidence.Attempt{t}}}}
	s.Target.Port = w.Tuple.Remote.Port()
	return s, &s.Addresses[0]
}

// outcome is what the client's program experienced.
func (w *recorded) outcome(id verdict.CauseID) verdict.Outcome {
	switch w.answer() {
	case evidence.AnswerRST:
		return verdict.Refused
	case evidence.AnswerICMP:
		return verdict.Unreachable
	case evidence.AnswerNone:
		return verdict.Timeout
	}
	switch end := w.ended(); {
	case end != nil:
		return verdict.Reset
	case id == verdict.None:
		return verdict.Open
	}
	return verdict.Degraded
}
