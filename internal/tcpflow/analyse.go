package tcpflow

import "github.com/tcpwhy/tcpwhy/internal/wire"

// The thresholds of Wireshark, for packets that came in another order.
const (
	// fastTicks is how long after a duplicate ACK a segment counts as its fast
	// retransmission, disorderTicks how late it may be where the round trip is
	// not known.
	fastTicks     = 20_000_000 >> tickBits
	disorderTicks = 3_000_000 >> tickBits
)

// tickBits makes ticks of 1.024 microseconds, which fit 32 bits for an hour.
const tickBits = 10

// analyse judges a packet's numbers by those before it. The definitions are
// Wireshark's (its manual, section 7.5, "TCP Analysis").
func (s *shard) analyse(c *conn, h, o *half, p *packet) {
	control := p.flags & (wire.SYN | wire.FIN | wire.RST)
	known := h.set&halfNext != 0
	var last uint32
	if o.set&lastKeepAlive != 0 && c.extra != 0 {
		s.extras.at(c.extra).half[c.side(o)].unanswered = 0
	}
	switch {
	case p.length == 1 && known && p.seq == h.next && o.set&inZero != 0:
		last = lastProbe
		s.more(c, h).probes++
	case control == 0:
		last = s.plain(c, h, o, p, known)
	case known && int32(p.seq-h.next) > 0 && control&wire.RST == 0:
		c.trouble[c.side(h)].lost++
		s.gap(c, h, p.seq)
	}
	if p.ack != h.ack {
		h.dupRun = 0
	}
	if known && last&(lastKeepAlive|lastProbe) == 0 && int32(p.seq-h.next) < 0 && (p.length > 0 || control&(wire.SYN|wire.FIN) != 0) {
		s.again(c, h, o, p)
	}
	h.set = h.set&^(lastKeepAlive|lastProbe) | last
	if control&wire.RST != 0 {
		return // perhaps forged
	}
	next := p.seq + p.length
	if control != 0 {
		next++
	}
	if (!known || int32(next-h.next) > 0) && last != lastProbe {
		h.next, h.nextAt = next, uint32(p.time>>tickBits)
		h.set |= halfNext
	}
	if p.flags&wire.ACK != 0 {
		h.ack, h.ackAt = p.ack, uint32(p.time>>tickBits)
		h.set |= halfACK
		if o.set&halfFIN != 0 && p.ack == o.next {
			o.set |= halfFINAcked
		}
	}
	h.window = p.window
	if h.set&inZero != 0 && p.window != 0 || h.set&inZero == 0 && p.window == 0 && control == 0 {
		s.zeroWindow(c, h, p)
	}
}

// plain judges a packet without SYN, FIN and RST.
func (s *shard) plain(c *conn, h, o *half, p *packet, known bool) (last uint32) {
	if p.window == 0 {
		s.more(c, h).zeros++
	}
	if !known {
		return 0
	}
	switch d := int32(p.seq - h.next); {
	case d > 0:
		c.trouble[c.side(h)].lost++
		s.gap(c, h, p.seq)
	case d == -1 && p.length <= 1:
		x := s.more(c, h)
		x.keepAlives++
		x.unanswered++
		return lastKeepAlive
	case d != 0 || p.length > 0 || h.set&halfACK == 0 || p.ack != h.ack || p.window != h.window:
	case o.set&(lastKeepAlive|lastProbe) != 0: // the answer to it
	case p.window != 0:
		c.trouble[c.side(h)].dupACKs++
		if h.dupRun < 0xff {
			h.dupRun++
		}
	}
	return 0
}

// again judges a segment that does not advance the sequence number: sent
// again, or overtaken.
func (s *shard) again(c *conn, h, o *half, p *packet) {
	if p.length > 1 && p.seq == h.next-1 {
		return // behind a keepalive or probe whose byte it repeats
	}
	t := &c.trouble[c.side(h)]
	end := p.seq + p.length
	now := uint32(p.time >> tickBits)
	switch {
	case p.length > 0 && o.set&halfACK != 0 && int32(end-o.ack) <= 0: // spurious
		t.retrans++
	case o.set&halfACK != 0 && o.dupRun >= 2 && o.ack == p.seq && now-o.ackAt < fastTicks:
		t.retrans++
	case now-h.nextAt < c.disorder() && s.missing(c, h, p.seq, end):
		t.disorder++
		return
	default:
		t.retrans++
	}
	s.missing(c, h, p.seq, end)
}

// disorder is how late, in ticks, a segment may be that was overtaken.
func (c *conn) disorder() uint32 {
	if c.acked == 0 || c.syns != 1 {
		return disorderTicks
	}
	return uint32((c.acked - c.first) >> tickBits)
}

func (c *conn) side(h *half) Side {
	if h == &c.half[Client] {
		return Client
	}
	return Server
}

// more gives what few connections need.
func (s *shard) more(c *conn, h *half) *extraHalf {
	if c.extra == 0 {
		c.extra, _ = s.extras.add(s.arena)
	}
	return &s.extras.at(c.extra).half[c.side(h)]
}

// gap notes that what lies between the next number and seq was not seen. When
// there are too many gaps the oldest is forgotten.
func (s *shard) gap(c *conn, h *half, seq uint32) {
	x := s.more(c, h)
	copy(x.gaps[1:], x.gaps[:])
	x.gaps[0] = gap{h.next, seq}
}

// missing tells whether any of a range has not been seen before, and notes it
// as seen.
func (s *shard) missing(c *conn, h *half, from, to uint32) (yes bool) {
	if c.extra == 0 {
		return false
	}
	gaps := &s.more(c, h).gaps
	for i := range gaps {
		g := &gaps[i]
		if g.from == g.to || int32(from-g.to) >= 0 || int32(to-g.from) <= 0 {
			continue
		}
		yes = true
		switch {
		case int32(from-g.from) <= 0 && int32(to-g.to) >= 0:
			*g = gap{}
		case int32(from-g.from) <= 0:
			g.from = to
		default: // what follows a hole in the middle is taken as seen
			g.to = from
		}
	}
	return yes
}

// zeroWindow begins or ends a time of zero window.
func (s *shard) zeroWindow(c *conn, h *half, p *packet) {
	x := s.more(c, h)
	h.set ^= inZero
	if h.set&inZero != 0 {
		x.zeroSince = p.time
		if x.zeroFirst == 0 {
			x.zeroFirst = p.time
		}
		return
	}
	x.zeroFor += p.time - x.zeroSince
}
