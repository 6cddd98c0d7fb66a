// Package hostside looks at this host from the server's side: who listens on a
// port, what rules and routes do with a client's packets, what the kernel did with
// them while it was watched, and what the service and its log say. It asks the
// collectors and decides nothing about causes itself.
//
// It may import everything below layer 4.
package hostside

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/collect/counters"
	"github.com/tcpwhy/tcpwhy/internal/collect/firewall"
	"github.com/tcpwhy/tcpwhy/internal/collect/limits"
	"github.com/tcpwhy/tcpwhy/internal/collect/listener"
	"github.com/tcpwhy/tcpwhy/internal/collect/programs"
	"github.com/tcpwhy/tcpwhy/internal/collect/returns"
	"github.com/tcpwhy/tcpwhy/internal/collect/service"
	"github.com/tcpwhy/tcpwhy/internal/diagnose"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/procinfo"
	"github.com/tcpwhy/tcpwhy/internal/visible"
)

// maxAddresses bounds the addresses of the host whose rules and ways back are
// looked at.
const maxAddresses = 16

const maxName = 64 // characters of the names of host and system

// Options of a look.
type Options struct {
	Port uint16 // 0 is all: then only listeners, limits and counters are looked at
	// Addr is the address that is in question; zero is every one of the host's.
	Addr netip.Addr
	// Client is the address whose attempts are in question; zero is anybody's.
	Client netip.Addr
	// Services are units or programs that should listen, Logs more files to read.
	Services, Logs []string
	// Progress is told what is being done, if not nil. It must be safe for
	// concurrent use.
	Progress func(step string)
}

// look is one look and what it found.
type look struct {
	ctx  context.Context
	env  collect.Env
	opts Options

	mu      sync.Mutex // guards out while several collectors run
	out     evidence.Host
	counted evidence.HostCounters // all of them, at the begin
	arrives map[netip.Addr]string // by client: the interface its packets were seen on
}

func newLook(ctx context.Context, clock collect.Clock, opts Options) *look {
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	name, _ := os.Hostname()
	return &look{ctx: ctx, env: collect.Env{Clock: clock}, opts: opts,
		out: evidence.Host{Started: clock.Start(), Name: visible.Text(name, maxName), System: system(), Port: opts.Port, Client: opts.Client}}
}

// Look takes one look, without watching the kernel. It never fails as such: what
// could not be looked at stands in NotChecked.
func Look(ctx context.Context, opts Options) *evidence.Host { return Take(ctx, opts).Host() }

// Taken is a look that was taken, which a watch can go on from.
type Taken struct{ look *look }

// Take is Look for a caller that may want to watch the kernel, too, once it knows
// what the look tells.
func Take(ctx context.Context, opts Options) *Taken {
	l := newLook(ctx, collect.NewClock(), opts)
	l.all()
	return &Taken{l}
}

// Host is what the look found.
func (t *Taken) Host() *evidence.Host {
	out := t.look.out
	out.Complete = true
	out.Elapsed = t.look.env.Clock.Now()
	return &out
}

// Watch begins to watch, as Start does, and keeps what was found already. It is
// called once.
func (t *Taken) Watch(ctx context.Context, o WatchOptions) (*Watch, error) {
	return t.look.watch(ctx, o, t.look.counters)
}

// all asks every collector that the options call for.
func (l *look) all() {
	l.opts.Progress("looking at sockets")
	addrs, err := returns.Addresses(l.ctx)
	l.missed("addresses of this host", err, evidence.HostOwns, evidence.HostUp)
	l.out.Addresses = addrs
	l.out.LocalRoutes, err = returns.Routes(l.ctx, addrs)
	l.out.RoutesRead = !l.missed("routes of type local", err, evidence.HostOwns)
	l.sockets()
	var wg sync.WaitGroup
	if l.opts.Port != 0 {
		l.opts.Progress("reading rules, routes and logs")
		wg.Go(l.firewall)
		wg.Go(l.service)
		wg.Go(l.programs)
	}
	wg.Go(l.limits)
	l.ways()
	l.counters()
	wg.Wait()
	l.translated()
}

// sockets lists who listens.
func (l *look) sockets() {
	t, missed, err := listener.Table(l.ctx, l.env, l.opts.Port, l.opts.Addr)
	l.note(missed)
	if l.missed("sockets of this host", err, evidence.HostSockets, evidence.HostQueue) {
		return
	}
	if l.opts.Port != 0 {
		t.Ports = []uint16{l.opts.Port}
		usual := slices.Concat(procinfo.UsualPrograms(l.opts.Port), l.opts.Services)
		for _, list := range [][]evidence.Listener{t.Listeners, t.Others} {
			for i := range list {
				s := &list[i]
				unit, _, _ := strings.Cut(s.Unit, ".")
				s.Usual = slices.Contains(usual, s.Process) || s.Unit != "" && (slices.Contains(usual, s.Unit) || slices.Contains(usual, unit))
			}
		}
	}
	t.Diverted = diverted()
	l.out.Sockets = &t
}

// judged are the addresses whose rules and ways back are looked at.
func (l *look) judged() []netip.Addr {
	if l.opts.Addr.IsValid() {
		return []netip.Addr{l.opts.Addr.Unmap()}
	}
	addrs := diagnose.Usable(&l.out)
	return addrs[:min(len(addrs), maxAddresses)]
}

