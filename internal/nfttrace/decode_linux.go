package nfttrace

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// generalHeader is the length of struct nfgenmsg, which precedes the attributes.
const generalHeader = 4

// families are those of tables, in the words of nft(8).
var families = map[byte]string{
	unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6",
	unix.NFPROTO_ARP: "arp", unix.NFPROTO_NETDEV: "netdev", unix.NFPROTO_BRIDGE: "bridge",
}

// attributes starts to decode a message of nfnetlink.
func attributes(data []byte) (family byte, ad *netlink.AttributeDecoder, err error) {
	if len(data) < generalHeader {
		return 0, nil, fmt.Errorf("message of %d bytes is too short", len(data))
	}
	ad, err = netlink.NewAttributeDecoder(data[generalHeader:])
	if err != nil {
		return 0, nil, err
	}
	ad.ByteOrder = binary.BigEndian
	return data[0], ad, nil
}

// decode reads an NFT_MSG_TRACE.
func decode(data []byte) (Event, error) {
	family, ad, err := attributes(data)
	if err != nil {
		return Event{}, fmt.Errorf("nftrace: %w", err)
	}
	e := Event{Chain: Chain{Family: families[family]}}
	var network, transport []byte
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_TRACE_TABLE:
			e.Chain.Table = ad.String()
		case unix.NFTA_TRACE_CHAIN:
			e.Chain.Name = ad.String()
		case unix.NFTA_TRACE_RULE_HANDLE:
			e.Handle = ad.Uint64()
		case unix.NFTA_TRACE_TYPE:
			e.Kind = kind(ad.Uint32())
		case unix.NFTA_TRACE_VERDICT:
			ad.Nested(e.verdict)
		case unix.NFTA_TRACE_POLICY:
			e.Verdict = verdict(ad.Uint32())
		case unix.NFTA_TRACE_ID:
			e.ID = ad.Uint32()
		case unix.NFTA_TRACE_MARK:
			e.Mark = ad.Uint32()
		case unix.NFTA_TRACE_NFPROTO:
			e.V6 = ad.Uint32() == unix.NFPROTO_IPV6
		case unix.NFTA_TRACE_IIF:
			e.In = int(ad.Uint32())
		case unix.NFTA_TRACE_OIF:
			e.Out = int(ad.Uint32())
		case unix.NFTA_TRACE_LL_HEADER:
			e.Link = ad.Bytes()
		case unix.NFTA_TRACE_NETWORK_HEADER:
			network = ad.Bytes()
		case unix.NFTA_TRACE_TRANSPORT_HEADER:
			transport = ad.Bytes()
		}
	}
	if err := ad.Err(); err != nil {
		return Event{}, fmt.Errorf("nftrace: %w", err)
	}
	e.Packet = segment(network, transport)
	return e, nil
}

// verdict reads enum nft_verdict_attributes.
func (e *Event) verdict(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_VERDICT_CODE:
			e.Verdict = verdict(ad.Uint32())
		case unix.NFTA_VERDICT_CHAIN:
			e.Jump = ad.String()
		}
	}
	return nil
}

// verdict words a verdict: one of nft_verdicts, which are negative, or one of
// netfilter.h, with a number for it in the upper half.
func verdict(code uint32) Verdict {
	switch int32(code) {
	case unix.NFT_CONTINUE, unix.NFT_BREAK:
		return Continue
	case unix.NFT_JUMP:
		return Jump
	case unix.NFT_GOTO:
		return Goto
	case unix.NFT_RETURN:
		return Return
	}
	switch code & 0xff { // NF_VERDICT_MASK
	case 0:
		return Drop
	case 1:
		return Accept
	case 2:
		return Stolen
	case 3:
		return Queue
	}
	return Verdict(fmt.Sprintf("verdict %#x", code))
}

func kind(t uint32) Kind {
	switch t {
	case unix.NFT_TRACETYPE_RULE:
		return KindRule
	case unix.NFT_TRACETYPE_RETURN:
		return KindReturn
	case unix.NFT_TRACETYPE_POLICY:
		return KindPolicy
	}
	return Kind(fmt.Sprintf("type %d", t))
}

// segment is the TCP segment that begins with the headers, nil when it is none.
// The kernel gives 40 bytes of the first and 20 of the second.
func segment(network, transport []byte) *Packet {
	if len(network) < 20 || len(transport) < 20 {
		return nil
	}
	var src, dst netip.Addr
	switch v := network[0] >> 4; {
	case v == 4 && network[9] == unix.IPPROTO_TCP:
		src, _ = netip.AddrFromSlice(network[12:16])
		dst, _ = netip.AddrFromSlice(network[16:20])
	case v == 6 && len(network) >= 40 && network[6] == unix.IPPROTO_TCP:
		src, _ = netip.AddrFromSlice(network[8:24])
		dst, _ = netip.AddrFromSlice(network[24:40])
	default:
		return nil
	}
	be := binary.BigEndian
	return &Packet{
		Src: netip.AddrPortFrom(src, be.Uint16(transport)), Dst: netip.AddrPortFrom(dst, be.Uint16(transport[2:])),
		Seq: be.Uint32(transport[4:]), Ack: be.Uint32(transport[8:]), Flags: transport[13],
	}
}

// isOurs recognises the table of a Tracer of any process.
func isOurs(table string) bool { return strings.HasPrefix(table, tablePrefix) }
