package tcpflow

import (
	"encoding/binary"

	"github.com/tcpwhy/tcpwhy/internal/decap"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// segment finds a packet's TCP segment again; decap has accepted it before.
func (b *batch) segment(p *packet) (d decap.Packet, data []byte) {
	r := &b.Records[p.number]
	data = b.Packet(r)
	d.Decode(r.Link, data, int(r.OrigLen))
	return d, data
}

// tcp gives what is captured of a packet's TCP segment.
func (b *batch) tcp(p *packet) []byte {
	r := &b.Records[p.number]
	if p.l4 == 0 {
		d, data := b.segment(p)
		return data[d.L4:d.End]
	}
	t := b.Data[p.ip+uint32(p.l4)*4 : r.Off+r.CapLen]
	header := int(t[12]>>4) * 4 // decap has seen that byte
	return t[:min(len(t), header+int(p.length))]
}

// keepData keeps the beginning of a direction's data.
func (s *shard) keepData(b *batch, c *conn, p *packet, from Side) {
	id, block := s.data.add(s.arena)
	c.data[from] = id
	block.at = p.time
	if t := b.tcp(p); len(t) >= 20 {
		if n := int(t[12]>>4) * 4; n < len(t) {
			block.n = uint8(copy(block.data[:], t[n:]))
		}
	}
}

// options reads those of a SYN or SYN-ACK, and compares them with what is
// there unless it is the first.
func (s *shard) options(b *batch, c *conn, p *packet, from Side, first bool) {
	segment := b.tcp(p)
	var t wire.TCP
	if t.Decode(segment) != nil { // cut: decap has checked the rest
		c.set |= isCut
		return
	}
	var set uint32
	if t.SACKOK {
		set |= halfSACK
	}
	if t.Timestamps {
		set |= halfTimestamps
	}
	asked := wire.ECE | wire.CWR
	if t.Flags&wire.ACK != 0 {
		asked = wire.ECE
	}
	if t.Flags&(wire.ECE|wire.CWR) == asked {
		set |= halfECN
	}
	scale := int8(min(t.WScale, 127))
	h := &c.half[from]
	if first {
		c.mss[from], c.wscale[from] = t.MSS, scale
		h.set |= set
	} else if c.mss[from] != t.MSS || c.wscale[from] != scale || (h.set^set)&(halfSACK|halfTimestamps) != 0 {
		// ECN is left out: a SYN that is sent again does not ask, RFC 3168
		// section 6.1.1.1.
		h.set |= halfChanged
	}
	if t.Checksum == b.pseudoSum(p, len(t.Header)) {
		h.set |= halfOffloaded
	}
}

// pseudoSum is the sum of the pseudo-header of a segment, not complemented:
// what Linux leaves in the checksum of packets that the interface completes.
func (b *batch) pseudoSum(p *packet, header int) uint16 {
	addrs := b.Data[p.ip+12 : p.ip+20]
	if p.bits&bitV6 != 0 {
		addrs = b.Data[p.ip+8 : p.ip+40]
	}
	sum := uint32(wire.ProtoTCP) + uint32(header) + p.length
	for i := 0; i < len(addrs); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(addrs[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// icmp takes an error that quotes a packet of a connection.
func (s *shard) icmp(b *batch, p *packet, hash uint64) {
	_, c, about := s.lookup(b, p, hash)
	if c == nil {
		s.counts.ICMPStray++
		return
	}
	c.last = max(c.last, p.time)
	if c.icmp < MaxICMPErrors {
		s.icmpEvent(b, c, p, about)
	}
	c.icmp = more(c.icmp)
	if c.set&(hasSYNACK|hasHandshake|isOver) == 0 {
		c.set |= isOver
	}
}

func (s *shard) icmpEvent(b *batch, c *conn, p *packet, about Side) {
	d, data := b.segment(p)
	var ip wire.IP
	var m wire.ICMP
	var q wire.Quoted
	if ip.Decode(data[d.IP:d.End]) != nil || m.Decode(&ip) != nil || q.Decode(m.Body) != nil {
		return
	}
	e := event{
		time: p.time, kind: eventICMP, side: about, ttl: ip.TTL, typ: m.Type, code: m.Code, mtu: uint32(m.MTU),
		quotedSYN: c.half[about].set&halfSYN != 0 && q.Seq == c.isn[about],
	}
	switch wire.VerifyQuote(q.Src(), q.Dst(), m.Body) {
	case evidence.QuoteIntact:
		e.quote = quoteIntact
	case evidence.QuoteRewritten:
		e.quote = quoteRewritten
	}
	id, sender := s.addrs.add(s.arena)
	from := ip.Src.As16()
	copy(sender[:], from[:])
	e.address = id
	s.event(c, e)
}
