package tcpflow

import (
	"math/bits"

	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// find finds the newest connection of a packet's four-tuple and tells its
// sender; nil without one.
func (s *shard) find(b *batch, p *packet) (uint32, *conn, Side) {
	slots := s.index.slots
	mask := uint64(len(slots) - 1)
	for i := uint64(p.hash) & mask; ; i = (i + 1) & mask {
		slot := slots[i]
		if slot == 0 {
			return 0, nil, 0
		}
		if uint32(slot>>32) != p.hash {
			continue
		}
		id := uint32(slot)
		c := s.conns.at(id)
		from, ok := c.sender(p)
		if ok && (uint32(p.bits&bitV6)|c.v6 == 0 || s.sameAddrs(b, p, c, from)) {
			return id, c, from
		}
	}
}

// sender tells which side has sent a packet, if its addresses and ports are
// those of the connection.
func (c *conn) sender(p *packet) (from Side, ok bool) {
	// Which it is cannot be predicted: one branch for both.
	one := (p.src ^ c.client) | (p.dst ^ c.server) | (p.ports ^ c.ports)
	two := (p.src ^ c.server) | (p.dst ^ c.client) | (bits.RotateLeft32(p.ports, 16) ^ c.ports)
	if one != 0 {
		from = Server
	}
	return from, uint64(one)*uint64(two) == 0
}

// sameAddrs decides where hashes of IPv6 addresses agree.
func (s *shard) sameAddrs(b *batch, p *packet, c *conn, from Side) bool {
	if p.bits&bitV6 == 0 {
		return c.v6 == 0
	}
	if c.v6 == 0 {
		return false
	}
	have, got := s.addrs.at(c.v6), (*address)(b.Data[p.ip+8:])
	if from == Client {
		return *have == *got
	}
	return [16]byte(have[:16]) == [16]byte(got[16:]) && [16]byte(have[16:]) == [16]byte(got[:16])
}

// packet follows one TCP packet. What nearly all are, the next data or ACK of an
// established connection without trouble that is found in its first place, goes
// a short way. That does what any does. What must hold is gathered in odd, for
// one branch.
func (s *shard) packet(b *batch, p *packet) {
	slots := s.index.slots
	first := slots[uint64(p.hash)&uint64(len(slots)-1)]
	if uint32(first>>32) != p.hash || uint32(first) == 0 {
		s.search(b, p)
		return
	}
	c := s.conns.at(uint32(first))
	from, ok := c.sender(p)
	if !ok || uint32(p.bits&bitV6)|c.v6 != 0 && !s.sameAddrs(b, p, c, from) {
		s.search(b, p)
		return
	}
	const known, trouble = halfNext | halfACK, lastKeepAlive | lastProbe | inZero
	h, o := &c.half[from&1], &c.half[from&1^1]
	odd := uint32((p.flags^wire.ACK)&(wire.SYN|wire.FIN|wire.RST|wire.ACK)) | uint32(p.bits&^(bitV6|bitCut))
	odd |= (h.set & (known | trouble)) ^ known
	odd |= o.set&(trouble|halfFIN) | ^c.set&hasHandshake
	odd |= p.seq ^ h.next
	// What must not be less than another number.
	odd |= (uint32(p.ttl) - uint32(h.minTTL)) >> 31
	odd |= (uint32(h.maxTTL) - uint32(p.ttl)) >> 31
	odd |= (uint32(p.window)-1)>>31 | p.length>>31
	if odd != 0 || p.length|(p.ack^h.ack)|uint32(p.window^h.window) == 0 { // the latter is a duplicate
		s.any(b, p, uint32(first), c, from)
		return
	}
	if p.length > 0 && h.set&halfData == 0 {
		s.keepData(c, h, p)
	}
	// Whether it has data, and is an ACK of something new, nobody can predict:
	// there are no more branches.
	data, ack := nonzero(p.length), nonzero(p.ack^h.ack)
	tick := uint32(p.time >> tickBits)
	c.last = max(c.last, p.time)
	c.set |= uint32(p.bits&bitCut)*(isCut/bitCut) | uint32(from)*hasServerData&(data|nonzero(^c.set&hasSYN))
	h.packets++
	h.bytes += uint64(p.length)
	h.next += p.length
	h.lastData ^= (h.lastData ^ p.time) & int64(int32(data))
	h.nextAt ^= (h.nextAt ^ tick) & data
	h.dupRun &^= uint8(ack)
	h.ack, h.ackAt, h.window = p.ack, tick, p.window
}

// search follows a packet that does not belong to the connection in its first
// place.
func (s *shard) search(b *batch, p *packet) {
	id, c, from := s.find(b, p)
	s.any(b, p, id, c, from)
}

// any follows a packet of any kind; c is nil when there is no connection yet.
func (s *shard) any(b *batch, p *packet, id uint32, c *conn, from Side) {
	if c == nil || p.flags&wire.SYN != 0 && s.isNew(c, p, from) {
		id, c, from = s.create(b, p, id)
	}
	c.last = max(c.last, p.time)
	h, o := &c.half[from&1], &c.half[from&1^1]
	h.packets++
	h.bytes += uint64(p.length)
	if p.bits&(bitIn|bitOut|bitCut|bitFragment|bitTunnel) != 0 {
		s.marks(c, h, p)
	}
	if p.flags&wire.RST != 0 {
		s.reset(b, c, p, from)
	} else {
		switch {
		case h.minTTL == 0 && h.maxTTL == 0:
			h.minTTL, h.maxTTL, h.firstTTL = p.ttl, p.ttl, p.ttl
		case p.ttl < h.minTTL:
			h.minTTL = p.ttl
		case p.ttl > h.maxTTL:
			h.maxTTL = p.ttl
		}
		if p.flags&wire.SYN != 0 {
			s.syn(b, c, p, from)
		} else if p.flags&wire.ACK != 0 {
			s.acked(c, p, from)
		}
	}
	if p.length > 0 {
		h.lastData = p.time
		if h.set&halfData == 0 {
			s.keepData(c, h, p)
		}
	}
	if p.flags&wire.FIN != 0 && h.set&halfFIN == 0 {
		h.set |= halfFIN
		c.fin[from] = p.time
		if o.set&halfNext != 0 && p.flags&wire.ACK != 0 && int32(p.ack-o.next) > 0 {
			o.set |= halfMissed
		}
	}
	s.analyse(c, h, o, p)
	if c.set&isOver == 0 && (c.set&hasReset != 0 || h.set&o.set&halfFINAcked != 0) {
		c.set |= isOver
		s.over(c, p, id)
	}
}

// nonzero gives all ones, and 0 for 0.
func nonzero(n uint32) uint32 { return uint32(int32(n|-n) >> 31) }

// marks notes what is rare.
func (s *shard) marks(c *conn, h *half, p *packet) {
	if p.bits&bitCut != 0 {
		c.set |= isCut
	}
	if p.bits&bitFragment != 0 {
		c.set |= isFragmented
	}
	if p.bits&bitTunnel != 0 {
		c.set |= isTunnelled
	}
	if p.bits&bitIn != 0 {
		h.set |= halfIn
	}
	if p.bits&bitOut != 0 {
		h.set |= halfOut
	}
}

// isNew tells whether a SYN begins another connection on the same ports.
func (s *shard) isNew(c *conn, p *packet, from Side) bool {
	h := &c.half[from]
	if p.flags&wire.ACK != 0 {
		// The SYN-ACK of a connection whose SYN was not captured.
		return c.set&isOver != 0 && from == Server && p.seq != c.isn[Server]
	}
	switch {
	case h.set&halfSYN != 0:
		return p.seq != c.isn[from]
	case from == Server && c.set&(hasSYN|hasSYNACK|hasHandshake) == hasSYN && h.packets == 0:
		return false // a simultaneous open
	}
	return true
}

// create begins a connection. One with the same four-tuple, if there is any,
// will not be found any more.
func (s *shard) create(b *batch, p *packet, old uint32) (uint32, *conn, Side) {
	if s.live >= s.max {
		if s.makeRoom(b, b.First+uint64(p.number)) == old {
			old = 0
		}
	}
	id, c := s.conns.add(s.arena)
	s.conns.want(&s.lines)
	s.repeats.want(&s.lines)
	s.lines.fetch()
	s.live++
	if old != 0 {
		s.index.replace(p.hash, old, id)
	} else {
		s.index.insert(s.arena, p.hash, id)
	}
	c.number = b.First + uint64(p.number) + 1
	c.first, c.last = p.time, p.time
	c.wscale = [2]int8{-1, -1}
	from := Client
	switch {
	case p.flags&(wire.SYN|wire.ACK) == wire.SYN|wire.ACK:
		from = Server
	case p.flags&wire.SYN == 0 && p.ports>>16 < p.ports&0xffff:
		from = Server
	}
	c.client, c.server, c.ports = p.src, p.dst, p.ports
	if from == Server {
		c.client, c.server, c.ports = p.dst, p.src, p.ports<<16|p.ports>>16
	}
	if p.bits&bitV6 != 0 {
		var a *address
		c.set |= isV6
		c.v6, a = s.addrs.add(s.arena)
		*a = *(*address)(b.Data[p.ip+8:])
		if from == Server {
			copy(a[:16], b.Data[p.ip+24:p.ip+40])
			copy(a[16:], b.Data[p.ip+8:p.ip+24])
		}
	}
	if s.linger > 0 {
		s.look(&s.young, c, id, p.time, s.linger)
	}
	return id, c, from
}

// syn takes a SYN or SYN-ACK.
func (s *shard) syn(b *batch, c *conn, p *packet, from Side) {
	h := &c.half[from]
	answer := p.flags&wire.ACK != 0
	if h.set&halfSYN == 0 {
		h.set |= halfSYN
		c.isn[from] = p.seq
		s.options(b, c, p, from, true)
	} else {
		if p.seq != c.isn[from] {
			h.set |= halfISNChanged
		}
		s.options(b, c, p, from, false)
	}
	switch {
	case answer && from == Server:
		if c.synACKs == 0 {
			c.synACK = p.time
		} else if s.copied(c, p, c.synACK, true) {
			break
		} else if c.synACKs < MaxSYNs {
			s.repeat(c, p.time, true)
		}
		c.synACKs = more(c.synACKs)
		c.set |= hasSYNACK
	case from == Client && !answer:
		if c.syns > 0 && s.copied(c, p, c.first, false) {
			break
		}
		if c.syns > 0 && c.syns < MaxSYNs {
			s.repeat(c, p.time, false)
		}
		c.syns = more(c.syns)
		c.set |= hasSYN
	case !answer:
		c.set |= hasSimultaneous
	}
}

// copyTime is how soon after a SYN or SYN-ACK another one is the same packet,
// captured on another interface or twice: nobody sends it again as quickly.
const copyTime = 2e6

// copied tells a SYN or SYN-ACK that was there before, by the time of the last
// one that is noted.
func (s *shard) copied(c *conn, p *packet, last int64, answer bool) bool {
	for id := c.repeat; id != 0; {
		r := s.repeats.at(id)
		if r.answer == answer {
			last = r.time
			break
		}
		id = r.before
	}
	return p.time-last < copyTime
}

// acked notes the end of the handshake.
func (s *shard) acked(c *conn, p *packet, from Side) {
	if c.set&hasHandshake != 0 && c.set&hasServerData != 0 {
		return
	}
	if from == Client {
		// With the SYN-ACK in the capture the ACK must be for that.
		if c.set&hasHandshake == 0 && (c.set&hasSYNACK == 0 || int32(p.ack-c.isn[Server]) > 0) {
			c.set |= hasHandshake
			if c.set&hasSYNACK != 0 {
				c.acked = p.time
			}
		}
	} else if p.length > 0 || c.set&hasSYN == 0 {
		c.set |= hasServerData
	}
}

// more counts up to what a uint16 holds.
func more(n uint16) uint16 {
	if n == 0xffff {
		return n
	}
	return n + 1
}

// repeat notes another SYN or SYN-ACK.
func (s *shard) repeat(c *conn, at int64, answer bool) {
	id, p := s.repeats.add(s.arena)
	*p = repeat{at, c.repeat, answer}
	c.repeat = id
}

func (s *shard) event(c *conn, e event) {
	id, p := s.events.add(s.arena)
	*p = e
	p.before = c.event
	c.event = id
}

// reset takes a RST. How its number lies in the window is judged before it
// changes anything.
func (s *shard) reset(b *batch, c *conn, p *packet, from Side) {
	place := c.judge(p, from)
	if c.resets < MaxResets {
		s.event(c, event{
			time: p.time, kind: eventRST, side: from, flags: uint8(p.flags), ttl: p.ttl, ipid: b.ipid(p),
			seq: p.seq, ack: p.ack, window: p.window, place: place,
			bytes: c.half[0].bytes + c.half[1].bytes - uint64(p.length),
		})
	}
	c.resets = more(c.resets)
	if place != SeqOut {
		c.set |= hasReset
	}
}

// judge places the sequence number of a RST as its receiver would.
func (c *conn) judge(p *packet, from Side) SeqPlace {
	h, o := &c.half[from], &c.half[from^1]
	if h.set&halfNext == 0 && o.set&halfSYN != 0 && o.set&halfACK == 0 {
		// To a SYN, RFC 9293 section 3.10.7.3: what counts is the ACK.
		switch {
		case p.flags&wire.ACK == 0:
			return SeqUnknown
		case int32(p.ack-c.isn[from^1]) > 0 && int32(p.ack-o.next) <= 0:
			return SeqExact
		}
		return SeqOut
	}
	if h.set&halfNext != 0 && p.seq == h.next {
		return SeqExact
	}
	if o.set&halfACK == 0 {
		return SeqUnknown
	}
	window := uint32(o.window)
	if c.half[0].set&c.half[1].set&halfSYN != 0 {
		if c.wscale[0] >= 0 && c.wscale[1] >= 0 {
			window <<= min(c.wscale[from^1], 14)
		}
	} else if p.seq-o.ack > window {
		if p.seq-o.ack <= window<<14 {
			return SeqUnknown // the scale was not seen
		}
	}
	switch {
	case p.seq == o.ack:
		return SeqExact
	case p.seq-o.ack <= window:
		return SeqIn
	}
	return SeqOut
}
