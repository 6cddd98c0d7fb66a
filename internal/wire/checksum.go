package wire

import (
	"encoding/binary"
	"net/netip"
)

// sum adds b to a running Internet checksum, RFC 1071. The result is not
// folded; up to 64 KiB cannot overflow it.
func sum(b []byte, s uint32) uint32 {
	for len(b) >= 2 {
		s += uint32(b[0])<<8 | uint32(b[1])
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

// fold reduces a running checksum to 16 bits, not complemented.
func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// pseudo is the running checksum of the pseudo-header, RFC 9293 section 3.1
// and RFC 8200 section 8.1. Both families give the same sum for lengths below
// 64 KiB.
func pseudo(src, dst netip.Addr, proto uint8, length int) uint32 {
	s := uint32(proto) + uint32(length)
	for _, a := range [2]netip.Addr{src, dst} {
		b := a.As16()
		if a.Is4() {
			s = sum(b[12:], s)
		} else {
			s = sum(b[:], s)
		}
	}
	return s
}

func putChecksum(b []byte, s uint32) { binary.BigEndian.PutUint16(b, ^fold(s)) }
