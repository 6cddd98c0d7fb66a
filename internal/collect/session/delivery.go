package session

import (
	"bytes"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// tcpState is what the kernel knows about a connection.
type tcpState struct {
	open bool // not yet in CLOSE
	rtt  time.Duration
	mss  int // of what we send, bytes
	// queued counts bytes the peer has not acknowledged, sent or not; unacked
	// counts segments sent and not acknowledged.
	queued, unacked int
	probing         bool   // the zero-window probe timer has fired
	acked           uint64 // bytes acknowledged since the SYN
	segsIn, segsOut uint32
	// window is the peer's receive window in bytes, -1 where the kernel (before
	// 5.4) does not tell it.
	window     int
	outOfOrder int // segments received ahead of a gap
}

// stalled says that data waits because the peer's window is closed.
func (t tcpState) stalled() bool {
	if t.window >= 0 {
		return t.queued > 0 && t.window == 0
	}
	return t.queued > 0 && t.unacked == 0 && t.probing
}

// delivery says what became of data that was sent.
type delivery struct {
	done  bool // all of it is acknowledged
	ended bool // the connection is gone
	// zeroWindow says that data stayed queued before a closed window while the
	// peer's TCP answered probes.
	zeroWindow bool
	last       tcpState
}

// drain waits up to d until all that was sent is acknowledged. The kernel has
// no event for that, so it is polled.
func (s *probe) drain(st *stream, d time.Duration) delivery {
	var watch windowWatch
	end := time.Now().Add(d)
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		t, err := st.state()
		if err != nil {
			return delivery{}
		}
		now := time.Now()
		watch.see(now, t)
		if t.queued == 0 || !t.open || !now.Before(end) {
			return delivery{done: t.queued == 0, ended: !t.open, zeroWindow: watch.answered(t), last: t}
		}
		select {
		case <-s.ctx.Done():
			end = now
		case <-time.After(pause):
		}
	}
}

// windowWatch follows a closed window. A FIN or data of ours that was under
// way when it closed is acknowledged within a round trip; only from then on do
// segments count as probes and their answers.
type windowWatch struct {
	since time.Time
	base  tcpState
}

func (w *windowWatch) see(now time.Time, t tcpState) {
	switch {
	case !t.stalled():
		*w = windowWatch{}
	case w.since.IsZero():
		w.since, w.base = now, t
	case now.Sub(w.since) < 2*t.rtt+5*time.Millisecond:
		w.base = t
	}
}

// answered says that the window is still closed and that probes sent since
// were answered.
func (w *windowWatch) answered(t tcpState) bool {
	return !w.since.IsZero() && t.segsOut != w.base.segsOut && t.segsIn != w.base.segsIn
}

// checkDelivery says whether the peer's TCP took what was sent.
func (s *probe) checkDelivery() {
	if s.st.sent == 0 {
		return
	}
	t, err := s.st.state()
	if err != nil {
		s.noState()
		return
	}
	if t.queued > 0 && s.st.end == "" && s.ctx.Err() == nil {
		// The last bytes are perhaps just under way, or the window is closed.
		wait := 2*t.rtt + 50*time.Millisecond // the latest delayed acknowledgement on Linux is 40 ms
		if t.stalled() {
			wait = s.opts.Reply
		}
		d := s.drain(s.st, wait)
		t, s.out.WindowZero = d.last, d.zeroWindow
	}
	if t.queued > 0 && (s.st.end != "" || !t.open) {
		return // a RST does not tell what was taken before it
	}
	acked := t.queued == 0
	s.out.Acked = &acked
}

// checkAgain makes a second connection with the same hello where the first was
// reset, or our data not taken: a proxy may fail one connection and serve the next.
func (s *probe) checkAgain() {
	failed := s.st.end == "rst" || s.st.end == "" && s.out.Acked != nil && !*s.out.Acked && !s.out.WindowZero
	if !failed || s.st.received > 0 || s.opts.Redial == nil || s.proto.name == "" || s.ctx.Err() != nil {
		return
	}
	st, err := s.redial(0)
	if err != nil {
		if endOf(err) == "rst" {
			s.out.Again = "ended"
		}
		return
	}
	defer st.close()
	if s.proto.serverFirst {
		st.await(s.opts.Reply, anything)
	} else {
		hello := s.proto.hello
		if s.proto.name == protoTLS {
			hello = clientHello(s.opts, 0)
		}
		st.say(hello, s.opts.Reply)
		st.await(s.opts.Reply, anything)
	}
	switch {
	case st.received > 0:
		s.out.Again = "answered"
	case st.end != "":
		s.out.Again = "ended"
	default:
		s.out.Again = "silent"
	}
}

// checkStall sends up to 1 MiB to a silent peer, to see whether it reads.
func (s *probe) checkStall() {
	if !s.opts.Stall || s.st.received > 0 || s.st.end != "" || s.out.WindowZero || s.ctx.Err() != nil {
		return
	}
	if s.unknownState != nil {
		s.noState()
		return
	}
	d := s.send(s.st, bytes.Repeat([]byte("\r\n"), 1<<19))
	s.out.WindowZero, s.out.Sent = d.zeroWindow, s.st.sent
	if s.out.Acked == nil && !d.ended {
		s.out.Acked = &d.done
	}
}

// noState records once that the kernel does not tell what was acknowledged.
func (s *probe) noState() {
	if !s.noted {
		s.noted = true
		s.skip("acknowledgements and the peer's window", s.unknownState.Error(),
			evidence.SessionAcked, evidence.SessionWindow, evidence.SessionLarge)
	}
}
