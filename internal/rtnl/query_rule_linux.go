package rtnl

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// maxRules bounds the rules given; nobody reads more.
const maxRules = 64

// Rules gives the policy rules of a family as text in the manner of
// ip-rule(8), in order, without the three standard ones (0 to local, 32766 to
// main, 32767 to default) and at most 64 of them.
func (r *Reader) Rules(v6 bool) ([]string, error) {
	rules, err := r.h.RuleList(family(v6))
	if err := broken(err); err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	var out []string
	for _, rule := range rules {
		if len(out) == maxRules {
			break
		}
		if text := ruleText(rule); !standard(text) {
			out = append(out, text)
		}
	}
	return out, nil
}

// standard recognises the rules that every namespace is born with.
func standard(text string) bool {
	switch text {
	case "0: from all lookup local", "32766: from all lookup main", "32767: from all lookup default":
		return true
	}
	return false
}

// rejectedBy is the policy rule that refuses a lookup for which no table before
// it has a route, nil without one, and those tables. It follows the rules as the
// kernel does, fib_rules_lookup in net/core/fib_rules.c.
func (r *Reader) rejectedBy(q Lookup) (refuses *netlink.Rule, before []int) {
	rules, err := r.h.RuleList(family(q.To.Is6()))
	if broken(err) != nil {
		return nil, nil
	}
	oif := ""
	if q.Link != 0 {
		if l, err := r.h.LinkByIndex(q.Link); err == nil {
			oif = l.Attrs().Name
		}
	}
	for i := 0; i < len(rules); i++ {
		rule := &rules[i]
		switch {
		case !matches(rule, q, oif):
		case rejecting(*rule):
			return rule, before
		case rule.Goto < 0:
			before = append(before, rule.Table)
		default:
			// The target comes later: a rule cannot lead back.
			for i+1 < len(rules) && rules[i+1].Priority < rule.Goto {
				i++
			}
		}
	}
	return nil, nil
}

// matches says whether a rule is about a lookup, which has no mark, type of
// service, tunnel or source port and, as all that is sent, comes in by lo.
func matches(r *netlink.Rule, q Lookup, oif string) bool {
	within := func(n *net.IPNet, a netip.Addr) bool {
		p := toPrefix(n)
		return !p.IsValid() || p.Bits() == 0 || a.IsValid() && p.Contains(a)
	}
	uid := uint32(os.Getuid())
	match := within(r.Src, q.From) && within(r.Dst, q.To) &&
		(r.Mask == nil || r.Mark&*r.Mask == 0) && (r.Mask != nil || r.Mark == 0) &&
		r.Tos == 0 && r.TunID == 0 && r.Sport == nil &&
		(r.IifName == "" || r.IifName == "lo") &&
		(r.OifName == "" || r.OifName == oif) &&
		(r.UIDRange == nil || r.UIDRange.Start <= uid && uid <= r.UIDRange.End) &&
		(r.IPProto == 0 || r.IPProto == unix.IPPROTO_TCP && q.Port != 0) &&
		(r.Dport == nil || q.Port != 0 && r.Dport.Start <= q.Port && q.Port <= r.Dport.End)
	return match != r.Invert
}

// anyRejecting are the types of a rule that refuses, in its text.
const anyRejecting = "blackhole, unreachable or prohibit"

// rejecting recognises a rule of type blackhole, unreachable or prohibit. The
// library does not tell the type, but such a rule has neither table nor goto.
func rejecting(r netlink.Rule) bool { return r.Table == 0 && r.Goto < 0 && !l3mdev(r) }

// l3mdev recognises the rule that sends traffic of a VRF to its table: the
// kernel adds it by itself, at 1000 and in its own name.
func l3mdev(r netlink.Rule) bool {
	return r.Table == 0 && r.Priority == 1000 && r.Protocol == unix.RTPROT_KERNEL
}

func ruleText(r netlink.Rule) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:", r.Priority)
	if r.Invert {
		b.WriteString(" not")
	}
	fmt.Fprintf(&b, " from %s", netText(r.Src))
	if r.Dst != nil {
		fmt.Fprintf(&b, " to %s", netText(r.Dst))
	}
	if r.Mark != 0 || r.Mask != nil && *r.Mask != 0 {
		fmt.Fprintf(&b, " fwmark %#x", r.Mark)
		if r.Mask != nil && *r.Mask != ^uint32(0) {
			fmt.Fprintf(&b, "/%#x", *r.Mask)
		}
	}
	if r.Tos != 0 {
		fmt.Fprintf(&b, " tos %#x", r.Tos)
	}
	if r.IifName != "" {
		fmt.Fprintf(&b, " iif %s", Printable(r.IifName))
	}
	if r.OifName != "" {
		fmt.Fprintf(&b, " oif %s", Printable(r.OifName))
	}
	if u := r.UIDRange; u != nil {
		fmt.Fprintf(&b, " uidrange %d-%d", u.Start, u.End)
	}
	if r.IPProto != 0 {
		fmt.Fprintf(&b, " ipproto %d", r.IPProto)
	}
	if p := r.Sport; p != nil {
		fmt.Fprintf(&b, " sport %d-%d", p.Start, p.End)
	}
	if p := r.Dport; p != nil {
		fmt.Fprintf(&b, " dport %d-%d", p.Start, p.End)
	}
	switch {
	case r.Goto >= 0:
		fmt.Fprintf(&b, " goto %d", r.Goto)
	case l3mdev(r):
		b.WriteString(" lookup [l3mdev-table]")
	case rejecting(r):
		b.WriteString(" " + anyRejecting)
	default:
		fmt.Fprintf(&b, " lookup %s", tableText(r.Table))
	}
	if r.SuppressPrefixlen >= 0 {
		fmt.Fprintf(&b, " suppress_prefixlength %d", r.SuppressPrefixlen)
	}
	return b.String()
}

func netText(n *net.IPNet) string {
	p := toPrefix(n)
	switch {
	case !p.IsValid():
		return "all"
	case p.IsSingleIP():
		return p.Addr().String()
	}
	return p.String()
}

func tableText(t int) string {
	switch t {
	case unix.RT_TABLE_LOCAL:
		return "local"
	case unix.RT_TABLE_MAIN:
		return "main"
	case unix.RT_TABLE_DEFAULT:
		return "default"
	}
	return fmt.Sprint(t)
}
