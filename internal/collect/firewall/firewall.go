// Package firewall says which rule of this host's packet filters decides a
// packet of a handshake, by reading the rules: nftables, iptables-nft in it, and
// the legacy iptables and ip6tables, all hooks in the order of the kernel.
//
// It is exact where rules, sets and maps decide, and says "depends" where the
// answer turns on something that only the packet itself or the moment tells: a
// rate, a random number, an unknown source address, an extension that is not
// understood. It changes nothing. It needs CAP_NET_ADMIN.
//
// A verdict is about the one packet. What a rule answers with (a RST, an ICMP
// message) passes the rules at output, too, and may be dropped there.
//
// Other things between wire and socket are not its subject: XDP, tc and
// netfilter BPF programs, IPVS, bridge tables, routing, reverse path filter.
//
// It imports nft, xtables, rtnl, collect, evidence and flow.
package firewall

import "net/netip"

// Kind is what a packet is on its way through the host.
type Kind int

// The kinds.
const (
	// SYNIn is a SYN from a client for an address of this host.
	SYNIn Kind = iota
	// SYNForward is a SYN that this host passes on as a router.
	SYNForward
	// SYNACKOut is the answer of this host to a SYN for one of its addresses that
	// the rules let in.
	SYNACKOut
	// SYNOut is a SYN that this host sends.
	SYNOut
	// SYNACKIn is the answer to a SYN that this host sent and the rules let out.
	SYNACKIn
)

// Query asks about one packet.
type Query struct {
	Kind Kind
	// Client sent the SYN; the zero address is anybody, port 0 any port.
	Client netip.AddrPort
	// Server is where the SYN goes, or the SYN-ACK comes from. Its address also
	// gives the version of IP: the unspecified one is any of its version.
	Server netip.AddrPort
	// In is the interface that the client's packets come in by, of SYNACKIn the
	// server's; "" is not known.
	In string
	// Out is the interface that the client's SYN leaves by, of SYNOut and
	// SYNACKIn; "" is the one of the route to the server alone.
	Out string
	// Unmarked says that nothing but the rules marks packets (no BPF program on
	// the way, no SO_MARK, tcp_fwmark_accept off). Without it a rule that looks at
	// the mark of a packet that no rule has set cannot be decided.
	Unmarked bool
}

func (q Query) v6() bool {
	a := q.Server.Addr()
	if !a.IsValid() {
		a = q.Client.Addr()
	}
	return a.Unmap().Is6()
}

// The verdicts, as evidence.RuleVerdict.Verdict has them.
const (
	verdictAccept  = "accept"
	verdictDrop    = "drop"
	verdictReset   = "reset"
	verdictReject  = "reject"
	verdictDepends = "depends"
)
