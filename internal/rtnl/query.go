package rtnl

import (
	"net/netip"
	"strconv"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// Lookup is a question for the kernel's routing: how would a packet be sent?
type Lookup struct {
	To netip.Addr
	// From is the source address; zero lets the kernel choose.
	From netip.Addr
	// Link is the index of the interface the packet must leave by; 0 is any.
	Link int
	// Port is the destination port of TCP; with 0 neither protocol nor port is
	// named, and policy rules about them do not match.
	Port uint16
}

// Found is the kernel's answer to a Lookup (RTM_GETROUTE of rtnetlink(7)).
type Found struct {
	// Type is the type of the route in the words of ip-route(8): "unicast",
	// "local", "broadcast", "multicast", "anycast", "blackhole",
	// "unreachable" or "prohibit"; "" when there is none.
	Type string
	// Errno is what connect() would say at once, such as "ENETUNREACH"; ""
	// when the packet would be sent.
	Errno string
	// Prefix is the destination of the route that matched, invalid when the
	// kernel does not tell it (no route, or a policy rule that rejects).
	Prefix netip.Prefix
	// Table is the routing table of that route, 0 when not known.
	Table int
	// Gateway is zero when the destination is on the link. It can be an IPv6
	// address for an IPv4 destination (RFC 5549).
	Gateway netip.Addr
	// Source is the address the kernel would send from.
	Source netip.Addr
	// Link is the index of the interface chosen, 0 when none.
	Link int
	// Carrier is the index of the interface that the route itself names, 0
	// when not known. It differs from Link for a local address: there it is
	// the interface that carries the address, where Link is the loopback.
	Carrier int
	// Rule is the policy rule that refuses by itself, as text in the manner of
	// ip-rule(8); "" when none did.
	Rule string
	// Port is the port that the kernel took note of: that of the Lookup, or 0.
	Port uint16
	// MTU is the limit the route sets or the path has taught, 0 when neither:
	// that of the link holds then.
	MTU int
}

// Destination is where connect() goes for an address: ip(7) and ipv6(7) take
// the unspecified one to the loopback, and an IPv4-mapped one means IPv4.
func Destination(a netip.Addr) netip.Addr {
	a = a.Unmap()
	switch {
	case !a.IsUnspecified():
		return a
	case a.Is4():
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// Interface is a link together with what tells its role.
type Interface struct {
	evidence.Link
	Loopback bool
	// Ethernet says that the link layer is Ethernet's, ARPHRD_ETHER.
	Ethernet bool
	// Master is the index of the bridge, bond or VRF it is a port of, or 0.
	Master int
	// XDP is the BPF program that sees packets first, the zero value for none.
	XDP XDP
}

// LocalAddr is an address of this host.
type LocalAddr struct {
	Addr netip.Addr // without zone
	Link int        // index of the interface that carries it
	Bits int        // length of the prefix
	// Usable is false for an IPv6 address that failed duplicate address
	// detection or has not passed it yet, RFC 4862 section 5.4.
	Usable bool
}

// LocalRoute is a route of type local: what is for the prefix, the kernel takes for
// this host, whether an interface has the address or not, ip-route(8). In another
// table than RT_TABLE_LOCAL it is for those packets only that policy rules send there.
type LocalRoute struct {
	Prefix netip.Prefix
	Table  int
}

// XDP is a program of the express data path; IFLA_XDP of linux/if_link.h.
type XDP struct {
	// Mode is where it runs: "native" (the driver), "generic" (the network
	// stack), "offload" (the hardware), "multi" for several, whose IDs are not
	// told, or "" for none.
	Mode string
	ID   uint32
}

// Filter is a BPF program of traffic control, tc-bpf(8).
type Filter struct {
	Direction string // "ingress" or "egress"
	ID        uint32 // of the program
	Name      string // as the one who attached it gave it, escaped
}

// Drops are packets that a link has dropped, in the words of struct
// rtnl_link_stats64.
type Drops struct {
	Name                          string
	Received, Missed, Transmitted uint64 // rx_dropped, rx_missed_errors, tx_dropped
}

// Criteria is what the policy rules of a namespace choose by, ip-rule(8).
type Criteria struct {
	Mark   bool // the packet's mark
	Packet bool // type of service, protocol, ports or tunnel
	// Unnamed is what a Lookup does not name: the source port, type of service,
	// tunnel or VRF.
	Unnamed bool
}

// Printable escapes the name of an interface, in which the kernel allows
// control characters.
func Printable(name string) string {
	q := strconv.QuoteToASCII(name)
	return q[1 : len(q)-1]
}
