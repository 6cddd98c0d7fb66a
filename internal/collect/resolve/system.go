package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// startSystem asks the system's own resolver beside the rest. The function
// returned waits for it, but not much longer than the rest took, and stores
// what it said.
func (r *resolver) startSystem(ctx context.Context) (wait func()) {
	o := r.opts
	if o.SystemDial == nil && (o.HostsFile != "" || o.ResolvConf != "" || o.NSSwitch != "") {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	conns := &connSet{dial: o.SystemDial}
	if conns.dial == nil {
		conns.dial = new(net.Dialer).DialContext
	}
	begin := r.clock.Now()
	done := make(chan evidence.SystemAnswer, 1)
	go func() {
		res := net.Resolver{Dial: conns.Dial}
		addrs, err := res.LookupNetIP(ctx, o.Families.network(), r.name.Host)
		done <- systemAnswer(addrs, err, r.clock.Now()-begin)
	}()
	return func() {
		timer := time.NewTimer(o.Patience)
		defer timer.Stop()
		defer conns.Close() // ends the lookup, which ignores ctx while it reads
		defer cancel()
		var ans evidence.SystemAnswer
		select {
		case ans = <-done:
		case <-ctx.Done():
			ans = evidence.SystemAnswer{Err: "stopped before an answer came", Took: r.clock.Now() - begin}
		case <-timer.C:
			took := r.clock.Now() - begin
			ans = evidence.SystemAnswer{Err: fmt.Sprintf("no answer within %v, %v", took.Round(time.Millisecond), errNotWaited), Took: took}
		}
		r.name.System = &ans
	}
}

func systemAnswer(addrs []netip.Addr, err error, took time.Duration) evidence.SystemAnswer {
	ans := evidence.SystemAnswer{Took: took}
	for _, a := range addrs[:min(len(addrs), maxAddrs)] {
		ans.Addrs = append(ans.Addrs, a.Unmap())
	}
	if err != nil {
		ans.Err = clean(err.Error())
	}
	return ans
}

// connSet makes connections that can all be closed from outside. The resolver
// of package net goes on reading, for seconds, after its context has ended;
// closing what it reads from ends it at once.
type connSet struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	mu     sync.Mutex
	conns  []net.Conn
	closed bool
}

var errClosed = errors.New("the lookup is over")

func (s *connSet) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := s.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return nil, errClosed
	}
	s.conns = append(s.conns, conn)
	return conn, nil
}

func (s *connSet) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.conns {
		c.Close()
	}
}
