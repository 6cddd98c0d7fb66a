package tcpflow

import (
	"encoding/binary"
	"unsafe"

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

// ipid gives the identification of a packet in IPv4, 0 in IPv6.
func (b *batch) ipid(p *packet) uint16 {
	if p.bits&bitV6 != 0 {
		return 0
	}
	return binary.BigEndian.Uint16(b.Data[p.ip+4:])
}

// keepData makes room for the beginning of a direction's data. The packet is
// not near, perhaps: it is asked for, and copyData copies from it later.
func (s *shard) keepData(c *conn, h *half, p *packet) {
	h.set |= halfData
	id, block := s.data.add(s.arena)
	c.data[c.side(h)] = id
	block.at = p.time
	s.firstData = append(s.firstData, firstData{block, p})
}

// firstData is a packet whose data is to be kept.
type firstData struct {
	to *dataBlock
	p  *packet
}

// copyData copies the beginnings that keepData has left.
func (s *shard) copyData(b *batch) {
	for _, f := range s.firstData {
		if t := b.tcp(f.p); len(t) >= 20 {
			if n := int(t[12]>>4) * 4; n < len(t) {
				f.to.n = uint8(copy(f.to.data[:], t[n:]))
			}
		}
	}
	s.firstData = s.firstData[:0]
}

// want asks for what copyData is to copy.
func (s *shard) want(b *batch, l *lines) {
	data := uintptr(unsafe.Pointer(unsafe.SliceData(b.Data)))
	if len(s.firstData) > 0 {
		s.data.want(l)
	}
	for _, f := range s.firstData {
		at := data + uintptr(f.p.ip) + uintptr(f.p.l4)*4
		l.want(at)
		l.want(at + cacheLine)
	}
	l.fetch()
}

// options reads those of a SYN or SYN-ACK, and compares them with what is
// there unless it is the first.
func (s *shard) options(b *batch, c *conn, p *packet, from Side, first bool) {
	t := b.tcp(p)
	header := 0
	if len(t) >= 20 {
		header = int(t[12]>>4) * 4
	}
	if header < 20 || header > len(t) { // cut: decap has checked the rest
		c.set |= isCut
		return
	}
	var o wire.SYNOptions
	o.Decode(t[20:header])
	var set uint32
	if o.SACKOK {
		set |= halfSACK
	}
	if o.Timestamps {
		set |= halfTimestamps
	}
	asked := wire.ECE | wire.CWR
	if p.flags&wire.ACK != 0 {
		asked = wire.ECE
	}
	if p.flags&(wire.ECE|wire.CWR) == asked {
		set |= halfECN
	}
	h := &c.half[from]
	if first {
		c.mss[from], c.wscale[from] = o.MSS, o.WScale
		h.set |= set
	} else if c.mss[from] != o.MSS || c.wscale[from] != o.WScale || (h.set^set)&(halfSACK|halfTimestamps) != 0 {
		// ECN is left out: a SYN that is sent again does not ask, RFC 3168
		// section 6.1.1.1.
		h.set |= halfChanged
	}
	if binary.BigEndian.Uint16(t[16:]) == b.pseudoSum(p, header) {
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
func (s *shard) icmp(b *batch, p *packet) {
	id, c, about := s.find(b, p)
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
		s.over(c, p, id)
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
