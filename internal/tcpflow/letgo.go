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
func (s *shard) makeRoom(b *batch, at uint64) uint32 {
	s.copyData(b)
	if len(s.victims) == 0 {
		s.choose()
	}
	id := s.victims[len(s.victims)-1]
	s.victims = s.victims[:len(s.victims)-1]
	s.counts.LetGo++
	if s.conns.at(id).set&isOver == 0 {
		s.counts.LetGoUnfinished++
	}
	s.handOut(id, at, true)
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

// handOut takes a connection out of the table, for want of room or as it is
// over.
func (s *shard) handOut(id uint32, at uint64, noRoom bool) {
	c := s.conns.at(id)
	if s.part != nil {
		s.call(c, noRoom)
	} else {
		f := fillers.Get().(*filler)
		f.fill(s, c).LetGo = noRoom
		s.letGo = append(s.letGo, letGo{at, f})
	}
	s.counts.Connections++
	s.index.remove(hash(s.seed, c.client, c.server, c.ports), id)
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
}

// call hands a connection to the function for parts, if that has not failed.
func (s *shard) call(c *conn, noRoom bool) {
	if s.failed == nil {
		s.filler.fill(s, c).LetGo = noRoom
		s.failed = s.part(&s.filler.conn)
	}
}
