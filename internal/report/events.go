package report

import (
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// event is a step of a connection attempt: a packet, captured or known from
// what the socket told, or a note about something that is no packet.
type event struct {
	evidence.Packet
	captured bool
	// again counts the retransmissions that this event stands for, sent from
	// At to last; 0 for a packet sent the first time.
	again int
	last  time.Duration
	// untimed says that At is not known: the socket only counted it.
	untimed bool
	here    bool // sent by this host to itself
	note    string
}

// sameAs says whether f repeats e, for folding.
func (e *event) sameAs(f *event) bool {
	return e.note == "" && f.note == "" &&
		e.Kind == f.Kind && e.Outgoing == f.Outgoing && e.Flags == f.Flags &&
		e.Seq == f.Seq && e.PayloadLen == f.PayloadLen && e.Src == f.Src &&
		e.Type == f.Type && e.Code == f.Code && e.Op == f.Op && e.About == f.About
}

// copies says whether e is the packet f seen on another interface.
func (e *event) copies(f event) bool {
	return f.Interface != e.Interface && f.IPID == e.IPID && f.sameAs(e)
}

// slack is by how much the capture's clock and the socket's may differ.
const slack = 5 * time.Millisecond

// shown is the attempt that a drawing shows: the first that failed, or the
// first, and its number from 1; nil when there was none.
func shown(a *evidence.Address) (att *evidence.Attempt, number int) {
	if len(a.Attempts) == 0 {
		return nil, 0
	}
	i := slices.IndexFunc(a.Attempts, func(t evidence.Attempt) bool { return !t.Connected })
	i = max(i, 0)
	return &a.Attempts[i], i + 1
}

// events lists what is known to have happened in the shown attempt at an
// address, from captured packets where there are any.
func events(a *evidence.Address) []event {
	if a == nil {
		return nil
	}
	var ev []event
	if ev = captured(a); len(ev) == 0 {
		ev = told(a)
	}
	if att, _ := shown(a); att != nil && len(ev) > 0 {
		answered := slices.ContainsFunc(ev, func(e event) bool { return !e.Outgoing })
		if note, at := ending(att, answered); note != "" {
			ev = append(ev, event{Packet: evidence.Packet{At: at}, note: note})
		}
	}
	return ev
}

// captured picks the packets of the shown attempt: not those of other
// attempts, nor of the path trace, which has other TTLs, and a packet only
// once that was seen on several interfaces.
func captured(a *evidence.Address) []event {
	var ev []event
	var local netip.AddrPort
	from, to := time.Duration(-1<<62), time.Duration(1<<62)
	if att, _ := shown(a); att != nil {
		local, from = att.Tuple.Local, att.At-slack
		if !att.Connected {
			to = att.At + att.Took + slack
		}
	}
	ttl := 0
	for _, pkt := range a.Packets {
		if pkt.At < from || pkt.At > to {
			continue
		}
		here := pkt.Interface == "lo" && !pkt.Outgoing && pkt.Src.Addr() != a.Addr.Addr()
		switch pkt.Kind {
		case "tcp":
			mine := pkt.Dst
			if pkt.Outgoing {
				mine = pkt.Src
			}
			if mine != local { // somebody else's, or ours is not known
				continue
			}
			if pkt.Outgoing && ttl == 0 {
				ttl = pkt.TTL
			}
			if pkt.Outgoing && pkt.TTL != ttl {
				continue
			}
		case "icmp":
			if !isError(&pkt) {
				continue // an echo
			}
			if in := pkt.Inner.Local; in.IsValid() && local.IsValid() && in.Port() != local.Port() {
				continue
			}
		}
		e := event{Packet: pkt, captured: true, here: here}
		if !slices.ContainsFunc(ev[max(0, len(ev)-8):], e.copies) {
			ev = append(ev, e)
		}
	}
	return ev
}

// isError says whether an ICMP packet reports an error: RFC 792, RFC 4443
// section 2.1.
func isError(p *evidence.Packet) bool {
	if p.Src.Addr().Is4() {
		return p.Type == 3 || p.Type == 4 || p.Type == 5 || p.Type == 11 || p.Type == 12
	}
	return p.Type < 128
}

// told derives the packets of the shown attempt from what its socket said.
func told(a *evidence.Address) []event {
	att, _ := shown(a)
	if att == nil || att.Syscall != "" {
		return nil
	}
	var ev []event
	add := func(at time.Duration, out bool, flags string) *event {
		src, dst := att.Tuple.Remote, att.Tuple.Local
		if out {
			src, dst = dst, src
		}
		ev = append(ev, event{Packet: evidence.Packet{At: at, Outgoing: out, Kind: "tcp", Src: src, Dst: dst, Flags: flags}})
		return &ev[len(ev)-1]
	}
	add(att.At, true, "SYN")
	if att.Retransmits > 0 && !att.Connected {
		e := add(att.At, true, "SYN")
		e.again, e.untimed = att.Retransmits, true
	}
	for _, s := range att.ICMP {
		ev = append(ev, event{
			Packet: evidence.Packet{
				At: s.At, Kind: "icmp", Src: netip.AddrPortFrom(s.From, 0), TTL: s.TTL,
				Type: s.Type, Code: s.Code, MTU: s.MTU, Quote: s.Quote,
			},
			here: s.Local || s.From == att.Tuple.Local.Addr() && s.From != a.Addr.Addr(),
		})
	}
	end := sum(att.At, att.Took)
	switch {
	case att.Connected:
		add(end, false, "SYN,ACK")
		add(end, true, "ACK")
		ev = append(ev, session(a.Session, att, end)...)
	case att.Errno == "ECONNREFUSED" && len(att.ICMP) == 0, att.Errno == "ECONNRESET":
		add(end, false, "RST")
	}
	return ev
}

// sum adds times as they are written, in microseconds: what is read back from
// JSON must give the same.
func sum(a, b time.Duration) time.Duration {
	return a.Round(time.Microsecond) + b.Round(time.Microsecond)
}

// session derives what followed the handshake.
func session(s *evidence.Session, att *evidence.Attempt, start time.Duration) []event {
	if s == nil {
		return nil
	}
	packet := func(at time.Duration, out bool, flags string, size int) event {
		src, dst := att.Tuple.Remote, att.Tuple.Local
		if out {
			src, dst = dst, src
		}
		return event{Packet: evidence.Packet{At: at, Outgoing: out, Kind: "tcp", Src: src, Dst: dst, Flags: flags, PayloadLen: size}}
	}
	var ev []event
	if s.Sent > 0 {
		e := packet(start, true, "PSH,ACK", s.Sent)
		e.untimed = true
		ev = append(ev, e)
	}
	if s.Received > 0 {
		e := packet(sum(start, s.ReplyAfter), false, "PSH,ACK", s.Received)
		e.untimed = s.ReplyAfter == 0
		ev = append(ev, e)
	}
	switch s.End {
	case "rst":
		ev = append(ev, packet(sum(start, s.EndAt), false, "RST", 0))
	case "fin":
		ev = append(ev, packet(sum(start, s.EndAt), false, "FIN,ACK", 0))
	}
	return ev
}

// ending says in words how an attempt ended, where no packet says it: answered
// tells that there was one.
func ending(att *evidence.Attempt, answered bool) (note string, at time.Duration) {
	at = sum(att.At, att.Took)
	switch {
	case att.Syscall != "":
		return att.Syscall + "() failed at once: " + att.Errno + "; no packet", at
	case att.Connected:
		return "", 0
	case att.Pending || att.Errno == "ETIMEDOUT":
		return "no answer in " + duration(att.Took), at
	case att.Errno != "" && !answered:
		return "the system said " + att.Errno, at
	default:
		return "", 0
	}
}

// fold joins retransmissions: of a run of equal packets the first stays, the
// others become one event.
func fold(ev []event) []event {
	var out []event
	for i := 0; i < len(ev); {
		j := i + 1
		for j < len(ev) && ev[i].sameAs(&ev[j]) {
			j++
		}
		out = append(out, ev[i])
		if j > i+1 {
			e := ev[i+1]
			e.again, e.last = 0, ev[j-1].At
			for k := i + 1; k < j; k++ {
				e.again += max(1, ev[k].again)
			}
			out = append(out, e)
		}
		i = j
	}
	return out
}

// lastHop is the farthest router that is known to have got SYNs to the port.
func lastHop(path *evidence.Path) netip.Addr {
	if path == nil || path.AnswerTTL > 0 {
		return netip.Addr{}
	}
	for _, h := range slices.Backward(path.Hops) {
		if h.Kind == "time-exceeded" && h.Addr.IsValid() {
			return h.Addr
		}
	}
	return netip.Addr{}
}
