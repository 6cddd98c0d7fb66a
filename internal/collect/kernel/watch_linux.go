package kernel

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/afpacket"
	"github.com/tcpwhy/tcpwhy/internal/bpf"
	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/sockdiag"
)

// Watch is a running watch. Its methods may be called from several goroutines at
// once, but not from Options.Changed.
type Watch struct {
	o      Options
	clock  collect.Clock
	tracer *bpf.Tracer    // nil without it
	ring   *afpacket.Ring // nil without it
	absent []evidence.NotChecked
	// here says that the watch is in the network namespace of the program, whose
	// socket table can then be read later.
	here bool
	stop context.CancelFunc
	done chan struct{}

	// Of the goroutine that runs.
	batch   batch
	decoder packetDecoder
	names   map[int]string // of interfaces, by index
	asked   time.Duration  // when the socket table was read

	mu      sync.Mutex // guards what follows
	tracker *Tracker
	others  others
	result  evidence.Watched
	capture evidence.Capture
	lost    struct{ events, packets uint64 }
	err     error
}

// The defaults of Options.
const (
	defaultKeep     = 10_000
	defaultAttempts = 50_000
)

const (
	// pace is how often the buffers are looked into.
	pace = 20 * time.Millisecond
	// retire is how long packets may wait in a block that is not full.
	retire = 10 * time.Millisecond
	// held is how long what came is held back, so that what was earlier and comes
	// later can go before it: from another processor, or out of a block that was
	// not full.
	held = 3 * pace
	// burst bounds what is taken in before it is worked on.
	burst     = 1 << 14
	lastTurns = 100
	// ask is how often the socket table is read for connections that nobody was
	// seen to accept.
	ask = time.Second
)

// Start starts to watch and returns when that is under way: nothing that begins
// afterwards is missed. It ends with Stop or with ctx. Without the tracepoints or
// without the capture it watches by the other alone, and NotChecked says so; the
// error, when neither can be had, wraps both reasons, see bpf.Error and
// afpacket.PermissionError. The buffers take 24 MiB of the kernel's memory.
func Start(ctx context.Context, env collect.Env, o Options) (*Watch, error) {
	if o.Keep == 0 {
		o.Keep = defaultKeep
	}
	if o.Attempts <= 0 {
		o.Attempts = defaultAttempts
	}
	w := &Watch{
		o: o, clock: env.Clock, here: inOwnNamespace(), done: make(chan struct{}),
		decoder: packetDecoder{options: make(map[string]string)}, names: make(map[int]string),
	}
	var terr, rerr error
	if w.tracer, terr = bpf.Trace(bpf.Filter{Port: o.Port, Client: o.Client, Server: o.Server, Namespace: o.Namespace, Accepts: true}); terr != nil {
		w.absent = append(w.absent, notTraced(terr))
	}
	if w.ring, rerr = openRing(o); rerr != nil {
		w.absent = append(w.absent, notCaptured(rerr))
	}
	if terr != nil && rerr != nil {
		return nil, errors.Join(terr, rerr)
	}
	w.result.Traced = w.tracer != nil
	w.result.From = w.clock.Now()
	w.others.ends = make(map[netip.AddrPort]struct{})
	w.others.none = o.Keep < 0
	w.tracker = NewTracker(TrackerOptions{Port: o.Port, Traced: w.tracer != nil, Captured: w.ring != nil, Attempts: o.Attempts}, o.Changed)
	ctx, w.stop = context.WithCancel(ctx)
	go w.run(ctx)
	return w, nil
}

// inOwnNamespace says whether the calling thread is where the program is.
func inOwnNamespace() bool {
	thread, err := os.Readlink("/proc/thread-self/ns/net")
	program, perr := os.Readlink("/proc/self/ns/net")
	return err == nil && perr == nil && thread == program
}

func notTraced(err error) evidence.NotChecked {
	n := evidence.NotChecked{Check: "kernel's reasons", Reason: err.Error()}
	var missing *bpf.Error
	if errors.As(err, &missing) {
		n.Reason = "needs " + missing.Missing
	}
	if errors.Is(err, fs.ErrPermission) {
		n.How = "sudo tcpwhy …, or sudo setcap cap_bpf,cap_perfmon,cap_net_raw,cap_syslog+ep on the program"
	}
	return n
}

// run takes in what the kernel says until ctx ends or that breaks.
func (w *Watch) run(ctx context.Context) {
	defer close(w.done)
	defer w.stop()
	for ctx.Err() == nil {
		until, err := w.turn(time.Now().Add(pace))
		if err != nil {
			w.fail(err)
			break
		}
		w.work(until - held)
	}
	w.finish()
}

// turn takes in what there is, or will be by the deadline. What is from before
// the time that it returns has then come, but for what is held back for.
func (w *Watch) turn(deadline time.Time) (until time.Duration, err error) {
	until = w.clock.Now()
	if w.tracer != nil {
		if err := w.readEvents(deadline, &until); err != nil {
			return until, err
		}
	} else {
		if err := w.ring.SetDeadline(deadline); err != nil {
			return until, err
		}
		if err := w.ring.Wait(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return until, err
		}
	}
	if w.ring != nil {
		w.readPackets(&until)
	}
	return until, nil
}

// readEvents lowers until where it leaves some for the next turn.
func (w *Watch) readEvents(deadline time.Time, until *time.Duration) error {
	w.tracer.SetDeadline(deadline)
	var e bpf.Event
	for range burst {
		switch err := w.tracer.Read(&e); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
		e.At = w.clock.Since(e.Time)
		w.batch.events = append(w.batch.events, e.KernelEvent)
	}
	*until = min(*until, e.At)
	return nil
}

