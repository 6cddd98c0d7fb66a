package tcpflow

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
)

// Reader gives a capture batch by batch, as a *[pcapfile.Reader] does.
type Reader interface {
	ReadBatch(context.Context, *pcapfile.Batch) error
	Waits() bool
}

// Analyze reads the capture to its end. The error is nil, or a
// *pcapfile.DamageError (the results hold for what was read before it), that
// of reading, of o.Conn, or of ctx; the summary is never nil.
//
// Workers take turns in reading batches. Whoever has read one decodes it, and
// every worker applies the packets of its own shards to their connections,
// batch by batch in order. A worker that has nothing to apply yet reads on.
func Analyze(ctx context.Context, r Reader, o Options) (*Summary, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a := newAnalysis(r, o)
	a.cancel = cancel
	var wg sync.WaitGroup
	for i := range a.workers {
		wg.Go(func() { a.work(ctx, &a.workers[i]) })
	}
	wg.Wait()
	defer a.arena.release()
	return a.conclude()
}

// analysis is one call of Analyze.
type analysis struct {
	Options
	cancel  context.CancelCauseFunc
	reader  Reader
	waits   bool // a read may wait for somebody
	workers []worker
	shards  [shards]shard
	arena   arena
	dns     resolver

	// What the reading worker uses.
	last  int64 // time of the last packet
	clock clock

	mu      sync.Mutex // of what follows
	changed sync.Cond
	changes atomic.Uint32
	ring    []batch // number n is at n modulo its length
	queued  uint64  // batches read
	free    uint64  // batches done with
	reading bool
	handing bool
	err     error // what ended the reading

	callback error
	all      []letGo // used again by callLetGo
}

// worker reads and decodes batches, and follows the connections of its shards.
type worker struct {
	decoder
	shards []int
	dns    bool
	next   uint64      // batch to apply
	runs   [stages]run // youngest first
	lines  lines
	_      apart
}

func newAnalysis(r Reader, o Options) *analysis {
	n := o.Parallelism
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	most := o.MaxConnections
	if most <= 0 {
		most = DefaultMaxConnections()
	}
	a := &analysis{Options: o, reader: r, waits: r.Waits(), clock: clock{linger: int64(o.Linger)}, ring: make([]batch, n+2), workers: make([]worker, n)}
	a.changed.L = &a.mu
	seed := rand.Uint64()
	for i := range a.workers {
		w := &a.workers[i]
		w.seed, w.dns = seed, i == 0
		for k := i; k < shards; k += n {
			w.shards = append(w.shards, k)
		}
	}
	for i := range a.shards {
		s := &a.shards[i]
		s.arena = &a.arena
		s.seed, s.max = seed, max((most+shards-1)/shards, 1)
		s.index.grow(s.arena)
		s.linger = int64(o.Linger)
		if o.Part != nil {
			s.part = func(c *Conn) error { return o.Part(i, c) }
		}
	}
	return a
}

// work does what there is to do, until all is done.
func (a *analysis) work(ctx context.Context, w *worker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		b := &a.ring[w.next%uint64(len(a.ring))]
		switch {
		case w.next < a.queued && b.decoded:
			a.mu.Unlock()
			err := a.apply(w, b)
			a.mu.Lock()
			a.stop(err)
			w.next++
			b.applying--
			a.handBack()
		case a.mayRead(w):
			a.read(ctx, w)
		case a.err != nil && w.next == a.queued:
			return
		default:
			a.wait()
		}
	}
}

// spins is how often a worker looks again before it sleeps, some 50 microseconds.
const spins = 400

// wait waits for a change. Where no read waits for anybody it is near: to sleep and
// to be woken would take about as long as a batch.
func (a *analysis) wait() {
	if !a.waits {
		was := a.changes.Load()
		a.mu.Unlock()
		for range spins {
			if a.changes.Load() != was {
				break
			}
			runtime.Gosched()
		}
		a.mu.Lock()
		if a.changes.Load() != was {
			return
		}
	}
	a.changed.Wait()
}

// change wakes who waits.
func (a *analysis) change() {
	a.changes.Add(1)
	a.changed.Broadcast()
}

// mayRead tells whether it is the worker's turn. Where a read may take long,
// the worker must have nothing else to do.
func (a *analysis) mayRead(w *worker) bool {
	return !a.reading && a.err == nil && a.queued-a.free < uint64(len(a.ring)) && (!a.waits || w.next == a.queued)
}

