package decap

// UDP ports of tunnels: RFC 7348, what Linux used before it, RFC 8926.
const (
	portVXLAN      = 4789
	portVXLANLinux = 8472
	portGeneve     = 6081
)

// tunnel reads GRE (RFC 2784, 2890) and IP in IP.
func (p *Packet) tunnel(b []byte, proto uint8, orig int) Kind {
	p.Tunnelled = true
	if p.L4 > p.End {
		return p.short(b, orig)
	}
	b = b[:p.End]
	switch proto {
	case protoIPv4:
		return p.ipv4(b, p.L4, orig)
	case protoIPv6:
		return p.ipv6(b, p.L4, orig)
	}
	if p.L4+4 > p.End {
		return p.short(b, orig)
	}
	flags, t := be16(b[p.L4:]), be16(b[p.L4+2:])
	const checksum, routing, key, sequence, version = 0x8000, 0x4000, 0x2000, 0x1000, 7
	if flags&(version|routing) != 0 {
		return Other
	}
	off := p.L4 + 4
	for _, f := range [...]uint16{checksum, key, sequence} {
		if flags&f != 0 {
			off += 4
		}
	}
	if t == etherBridge {
		return p.ethernet(b, off, orig)
	}
	return p.etherType(b, t, off, orig)
}

func (p *Packet) vxlan(b []byte, orig int) Kind {
	off := p.Payload
	if off+8 > p.End {
		return short(b, orig)
	}
	if b[off]&8 == 0 { // no valid network identifier: something else
		return Other
	}
	p.Tunnelled = true
	return p.ethernet(b[:p.End], off+8, orig)
}

func (p *Packet) geneve(b []byte, orig int) Kind {
	off := p.Payload
	if off+8 > p.End {
		return short(b, orig)
	}
	if b[off]>>6 != 0 {
		return Other
	}
	t := be16(b[off+2:])
	p.Tunnelled = true
	off += 8 + int(b[off]&0x3f)*4
	if t == etherBridge {
		return p.ethernet(b[:p.End], off, orig)
	}
	return p.etherType(b[:p.End], t, off, orig)
}
