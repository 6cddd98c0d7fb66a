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

// address gathers the evidence about one address.
func (r *run) address(ctx context.Context, a *evidence.Address, deep bool, file io.Writer) {
	if rt, err := route.Collect(ctx, r.env, a.Addr.Addr()); err == nil {
		a.Route = &rt
	} else {
		notChecked(a, "route to "+a.Addr.Addr().String(), err, "", evidence.RouteLookup, evidence.LinkState, evidence.NeighState)
	}
	capture := r.startCapture(ctx, a, file)
	r.opts.Progress("connecting to " + a.Addr.String())
	r.attempts(ctx, a, capture, deep)
	r.finish(ctx, a, capture)
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
	return c
}

// attempts connects, once or as often as asked, and looks at what comes of it.
func (r *run) attempts(ctx context.Context, a *evidence.Address, capture *packets.Capture, deep bool) {
	running := connect.Start(r.env, a.Addr, connect.Options{})
	if waitFor(ctx, running.Done(), quiet) {
		r.conclude(ctx, a, running, capture, deep)
	} else {
		r.silence(ctx, a, running, capture, deep)
	}
	for n := 1; n < r.opts.Count && ctx.Err() == nil; n++ {
		pause(ctx, quiet)
		t, conn := connect.Attempt(ctx, r.env, a.Addr, min(r.opts.ConnectTimeout, 2*r.opts.Patience), connect.Options{})
		if conn != nil {
			conn.Close()
		}
		a.Attempts = append(a.Attempts, t)
	}
}

// conclude takes the result of an attempt that ended by itself.
func (r *run) conclude(ctx context.Context, a *evidence.Address, running *connect.Running, capture *packets.Capture, deep bool) {
	t, conn := running.Result()
	a.Attempts = append(a.Attempts, t)
	switch {
	case conn != nil && (r.opts.Gentle || !deep):
		conn.Close()
	case conn != nil:
		r.session(ctx, a, conn)
		r.investigate(ctx, a, capture)
	default:
		r.look(a)
		if deep {
			r.investigate(ctx, a, capture)
		}
	}
}

// silence investigates while the first SYN is still unanswered, then decides
// how long it is worth waiting on.
func (r *run) silence(ctx context.Context, a *evidence.Address, running *connect.Running, capture *packets.Capture, deep bool) {
	at := r.env.Clock.Now() - quiet
	a.Attempts = []evidence.Attempt{{At: at, Took: quiet, Pending: true}}
	a.Attempts[0].Tuple.Remote = a.Addr
	r.look(a)
	if deep && r.investigateUntil(ctx, a, capture, running.Done()) {
		// Something answers for the host: its round trip is known, and that many
		// SYNs from many ports are not lost by chance.
		waitFor(ctx, running.Done(), r.opts.Patience-(r.env.Clock.Now()-at))
	} else {
		waitFor(ctx, running.Done(), r.opts.ConnectTimeout+grace-(r.env.Clock.Now()-at))
	}
	running.Stop()
	a.Attempts = nil
	r.conclude(ctx, a, running, capture, deep)
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
	tuple := a.Attempts[len(a.Attempts)-1].Tuple
	done := make(chan struct{})
	queued := make(chan *bool, 1)
	if here(a) {
		r.look(a)
		go func() { queued <- r.watchQueue(done, a, tuple) }()
	} else {
		queued <- nil
	}
	t := r.set.Target
	s := session.Probe(ctx, r.env, conn, session.Options{
		Scheme: t.Scheme, Host: t.Host, Port: t.Port, Idle: r.opts.Idle, MTU: !here(a),
		Redial: func(ctx context.Context, mss int) (*net.TCPConn, error) { return r.redial(ctx, a.Addr, mss) },
	})
	close(done)
	s.Queued = <-queued
	a.Session = &s
}

// finish closes the evidence about an address.
func (r *run) finish(ctx context.Context, a *evidence.Address, capture *packets.Capture) {
	if a.Route != nil {
		if err := route.After(context.WithoutCancel(ctx), r.env, a.Addr.Addr(), a.Route); err != nil {
			notChecked(a, "neighbour of the next hop", err, "", evidence.NeighState)
		}
	}
	if r.counted {
		c, _ := counters.Collect(r.env, r.before, a.Addr)
		a.Counters = &c
	}
	if capture != nil {
		ps, c := capture.Stop()
		a.Packets, a.Capture = ps, &c
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
