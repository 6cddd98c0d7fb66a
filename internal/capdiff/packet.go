package capdiff

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/decap"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// packet is what is kept of one.
type packet struct {
	time         int64
	number       uint64
	seq, ack     uint32
	length       uint32 // of the payload
	tsval, tsecr uint32
	sum          uint32 // of the payload, 0 without or if cut
	header       *header
	window, ipid uint16
	flags        wire.Flags
	ttl, tos     uint8
	bits         bits
	from         tcpflow.Side
}

// header is what only some packets have: options of a SYN, or an ICMP error.
type header struct {
	options   string // in the words of tcpdump
	mss       uint16
	wscale    int
	sender    netip.Addr // of an ICMP error
	typ, code uint8
}

type bits uint8

const (
	hasTS bits = 1 << iota
	isICMP
	sumGood
	sumBad
	sumLeft // the checksum was left to the interface
	toOther // the link layer's address is not the capturing host's
)

// tracked is a flow whose packets may be wanted.
type tracked struct {
	flow *Flow
	pair *Pair // nil if they are not
	side tcpflow.Side
}

// read collects the packets of the chosen pairs from one file.
func (c *comparison) read(ctx context.Context, file int) error {
	want := c.wanted(file)
	if len(want) == 0 {
		return nil
	}
	in, err := c.sources[file].Open()
	if err != nil {
		return err
	}
	defer in.Close()
	r := reader{want: want}
	var b pcapfile.Batch
	for {
		err := in.ReadBatch(ctx, &b)
		var damage *pcapfile.DamageError
		switch {
		case err == io.EOF || errors.As(err, &damage): // told by index
			return nil
		case err != nil:
			return err
		}
		for i := range b.Records {
			r.take(&b, i)
		}
	}
}

// wanted finds the flows of a packet: all those with a four-tuple of which one
// was chosen, in the order of their first packets.
func (c *comparison) wanted(file int) map[tuple][]tracked {
	chosen := make(map[*Flow]tracked)
	want := make(map[tuple][]tracked)
	for _, p := range c.pairs {
		for s := range p.Flow {
			if f := p.Flow[s]; f != nil && p.Compared && p.File[s] == file {
				chosen[f] = tracked{f, p, tcpflow.Side(s)}
				want[f.tuple()] = nil
			}
		}
	}
	for _, f := range c.files[file].flows {
		if l, ok := want[f.tuple()]; ok {
			t := chosen[f]
			t.flow = f
			want[f.tuple()] = append(l, t)
		}
	}
	return want
}

// reader takes packets from one file.
type reader struct {
	want map[tuple][]tracked
	opts []byte
}

func (r *reader) take(b *pcapfile.Batch, i int) {
	rec := &b.Records[i]
	data := b.Packet(rec)
	var d decap.Packet
	p := packet{time: rec.Time, number: b.First + uint64(i) + 1}
	switch d.Decode(rec.Link, data, int(rec.OrigLen)) {
	case decap.TCP:
		src, dst := d.Addrs(data)
		sport, dport := d.Ports(data)
		t := r.find(netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport), &p)
		if t == nil {
			return
		}
		r.tcp(&p, &d, data)
		if elsewhere(rec.Link, data) {
			p.bits |= toOther
		}
		if t.pair.packets[t.side] == nil {
			t.pair.packets[t.side] = make([]packet, 0, t.flow.packets)
		}
		t.pair.packets[t.side] = append(t.pair.packets[t.side], p)
	case decap.ICMPError:
		var q wire.Quoted
		if d.Payload > d.End || q.Decode(data[d.Payload:d.End]) != nil {
			return
		}
		t := r.find(q.Src(), q.Dst(), &p)
		if t == nil || len(t.pair.packets[t.side]) == 0 {
			return
		}
		src, _ := d.Addrs(data)
		p.bits, p.ttl, p.seq = isICMP, d.TTL, q.Seq
		p.header = &header{sender: src, typ: data[d.L4], code: data[d.L4+1]}
		t.pair.packets[t.side] = append(t.pair.packets[t.side], p)
	}
}

// find gives the flow of a packet that is wanted, and notes who sent it.
func (r *reader) find(src, dst netip.AddrPort, p *packet) *tracked {
	var best *tracked
	for s, key := range [2]tuple{{src, dst}, {dst, src}} {
		l := r.want[key]
		for i := len(l) - 1; i >= 0; i-- {
			if l[i].flow.Number > p.number {
				continue
			}
			if best == nil || l[i].flow.Number > best.flow.Number {
				best, p.from = &l[i], tcpflow.Side(s)
			}
			break
		}
	}
	if best == nil || best.pair == nil {
		return nil
	}
	return best
}

// tcp reads what is kept of a TCP packet.
func (r *reader) tcp(p *packet, d *decap.Packet, data []byte) {
	h := data[d.L4:d.End]
	p.seq, p.ack = binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint32(h[8:])
	p.flags, p.window, p.length = wire.Flags(h[13]), binary.BigEndian.Uint16(h[14:]), uint32(d.Len)
	p.ttl, p.ipid = d.TTL, d.IPID
	if d.V6 {
		p.tos = data[d.IP]<<4 | data[d.IP+1]>>4
	} else {
		p.tos = data[d.IP+1]
	}
	var t wire.TCP
	if t.Decode(h) != nil {
		return // cut
	}
	if t.Timestamps {
		p.bits |= hasTS
		p.tsval, p.tsecr = t.TSVal, t.TSEcr
	}
	if p.flags&wire.SYN != 0 {
		r.opts = t.AppendOptions(r.opts[:0])
		p.header = &header{options: string(r.opts), mss: t.MSS, wscale: t.WScale}
	}
	if !d.Cut() && !d.MoreFragments {
		p.sum = hash(t.Payload)
		p.bits |= checksum(data, d, h)
	}
}

// elsewhere says that a cooked capture marks a packet as addressed to another
// host on the link: PACKET_OTHERHOST of packet(7).
func elsewhere(link uint16, data []byte) bool {
	const otherHost = 3
	switch link {
	case decap.LinkSLL:
		return binary.BigEndian.Uint16(data) == otherHost
	case decap.LinkSLL2:
		return data[10] == otherHost
	}
	return false
}

// checksum judges that of a segment, RFC 9293 section 3.1. Linux leaves the sum
// of the pseudo-header where the interface is to complete it.
func checksum(data []byte, d *decap.Packet, segment []byte) bits {
	addrs := data[d.IP+12 : d.IP+20]
	if d.V6 {
		addrs = data[d.IP+8 : d.IP+40]
	}
	pseudo := add(uint32(wire.ProtoTCP)+uint32(len(segment)), addrs)
	switch fold(add(pseudo, segment)) {
	case 0xffff:
		return sumGood
	}
	if fold(pseudo) == binary.BigEndian.Uint16(segment[16:]) {
		return sumLeft
	}
	return sumBad
}

// add sums as the Internet checksum does, RFC 1071; 64 KiB cannot overflow.
func add(s uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// hash is FNV-1a, for comparing what two captures hold; it is no protection
// against collisions that somebody makes. 0 stands for no data.
func hash(b []byte) uint32 {
	if len(b) == 0 {
		return 0
	}
	h := uint32(2166136261)
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	return max(h, 1)
}
