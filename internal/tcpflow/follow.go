package tcpflow

import (
	"math/bits"

	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// hash is the same for both directions, and has a secret so that nobody can
// fill one place of the index.
func (s *shard) hash(src, dst, ports uint32) uint64 {
	a := mix(uint64(src)<<16|uint64(ports>>16)^s.seed, 0x9e3779b97f4a7c15)
	b := mix(uint64(dst)<<16|uint64(ports&0xffff)^s.seed, 0x9e3779b97f4a7c15)
	return mix(a+b, s.seed|1)
}

// lookup finds the newest connection of a packet's four-tuple and tells its
// sender; 0 without one.
func (s *shard) lookup(b *batch, p *packet, hash uint64) (uint32, *conn, Side) {
	slots := s.index.slots
	mask := uint64(len(slots) - 1)
	for i := hash >> 32 & mask; ; i = (i + 1) & mask {
		slot := slots[i]
		if slot == 0 {
			return 0, nil, 0
		}
		if slot>>32 != hash>>32 {
			continue
		}
		id := uint32(slot)
		c := s.conns.at(id)
		// Who the sender is cannot be predicted: one branch for both.
		one := (p.src ^ c.client) | (p.dst ^ c.server) | (p.ports ^ c.ports)
		two := (p.src ^ c.server) | (p.dst ^ c.client) | (bits.RotateLeft32(p.ports, 16) ^ c.ports)
		if uint64(one)*uint64(two) != 0 {
			continue
		}
		from := Client
		if one != 0 {
			from = Server
		}
		if uint32(p.bits&bitV6)|c.v6 == 0 || s.sameAddrs(b, p, c, from) {
			return id, c, from
		}
	}
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

// packet follows one TCP packet.
func (s *shard) packet(b *batch, p *packet, hash uint64) {
	old, c, from := s.lookup(b, p, hash)
	if c == nil || p.flags&wire.SYN != 0 && s.isNew(c, p, from) {
		c, from = s.create(b, p, hash, old)
	}
	if p.time > c.last {
		c.last = p.time
	}
	h, o := &c.half[from&1], &c.half[from&1^1]
	h.packets++
	h.bytes += uint64(p.length)
	if c.set&(hasHandshake|hasServerData) == hasHandshake|hasServerData && s.inOrder(c, h, o, p) {
		return
	}
	if p.bits&(bitIn|bitOut|bitCut|bitFragment|bitTunnel) != 0 {
		s.marks(c, h, p)
	}
	if p.flags&wire.RST != 0 {
		s.reset(c, p, from)
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
			h.set |= halfData
			s.keepData(b, c, p, from)
		}
	}
	if p.flags&wire.FIN != 0 && h.set&halfFIN == 0 {
		h.set |= halfFIN
		c.fin[from] = p.time
	}
	s.analyse(c, h, o, p)
	if c.set&isOver == 0 && (c.set&hasReset != 0 || h.set&o.set&halfFINAcked != 0) {
		c.set |= isOver
	}
}

// inOrder takes the packet that nearly all are: the next data or ACK of an
// established connection without trouble. It does what the long way does, and
// tells whether it did.
func (s *shard) inOrder(c *conn, h, o *half, p *packet) bool {
	const known, odd = halfNext | halfACK, lastKeepAlive | lastProbe | inZero
	if p.flags&(wire.SYN|wire.FIN|wire.RST|wire.ACK) != wire.ACK || p.bits&^(bitV6|bitCut) != 0 ||
		h.set&(known|odd) != known || o.set&(odd|halfFIN) != 0 ||
		p.seq != h.next || p.window == 0 || p.ttl < h.minTTL || p.ttl > h.maxTTL || int32(p.length) < 0 {
		return false
	}
	if p.length > 0 {
		if h.set&halfData == 0 {
			return false
		}
		h.lastData = p.time
		h.next += p.length
		h.nextAt = uint32(p.time >> tickBits)
	} else if p.ack == h.ack && p.window == h.window {
		return false // a duplicate
	}
	if p.ack != h.ack {
		h.dupRun = 0
	}
	h.ack, h.ackAt, h.window = p.ack, uint32(p.time>>tickBits), p.window
	if p.bits&bitCut != 0 {
		c.set |= isCut
	}
	return true
}

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
func (s *shard) create(b *batch, p *packet, hash uint64, old uint32) (*conn, Side) {
	if s.live >= s.max {
		if s.makeRoom(b.First+uint64(p.number)) == old {
			old = 0
		}
	}
	id, c := s.conns.add(s.arena)
	s.live++
	if old != 0 {
		s.index.replace(hash, old, id)
	} else {
		s.index.insert(s.arena, hash, id)
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
	return c, from
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
		} else if c.synACKs < MaxSYNs {
			s.repeat(c, p.time, true)
		}
		c.synACKs = more(c.synACKs)
		c.set |= hasSYNACK
	case from == Client && !answer:
		if c.syns > 0 && c.syns < MaxSYNs {
			s.repeat(c, p.time, false)
		}
		c.syns = more(c.syns)
		c.set |= hasSYN
	case !answer:
		c.set |= hasSimultaneous
	}
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
func (s *shard) reset(c *conn, p *packet, from Side) {
	if c.resets < MaxResets {
		s.event(c, event{
			time: p.time, kind: eventRST, side: from, flags: uint8(p.flags), ttl: p.ttl, ipid: p.ipid,
			seq: p.seq, ack: p.ack, window: p.window, place: c.judge(p, from),
			bytes: c.half[0].bytes + c.half[1].bytes - uint64(p.length),
		})
	}
	c.resets = more(c.resets)
	c.set |= hasReset
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
