package diagnose

import (
	"bytes"
	"slices"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// ended is the RST by which the server's side ended an established connection
// that the client had not ended itself, nil without one.
func (w *recorded) ended() *evidence.RecordedReset {
	r := w.r
	if w.answer() != evidence.AnswerSYNACK {
		return nil
	}
	for i := range r.Resets {
		x := &r.Resets[i]
		switch {
		case !x.FromServer && x.Valid:
			return nil
		case x.FromServer && x.Valid && (r.FINClient == 0 || x.At < r.FINClient):
			return x
		}
	}
	return nil
}

// session: what followed the handshake, as far as packets without their meaning
// tell it.
func (w *recorded) session(o *observer) {
	const source = "capture"
	r := w.r
	switch {
	case r.ClientBytes == 0:
		o.add(evidence.SessionHello, evidence.HelloNone, source, 0, "the client sent no data")
	case isTLS(r.ClientData):
		o.add(evidence.SessionHello, evidence.HelloTLS, source, 0, "the client began with a TLS record")
	case len(r.ClientData) > 0:
		o.add(evidence.SessionHello, evidence.HelloPlain, source, 0, "the client began with data that is not TLS")
	}
	w.end(o)
	w.reply(o)
	o.add(evidence.SessionRepeat, evidence.NotAsked, source, 0, "each connection is judged by itself")
	switch {
	case w.again():
		o.add(evidence.SessionAcked, evidence.No, source, 0, "the SYN-ACK came again after the client had acknowledged it: that ACK was not taken")
	case r.ClientBytes > 0 && r.Unacked == 0:
		o.add(evidence.SessionAcked, evidence.Yes, source, 0, "the server's TCP acknowledged all of %d bytes", r.ClientBytes)
	case r.Unacked > 0 && r.Resent > 0 && !r.ZeroWindow:
		o.add(evidence.SessionAcked, evidence.No, source, 0, "%d bytes of the client were sent again and not acknowledged", r.Unacked)
	}
	if r.ZeroWindow {
		o.add(evidence.SessionWindow, evidence.WindowZero, source, 0, "the server's last window is 0: its application does not read")
	} else {
		o.add(evidence.SessionWindow, evidence.WindowOpen, source, 0, "the server's window is open at the end")
	}
	if r.Unacked == 0 || r.Resent == 0 {
		o.add(evidence.SessionLarge, evidence.NotAsked, source, 0, "no segment was sent in vain")
		o.add(evidence.SessionIdle, evidence.NotAsked, source, 0, "nothing was sent in vain after a pause")
	}
	if r.ServerBytes > 0 {
		o.add(evidence.EveryPort, evidence.NotAsked, source, 0, "an application answers; other ports were not tried")
	}
	x := w.ended()
	if x == nil || x.TTL == 0 || r.ServerTTL == 0 || !w.elsewhere() {
		return
	}
	a, b := distanceOf(r.ServerTTL), distanceOf(x.TTL)
	same := func(x evidence.RecordedReset) bool { return x.FromServer && x.TTL == r.ServerTTL }
	if a != b && slices.ContainsFunc(r.Resets, same) || r.Place == "between" && max(a-b, b-a) == 1 {
		return // one before the router that captures, one behind it
	}
	val := evidence.DistanceHost
	switch {
	case b > a:
		val = evidence.DistanceFarther
	case b < a:
		val = evidence.DistanceNearer
	}
	o.add(evidence.SessionTTL, val, source, x.At, "the server's other packets have TTL %d, the RST has %d", r.ServerTTL, x.TTL)
}

// manyACKs is how many ACKs of a SYN-ACK, by themselves or with data, must be in
// vain before loss by chance is ruled out: at 30 % loss, 6 in a row are lost, and
// all SYN-ACKs arrive, once in 12,000 runs. Linux sends 6 SYN-ACKs (ip-sysctl,
// tcp_synack_retries).
const manyACKs = 6

// longSilence is how long a capture must go on for a lost answer to be sent again
// at least 6 times: from 200 ms on, each time after twice as long (RFC 6298
// section 5).
const longSilence = 15 * time.Second

// mayBeLost says that what followed the handshake may be lost by chance.
func (w *recorded) mayBeLost() bool {
	r := w.r
	switch {
	case w.again():
		return r.SYNACKCount+r.Resent < manyACKs
	case r.ZeroWindow || r.ClientBytes == 0:
		return false
	case r.Unacked > 0:
		return r.Unacked < r.ClientBytes || r.Resent < manyACKs
	case r.ServerBytes > 0 || r.FINServer > 0: // or it would not have ended there
		return false
	case w.Compared && w.Server != nil:
		return w.Server.ServerBytes > 0
	}
	return w.elsewhere() && r.Place != "server" && r.Watched < longSilence
}

// end is how a session came out.
type end uint8

const (
	fine   end = iota
	silent     // no answer, and nothing that says why
	failed     // it shows a fault of its own
)

// ending takes it from the facts about the session.
func ending(session []evidence.Fact) (how end) {
	for _, f := range session {
		switch {
		case f.Key == evidence.SessionEnd && f.Value != evidence.EndNone,
			f.Key == evidence.SessionWindow && f.Value == evidence.WindowZero,
			f.Key == evidence.SessionReply && slices.Contains([]evidence.Value{evidence.ReplyOther, evidence.ReplyGateway, evidence.ReplyTLSError, evidence.ReplyCut}, f.Value):
			return failed
		case f.Key == evidence.SessionReply && f.Value == evidence.ReplyNothing:
			how = silent
		}
	}
	return how
}

// again says that the server, or what answers for it, repeats its SYN-ACK though
// the client has acknowledged it, and sent nothing else.
func (w *recorded) again() bool {
	return w.r.SYNACKAgain && w.r.ServerBytes == 0 && w.r.FINServer == 0 && w.ended() == nil && w.r.SYNCount == 1
}

// end: who ended the connection, and did our data make it?
func (w *recorded) end(o *observer) {
	const source = "capture"
	r := w.r
	if x := w.ended(); x != nil {
		val, after := evidence.EndRST, "before the client had sent data"
		if r.ClientBytes > 0 {
			val, after = evidence.EndRSTCrossed, "and the client had sent data"
		}
		o.add(evidence.SessionEnd, val, source, x.At, "a RST from the server's address ended the connection, %s", after)
		return
	}
	if first := r.FINServer > 0 && (r.FINClient == 0 || r.FINServer < r.FINClient); !first || r.ServerBytes > 0 {
		o.add(evidence.SessionEnd, evidence.EndNone, source, 0, "the server did not end the connection without an answer")
		return
	}
	if r.ClientBytes > 0 {
		o.add(evidence.SessionEnd, evidence.EndFINCrossed, source, r.FINServer, "the server closed the connection without a byte, and the client had sent data")
	} else {
		o.add(evidence.SessionEnd, evidence.EndFIN, source, r.FINServer, "the server closed the connection without a byte")
	}
}

// reply judges the first bytes of both sides. What TLS hides is not judged: its
// alerts may be encrypted.
func (w *recorded) reply(o *observer) {
	const source = "capture"
	r := w.r
	status, gateway := gatewayStatus(r.ServerData)
	switch {
	case r.ServerBytes == 0 && r.ClientBytes == 0:
		o.add(evidence.SessionReply, evidence.NotAsked, source, 0, "neither side sent data")
	case r.ServerBytes == 0:
		o.add(evidence.SessionReply, evidence.ReplyNothing, source, 0, "the server answered nothing to %d bytes", r.ClientBytes)
	case w.ended() != nil && isTLS(r.ClientData) && isTLS(r.ServerData):
		// The RST may follow an alert that cannot be read.
	case w.ended() != nil && !r.Began && r.ServerBytes <= 1: // what the server sent before is not known
	case w.ended() != nil:
		o.add(evidence.SessionReply, evidence.ReplyCut, source, 0, "the connection was reset after %d bytes of the server", r.ServerBytes)
	case gateway:
		o.add(evidence.SessionReply, evidence.ReplyGateway, source, 0, "the server answers HTTP status %s", status)
	case len(r.ClientData) == 0 || len(r.ServerData) == 0: // cut by the snap length, or the server speaks first
		if r.ClientBytes == 0 {
			o.add(evidence.SessionReply, evidence.ReplyExpected, source, 0, "the server sent %d bytes", r.ServerBytes)
		}
	case isTLS(r.ClientData) != isTLS(r.ServerData):
		o.add(evidence.SessionReply, evidence.ReplyOther, source, 0, "one side speaks TLS, the other does not")
	case isTLS(r.ClientData) && r.ServerData[0] == tlsAlert:
		o.add(evidence.SessionReply, evidence.ReplyTLSError, source, 0, "the server answers the TLS hello with an alert")
	case !isTLS(r.ClientData):
		o.add(evidence.SessionReply, evidence.ReplyExpected, source, 0, "the server answered with %d bytes", r.ServerBytes)
	}
}

// Content types of TLS records, RFC 8446 section 5.1.
const (
	tlsAlert     = 21
	tlsHandshake = 22
)

func isTLS(b []byte) bool {
	return len(b) >= 3 && (b[0] == tlsHandshake || b[0] == tlsAlert) && b[1] == 3 && b[2] <= 4
}

// gatewayStatus is the status of an HTTP/1 answer of a proxy that cannot reach
// what is behind it.
func gatewayStatus(b []byte) (string, bool) {
	rest, ok := bytes.CutPrefix(b, []byte("HTTP/1."))
	if !ok || len(rest) < 5 {
		return "", false
	}
	status := string(rest[2:5])
	return status, status == "502" || status == "503" || status == "504"
}

// atServer: the only capture was made at the server.
func (w *recorded) atServer(o *observer) {
	const source = "capture"
	if !w.r.Began {
		return
	}
	o.add(evidence.HostSYN, evidence.Yes, source, 0, "the capture was made on the server, and the SYN is in it")
	o.add(evidence.HostSYNACK, yesNo(w.r.SYNACKCount > 0), source, w.r.SYNACK, "the server sent %s", plural(w.r.SYNACKCount, "SYN-ACK", "SYN-ACKs"))
	if w.refusal() != nil || w.ended() != nil {
		o.add(evidence.HostReset, evidence.Yes, source, 0, "the RST left the server")
	}
}

// otherSide: what the capture at the server's side adds.
func (w *recorded) otherSide(o *observer) {
	const source = "compare"
	if !w.r.Began {
		return
	}
	s := w.Server
	if s == nil || s.SYNCount == 0 {
		o.add(evidence.HostSYN, evidence.No, source, 0, "the SYN is not in the capture at the server's side")
		if s == nil {
			s = &evidence.Recording{}
		}
	} else {
		o.add(evidence.HostSYN, evidence.Yes, source, s.SYNs[0], "the SYN is in the capture at the server's side")
	}
	o.add(evidence.HostSYNACK, yesNo(s.SYNACKCount > 0), source, s.SYNACK, "the capture at the server's side holds %s", plural(s.SYNACKCount, "SYN-ACK", "SYN-ACKs"))
	if w.r.ACK {
		o.add(evidence.HostACK, yesNo(s.ACK), source, 0, "the client's ACK of the SYN-ACK %s the server's side", map[bool]string{true: "arrives at", false: "never arrives at"}[s.ACK])
	}
	if w.refusal() == nil && w.ended() == nil {
		return
	}
	sent := false
	for _, x := range s.Resets {
		sent = sent || x.FromServer
	}
	text := "the RST is in the capture at the server's side, too"
	if !sent {
		if x := w.ended(); x != nil && x.TTL == w.r.ServerTTL {
			return // it came as far as the host's packets: the capture may miss it
		}
		text = "the server's side never sent the RST that the client got"
	}
	o.add(evidence.HostReset, yesNo(sent), source, 0, "%s", text)
}