// work gives the tracker what happened until then.
func (w *Watch) work(until time.Duration) {
	accepted := w.accepted()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count()
	w.batch.release(until, w.event, w.packet)
	for _, s := range accepted {
		w.tracker.Taken(unmap(s.Remote), unmap(s.Local), until)
	}
	w.tracker.Tick(until)
	w.result.Until = until
}

func (w *Watch) event(e *evidence.KernelEvent) {
	w.tracker.Event(e)
	if w.o.About.IsValid() && !w.about(e.Client) {
		if w.others.keep(&w.result, e.Client, isSYN(e.Flags) && !e.FromServer) {
			w.result.Events = append(w.result.Events, *e)
		}
		return
	}
	if len(w.result.Events) < w.o.Keep {
		w.result.Events = append(w.result.Events, *e)
	} else {
		w.result.Omitted++
	}
}

func (w *Watch) packet(p *evidence.Packet) {
	if p.Kind != "tcp" || w.o.Port == 0 || p.Src.Port() == w.o.Port || p.Dst.Port() == w.o.Port {
		w.tracker.Packet(p)
	}
	w.capture.Received++
	if w.o.About.IsValid() && !w.about(p.Src) && !w.about(p.Dst) && !w.about(p.Inner.Local) && !w.about(p.Inner.Remote) {
		syn := p.Kind == "tcp" && !p.Outgoing && isSYN(p.Flags) && (w.o.Port == 0 || p.Dst.Port() == w.o.Port)
		if w.others.keep(&w.result, farEnd(p, w.o.Port), syn) {
			w.result.Packets = append(w.result.Packets, *p)
		}
		return
	}
	if len(w.result.Packets) < w.o.Keep {
		w.result.Packets = append(w.result.Packets, *p)
	} else {
		w.result.Omitted++
	}
}

func (w *Watch) about(a netip.AddrPort) bool {
	return a.Addr().Unmap().WithZone("") == w.o.About
}

// count notes what was lost.
func (w *Watch) count() {
	before := w.lost
	if w.tracer != nil {
		w.lost.events = w.tracer.Lost()
	}
	if w.ring != nil {
		if s, err := w.ring.Stats(); err == nil {
			w.lost.packets += uint64(s.Dropped)
		}
	}
	if w.lost != before {
		w.tracker.Lose(w.clock.Now())
	}
}

// accepted reads the socket table, now and then, while there are connections that
// no accept() was seen for: that of io_uring and of 32-bit programs is not seen.
func (w *Watch) accepted() []sockdiag.Socket {
	now := w.clock.Now()
	if !w.here || w.tracer == nil || now-w.asked < ask {
		return nil
	}
	w.asked = now
	w.mu.Lock()
	waiting := w.tracker.sum.Fates[FateComplete]
	w.mu.Unlock()
	if waiting == 0 {
		return nil
	}
	c, err := sockdiag.Dial(context.Background())
	if err != nil {
		return nil
	}
	defer c.Close()
	var taken []sockdiag.Socket
	q := sockdiag.Query{States: sockdiag.Of(sockdiag.Established, sockdiag.CloseWait), LocalPort: w.o.Port, V4: true, V6: true}
	for s, err := range c.Sockets(q) {
		if err != nil || len(taken) == burst {
			break
		}
		if s.Inode != 0 {
			taken = append(taken, s)
		}
	}
	return taken
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// finish takes in what happened until now, and ends both halves.
func (w *Watch) finish() {
	end := w.clock.Now()
	// What happened until now is there after that time, and after so many turns
	// even under a load that goes on.
	for range lastTurns {
		until, err := w.turn(time.Now().Add(2 * retire))
		if err != nil {
			w.fail(err)
			break
		}
		if until > end+retire {
			break
		}
	}
	w.work(w.clock.Now())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result.Until = end
	w.result.Lost = w.lost.events
	if w.tracer != nil {
		w.failLocked(w.tracer.Close())
	}
	if w.ring != nil {
		w.capture.Dropped = int(w.lost.packets)
		w.result.Capture = &w.capture
		w.failLocked(w.ring.Close())
	}
}

func (w *Watch) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failLocked(err)
}

func (w *Watch) failLocked(err error) {
	if w.err == nil {
		w.err = err
	}
}

// NotChecked says which half is missing, why, and how to get it.
func (w *Watch) NotChecked() []evidence.NotChecked { return slices.Clone(w.absent) }

// Attempts returns the attempts that are known now, oldest first.
func (w *Watch) Attempts() []Attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tracker.Attempts()
}

// Summary counts what was seen until now.
func (w *Watch) Summary() Summary {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.tracker.Summary()
	s.LostEvents, s.LostPackets = w.lost.events, w.lost.packets
	return s
}

// Stop ends the watch and returns what the kernel did, in order of time. It may
// be called again, with the same result.
func (w *Watch) Stop() evidence.Watched {
	w.stop()
	<-w.done
	return w.result
}

// Watched is what the kernel did so far; its Until is a moment ago.
func (w *Watch) Watched() evidence.Watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.result
	out.Events, out.Packets = slices.Clone(out.Events), slices.Clone(out.Packets)
	out.Lost = w.lost.events
	if w.ring != nil {
		c := w.capture
		c.Interfaces, c.Dropped = slices.Clone(c.Interfaces), int(w.lost.packets)
		out.Capture = &c
	}
	return out
}

// Err is the first thing that went wrong while watching, or nil.
func (w *Watch) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}
