package nft

import (
	"net/netip"
	"slices"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Rule is matches and a verdict, made with If.
type Rule []expr.Any

// Match is a condition on a packet.
type Match []expr.Any

// Cond is conditions that must all hold, still without a verdict.
type Cond []expr.Any

// If starts a rule for packets that fit every match; without any, for all.
func If(matches ...Match) Cond { return Cond(slices.Concat(matches...)) }

// The TCP header's flags, RFC 9293 section 3.1.
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// register is where all loads go; a rule never needs two values at once but for
// dnat, which uses the next one for the port.
const register = unix.NFT_REG_1

// V4 matches IPv4, V6 matches IPv6.
func V4() Match { return meta(expr.MetaKeyNFPROTO, unix.NFPROTO_IPV4) }
func V6() Match { return meta(expr.MetaKeyNFPROTO, unix.NFPROTO_IPV6) }

// TCP matches all TCP segments.
func TCP() Match { return meta(expr.MetaKeyL4PROTO, unix.IPPROTO_TCP) }

// DPort and SPort match TCP segments to or from a port.
func DPort(port uint16) Match { return tcp(2, binaryutil.BigEndian.PutUint16(port)) }
func SPort(port uint16) Match { return tcp(0, binaryutil.BigEndian.PutUint16(port)) }

// Flags matches TCP segments that have, of the flags in mask, just those in set.
func Flags(mask, set byte) Match {
	return append(TCP(), load(expr.PayloadBaseTransportHeader, 13, 1), and([]byte{mask}), cmp(set))
}

// DAddr and SAddr match the destination or source address, and with it the
// family.
func DAddr(a netip.Addr) Match { return addr(a, 16, 24) }
func SAddr(a netip.Addr) Match { return addr(a, 12, 8) }

// ICMP matches ICMP messages of a type, ICMPv6 those of ICMPv6. A neighbour
// solicitation is one of the latter.
func ICMP(kind byte) Match   { return icmp(unix.IPPROTO_ICMP, kind) }
func ICMPv6(kind byte) Match { return icmp(unix.IPPROTO_ICMPV6, kind) }

// Untracked matches packets that connection tracking left out (notrack) or
// finds to belong to no connection.
func Untracked() Match {
	const invalid, untracked = 1 << 0, 1 << 6 // nf_conntrack_common.h, NF_CT_STATE_*_BIT
	return Match{
		&expr.Ct{Key: expr.CtKeySTATE, Register: register},
		and(binaryutil.NativeEndian.PutUint32(invalid | untracked)),
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: make([]byte, 4)},
	}
}

// Every matches one packet in n: the first that gets there and then each nth.
func Every(n uint32) Match {
	return Match{&expr.Numgen{Register: register, Modulus: n, Type: unix.NFT_NG_INCREMENTAL}, cmp(0, 0, 0, 0)}
}

// Percent matches packets by chance: so many of a hundred.
func Percent(n int) Match {
	return Match{
		&expr.Numgen{Register: register, Modulus: 100, Type: unix.NFT_NG_RANDOM},
		// Numbers are in the machine's order, comparisons in the network's.
		&expr.Byteorder{SourceRegister: register, DestRegister: register, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLt, Register: register, Data: binaryutil.BigEndian.PutUint32(uint32(n))},
	}
}

// Share matches TCP segments of one in n of all source ports; which says i, from
// 0. A connection's segments all match or none does.
func Share(n, i uint32) Match {
	return append(TCP(),
		load(expr.PayloadBaseTransportHeader, 0, 2),
		&expr.Hash{SourceRegister: register, DestRegister: register, Length: 2, Modulus: n, Seed: 1, Type: expr.HashTypeJenkins},
		cmp(binaryutil.NativeEndian.PutUint32(i)...))
}

// Out matches packets that leave by an interface.
func Out(iface string) Match {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, iface)
	return Match{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: register}, cmp(name...)}
}

// NoWayBack matches packets that come in by another interface than that of the way
// to their source: the reverse path filter as a rule. fib in nft(8), in prerouting.
func NoWayBack() Match {
	return Match{&expr.Fib{Register: register, ResultOIF: true, FlagSADDR: true, FlagIIF: true, FlagPRESENT: true}, cmp(0)}
}

// Drop makes the packets vanish, Accept lets them pass this chain.
func (c Cond) Drop() Rule   { return c.then(&expr.Verdict{Kind: expr.VerdictDrop}) }
func (c Cond) Accept() Rule { return c.then(&expr.Verdict{Kind: expr.VerdictAccept}) }

