package lab

import (
	"errors"
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// locals are faults of the user's own host.
func locals() []Scenario {
	return []Scenario{
		configured("no-route", "no-route", NetUnreach, func(l *Lab, c *rtnl.Changer) error {
			return c.DelRoute(rtnl.RouteSpec{Dst: everywhere(l)})
		}),
		rejected("blackhole", rtnl.Blackhole, Invalid),
		rejected("unreachable", rtnl.Unreachable, HostUnreach),
		rejected("prohibit", rtnl.Prohibit, Denied),
		configured("interface-down", "interface-down", NetUnreach, func(_ *Lab, c *rtnl.Changer) error {
			return c.SetDown("eth0")
		}).leaving([]string{"family-unsupported", "interface-down", "no-route"}, []string{"family-unsupported", "interface-down", "no-route"}),
		configured("gateway-unreachable", "gateway-unreachable", HostUnreach, func(l *Lab, c *rtnl.Changer) error {
			gateway := pick(l, netip.MustParseAddr("10.77.1.9"), netip.MustParseAddr("fd77:1::9"))
			return c.AddRoute(rtnl.RouteSpec{Dst: everywhere(l), Via: gateway})
		}),
		{
			Name: "interface-no-carrier", Cause: "interface-down", Connect: HostUnreach,
			fault: func(l *Lab) {
				l.configure(R1, func(c *rtnl.Changer) error { return c.SetDown("eth0") })
				l.configure(Client, func(c *rtnl.Changer) error { return c.WaitCarrier(l.ctx, "eth0", false) })
			},
		},
		{
			Name: "ports-exhausted", Connect: NoAddress,
			fault: func(l *Lab) {
				l.sysctl(Client, "net.ipv4.ip_local_port_range", "40000 40003")
				for range 4 {
					l.hold(Client, l.dst)
				}
			},
		},
		firewalled("local-firewall-drop", "local-firewall-drop", TimesOut, Client, nft.Output, nft.Cond.Drop).leaving([]string{"nat-dead-backend", "path-firewall-drop", "local-firewall-drop"}, nil),
		firewalled("local-firewall-reject", "local-firewall-reject", Refused, Client, nft.Output, nft.Cond.Reject),
		firewalled("local-firewall-reset", "local-firewall-reject", Refused, Client, nft.Output, nft.Cond.Reset).leaving([]string{"local-firewall-reject", "nat-dead-backend", "path-firewall-reset"}, []string{"local-firewall-reject", "nat-dead-backend"}),
		{
			Name: "family-unsupported", Families: []Family{V6}, Connect: NetUnreach,
			fault: func(l *Lab) {
				l.configure(Client, func(c *rtnl.Changer) error {
					return errors.Join(
						c.DelRoute(rtnl.RouteSpec{Dst: everywhere(l)}),
						c.DelAddress("eth0", netip.PrefixFrom(l.Addr(Client), 64)))
				})
			},
		},
		{
			Name: "family-unsupported-disabled", Cause: "family-unsupported", Families: []Family{V6}, Connect: NoAddress,
			fault: func(l *Lab) {
				l.sysctl(Client, "net.ipv6.conf.all.disable_ipv6", "1")
			},
		},
	}
}

// configured changes the client's links or routes.
func configured(name, cause string, connect Outcome, change func(*Lab, *rtnl.Changer) error) Scenario {
	return Scenario{
		Name: name, Cause: cause, Connect: connect,
		fault: func(l *Lab) {
			l.configure(Client, func(c *rtnl.Changer) error { return change(l, c) })
		},
	}
}

// rejected is a route to the server that rejects.
func rejected(name string, kind rtnl.RouteType, connect Outcome) Scenario {
	return configured("route-rejects-"+name, "route-rejects", connect, func(l *Lab, c *rtnl.Changer) error {
		return c.AddRoute(rtnl.RouteSpec{Dst: only(l.dst.Addr()), Type: kind})
	})
}

// firewalled is a healthy server with a rule on the way for the target's port.
func firewalled(name, cause string, connect Outcome, host string, hook nft.Hook, does func(nft.Cond) nft.Rule) Scenario {
	return Scenario{
		Name: name, Cause: cause, Connect: connect,
		fault: func(l *Lab) {
			l.rules(host, hook, does(nft.If(nft.DPort(l.dst.Port()))))
		},
	}
}

// everywhere is the destination of a default route, only that of a host route.
func everywhere(l *Lab) netip.Prefix {
	return pick(l, netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"))
}

func only(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
