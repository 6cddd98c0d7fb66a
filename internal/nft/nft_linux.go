package nft

import (
	"fmt"

	"github.com/google/nftables"
)

// Hook is a place in the kernel's packet path together with the kind and the
// priority of a chain there; nft(8), "standard priority names".
type Hook int

// The hooks.
const (
	Prerouting Hook = iota // all that comes in, before routing
	Input                  // for this host
	Forward                // for others
	Output                 // made by this host
	Raw                    // as Prerouting, before connection tracking
	NAT                    // as Prerouting, where the destination may be rewritten
	OutputNAT              // as Output, where the destination may be rewritten
	SourceNAT              // all that goes out, after routing, where the source may be rewritten
	Ingress                // all that comes in by Chain.Device, a bridge's port included, before anything else
)

// Chain is a base chain: what to do with packets at a hook.
type Chain struct {
	Hook   Hook
	Device string // the interface of an Ingress chain
	Rules  []Rule
	// DropRest drops what no rule accepted; else it passes.
	DropRest bool
}

// Apply adds the chains, all or none, to the namespace that the descriptor
// refers to. A chain for a hook that already has one adds its rules at the end.
// It needs CAP_NET_ADMIN over the namespace; a kernel without a feature that a
// rule uses answers ENOENT or EOPNOTSUPP.
func Apply(ns int, chains ...Chain) error {
	c, err := nftables.New(nftables.WithNetNSFd(ns))
	if err != nil {
		return fmt.Errorf("nft: %w", err)
	}
	for _, chain := range chains {
		table := &nftables.Table{Name: "lab", Family: nftables.TableFamilyINet}
		if chain.Hook == Ingress {
			table.Family = nftables.TableFamilyNetdev
		}
		table = c.AddTable(table)
		base := c.AddChain(chain.base(table))
		for _, r := range chain.Rules {
			c.AddRule(&nftables.Rule{Table: table, Chain: base, Exprs: r})
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("nft: apply rules: %w", err)
	}
	return nil
}

func (c Chain) base(table *nftables.Table) *nftables.Chain {
	b := &nftables.Chain{Table: table, Type: nftables.ChainTypeFilter, Priority: nftables.ChainPriorityFilter}
	switch c.Hook {
	case Prerouting:
		b.Name, b.Hooknum = "prerouting", nftables.ChainHookPrerouting
	case Input:
		b.Name, b.Hooknum = "input", nftables.ChainHookInput
	case Forward:
		b.Name, b.Hooknum = "forward", nftables.ChainHookForward
	case Output:
		b.Name, b.Hooknum = "output", nftables.ChainHookOutput
	case Raw:
		b.Name, b.Hooknum, b.Priority = "raw", nftables.ChainHookPrerouting, nftables.ChainPriorityRaw
	case NAT:
		b.Name, b.Hooknum, b.Priority = "nat", nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest
		b.Type = nftables.ChainTypeNAT
	case OutputNAT:
		b.Name, b.Hooknum, b.Priority = "nat-output", nftables.ChainHookOutput, nftables.ChainPriorityNATDest
		b.Type = nftables.ChainTypeNAT
	case SourceNAT:
		b.Name, b.Hooknum, b.Priority = "nat-source", nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource
		b.Type = nftables.ChainTypeNAT
	case Ingress:
		b.Name, b.Hooknum, b.Device = "ingress-"+c.Device, nftables.ChainHookIngress, c.Device
	}
	policy := nftables.ChainPolicyAccept
	if c.DropRest {
		policy = nftables.ChainPolicyDrop
	}
	b.Policy = &policy
	return b
}
