package capdiff

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// Fate is what became of a packet.
type Fate uint8

// The fates.
const (
	// Arrived: both sides have it.
	Arrived Fate = iota
	// Lost: it was sent and is not in the capture at the other side, which ran
	// then.
	Lost
	// PartlyLost: some of its bytes are not there.
	PartlyLost
	// MadeUp: it arrived, and the side whose address it bears never sent it.
	MadeUp
	// Again: another copy of one that arrived.
	Again
	// Unwatched: the capture at the other side did not run then, as far as the
	// clocks tell.
	Unwatched
	// Between: an ICMP error made by somebody on the way.
	Between
)

// String gives the word in the JSON output.
func (f Fate) String() string {
	return [...]string{"arrived", "lost", "partly-lost", "made-up", "again", "unwatched", "between"}[f%7]
}

// Packet is a packet of a connection and what became of it.
type Packet struct {
	// At is the time at which it was sent, or got where that was not seen, since
	// the first packet of the connection; by the clock of the first file.
	At   time.Duration
	From tcpflow.Side
	Fate Fate
	// Number is that in the file of each side, from 1; 0 for none.
	Number [2]uint64
	Flags  wire.Flags
	// Seq and Ack count from the initial sequence numbers, where those are known.
	Seq, Ack uint32
	Length   uint32
	// TTL is what each side saw; 0 for none.
	TTL [2]uint8
	// Delay is the time on the way; it means something if the clock is known.
	Delay time.Duration
	// ICMP is set for an error about a packet of the other side.
	ICMP *ICMP
}

// ICMP is an ICMP error.
type ICMP struct {
	Sender     netip.Addr
	Type, Code uint8
}

// Direction is what became of the packets that one side sent.
type Direction struct {
	Sent, Arrived, Lost int
	// LostBytes is payload of lost segments and of parts of segments.
	LostBytes                uint64
	MadeUp, Again, Unwatched int
	// Hops is by how much the TTL sank on the way, at least and at most, if
	// HopsKnown.
	Hops      [2]int
	HopsKnown bool
	// Delay is the least, the median and the greatest time on the way, if
	// Timed.
	Delay [3]time.Duration
	Timed bool
	// Changes are what was changed on the way, each once.
	Changes []Change
}

// compare says what became of each packet, and whether both captures saw the
// whole of the connection.
func (c *comparison) compare(p *Pair) {
	alone := p.Flow[0] == nil || p.Flow[1] == nil
	if alone {
		p.Why = c.why(p)
	}
	switch {
	case !p.Compared:
	case alone:
		c.alone(p)
	default:
		var m [2]*matching
		for s := range m {
			m[s] = newMatching(p, tcpflow.Side(s), &c.clock)
			m[s].all()
		}
		p.shared = newShared(m)
		for s := range m {
			c.direction(p, m[s], tcpflow.Side(s))
			c.errors(p, tcpflow.Side(s))
		}
	}
	c.finish(p)
	if !alone {
		p.Why = c.why(p)
	}
	p.Whole = p.Why == ""
}

// alone is for a connection that one file has.
func (c *comparison) alone(p *Pair) {
	for s, f := range p.Flow {
		if f == nil {
			continue
		}
		for i := range p.packets[s] {
			x := &p.packets[s][i]
			out := c.packet(p, x, x.from, s)
			mine := int(x.from) == s
			switch {
			case x.bits&isICMP != 0:
				out.Fate = Between
			case p.Why != "":
				out.Fate = Unwatched
			case mine:
				out.Fate = Lost
			default:
				out.Fate = MadeUp
			}
			p.Dir[x.from].count(&out)
			p.Packets = append(p.Packets, out)
		}
	}
	c.finish(p)
}

// finish puts the packets in their order, and their times from the first.
func (c *comparison) finish(p *Pair) {
	slices.SortStableFunc(p.Packets, func(x, y Packet) int { return cmp.Compare(x.At, y.At) })
	if len(p.Packets) == 0 {
		return
	}
	for i, first := 0, p.Packets[0].At; i < len(p.Packets); i++ {
		p.Packets[i].At -= first
	}
}

// packet begins the result for one that a side's file holds.
func (c *comparison) packet(p *Pair, x *packet, from tcpflow.Side, side int) Packet {
	out := Packet{At: time.Duration(c.clock.toFirst(p.File[side], x.time)), From: from, Flags: x.flags, Length: x.length}
	out.Number[side], out.TTL[side] = x.number, x.ttl
	f := p.Flow[side]
	if x.flags&wire.RST == 0 || x.seq != 0 {
		out.Seq = x.seq - known(f, p.Flow[1-side], from)
	}
	if x.flags&wire.ACK != 0 {
		out.Ack = x.ack - known(f, p.Flow[1-side], from.Other())
	}
	if h := x.header; x.bits&isICMP != 0 {
		out.ICMP = &ICMP{h.sender, h.typ, h.code}
		out.From, out.Seq, out.Ack = from.Other(), x.seq-known(f, p.Flow[1-side], from), 0
	}
	return out
}

