package tcpflow

import (
	"cmp"
	"sync"
	"unsafe"
)

// placed is where a connection is.
type placed struct {
	shard uint8
	id    uint32
}

// perBlock is how many connections are filled at a time.
const perBlock = 64

// block is a run of connections on their way to the callback.
type block struct {
	conns  [perBlock]placed
	n      int
	out    [perBlock]filler
	filled sync.WaitGroup
	lines  lines
}

// fill makes what is handed out. What it reads is asked for before, as in
// worker.follow.
func (b *block) fill(all *[shards]shard) {
	for _, p := range b.conns[:b.n] {
		at := uintptr(unsafe.Pointer(all[p.shard].conns.at(p.id)))
		for i := range unsafe.Sizeof(conn{}) / cacheLine {
			b.lines.want(at + i*cacheLine)
		}
	}
	b.lines.fetch()
	for _, p := range b.conns[:b.n] {
		s := &all[p.shard]
		c := s.conns.at(p.id)
		s.wantRest(c, &b.lines)
	}
	b.lines.fetch()
	for i, p := range b.conns[:b.n] {
		s := &all[p.shard]
		b.out[i].fill(s, s.conns.at(p.id))
	}
}

// handOut calls back for the connections that are left, in the order of their
// first packets. Several goroutines prepare them.
func (a *analysis) handOut() error {
	switch {
	case a.Part != nil:
		return a.handOutParts()
	case a.Conn == nil:
		return nil
	}
	n := len(a.workers)
	free := make(chan *block, n+2)
	for range cap(free) {
		free <- new(block)
	}
	work, done := make(chan *block, cap(free)), make(chan *block, cap(free))
	var fillers sync.WaitGroup
	for range n {
		fillers.Go(func() {
			for b := range work {
				b.fill(&a.shards)
				b.filled.Done()
			}
		})
	}
	stop := make(chan struct{})
	go func() {
		defer close(work)
		defer close(done)
		a.merge(free, func(b *block) {
			b.filled.Add(1)
			work <- b
			done <- b
		}, stop)
	}()
	var err error
	for b := range done {
		b.filled.Wait()
		for i := range b.out[:b.n] {
			if err == nil {
				if err = a.Conn(&b.out[i].conn); err != nil {
					close(stop)
				}
			}
		}
		free <- b
	}
	fillers.Wait()
	return err
}

// handOutParts calls back for the connections that are left in each part.
func (a *analysis) handOutParts() error {
	errs := make([]error, len(a.workers))
	var wg sync.WaitGroup
	for i := range a.workers {
		wg.Go(func() {
			for _, k := range a.workers[i].shards {
				s := &a.shards[k]
				for q := s.queue(); q.pop() != none; {
					s.call(s.conns.at(q.id), false)
				}
				errs[i] = cmp.Or(errs[i], s.failed)
			}
		})
	}
	wg.Wait()
	return cmp.Or(errs...)
}

// merge walks through the connections of all shards by their first packets.
func (a *analysis) merge(free <-chan *block, send func(*block), stop <-chan struct{}) {
	var queues [shards]queue
	var heads [shards]uint64 // number of the next connection
	for k := range queues {
		queues[k] = a.shards[k].queue()
		heads[k] = queues[k].pop()
	}
	for {
		var b *block
		select {
		case b = <-free:
		case <-stop:
			return
		}
		for b.n = 0; b.n < perBlock; b.n++ {
			best := 0
			for k, n := range heads {
				if n < heads[best] {
					best = k
				}
			}
			if heads[best] == none {
				break
			}
			b.conns[b.n] = placed{uint8(best), queues[best].id}
			heads[best] = queues[best].pop()
		}
		if b.n == 0 {
			return
		}
		send(b)
	}
}

// queue lists the connections of a shard in the order of their first packets.
type queue struct {
	shard *shard
	id    uint32
	ids   []uint32 // if it is another order than that of the numbers
	lines [1]uintptr
}

// queue lists what is left in a shard.
func (s *shard) queue() queue {
	q := queue{shard: s}
	if s.reused {
		q.ids = s.ids(nil)
	}
	return q
}

// none is the number of no packet.
const none = ^uint64(0)

// soon is how many connections later one is wanted.
const soon = 8

// pop goes on to the next and tells the number of its first packet, or none.
func (q *queue) pop() uint64 {
	s := q.shard
	switch {
	case s.reused && len(q.ids) == 0, !s.reused && q.id >= s.conns.n:
		return none
	case s.reused:
		q.id, q.ids = q.ids[0], q.ids[1:]
	default:
		q.id++
		if q.id+soon <= s.conns.n {
			q.lines[0] = uintptr(unsafe.Pointer(&s.conns.at(q.id + soon).number))
			prefetch(q.lines[:])
		}
	}
	return s.conns.at(q.id).number
}