// Reset answers with a TCP RST; a match must limit the rule to TCP.
func (c Cond) Reset() Rule { return c.then(&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}) }

// Reject answers as plain "reject" does, with ICMP port unreachable.
func (c Cond) Reject() Rule { return c.unreachable(unix.NFT_REJECT_ICMPX_PORT_UNREACH) }

// RejectHost answers with ICMP host unreachable.
func (c Cond) RejectHost() Rule { return c.unreachable(unix.NFT_REJECT_ICMPX_HOST_UNREACH) }

// RejectNet answers with ICMP net unreachable, "no route" in ICMPv6.
func (c Cond) RejectNet() Rule { return c.unreachable(unix.NFT_REJECT_ICMPX_NO_ROUTE) }

// RejectCode answers with this code of ICMP or ICMPv6 destination unreachable; a
// match must limit the rule to one family, which numbers codes in its own way.
func (c Cond) RejectCode(code byte) Rule {
	return c.then(&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: code})
}

// Prohibit answers with ICMP administratively prohibited.
func (c Cond) Prohibit() Rule { return c.unreachable(unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED) }

// DNAT sends the packets to another address and port; in a NAT or
// OutputNAT chain only.
func (c Cond) DNAT(to netip.AddrPort) Rule {
	family := uint32(unix.NFPROTO_IPV4)
	if to.Addr().Is6() {
		family = unix.NFPROTO_IPV6
	}
	return c.then(
		&expr.Immediate{Register: register, Data: to.Addr().AsSlice()},
		&expr.Immediate{Register: register + 1, Data: binaryutil.BigEndian.PutUint16(to.Port())},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: family, RegAddrMin: register, RegProtoMin: register + 1},
	)
}

// Redirect sends the packets to a port of this host; in a NAT chain only.
func (c Cond) Redirect(port uint16) Rule {
	return c.then(
		&expr.Immediate{Register: register, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Redir{RegisterProtoMin: register},
	)
}

// Masquerade puts the address of the interface that the packets leave by in
// place of their source; in a SourceNAT chain only.
func (c Cond) Masquerade() Rule { return c.then(&expr.Masq{}) }

// NoTrack keeps the packets out of connection tracking; in a Raw chain only.
func (c Cond) NoTrack() Rule { return c.then(&expr.Notrack{}) }

// ClampMSS puts this maximum segment size, in bytes, into the TCP option; a match
// must limit the rule to SYNs.
func (c Cond) ClampMSS(mss uint16) Rule {
	const option, value = 2, 2 // RFC 9293 section 3.2: kind, and where its value is
	return c.then(
		&expr.Immediate{Register: register, Data: binaryutil.BigEndian.PutUint16(mss)},
		&expr.Exthdr{SourceRegister: register, Type: option, Offset: value, Len: 2, Op: expr.ExthdrOpTcpopt},
	)
}

// SYNProxy completes the handshake in place of the host, with these values in
// its SYN-ACK; nft(8), "synproxy".
func (c Cond) SYNProxy(mss uint16, wscale byte) Rule {
	return c.then(&expr.SynProxy{Mss: mss, Wscale: wscale, Timestamp: true, SackPerm: true})
}

func (c Cond) unreachable(code byte) Rule {
	return c.then(&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: code})
}

func (c Cond) then(e ...expr.Any) Rule { return Rule(slices.Concat(c, e)) }

func tcp(offset uint32, value []byte) Match {
	return append(TCP(), load(expr.PayloadBaseTransportHeader, offset, uint32(len(value))), cmp(value...))
}

func icmp(proto, kind byte) Match {
	return append(meta(expr.MetaKeyL4PROTO, proto), load(expr.PayloadBaseTransportHeader, 0, 1), cmp(kind))
}

func addr(a netip.Addr, offset4, offset6 uint32) Match {
	if a.Is4() {
		return append(V4(), load(expr.PayloadBaseNetworkHeader, offset4, 4), cmp(a.AsSlice()...))
	}
	return append(V6(), load(expr.PayloadBaseNetworkHeader, offset6, 16), cmp(a.AsSlice()...))
}

func meta(key expr.MetaKey, value byte) Match {
	return Match{&expr.Meta{Key: key, Register: register}, cmp(value)}
}

func load(base expr.PayloadBase, offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: base, Offset: offset, Len: length}
}

func and(mask []byte) expr.Any {
	return &expr.Bitwise{SourceRegister: register, DestRegister: register, Len: uint32(len(mask)), Mask: mask, Xor: make([]byte, len(mask))}
}

func cmp(value ...byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: value}
}