// known is what a side's numbers count from in the file of f.
func known(f, other *Flow, s tcpflow.Side) uint32 {
	if f.SeenSYN[s] || other == nil {
		return f.ISN[s]
	}
	return other.ISN[s]
}

// direction says what became of what a side sent.
func (c *comparison) direction(p *Pair, m *matching, from tcpflow.Side) {
	d := &p.Dir[from]
	sentSide, gotSide := int(from), int(from.Other())
	var delays []time.Duration
	ttls := make(map[uint8]bool) // of what arrived
	for i, s := range m.sent {
		out := c.packet(p, s, from, sentSide)
		switch j := m.partner[i]; {
		case j >= 0:
			g := m.got[j]
			out.Number[gotSide], out.TTL[gotSide] = g.number, g.ttl
			out.Delay = time.Duration(c.clock.toFirst(p.File[gotSide], g.time) - c.clock.toFirst(p.File[sentSide], s.time))
			delays = append(delays, out.Delay)
			ttls[g.ttl] = true
			d.changes(p, from, s, g)
		case m.covered[i] > 0 && m.covered[i] >= s.length:
			out.Number[gotSide] = m.first(i)
		case !c.watched(p, &p.shared, from, s.time):
			out.Fate = Unwatched
		case m.covered[i] > 0:
			out.Fate = PartlyLost
			d.LostBytes += uint64(s.length - m.covered[i])
		default:
			out.Fate = Lost
			d.LostBytes += uint64(s.length)
		}
		d.count(&out)
		p.Packets = append(p.Packets, out)
	}
	c.extra(p, m, from, ttls)
	if c.clock.Known && !c.clock.Stepped && len(delays) > 0 {
		slices.Sort(delays)
		d.Delay, d.Timed = [3]time.Duration{delays[0], delays[len(delays)/2], delays[len(delays)-1]}, true
	}
}

// first is the packet in the other file that holds the beginning of one sent.
func (m *matching) first(i int) uint64 {
	for j, o := range m.origin {
		if o == i {
			return m.got[j].number
		}
	}
	return 0
}

// extra says what those packets are that arrived and were not matched: copies,
// or made up by somebody in between.
func (c *comparison) extra(p *Pair, m *matching, from tcpflow.Side, ttls map[uint8]bool) {
	copies := make(map[key]*packet)
	for _, s := range m.sent {
		copies[m.key(0, s, loose)] = s
	}
	gotSide := int(from.Other())
	for j, g := range m.got {
		if m.origin[j] >= 0 && m.made[j] == 0 {
			continue
		}
		out := c.packet(p, g, from, gotSide)
		s := copies[m.key(1, g, loose)]
		switch {
		case s != nil && (s.sum == g.sum || s.sum == 0 || g.sum == 0) && (len(ttls) == 0 || ttls[g.ttl]):
			out.Fate = Again
		case !c.watched(p, &p.shared, from.Other(), g.time):
			out.Fate = Unwatched
		case m.origin[j] >= 0 && m.made[j] > 0 && ttls[g.ttl]:
			out.Fate = Again
		default:
			out.Fate = MadeUp
		}
		p.Dir[from].count(&out)
		p.Packets = append(p.Packets, out)
	}
}

func (d *Direction) count(x *Packet) {
	if x.ICMP != nil {
		return
	}
	switch x.Fate {
	case MadeUp:
		d.MadeUp++
		return
	case Again:
		d.Again++
		return
	}
	d.Sent++
	switch x.Fate {
	case Arrived:
		d.Arrived++
	case Unwatched:
		d.Unwatched++
	default:
		d.Lost++
	}
}

// errors matches ICMP errors about what a side sent: those in both files were
// made at or behind the other side, those that only the receiver has on the way.
func (c *comparison) errors(p *Pair, about tcpflow.Side) {
	type id struct {
		sender    netip.Addr
		typ, code uint8
		seq       uint32
	}
	made := make(map[id][]*packet)
	far := about.Other()
	name := func(side tcpflow.Side, x *packet) id {
		return id{x.header.sender, x.header.typ, x.header.code, x.seq - known(p.Flow[side], p.Flow[side.Other()], about)}
	}
	for i := range p.packets[far] {
		if x := &p.packets[far][i]; x.bits&isICMP != 0 && x.from == about {
			made[name(far, x)] = append(made[name(far, x)], x)
		}
	}
	for i := range p.packets[about] {
		x := &p.packets[about][i]
		if x.bits&isICMP == 0 || x.from != about {
			continue
		}
		out := c.packet(p, x, about, int(about))
		out.Fate = Between
		if l := made[name(about, x)]; len(l) > 0 {
			y := l[0]
			made[name(about, x)] = l[1:]
			out.Fate, out.Number[far], out.TTL[far] = Arrived, y.number, y.ttl
		}
		p.Packets = append(p.Packets, out)
	}
	for _, l := range made {
		for _, x := range l {
			out := c.packet(p, x, about, int(far))
			out.Fate = Unwatched
			if c.watched(p, &p.shared, far, x.time) {
				out.Fate = Lost
			}
			p.Packets = append(p.Packets, out)
		}
	}
}
