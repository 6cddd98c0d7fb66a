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
	hash     uint32 // of the four-tuple, see decoder.hash
	number   uint16 // of the record in the batch, at most pcapfile.MaxRecords
	window   uint16
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
	dns     []uint16 // numbers of records
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
	if len(b.Records) == 0 {
		return
	}
	c := &d.counts
	if c.Packets == 0 {
		c.First, c.Last = Time(b.Records[0].Time), Time(b.Records[0].Time)
	}
	c.Packets += uint64(len(b.Records))
	before, first, last := b.before, int64(c.First), int64(c.Last)
	bytes, backwards, plain := uint64(0), uint64(0), uint64(0)
	for i := range b.Records {
		r := &b.Records[i]
		if r.Time < before {
			backwards++
		}
		before = r.Time
		first, last = min(first, r.Time), max(last, r.Time)
		bytes += uint64(r.CapLen)
		data := b.Packet(r)
		if r.Link == decap.LinkEthernet {
			if l4, n := decap.Plain(data); l4 != 0 {
				plain++
				d.plain(b, i, r, data, l4, n)
				continue
			}
		}
		d.other(b, i, r, data)
	}
	c.First, c.Last = Time(first), Time(last)
	c.Bytes += bytes
	c.Backwards += backwards
	c.TCP += plain
}

// other takes a packet that is not plain.
func (d *decoder) other(b *batch, i int, r *pcapfile.Record, data []byte) {
	c := &d.counts
	var p decap.Packet
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
		b.dns = append(b.dns, uint16(i))
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

// plain takes what decap.Plain has recognized, with what that says. It does
// what tcp does for it.
func (d *decoder) plain(b *batch, i int, r *pcapfile.Record, data []byte, l4, n int) {
	h := (*[minTCP]byte)(data[l4:])
	length := n - int(h[12]>>4)*4
	// Whether payload was cut is anybody's guess, so there is no branch.
	cut := uint64(len(data)-l4-n) >> 63
	d.counts.CutData += cut
	set := uint8(cut) * bitCut
	if r.Dir != pcapfile.DirUnknown {
		set |= rareBits(&decap.Packet{}, r)
	}
	ports := binary.BigEndian.Uint32(h[:])
	ip := data[decap.PlainIP:]
	ttl := ip[8]
	var src, dst, mix uint32
	if l4 == decap.PlainIPv4 {
		a := (*[8]byte)(ip[12:])
		src, dst = binary.BigEndian.Uint32(a[:]), binary.BigEndian.Uint32(a[4:])
		mix = src ^ dst
	} else {
		set |= bitV6
		ttl = ip[7]
		src, dst, mix = d.fold6(ip)
	}
	if (ports>>16 == 53 || ports&0xffff == 53) && length > 0 {
		b.dns = append(b.dns, uint16(i))
	}
	q := b.add(shardOf(mix, ports))
	// Field by field into its place: a literal would be built elsewhere and
	// copied, which takes twice as long.
	q.time = r.Time
	q.src, q.dst, q.ports = src, dst, ports
	q.seq, q.ack = binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint32(h[8:])
	q.length, q.ip, q.hash = uint32(length), r.Off+decap.PlainIP, hash(d.seed, src, dst, ports)
	q.number, q.window = uint16(i), binary.BigEndian.Uint16(h[14:])
	q.flags, q.ttl, q.bits, q.l4 = wire.Flags(h[13]), ttl, set, uint8((l4-decap.PlainIP)/4)
}

func (d *decoder) tcp(b *batch, i int, r *pcapfile.Record, p *decap.Packet, data []byte) {
	h := (*[minTCP]byte)(data[p.L4:])
	ports := binary.BigEndian.Uint32(h[:])
	set := rareBits(p, r)
	if p.Cut() {
		d.counts.CutData++
		set |= bitCut
	}
	var src, dst, mix uint32
	if p.V6 {
		set |= bitV6
		src, dst, mix = d.fold6(data[p.IP:])
	} else {
		a := (*[8]byte)(data[p.IP+12:])
		src, dst = binary.BigEndian.Uint32(a[:]), binary.BigEndian.Uint32(a[4:])
		mix = src ^ dst
	}
	if (ports>>16 == 53 || ports&0xffff == 53) && p.Len > 0 {
		b.dns = append(b.dns, uint16(i))
	}
	*b.add(shardOf(mix, ports)) = packet{
		time: r.Time, src: src, dst: dst, ports: ports, seq: binary.BigEndian.Uint32(h[4:]), ack: binary.BigEndian.Uint32(h[8:]),
		length: uint32(p.Len), ip: r.Off + uint32(p.IP), hash: hash(d.seed, src, dst, ports), number: uint16(i),
		window: binary.BigEndian.Uint16(h[14:]), flags: wire.Flags(h[13]), ttl: p.TTL, bits: set, l4: words(p.L4 - p.IP),
	}
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
		d.counts.ICMPSnapped++
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
		time: r.Time, src: src, dst: dst, ports: ports, seq: q.Seq, ip: r.Off + uint32(off),
		hash: hash(d.seed, src, dst, ports), number: uint16(i), ttl: p.TTL, bits: set,
	}
}

// shardOf gives the same shard for both directions. It has no secret: what
// lies together in a shard, and so what is let go, is the same in every run.
func shardOf(addresses, ports uint32) uint32 {
	return (addresses*0x9e3779b1 ^ (ports^ports>>16)<<16*0x85ebca6b) * 0xc2b2ae35 >> (32 - shardBits)
}

// hash is the same for both directions, and has a secret so that nobody can
// fill one place of the index.
func hash(seed uint64, src, dst, ports uint32) uint32 {
	a, b := uint64(src)<<16|uint64(ports>>16), uint64(dst)<<16|uint64(ports&0xffff)
	return uint32(mix(mix(a+seed, b+seed), seed|1) >> 32)
}

// fold6 gives hashes of the addresses in an IPv6 header, and what shardOf wants
// to know of them.
func (d *decoder) fold6(header []byte) (src, dst, mix uint32) {
	a := (*[32]byte)(header[8:])
	return d.fold(a[:16]), d.fold(a[16:]), binary.BigEndian.Uint32(a[12:]) ^ binary.BigEndian.Uint32(a[28:])
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
