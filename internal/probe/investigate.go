package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect/connect"
	"github.com/tcpwhy/tcpwhy/internal/collect/control"
	"github.com/tcpwhy/tcpwhy/internal/collect/listener"
	"github.com/tcpwhy/tcpwhy/internal/collect/packets"
	"github.com/tcpwhy/tcpwhy/internal/collect/path"
	"github.com/tcpwhy/tcpwhy/internal/diagnose"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/rawsock"
)

// budget is the most packets that control probes may send to an address,
// beyond the connects and the path traces.
const budget = 48

// copies is how many of a packet are sent whose silence tells something: where a
// fifth is lost on either way, all of them are once in 170 times.
const copies = 5

// persistent is how many SYNs from as many ports are waited for where nothing at
// all has answered: half of what is lost on either way leaves none in a hundred.
const persistent = 12

// closedPort is a port that is surely closed: assigned once to a mail protocol
// that nobody ran, and below those that programs pick for themselves.
const closedPort = 61

// investigation is the look at one address: its evidence, and the checks made.
type investigation struct {
	*run
	a       *evidence.Address
	capture *packets.Capture // nil without the privilege
	// deep is false for addresses that get no more than a connect.
	deep bool

	mu        sync.Mutex // guards what checks add to a
	done      []diagnose.CheckID
	left      int  // packets of the budget
	confirmed bool // confirm was made
	weighed   bool // steady was made
	returned  bool // steadyReturn was made
}

// investigate makes the checks that can split what is left, round by round,
// none twice. It ends early when stop is closed.
func (v *investigation) investigate(ctx context.Context, stop <-chan struct{}) {
	for v.deep && ctx.Err() == nil {
		if v.capture != nil {
			v.a.Packets = v.capture.Snapshot()
		}
		d := diagnose.Differ(evidence.ScopeAddress, diagnose.ObserveAddress(v.set, v.a))
		plan := d.Plan(v.done, v.netRaw, v.left)
		if v.opts.Gentle {
			plan = slices.DeleteFunc(plan, func(c diagnose.Check) bool { return !c.Quiet })
		}
		if len(plan) == 0 {
			break
		}
		v.round(ctx, plan)
		select {
		case <-stop:
			return
		default:
		}
	}
	v.confirm(ctx)
	v.steady(ctx)
	v.steadyReturn(ctx)
}

// round makes the checks of a plan at the same time.
func (v *investigation) round(ctx context.Context, plan []diagnose.Check) {
	var wg group
	for _, c := range plan {
		v.done = append(v.done, c.ID)
		v.left -= c.Packets
		v.opts.Progress(c.What)
		wg.Go(func() { v.check(ctx, c) })
	}
	wg.Wait()
}

func (v *investigation) check(ctx context.Context, c diagnose.Check) {
	switch c.ID {
	case diagnose.CheckPath:
		v.trace(ctx, v.a.Addr.Port(), func(p *evidence.Path) { v.a.Path = p })
	case diagnose.CheckOtherPort:
		v.trace(ctx, v.closed(), func(p *evidence.Path) { v.a.OtherPath = p })
	case diagnose.CheckEcho:
		v.echo(ctx)
	case diagnose.CheckTTL255:
		v.ttl255(ctx)
	case diagnose.CheckSources:
		v.sources(ctx)
	case diagnose.CheckOwners:
		v.owners(ctx)
	case diagnose.CheckRules:
		v.ownRules(ctx)
	case diagnose.CheckACK:
		v.raw(ctx, v.a.Addr.Port(), evidence.ControlACK, (*control.Prober).ACK, control.Options{}, copies)
		v.raw(ctx, v.closed(), evidence.ControlACK, (*control.Prober).ACK, control.Options{}, copies)
	case diagnose.CheckFIN:
		v.raw(ctx, v.a.Addr.Port(), evidence.ControlFIN, (*control.Prober).FIN, control.Options{}, 1)
	case diagnose.CheckECN:
		v.raw(ctx, v.a.Addr.Port(), evidence.ControlECN, (*control.Prober).SYN, control.Options{ECN: true}, copies)
		v.raw(ctx, v.a.Addr.Port(), evidence.ControlPlain, (*control.Prober).SYN, control.Options{}, copies)
	}
}

// closed is a port, other than the one asked for, that is surely closed.
func (v *investigation) closed() uint16 {
	if v.a.Addr.Port() == closedPort {
		return closedPort + 1
	}
	return closedPort
}

