package lab

import (
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// pathRoutes are routers that have no way, a wrong one, or none back.
func pathRoutes() []Scenario {
	noRoute := []string{"path-no-route", "path-firewall-reject"}
	return []Scenario{
		{
			Name: "path-no-route", Connect: NetUnreach,
			Shows: "Network is unreachable: the first router has no route.",
			Ideal: leaves(noRoute, noRoute),
			fault: func(l *Lab) {
				l.configure(R1, func(c *rtnl.Changer) error { return c.DelRoute(rtnl.RouteSpec{Dst: behind(l)}) })
			},
		},
		{
			// Linux says host unreachable for IPv4, and no route for IPv6.
			Name: "path-no-route-unreachable", Cause: "path-no-route", Connect: HostUnreach, Connect6: NetUnreach,
			Shows: "No route to host at once: the first router has a route of type unreachable.",
			// Where somebody has just tried, the rest of a failed address resolution
			// takes no time.
			Ideal: leaves(and(noRoute, "host-down"), and(noRoute, "host-down")),
			fault: func(l *Lab) { l.rejectingRoute(R1, rtnl.Unreachable) },
		},
		{
			Name: "path-prohibited-route", Cause: "path-prohibited", Connect: HostUnreach, Connect6: Denied,
			Shows: "No route to host (IPv6: Permission denied): the first router has a route of type prohibit.",
			fault: func(l *Lab) { l.rejectingRoute(R1, rtnl.Prohibit) },
		},
		{
			Name: "path-blackhole", Connect: TimesOut,
			Shows: "Connecting times out, and nothing behind the first router answers anything.",
			Ideal: leaves(silence, silence),
			fault: func(l *Lab) {
				l.rules(R1, nft.Forward, nft.If(nft.DAddr(l.Addr(Server))).Drop())
			},
		},
		{
			Name: "path-blackhole-route", Cause: "path-blackhole", Connect: TimesOut,
			Shows: "Connecting times out: the first router has a route of type blackhole.",
			Ideal: leaves(silence, silence),
			fault: func(l *Lab) { l.rejectingRoute(R1, rtnl.Blackhole) },
		},
		{
			Name: "routing-loop", Connect: HostUnreach,
			Shows: "No route to host: packets circle between two routers until their TTL is used up.",
			fault: func(l *Lab) {
				l.configure(R2, func(c *rtnl.Changer) error {
					return c.AddRoute(rtnl.RouteSpec{Dst: only(l.Addr(Server)), Via: ip(l.Family, 2, 1)})
				})
			},
		},
		{
			// Five hops away, the loop is at the third and fourth.
			Name: "routing-loop-far", Cause: "routing-loop", Connect: HostUnreach, Topology: FiveHops(),
			Shows: "No route to host: packets circle between the third and the fourth router.",
			fault: func(l *Lab) {
				l.configure(R4, func(c *rtnl.Changer) error {
					return c.AddRoute(rtnl.RouteSpec{Dst: only(l.Addr(Server)), Via: ip(l.Family, 5, 1)})
				})
			},
		},
		{
			Name: "ttl-too-small", Connect: HostUnreach,
			Shows: "No route to host: the packets from here start with TTL 2, and the server is 3 hops away.",
			fault: func(l *Lab) { l.startTTL(Client, "2") },
		},
		{
			Name: "return-path-lost", Connect: TimesOut,
			Shows: "Connecting times out: the second router drops the server's answers.",
			Ideal: leaves(silentPortUnseen, silentPort),
			fault: func(l *Lab) { l.rules(R2, nft.Forward, nft.If(nft.SPort(l.dst.Port())).Drop()) },
		},
		{
			Name: "return-path-lost-r1", Cause: "return-path-lost", Connect: TimesOut,
			Shows: "Connecting times out: the first router drops the server's answers.",
			Ideal: leaves(silentPortUnseen, silentPort),
			fault: func(l *Lab) { l.rules(R1, nft.Forward, nft.If(nft.SPort(l.dst.Port())).Drop()) },
		},
		{
			// Nor do r2's own errors come back.
			Name: "return-path-lost-route", Cause: "return-path-lost", Connect: TimesOut,
			Shows: "Connecting times out: the second router has no route back.",
			Ideal: leaves(silence, silence),
			fault: func(l *Lab) {
				l.configure(R2, func(c *rtnl.Changer) error { return c.DelRoute(rtnl.RouteSpec{Dst: subnet(l.Family, 1)}) })
			},
		},
		{
			// There is no such filter for IPv6. It drops r4's errors, too.
			Name: "return-path-lost-filter", Cause: "return-path-lost", Families: []Family{V4}, Connect: TimesOut, Topology: ParallelPaths(),
			Shows: "Connecting times out: answers come back another way, and the first router's reverse path filter drops them.",
			Ideal: leaves(silence, silence),
			setup: func(l *Lab) {
				l.service(Server)
				l.forwardBy(R1, gateway{4, 2})
			},
			fault: func(l *Lab) { l.sysctl(R1, "net.ipv4.conf.eth1.rp_filter", "1") },
		},
	}
}

// behind is the server's network.
func behind(l *Lab) netip.Prefix { return subnet(l.Family, 3) }

// rejectingRoute gives a router a route to the server's network that does not
// deliver.
func (l *Lab) rejectingRoute(router string, kind rtnl.RouteType) {
	l.configure(router, func(c *rtnl.Changer) error { return c.AddRoute(rtnl.RouteSpec{Dst: behind(l), Type: kind}) })
}

// forwardBy leaves a router one way to the server's network.
func (l *Lab) forwardBy(router string, g gateway) {
	l.configure(router, func(c *rtnl.Changer) error {
		if err := c.DelRoute(rtnl.RouteSpec{Dst: behind(l)}); err != nil {
			return err
		}
		return c.AddRoute(rtnl.RouteSpec{Dst: behind(l), Via: ip(l.Family, g.network, g.number)})
	})
}
