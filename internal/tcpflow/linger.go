package tcpflow

import (
	"math"
	"slices"
	"unsafe"
)

// lingering is a connection to be looked at when the capture's clock comes to
// due: it may have been silent for long enough.
type lingering struct {
	due    int64
	number uint64 // of its first packet: the place may be another's by then
	id     uint32
}

// lingerQueue holds them in the order in which they came, which is about that in
// which they are due. What is due behind one that is not waits for it.
type lingerQueue struct {
	all  []lingering
	next int
}

// due takes the next ones that are due, at most so many.
func (q *lingerQueue) due(now int64, most int) []lingering {
	from := q.next
	for q.next < len(q.all) && q.next-from < most && q.all[q.next].due <= now {
		q.next++
	}
	return q.all[from:q.next]
}

// look puts a connection into a queue, delay after now. A connection is in one
// queue once at most, so that with those that have gone left out a queue is no
// longer than the table. They are all over the memory, and looked for only when
// a queue is longer than that.
func (s *shard) look(q *lingerQueue, c *conn, id uint32, now, delay int64) {
	if len(q.all) == cap(q.all) {
		q.all = append(q.all[:0], q.all[q.next:]...)
		if len(q.all) > s.live {
			q.all = slices.DeleteFunc(q.all, func(l lingering) bool { return s.conns.at(l.id).number != l.number })
		}
		q.next = 0
	}
	c.set |= isQueued
	q.all = append(q.all, lingering{after(now, delay), c.number, id})
}

// after adds without overflow: times are what a file says.
func after(t, d int64) int64 {
	if t > math.MaxInt64-d {
		return math.MaxInt64
	}
	return t + d
}

// over has a connection looked at that has ended with a packet.
func (s *shard) over(c *conn, p *packet, id uint32) {
	if s.linger > 0 && c.set&isQueued == 0 {
		s.look(&s.later, c, id, p.time, s.linger/sweepsPerLinger)
	}
}

// sweep hands out what has been silent for long enough when the capture's
// clock has come to now, with packet number at.
func (s *shard) sweep(b *batch, now int64, at uint64) {
	s.copyData(b)
	var some [ahead]lingering
	for _, q := range []*lingerQueue{&s.young, &s.later} {
		// What is to be looked at again goes into the queue meanwhile.
		for left := len(q.all) - q.next; left > 0; {
			n := copy(some[:], q.due(now, min(left, ahead)))
			if n == 0 {
				break
			}
			left -= n
			s.near(some[:n])
			for _, l := range some[:n] {
				s.settle(l, now, at)
			}
		}
	}
	s.victims = s.victims[:0] // some may be gone
}

// patience is how many times Options.Linger an attempt may last, to be looked at
// again and again. Who goes on for longer, if it is no file made for that, is
// held to the end.
const patience = 64

// settle hands a connection out, or has it looked at again if that may be
// sooner or later. One that lives is not: when it is over it comes back.
func (s *shard) settle(l lingering, now int64, at uint64) {
	c := s.conns.at(l.id)
	if c.number != l.number {
		return
	}
	silent := now - c.last
	over := c.set&isOver != 0
	switch {
	case !over && (c.established() || (c.last-c.first)/patience > s.linger):
		c.set &^= isQueued
	case silent >= s.linger && (over || silent >= 2*(c.last-c.first)):
		s.handOut(l.id, at, false)
	default:
		s.look(&s.later, c, l.id, now, s.linger/sweepsPerLinger)
	}
}

// near asks for the connections, and then for what is kept of them elsewhere.
func (s *shard) near(some []lingering) {
	l := &s.lines
	for _, x := range some {
		at := uintptr(unsafe.Pointer(s.conns.at(x.id)))
		for i := range unsafe.Sizeof(conn{}) / cacheLine {
			l.want(at + i*cacheLine)
		}
	}
	l.fetch()
	slots := uintptr(unsafe.Pointer(unsafe.SliceData(s.index.slots)))
	for _, x := range some {
		c := s.conns.at(x.id)
		l.want(slots + uintptr(hash(s.seed, c.client, c.server, c.ports))&uintptr(len(s.index.slots)-1)*wordBytes)
		s.wantRest(c, l)
	}
	l.fetch()
}

// wantRest notes what is kept of a connection elsewhere.
func (s *shard) wantRest(c *conn, l *lines) {
	for _, d := range c.data {
		if d != 0 {
			l.want(uintptr(unsafe.Pointer(s.data.at(d))))
		}
	}
	if c.event != 0 {
		l.want(uintptr(unsafe.Pointer(s.events.at(c.event))))
	}
	if c.repeat != 0 {
		l.want(uintptr(unsafe.Pointer(s.repeats.at(c.repeat))))
	}
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
	linger, next int64
}

// sweepsPerLinger is how often connections are looked at while they linger.
const sweepsPerLinger = 4

func (c *clock) tick(b *batch) {
	if c.linger <= 0 {
		return
	}
	b.sweeps = b.sweeps[:0]
	for i := range b.Records {
		t := b.Records[i].Time
		first := b.First == 0 && i == 0
		if t < c.next && !first {
			continue
		}
		if !first {
			b.sweeps = append(b.sweeps, sweep{uint32(i), t})
		}
		every := max(c.linger/sweepsPerLinger, 1)
		c.next = after(t-t%every, every)
	}
}
