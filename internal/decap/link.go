package decap

// The link types that are read, by their LINKTYPE_ number.
const (
	LinkNull      = 0
	LinkEthernet  = 1
	LinkPPP       = 9
	LinkRaw       = 101
	LinkRawBSD    = 12 // DLT_RAW as some systems write it
	LinkRawOpen   = 14 // and OpenBSD
	LinkPPPSerial = 50
	LinkPPPEther  = 51
	LinkCHDLC     = 104
	Link80211     = 105
	LinkLoop      = 108
	LinkSLL       = 113
	LinkRadiotap  = 127
	LinkIPv4      = 228
	LinkIPv6      = 229
	LinkNFLOG     = 239
	LinkSLL2      = 276
)

// EtherTypes.
const (
	etherIPv4   = 0x0800
	etherIPv6   = 0x86dd
	etherBridge = 0x6558 // Ethernet in GRE or Geneve
	etherVLAN   = 0x8100
	etherQinQ   = 0x88a8
	etherQinQ2  = 0x9100 // before 802.1ad
	etherMPLS   = 0x8847
	etherMPLSM  = 0x8848
	etherPPPoE  = 0x8864
)

func (p *Packet) link(link uint16, b []byte, orig int) Kind {
	switch link {
	case LinkEthernet:
		return p.ethernet(b, 0, orig)
	case LinkSLL:
		if len(b) < 16 {
			return short(b, orig)
		}
		p.Dir = packetType(be16(b))
		return p.etherType(b, be16(b[14:]), 16, orig)
	case LinkSLL2:
		if len(b) < 20 {
			return short(b, orig)
		}
		p.Dir = packetType(uint16(b[10]))
		return p.etherType(b, be16(b), 20, orig)
	case LinkRaw, LinkRawBSD, LinkRawOpen, LinkIPv4, LinkIPv6:
		return p.ip(b, 0, orig)
	case LinkNull, LinkLoop:
		return p.loopback(b, orig)
	case LinkPPP:
		return p.ppp(b, 0, orig)
	case LinkPPPSerial:
		if len(b) >= 4 && (b[0] == 0x0f || b[0] == 0x8f) { // Cisco HDLC under this number
			return p.etherType(b, be16(b[2:]), 4, orig)
		}
		return p.ppp(b, 0, orig)
	case LinkPPPEther:
		return p.pppoe(b, 0, orig)
	case LinkCHDLC:
		if len(b) < 4 {
			return short(b, orig)
		}
		return p.etherType(b, be16(b[2:]), 4, orig)
	case Link80211:
		return p.wifi(b, 0, false, orig)
	case LinkRadiotap:
		return p.radiotap(b, orig)
	case LinkNFLOG:
		return p.nflog(b, orig)
	}
	return UnknownLink
}

// packetType reads sll_pkttype, packet(7).
func packetType(t uint16) Direction {
	switch t {
	case 0, 1, 2:
		return Incoming
	case 4:
		return Outgoing
	}
	return Unknown
}

func (p *Packet) ethernet(b []byte, off, orig int) Kind {
	if off+14 > len(b) {
		return short(b, orig)
	}
	t := be16(b[off+12:])
	if t <= 1500 { // a length: IEEE 802.3
		return p.llc(b, off+14, orig)
	}
	return p.etherType(b, t, off+14, orig)
}

// llc reads SNAP (RFC 1042), which says the EtherType.
func (p *Packet) llc(b []byte, off, orig int) Kind {
	if off+8 > len(b) {
		return short(b, orig)
	}
	if b[off] != 0xaa || b[off+1] != 0xaa || b[off+2] != 3 {
		return Other
	}
	return p.etherType(b, be16(b[off+6:]), off+8, orig)
}

// maxTags bounds VLAN tags, and labels of MPLS.
const maxTags = 8

// etherType reads what follows an EtherType at off.
func (p *Packet) etherType(b []byte, t uint16, off, orig int) Kind {
	for range maxTags {
		switch t {
		case etherIPv4:
			return p.ipv4(b, off, orig)
		case etherIPv6:
			return p.ipv6(b, off, orig)
		case etherVLAN, etherQinQ, etherQinQ2:
			if off+4 > len(b) {
				return short(b, orig)
			}
			t = be16(b[off+2:])
			off += 4
			if t <= 1500 {
				return p.llc(b, off, orig)
			}
		case etherMPLS, etherMPLSM:
			return p.mpls(b, off, orig)
		case etherPPPoE:
			return p.pppoe(b, off, orig)
		default:
			return Other
		}
	}
	return Other
}

