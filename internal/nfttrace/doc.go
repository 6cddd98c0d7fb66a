// Package nfttrace makes the kernel tell which nftables rules the packets of a
// TCP handshake meet: it marks them for nftrace and decodes the messages of the
// netlink group NFNLGRP_NFTRACE, as nft(8) "monitor trace" does.
//
// The rules that mark are in a table of type owner, which the kernel removes
// with the socket that made it: nothing is left behind after kill -9, and a
// firewall that is loaded anew leaves the table alone. Each marks a bounded
// number of packets a second.
//
// Marked are packets from hook prerouting or output on, at priority -350, before
// any common chain. What is dropped earlier (XDP, tc, netdev and bridge chains)
// is not seen, and neither is what legacy iptables does: it has no nftrace.
// Answers of a server to which a packet was sent by NAT come from another port
// and are not marked where they pass through.
//
// It belongs to the network namespace of the thread that calls Open, and stays
// there. It imports google/nftables, mdlayher/netlink and nothing of ours.
package nfttrace

import "net/netip"

// Filter says which packets are marked: TCP SYNs to the port, and what is sent
// back from it: SYN-ACK and RST.
type Filter struct {
	Client netip.Addr // of either family; zero is anybody
	Port   uint16     // of the server; 0 is any
	// Rate is how many packets of each kind are marked a second, and as many at
	// once; 0 is DefaultRate.
	Rate int
}

// DefaultRate is enough for a person's attempts, and little beside what a busy
// port takes.
const DefaultRate = 100

// Event is one message about one packet; linux/netfilter/nf_tables.h, enum
// nft_trace_attributes. Names are as the kernel gives them: who may write rules
// may put control characters there.
type Event struct {
	// Generation is the generation of the rules that the packet met, for
	// Tracer.Lookup; 0 when not known.
	Generation uint32
	Chain      Chain
	// ID is the same in all messages about a packet at one hook. It is used
	// again for other packets.
	ID      uint32
	Kind    Kind
	Handle  uint64  // of the rule; 0 at the end of a chain
	Verdict Verdict // of the rule, or the policy
	Jump    string  // the chain that the verdict leads to
	Mark    uint32  // meta mark
	V6      bool    // the packet is IPv6
	// In and Out are indexes of interfaces, 0 where there is none.
	In, Out int
	Link    []byte // link-layer header, at most 20 bytes
	// Packet is in the first message about a packet in each base chain, which is
	// the Chain of that message; nil in the others, and for what is not TCP.
	Packet *Packet
}

// Chain names a chain.
type Chain struct {
	Family string // of the table, as nft(8) writes it: "inet"
	Table  string
	Name   string
}

// Packet is what a message tells about a TCP segment.
type Packet struct {
	Src, Dst netip.AddrPort
	Seq, Ack uint32
	Flags    byte // RFC 9293 section 3.1, FIN is 1
}

// Kind is the kind of an event; enum nft_trace_types.
type Kind string

// The kinds.
const (
	KindRule   Kind = "rule"   // a rule matched
	KindReturn Kind = "return" // the end of a chain that was jumped to, or a rule that returns
	KindPolicy Kind = "policy" // the end of a base chain
	KindMarked Kind = "marked" // a marked packet is in a Tracer's own chain; it may meet no other
)

// Verdict is what becomes of the packet; nft(8), "verdict statement".
type Verdict string

// The verdicts. Of these only Drop is about the packet: the others end a chain
// at most.
const (
	Accept   Verdict = "accept" // out of this base chain
	Drop     Verdict = "drop"   // reject too: it drops after it has answered
	Continue Verdict = "continue"
	Return   Verdict = "return"
	Jump     Verdict = "jump"
	Goto     Verdict = "goto"
	Queue    Verdict = "queue"  // to a program, which decides
	Stolen   Verdict = "stolen" // taken over by the rule, as synproxy does
)

// Rule is what Lookup tells about a rule and the base chain it was met in.
type Rule struct {
	Hook     string // "input"; "" where not known
	Priority int
	// Reject is what a rule that rejects answers with, in the words of nft(8):
	// "tcp reset", "icmp port-unreachable"; "" for another rule.
	Reject string
	// NAT says that the rule rewrites addresses.
	NAT bool
}
