package probe

import (
	"context"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect/connect"
	"github.com/tcpwhy/tcpwhy/internal/collect/counters"
	"github.com/tcpwhy/tcpwhy/internal/collect/listener"
	"github.com/tcpwhy/tcpwhy/internal/collect/packets"
	"github.com/tcpwhy/tcpwhy/internal/collect/route"
	"github.com/tcpwhy/tcpwhy/internal/collect/session"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// quiet is how long the first SYN may stay unanswered before the other checks
// begin beside it: beyond the round trip of most paths.
const quiet = 100 * time.Millisecond

// replies is how many round trips a reply may take: one that is lost is sent again
// after three (RFC 6298 section 2), and that once more after six.
const replies = 6

// address gathers the evidence about one address.
func (r *run) address(ctx context.Context, a *evidence.Address, deep bool, file io.Writer) {
	if rt, err := route.Collect(ctx, r.env, a.Addr); err == nil {
		a.Route = &rt
	} else {
		notChecked(a, "route to "+a.Addr.Addr().String(), err, "", evidence.RouteLookup, evidence.RouteRules, evidence.LinkState, evidence.NeighState)
	}
	v := &investigation{run: r, a: a, capture: r.startCapture(ctx, a, file), deep: deep, left: budget}
	r.opts.Progress("connecting to " + a.Addr.String())
	v.attempts(ctx)
	v.finish(ctx)
}

// startCapture begins to watch the packets, or notes why not.
func (r *run) startCapture(ctx context.Context, a *evidence.Address, file io.Writer) *packets.Capture {
	if !r.netRaw {
		return nil
	}
	var gateway netip.Addr
	if a.Route != nil {
		gateway = a.Route.Gateway
	}
	c, err := packets.Start(ctx, r.env, a.Addr.Addr(), gateway, packets.Options{Write: file, Application: "tcpwhy"})
	if err != nil {
		notChecked(a, "packets of the attempt", err, "", evidence.SynLeft, evidence.AnswerVia)
		return nil
	}
	if file != nil && file == r.opts.Capture {
		r.filed = c
	}
	return c
}

// attempts connects, once or as often as asked, and looks at what comes of it.
func (v *investigation) attempts(ctx context.Context) {
	running := connect.Start(v.env, v.a.Addr, connect.Options{})
	if !waitFor(ctx, running.Done(), quiet) {
		v.silence(ctx, running)
	}
	running.Stop()
	v.conclude(ctx, running)
	for n := 1; n < v.opts.Count && ctx.Err() == nil; n++ {
		pause(ctx, quiet)
		t, conn := connect.Attempt(ctx, v.env, v.a.Addr, v.opts.ConnectTimeout, connect.Options{})
		if conn != nil {
			conn.Close()
		}
		v.a.Attempts = append(v.a.Attempts, t)
	}
	if v.opts.Count > 1 {
		v.investigate(ctx, nil) // they may have fared differently
	}
}

// silence investigates while the first SYN is still unanswered, and decides how
// long it is worth waiting on.
func (v *investigation) silence(ctx context.Context, running *connect.Running) {
	at := v.env.Clock.Now() - quiet
	v.a.Attempts = []evidence.Attempt{{Tuple: running.Tuple(), At: at, Took: quiet, Pending: true}}
	v.look(v.a)
	v.investigate(ctx, running.Done())
	answered := func() bool { return waitFor(ctx, running.Done(), 0) }
	if !answered() && v.forget() {
		v.investigate(ctx, running.Done())
	}
	limit := v.opts.ConnectTimeout + grace
	switch {
	case v.alive() || v.kept():
		// The host's round trip is known, and SYNs from many ports are not lost
		// by chance, or rules here stop them: waiting longer proves nothing.
		limit = min(limit, max(v.opts.Patience, v.patient()))
	case !answered():
		v.persist(ctx, running.Done(), limit-(v.env.Clock.Now()-at))
	}
	waitFor(ctx, running.Done(), limit-(v.env.Clock.Now()-at))
	v.a.Attempts = nil
}

// conclude takes the result of the first attempt and looks at what can explain
// it further.
func (v *investigation) conclude(ctx context.Context, running *connect.Running) {
	t, conn := running.Result()
	v.a.Attempts = append(v.a.Attempts, t)
	v.forget()
	switch {
	case conn == nil:
		v.look(v.a)
	case v.opts.Gentle || !v.deep:
		conn.Close()
	default:
		v.session(ctx, v.a, conn)
	}
	v.ownHost(ctx)
	v.investigate(ctx, nil)
}

// look reads what this host's own tables say.
func (r *run) look(a *evidence.Address) {
	if a.Counters == nil && r.counted {
		c, missed := counters.Collect(r.env, r.before, a.Addr)
		a.Counters = &c
		a.NotChecked = append(a.NotChecked, missed...)
	}
	if a.Listeners == nil && here(a) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		l, err := listener.Collect(ctx, r.env, a.Addr)
		if err != nil {
			notChecked(a, "listening sockets of this host", err, "", evidence.HostSockets, evidence.HostQueue)
			return
		}
		a.Listeners = &l
	}
}