// mpls reads RFC 3032; what the labels carry shows only by its first bits.
func (p *Packet) mpls(b []byte, off, orig int) Kind {
	for range maxTags {
		if off+4 > len(b) {
			return short(b, orig)
		}
		bottom := b[off+2]&1 != 0
		off += 4
		if !bottom {
			continue
		}
		if off >= len(b) {
			return short(b, orig)
		}
		if v := b[off] >> 4; v != 4 && v != 6 {
			return Other // a pseudowire
		}
		return p.ip(b, off, orig)
	}
	return Other
}

// pppoe reads the session packets of RFC 2516.
func (p *Packet) pppoe(b []byte, off, orig int) Kind {
	if off+6 > len(b) {
		return short(b, orig)
	}
	if b[off] != 0x11 || b[off+1] != 0 {
		return Other
	}
	return p.ppp(b, off+6, orig)
}

// ppp reads RFC 1661 with the framing of RFC 1662, either compressed or not.
func (p *Packet) ppp(b []byte, off, orig int) Kind {
	if off+2 <= len(b) && b[off] == 0xff && b[off+1] == 3 {
		off += 2
	}
	if off+2 > len(b) {
		return short(b, orig)
	}
	proto := uint16(b[off])
	off++
	if proto&1 == 0 {
		proto = proto<<8 | uint16(b[off])
		off++
	}
	switch proto {
	case 0x0021:
		return p.ipv4(b, off, orig)
	case 0x0057:
		return p.ipv6(b, off, orig)
	case 0x0281, 0x0283:
		return p.mpls(b, off, orig)
	}
	return Other
}

// loopback reads the address family of BSD, which is in the byte order of the
// host for NULL. Its numbers are small, so that the order shows.
func (p *Packet) loopback(b []byte, orig int) Kind {
	if len(b) < 4 {
		return short(b, orig)
	}
	family := le32(b)
	if family > 0xffff {
		family = be32(b)
	}
	switch family {
	case 2:
		return p.ipv4(b, 4, orig)
	case 10, 24, 28, 30: // Linux; NetBSD and OpenBSD; FreeBSD; macOS
		return p.ipv6(b, 4, orig)
	}
	return Other
}

// wifi reads plain data frames of IEEE 802.11; pad says that the header is
// padded to 4 bytes.
func (p *Packet) wifi(b []byte, off int, pad bool, orig int) Kind {
	if off+2 > len(b) {
		return short(b, orig)
	}
	control := le16(b[off:])
	const data, kind, noData, qos, toAndFrom, protected, order = 0x08, 0x0c, 0x40, 0x80, 0x0300, 0x4000, 0x8000
	if control&kind != data || control&(noData|protected) != 0 {
		return Other // management, control, empty, encrypted
	}
	n := 24
	if control&toAndFrom == toAndFrom {
		n += 6
	}
	if control&qos != 0 {
		if off+n+2 > len(b) {
			return short(b, orig)
		}
		if b[off+n]&0x80 != 0 {
			return Other // several frames in one
		}
		n += 2
		if control&order != 0 {
			n += 4
		}
	}
	if pad {
		n = (n + 3) &^ 3
	}
	return p.llc(b, off+n, orig)
}

// radiotap skips the header that https://www.radiotap.org describes.
func (p *Packet) radiotap(b []byte, orig int) Kind {
	if len(b) < 8 {
		return short(b, orig)
	}
	n := int(le16(b[2:]))
	if n < 8 {
		return Malformed
	}
	if n > len(b) {
		return short(b, orig)
	}
	present := le32(b[4:])
	const tsft, flags, more = 1, 2, 1 << 31
	pad := false
	if present&flags != 0 && present&more == 0 {
		at := 8
		if present&tsft != 0 {
			at += 8
		}
		pad = at < n && b[at]&0x20 != 0
	}
	return p.wifi(b, n, pad, orig)
}

// nflog reads https://www.tcpdump.org/linktypes/LINKTYPE_NFLOG.html. The
// attributes are in the byte order of the host; little-endian is assumed.
func (p *Packet) nflog(b []byte, orig int) Kind {
	const payload = 9
	if len(b) < 4 {
		return short(b, orig)
	}
	for off := 4; off+4 <= len(b); {
		n := int(le16(b[off:]))
		if n < 4 {
			return Malformed
		}
		if le16(b[off+2:])&0x7fff == payload {
			return p.ip(b, off+4, orig)
		}
		off += (n + 3) &^ 3
	}
	return short(b, orig)
}
