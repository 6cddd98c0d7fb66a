package wire

import (
	"encoding/binary"
	"net/netip"
)

// The ICMP types that have a meaning here: RFC 792, RFC 4443, RFC 4861. Those
// of ICMPv6 have the suffix 6.
const (
	TypeEchoReply    = 0
	TypeUnreachable  = 3
	TypeEchoRequest  = 8
	TypeTimeExceeded = 11
	TypeParameter    = 12

	TypeUnreachable6  = 1
	TypeTooBig6       = 2
	TypeTimeExceeded6 = 3
	TypeParameter6    = 4
	TypeEchoRequest6  = 128
	TypeEchoReply6    = 129
	TypeSolicitation6 = 135
	TypeAdvert6       = 136

	// CodeFragNeeded is the code of TypeUnreachable that carries an MTU.
	CodeFragNeeded = 4
)

// ICMP is a decoded ICMP or ICMPv6 message.
type ICMP struct {
	V6         bool
	Type, Code uint8
	// ID and Seq are those of an echo request or reply.
	ID, Seq uint16
	// MTU is the next hop's, of "fragmentation needed" and "packet too big";
	// 0 when not given.
	MTU int
	// Body is what follows the 8 bytes of header: the packet quoted by an
	// error, the data of an echo.
	Body []byte
}

// Decode fills m from the payload of an IP packet whose protocol is ICMP or
// ICMPv6.
func (m *ICMP) Decode(ip *IP) error {
	b := ip.Payload
	switch {
	case ip.Proto != ProtoICMP && ip.Proto != ProtoICMPv6:
		return ErrProtocol
	case len(b) < 8:
		return ErrShort
	}
	*m = ICMP{V6: ip.Proto == ProtoICMPv6, Type: b[0], Code: b[1], Body: b[8:]}
	switch {
	case m.IsEcho():
		m.ID, m.Seq = binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	case m.V6 && m.Type == TypeTooBig6:
		m.MTU = int(min(binary.BigEndian.Uint32(b[4:]), 1<<30))
	case !m.V6 && m.Type == TypeUnreachable && m.Code == CodeFragNeeded:
		m.MTU = int(binary.BigEndian.Uint16(b[6:]))
	}
	return nil
}

// IsError tells whether the message reports what became of a packet, and so
// quotes it.
func (m *ICMP) IsError() bool {
	if m.V6 {
		return m.Type >= TypeUnreachable6 && m.Type <= TypeParameter6
	}
	return m.Type == TypeUnreachable || m.Type == TypeTimeExceeded || m.Type == TypeParameter
}

// IsExceeded tells whether the packet died of its TTL on the way: time
// exceeded with code 0; code 1 is about reassembly.
func (m *ICMP) IsExceeded() bool {
	if m.V6 {
		return m.Type == TypeTimeExceeded6 && m.Code == 0
	}
	return m.Type == TypeTimeExceeded && m.Code == 0
}

// IsEcho tells whether the message is an echo request or reply.
func (m *ICMP) IsEcho() bool {
	if m.V6 {
		return m.Type == TypeEchoRequest6 || m.Type == TypeEchoReply6
	}
	return m.Type == TypeEchoRequest || m.Type == TypeEchoReply
}

// IsEchoReply tells whether the message is an echo reply.
func (m *ICMP) IsEchoReply() bool {
	return m.V6 && m.Type == TypeEchoReply6 || !m.V6 && m.Type == TypeEchoReply
}

// ChecksumFits verifies the checksum of the ICMP message in ip. It is true
// also when the message is not there as a whole, and so cannot be verified.
func (m *ICMP) ChecksumFits(ip *IP) bool {
	if ip.Fragment || ip.Len != len(ip.Payload) {
		return true
	}
	var s uint32
	if m.V6 {
		s = pseudo(ip.Src, ip.Dst, ProtoICMPv6, len(ip.Payload))
	}
	return fold(sum(ip.Payload, s)) == 0xffff
}

// Quoted is a TCP segment as an ICMP error quotes it: RFC 792 promises 8 bytes
// of it, routers of today give more.
type Quoted struct {
	IP               IP
	SrcPort, DstPort uint16
	Seq              uint32
}

// Decode fills q from the body of an ICMP error. It needs the IP header and 8
// bytes of TCP.
func (q *Quoted) Decode(b []byte) error {
	if err := q.IP.Decode(b); err != nil {
		return err
	}
	t := q.IP.Payload
	switch {
	case q.IP.Proto != ProtoTCP:
		return ErrProtocol
	case len(t) < 8:
		return ErrShort
	}
	q.SrcPort = binary.BigEndian.Uint16(t)
	q.DstPort = binary.BigEndian.Uint16(t[2:])
	q.Seq = binary.BigEndian.Uint32(t[4:])
	return nil
}

// Src is where the quoted packet came from: its sender's side.
func (q *Quoted) Src() netip.AddrPort { return netip.AddrPortFrom(q.IP.Src, q.SrcPort) }

// Dst is where the quoted packet was going.
func (q *Quoted) Dst() netip.AddrPort { return netip.AddrPortFrom(q.IP.Dst, q.DstPort) }
