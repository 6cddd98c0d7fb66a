package firewall

import (
	"slices"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/xtables"
)

// managers are programs that write rules, known by how they name chains and
// nftables tables. A name ends in an asterisk where only its start counts.
var managers = []struct {
	name           string
	tables, chains []string
}{
	{"ufw", nil, []string{"ufw-*", "ufw6-*"}},
	{"firewalld", []string{"firewalld"}, []string{"INPUT_ZONES", "INPUT_direct", "FWDI_*", "FWDO_*", "IN_public*", "FORWARD_IN_ZONES"}},
	{"docker", []string{"docker-bridges"}, []string{"DOCKER", "DOCKER-*"}},
	{"kube-proxy", []string{"kube-proxy"}, []string{"KUBE-*"}},
	{"calico", []string{"calico"}, []string{"cali-*"}},
	{"cilium", nil, []string{"CILIUM_*"}},
	{"flannel", []string{"flannel-*"}, []string{"FLANNEL-*"}},
	{"libvirt", []string{"libvirt_network"}, []string{"LIBVIRT_*"}},
	{"fail2ban", []string{"f2b-table"}, []string{"f2b-*"}},
	{"netavark", []string{"netavark"}, []string{"NETAVARK*"}},
	{"cni", []string{"cni_hostport"}, []string{"CNI-*"}},
	{"lxd", []string{"lxd"}, nil},
	{"incus", []string{"incus"}, nil},
	{"tailscale", nil, []string{"ts-input", "ts-forward", "ts-postrouting"}},
	{"crowdsec", []string{"crowdsec", "crowdsec6"}, []string{"CROWDSEC*", "crowdsec*"}},
	{"sshguard", []string{"sshguard"}, []string{"sshguard"}},
	{"miniupnpd", nil, []string{"MINIUPNPD*"}},
}

func named(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if start, ok := strings.CutSuffix(p, "*"); ok {
			return strings.HasPrefix(name, start)
		}
		return p == name
	})
}

// managerOf says who makes a table or chain of these names.
func managerOf(table, chain string) string {
	for _, m := range managers {
		if named(m.tables, table) || named(m.chains, chain) {
			return m.name
		}
	}
	return ""
}

// name is the name of the chain, table that of its table where it is one of
// nftables, for whose names anybody is free.
func (c *chain) name() (table, chain string) {
	if c.table != nil {
		return c.table.Name, c.ntc.Name
	}
	return "", c.xtc.Name
}

// manager says who makes the chain: by its name or, for a built-in one, by the
// chains that it sends everything to.
func (c *chain) manager() string {
	if m := managerOf(c.name()); m != "" {
		return m
	}
	for _, r := range c.rules {
		if to := r.target(); to != "" && r.unconditional() {
			if m := managerOf("", to); m == "ufw" || m == "firewalld" {
				return m
			}
		}
	}
	return ""
}

// target is the chain that the rule jumps to.
func (r *ruleRef) target() string {
	if r.xt != nil {
		return r.xt.Target.Chain
	}
	for _, e := range r.nft.Exprs {
		if i, ok := e.(*nft.Immediate); ok && i.Verdict != nil {
			return i.Verdict.Chain
		}
	}
	return ""
}

// unconditional says that the rule matches everything.
func (r *ruleRef) unconditional() bool {
	if r.xt != nil {
		h := r.xt.Header
		return len(r.xt.Matches) == 0 && h.Proto == 0 && h.In.Name == "" && h.Out.Name == ""
	}
	for _, e := range r.nft.Exprs {
		switch e.(type) {
		case *nft.Immediate, *nft.Counter:
		default:
			return false
		}
	}
	return true
}

// summary lists the systems and managers whose rules there are.
func summary(rules *nft.Ruleset, tables []*xtables.Table) (systems, who []string) {
	add := func(list *[]string, s string) {
		if s != "" && !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	if rules != nil {
		for _, t := range rules.Tables {
			add(&systems, "nftables")
			add(&who, managerOf(t.Name, ""))
			for _, c := range t.Chains {
				add(&who, managerOf("", c.Name))
			}
		}
	}
	for _, t := range tables {
		add(&systems, string(t.Family))
		for _, c := range t.Chains {
			add(&who, managerOf("", c.Name))
		}
	}
	slices.Sort(who)
	return systems, who
}
