package session

import (
	"context"
	"crypto/x509"
	"net"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

const (
	defaultReply = time.Second
	minQuick     = 15 * time.Millisecond
	maxQuick     = 60 * time.Millisecond
	// moment is how long a peer that means to close, or to speak first, is
	// given before a hello is sent, and after a reply that ends nothing.
	moment = 2 * time.Millisecond
	// patient is how long a peer that ended a connection after our hello gets to
	// end one without it, if it is busy.
	patient = 200 * time.Millisecond
)

// Options say what is spoken on the connection and how far to go.
type Options struct {
	// Scheme is the URL scheme or service name in lower case, or "". Together
	// with Port it decides the protocol; the scheme comes first.
	Scheme string
	// Host is the name or literal address as the user gave it, Port the TCP
	// port.
	Host string
	Port uint16
	// ServerName is the name asked for in TLS and expected in the
	// certificate; "" takes Host if that is a name.
	ServerName string
	// RootCAs are trusted to issue certificates; nil means the system's.
	RootCAs *x509.CertPool
	// Quick is for how long to look for an end or a banner when the protocol
	// is not known and nothing is sent; 0 means the larger of 15 ms and three
	// round trips, at most 60 ms.
	Quick time.Duration
	// Reply is how long to wait for the reply to a hello, and for
	// acknowledgements; 0 means 1 s.
	Reply time.Duration
	// MTU asks for the test with large segments even where the hello was
	// answered or no protocol is known.
	MTU bool
	// Stall asks to send up to 1 MiB to a peer that does not answer, also
	// where no protocol is known, to see whether it reads.
	Stall bool
	// Idle is the longest idle time to try; 0 tries none. The search takes
	// about twice as long.
	Idle time.Duration
	// Redial opens another connection to the same address, with TCP_MAXSEG
	// set to mss unless that is 0. Checks that compare connections are left
	// out where it is nil.
	Redial func(ctx context.Context, mss int) (*net.TCPConn, error)
}

// Probe looks at a connection whose handshake has just completed. It owns conn
// and closes it. Cancelling ctx ends it early with what was seen so far. It
// takes a few milliseconds where the peer answers, Quick where nothing is known
// to send, and about Reply for each question that goes unanswered.
func Probe(ctx context.Context, env collect.Env, conn *net.TCPConn, opts Options) evidence.Session {
	s := newProbe(ctx, env, conn, opts)
	defer func() { s.st.close() }()
	s.converse()
	s.explainEnd()
	s.noteExchange()
	s.checkDelivery()
	s.checkAgain()
	s.checkMTU()
	s.checkStall()
	s.checkIdle()
	return s.out
}

// probe is one run of Probe.
type probe struct {
	ctx  context.Context
	opts Options
	// proto is what the target should speak, with name "" if that is not known.
	proto protocol
	st    *stream
	out   evidence.Session
	// unknownState is the error that says why TCP_INFO cannot be had, and
	// noted whether it is in out.NotChecked already.
	unknownState error
	noted        bool
}

func newProbe(ctx context.Context, env collect.Env, conn *net.TCPConn, opts Options) *probe {
	s := &probe{ctx: ctx, opts: opts, st: newStream(ctx, conn), proto: expected(opts)}
	s.out.At = env.Clock.Now()
	s.out.Expect = s.proto.name
	state, err := s.st.state()
	s.unknownState = err
	if s.opts.Reply <= 0 {
		s.opts.Reply = max(defaultReply, 3*state.rtt)
	}
	if s.opts.Quick <= 0 {
		s.opts.Quick = min(max(minQuick, 3*state.rtt), maxQuick)
	}
	return s
}

// converse has the conversation that the protocol asks for.
func (s *probe) converse() {
	switch {
	case s.proto.name == "":
		s.st.listen(s.opts.Quick, never)
		return
	case s.proto.serverFirst:
		s.awaitReply()
		if s.st.received == 0 && s.st.end == "" {
			s.greet()
		}
	default:
		// A close must be seen before anything is sent: with our data unread
		// the peer's system turns its FIN into a RST (RFC 9293, 3.6.1).
		rtt := s.rtt()
		s.st.listen(min(max(moment, rtt+rtt/2), s.opts.Quick), anything)
		if s.st.received == 0 && s.st.end == "" {
			s.greet()
		} else if s.st.received > 0 {
			s.awaitReply() // the rest of what came unasked
		}
	}
	// A whole answer is one, however the connection ends behind it.
	answered := !s.proto.serverFirst && complete(s.st.head, s.proto.name)
	if s.st.received > 0 && s.out.TLS == nil && s.out.HTTP == nil && !answered {
		s.st.listen(max(moment, 2*s.rtt()), never) // a reset after data?
	}
}

// greet sends the hello and takes the reply.
func (s *probe) greet() {
	s.out.Hello = s.proto.label
	if s.proto.name == protoTLS {
		s.talkTLS()
		return
	}
	s.st.say(s.proto.hello, s.opts.Reply)
	if s.proto.serverFirst {
		// Its banner was waited for already; now it is asked whether the peer's
		// TCP takes data, and whether another protocol complains.
		s.drain(s.st, s.opts.Reply)
		s.st.listen(max(25*moment, 2*s.rtt()), anything)
		return
	}
	s.awaitReply()
	if s.proto.name == protoHTTP {
		s.out.HTTP = parseHTTP(s.st.head)
		s.suspectTLS()
	}
}

// awaitReply reads what the peer says first, or in reply to the hello.
func (s *probe) awaitReply() {
	settle := max(25*moment, 2*s.rtt())
	s.st.await(s.opts.Reply, func(b []byte) bool {
		if len(b) == 0 {
			return false
		}
		if complete(b, s.proto.name) {
			return true
		}
		// The rest of a reply that is recognised gets the full time.
		if recognise(b, s.proto.name) == "" {
			s.st.deadlineWithin(settle)
		}
		return false
	})
}

// suspectTLS asks with a TLS hello where a plain HTTP request was turned away
// in a way that servers use for plain text on a TLS port, but without saying
// so: a reply to HEAD has no body that could.
func (s *probe) suspectTLS() {
	turnedAway := s.out.HTTP != nil && s.out.HTTP.Status == 400 || s.st.end != "" && s.st.received == 0
	if !turnedAway || s.opts.Redial == nil || recognise(s.st.head, protoHTTP) == protoTLS {
		return
	}
	st, err := s.redial(0)
	if err != nil {
		return
	}
	defer st.close()
	st.say(clientHello(s.opts, 0), s.opts.Reply)
	st.await(s.opts.Reply, func(b []byte) bool { return len(b) >= tlsHeader })
	if recognise(st.head, "") == protoTLS {
		s.out.Got = protoTLS
	}
}

// explainEnd repeats a connection that ended without a byte after our hello,
// this time without one: only then is it known whether the peer ends every
// connection or this request. If it ends every one, that is the evidence, and
// the request is not.
func (s *probe) explainEnd() {
	const check = "whether the peer ends a connection on which nothing is sent"
	if s.st.end == "" || s.st.received > 0 || s.st.sent == 0 || s.out.Got != "" {
		return
	}
	if s.opts.Redial == nil {
		s.skip(check, "no second connection", evidence.SessionEnd)
		return
	}
	st, err := s.redial(0)
	if endOf(err) == "rst" { // so soon that connect() itself says so
		s.st.end, s.st.sent = "rst", 0
		s.out.Hello, s.out.TLS = "", nil
		return
	}
	if err != nil {
		s.skip(check, "no second connection: "+err.Error(), evidence.SessionEnd)
		return
	}
	defer func() { st.close() }()
	st.listen(max(s.opts.Quick, 4*s.st.endAt, patient), anything)
	if st.end != "" && st.received == 0 {
		s.st, st = st, s.st
		s.out.Hello, s.out.TLS = "", nil
	}
}

// noteExchange copies what the stream saw into the evidence.
func (s *probe) noteExchange() {
	st := s.st
	s.out.Sent, s.out.Received = st.sent, st.received
	s.out.End, s.out.EndAt = st.end, st.endAt
	s.out.Banner = escape(st.head, 200)
	if s.out.Got == "" {
		s.out.Got = recognise(st.head, s.proto.name)
	}
	if st.end == "" {
		s.out.Looked = time.Since(st.start)
	}
	if st.received > 0 {
		from := st.start
		if st.helloAt.After(from) && !st.firstAt.Before(st.helloAt) {
			from = st.helloAt
		}
		s.out.ReplyAfter = max(st.firstAt.Sub(from), 1)
	}
}

// rtt is the round-trip time that TCP has measured so far, 0 if not known.
func (s *probe) rtt() time.Duration {
	state, _ := s.st.state()
	return state.rtt
}

func (s *probe) redial(mss int) (*stream, error) {
	conn, err := s.opts.Redial(s.ctx, mss)
	if err != nil {
		return nil, err
	}
	return newStream(s.ctx, conn), nil
}

// skip records a check that was not made.
func (s *probe) skip(check, reason string, keys ...evidence.Key) {
	s.out.NotChecked = append(s.out.NotChecked, evidence.NotChecked{
		Check: check, Reason: escape([]byte(reason), 200), Keys: keys,
	})
}
