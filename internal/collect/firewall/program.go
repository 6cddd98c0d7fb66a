package firewall

import (
	"cmp"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/xtables"
)

// chain is a chain of either system, ready to be walked.
type chain struct {
	table  *nft.Table // of nftables, or
	ntc    *nft.TableChain
	xtable *xtables.Table // of iptables
	xtc    *xtables.Chain
	rules  []*ruleRef
	policy *ruleRef // of a base chain whose policy drops
	nat    bool
}

// ruleRef is a rule in its chain, or the policy of the chain. One stands for one
// rule: they may be compared as pointers.
type ruleRef struct {
	chain *chain
	nft   *nft.TableRule
	xt    *xtables.Rule
}

// item is something at a hook, in the order of priorities.
type item struct {
	priority, sub int // sub orders the NAT chains, which run as one at a hook
	base          *chain
	conntrack     bool
	devices       []string // of a chain at a device
}

// Priorities of the kernel's own hooks, enum nf_ip_hook_priorities.
const (
	priConntrack = -200
	priNATDest   = -100
	priNATSource = 100
)

// xtPriority of the tables of iptables.
var xtPriority = map[string]int{"raw": -300, "mangle": -150, "nat": priNATDest, "filter": 0, "security": 50}

// program is all rules that a packet of one IP version can meet, by hook.
type program struct {
	v6     bool
	hooks  map[string][]item
	chains map[any]*chain // by *nft.TableChain and *xtables.Chain
	// sets numbers those that rules change, up to 63; the rest share a number.
	sets map[*nft.Set]int
	// untracks says that some rule excepts packets from connection tracking.
	untracks bool
}

func compile(v6 bool, rules *nft.Ruleset, tables []*xtables.Table) *program {
	p := &program{v6: v6, hooks: map[string][]item{}, chains: map[any]*chain{}, sets: map[*nft.Set]int{}}
	for _, hook := range []string{"prerouting", "output"} {
		p.hooks[hook] = []item{{priority: priConntrack, conntrack: true}}
	}
	if rules != nil {
		for _, t := range rules.Tables {
			p.addTable(t)
		}
	}
	for _, t := range tables {
		if (t.Family == xtables.IPv6) == v6 {
			p.addXTable(t)
		}
	}
	for _, items := range p.hooks {
		slices.SortStableFunc(items, item.compare)
	}
	return p
}

func (a item) compare(b item) int {
	return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.sub, b.sub))
}

func (p *program) addTable(t *nft.Table) {
	own := nft.FamilyIP
	if p.v6 {
		own = nft.FamilyIP6
	}
	if t.Dormant || t.Family != own && t.Family != nft.FamilyINet && t.Family != nft.FamilyNetdev {
		return
	}
	for _, s := range t.Sets {
		if s.Dynamic {
			p.sets[s] = min(len(p.sets), 63)
		}
	}
	for _, c := range t.Chains {
		x := &chain{table: t, ntc: c, nat: c.Type == "nat"}
		for _, r := range c.Rules {
			x.rules = append(x.rules, &ruleRef{chain: x, nft: r})
			p.untracks = p.untracks || untracksNFT(r)
		}
		p.chains[c] = x
		if c.Hook == "" {
			continue
		}
		if c.Drops {
			x.policy = &ruleRef{chain: x}
		}
		it := item{priority: c.Priority, base: x, devices: c.Devices}
		if x.nat {
			it = natItem(c.Hook, c.Priority, x)
		}
		p.hooks[c.Hook] = append(p.hooks[c.Hook], it)
	}
}

// natItem places a NAT chain: the kernel runs all of a hook at one priority, in
// the order of their own; nf_nat_register_fn.
func natItem(hook string, priority int, x *chain) item {
	at := priNATDest
	if hook == "input" || hook == "postrouting" {
		at = priNATSource
	}
	return item{priority: at, sub: priority, base: x}
}

func (p *program) addXTable(t *xtables.Table) {
	for _, c := range t.Chains {
		x := &chain{xtable: t, xtc: c, nat: t.Name == "nat"}
		for _, r := range c.Rules {
			x.rules = append(x.rules, &ruleRef{chain: x, xt: r})
			if e := r.Target.Extension; e != nil {
				p.untracks = p.untracks || untracksXT(t.Family, *e)
			}
		}
		p.chains[c] = x
		if c.Hook == "" {
			continue
		}
		if c.Policy == xtables.Drop {
			x.policy = &ruleRef{chain: x}
		}
		it := item{priority: xtPriority[t.Name], base: x}
		if x.nat {
			own := priNATDest
			if c.Hook == "input" || c.Hook == "postrouting" {
				own = priNATSource
			}
			it = natItem(c.Hook, own, x)
		}
		p.hooks[c.Hook] = append(p.hooks[c.Hook], it)
	}
}

// jump finds the chain of the same table that a rule jumps to.
func (p *program) jump(from *chain, name string) *chain {
	if from.table != nil {
		return p.chains[from.table.Chain(name)]
	}
	return p.chains[from.xtable.Chain(name)]
}

// bit is the number of a set as a bit of packet.touched, 0 for one that no rule
// changes.
func (p *program) bit(s *nft.Set) uint64 {
	if n, ok := p.sets[s]; ok {
		return 1 << n
	}
	return 0
}

func untracksNFT(r *nft.TableRule) bool {
	return slices.ContainsFunc(r.Exprs, func(e nft.Expr) bool {
		switch e := e.(type) {
		case *nft.NoTrack, *nft.Unknown:
			return true
		case *nft.XT:
			return e.Target && untracksXT(xtables.IPv4, xtables.Extension{Name: e.Name, Revision: e.Revision, Info: e.Info})
		}
		return false
	})
}

func untracksXT(f xtables.Family, e xtables.Extension) bool {
	switch xtables.Action(f, e).(type) {
	case *xtables.NoTrack, nil:
		return true
	}
	return false
}
