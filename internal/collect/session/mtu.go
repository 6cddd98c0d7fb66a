package session

import (
	"bytes"
	"fmt"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

const (
	// smallMSS is what every IPv4 path carries (RFC 9293, 3.7.1), and every
	// IPv6 path as well.
	smallMSS = 536
	// maxLarge keeps the large data below any usual initial receive window, so
	// that a peer which does not read is not taken for a black hole.
	maxLarge = 32 << 10
)

const largeCheck = "whether large segments pass"

// LargeRequest says whether the protocol that scheme or port tell has a request
// that may be long and does nothing: a header, padding, an echo. With any other
// Options.MTU sends empty lines, which a peer that works should be spared.
func LargeRequest(scheme string, port uint16) bool {
	switch expected(Options{Scheme: scheme, Port: port}).name {
	case protoHTTP, protoTLS, protoRedis:
		return true
	}
	return false
}

// checkMTU looks for a path that loses large segments and nobody says so (RFC
// 2923, 2.1): where a hello was acknowledged and not answered, or when asked.
func (s *probe) checkMTU() {
	small := s.out.Acked != nil && *s.out.Acked
	mute := s.proto.name != "" && small && !s.out.WindowZero && s.st.end == "" &&
		(s.st.received == 0 || s.out.TLS != nil && s.out.TLS.Problem == "timeout")
	if !mute && !s.opts.MTU || s.ctx.Err() != nil {
		return
	}
	if s.unknownState != nil {
		s.noState()
		return
	}
	st := s.st
	if !mute || st.received > 0 {
		if s.opts.Redial == nil {
			s.skip(largeCheck, "no second connection", evidence.SessionLarge)
			return
		}
		var err error
		if st, err = s.redial(0); err != nil {
			s.skip(largeCheck, "no second connection: "+err.Error(), evidence.SessionLarge)
			return
		}
		defer st.close()
	}
	m := s.largeOut(st)
	s.out.Sent = s.st.sent
	if m != nil && m.LargeAcked && mute && s.opts.Redial != nil {
		if in := s.largeIn(m.MSS); in != nil {
			m = in
		}
	}
	s.out.MTU = m
}

// largeOut sends large segments on st, and if they stall the same data in small
// ones on another connection. It returns nil where that tells nothing.
func (s *probe) largeOut(st *stream) *evidence.MTUCheck {
	state, err := st.state()
	if err != nil {
		return nil
	}
	small, large := s.payload(min(4*state.mss, maxLarge))
	m := &evidence.MTUCheck{LargeBytes: len(large), MSS: state.mss, SmallAcked: true}
	if st.sent == 0 {
		m.SmallAcked = s.send(st, small).done
		if !m.SmallAcked {
			s.skip(largeCheck, "small data is not acknowledged either", evidence.SessionLarge)
			return nil
		}
	}
	d := s.send(st, large)
	s.out.WindowZero = s.out.WindowZero || d.zeroWindow
	// The first segment of large is a full one: if it came through, so can all.
	m.LargeAcked = d.done || d.last.acked-state.acked >= uint64(len(small)+state.mss)
	switch {
	case d.zeroWindow: // segments were cut to what the window had room for
		s.skip(largeCheck, "the peer's window closed before", evidence.SessionLarge)
		return nil
	case m.LargeAcked:
		return m
	case d.ended || s.ctx.Err() != nil:
		s.skip(largeCheck, "the connection ended before", evidence.SessionLarge)
		return nil
	case s.opts.Redial == nil:
		return m
	}
	again, err := s.redialSmall()
	if err != nil {
		s.skip("whether smaller segments pass", err.Error())
		return m
	}
	defer again.close()
	m.MSSTried = smallMSS
	if s.send(again, small).done {
		d = s.send(again, large)
		m.MSSAcked = d.done || d.last.acked >= uint64(len(small)+smallMSS)
	}
	return m
}

// largeIn looks for a black hole on the way back, where the reply to the hello
// stayed away though the hello was acknowledged: with a small MSS in our SYN
// the peer sends small segments, and the reply must come; without it, it must
// stay away once more. It returns nil unless both are so.
func (s *probe) largeIn(mss int) *evidence.MTUCheck {
	state, err := s.st.state()
	if err != nil || s.proto.name != protoTLS && state.outOfOrder == 0 {
		return nil // no reply that would not fit a small segment is expected
	}
	hello := s.firstWords()
	had := s.st.received
	ask := func(st *stream) int {
		defer st.close()
		st.say(hello, s.opts.Reply)
		st.await(s.opts.Reply, func([]byte) bool { return st.received > had+smallMSS })
		return st.received
	}
	small, err := s.redialSmall()
	if err != nil {
		s.skip("whether the reply comes in small segments", err.Error(), evidence.SessionLarge)
		return nil
	}
	got := ask(small)
	if got <= had+smallMSS {
		return nil
	}
	normal, err := s.redial(0)
	if err != nil || ask(normal) > had || s.ctx.Err() != nil {
		return nil
	}
	return &evidence.MTUCheck{SmallAcked: true, LargeBytes: got, MSS: mss, MSSTried: smallMSS, MSSAcked: true}
}

// redialSmall connects with small segments both ways.
func (s *probe) redialSmall() (*stream, error) {
	st, err := s.redial(smallMSS)
	if err != nil {
		return nil, fmt.Errorf("no connection with MSS %d: %w", smallMSS, err)
	}
	if t, err := st.state(); err != nil || t.mss > smallMSS {
		st.close()
		return nil, fmt.Errorf("MSS %d did not take effect: %d", smallMSS, t.mss)
	}
	return st, nil
}

// send writes b and waits until it is acknowledged.
func (s *probe) send(st *stream, b []byte) delivery {
	st.say(b, s.opts.Reply)
	return s.drain(st, s.opts.Reply)
}

// payload is what a client of the protocol could send, about n bytes long, cut
// in a small and a large part; empty lines where the protocol has no such thing
// or none is known.
func (s *probe) payload(n int) (small, large []byte) {
	var b []byte
	cut := 2
	switch s.proto.name {
	case protoHTTP:
		b, cut = headRequest(s.opts, 80, n), len("HEAD / HTTP/1.1\r\n")
	case protoTLS:
		b, cut = clientHello(s.opts, n), 64
	case protoRedis:
		b = fmt.Appendf(nil, "*2\r\n$4\r\nPING\r\n$%d\r\n%s\r\n", n, bytes.Repeat([]byte("x"), n))
	default:
		b = bytes.Repeat([]byte("\r\n"), n/2+1)
	}
	return b[:cut], b[cut:]
}

// firstWords is what may be sent on a fresh connection and is small.
func (s *probe) firstWords() []byte {
	switch {
	case s.proto.name == protoTLS:
		return clientHello(s.opts, 0)
	case len(s.proto.hello) > 0:
		return s.proto.hello
	}
	return []byte("\r\n")
}
