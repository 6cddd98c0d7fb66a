// Package decap finds the TCP segment, ICMP error or DNS message in captured
// bytes: through the link layer, tags and labels, IP options and extension
// headers, and one tunnel. It gives offsets, copies nothing and allocates
// nothing.
//
// It imports no other package of ours.
package decap

import (
	"encoding/binary"
	"net/netip"
)

// Kind says what a packet is.
type Kind uint8

// The kinds.
const (
	// Other is a whole packet of no interest: ARP, UDP, an echo.
	Other Kind = iota
	// TCP segments have their header, up to the window at least, in the capture.
	TCP
	// ICMPError is an ICMP or ICMPv6 error that quotes a packet.
	ICMPError
	// DNS is UDP from or to port 53.
	DNS
	// Fragment is a fragment of IP but the first.
	Fragment
	// Snapped packets are cut by the snap length before their ports and flags.
	Snapped
	// Malformed packets have headers that contradict themselves.
	Malformed
	// UnknownLink is a packet of a link type that is not read.
	UnknownLink
)

// Direction is what the link layer says about who sent a packet.
type Direction uint8

// The directions.
const (
	Unknown Direction = iota
	Incoming
	Outgoing
)

// Packet says where things are in the bytes that were decoded. The offsets
// hold for TCP, ICMPError and DNS.
type Packet struct {
	// IP, L4 and Payload are the offsets of the innermost IP header, of the
	// header of TCP, ICMP or UDP, and of what follows that. Payload is behind
	// End if the capture ends within the header.
	IP, L4, Payload int
	// End is where the captured bytes of the IP packet end; padding of the
	// link is left out.
	End int
	// Len is the length of the payload as the headers claim it, captured or
	// not.
	Len  int
	IPID uint16 // 0 for IPv6
	TTL  uint8  // hop limit
	V6   bool
	// MoreFragments: this is the first fragment of a larger packet.
	MoreFragments bool
	Tunnelled     bool
	Dir           Direction
}

// Cut tells whether payload is missing from the capture.
func (p *Packet) Cut() bool { return p.Payload+p.Len > p.End }

// Addrs gives the addresses of the packet p was decoded from.
func (p *Packet) Addrs(b []byte) (src, dst netip.Addr) {
	if p.V6 {
		h := b[p.IP : p.IP+40]
		return netip.AddrFrom16([16]byte(h[8:24])), netip.AddrFrom16([16]byte(h[24:40]))
	}
	h := b[p.IP : p.IP+20]
	return netip.AddrFrom4([4]byte(h[12:16])), netip.AddrFrom4([4]byte(h[16:20]))
}

// Ports gives the ports of the TCP or UDP packet p was decoded from.
func (p *Packet) Ports(b []byte) (src, dst uint16) {
	h := b[p.L4 : p.L4+4]
	return be16(h), be16(h[2:])
}

// Where headers are in a plain packet.
const (
	PlainIP   = 14
	PlainIPv4 = PlainIP + 20 // TCP in IPv4
	PlainIPv6 = PlainIP + 40 // TCP in IPv6
)

// Plain recognizes what nearly all packets on Ethernet are: a whole TCP header,
// its options perhaps cut, in IP without options, extension headers and
// fragments. It gives the offset of the TCP header, PlainIPv4 or PlainIPv6, and
// the length from there by the headers; 0 for anything else.
func Plain(b []byte) (l4, n int) {
	if len(b) < PlainIPv4+20 {
		return 0, 0
	}
	h := (*[PlainIPv4 + 20]byte)(b)
	switch {
	case (le32(h[12:])^0x450008)&0xffffff|(le32(h[20:])^protoTCP<<24)&0xff00ff3f == 0:
		l4, n = PlainIPv4, int(be16(h[16:]))-20
		if header := int(h[46]>>4) * 4; header >= 20 && n >= header {
			return l4, n
		}
	case be32(h[12:])>>12 == etherIPv6<<4|6 && h[20] == protoTCP && len(b) >= PlainIPv6+20:
		l4, n = PlainIPv6, int(be16(h[18:]))
		if header := int(b[66]>>4) * 4; header >= 20 && n >= header {
			return l4, n
		}
	}
	return 0, 0
}

// Decode finds its way through b, the captured bytes of a packet of orig bytes
// on a link of the given LINKTYPE_ (https://www.tcpdump.org/linktypes.html).
func (p *Packet) Decode(link uint16, b []byte, orig int) Kind {
	if link == LinkEthernet {
		if l4, n := Plain(b); l4 != 0 {
			p.IP, p.L4, p.Payload = PlainIP, l4, l4+int(b[l4+12]>>4)*4
			p.End, p.Len = min(len(b), l4+n), l4+n-p.Payload
			p.V6 = l4 == PlainIPv6
			if p.V6 {
				p.IPID, p.TTL = 0, b[PlainIP+7]
			} else {
				p.IPID, p.TTL = be16(b[PlainIP+4:]), b[PlainIP+8]
			}
			p.MoreFragments, p.Tunnelled, p.Dir = false, false, Unknown
			return TCP
		}
	}
	*p = Packet{}
	orig = max(orig, len(b))
	return p.link(link, b, orig)
}

func (p *Packet) ip(b []byte, off, orig int) Kind {
	if off >= len(b) {
		return short(b, orig)
	}
	switch b[off] >> 4 {
	case 4:
		return p.ipv4(b, off, orig)
	case 6:
		return p.ipv6(b, off, orig)
	}
	return Malformed
}

