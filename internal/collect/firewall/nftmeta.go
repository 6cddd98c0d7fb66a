package firewall

import (
	"encoding/binary"

	"github.com/tcpwhy/tcpwhy/internal/nft"
)

func native16(n uint16) value { return exact(binary.NativeEndian.AppendUint16(nil, n)) }
func native32(n uint32) value { return exact(binary.NativeEndian.AppendUint32(nil, n)) }

// meta is what the kernel knows of the packet; nft_meta.c.
func (x *nftRule) meta(m run, e *nft.Meta) []run {
	if e.Src >= 0 {
		if e.Key == nft.MetaMark {
			m.mark = markOf(m.regs.load(e.Src, 4))
			x.w.remark(&m.packet)
		}
		return []run{m}
	}
	if (e.Key == nft.MetaSkuid || e.Key == nft.MetaSkgid) && e.Dst >= 0 {
		// Without a socket the rule ends.
		m.regs.store(e.Dst, unknown(4, nft.ExprText(e)))
		return x.match(m, maybe, nft.ExprText(e))
	}
	m.regs.store(e.Dst, x.w.metaValue(&m.packet, e))
	return []run{m}
}

// remark: a local packet whose mark changes is routed anew, perhaps elsewhere.
func (w *walker) remark(p *packet) {
	if p.noIn {
		p.out = ""
	}
}

func (w *walker) metaValue(p *packet, e *nft.Meta) value {
	const (
		tcp                    = 6
		ipv4, ipv6             = 2, 10 // NFPROTO_*
		etherIPv4, etherIPv6   = 0x0800, 0x86dd
		host                   = 0 // PACKET_HOST
		ifNameSize, kindLength = 16, 16
	)
	switch e.Key {
	case nft.MetaProtocol:
		if p.v6 {
			return exact(binary.BigEndian.AppendUint16(nil, etherIPv6))
		}
		return exact(binary.BigEndian.AppendUint16(nil, etherIPv4))
	case nft.MetaNfproto:
		if p.v6 {
			return exact([]byte{ipv6})
		}
		return exact([]byte{ipv4})
	case nft.MetaL4proto:
		return exact([]byte{tcp})
	case nft.MetaMark:
		return p.mark.value(whyMark)
	case nft.MetaPkttype:
		if p.noIn {
			return unknown(1, nft.ExprText(e))
		}
		return exact([]byte{host})
	case nft.MetaIif, nft.MetaOif, nft.MetaIifname, nft.MetaOifname, nft.MetaIiftype, nft.MetaOiftype:
		return w.iface(p, e.Key)
	}
	return unknown(16, nft.ExprText(e))
}

// iface is a property of the interface in or out; where there is none, zeros.
func (w *walker) iface(p *packet, key int) value {
	name, none, why := p.in, p.noIn, whyIn
	switch key {
	case nft.MetaOif, nft.MetaOifname, nft.MetaOiftype:
		name, none, why = p.out, p.noOut, whyOut
	}
	n := 16
	switch key {
	case nft.MetaIif, nft.MetaOif:
		n = 4
	case nft.MetaIiftype, nft.MetaOiftype:
		n = 2
	}
	switch {
	case none && n == 2:
		return unknown(n, why) // the rule ends
	case none:
		return exact(make([]byte, n))
	case name == "":
		return unknown(n, why)
	case n == 16:
		b := make([]byte, n)
		copy(b, name)
		return exact(b)
	}
	l := w.world.link(name)
	if l == nil {
		return unknown(n, why)
	}
	if n == 4 {
		return native32(uint32(l.Index))
	}
	const ether, loopback = 1, 772 // ARPHRD_*
	switch {
	case l.Loopback:
		return native16(loopback)
	case l.Ethernet:
		return native16(ether)
	}
	return unknown(n, "the type of the interface "+nft.Printable(name))
}

// ct is what connection tracking knows; nft_ct.c.
func (x *nftRule) ct(m run, e *nft.Ct) []run {
	if e.Src >= 0 {
		if e.Key == nft.CtMark && (m.track == trackNew || m.track == trackReply) {
			m.ctMark = markOf(m.regs.load(e.Src, 4))
		}
		return []run{m}
	}
	if e.Key == nft.CtState {
		m.regs.store(e.Dst, m.states())
		return []run{m}
	}
	switch m.track {
	case trackNew, trackReply:
	case trackNone:
		if m.in == "lo" || m.in == "" && !m.noIn {
			return x.unknownCt(m, e)
		}
		return x.match(m, no, "")
	case trackAny:
		return x.unknownCt(m, e)
	default: // the rule ends for a packet of no connection
		return x.match(m, no, "")
	}
	if v, ok := x.w.ctValue(&m.packet, e); ok {
		m.regs.store(e.Dst, v)
		return []run{m}
	}
	return x.unknownCt(m, e)
}

func (x *nftRule) unknownCt(m run, e *nft.Ct) []run {
	m.regs.store(e.Dst, unknown(16, nft.ExprText(e)))
	return x.match(m, maybe, nft.ExprText(e))
}

func (w *walker) ctValue(p *packet, e *nft.Ct) (value, bool) {
	const dnat, snat = 1 << 5, 1 << 4 // IPS_DST_NAT, IPS_SRC_NAT
	switch e.Key {
	case nft.CtDirection:
		if p.synAck {
			return exact([]byte{1}), true
		}
		return exact([]byte{0}), true
	case nft.CtMark:
		return p.ctMark.value("the mark of the connection"), true
	case nft.CtStatus:
		if p.synAck {
			return value{}, false
		}
		// A new connection is not confirmed, assured, seen to be answered.
		v := mark{known: 0xf | dnat}
		if p.nat.IsValid() {
			v.v |= dnat
		}
		return v.value("the state of the connection"), true
	}
	return value{}, false
}

// fib asks the routing tables; nft_fib_ipv4.c, nft_fib_ipv6.c.
func (w *walker) fib(p *packet, e *nft.Fib) value {
	n := 4
	if e.Result == nft.FibOifname && e.Flags&nft.FibPresent == 0 {
		n = 16
	}
	a, why := p.dst, p.side(whyDst, whySrc)
	if e.Flags&nft.FibSaddr != 0 {
		a, why = p.src, p.side(whySrc, "the server's address")
	}
	if a.IsValid() {
		why = nft.ExprText(e)
	}
	dev, devKnown := p.in, p.in != ""
	if e.Flags&nft.FibOifFlag != 0 {
		dev, devKnown = p.out, p.out != ""
	}
	restricted := e.Flags&(nft.FibIif|nft.FibOifFlag) != 0
	if restricted && !devKnown {
		return unknown(n, why)
	}
	if e.Result == nft.FibAddrtype {
		kind, ok := w.world.addrType(a, restricted, dev)
		if !ok {
			return unknown(n, why)
		}
		return native32(kind)
	}
	// The reverse path: exact where the route leads back by that interface.
	f := w.world.find(a)
	if dev == "lo" && e.Flags&nft.FibIif != 0 {
		f = nil
	}
	if f == nil || f.Type != "unicast" || f.Errno != "" || restricted && w.world.name(f.Link) != dev || e.Flags&nft.FibMark != 0 && p.mark.is(0, 0xffffffff) != yes {
		return unknown(n, why)
	}
	switch {
	case e.Flags&nft.FibPresent != 0:
		return native32(1)
	case n == 16:
		b := make([]byte, n)
		copy(b, w.world.name(f.Link))
		return exact(b)
	}
	return native32(uint32(f.Link))
}