// read reads the next batch and decodes it.
func (a *analysis) read(ctx context.Context, w *worker) {
	a.reading = true
	b := &a.ring[a.queued%uint64(len(a.ring))]
	a.mu.Unlock()
	err := a.reader.ReadBatch(ctx, &b.Batch)
	if err == nil {
		if b.First == 0 {
			a.last = b.Records[0].Time
		}
		a.clock.tick(b)
		b.before, a.last = a.last, b.Records[len(b.Records)-1].Time
	}
	a.mu.Lock()
	a.reading = false
	a.change()
	if err != nil {
		a.err = err
		return
	}
	b.decoded, b.applying = false, len(a.workers)
	a.queued++
	a.mu.Unlock()
	w.decode(b)
	a.mu.Lock()
	b.decoded = true
	a.change()
}

// stop ends the analysis when a callback has failed.
func (a *analysis) stop(err error) {
	if err != nil && a.callback == nil {
		a.callback = err
		a.cancel(err)
	}
}

// apply follows the packets of a batch that belong to the worker's shards. The
// error is that of a callback.
func (a *analysis) apply(w *worker, b *batch) error {
	w.follow(b, &a.shards)
	if w.dns {
		a.dns.apply(b)
	}
	for _, k := range w.shards {
		if err := a.shards[k].failed; err != nil {
			return err
		}
	}
	return nil
}

// handBack calls back for what has left the tables, batch by batch in order,
// and makes room for the next ones. One worker at a time does.
func (a *analysis) handBack() {
	if a.handing {
		return
	}
	a.handing = true
	for a.free < a.queued {
		b := &a.ring[a.free%uint64(len(a.ring))]
		if b.applying > 0 {
			break
		}
		a.mu.Unlock()
		err := a.callLetGo(b)
		a.mu.Lock()
		a.stop(err)
		a.free++
		a.change()
	}
	a.handing = false
}

// callLetGo hands out the connections that have left the table with a batch.
// Which packet did it does not depend on the batches, and the order is by that.
func (a *analysis) callLetGo(b *batch) error {
	all := a.all[:0]
	for k := range b.letGo {
		all = append(all, b.letGo[k]...)
	}
	slices.SortFunc(all, func(x, y letGo) int {
		return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(x.out.conn.ID, y.out.conn.ID))
	})
	var err error
	for _, l := range all {
		if a.Conn != nil && a.callback == nil && err == nil {
			err = a.Conn(&l.out.conn)
		}
		fillers.Put(l.out)
	}
	a.all = all
	return err
}

// conclude hands out what is left, and sums up.
func (a *analysis) conclude() (*Summary, error) {
	s := &Summary{}
	s.Lookups, s.LookupsLost = a.dns.lookups, a.dns.lost
	for i := range a.workers {
		s.add(&a.workers[i].counts)
	}
	for i := range a.shards {
		k := &a.shards[i]
		s.ICMPStray += k.counts.ICMPStray
		s.LetGo += k.counts.LetGo
		s.LetGoUnfinished += k.counts.LetGoUnfinished
		s.Connections += k.counts.Connections + uint64(k.live)
	}
	err := a.err
	if err == io.EOF {
		err = nil
	}
	if a.callback != nil {
		return s, a.callback
	}
	var damage *pcapfile.DamageError
	if err != nil && !errors.As(err, &damage) {
		return s, err
	}
	return s, errors.Join(err, a.handOut())
}

// add sums the counts of a decoder.
func (c *Counts) add(d *Counts) {
	if d.Packets == 0 {
		return
	}
	if c.Packets == 0 {
		c.First, c.Last = d.First, d.Last
	}
	c.First, c.Last = min(c.First, d.First), max(c.Last, d.Last)
	c.Packets += d.Packets
	c.Bytes += d.Bytes
	c.TCP += d.TCP
	c.ICMP += d.ICMP
	c.DNS += d.DNS
	c.NotTCP += d.NotTCP
	c.Malformed += d.Malformed
	c.Fragments += d.Fragments
	c.Snapped += d.Snapped
	c.ICMPSnapped += d.ICMPSnapped
	c.CutData += d.CutData
	c.UnknownLink += d.UnknownLink
	c.Backwards += d.Backwards
}
