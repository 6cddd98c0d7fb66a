package firewall

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/nft"
)

// write is stateless NAT: a rule that writes an address or a port.
func (x *nftRule) write(m *run, e *nft.Payload, transport bool) {
	v := m.regs.load(e.Src, e.Len)
	touches := func(from, n int) bool { return e.Offset < from+n && from < e.Offset+e.Len }
	port := func(from int, now int) int {
		switch {
		case !touches(from, 2):
			return now
		case e.Offset == from && e.Len == 2 && v.whole():
			return int(binary.BigEndian.Uint16(v.b))
		}
		return -1
	}
	if transport {
		m.sport, m.dport = port(0, m.sport), port(2, m.dport)
		return
	}
	n, src := 4, 12
	if m.v6 {
		n, src = 16, 8
	}
	addr := func(from int, now netip.Addr) netip.Addr {
		switch {
		case !touches(from, n):
			return now
		case e.Offset == from && e.Len == n && v.whole():
			a, _ := netip.AddrFromSlice(v.b)
			return a
		}
		return netip.Addr{}
	}
	m.src = addr(src, m.src)
	if dst := addr(src+n, m.dst); dst != m.dst {
		m.dst, m.local = dst, maybe
		if dst.IsValid() {
			m.local = x.w.world.isLocal(dst)
		}
	}
}

// translate is NAT; in the kernel it accepts the packet.
func (x *nftRule) translate(m run, e nft.Expr) []run {
	switch e := e.(type) {
	case *nft.Redirect:
		x.w.setDestination(x.r, &m.packet, destination{addr: x.w.world.redirected(m.packet), port: x.port(&m, e.PortMin, e.PortMax), keepPort: e.PortMin < 0, self: true})
	case *nft.Masquerade:
		m.src, m.sport, m.snatDone = netip.Addr{}, -1, true
	case *nft.Translate:
		if !e.Dest {
			m.src, m.sport, m.snatDone = netip.Addr{}, -1, true
			break
		}
		to := destination{port: x.port(&m, e.PortMin, e.PortMax), keepPort: e.PortMin < 0}
		const netmap = 1 << 6 // NF_NAT_RANGE_NETMAP
		switch {
		case e.AddrMin < 0:
			to.addr = m.dst
		case e.Flags&netmap == 0:
			to.addr = x.address(&m, e)
		}
		x.w.setDestination(x.r, &m.packet, to)
	}
	x.leave(m, branch{do: doAccept})
	return nil
}

// port is the port in the registers, -1 where there is a choice or it is not
// known.
func (x *nftRule) port(m *run, lo, hi int) int {
	if lo < 0 {
		return -1
	}
	v := m.regs.load(lo, 2)
	if !v.whole() || hi >= 0 && !slices.Equal(m.regs.load(hi, 2).b, v.b) {
		return -1
	}
	return int(binary.BigEndian.Uint16(v.b))
}

func (x *nftRule) address(m *run, e *nft.Translate) netip.Addr {
	n := 4
	if m.v6 {
		n = 16
	}
	v := m.regs.load(e.AddrMin, n)
	if !v.whole() || e.AddrMax >= 0 && (!m.regs.load(e.AddrMax, n).whole() || !slices.Equal(m.regs.load(e.AddrMax, n).b, v.b)) {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(v.b)
	return a
}
