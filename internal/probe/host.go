package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect/connect"
	"github.com/tcpwhy/tcpwhy/internal/diagnose"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/hostside"
)

// Feed is what the machine that should answer tells of itself while a run goes on:
// one piece of evidence after the other, each with all that was known by then.
type Feed struct {
	start  time.Time
	mu     sync.Mutex
	latest *evidence.Host
	first  time.Duration // how old the first piece's evidence was
	ahead  time.Duration // how far the host's clock is ahead of ours, at least
	err    error         // the end of what is told, io.EOF as a rule
	news   chan struct{} // closed and replaced with each piece
}

// NewFeed reads pieces by next until that gives an error.
func NewFeed(next func() (*evidence.Host, error)) *Feed {
	f := &Feed{start: time.Now(), news: make(chan struct{})}
	go func() {
		for {
			h, err := next()
			f.mu.Lock()
			if err != nil {
				f.err = err
			} else {
				// It may have waited for us, the first one most of all: the piece that
				// came fastest shows best what the time is there.
				ahead := h.Elapsed - time.Since(f.start)
				if f.latest == nil {
					f.first, f.ahead = h.Elapsed, ahead
				}
				f.latest, f.ahead = h, max(f.ahead, ahead)
			}
			close(f.news)
			f.news = make(chan struct{})
			f.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return f
}

// First waits for the first piece.
func (f *Feed) First(ctx context.Context) (*evidence.Host, error) {
	for {
		f.mu.Lock()
		h, err, news := f.latest, f.err, f.news
		f.mu.Unlock()
		switch {
		case h != nil:
			return h, nil
		case errors.Is(err, io.EOF):
			return nil, errors.New("it is empty")
		case err != nil:
			return nil, err
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// until waits for a piece that covers all until now, at most patience. live says
// that there is one, and that the host was watched since the first piece.
func (f *Feed) until(ctx context.Context, patience time.Duration) (h *evidence.Host, live bool) {
	const margin = 250 * time.Millisecond // for packets and pieces on their way
	asked := time.Since(f.start)
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		f.mu.Lock()
		h, err, news := f.latest, f.err, f.news
		covered := asked + f.ahead + margin
		f.mu.Unlock()
		if w := h.Watched; w != nil && w.Until >= covered && w.From <= f.first {
			return h, true
		}
		if err != nil || h.Complete {
			return h, false
		}
		select {
		case <-news:
		case <-timeout.C:
			return h, false
		case <-ctx.Done():
			return h, false
		}
	}
}

// hear attaches what the host has told so far to the addresses that it is about:
// those that it has, and those whose SYNs it saw, since NAT or a route may lead
// there. Evidence of any other machine would only mislead.
func (r *run) hear(h *evidence.Host, live bool) (used bool) {
	for i := range r.set.Addresses {
		a := &r.set.Addresses[i]
		if owns, _ := h.Owns(a.Addr.Addr()); owns || saw(h, a) {
			a.Host, a.HostLive = h, live
			used = true
		}
	}
	return used
}

// saw says whether a packet of one of the attempts came to the host.
func saw(h *evidence.Host, a *evidence.Address) bool {
	return h.Watched != nil && slices.ContainsFunc(h.Watched.Packets, func(p evidence.Packet) bool {
		return !p.Outgoing && slices.ContainsFunc(a.Attempts, func(t evidence.Attempt) bool {
			return t.Tuple.Local.Port() == p.Src.Port() && t.Tuple.Local.Addr().Unmap().WithZone("") == p.Src.Addr().Unmap().WithZone("")
		})
	})
}

// hearAll waits for what the host tells of the whole run.
func (r *run) hearAll(ctx context.Context) {
	if r.opts.Host == nil {
		return
	}
	const patience = 3 * time.Second
	r.opts.Progress("waiting for what the host saw")
	h, live := r.opts.Host.until(ctx, patience)
	if r.hear(h, live) {
		r.set.NotChecked = append(r.set.NotChecked, h.NotChecked...)
		return
	}
	r.set.NotChecked = append(r.set.NotChecked, evidence.NotChecked{Check: "the host's evidence",
		Reason: fmt.Sprintf("%s has not the target's address and saw no packet of ours: it is another machine", h.Name), How: "run tcpwhy host on the target, with --during while this runs"})
}

// ownHost looks at the server's side of a target on this host that did not answer
// as it should, and where that leaves several causes watches the kernel while one
// more attempt is made: to get that under way costs more than all the rest.
func (v *investigation) ownHost(ctx context.Context) {
	if !here(v.a) || v.a.Host != nil || v.opts.Gentle || !v.deep || ctx.Err() != nil || len(v.a.Attempts) == 0 {
		return
	}
	t := v.a.Attempts[len(v.a.Attempts)-1]
	if t.Connected || t.Syscall != "" && t.Errno != "ECONNREFUSED" {
		return
	}
	d := diagnose.Differ(evidence.ScopeAddress, diagnose.ObserveAddress(v.set, v.a))
	if len(d.Candidates()) <= 1 {
		return
	}
	v.opts.Progress("looking at this host as the server")
	look := hostside.Take(ctx, hostside.Options{Port: v.a.Addr.Port(), Addr: diagnose.Reached(v.a.Addr.Addr()), Client: t.Tuple.Local.Addr()})
	v.a.Host = look.Host()
	if mayReadRules() { // what this host sends, it may send elsewhere
		v.round(ctx, []diagnose.Check{{ID: diagnose.CheckRules, What: "reading this host's own firewall rules"}})
	}
	if v.decided() {
		v.unseen(v.a.Host)
		return
	}
	w, err := look.Watch(ctx, hostside.WatchOptions{})
	if err != nil {
		v.miss("the server's side of this host", err, "")
		return
	}
	v.a.HostFrom = v.env.Clock.Now()
	env := v.env
	env.SourcePort = 0
	again, conn := connect.Attempt(ctx, env, v.a.Addr, v.opts.Patience, connect.Options{})
	if conn != nil {
		conn.Close()
	}
	h := w.Stop()
	v.a.Attempts = append(v.a.Attempts, again)
	v.a.Host, v.a.HostLive = h, true
	v.unseen(h)
}

// decided says that what was read of this host leaves one cause, and that nothing was
// left open which the kernel could tell: what its rules and programs do.
func (v *investigation) decided() bool {
	if v.capture != nil {
		v.a.Packets = v.capture.Snapshot()
	}
	facts := diagnose.ObserveAddress(v.set, v.a)
	known := func(k evidence.Key, is func(evidence.Value) bool) bool {
		return slices.ContainsFunc(facts, func(f evidence.Fact) bool { return f.Key == k && is(f.Value) })
	}
	d := diagnose.Differ(evidence.ScopeAddress, facts)
	return len(d.Candidates()) > 0 && d.Settled() &&
		known(evidence.HostRule, func(evidence.Value) bool { return true }) &&
		known(evidence.HostPrograms, func(is evidence.Value) bool { return is == evidence.No })
}

// unseen notes what could not be looked at on the host.
func (v *investigation) unseen(h *evidence.Host) {
	for _, n := range h.NotChecked {
		v.miss(n.Check, errors.New(n.Reason), n.How, n.Keys...)
	}
}
