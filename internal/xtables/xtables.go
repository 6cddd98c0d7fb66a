package xtables

import "net/netip"

// Family is "iptables" or "ip6tables".
type Family string

// The families.
const (
	IPv4 Family = "iptables"
	IPv6 Family = "ip6tables"
)

// Table is one table: "filter", "nat", "mangle", "raw" or "security".
type Table struct {
	Family Family
	Name   string
	Chains []*Chain
}

// Chain finds the chain of a name.
func (t *Table) Chain(name string) *Chain {
	for _, c := range t.Chains {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Chain is a built-in chain, which has a Hook, or one that a user made. Its name
// is as whoever made it chose.
type Chain struct {
	Name string
	Hook string // "prerouting", "input", "forward", "output", "postrouting"
	// Policy is the verdict where no rule of a built-in chain decides.
	Policy         Verdict
	Packets, Bytes uint64 // of the policy
	Rules          []*Rule
}

// Rule is one rule of a chain.
type Rule struct {
	Number         int // position in the chain, from 1
	Packets, Bytes uint64
	Header         Header
	Matches        []Extension
	Target         Target
}

// Header is what every rule can match; struct ipt_ip and ip6t_ip6.
type Header struct {
	Src, Dst Network
	In, Out  Interface
	Proto    uint8 // 0 is any
	NotProto bool
	// Fragments matches second and later fragments only; NotFragments all others.
	Fragments, NotFragments bool
	// TOS says that the rule matches the IPv6 traffic class, which nothing here
	// evaluates.
	TOS bool
}

// Network is an address with a mask, which need not be a prefix. With a zero
// mask it is any.
type Network struct {
	Addr, Mask netip.Addr
	Not        bool
}

// Interface is the name of an interface, or its start if Prefix; "" is any.
type Interface struct {
	Name   string
	Prefix bool
	Not    bool
}

// Extension is a match, or a target that is none of the built-in verdicts, as the
// kernel has it.
type Extension struct {
	Name     string
	Revision int
	Info     []byte
}

// Verdict is what becomes of a packet, as far as one rule goes.
type Verdict string

// The verdicts. Continue stands for a rule without target.
const (
	Accept   Verdict = "ACCEPT"
	Drop     Verdict = "DROP"
	Return   Verdict = "RETURN"
	Queue    Verdict = "QUEUE"
	Continue Verdict = ""
)

// Target is what a rule does: a verdict, a jump to a chain, or an extension.
type Target struct {
	Verdict   Verdict
	Chain     string
	Goto      bool       // the chain returns to where this one would
	Extension *Extension // nil for the others
}
