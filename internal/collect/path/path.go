// Package path finds the routers on the way to a port and the distance of
// whoever answers it, by SYNs with a limited TTL to the port itself.
//
// Trace does it as an ordinary user: each TTL is a connect() of its own, whose
// error queue names the router that sent time exceeded. All are under way at
// once in one goroutine. The server's application hears nothing of it: answered
// connects are reset before the handshake is complete.
//
// It imports tcpsock, collect and evidence, and for raw probes rawsock, wire
// and flow.
package path

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock"
)

// The kinds of hop, evidence.Hop.Kind.
const (
	timeExceeded = "time-exceeded"
	synAck       = "syn-ack"
	rst          = "rst"
	icmp         = "icmp"
	silent       = "silent"
	failed       = "error"
)

const (
	maxTTL         = 64
	defaultMaxTTL  = 30
	defaultTimeout = time.Second
	minSettle      = 30 * time.Millisecond
	// maxRetries bounds the second tries of a trace: a loop of routers that
	// limit their ICMP leaves many TTLs silent, and asking again is no use.
	maxRetries = 8
)

// Options bound a trace. Zero values are the defaults.
type Options struct {
	// MaxTTL is the largest TTL probed, 30 by default and 64 at most.
	MaxTTL int
	// Timeout bounds the whole trace; 1 s by default, which is also when the
	// kernel would send each SYN again.
	Timeout time.Duration
	// Settle is for how long nothing new must come before the trace ends
	// although the port has not answered or a nearer hop is missing: by default
	// three times the largest round trip seen, at least 30 ms. Behind routers
	// that never answer a far host needs more; give the round trip if known.
	// While nothing at all has come, only Timeout ends it.
	Settle time.Duration
}

// Trace sends SYNs with TTL 1, 2, … MaxTTL to a port, all at once as far as
// descriptors and local ports go round, and reports what came back for each.
//
// It ends when the port has answered at some TTL and every smaller one was
// heard, when nothing new comes for Settle, at Timeout, or when ctx is done;
// then ctx's error comes with what was heard so far. TTLs below the highest
// heard that stay silent are tried a second time, since routers limit the rate
// of their ICMP. TTLs above the answering one are left out.
//
// A TTL that could not be probed for want of resources is a hop of kind "error";
// the others are not affected. If no SYN could be sent at all the error says
// why, and is an *tcpsock.Error. The source port of env is not used: every
// probe needs its own.
func Trace(ctx context.Context, env collect.Env, addr netip.AddrPort, opts Options) (evidence.Path, error) {
	p, err := trace(ctx, env, addr, opts)
	if err != nil {
		return p, fmt.Errorf("path to %v: %w", addr, err)
	}
	return p, nil
}

func trace(ctx context.Context, env collect.Env, addr netip.AddrPort, opts Options) (evidence.Path, error) {
	if opts.MaxTTL <= 0 {
		opts.MaxTTL = defaultMaxTTL
	}
	opts.MaxTTL = min(opts.MaxTTL, maxTTL)
	if opts.Timeout <= 0 {
		opts.Timeout = defaultTimeout
	}
	poller, err := tcpsock.NewPoller()
	if err != nil {
		return evidence.Path{Port: addr.Port(), Method: "connect", At: env.Clock.Now()}, err
	}
	defer poller.Close()
	defer context.AfterFunc(ctx, poller.Wake)()

	t := &tracer{ctx: ctx, addr: addr, opts: opts, poller: poller, begin: time.Now()}
	t.sockets = tcpsock.Options{Source: env.Source, Interface: env.Interface, HalfOpen: true}
	t.hops = make([]evidence.Hop, opts.MaxTTL)
	for i := range t.hops {
		t.hops[i] = evidence.Hop{TTL: i + 1, Kind: silent}
		t.queue = append(t.queue, i+1)
	}
	defer t.closeAbove(0)
	err = t.run()
	if t.short != nil {
		t.giveUpQueue()
	}
	return t.path(env.Clock), err
}

// deadline is when a trace that began at begin, had its last news at news and
// saw longest as its largest round trip ends, or makes its second tries, if
// nothing comes.
func (o Options) deadline(begin, news time.Time, longest time.Duration, retried bool) time.Time {
	end := begin.Add(o.Timeout)
	if news.IsZero() {
		return end
	}
	settle := o.Settle
	if settle <= 0 {
		settle = max(minSettle, 3*longest)
	}
	if !retried {
		settle /= 2
	}
	if quiet := news.Add(settle); quiet.Before(end) {
		return quiet
	}
	return end
}
