package rtnl

import (
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RuleSpec is a policy rule that turns packets away before any table is looked
// at; ip-rule(8).
type RuleSpec struct {
	From, To netip.Prefix // both of one family; one without bits matches all
	DPort    uint16       // of TCP; 0 for every packet
	Type     RouteType    // Blackhole, Unreachable or Prohibit
}

// rulePriority is before the rules for the main and default tables.
const rulePriority = 1000

// AddRule adds the rule. A kernel without policy routing, or without ports in
// it (before 4.17), answers EOPNOTSUPP or EINVAL.
func (c *Changer) AddRule(r RuleSpec) error {
	rule := netlink.NewRule()
	rule.Family, rule.Priority, rule.Type = netlink.FAMILY_V4, rulePriority, uint8(r.Type)
	if r.To.Addr().Is6() {
		rule.Family = netlink.FAMILY_V6
	}
	if r.From.Bits() > 0 {
		rule.Src = ipNet(r.From)
	}
	if r.To.Bits() > 0 {
		rule.Dst = ipNet(r.To)
	}
	if r.DPort != 0 {
		rule.IPProto = unix.IPPROTO_TCP
		rule.Dport = netlink.NewRulePortRange(r.DPort, r.DPort)
	}
	return changeErr(c.h.RuleAdd(rule), "add rule %+v", r)
}
