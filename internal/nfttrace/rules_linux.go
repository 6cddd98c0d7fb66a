package nfttrace

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	tablePrefix = "tcpwhy-trace-"
	// ownerFlag is NFT_TABLE_F_OWNER of linux/netfilter/nf_tables.h, Linux 5.12.
	ownerFlag = 0x2
	priority  = -350 // before chains of raw and what iptables has there, -300

	syn, rst, ack = 0x02, 0x04, 0x10 // RFC 9293 section 3.1

	register = unix.NFT_REG_1
)

// ownedTable are the messages that make the table: a transaction of its own,
// for which google/nftables has no flags.
func ownedTable(name string) ([]netlink.Message, error) {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	ae.String(unix.NFTA_TABLE_NAME, name)
	ae.Uint32(unix.NFTA_TABLE_FLAGS, ownerFlag)
	attrs, err := ae.Encode()
	if err != nil {
		return nil, err
	}
	const edge = netlink.Request
	return []netlink.Message{
		{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_BEGIN, Flags: edge}, Data: general(0, unix.NFNL_SUBSYS_NFTABLES)},
		{
			Header: netlink.Header{Type: message(unix.NFT_MSG_NEWTABLE), Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl},
			Data:   append(general(unix.NFPROTO_INET, 0), attrs...),
		},
		{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_END, Flags: edge}, Data: general(0, unix.NFNL_SUBSYS_NFTABLES)},
	}, nil
}

func message(kind uint16) netlink.HeaderType {
	return netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind)
}

// general is struct nfgenmsg: family, version 0, and what the message is for.
func general(family byte, resource uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{family, 0}, resource)
}

// addRules puts the chains and rules into the table. Each rule counts the
// packets that fit it, and then those that it marks.
func addRules(c *nftables.Conn, table *nftables.Table, f Filter) {
	for _, base := range []struct {
		name string
		hook *nftables.ChainHook
		only []expr.Any
	}{
		// The mark of a packet lasts when it comes back by the loopback.
		{"prerouting", nftables.ChainHookPrerouting, compare(expr.MetaKeyIIFTYPE, expr.CmpOpNeq, binary.NativeEndian.AppendUint16(nil, unix.ARPHRD_LOOPBACK))},
		{"output", nftables.ChainHookOutput, nil},
	} {
		chain := c.AddChain(&nftables.Chain{
			Name: base.name, Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: base.hook, Priority: nftables.ChainPriorityRef(priority),
		})
		for _, kind := range []struct {
			answer    bool
			mask, set byte
		}{{false, syn | ack | rst, syn}, {true, syn | ack | rst, syn | ack}, {true, rst, rst}} {
			exprs := append([]expr.Any(nil), base.only...)
			exprs = append(exprs, compare(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{unix.IPPROTO_TCP})...)
			exprs = append(exprs, ends(f, kind.answer)...)
			exprs = append(exprs,
				&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
				&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 1, Mask: []byte{kind.mask}, Xor: []byte{0}},
				&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{kind.set}},
				&expr.Counter{},
				&expr.Limit{Type: expr.LimitTypePkts, Rate: uint64(f.Rate), Unit: expr.LimitTimeSecond, Burst: uint32(f.Rate)},
				&expr.Counter{},
				&expr.Immediate{Register: register, Data: []byte{1}},
				&expr.Meta{Key: expr.MetaKeyNFTRACE, SourceRegister: true, Register: register},
			)
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs})
		}
	}
}

// ends matches the client's address and the server's port, where the filter has
// them: source and destination of a SYN, the other way round of an answer.
func ends(f Filter, answer bool) (exprs []expr.Any) {
	address, port := uint32(12), uint32(2)
	if f.Client.Is6() {
		address = 8
	}
	if answer {
		address, port = address+uint32(f.Client.BitLen()/8), 0
	}
	if f.Client.IsValid() {
		family := byte(unix.NFPROTO_IPV4)
		if f.Client.Is6() {
			family = unix.NFPROTO_IPV6
		}
		exprs = append(compare(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{family}),
			payload(expr.PayloadBaseNetworkHeader, address, f.Client.AsSlice())...)
	}
	if f.Port != 0 {
		exprs = append(exprs, payload(expr.PayloadBaseTransportHeader, port, binary.BigEndian.AppendUint16(nil, f.Port))...)
	}
	return exprs
}

func compare(key expr.MetaKey, op expr.CmpOp, value []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: register}, &expr.Cmp{Op: op, Register: register, Data: value}}
}

func payload(base expr.PayloadBase, offset uint32, value []byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: register, Base: base, Offset: offset, Len: uint32(len(value))},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: value},
	}
}

// clean makes a filter what the rules are made of.
func clean(f Filter) Filter {
	f.Client = f.Client.Unmap().WithZone("")
	if f.Client == netip.IPv4Unspecified() || f.Client == netip.IPv6Unspecified() {
		f.Client = netip.Addr{}
	}
	if f.Rate <= 0 {
		f.Rate = DefaultRate
	}
	return f
}
