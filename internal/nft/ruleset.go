package nft

import "errors"

// ErrUnsupported says that the kernel has no nftables.
var ErrUnsupported = errors.New("nft: the kernel has no nftables")

// Ruleset is all tables of a network namespace as the kernel holds them. Names
// and comments in it are as whoever made them chose: escape them before showing.
type Ruleset struct {
	// Generation is the number of the change that made the rules what they are,
	// NFTA_GEN_ID.
	Generation uint32
	Tables     []*Table
}

// Table is a table with what is in it, in the order of the kernel. Flowtables
// are left out: they see established connections only.
type Table struct {
	Family  Family
	Name    string
	Dormant bool // switched off: its chains see no packets
	Chains  []*TableChain
	Sets    []*Set
	// Objects are the stateful objects that rules refer to.
	Objects []*Object
}

// Family is the family of a table, NFPROTO_* of linux/netfilter.h.
type Family uint8

// The families.
const (
	FamilyINet   Family = 1
	FamilyIP     Family = 2
	FamilyARP    Family = 3
	FamilyNetdev Family = 5
	FamilyBridge Family = 7
	FamilyIP6    Family = 10
)

// String is the name that nft(8) uses.
func (f Family) String() string {
	switch f {
	case FamilyINet:
		return "inet"
	case FamilyIP:
		return "ip"
	case FamilyARP:
		return "arp"
	case FamilyNetdev:
		return "netdev"
	case FamilyBridge:
		return "bridge"
	case FamilyIP6:
		return "ip6"
	}
	return "unknown"
}

// TableChain is a chain of a table. One with a Hook is a base chain: the kernel
// sends packets there; others are reached by jumps.
type TableChain struct {
	Name     string
	Handle   uint64
	Hook     string // "prerouting", "input", …; "" of a chain that is no base chain
	Priority int
	Type     string // "filter", "nat" or "route"
	// Drops says that the policy is drop.
	Drops bool
	// Devices are the interfaces of a chain at the hook ingress or egress.
	Devices []string
	Rules   []*TableRule
}

// TableRule is one rule: expressions that run in order until one breaks off.
type TableRule struct {
	Handle  uint64
	Exprs   []Expr
	Comment string
}

// Counter is the counter in the rule, nil where there is none.
func (r *TableRule) Counter() *Counter {
	for _, e := range r.Exprs {
		if c, ok := e.(*Counter); ok {
			return c
		}
	}
	return nil
}

// Object is a stateful object, such as a limit that several rules share.
type Object struct {
	Name string
	Type int // NFT_OBJECT_* of linux/netfilter/nf_tables.h
}

// Set is a set, or a map if it has Data.
type Set struct {
	Name      string
	Anonymous bool
	Interval  bool // its keys are ranges
	Map       bool
	// Dynamic says that rules add to it: what it holds may be other now.
	Dynamic bool
	// KeyType and DataType are data types of nft(8), several of six bits each for
	// a concatenation; DataType is VerdictType in a verdict map. KeyLen is in bytes.
	KeyType, DataType uint32
	KeyLen            int
	// Fields are the lengths in bytes of the parts of a concatenation.
	Fields   []int
	Elements []Element
	// Truncated says that there are more elements than were read.
	Truncated bool
}

// VerdictType is the data type of a verdict map, NFT_DATA_VERDICT.
const VerdictType = 0xffffff00

// Element is an element of a set. In a set of intervals without concatenation it
// holds the keys from Key to End, both included, as numbers in network order; in
// one with concatenation each field has such a range. Otherwise End is nil.
type Element struct {
	Key, End []byte
	CatchAll bool // holds for every key that no other element has
	Data     []byte
	Verdict  *Verdict
	Comment  string
	// Timeout says that the element goes by itself.
	Timeout bool
	// Exprs run when the element is found: counters, limits.
	Exprs []Expr
}

// Verdict ends a rule.
type Verdict struct {
	// Code is NF_DROP (0), NF_ACCEPT (1), NF_QUEUE (3) with flags above, or one of
	// the Verdict… codes.
	Code  int32
	Chain string // of a jump or goto
}

// Verdict codes, enum nft_verdicts.
const (
	VerdictDrop     = 0
	VerdictAccept   = 1
	VerdictContinue = -1
	VerdictJump     = -3
	VerdictGoto     = -4
	VerdictReturn   = -5
)

// Lookup finds the set of a name.
func (t *Table) Lookup(name string) *Set {
	for _, s := range t.Sets {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Chain finds the chain of a name.
func (t *Table) Chain(name string) *TableChain {
	for _, c := range t.Chains {
		if c.Name == name {
			return c
		}
	}
	return nil
}
