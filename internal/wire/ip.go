package wire

import (
	"encoding/binary"
	"net/netip"
)

// IP is a decoded IPv4 (RFC 791) or IPv6 (RFC 8200) header. Payload is a slice
// of the decoded packet.
type IP struct {
	Src, Dst netip.Addr
	TTL      uint8 // hop limit in IPv6
	Proto    uint8 // of the payload, behind any extension headers
	ID       uint16
	DF       bool // always false for IPv6
	// Fragment says that the packet is the first fragment of a larger one.
	Fragment bool
	// Len is the payload's length as the header claims it; -1 when the claim
	// is impossible or, as for jumbo packets, not made.
	Len int
	// Payload is what follows the headers, without padding of the link: at
	// most Len bytes, fewer when the capture or the quote was cut.
	Payload []byte
}

// Is6 tells the family.
func (p *IP) Is6() bool { return p.Src.Is6() }

// Decode fills p from a packet that starts with an IP header. Of fragments
// only the first is accepted: the others carry no transport header.
func (p *IP) Decode(b []byte) error {
	if len(b) == 0 {
		return ErrShort
	}
	switch b[0] >> 4 {
	case 4:
		return p.decode4(b)
	case 6:
		return p.decode6(b)
	}
	return ErrVersion
}

func (p *IP) decode4(b []byte) error {
	if len(b) < 20 {
		return ErrShort
	}
	header := int(b[0]&15) * 4
	switch {
	case header < 20:
		return ErrHeader
	case header > len(b):
		return ErrShort
	}
	frag := binary.BigEndian.Uint16(b[6:])
	if frag&0x1fff != 0 {
		return ErrFragment
	}
	*p = IP{
		Src:      netip.AddrFrom4([4]byte(b[12:])),
		Dst:      netip.AddrFrom4([4]byte(b[16:])),
		TTL:      b[8],
		Proto:    b[9],
		ID:       binary.BigEndian.Uint16(b[4:]),
		DF:       frag&0x4000 != 0,
		Fragment: frag&0x2000 != 0,
	}
	p.setPayload(b[header:], int(binary.BigEndian.Uint16(b[2:]))-header)
	return nil
}

// maxExtensions bounds the walk over extension headers; RFC 8200 section 4.1
// recommends an order with at most seven.
const maxExtensions = 8

func (p *IP) decode6(b []byte) error {
	if len(b) < 40 {
		return ErrShort
	}
	*p = IP{
		Src:   netip.AddrFrom16([16]byte(b[8:])),
		Dst:   netip.AddrFrom16([16]byte(b[24:])),
		TTL:   b[7],
		Proto: b[6],
	}
	length := int(binary.BigEndian.Uint16(b[4:]))
	if length == 0 {
		length = -1 // a jumbogram (RFC 2675), or the kernel's own large segment
	}
	p.setPayload(b[40:], length)
	for range maxExtensions {
		var skip int
		switch p.Proto {
		case 0, 43, 60, 135: // hop-by-hop, routing, destination options, mobility
			if len(p.Payload) < 8 {
				return ErrShort
			}
			skip = (int(p.Payload[1]) + 1) * 8
		case 51: // authentication header, RFC 4302 section 2.2
			if len(p.Payload) < 8 {
				return ErrShort
			}
			skip = (int(p.Payload[1]) + 2) * 4
		case 44: // fragment
			if len(p.Payload) < 8 {
				return ErrShort
			}
			frag := binary.BigEndian.Uint16(p.Payload[2:])
			if frag&0xfff8 != 0 {
				return ErrFragment
			}
			p.Fragment = p.Fragment || frag&1 != 0
			skip = 8
		default:
			return nil
		}
		if skip > len(p.Payload) {
			return ErrShort
		}
		p.Proto = p.Payload[0]
		p.Payload = p.Payload[skip:]
		if p.Len >= 0 {
			p.Len -= skip
		}
	}
	return ErrExtension
}

func (p *IP) setPayload(b []byte, length int) {
	p.Len, p.Payload = max(length, -1), b
	if length >= 0 && length < len(b) {
		p.Payload = b[:length]
	}
}
