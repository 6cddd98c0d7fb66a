package path

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock"
)

// probe is a SYN with a TTL; sock is nil once it is answered or given up.
type probe struct {
	ttl  int
	sock *tcpsock.Socket
	at   time.Time
}

// tracer is a trace under way.
type tracer struct {
	ctx     context.Context
	addr    netip.AddrPort
	opts    Options
	sockets tcpsock.Options
	poller  *tcpsock.Poller
	begin   time.Time

	queue   []int   // TTLs to probe, in order
	short   error   // why the queue cannot be sent now, or nil
	probes  []probe // by poller ID
	live    int     // probes with a socket
	hops    []evidence.Hop
	answer  int           // smallest TTL at which the port answered, or 0
	top     int           // largest TTL heard
	news    time.Time     // when a hop was last heard, or the second tries sent
	longest time.Duration // largest round trip seen
	retried bool
	ready   []int
}

// run sends and listens until the trace is complete.
func (t *tracer) run() error {
	for {
		if err := t.send(); err != nil {
			return err
		}
		if t.complete() {
			return nil
		}
		wake := t.deadline()
		if err := t.listen(wake); err != nil {
			return err
		}
		if err := t.ctx.Err(); err != nil {
			return err
		}
		now := time.Now()
		switch {
		case now.Before(wake):
		case t.retry(now):
		case !now.Before(t.deadline()):
			return nil
		}
	}
}

// send probes the queued TTLs for as long as there are descriptors and ports;
// what is left waits for an answer to free one. Answers are taken in between: a
// near port may answer before the next SYN is out and spare it.
func (t *tracer) send() error {
	for len(t.queue) > 0 && t.ctx.Err() == nil {
		ttl := t.queue[0]
		if err := t.probe(ttl); err != nil {
			t.short = err
			if scarce(err) && t.live > 0 {
				return nil
			}
			if len(t.probes) == 0 {
				t.queue = t.queue[:1]
				t.giveUpQueue()
				return err
			}
			t.giveUpQueue()
			return nil
		}
		t.queue, t.short = t.queue[1:], nil
		if err := t.listen(t.begin); err != nil { // no waiting: that is past
			return err
		}
	}
	return nil
}

func (t *tracer) probe(ttl int) error {
	o := t.sockets
	o.TTL = ttl
	at := time.Now()
	s, err := tcpsock.Connect(t.addr, o)
	if err != nil {
		return err
	}
	if err := t.poller.Add(s, len(t.probes)); err != nil {
		s.Close()
		return err
	}
	t.probes = append(t.probes, probe{ttl, s, at})
	t.live++
	t.hops[ttl-1].Tries++
	return nil
}

// scarce tells errors that may be over when another socket is closed.
func scarce(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	// From bind it is about the source address.
	call := (*tcpsock.Error)(nil)
	return errors.As(err, &call) && call.Call == "connect" && errors.Is(err, syscall.EADDRNOTAVAIL)
}

// giveUpQueue makes hops of kind "error" of the TTLs that could not be probed.
func (t *tracer) giveUpQueue() {
	for _, ttl := range t.queue {
		if h := &t.hops[ttl-1]; h.Kind == silent && h.Tries == 0 {
			h.Kind, h.Errno = failed, tcpsock.ErrnoName(t.short)
		}
	}
	t.queue = nil
}

// listen takes the answers there are, or waits for one until the deadline.
func (t *tracer) listen(deadline time.Time) error {
	var err error
	t.ready, err = t.poller.Wait(t.ready[:0], deadline)
	now := time.Now()
	for _, id := range t.ready {
		if p := &t.probes[id]; p.sock != nil {
			t.take(p, now)
		}
	}
	return err
}

// take reads one probe's socket and, if it was answered, closes it.
func (t *tracer) take(p *probe, now time.Time) {
	st := p.sock.Check()
	if st.Phase == tcpsock.Pending {
		return
	}
	h := &t.hops[p.ttl-1]
	if h.Kind == silent {
		h.RTT = now.Sub(p.at)
		t.classify(h, st)
		t.news = now
		t.longest = max(t.longest, h.RTT)
		t.top = max(t.top, h.TTL)
	}
	t.close(p)
	if t.answer > 0 {
		t.closeAbove(t.answer)
		t.queue = slices.DeleteFunc(t.queue, func(ttl int) bool { return ttl > t.answer })
	}
}

