package lab

import (
	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// ownFilters are hosts that drop the answers because they come in by another
// interface than their own packets go out by.
func ownFilters() []Scenario {
	byAnotherLink := func(l *Lab) {
		l.service(Server)
		l.configure(R1, func(c *rtnl.Changer) error {
			return c.AddRoute(rtnl.RouteSpec{Dst: only(l.Addr(Client)), Via: ip(l.Family, 4, 2)})
		})
	}
	return []Scenario{
		{
			// There is no such filter for IPv6.
			Name: "local-firewall-drop-reverse-path", Cause: "local-firewall-drop", Families: []Family{V4}, Connect: TimesOut, Topology: twoLinksToClient(),
			Shows: "No answer: what comes back comes in by another interface, and this host's reverse path filter drops it.",
			Ideal: leaves(and(silence, "local-firewall-drop"), nil),
			setup: byAnotherLink,
			fault: func(l *Lab) { l.sysctl(Client, "net.ipv4.conf.eth1.rp_filter", "1") },
		},
		{
			Name: "local-firewall-drop-reverse-path-rule", Cause: "local-firewall-drop", Connect: TimesOut, Topology: twoLinksToClient(),
			Shows: "No answer: what comes back comes in by another interface, and a rule of this host drops it.",
			Ideal: leaves(and(silence, "local-firewall-drop"), nil),
			setup: byAnotherLink,
			fault: func(l *Lab) { l.rules(Client, nft.Prerouting, nft.If(nft.NoWayBack()).Drop()) },
		},
	}
}

// twoLinksToClient is TwoRouters with a second link between the client and r1.
func twoLinksToClient() Topology {
	t := TwoRouters()
	t.Name = "two-links-to-client"
	t.Links = append(t.Links, Link{A: end(Client, "eth1", 4, 2), B: end(R1, "eth2", 4, 1)})
	return t
}
