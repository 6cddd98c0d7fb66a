package xtables

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
)

// The matches that are understood, decoded from an Extension by Match. Ports are
// inclusive ranges.
type (
	// TCP is "-m tcp", struct xt_tcp.
	TCP struct {
		Src, Dst       [2]uint16
		NotSrc, NotDst bool
		Mask, Flags    uint8
		NotFlags       bool
		Option         uint8 // 0: none
		NotOption      bool
	}
	// Multiport is "-m multiport", struct xt_multiport_v1.
	Multiport struct {
		Src, Dst bool // both: either of the two
		Ranges   [][2]uint16
		Not      bool
	}
	// Conntrack is "-m conntrack" and "-m state". Flags and Inverted are
	// XT_CONNTRACK_*; of what is not decoded here a flag in Flags tells.
	Conntrack struct {
		Flags, Inverted  uint16
		State, Status    uint16
		OrigSrc, OrigDst Network
		OrigDstPorts     [2]uint16
		Alias            bool // "-m state"
	}
	// Limit is "-m limit": one packet in Avg/10000 seconds.
	Limit struct{ Avg, Burst uint32 }
	// AddrType is "-m addrtype": sets of route types, 1 << RTN_*.
	AddrType struct {
		Src, Dst          uint16
		NotSrc, NotDst    bool
		IfaceIn, IfaceOut bool
	}
	// Comment is "-m comment".
	Comment struct{ Text string }
	// Mark is "-m mark" and, with Conn, "-m connmark".
	Mark struct {
		Mark, Mask uint32
		Not, Conn  bool
	}
	// IPRange is "-m iprange"; zero addresses where it does not look.
	IPRange struct {
		Src, Dst       [2]netip.Addr
		NotSrc, NotDst bool
	}
)

// The targets that are understood, decoded from an Extension by Action.
type (
	// Reject is "-j REJECT".
	Reject struct{ With string }
	// NAT is "-j DNAT" (Dest), "-j SNAT", "-j REDIRECT" and "-j MASQUERADE";
	// the last two have no addresses. Ports of 0 stay as they are.
	NAT struct {
		Dest, ToSelf bool
		Addrs        [2]netip.Addr
		Ports        [2]uint16
		Flags        uint32 // NF_NAT_RANGE_*
	}
	// SetMark is "-j MARK": the mark becomes (mark &^ Mask) ^ Mark.
	SetMark struct{ Mark, Mask uint32 }
	// ConnMark is "-j CONNMARK", struct xt_connmark_tginfo1.
	ConnMark struct {
		Mark, Mask, NFMask uint32
		Mode               uint8 // XT_CONNMARK_SET, _SAVE or _RESTORE
	}
	// NoTrack is "-j NOTRACK" and "-j CT --notrack".
	NoTrack struct{ Alias bool }
	// Log is "-j LOG".
	Log struct {
		Prefix       string
		Level, Flags uint8
	}
	// GroupLog is "-j NFLOG".
	GroupLog struct {
		Prefix string
		Group  uint16
	}
	// Pass is a target that lets the packet go on as it is, as far as filters
	// are concerned: "-j TCPMSS", "-j TTL".
	Pass struct{}
)

// Flags of Conntrack, XT_CONNTRACK_*.
const (
	ConntrackState       = 1 << 0
	ConntrackOrigSrc     = 1 << 2
	ConntrackOrigDst     = 1 << 3
	ConntrackStatus      = 1 << 6
	ConntrackOrigDstPort = 1 << 9
	ConntrackDirection   = 1 << 12
	conntrackAlias       = 1 << 13
)

// States of Conntrack, XT_CONNTRACK_STATE_*.
const (
	StateInvalid     = 1 << 0
	StateEstablished = 1 << 1
	StateRelated     = 1 << 2
	StateNew         = 1 << 3
	StateSNAT        = 1 << 6
	StateDNAT        = 1 << 7
	StateUntracked   = 1 << 8
)

// Flags of NAT, NF_NAT_RANGE_*.
const (
	RangeAddrs  = 1 << 0
	RangePorts  = 1 << 1
	RangeRandom = 1 << 2
	RangeSticky = 1 << 3
	RangeFully  = 1 << 4
	RangeOffset = 1 << 5
	RangeNetmap = 1 << 6
)

// Modes of ConnMark.
const (
	ConnMarkSet = iota
	ConnMarkSave
	ConnMarkRestore
)

// fields reads numbers of a blob; beyond its end there are zeros, as the kernel
// leaves out what it keeps for itself.
type fields []byte