func here(a *evidence.Address) bool {
	return a.Addr.Addr().IsLoopback() || a.Route != nil && a.Route.Local
}

// session looks at what happens after the handshake.
func (r *run) session(ctx context.Context, a *evidence.Address, conn *net.TCPConn) {
	r.opts.Progress("talking to " + a.Addr.String())
	last := &a.Attempts[len(a.Attempts)-1]
	done := make(chan struct{})
	queued := make(chan *bool, 1)
	if here(a) {
		r.look(a)
		go func() { queued <- r.watchQueue(done, a, last.Tuple) }()
	} else {
		queued <- nil
	}
	t := r.set.Target
	opts := session.Options{
		Scheme: t.Scheme, Host: t.Host, Port: t.Port, Reply: max(time.Second, replies*last.RTT), Idle: r.opts.Idle, MTU: !here(a) && session.LargeRequest(t.Scheme, t.Port),
		Redial: func(ctx context.Context, mss int) (*net.TCPConn, error) { return r.redial(ctx, a.Addr, mss) },
	}
	s := session.Probe(ctx, r.env, conn, opts)
	r.largeAgain(ctx, &s, opts)
	close(done)
	s.Queued = <-queued
	a.Session = &s
}

// largeAgain looks once more whether large segments pass where they seemed not to:
// a few in a row are lost by chance, too.
func (r *run) largeAgain(ctx context.Context, s *evidence.Session, opts session.Options) {
	if s.MTU == nil || s.MTU.LargeAcked || !s.MTU.SmallAcked {
		return
	}
	conn, err := opts.Redial(ctx, 0)
	if err != nil {
		return
	}
	opts.Idle = 0
	if again := session.Probe(ctx, r.env, conn, opts); again.MTU != nil && again.MTU.LargeAcked {
		s.MTU = again.MTU
	}
}

// finish closes the evidence about an address.
func (v *investigation) finish(ctx context.Context) {
	r, a := v.run, v.a
	if a.Route != nil {
		if err := route.After(context.WithoutCancel(ctx), r.env, a.Addr.Addr(), a.Route); err != nil {
			notChecked(a, "neighbour of the next hop", err, "", evidence.NeighState)
		}
	}
	if r.counted {
		c, _ := counters.Collect(r.env, r.before, a.Addr)
		a.Counters = &c
	}
	if v.capture != nil {
		ps, c := v.capture.Stop()
		a.Packets, a.Capture = ps, &c
		if err := v.capture.Err(); err != nil {
			notChecked(a, "all packets of the attempt", err, "")
		}
		v.answered(context.WithoutCancel(ctx))
	}
}

// waitFor waits for an attempt, at most d. It is true when the attempt ended.
func waitFor(ctx context.Context, done <-chan struct{}, d time.Duration) bool {
	select {
	case <-done:
		return true
	default:
	}
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

func pause(ctx context.Context, d time.Duration) { waitFor(ctx, nil, d) }