func (v *investigation) trace(ctx context.Context, port uint16, keep func(*evidence.Path)) {
	v.limits.traces <- struct{}{}
	defer func() { <-v.limits.traces }()
	p, err := path.Trace(ctx, v.env, netip.AddrPortFrom(v.a.Addr.Addr(), port), path.Options{Timeout: v.wait(), Settle: v.settle()})
	if err != nil && ctx.Err() == nil {
		if cause := errors.Unwrap(err); cause != nil {
			err = cause // it names the path already
		}
		v.miss(fmt.Sprintf("path with port %d", port), err, "", evidence.PathEnd)
	}
	if len(p.Hops) > 0 {
		v.mu.Lock()
		defer v.mu.Unlock()
		keep(&p)
	}
}

// wait is how long the answers to a trace may take: the round trip tells, once
// it is known.
func (v *investigation) wait() time.Duration {
	rtt, sure := v.rtt()
	long := min(3*rtt, 3*time.Second)
	if !sure {
		return max(v.opts.Patience, long)
	}
	return max(long, min(v.opts.Patience, max(10*rtt, 30*time.Millisecond)))
}

// rtt is the round trip that the attempt took, and that is for sure; or else that
// of another answer of the host, 0 while there is none.
func (v *investigation) rtt() (rtt time.Duration, sure bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n := len(v.a.Attempts); n > 0 && !v.a.Attempts[n-1].Pending {
		switch t := &v.a.Attempts[n-1]; {
		case t.RTT > 0:
			return t.RTT, true
		case t.Errno == "ECONNREFUSED" || t.Took < time.Second || slices.ContainsFunc(t.ICMP, exceeded):
			return min(t.Took, 3*time.Second), true // at most, if the SYN was sent again
		}
		// An error that took its time is no round trip.
	}
	return diagnose.RoundTrip(v.a), false
}

// patient is how long an answer to the port's own probes is waited for.
func (v *investigation) patient() time.Duration {
	rtt, _ := v.rtt()
	return max(v.opts.Patience/2, 3*rtt)
}

// exceeded says that a router answered, at once: RFC 792 and RFC 4443, section 3.3.
func exceeded(e evidence.SocketError) bool {
	return e.From.Is4() && e.Type == 11 || e.From.Is6() && e.Type == 3
}

// forget drops what was given up before the round trip, known by now, had
// passed, so that it is asked again. It says whether there was any.
func (v *investigation) forget() (some bool) {
	rtt, _ := v.rtt()
	again := func(ids ...diagnose.CheckID) {
		some = true
		v.done = slices.DeleteFunc(v.done, func(d diagnose.CheckID) bool { return slices.Contains(ids, d) })
	}
	early := func(p *evidence.Path) bool { return p != nil && p.AnswerTTL == 0 && p.Took < 2*rtt }
	if early(v.a.Path) {
		v.a.Path = nil
		again(diagnose.CheckPath)
	}
	if early(v.a.OtherPath) {
		v.a.OtherPath = nil
		again(diagnose.CheckOtherPort)
	}
	if some {
		v.confirmed, v.weighed = false, false
	}
	v.a.Controls = slices.DeleteFunc(v.a.Controls, func(c evidence.Control) bool {
		if c.Answer != "silent" || c.Took >= rtt {
			return false
		}
		switch c.Kind {
		case evidence.ControlACK:
			again(diagnose.CheckACK)
		case evidence.ControlFIN:
			again(diagnose.CheckFIN)
		case evidence.ControlTTL255:
			again(diagnose.CheckTTL255)
		case evidence.ControlECN, evidence.ControlPlain:
			again(diagnose.CheckECN)
		case evidence.ControlEcho:
			again(diagnose.CheckEcho)
		default:
			return false
		}
		return true
	})
	return some
}

// settle is how long a trace waits for more after the last news. While nothing
// is known of the distance, a host far behind near routers must have its time.
func (v *investigation) settle() time.Duration {
	least := 200 * time.Millisecond
	rtt, sure := v.rtt()
	if sure && rtt > 0 {
		least = 30 * time.Millisecond
	}
	return max(least, min(3*rtt, 2*time.Second))
}

