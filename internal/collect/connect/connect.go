// Package connect makes TCP connection attempts and reports them as evidence:
// what connect() said, when, which ICMP errors came, and the state of the
// socket. Attempts run at the same time in one goroutine. It needs no
// privileges.
//
// It imports tcpsock, wire, collect, evidence and flow.
package connect

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// Options are what an attempt has of its own; zero means the system's default.
type Options struct {
	TTL int // hop limit of its packets
	MSS int // largest segment to announce and send, bytes
}

// Running is an attempt under way.
type Running struct {
	clock   collect.Clock
	done    chan struct{}
	stop    atomic.Bool
	poller  *tcpsock.Poller
	sock    *tcpsock.Socket // nil once done
	tuple   flow.Tuple      // as it was when the SYN left
	attempt evidence.Attempt
	conn    *net.TCPConn
}

// Attempt connects and waits for the outcome, at most for timeout, or until ctx
// is done; without an outcome the attempt is Pending. The connection is nil
// unless it was made; the caller closes it.
func Attempt(ctx context.Context, env collect.Env, addr netip.AddrPort, timeout time.Duration, opts Options) (evidence.Attempt, *net.TCPConn) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r := Start(env, addr, opts)
	select {
	case <-r.Done():
	case <-ctx.Done():
	}
	r.Stop()
	return r.Result()
}

// Start starts one attempt. It goes on until the kernel gives up or Stop is
// called.
func Start(env collect.Env, addr netip.AddrPort, opts Options) *Running {
	return StartAll(env, []netip.AddrPort{addr}, opts)[0]
}

// StartAll starts an attempt to each address, all of which one goroutine
// watches. The SYNs leave, and the sockets' network namespace is that of the
// caller, before it returns.
func StartAll(env collect.Env, addrs []netip.AddrPort, opts Options) []*Running {
	runs := make([]*Running, len(addrs))
	poller, err := tcpsock.NewPoller()
	pending := 0
	for i, addr := range addrs {
		r := &Running{clock: env.Clock, done: make(chan struct{}), poller: poller}
		r.attempt = evidence.Attempt{Tuple: flow.Tuple{Remote: addr}, TTL: opts.TTL, At: env.Clock.Now()}
		runs[i] = r
		if err != nil {
			r.fail(&tcpsock.Error{Call: "socket", Err: err})
			continue
		}
		if r.start(i, env, opts) {
			pending++
		}
	}
	switch {
	case pending > 0:
		go watch(poller, runs, pending)
	case err == nil:
		poller.Close()
	}
	return runs
}

// start sends the SYN and says whether there is anything to wait for.
func (r *Running) start(id int, env collect.Env, opts Options) bool {
	var err error
	r.sock, err = tcpsock.Connect(r.attempt.Tuple.Remote, tcpsock.Options{
		Source: env.Source, SourcePort: env.SourcePort, Interface: env.Interface,
		TTL: opts.TTL, MSS: opts.MSS,
	})
	if err != nil {
		r.fail(err)
		return false
	}
	r.attempt.Tuple.Local = r.sock.Local()
	r.tuple = r.attempt.Tuple
	if err := r.poller.Add(r.sock, id); err != nil {
		r.fail(err)
		return false
	}
	return !r.check()
}

// watch drives the attempts until the last one is done. A poller that fails
// ends them all.
func watch(poller *tcpsock.Poller, runs []*Running, pending int) {
	defer poller.Close()
	var ready []int
	for pending > 0 {
		var err error
		ready, err = poller.Wait(ready[:0], time.Time{})
		for _, id := range ready {
			if r := runs[id]; r.sock != nil && r.check() {
				pending--
			}
		}
		for _, r := range runs {
			switch {
			case r.sock == nil:
			case err != nil:
				r.fail(err)
				pending--
			case r.stop.Load():
				r.attempt.Pending = true
				r.finish()
				pending--
			}
		}
	}
}

// Tuple is the four-tuple of the SYN; Local is zero when there was none.
func (r *Running) Tuple() flow.Tuple { return r.tuple }

// Done is closed when the attempt has an outcome or was stopped.
func (r *Running) Done() <-chan struct{} { return r.done }

// Stop ends waiting: an attempt without an outcome becomes Pending. It returns
// when the result is there, and may be called at any time.
func (r *Running) Stop() {
	r.stop.Store(true)
	if r.poller != nil {
		r.poller.Wake()
	}
	<-r.done
}

// Result is the attempt and, if it connected, the connection, which is the
// caller's to close. It is valid after Done. A connection that the peer has
// reset by then is still one: reading it gives the error, and its RemoteAddr is
// nil.
func (r *Running) Result() (evidence.Attempt, *net.TCPConn) { return r.attempt, r.conn }

// check takes the news from the socket and says whether the attempt is done.
func (r *Running) check() bool {
	st := r.sock.Check()
	for _, e := range st.ICMP {
		r.attempt.ICMP = append(r.attempt.ICMP, r.socketError(e))
	}
	switch st.Phase {
	case tcpsock.Connected:
		r.attempt.Connected = true
		r.finish()
	case tcpsock.Failed:
		r.fail(st.Err)
	}
	return st.Phase != tcpsock.Pending
}

// fail ends the attempt with an error.
func (r *Running) fail(err error) {
	if call := (*tcpsock.Error)(nil); errors.As(err, &call) {
		r.attempt.Syscall, err = call.Call, call.Err
	}
	r.attempt.Errno = tcpsock.ErrnoName(err)
	if _, bare := err.(syscall.Errno); !bare || r.attempt.Errno == "" {
		r.attempt.Err = err.Error() // names what the errno is about
	}
	r.finish()
}

// finish takes what the socket knows at the end and gives it up.
func (r *Running) finish() {
	a := &r.attempt
	a.Took = r.clock.Now() - a.At
	if s := r.sock; s != nil {
		if info, err := s.Info(); err == nil {
			a.State, a.Retransmits = info.State.String(), info.Retransmits
			if a.Connected {
				a.RTT, a.MSS = info.RTT, info.MSS
			}
		}
		if a.Connected {
			a.Tuple.Local = s.Local()
			r.keep(s)
		} else {
			s.Close()
		}
		r.sock = nil
	}
	close(r.done)
}

// keep turns the socket into the connection of the result.
func (r *Running) keep(s *tcpsock.Socket) {
	err := r.poller.Remove(s)
	if err == nil {
		r.conn, err = s.TCPConn()
	}
	if err != nil {
		r.attempt.Err = err.Error()
		s.Close()
	}
}

// socketError makes evidence of an entry of the error queue.
func (r *Running) socketError(e tcpsock.ICMPError) evidence.SocketError {
	se := evidence.SocketError{
		At:    r.clock.Since(e.At),
		Errno: tcpsock.ErrnoName(e.Errno),
		Type:  e.Type,
		Code:  e.Code,
		From:  e.From,
		TTL:   e.TTL,
		MTU:   e.MTU,
		Local: e.Local,
	}
	if e.Local {
		return se // quotes nothing
	}
	se.QuoteLen = len(e.Header)
	se.Quote = wire.VerifyQuotedTCP(r.attempt.Tuple.Local, r.attempt.Tuple.Remote, e.Header)
	if len(e.Header) >= 8 { // the least that RFC 792 has quoted
		se.DstPort = binary.BigEndian.Uint16(e.Header[2:])
		se.Seq = binary.BigEndian.Uint32(e.Header[4:])
	}
	return se
}
