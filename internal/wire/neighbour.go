package wire

import (
	"encoding/binary"
	"net/netip"
)

// MAC is an Ethernet address; its zero value means "none".
type MAC [6]byte

// String writes it as ip-link(8) does, and "" for none.
func (m MAC) String() string {
	if m == (MAC{}) {
		return ""
	}
	const hex = "0123456789abcdef"
	var b [17]byte
	for i, c := range m {
		b[3*i], b[3*i+1] = hex[c>>4], hex[c&15]
		if i < 5 {
			b[3*i+2] = ':'
		}
	}
	return string(b[:])
}

// ARP is an ARP packet for IPv4 over Ethernet, RFC 826.
type ARP struct {
	Reply          bool // else a request
	Sender, Target netip.Addr
	SenderMAC      MAC
}

// Decode fills a from a packet that starts with the ARP header.
func (a *ARP) Decode(b []byte) error {
	if len(b) < 28 {
		return ErrShort
	}
	op := binary.BigEndian.Uint16(b[6:])
	if binary.BigEndian.Uint16(b[2:]) != 0x0800 || b[4] != 6 || b[5] != 4 || op != 1 && op != 2 {
		return ErrProtocol
	}
	*a = ARP{
		Reply:     op == 2,
		SenderMAC: MAC(b[8:]),
		Sender:    netip.AddrFrom4([4]byte(b[14:])),
		Target:    netip.AddrFrom4([4]byte(b[24:])),
	}
	return nil
}

// ND is a neighbour solicitation or advertisement, RFC 4861 sections 4.3 and
// 4.4.
type ND struct {
	Advert bool       // else a solicitation
	Target netip.Addr // the address asked for or announced
	// MAC is the link-layer address given as an option: the sender's in a
	// solicitation, the target's in an advertisement.
	MAC MAC
}

// Decode fills n from a decoded ICMPv6 message. The hop limit must be 255 by
// RFC 4861 section 7.1; the caller has the IP header to judge that.
func (n *ND) Decode(m *ICMP) error {
	switch {
	case !m.V6 || m.Type != TypeSolicitation6 && m.Type != TypeAdvert6:
		return ErrProtocol
	case len(m.Body) < 16:
		return ErrShort
	}
	*n = ND{Advert: m.Type == TypeAdvert6, Target: netip.AddrFrom16([16]byte(m.Body))}
	want := byte(1) // source link-layer address
	if n.Advert {
		want = 2 // target link-layer address
	}
	for o := m.Body[16:]; len(o) >= 8; {
		size := int(o[1]) * 8
		if size == 0 || size > len(o) {
			return ErrHeader
		}
		if o[0] == want && size == 8 {
			n.MAC = MAC(o[2:])
		}
		o = o[size:]
	}
	return nil
}

// AppendARPRequest appends the question who has the target, for a socket that
// adds the Ethernet header. Both addresses must be IPv4.
func AppendARPRequest(b []byte, mac MAC, sender, target netip.Addr) []byte {
	b = append(b, 0, 1, 8, 0, 6, 4, 0, 1) // Ethernet, IPv4, their lengths, request
	b = append(append(b, mac[:]...), sender.AsSlice()...)
	return append(append(b, 0, 0, 0, 0, 0, 0), target.AsSlice()...)
}

// AppendSolicitation appends a neighbour solicitation for the target with its
// IPv6 header, to the target's solicited-node address (RFC 4291 section 2.7.1).
// Both addresses must be IPv6.
func AppendSolicitation(b []byte, mac MAC, sender, target netip.Addr) []byte {
	const length = 32 // header, target, one option
	to := target.As16()
	copy(to[:], []byte{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff})
	dst := netip.AddrFrom16(to)
	b = append(b, 0x60, 0, 0, 0, 0, length, ProtoICMPv6, 255)
	b = append(append(b, sender.AsSlice()...), dst.AsSlice()...)
	start := len(b)
	b = append(b, TypeSolicitation6, 0, 0, 0, 0, 0, 0, 0)
	b = append(append(b, target.AsSlice()...), 1, 1) // source link-layer address, 8 bytes
	b = append(b, mac[:]...)
	putChecksum(b[start+2:], sum(b[start:], pseudo(sender, dst, ProtoICMPv6, length)))
	return b
}
