package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
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
		addrs, err := r.askSystem(ctx, conns)
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

// askSystem asks the C library by way of getent(1), which knows every module of
// nsswitch.conf; where that is not installed, Go's own resolver, which reads the
// same files.
func (r *resolver) askSystem(ctx context.Context, conns *connSet) ([]netip.Addr, error) {
	if r.opts.SystemDial == nil {
		if program, err := exec.LookPath("getent"); err == nil {
			return getent(ctx, program, r.name.Host, r.opts.Families)
		}
	}
	res := net.Resolver{Dial: conns.Dial}
	return res.LookupNetIP(ctx, r.opts.Families.network(), r.name.Host)
}

// getent lists the addresses that the C library gives for a name, in the order
// in which programs would try them.
func getent(ctx context.Context, program, host string, families Families) ([]netip.Addr, error) {
	cmd := exec.CommandContext(ctx, program, "ahosts", "--", host)
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 2 {
		return nil, errors.New("not found") // getent(1): the key was not found
	} else if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for line := range strings.Lines(string(out[:min(len(out), maxFile)])) {
		first, _, _ := strings.Cut(line, " ")
		a, err := netip.ParseAddr(strings.TrimSpace(first))
		if err != nil || slices.Contains(addrs, a) || families == IPv4 && !a.Is4() || families == IPv6 && a.Is4() {
			continue
		}
		if len(addrs) == maxAddrs {
			break
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
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
