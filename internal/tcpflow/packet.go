package tcpflow

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/decap"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// shards is into how many parts connections are divided by their four-tuple.
// It is fixed, whatever the parallelism: what is let go when a part is full
// must not depend on that.
const (
	shardBits = 4
	shards    = 1 << shardBits
)

// packet is what following a connection needs of a packet, in 48 bytes.
type packet struct {
	time     int64
	src, dst uint32 // IPv4 addresses, or hashes of IPv6 addresses
	ports    uint32 // source port in the upper half
	seq, ack uint32
	length   uint32 // of the payload by the headers
	ip       uint32 // where the IP header is in the batch
	number   uint32 // of the record in the batch
	window   uint16
	ipid     uint16
	flags    wire.Flags
	ttl      uint8
	bits     uint8
	l4       uint8 // from ip to the TCP header in 4-byte words; 0 if farther
}

// The bits of a packet.
const (
	bitV6 = 1 << iota
	bitICMP
	bitIn
	bitOut
	bitCut // headers or payload are not complete in the capture
	bitFragment
	bitTunnel
)

// batch is a run of packets on its way: read, decoded, applied, handed back.
type batch struct {
	pcapfile.Batch
	before  int64 // time of the packet before the first
	shards  [shards][]packet
	dns     []uint32 // numbers of records
	sweeps  []sweep
	letGo   [shards][]letGo
	decoded bool
	// applying is how many workers have not applied it yet.
	applying int
	_        apart
}

// decoder turns records into packets.
type decoder struct {
	seed   uint64
	counts Counts
	_      apart
}

func (d *decoder) decode(b *batch) {
	for i := range b.shards {
		b.shards[i] = b.shards[i][:0]
	}
	b.dns = b.dns[:0]
	c := &d.counts
	if c.Packets == 0 && len(b.Records) > 0 {
		c.First, c.Last = Time(b.Records[0].Time), Time(b.Records[0].Time)
	}
	c.Packets += uint64(len(b.Records))
	before, first, last := b.before, c.First, c.Last
	var p decap.Packet
	for i := range b.Records {
		r := &b.Records[i]
		if r.Time < before {
			c.Backwards++
		}
		before = r.Time
		first, last = min(first, Time(r.Time)), max(last, Time(r.Time))
		c.Bytes += uint64(r.CapLen)
		data := b.Packet(r)
		switch p.Decode(r.Link, data, int(r.OrigLen)) {
		case decap.TCP:
			c.TCP++
			d.tcp(b, i, r, &p, data)
		case decap.Other:
			c.NotTCP++
		case decap.ICMPError:
			d.icmp(b, i, &p, data)
		case decap.DNS:
			c.DNS++
			b.dns = append(b.dns, uint32(i))
		case decap.Fragment:
			c.Fragments++
		case decap.Snapped:
			c.Snapped++
		case decap.Malformed:
			c.Malformed++
		case decap.UnknownLink:
			c.UnknownLink++
		}
	}
	c.First, c.Last = first, last
}

func (d *decoder) tcp(b *batch, i int, r *pcapfile.Record, p *decap.Packet, data []byte) {
	h := (*[minTCP]byte)(data[p.L4:])
	ports := binary.BigEndian.Uint32(h[:])
	// Whether payload was cut is anybody's guess, so there is no branch.
	cut := uint64(p.End-p.Payload-p.Len) >> 63
	d.counts.CutData += cut
	set := uint8(cut) * bitCut
	if p.MoreFragments || p.Tunnelled || p.Dir != decap.Unknown || r.Dir != pcapfile.DirUnknown {
		set |= rareBits(p, r)
	}
	var src, dst, mix uint32
	if p.V6 {
		set |= bitV6
		a := (*[32]byte)(data[p.IP+8:])
		src, dst = d.fold(a[:16]), d.fold(a[16:])
		mix = binary.BigEndian.Uint32(a[12:]) ^ binary.BigEndian.Uint32(a[28:])
	} else {
		a := (*[8]byte)(data[p.IP+12:])
		src, dst = binary.BigEndian.Uint32(a[:]), binary.BigEndian.Uint32(a[4:])
		mix = src ^ dst
	}
	if (ports>>16 == 53 || ports&0xffff == 53) && p.Len > 0 {
		b.dns = append(b.dns, uint32(i))
	}
	q := b.add(shardOf(mix, ports))
	// Field by field into its place: a literal would be built elsewhere and
	// copied, which takes twice as long.
	q.time = r.Time
	q.src, q.dst, q.ports = src, dst, ports
	q.seq, q.ack = binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint32(h[8:])
	q.length, q.ip, q.number = uint32(p.Len), r.Off+uint32(p.IP), uint32(i)
	q.window, q.ipid = binary.BigEndian.Uint16(h[14:]), p.IPID
	q.flags, q.ttl, q.bits, q.l4 = wire.Flags(h[13]), p.TTL, set, words(p.L4-p.IP)
}