// classify says what an answer is and notes whether the port itself gave it.
func (t *tracer) classify(h *evidence.Hop, st tcpsock.Status) {
	switch {
	case st.Phase == tcpsock.Connected:
		h.Kind = synAck
	case len(st.ICMP) > 0:
		e := st.ICMP[0]
		h.Addr, h.Type, h.Code = e.From, e.Type, e.Code
		h.Kind, h.Errno = icmp, tcpsock.ErrnoName(e.Errno)
		if exceeded(t.addr.Addr(), e) {
			h.Kind, h.Errno = timeExceeded, ""
			return
		}
	case errors.Is(st.Err, syscall.ECONNREFUSED):
		h.Kind = rst
	default:
		h.Kind, h.Errno = failed, tcpsock.ErrnoName(st.Err)
		return
	}
	if t.answer == 0 || h.TTL < t.answer {
		t.answer = h.TTL
	}
}

// exceeded tells time exceeded in transit: type 11 code 0 of ICMP (RFC 792),
// type 3 code 0 of ICMPv6 (RFC 4443).
func exceeded(to netip.Addr, e tcpsock.ICMPError) bool {
	want := 11
	if to.Unmap().Is6() {
		want = 3
	}
	return !e.Local && e.Type == want && e.Code == 0
}

// complete says that nothing more can be learned: the port answered, and every
// TTL below was heard.
func (t *tracer) complete() bool {
	return t.live == 0 && len(t.queue) == 0 || t.answer > 0 && len(t.silentBelow(t.answer)) == 0
}

// silentBelow lists the TTLs under one that were not heard.
func (t *tracer) silentBelow(ttl int) []int {
	var list []int
	for _, h := range t.hops[:max(ttl-1, 0)] {
		if h.Kind == silent {
			list = append(list, h.TTL)
		}
	}
	return list
}

// deadline is when the trace ends, or makes its second tries, if nothing comes.
func (t *tracer) deadline() time.Time {
	return t.opts.deadline(t.begin, t.news, t.longest, t.retried)
}

// retry sends once more to the TTLs between hops that answered; the first
// sockets stay open for late answers. It says whether the trace goes on. Half
// of the settling time is over then.
func (t *tracer) retry(now time.Time) bool {
	if t.retried || t.news.IsZero() || !now.Before(t.begin.Add(t.opts.Timeout)) {
		return false
	}
	t.retried = true
	if len(t.queue) > 0 { // no sockets to spare
		return true
	}
	again := t.silentBelow(t.top)
	if len(again) > maxRetries {
		again = again[:maxRetries]
	}
	if len(again) > 0 {
		t.queue, t.news = again, now
	}
	return true
}

// close ends a probe. One that is connected is reset, see tcpsock.HalfOpen.
func (t *tracer) close(p *probe) {
	p.sock.Abort()
	p.sock = nil
	t.live--
}

// closeAbove gives up the probes with a TTL larger than this one.
func (t *tracer) closeAbove(ttl int) {
	for i := range t.probes {
		if p := &t.probes[i]; p.sock != nil && p.ttl > ttl {
			t.close(p)
		}
	}
}

// path is what was found.
func (t *tracer) path(clock collect.Clock) evidence.Path {
	p := evidence.Path{
		Port:      t.addr.Port(),
		Method:    "connect",
		At:        clock.Since(t.begin),
		Took:      time.Since(t.begin),
		AnswerTTL: t.answer,
	}
	if t.answer > 0 {
		p.Answer = t.hops[t.answer-1].Kind
	}
	for _, h := range t.hops {
		switch {
		case h.Kind != silent:
		case t.answer > 0 && h.TTL > t.answer:
			continue // given up, or never sent
		case h.Tries == 0:
			continue // the trace was stopped before
		case h.TTL > t.top:
			p.Unanswered++
		}
		p.Hops = append(p.Hops, h)
	}
	return p
}
