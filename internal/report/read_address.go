package report

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
)

// evidence makes of an address in JSON the evidence from which events finds
// the same packets again: captured ones as they are, those that a socket told
// by way of the attempt that they were derived from.
func (a *jsonAddress) evidence(at netip.AddrPort) (evidence.Address, error) {
	out := evidence.Address{Addr: at, Path: a.Path.path()}
	if a.Attempt == nil {
		a.Attempt = guessAttempt(a.Packets)
	}
	var att evidence.Attempt
	if j := a.Attempt; j != nil {
		client, err := parseEndpoint(j.Client)
		if err != nil {
			return out, err
		}
		if j.Number < 1 || j.Of < j.Number || j.Of > 1000 {
			return out, fmt.Errorf("attempt %d of %d", j.Number, j.Of)
		}
		att = evidence.Attempt{
			Tuple: flow.Tuple{Local: client, Remote: at}, At: time.Duration(j.At), Took: time.Duration(j.Took),
			Connected: j.Connected, Pending: j.Pending, Syscall: j.Syscall, Errno: j.Errno,
		}
	}
	for i := range a.Packets {
		p, err := a.Packets[i].packet()
		if err != nil {
			return out, fmt.Errorf("packet %d: %w", i+1, err)
		}
		if a.Packets[i].Source == "capture" {
			p.IPID = uint16(i) // so that none passes for another, seen twice
			out.Packets = append(out.Packets, p)
		} else {
			told := a.Packets[i]
			retell(&att, &out.Session, p, max(1, told.Count), i > 0)
		}
	}
	if a.Attempt != nil {
		// The attempts that JSON does not have connected: else it would have them.
		out.Attempts = make([]evidence.Attempt, a.Attempt.Of)
		for i := range out.Attempts {
			out.Attempts[i] = evidence.Attempt{Tuple: flow.Tuple{Remote: at}, Connected: true}
		}
		out.Attempts[a.Attempt.Number-1] = att
	}
	out.Own = ownRules(a.Rules, att.Tuple)
	return out, nil
}

// guessAttempt finds the attempt of packets that were saved before JSON named
// it: it begins with the first segment sent, and lasts until the SYN,ACK, or as
// long as there are packets. Nil when nothing was sent.
func guessAttempt(packets []jsonPacket) *jsonAttempt {
	var out *jsonAttempt
	for i := range packets {
		p := &packets[i]
		switch {
		case p.At == nil:
		case out == nil && p.Kind == "tcp" && p.Outgoing:
			out = &jsonAttempt{Client: p.Src, Number: 1, Of: 1, At: *p.At}
		case out != nil && !out.Connected:
			out.Took = *p.At - out.At
			out.Connected = !p.Outgoing && p.Flags == "SYN,ACK"
		}
	}
	return out
}

// retell puts a packet that a socket told back where told finds it.
func retell(att *evidence.Attempt, s **evidence.Session, p evidence.Packet, count int, again bool) {
	handshake := att.At + att.Took
	session := func() *evidence.Session {
		if *s == nil {
			*s = &evidence.Session{}
		}
		return *s
	}
	switch {
	case p.Kind == "icmp":
		att.ICMP = append(att.ICMP, evidence.SocketError{
			At: p.At, From: p.Src.Addr(), TTL: p.TTL, Type: p.Type, Code: p.Code, MTU: p.MTU, Quote: p.Quote,
		})
	case p.Flags == "SYN" && again:
		att.Retransmits = count
	case p.Flags == "SYN":
		att.Tuple.Remote = p.Dst
	case p.Flags == "PSH,ACK" && p.Outgoing:
		session().Sent = p.PayloadLen
	case p.Flags == "PSH,ACK":
		session().Received = p.PayloadLen
		if p.At > 0 {
			session().ReplyAfter = p.At - handshake
		}
	case p.Flags == "RST" && !att.Connected && att.Errno == "":
		att.Errno = "ECONNREFUSED" // which told the socket of it
	case p.Flags == "RST" && att.Connected:
		session().End, session().EndAt = "rst", p.At-handshake
	case p.Flags == "FIN,ACK":
		session().End, session().EndAt = "fin", p.At-handshake
	}
}

func (p *jsonPacket) packet() (evidence.Packet, error) {
	out := evidence.Packet{
		Interface: p.Iface, Outgoing: p.Outgoing, Kind: p.Kind, TTL: p.TTL, Flags: p.Flags,
		Seq: p.Seq, Ack: p.Ack, Options: p.Options, PayloadLen: p.Payload, MTU: p.MTU, Quote: p.Quote,
		Op: p.Op, About: p.About, MAC: p.MAC,
	}
	for _, w := range []string{p.Kind, p.Op, string(p.Quote)} {
		if !isWord(w) {
			return out, fmt.Errorf("%s is no kind of packet", quoted(w))
		}
	}
	if p.At != nil {
		out.At = time.Duration(*p.At)
	}
	for _, n := range []struct{ from, to *int }{{p.Window, &out.Window}, {p.Type, &out.Type}, {p.Code, &out.Code}} {
		if n.from != nil {
			*n.to = *n.from
		}
	}
	var err error
	if out.Src, err = parseEndpoint(p.Src); err != nil {
		return out, err
	}
	out.Dst, err = parseEndpoint(p.Dst)
	return out, err
}

// parseEndpoint reads what endpoint wrote.
func parseEndpoint(s string) (netip.AddrPort, error) {
	if s == "" {
		return netip.AddrPort{}, nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, 0), nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return ap, fmt.Errorf("%s is no address with or without a port", quoted(s))
	}
	return ap, nil
}

func (p *jsonPath) path() *evidence.Path {
	if p == nil {
		return nil
	}
	out := &evidence.Path{
		Port: p.Port, Method: p.Method, Took: time.Duration(p.Took),
		AnswerTTL: p.AnswerTTL, Answer: p.Answer, Unanswered: p.Unanswered,
	}
	for _, h := range p.Hops {
		hop := evidence.Hop{TTL: h.TTL, Kind: h.Kind, Addr: h.Addr, Errno: h.Errno}
		if h.RTT != nil {
			hop.RTT = time.Duration(*h.RTT)
		}
		if h.Type != nil {
			hop.Type = *h.Type
		}
		if h.Code != nil {
			hop.Code = *h.Code
		}
		out.Hops = append(out.Hops, hop)
	}
	return out
}