// minTCP is what decap has seen of a TCP header, at least.
const minTCP = 16

// rareBits gives the bits that few captures have.
func rareBits(p *decap.Packet, r *pcapfile.Record) (set uint8) {
	if p.MoreFragments {
		set = bitFragment
	}
	if p.Tunnelled {
		set |= bitTunnel
	}
	switch {
	case r.Dir == pcapfile.DirIn || p.Dir == decap.Incoming:
		set |= bitIn
	case r.Dir == pcapfile.DirOut || p.Dir == decap.Outgoing:
		set |= bitOut
	}
	return set
}

// add appends a packet to those of a shard; what is in it is old.
func (b *batch) add(shard uint32) *packet {
	s := b.shards[shard]
	n := len(s)
	if n == cap(s) {
		s = slices.Grow(s, max(n, 64))
	}
	s = s[:n+1]
	b.shards[shard] = s
	return &s[n]
}

// words gives n bytes in words, 0 where that does not fit.
func words(n int) uint8 {
	if n > 255*4 {
		return 0
	}
	return uint8(n / 4)
}

// icmp passes an error on to where the connection is that it quotes.
func (d *decoder) icmp(b *batch, i int, p *decap.Packet, data []byte) {
	var q wire.Quoted
	switch err := q.Decode(data[p.Payload:p.End]); {
	case err == wire.ErrShort && p.Cut():
		d.counts.Snapped++
		return
	case err != nil:
		d.counts.NotTCP++
		return
	}
	d.counts.ICMP++
	r := &b.Records[i]
	set := uint8(bitICMP)
	off := p.Payload
	var src, dst, mix uint32
	if q.IP.Is6() {
		set |= bitV6
		s, t := q.IP.Src.As16(), q.IP.Dst.As16()
		src, dst = d.fold(s[:]), d.fold(t[:])
		mix = binary.BigEndian.Uint32(s[12:]) ^ binary.BigEndian.Uint32(t[12:])
	} else {
		s, t := q.IP.Src.As4(), q.IP.Dst.As4()
		src, dst = binary.BigEndian.Uint32(s[:]), binary.BigEndian.Uint32(t[:])
		mix = src ^ dst
	}
	ports := uint32(q.SrcPort)<<16 | uint32(q.DstPort)
	*b.add(shardOf(mix, ports)) = packet{
		time: r.Time, src: src, dst: dst, ports: ports, seq: q.Seq,
		ip: r.Off + uint32(off), number: uint32(i), ttl: p.TTL, bits: set,
	}
}

// shardOf gives the same shard for both directions. It has no secret: what
// lies together in a shard, and so what is let go, is the same in every run.
func shardOf(addresses, ports uint32) uint32 {
	return (addresses*0x9e3779b1 ^ (ports^ports>>16)<<16*0x85ebca6b) * 0xc2b2ae35 >> (32 - shardBits)
}

// fold hashes an IPv6 address. The secret keeps others from choosing
// addresses that collide; equality is decided on the addresses themselves.
func (d *decoder) fold(a []byte) uint32 {
	return uint32(mix(mix(binary.LittleEndian.Uint64(a)^d.seed, 0x9e3779b97f4a7c15)^binary.LittleEndian.Uint64(a[8:]), d.seed|1))
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