// ipv4 reads RFC 791.
func (p *Packet) ipv4(b []byte, off, orig int) Kind {
	if off+20 > len(b) {
		return short(b, orig)
	}
	h := b[off : off+20]
	header := int(h[0]&15) * 4
	total := int(be16(h[2:]))
	if total == 0 { // a large segment that the interface is to cut up
		total = orig - off
	}
	if h[0]>>4 != 4 || header < 20 || total < header {
		return Malformed
	}
	frag := be16(h[6:])
	if frag&0x1fff != 0 {
		return Fragment
	}
	p.IP, p.TTL, p.IPID, p.V6 = off, h[8], be16(h[4:]), false
	p.MoreFragments = p.MoreFragments || frag&0x2000 != 0
	p.L4, p.Len, p.End = off+header, total-header, min(len(b), off+total)
	return p.transport(b, h[9], orig)
}

// maxExtensions bounds the walk over extension headers; RFC 8200 section 4.1
// recommends an order with at most seven.
const maxExtensions = 8

// ipv6 reads RFC 8200.
func (p *Packet) ipv6(b []byte, off, orig int) Kind {
	if off+40 > len(b) {
		return short(b, orig)
	}
	h := b[off : off+40]
	if h[0]>>4 != 6 {
		return Malformed
	}
	length := int(be16(h[4:]))
	if length == 0 { // a jumbogram (RFC 2675), or a large segment as above
		length = max(orig-off-40, 0)
	}
	p.IP, p.TTL, p.IPID, p.V6 = off, h[7], 0, true
	p.L4, p.Len, p.End = off+40, length, min(len(b), off+40+length)
	proto := h[6]
	for range maxExtensions {
		if !isExtension(proto) {
			return p.transport(b, proto, orig)
		}
		if p.L4+8 > p.End {
			return short(b, orig)
		}
		e := b[p.L4 : p.L4+8]
		n := (int(e[1]) + 1) * 8
		if proto == protoFragment {
			frag := be16(e[2:])
			if frag&0xfff8 != 0 {
				return Fragment
			}
			p.MoreFragments = p.MoreFragments || frag&1 != 0
			n = 8
		}
		if n > p.Len {
			return Malformed
		}
		proto = e[0]
		p.L4 += n
		p.Len -= n
	}
	return Malformed
}

// isExtension tells the extension headers of IPv6 that have a length: hop by
// hop, routing, destination options, mobility, and the fragment header.
func isExtension(proto uint8) bool {
	switch proto {
	case 0, 43, 60, 135, protoFragment:
		return true
	}
	return false
}

// Protocol numbers of IANA.
const (
	protoICMP     = 1
	protoIPv4     = 4
	protoTCP      = 6
	protoUDP      = 17
	protoIPv6     = 41
	protoFragment = 44
	protoGRE      = 47
	protoAH       = 51
	protoICMPv6   = 58
)

// transport reads what is at L4, Len bytes long.
func (p *Packet) transport(b []byte, proto uint8, orig int) Kind {
	if proto == protoTCP {
		return p.tcp(b, orig)
	}
	switch proto {
	case protoUDP:
		return p.udp(b, orig)
	case protoICMP, protoICMPv6:
		return p.icmp(b, proto == protoICMPv6, orig)
	case protoAH: // RFC 4302 section 2.2
		if p.L4+8 > p.End {
			return p.short(b, orig)
		}
		n := (int(b[p.L4+1]) + 2) * 4
		if n > p.Len || b[p.L4] == protoAH {
			return Malformed
		}
		next := b[p.L4]
		p.L4 += n
		p.Len -= n
		return p.transport(b, next, orig)
	case protoGRE, protoIPv4, protoIPv6:
		if p.Tunnelled {
			return Other
		}
		return p.tunnel(b, proto, orig)
	}
	return Other
}

// minTCP is the least of a TCP header that is of use: up to the window.
const minTCP = 16

// tcp reads RFC 9293 section 3.1.
func (p *Packet) tcp(b []byte, orig int) Kind {
	if p.L4+minTCP > p.End {
		return p.short(b, orig)
	}
	n := int(b[p.L4+12]>>4) * 4
	if n < 20 || n > p.Len {
		return Malformed
	}
	p.Payload = p.L4 + n
	p.Len -= n
	return TCP
}

func (p *Packet) udp(b []byte, orig int) Kind {
	if p.L4+8 > p.End {
		return p.short(b, orig)
	}
	if p.Len < 8 {
		return Malformed
	}
	src, dst := p.Ports(b)
	p.Payload = p.L4 + 8
	p.Len -= 8
	switch {
	case src == 53 || dst == 53:
		return DNS
	case p.Tunnelled || p.MoreFragments:
	case dst == portVXLAN || dst == portVXLANLinux:
		return p.vxlan(b, orig)
	case dst == portGeneve:
		return p.geneve(b, orig)
	}
	return Other
}

// icmp tells errors (RFC 792, RFC 4443) from the rest.
func (p *Packet) icmp(b []byte, v6 bool, orig int) Kind {
	if p.L4+8 > p.End {
		return p.short(b, orig)
	}
	if v6 != p.V6 || p.Len < 8 {
		return Malformed
	}
	switch t := b[p.L4]; {
	case v6 && t >= 1 && t <= 4, !v6 && (t == 3 || t == 11 || t == 12):
		p.Payload = p.L4 + 8
		p.Len -= 8
		return ICMPError
	}
	return Other
}

// short tells what a packet is that ends too early: cut by the capture, or by
// whoever made it.
func short(b []byte, orig int) Kind {
	if len(b) < orig {
		return Snapped
	}
	return Malformed
}

// short within an IP packet: its own length may be the reason.
func (p *Packet) short(b []byte, orig int) Kind {
	switch {
	case p.End < len(b):
		return Malformed
	case p.L4+p.Len > p.End:
		return Snapped // also where the file lies about the original length
	}
	return short(b, orig)
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
