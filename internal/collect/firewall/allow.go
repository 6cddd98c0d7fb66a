package firewall

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/nft"
)

// allow is a command that lets the packet pass the rule it fails at, "" where
// none is known that does that and no more.
func (p *program) allow(o outcome, q Query) string {
	r, pk := o.rule, o.end
	if pk.dport < 0 && !pk.synAck || pk.sport < 0 && pk.synAck {
		return ""
	}
	switch r.chain.manager() {
	case "":
	case "ufw":
		return ufwAllow(o, pk, q.Kind == SYNOut || q.Kind == SYNACKOut)
	case "firewalld":
		if pk.noIn || pk.synAck || o.forwarded {
			return ""
		}
		return firewalldAllow(r.chain, pk, p.v6)
	case "fail2ban":
		banned := pk.src
		if pk.noIn {
			banned = pk.dst
		}
		if !banned.IsValid() {
			return ""
		}
		return fmt.Sprintf("fail2ban-client unban %s", banned)
	default: // they would write over what anybody adds
		return ""
	}
	if r.chain.xtable != nil {
		return r.xtAllow(pk, p.v6)
	}
	return r.nftAllow(pk, p.v6)
}

// firewalldAllow opens the port in the zone whose chain the rule stands in. What a
// zone denies goes before its ports, and only rich rules of a lower priority go
// before that; firewalld.richlanguage(5), "Priority". In other chains, such as that
// of the reverse path filter, opening a port would change nothing.
func firewalldAllow(c *chain, p packet, v6 bool) string {
	_, name := c.name()
	zone, ok := strings.CutPrefix(strings.TrimPrefix(name, "filter_"), "IN_")
	if !ok {
		return ""
	}
	early := false
	if !c.sibling(name + "_deny") { // it is none of a zone's own, so one within it
		part := ""
		if i := strings.LastIndexByte(zone, '_'); i > 0 {
			zone, part = zone[:i], zone[i+1:]
		}
		switch part {
		case "pre", "deny":
			early = true
		case "", "allow", "post":
		default:
			return ""
		}
	}
	if !safe(zone) || strings.HasPrefix(zone, "policy_") {
		return ""
	}
	if !early {
		return fmt.Sprintf("firewall-cmd --zone=%s --add-port=%d/tcp", zone, p.dport)
	}
	family, source := "ipv4", ""
	if v6 {
		family = "ipv6"
	}
	if p.src.IsValid() {
		source = fmt.Sprintf("source address=%q ", p.src)
	}
	return fmt.Sprintf(`firewall-cmd --zone=%s --add-rich-rule='rule priority="-32768" family=%q %sport port="%d" protocol="tcp" accept'`, zone, family, source, p.dport)
}

// sibling says whether the table of the chain has one of that name.
func (c *chain) sibling(name string) bool {
	if c.table != nil {
		return c.table.Chain(name) != nil
	}
	return c.xtable.Chain(name) != nil
}

func ufwAllow(o outcome, p packet, out bool) string {
	switch {
	case p.synAck:
		return ""
	case out:
		return fmt.Sprintf("ufw allow out %d/tcp", p.dport)
	case o.forwarded && p.dst.IsValid():
		return fmt.Sprintf("ufw route allow proto tcp to %s port %d", p.dst, p.dport)
	case o.forwarded:
		return ""
	case p.src.IsValid():
		return fmt.Sprintf("ufw allow proto tcp from %s to any port %d", p.src, p.dport)
	}
	return fmt.Sprintf("ufw allow %d/tcp", p.dport)
}

// safe says that a name can stand in a command as it is.
func safe(names ...string) bool {
	return !slices.ContainsFunc(names, func(s string) bool {
		return s == "" || s[0] == '-' || strings.IndexFunc(s, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.", r)
		}) >= 0
	})
}

func (r *ruleRef) xtAllow(p packet, v6 bool) string {
	c := r.chain
	if !safe(c.xtc.Name, c.xtable.Name) {
		return ""
	}
	number := len(c.rules) + 1
	if r.xt != nil {
		number = r.xt.Number
	}
	program := string(c.xtable.Family)
	// Where plain iptables writes nftables rules, the legacy one has a name of
	// its own.
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if _, err := os.Stat(dir + program + "-legacy"); err == nil {
			program += "-legacy"
			break
		}
	}
	return xtCommand(program, c.xtable.Name, c.xtc.Name, number, p)
}

func xtCommand(program, table, chain string, number int, p packet) string {
	s := program
	if table != "filter" {
		s += " -t " + table
	}
	s += fmt.Sprintf(" -I %s %d -p tcp", chain, number)
	switch { // the other end, whichever that is
	case p.noIn && p.dst.IsValid():
		s += " -d " + p.dst.String()
	case !p.noIn && p.src.IsValid():
		s += " -s " + p.src.String()
	}
	if p.synAck {
		return s + fmt.Sprintf(" --sport %d -j ACCEPT", p.sport)
	}
	return s + fmt.Sprintf(" --dport %d -j ACCEPT", p.dport)
}

func (r *ruleRef) nftAllow(p packet, v6 bool) string {
	t, c := r.chain.table, r.chain.ntc
	if !safe(t.Name, c.Name) {
		return ""
	}
	if madeByIPTables(t) {
		program, number := "iptables-nft", len(r.chain.rules)+1
		if t.Family == nft.FamilyIP6 {
			program = "ip6tables-nft"
		}
		if i := slices.Index(r.chain.rules, r); i >= 0 {
			number = i + 1
		}
		return xtCommand(program, t.Name, c.Name, number, p)
	}
	s := "nft "
	if r.nft != nil {
		s += fmt.Sprintf("insert rule %s %s %s handle %d", t.Family, t.Name, c.Name, r.nft.Handle)
	} else {
		s += fmt.Sprintf("add rule %s %s %s", t.Family, t.Name, c.Name)
	}
	family := " ip"
	if v6 {
		family = " ip6"
	}
	switch { // the other end, whichever that is
	case p.noIn && p.dst.IsValid():
		s += family + " daddr " + p.dst.String()
	case !p.noIn && p.src.IsValid():
		s += family + " saddr " + p.src.String()
	}
	if p.synAck {
		return s + fmt.Sprintf(" tcp sport %d accept", p.sport)
	}
	return s + fmt.Sprintf(" tcp dport %d accept", p.dport)
}

// madeByIPTables says that a table is one of iptables-nft, which its own tool
// should change.
func madeByIPTables(t *nft.Table) bool {
	if t.Family != nft.FamilyIP && t.Family != nft.FamilyIP6 || xtPriority[t.Name] == 0 && t.Name != "filter" {
		return false
	}
	builtin := []string{"INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"}
	for _, c := range t.Chains {
		if c.Hook != "" && !slices.Contains(builtin, c.Name) {
			return false
		}
	}
	return true
}