// confirm asks once more for a hop that is silent to this port and not to
// another one: routers limit the rate of their ICMP errors, and a cause must
// not be read out of that.
func (v *investigation) confirm(ctx context.Context) {
	p, other := v.a.Path, v.a.OtherPath
	if p == nil || other == nil || ctx.Err() != nil || v.confirmed {
		return
	}
	last, far := deepest(p), deepest(other)
	if last >= far {
		return
	}
	v.confirmed = true
	trace := path.Trace
	if v.netRaw {
		trace = path.TraceRaw // one four-tuple, so one path where several are balanced
	}
	again, err := trace(ctx, v.env, v.a.Addr, path.Options{MaxTTL: far, Timeout: max(10*slowest(other), 50*time.Millisecond)})
	if err != nil {
		return
	}
	for _, h := range again.Hops {
		i := slices.IndexFunc(p.Hops, func(o evidence.Hop) bool { return o.TTL == h.TTL })
		switch {
		case i < 0:
			p.Hops = append(p.Hops, h)
		case p.Hops[i].Kind == "silent" || p.Hops[i].Kind == "":
			h.Tries += max(1, p.Hops[i].Tries)
			p.Hops[i] = h
		}
	}
	slices.SortFunc(p.Hops, func(a, b evidence.Hop) int { return a.TTL - b.TTL })
	if p.AnswerTTL == 0 {
		p.AnswerTTL, p.Answer = again.AnswerTTL, again.Answer
	}
}

func deepest(p *evidence.Path) int {
	n := 0
	for _, h := range p.Hops {
		if h.Kind == "time-exceeded" {
			n = max(n, h.TTL)
		}
	}
	return n
}

func (v *investigation) echo(ctx context.Context) {
	c, err := control.Echo(ctx, v.env, v.a.Addr.Addr(), v.wait())
	if err != nil {
		how := ""
		if p := (*control.PermissionError)(nil); errors.As(err, &p) {
			err, how = errors.New("not permitted to this user"), p.How
		}
		v.miss("ICMP echo", err, how, evidence.HostAnswers)
		return
	}
	v.add(c)
}

// owners asks the link who has the address; the capture sees who answers.
func (v *investigation) owners(ctx context.Context) {
	r := v.a.Route
	if r == nil || r.Gateway.IsValid() || v.capture == nil {
		return
	}
	src := r.Source
	if v.env.Source.IsValid() {
		src = v.env.Source
	}
	if err := rawsock.Ask(r.Interface, src, v.a.Addr.Addr()); err != nil {
		v.miss("owners of the address on the link", err, "", evidence.NeighOwners)
		return
	}
	rtt, _ := v.rtt()
	pause(ctx, max(20*time.Millisecond, min(10*rtt, v.opts.Patience)))
}

// ttl255 connects with TTL 255, which RFC 5082 (GTSM) asks of a neighbour.
func (v *investigation) ttl255(ctx context.Context) {
	env := v.env
	env.SourcePort = 0
	wait := v.wait()
	v.several("SYN with TTL 255", copies, func() (evidence.Control, error) {
		t, conn := connect.Attempt(ctx, env, v.a.Addr, wait, connect.Options{TTL: 255})
		if conn != nil {
			conn.Close()
		}
		return controlOf(evidence.ControlTTL255, t), nil
	})
}

// several sends n copies of a probe at once, of which the first answer counts: some
// may be lost by chance.
func (v *investigation) several(what string, n int, send func() (evidence.Control, error)) {
	var wg group
	var mu sync.Mutex
	var best evidence.Control
	var failed error
	sent := 0
	for range n {
		wg.Go(func() {
			c, err := send()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			sent += c.Sent
			heard := c.Answer != "silent" && c.Answer != "not-sent"
			if best.Answer == "" || heard && (best.Answer == "silent" || best.Answer == "not-sent" || c.Took < best.Took) {
				best = c
			}
		})
	}
	wg.Wait()
	if best.Answer == "" {
		v.miss(what, failed, "")
		return
	}
	best.Sent = sent
	v.add(best)
}

// controlOf is what came of a connect that was made as a control probe.
func controlOf(kind string, t evidence.Attempt) evidence.Control {
	c := evidence.Control{Kind: kind, Port: t.Tuple.Remote.Port(), At: t.At, Took: t.Took, Sent: 1, Answer: "silent"}
	switch {
	case t.Connected:
		c.Answer = "syn-ack"
	case len(t.ICMP) > 0: // before errno: port unreachable is ECONNREFUSED, too
		c.Answer, c.From, c.Type, c.Code = "icmp", t.ICMP[0].From, t.ICMP[0].Type, t.ICMP[0].Code
	case t.Errno == "ECONNREFUSED" || t.Errno == "ECONNRESET":
		c.Answer = "rst"
	case t.Syscall != "":
		c.Answer, c.Errno = "not-sent", t.Errno
	}
	return c
}

