package pcapfilter

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/bpf"
)

// EtherTypes and protocol numbers, of IANA.
const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherARP  = 0x0806

	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoFrag6  = 44
	protoICMPv6 = 58
)

// side is which end of a packet a condition is about.
type side uint8

const (
	either side = iota
	source
	destination
	both
)

// etherType tests the protocol as the kernel sees it, which leaves out VLAN
// tags that the interface has taken off.
func etherType(v uint32) node {
	return test{load: bpf.LoadExtension{Num: bpf.ExtProto}, cond: bpf.JumpEqual, val: v}
}

// field tests size bytes at an offset from the network header.
func field(off uint32, size int, v uint32) test {
	return test{load: bpf.LoadAbsolute{Off: off, Size: size}, cond: bpf.JumpEqual, val: v}
}

// first tests that an IPv4 packet is no later fragment: those have no ports.
func first() node {
	return test{load: bpf.LoadAbsolute{Off: 6, Size: 2}, mask: 0x1fff, cond: bpf.JumpEqual}
}

// behind tests size bytes at an offset from the end of the IPv4 header.
func behind(off uint32, size int, v uint32) test {
	return test{before: bpf.LoadMemShift{Off: 0}, load: bpf.LoadIndirect{Off: off, Size: size}, cond: bpf.JumpEqual, val: v}
}

// protocol tests for a transport protocol over IPv4 or IPv6, there also in the
// first fragment of a packet.
func protocol(n uint32) node { return or{protocol4(n), protocol6(n)} }

func protocol4(n uint32) node { return and{etherType(etherIPv4), field(9, 1, n)} }

func protocol6(n uint32) node {
	return and{etherType(etherIPv6), or{field(6, 1, n), and{field(6, 1, protoFrag6), field(40, 1, n)}}}
}

// prefix tests an address at an offset against a prefix.
func prefix(off uint32, p netip.Prefix) node {
	var all and
	bits := p.Bits()
	for b := p.Addr().AsSlice(); len(b) > 0 && bits > 0; b, off, bits = b[4:], off+4, bits-32 {
		t := field(off, 4, binary.BigEndian.Uint32(b))
		if bits < 32 {
			t.mask = ^uint32(0) << (32 - bits)
		}
		all = append(all, t)
	}
	return all
}

// choose combines the conditions on the two ends.
func choose(s side, src, dst node) node {
	switch s {
	case source:
		return src
	case destination:
		return dst
	case both:
		return and{src, dst}
	}
	return or{src, dst}
}

// network tests addresses: of IPv4 also those in ARP, as pcap-filter(7) does.
func network(p netip.Prefix, s side) node {
	if p.Addr().Is4() {
		return or{
			and{etherType(etherIPv4), choose(s, prefix(12, p), prefix(16, p))},
			and{etherType(etherARP), choose(s, prefix(14, p), prefix(24, p))},
		}
	}
	return and{etherType(etherIPv6), choose(s, prefix(8, p), prefix(24, p))}
}

func host(a netip.Addr, s side) node { return network(netip.PrefixFrom(a, a.BitLen()), s) }

// within tests 2 bytes against a range.
func within(t test, from, to uint16) node {
	if from == to {
		t.val = uint32(from)
		return t
	}
	low, high := t, t
	low.cond, low.val = bpf.JumpGreaterOrEqual, uint32(from)
	high.cond, high.val = bpf.JumpLessOrEqual, uint32(to)
	return and{low, high}
}

// ports tests those of a protocol, or of TCP and UDP if it is 0.
func ports(proto uint32, s side, from, to uint16) node {
	kinds := []uint32{proto}
	if proto == 0 {
		kinds = []uint32{protoTCP, protoUDP}
	}
	var v4, v6 or
	for _, k := range kinds {
		v4 = append(v4, field(9, 1, k))
		v6 = append(v6, field(6, 1, k))
	}
	return or{
		and{etherType(etherIPv4), v4, first(), choose(s, within(behind(0, 2, 0), from, to), within(behind(2, 2, 0), from, to))},
		and{etherType(etherIPv6), v6, choose(s, within(field(40, 2, 0), from, to), within(field(42, 2, 0), from, to))},
	}
}

// quoting tests for ICMP errors about packets to or from an address.
func quoting(a netip.Addr) node {
	if a.Is4() {
		v := binary.BigEndian.Uint32(a.AsSlice())
		return and{
			protocol4(protoICMP), first(), or{behind(0, 1, 3), behind(0, 1, 11), behind(0, 1, 12)},
			or{behind(8+12, 4, v), behind(8+16, 4, v)},
		}
	}
	p := netip.PrefixFrom(a, 128)
	const quote = 40 + 8
	return and{
		etherType(etherIPv6), field(6, 1, protoICMPv6), or{field(40, 1, 1), field(40, 1, 2), field(40, 1, 3), field(40, 1, 4)},
		or{prefix(quote+8, p), prefix(quote+24, p)},
	}
}

// tcpByte tests a byte of the TCP header.
func tcpByte(off, mask uint32, cond bpf.JumpTest, val uint32) node {
	v4, v6 := behind(off, 1, val), field(40+off, 1, val)
	v4.mask, v4.cond, v6.mask, v6.cond = mask, cond, mask, cond
	return or{
		and{protocol4(protoTCP), first(), v4},
		and{etherType(etherIPv6), field(6, 1, protoTCP), v6},
	}
}