// firewall reads what the rules do with the client's SYN and with its answer.
func (l *look) firewall() {
	clients := []netip.Addr{l.opts.Client}
	if l.opts.Client.IsValid() {
		clients = append(clients, netip.Addr{})
	}
	var queries []firewall.Query
	for _, a := range l.judged() {
		server := netip.AddrPortFrom(a, l.opts.Port)
		// NAT may give the client another address: then what is so for anybody counts.
		for _, c := range clients {
			in := l.arrival(c, a)
			queries = append(queries,
				firewall.Query{Kind: firewall.SYNIn, Client: netip.AddrPortFrom(c, 0), Server: server, In: in},
				firewall.Query{Kind: firewall.SYNACKOut, Client: netip.AddrPortFrom(c, 0), Server: server, In: in})
		}
	}
	f, missed, err := firewall.Read(l.ctx, l.env, queries)
	l.note(missed)
	if !l.missed("firewall rules", err, evidence.HostRule, evidence.HostNAT) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.out.Firewall = &f
	}
}

// arrival is the interface by which packets of a client to an address come in, as
// far as it is known: "" for an address that is not on one interface alone.
func (l *look) arrival(client, a netip.Addr) string {
	if in := l.arrives[client]; in != "" {
		return in
	}
	name := ""
	for _, h := range l.out.Addresses {
		if h.Prefix.Addr().WithZone("") == a.WithZone("") {
			if name != "" {
				return ""
			}
			name = h.Interface
		}
	}
	return name
}

// ways finds the routes back to the client.
func (l *look) ways() {
	if !l.opts.Client.IsValid() || l.opts.Port == 0 {
		return
	}
	for _, a := range l.judged() {
		r, err := returns.Collect(l.ctx, l.env, a, l.opts.Client, l.arrives[l.opts.Client])
		if !l.missed("route back to "+l.opts.Client.String(), err, evidence.HostBack, evidence.HostRPFilter) {
			l.mu.Lock()
			l.out.Returns = append(l.out.Returns, r)
			l.mu.Unlock()
		}
	}
}

func (l *look) service() {
	o := service.Options{Clock: l.env.Clock, Port: l.opts.Port, PIDs: l.owners(), Names: l.opts.Services, Logs: l.opts.Logs}
	s, missed, err := service.Collect(l.ctx, o)
	l.note(missed)
	if !l.missed("service and its log", err, evidence.HostService) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.out.Service = &s
	}
}

// owners are the processes that listen on the port.
func (l *look) owners() []int {
	var pids []int
	if l.out.Sockets != nil {
		for _, s := range l.out.Sockets.Listeners {
			if s.PID != 0 && !slices.Contains(pids, s.PID) {
				pids = append(pids, s.PID)
			}
		}
	}
	return pids
}

func (l *look) programs() {
	pid := 0
	if pids := l.owners(); len(pids) > 0 {
		pid = pids[0]
	}
	ps, missed, err := programs.Collect(l.ctx, pid)
	l.note(missed)
	if !l.missed("BPF programs in the way of packets", err, evidence.HostPrograms) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.out.Programs, l.out.LinksRead, l.out.ProgramsRead = ps, true, len(missed) == 0
	}
}

func (l *look) limits() {
	lim, missed, err := limits.Collect(l.owners())
	l.note(missed)
	if !l.missed("limits of this host", err, evidence.HostSYNQueue) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.out.Limits = &lim
	}
}

func (l *look) counters() {
	c, err := counters.Host(l.ctx)
	if !l.missed("counters of this host", err) {
		c.At = l.env.Clock.Now()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.counted = c
		c = counters.Since(c, c)
		l.out.Counters = &c
	}
}

// translated adds who listens where a rule sends the SYN, if that is this host.
func (l *look) translated() {
	f, t := l.out.Firewall, l.out.Sockets
	if f == nil || t == nil {
		return
	}
	for i := range f.Verdicts {
		to := f.Verdicts[i].NAT
		own, _ := l.out.Owns(to.Addr())
		if !to.IsValid() || !own || slices.Contains(t.Ports, to.Port()) {
			continue
		}
		more, _, err := listener.Table(l.ctx, l.env, to.Port(), to.Addr())
		if err == nil {
			t.Listeners = append(t.Listeners, more.Listeners...)
			t.Ports = append(t.Ports, to.Port())
		}
	}
}

// note keeps what a collector could not look at.
func (l *look) note(missed []evidence.NotChecked) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range missed {
		if !slices.ContainsFunc(l.out.NotChecked, func(o evidence.NotChecked) bool { return o.Check == n.Check && o.Reason == n.Reason }) {
			l.out.NotChecked = append(l.out.NotChecked, n)
		}
	}
}

// missed says whether a collector failed, and keeps why.
func (l *look) missed(check string, err error, keys ...evidence.Key) bool {
	if err == nil {
		return false
	}
	l.note([]evidence.NotChecked{{Check: check, Reason: strings.ReplaceAll(err.Error(), "\n", "; "), Keys: keys}})
	return true
}
