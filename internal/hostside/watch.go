package hostside

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/collect/bind"
	"github.com/tcpwhy/tcpwhy/internal/collect/counters"
	"github.com/tcpwhy/tcpwhy/internal/collect/fwtrace"
	"github.com/tcpwhy/tcpwhy/internal/collect/kernel"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// WatchOptions of a watch.
type WatchOptions struct {
	// Trace has the kernel tell which nftables rules the packets meet.
	Trace bool
	// Changed, if not nil, gets each attempt whose fate is new; see kernel.Options.
	Changed func(kernel.Attempt)
	// OnlyAttempts leaves out the look, and keeps no events.
	OnlyAttempts bool
}

// Watch is a look while the kernel is watched.
type Watch struct {
	look   *look
	kernel *kernel.Watch // nil where it cannot be watched
	trace  func() ([]evidence.RuleVerdict, []evidence.NotChecked)
	cancel context.CancelFunc
	known  int // events and packets when the tables were read last
}

// Start begins to watch and takes a look. When it returns nothing that begins
// afterwards is missed. It fails only where nothing but the watch was asked for,
// and the kernel cannot be watched. Stop must be called.
func Start(ctx context.Context, opts Options, o WatchOptions) (*Watch, error) {
	l := newLook(ctx, collect.NewClock(), opts)
	return l.watch(ctx, o, l.all)
}

// watch begins to watch and then looks.
func (l *look) watch(ctx context.Context, o WatchOptions, looks func()) (*Watch, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the end of ctx is not that of what is told at the end
	l.ctx = ctx
	w, opts := &Watch{look: l, cancel: cancel}, l.opts
	ko := kernel.Options{Port: opts.Port, About: opts.Client, Changed: o.Changed}
	if o.OnlyAttempts {
		ko.Keep, ko.Client, ko.Server = -1, opts.Client, opts.Addr
	}
	if ns, err := namespace(); err == nil {
		ko.Namespace = ns
	}
	k, err := kernel.Start(ctx, w.look.env, ko)
	switch {
	case err == nil:
		w.kernel = k
		w.look.note(k.NotChecked())
	case o.OnlyAttempts:
		cancel()
		return nil, fmt.Errorf("watch the kernel: %w", err)
	default:
		n := evidence.NotChecked{Check: "what the kernel does with packets", Reason: err.Error(), Keys: []evidence.Key{evidence.HostSYN, evidence.HostSYNACK, evidence.HostDrop}}
		if errors.Is(err, fs.ErrPermission) {
			n.Reason, n.How = "needs root, or CAP_NET_RAW, CAP_BPF and CAP_PERFMON", "sudo tcpwhy …"
		}
		w.look.note([]evidence.NotChecked{n})
	}
	if o.OnlyAttempts {
		return w, nil
	}
	if o.Trace {
		stop, err := fwtrace.Watch(ctx, w.look.env, fwtrace.Options{Client: opts.Client, Port: opts.Port, Text: ruleAsItIs(ctx)})
		if !w.look.missed("trace of the packet filter", err, evidence.HostRule) {
			w.trace = stop
		}
	}
	looks()
	return w, nil
}

// NotChecked says what cannot be watched, why, and how it could.
func (w *Watch) NotChecked() []evidence.NotChecked { return w.look.out.NotChecked }

// Summary counts the attempts.
func (w *Watch) Summary() kernel.Summary {
	if w.kernel == nil {
		return kernel.Summary{}
	}
	return w.kernel.Summary()
}

// Snapshot is what is known by now.
func (w *Watch) Snapshot() *evidence.Host {
	if w.kernel != nil {
		seen := w.kernel.Watched()
		w.look.out.Watched = &seen
	}
	return w.told(false)
}

// Stop ends the watch and returns all that was found. It is called once.
func (w *Watch) Stop() *evidence.Host {
	defer w.cancel()
	if w.kernel != nil {
		seen := w.kernel.Stop()
		w.look.out.Watched = &seen
		w.look.missed("all that the kernel did", w.kernel.Err())
	}
	if w.trace != nil {
		verdicts, missed := w.trace()
		w.look.note(missed)
		if w.look.out.Firewall == nil {
			w.look.out.Firewall = &evidence.Firewall{At: w.look.env.Clock.Now()}
		}
		w.look.out.Firewall.Traces = verdicts
	}
	return w.told(true)
}

// told brings what changes up to date: the queues, the counters, and the ways
// back, now that it is seen where the client's packets come in.
func (w *Watch) told(complete bool) *evidence.Host {
	l := w.look
	if n := w.count(); complete || n != w.known {
		w.known = n
		l.sockets()
		l.translated()
	}
	if c, err := counters.Host(l.ctx); err == nil {
		c.At = l.env.Clock.Now()
		c = counters.Since(l.counted, c)
		l.out.Counters = &c
	}
	if w.learn() {
		l.out.Returns = nil
		l.ways()
		l.firewall()
	}
	out := l.out
	out.Complete = complete
	out.Elapsed = l.env.Clock.Now()
	return &out
}

// count is how much was seen so far.
func (w *Watch) count() int {
	if s := w.look.out.Watched; s != nil {
		return len(s.Events) + len(s.Packets) + s.OtherSYNs
	}
	return 0
}

// learn notes by which interface the client's packets were seen to come in, and
// says whether that is news.
func (w *Watch) learn() bool {
	l := w.look
	if l.out.Watched == nil || !l.opts.Client.IsValid() || l.arrives[l.opts.Client] != "" {
		return false
	}
	for i := range l.out.Watched.Packets {
		p := &l.out.Watched.Packets[i]
		if !p.Outgoing && p.Src.Addr().Unmap() == l.opts.Client && p.Interface != "" {
			l.arrives = map[netip.Addr]string{l.opts.Client: p.Interface}
			return true
		}
	}
	return false
}

// CanBind says whether a server could bind an address, and who is in the way.
func CanBind(ctx context.Context, addr netip.AddrPort) (evidence.BindTrial, error) {
	return bind.Try(ctx, collect.Env{Clock: collect.NewClock()}, addr)
}