func (b fields) u8(at int) uint8 {
	if at >= len(b) {
		return 0
	}
	return b[at]
}
func (b fields) u16(at int) uint16 {
	if at+2 > len(b) {
		return 0
	}
	return binary.NativeEndian.Uint16(b[at:])
}
func (b fields) be16(at int) uint16 {
	if at+2 > len(b) {
		return 0
	}
	return binary.BigEndian.Uint16(b[at:])
}
func (b fields) u32(at int) uint32 {
	if at+4 > len(b) {
		return 0
	}
	return binary.NativeEndian.Uint32(b[at:])
}
func (b fields) ports(at int) [2]uint16   { return [2]uint16{b.u16(at), b.u16(at + 2)} }
func (b fields) bePorts(at int) [2]uint16 { return [2]uint16{b.be16(at), b.be16(at + 2)} }

// addr is a union nf_inet_addr.
func (b fields) addr(f Family, at int) netip.Addr {
	n := 4
	if f == IPv6 {
		n = 16
	}
	if at+n > len(b) {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(b[at : at+n])
	return a
}

// Match decodes a match: to one of the types above, or nil.
func Match(f Family, x Extension) any {
	b := fields(x.Info)
	switch x.Name {
	case "tcp":
		if len(b) < 12 {
			return nil
		}
		inv := b.u8(11)
		return &TCP{Src: b.ports(0), Dst: b.ports(4), Option: b.u8(8), Mask: b.u8(9), Flags: b.u8(10),
			NotSrc: inv&1 != 0, NotDst: inv&2 != 0, NotFlags: inv&4 != 0, NotOption: inv&8 != 0}
	case "multiport":
		return multiport(x.Revision, b)
	case "conntrack":
		return conntrack(f, x.Revision, b)
	case "state":
		if len(b) < 4 {
			return nil
		}
		state := uint16(b.u32(0))
		if state&(1<<6) != 0 { // XT_STATE_UNTRACKED
			state = state&^(1<<6) | StateUntracked
		}
		return &Conntrack{Flags: ConntrackState, State: state, Alias: true}
	case "limit":
		return &Limit{Avg: b.u32(0), Burst: b.u32(4)}
	case "addrtype":
		if len(b) < 8 {
			return nil
		}
		a := &AddrType{Src: b.u16(0), Dst: b.u16(2)}
		if x.Revision == 0 {
			a.NotSrc, a.NotDst = b.u32(4) != 0, b.u32(8) != 0
			return a
		}
		flags := b.u32(4)
		a.NotSrc, a.NotDst, a.IfaceIn, a.IfaceOut = flags&1 != 0, flags&2 != 0, flags&4 != 0, flags&8 != 0
		return a
	case "comment":
		return &Comment{cstring(b)}
	case "mark", "connmark":
		if x.Revision != 1 || len(b) < 9 {
			return nil
		}
		return &Mark{Mark: b.u32(0), Mask: b.u32(4), Not: b.u8(8) != 0, Conn: x.Name == "connmark"}
	case "iprange":
		return iprange(f, x.Revision, b)
	}
	return nil
}

func multiport(revision int, b fields) any {
	const most = 15 // XT_MULTI_PORTS
	n := int(b.u8(1))
	if revision > 1 || n > most || len(b) < 32 {
		return nil
	}
	m := &Multiport{Src: b.u8(0) != 1, Dst: b.u8(0) != 0}
	for i := 0; i < n; i++ {
		r := [2]uint16{b.u16(2 + 2*i), b.u16(2 + 2*i)}
		if revision == 1 && b.u8(32+i) != 0 && i+1 < n { // this one and the next are a range
			i++
			r[1] = b.u16(2 + 2*i)
		}
		m.Ranges = append(m.Ranges, r)
	}
	m.Not = revision == 1 && b.u8(47) != 0
	return m
}

func conntrack(f Family, revision int, b fields) any {
	// struct xt_conntrack_mtinfo1 to 3: eight addresses of 16 bytes, then numbers.
	const expires, l4proto = 128, 136
	if revision < 1 || revision > 3 || len(b) < l4proto+16 {
		return nil
	}
	c := &Conntrack{
		OrigSrc: Network{Addr: b.addr(f, 0), Mask: b.addr(f, 16)},
		OrigDst: Network{Addr: b.addr(f, 32), Mask: b.addr(f, 48)},
		Flags:   b.u16(l4proto + 10), Inverted: b.u16(l4proto + 12),
	}
	switch revision {
	case 1:
		c.State, c.Status = uint16(b.u8(l4proto+14)), uint16(b.u8(l4proto+15))
	default:
		c.State, c.Status = b.u16(l4proto+14), b.u16(l4proto+16)
	}
	if revision == 3 { // ports in the host's order, with upper ends
		c.OrigDstPorts = [2]uint16{b.u16(l4proto + 4), b.u16(l4proto + 20)}
	} else {
		p := b.be16(l4proto + 4)
		c.OrigDstPorts = [2]uint16{p, p}
	}
	c.Alias, c.Flags = c.Flags&conntrackAlias != 0, c.Flags&^conntrackAlias
	return c
}

func iprange(f Family, revision int, b fields) any {
	if revision != 1 || len(b) < 65 {
		return nil
	}
	flags := b.u8(64)
	r := &IPRange{NotSrc: flags&0x10 != 0, NotDst: flags&0x20 != 0}
	if flags&1 != 0 {
		r.Src = [2]netip.Addr{b.addr(f, 0), b.addr(f, 16)}
	}
	if flags&2 != 0 {
		r.Dst = [2]netip.Addr{b.addr(f, 32), b.addr(f, 48)}
	}
	return r
}

// rejects by number: enum ipt_reject_with and ip6t_reject_with.
var rejects = map[Family][]string{
	IPv4: {"icmp-net-unreachable", "icmp-host-unreachable", "icmp-proto-unreachable", "icmp-port-unreachable", "echo-reply", "icmp-net-prohibited", "icmp-host-prohibited", "tcp-reset", "icmp-admin-prohibited"},
	IPv6: {"icmp6-no-route", "icmp6-adm-prohibited", "icmp6-not-neighbour", "icmp6-addr-unreachable", "icmp6-port-unreachable", "echo-reply", "tcp-reset", "icmp6-policy-fail", "icmp6-reject-route"},
}

// passes are targets that end nothing and change nothing that filters look at.
var passes = []string{
	"AUDIT", "CHECKSUM", "CLASSIFY", "CONNSECMARK", "DSCP", "ECN", "HL", "IDLETIMER", "LED",
	"RATEEST", "SECMARK", "TCPMSS", "TCPOPTSTRIP", "TEE", "TOS", "TRACE", "TTL",
}

// Action decodes a target: to one of the types above, or nil.
func Action(f Family, x Extension) any {
	b := fields(x.Info)
	switch x.Name {
	case "REJECT":
		if n := int(b.u32(0)); len(b) >= 4 && n < len(rejects[f]) {
			return &Reject{rejects[f][n]}
		}
		return nil
	case "DNAT", "SNAT", "REDIRECT", "MASQUERADE":
		return nat(f, x, b)
	case "MARK":
		if x.Revision != 2 || len(b) < 8 {
			return nil
		}
		return &SetMark{b.u32(0), b.u32(4)}
	case "CONNMARK":
		switch {
		case x.Revision == 1 && len(b) >= 13:
			return &ConnMark{b.u32(0), b.u32(4), b.u32(8), b.u8(12)}
		case x.Revision == 2 && len(b) >= 15 && b.u8(13) == 0: // no shift
			return &ConnMark{b.u32(0), b.u32(4), b.u32(8), b.u8(14)}
		}
		return nil
	case "NOTRACK":
		return &NoTrack{Alias: true}
	case "CT":
		if b.u16(0)&1 != 0 { // XT_CT_NOTRACK
			return &NoTrack{Alias: b.u16(0)&2 != 0} // XT_CT_NOTRACK_ALIAS
		}
		return nil // a zone, a helper: another connection may be found
	case "LOG":
		if len(b) < 32 {
			return &Log{Level: 4}
		}
		return &Log{Level: b.u8(0), Flags: b.u8(1), Prefix: cstring(b[2:32])}
	}
	if x.Name == "NFLOG" {
		return &GroupLog{Prefix: cstring(b[min(12, len(b)):]), Group: b.u16(4)}
	}
	if slices.Contains(passes, x.Name) {
		return &Pass{}
	}
	return nil
}

func nat(f Family, x Extension, b fields) any {
	n := &NAT{Dest: x.Name == "DNAT" || x.Name == "REDIRECT", ToSelf: x.Name == "REDIRECT" || x.Name == "MASQUERADE"}
	switch {
	case f == IPv4 && x.Revision == 0: // struct nf_nat_ipv4_multi_range_compat
		if len(b) < 20 || b.u32(0) != 1 {
			return nil
		}
		n.Flags, n.Ports = b.u32(4), b.bePorts(16)
		n.Addrs = [2]netip.Addr{b.addr(f, 8), b.addr(f, 12)}
	case x.Revision <= 2: // struct nf_nat_range, nf_nat_range2
		if len(b) < 40 {
			return nil
		}
		n.Flags, n.Ports = b.u32(0), b.bePorts(36)
		n.Addrs = [2]netip.Addr{b.addr(f, 4), b.addr(f, 20)}
	default:
		return nil
	}
	if n.Flags&RangeAddrs == 0 || n.ToSelf {
		n.Addrs = [2]netip.Addr{}
	}
	if n.Flags&RangePorts == 0 {
		n.Ports = [2]uint16{}
	}
	return n
}

// Answer is what the packet is answered with, in the words of nft(8):
// "icmp port-unreachable".
func (r *Reject) Answer() string {
	switch code, v6 := strings.CutPrefix(r.With, "icmp6-"); {
	case r.With == "tcp-reset":
		return "tcp reset"
	case v6:
		return "icmpv6 " + code
	default:
		return "icmp " + strings.TrimPrefix(r.With, "icmp-")
	}
}
