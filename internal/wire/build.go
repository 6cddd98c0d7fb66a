package wire

import (
	"encoding/binary"
	"net/netip"
)

// Segment is a TCP segment without payload to be built.
type Segment struct {
	// Src and Dst must be of one family.
	Src, Dst netip.AddrPort
	TTL      uint8
	// ID is the IPv4 identification. Linux replaces 0 by one of its choice.
	ID       uint16
	Seq, Ack uint32
	Flags    Flags
	Window   uint16
	Options  []byte // a multiple of 4, at most 40 bytes; longer lists are cut
}

// Append appends the segment with its IP header, don't-fragment set and all
// checksums filled in.
func (s *Segment) Append(b []byte) []byte {
	options := s.Options[:min(len(s.Options)&^3, 40)]
	tcpLen := 20 + len(options)
	src, dst := s.Src.Addr().Unmap(), s.Dst.Addr().Unmap()
	be := binary.BigEndian
	if dst.Is4() {
		start := len(b)
		b = append(b, 0x45, 0)
		b = be.AppendUint16(b, uint16(20+tcpLen))
		b = be.AppendUint16(b, s.ID)
		b = append(b, 0x40, 0, s.TTL, ProtoTCP, 0, 0)
		b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
		putChecksum(b[start+10:], sum(b[start:], 0))
	} else {
		b = append(b, 0x60, 0, 0, 0)
		b = be.AppendUint16(b, uint16(tcpLen))
		b = append(b, ProtoTCP, s.TTL)
		b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	}
	start := len(b)
	b = be.AppendUint16(b, s.Src.Port())
	b = be.AppendUint16(b, s.Dst.Port())
	b = be.AppendUint32(b, s.Seq)
	b = be.AppendUint32(b, s.Ack)
	b = append(b, byte(tcpLen/4)<<4, byte(s.Flags))
	b = be.AppendUint16(b, s.Window)
	b = append(append(b, 0, 0, 0, 0), options...)
	putChecksum(b[start+16:], sum(b[start:], pseudo(src, dst, ProtoTCP, tcpLen)))
	return b
}

// AppendSYNOptions appends the options that Linux sends with a SYN, in its
// order: mss, sackOK, timestamps with the value given, window scale 7. A SYN
// without them looks like a scan, and some firewalls drop it for that.
func AppendSYNOptions(b []byte, mss uint16, tsval uint32) []byte {
	b = append(b, optMSS, 4, byte(mss>>8), byte(mss), optSACKOK, 2, optTimestamps, 10)
	b = binary.BigEndian.AppendUint32(b, tsval)
	return append(b, 0, 0, 0, 0, optNop, optWScale, 3, 7)
}

// AppendEcho appends an ICMP echo request for a socket to send, without IP
// header. The checksum of ICMPv6 is left to the kernel, which always computes
// it (RFC 3542 section 3.1).
func AppendEcho(b []byte, v6 bool, id, seq uint16, data []byte) []byte {
	start, kind := len(b), byte(TypeEchoRequest)
	if v6 {
		kind = TypeEchoRequest6
	}
	b = append(b, kind, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint16(b, seq)
	b = append(b, data...)
	if !v6 {
		putChecksum(b[start+2:], sum(b[start:], 0))
	}
	return b
}