// sources connects from other source ports, and again from one that was
// answered and one that was not, to see whether the outcome sticks to the port.
func (v *investigation) sources(ctx context.Context) {
	var answered, silent uint16
	wait := v.patient()
	for n := 0; n < 4 && (answered == 0 || silent == 0); n++ {
		port, ok := v.from(ctx, 0, wait)
		if ok {
			answered = port
		} else if port != 0 {
			silent = port
		}
	}
	for _, port := range []uint16{answered, silent} {
		if port != 0 {
			v.from(ctx, port, wait)
		}
	}
}

// from connects from a source port, 0 for any, and notes what came of it.
func (v *investigation) from(ctx context.Context, port uint16, wait time.Duration) (used uint16, answered bool) {
	env := v.env
	env.SourcePort = port
	t, conn := connect.Attempt(ctx, env, v.a.Addr, wait, connect.Options{})
	if conn != nil {
		conn.SetLinger(0) // a RST, so that the port can be used again at once
		conn.Close()
	}
	used = t.Tuple.Local.Port()
	if t.Pending && ctx.Err() != nil {
		return used, false // nobody waited for the answer
	}
	c := controlOf(evidence.ControlSourcePort, t)
	c.SourcePort = used
	v.add(c)
	return used, c.Answer != "silent"
}

// persist connects from many source ports where nothing of the host has answered,
// and waits for as long as the attempt itself, at most until stop is closed: the
// traces gave up before anything far away could have answered them.
func (v *investigation) persist(ctx context.Context, stop <-chan struct{}, wait time.Duration) {
	if !v.deep || v.opts.Gentle || v.opts.ConnectTimeout < diagnose.Farthest {
		return
	}
	wait = max(wait, diagnose.Farthest+50*time.Millisecond) // an attempt counts from a little later
	v.opts.Progress("waiting for late answers")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg group
	for range persistent {
		wg.Go(func() { v.from(ctx, 0, wait) })
	}
	if waitFor(ctx, stop, wait) {
		cancel()
	}
	wg.Wait()
}

func (v *investigation) raw(ctx context.Context, port uint16, kind string,
	send func(*control.Prober, context.Context, control.Options) (evidence.Control, error), o control.Options, n int) {
	p, err := control.NewProber(v.env, netip.AddrPortFrom(v.a.Addr.Addr(), port))
	if err != nil {
		v.miss("raw probes", err, "")
		return
	}
	defer p.Close()
	o.Wait = v.patient()
	v.several("bare "+kind, n, func() (evidence.Control, error) {
		c, err := send(p, ctx, o)
		c.Port = port
		return c, err
	})
}

func (v *investigation) add(c evidence.Control) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.a.Controls = append(v.a.Controls, c)
}

func (v *investigation) miss(check string, err error, how string, keys ...evidence.Key) {
	v.mu.Lock()
	defer v.mu.Unlock()
	notChecked(v.a, check, err, how, keys...)
}

// alive says whether anything answers for the host, so that its round trip is
// known.
func (v *investigation) alive() bool {
	if p := v.a.OtherPath; p != nil && (p.Answer == "rst" || p.Answer == "syn-ack") {
		return true
	}
	return slices.ContainsFunc(v.a.Controls, func(c evidence.Control) bool {
		return c.Answer == "echo-reply" || c.Answer == "rst" || c.Answer == "syn-ack"
	}) || here(v.a)
}

// redial opens one more connection for the checks of a session.
func (r *run) redial(ctx context.Context, addr netip.AddrPort, mss int) (*net.TCPConn, error) {
	env := r.env
	env.SourcePort = 0
	t, conn := connect.Attempt(ctx, env, addr, r.opts.ConnectTimeout, connect.Options{MSS: mss})
	if conn == nil {
		if t.Pending {
			return nil, fmt.Errorf("connect: no answer in %v", t.Took.Round(time.Millisecond))
		}
		return nil, errors.New("connect: " + cmp.Or(t.Errno, t.Err))
	}
	return conn, nil
}

// watchQueue says, at the end of a session with a server on this host, whether
// the connection was ever taken out of the accept queue.
func (r *run) watchQueue(done <-chan struct{}, a *evidence.Address, tuple flow.Tuple) *bool {
	var last *bool
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return last
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		q, err := listener.Queued(ctx, r.env, tuple)
		cancel()
		if err != nil {
			return last
		}
		if q != nil {
			last = q
		}
		if last != nil && !*last {
			return last
		}
	}
}
