package flowtest

import "encoding/binary"

var be = binary.BigEndian

// packet writes a record.
func (g *generator) packet(c *conn, s step) {
	b := append(g.buf[:0], make([]byte, 16)...)
	b = append(b, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2)
	if c.v6 {
		b = append(b, 0x86, 0xdd)
	} else {
		b = append(b, 8, 0)
	}
	if s.from == router {
		b = g.icmp(b, c)
	} else {
		b = g.tcp(b, c, s)
	}
	orig := len(b) - 16 + int(s.length)
	for len(b)-16 < min(orig, g.Snaplen) {
		b = append(b, 0) // the payload
	}
	b = b[:min(len(b), 16+g.Snaplen)]
	at := c.begin + s.at
	binary.LittleEndian.PutUint32(b, uint32(at/second))
	binary.LittleEndian.PutUint32(b[4:], uint32(at%second))
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)-16))
	binary.LittleEndian.PutUint32(b[12:], uint32(orig))
	g.w.Write(b)
	g.buf = b
	g.truth.Packets++
	g.truth.Bytes += uint64(len(b))
}

// ip appends the header of a packet with length bytes of payload.
func (g *generator) ip(b []byte, c *conn, src, dst [16]byte, proto, ttl byte, length int) []byte {
	if c.v6 {
		b = append(b, 0x60, 0, 0, 0, byte(length>>8), byte(length), proto, ttl)
		return append(append(b, src[:]...), dst[:]...)
	}
	at := len(b)
	g.ipid++
	b = append(b, 0x45, 0)
	b = be.AppendUint16(b, uint16(20+length))
	b = be.AppendUint16(b, g.ipid)
	b = append(b, 0x40, 0, ttl, proto, 0, 0)
	b = append(append(b, src[:4]...), dst[:4]...)
	be.PutUint16(b[at+10:], ^sum(b[at:], 0))
	return b
}

// tcp appends a segment without its payload, which is zeros and adds nothing
// to the checksum.
func (g *generator) tcp(b []byte, c *conn, s step) []byte {
	from, to := s.from, 1-s.from
	var options []byte
	window := uint16(502)
	switch {
	case s.flags&syn != 0:
		options, window = []byte{2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7}, 64240
	case s.flags&rst != 0:
		window = 0
	default:
		options = []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	}
	length := 20 + len(options)
	b = g.ip(b, c, c.addrs[from], c.addrs[to], 6, []byte{64, 57}[from], length+int(s.length))
	at := len(b)
	b = be.AppendUint16(b, c.ports[from])
	b = be.AppendUint16(b, c.ports[to])
	b = be.AppendUint32(b, c.isn[from]+s.seq)
	if s.flags&ack != 0 {
		b = be.AppendUint32(b, c.isn[to]+s.ack)
	} else {
		b = append(b, 0, 0, 0, 0)
	}
	b = append(b, byte(length/4)<<4, s.flags)
	b = be.AppendUint16(b, window)
	b = append(b, 0, 0, 0, 0)
	b = append(b, options...)
	be.PutUint16(b[at+16:], ^sum(b[at:], pseudo(c, 6, length+int(s.length))))
	return b
}

// icmp appends an error of a router that quotes the SYN.
func (g *generator) icmp(b []byte, c *conn) []byte {
	quote := g.tcp(nil, c, step{flags: syn})
	src := c.addrs[server]
	src[15], src[3] = 254, 254
	proto, kind, code := byte(1), byte(3), byte(1)
	if c.v6 {
		proto, kind, code = 58, 1, 3
	}
	b = g.ip(b, c, src, c.addrs[client], proto, 63, 8+len(quote))
	at := len(b)
	b = append(b, kind, code, 0, 0, 0, 0, 0, 0)
	b = append(b, quote...)
	before := uint32(0)
	if c.v6 {
		before = uint32(sum(src[:], uint32(sum(c.addrs[client][:], uint32(8+len(quote))+58))))
	}
	be.PutUint16(b[at+2:], ^sum(b[at:], before))
	return b
}

func pseudo(c *conn, proto, length int) uint32 {
	n := 4
	if c.v6 {
		n = 16
	}
	return uint32(sum(c.addrs[client][:n], uint32(sum(c.addrs[server][:n], uint32(proto+length)))))
}

// sum is the checksum of RFC 1071, not complemented.
func sum(b []byte, s uint32) uint16 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(be.Uint16(b))
	}
	if len(b) > 0 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// queue is a heap of connections by the time of their next packets.
type queue []*conn

func (q queue) less(i, j int) bool {
	a, b := q[i].next(), q[j].next()
	return a < b || a == b && q[i].number < q[j].number
}

func (q *queue) push(c *conn) {
	*q = append(*q, c)
	h := *q
	for i := len(h) - 1; i > 0 && h.less(i, (i-1)/2); i = (i - 1) / 2 {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
	}
}

// down puts the element at i, whose time has grown, in its place.
func (q queue) down(i int) {
	for {
		least := i
		for k := 2*i + 1; k <= 2*i+2 && k < len(q); k++ {
			if q.less(k, least) {
				least = k
			}
		}
		if least == i {
			return
		}
		q[i], q[least] = q[least], q[i]
		i = least
	}
}

func (q *queue) pop() {
	h := *q
	h[0] = h[len(h)-1]
	h[len(h)-1] = nil
	*q = h[:len(h)-1]
	q.down(0)
}
