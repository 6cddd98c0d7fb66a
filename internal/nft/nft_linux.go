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
)

// Chain is a base chain: what to do with packets at a hook.
type Chain struct {
	Hook  Hook
	Rules []Rule
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
	table := c.AddTable(&nftables.Table{Name: "lab", Family: nftables.TableFamilyINet})
	for _, chain := range chains {
		base := c.AddChain(chain.Hook.chain(table, chain.DropRest))
		for _, r := range chain.Rules {
			c.AddRule(&nftables.Rule{Table: table, Chain: base, Exprs: r})
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("nft: apply rules: %w", err)
	}
	return nil
}

func (h Hook) chain(table *nftables.Table, dropRest bool) *nftables.Chain {
	c := &nftables.Chain{Table: table, Type: nftables.ChainTypeFilter, Priority: nftables.ChainPriorityFilter}
	switch h {
	case Prerouting:
		c.Name, c.Hooknum = "prerouting", nftables.ChainHookPrerouting
	case Input:
		c.Name, c.Hooknum = "input", nftables.ChainHookInput
	case Forward:
		c.Name, c.Hooknum = "forward", nftables.ChainHookForward
	case Output:
		c.Name, c.Hooknum = "output", nftables.ChainHookOutput
	case Raw:
		c.Name, c.Hooknum, c.Priority = "raw", nftables.ChainHookPrerouting, nftables.ChainPriorityRaw
	case NAT:
		c.Name, c.Hooknum, c.Priority = "nat", nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest
		c.Type = nftables.ChainTypeNAT
	}
	policy := nftables.ChainPolicyAccept
	if dropRest {
		policy = nftables.ChainPolicyDrop
	}
	c.Policy = &policy
	return c
}
