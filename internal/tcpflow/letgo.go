package tcpflow

import (
	"cmp"
	"slices"
	"sync"
)

// letGo is a connection handed out before the end, and the number of the
// packet that pushed it out.
type letGo struct {
	at  uint64
	out *filler
}

// fillers are used again.
var fillers = sync.Pool{New: func() any { return new(filler) }}

// makeRoom hands a connection out and gives its number: the oldest finished
// one, or else the oldest of all.
func (s *shard) makeRoom(at uint64) uint32 {
	if len(s.victims) == 0 {
		s.choose()
	}
	id := s.victims[len(s.victims)-1]
	s.victims = s.victims[:len(s.victims)-1]
	s.counts.LetGo++
	if s.conns.at(id).set&isOver == 0 {
		s.counts.LetGoUnfinished++
	}
	s.handOut(id, at).LetGo = true
	return id
}

// choose lists what to let go: an eighth of the connections, for it looks at
// all of them. What finishes later waits for the next list.
func (s *shard) choose() {
	s.victims = s.ids(s.victims[:0])
	age := func(id uint32) (over int, last int64, number uint64) {
		c := s.conns.at(id)
		if c.set&isOver != 0 {
			return 0, c.last, c.number
		}
		return 1, c.first, c.number
	}
	slices.SortFunc(s.victims, func(x, y uint32) int {
		xo, xt, xn := age(x)
		yo, yt, yn := age(y)
		return cmp.Or(cmp.Compare(xo, yo), cmp.Compare(xt, yt), cmp.Compare(xn, yn))
	})
	s.victims = s.victims[:(len(s.victims)+7)/8]
	slices.Reverse(s.victims)
}

// ids appends the numbers of all connections that are held, in the order of
// their first packets.
func (s *shard) ids(to []uint32) []uint32 {
	for id := uint32(1); id <= s.conns.n; id++ {
		if s.conns.at(id).number != 0 {
			to = append(to, id)
		}
	}
	if s.reused {
		slices.SortFunc(to, func(x, y uint32) int { return cmp.Compare(s.conns.at(x).number, s.conns.at(y).number) })
	}
	return to
}

// handOut takes a connection out of the table.
func (s *shard) handOut(id uint32, at uint64) *Conn {
	c := s.conns.at(id)
	f := fillers.Get().(*filler)
	f.fill(s, c)
	s.letGo = append(s.letGo, letGo{at, f})
	s.counts.Connections++
	s.index.remove(s.hash(c.client, c.server, c.ports), id)
	for id := c.event; id != 0; {
		e := s.events.at(id)
		if e.kind == eventICMP {
			s.addrs.release(e.address)
		}
		s.events.release(id)
		id = e.before
	}
	for id := c.repeat; id != 0; {
		s.repeats.release(id)
		id = s.repeats.at(id).before
	}
	for _, d := range c.data {
		if d != 0 {
			s.data.release(d)
		}
	}
	if c.v6 != 0 {
		s.addrs.release(c.v6)
	}
	if c.extra != 0 {
		s.extras.release(c.extra)
	}
	c.number = 0
	s.reused = true
	s.conns.release(id)
	s.live--
	return &f.conn
}

// sweep hands out what has been silent for long enough when the capture's
// clock has come to now, with packet number at.
func (s *shard) sweep(linger, now int64, at uint64) {
	for id := uint32(1); id <= s.conns.n; id++ {
		c := s.conns.at(id)
		silent := now - c.last
		if c.number == 0 || silent < linger {
			continue
		}
		if c.set&isOver != 0 || !c.established() && silent >= 2*(c.last-c.first) {
			s.handOut(id, at)
		}
	}
	s.victims = s.victims[:0] // some may be gone
}

// sweep is a moment to look at what has been silent, before the packet of the
// given place in its batch.
type sweep struct {
	number uint32
	now    int64
}

// clock finds those moments. They are moments of the capture's clock, so that
// the batches do not matter.
type clock struct {
	linger, now int64
}

// sweepsPerLinger is how often connections are looked at while they linger.
const sweepsPerLinger = 4

func (c *clock) tick(b *batch) {
	if c.linger <= 0 {
		return
	}
	every := max(c.linger/sweepsPerLinger, 1)
	b.sweeps = b.sweeps[:0]
	if b.First == 0 {
		c.now = b.Records[0].Time
	}
	for i := range b.Records {
		t := b.Records[i].Time
		if t <= c.now {
			continue
		}
		if t-c.now >= every || t%every < c.now%every {
			b.sweeps = append(b.sweeps, sweep{uint32(i), t})
		}
		c.now = t
	}
}
