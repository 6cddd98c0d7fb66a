package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// locals are faults of the user's own host.
func locals() []Scenario {
	return slices.Concat(routings(), links(), localFirewalls(), ownFilters(), sockets(), tables())
}

// routings are hosts that do not know, or do not want to know, where to.
func routings() []Scenario {
	return []Scenario{
		configured("no-route", "no-route", NetUnreach, func(l *Lab, c *rtnl.Changer) error {
			return c.DelRoute(rtnl.RouteSpec{Dst: everywhere(l)})
		}).showing("Network is unreachable, at once: the default route is gone."),
		rejected("blackhole", rtnl.Blackhole, Invalid).showing("Invalid argument, at once: a blackhole route for the server."),
		rejected("unreachable", rtnl.Unreachable, HostUnreach).showing("No route to host, at once: an unreachable route for the server."),
		rejected("prohibit", rtnl.Prohibit, Denied).showing("Permission denied, at once: a prohibit route for the server."),
		ruled("route-rejects-rule", Denied, func(l *Lab) rtnl.RuleSpec {
			return rtnl.RuleSpec{To: only(l.dst.Addr()), Type: rtnl.Prohibit}
		}).showing("Permission denied, at once: a policy rule for the server's address."),
		ruled("route-rejects-rule-port", NetUnreach, func(l *Lab) rtnl.RuleSpec {
			return rtnl.RuleSpec{To: everywhere(l), DPort: l.dst.Port(), Type: rtnl.Unreachable}
		}).showing("Network is unreachable for one port, at once: a policy rule for it."),
		// The kernel looks up once without a source and once with the one it chose;
		// not so with IPv6.
		ruled("route-rejects-rule-source", NetUnreach, func(l *Lab) rtnl.RuleSpec {
			return rtnl.RuleSpec{From: only(l.Addr(Client)), To: everywhere(l), Type: rtnl.Unreachable}
		}).only(V4).
			showing("Network is unreachable, at once: a policy rule for this host's own address."),
		configured("family-unsupported", "family-unsupported", NetUnreach, func(l *Lab, c *rtnl.Changer) error {
			// Its routes go with an address of IPv4.
			if err := c.DelAddress("eth0", netip.PrefixFrom(l.Addr(Client), pick(l, 24, 64))); err != nil || l.Family == V4 {
				return err
			}
			return c.DelRoute(rtnl.RouteSpec{Dst: everywhere(l)})
		}).showing("Network is unreachable, at once: this host has no address of the family."),
		{
			Name: "family-unsupported-disabled", Cause: "family-unsupported", Families: []Family{V6}, Connect: NoAddress,
			Shows: "Cannot assign requested address, at once: IPv6 is switched off.",
			fault: func(l *Lab) { l.sysctl(Client, "net.ipv6.conf.all.disable_ipv6", "1") },
		},
		{
			Name: "family-unsupported-disabled-interface", Cause: "family-unsupported", Families: []Family{V6}, Connect: NetUnreach,
			Shows: "Network is unreachable, at once: IPv6 is switched off on the interface.",
			fault: func(l *Lab) { l.sysctl(Client, "net.ipv6.conf.eth0.disable_ipv6", "1") },
		},
	}
}

// links are interfaces, and what is at the other end of them.
func links() []Scenario {
	unresolved := []string{"host-down", "neighbour-unreachable"}
	gone := []string{"family-unsupported", "interface-down", "no-route"} // the routes go with the interface
	misled := and(but(silence, "path-blackhole"), "neighbour-unreachable", "duplicate-address")
	return []Scenario{
		configured("interface-down", "interface-down", NetUnreach, func(_ *Lab, c *rtnl.Changer) error {
			return c.SetDown("eth0")
		}).leaving(gone, gone).seen(gone, gone).
			showing("Network is unreachable, at once: the interface is set down."),
		{
			Name: "interface-no-carrier", Cause: "interface-down", Connect: HostUnreach,
			Shows: "No route to host after three seconds: the cable is out.",
			fault: func(l *Lab) {
				l.configure(R1, func(c *rtnl.Changer) error { return c.SetDown("eth0") })
				l.configure(Client, func(c *rtnl.Changer) error { return c.WaitCarrier(l.ctx, "eth0", false) })
			},
		},
		configured("gateway-unreachable", "gateway-unreachable", HostUnreach, func(l *Lab, c *rtnl.Changer) error {
			gateway := pick(l, netip.MustParseAddr("10.77.1.9"), netip.MustParseAddr("fd77:1::9"))
			return c.AddRoute(rtnl.RouteSpec{Dst: everywhere(l), Via: gateway})
		}).showing("No route to host after three seconds: nobody has the gateway's address."),
		{
			Name: "gateway-unreachable-mute", Cause: "gateway-unreachable", Connect: HostUnreach,
			Shows: "No route to host after three seconds: the gateway is there and does not answer ARP or ND.",
			fault: func(l *Lab) { l.muteNeighbour(R1) },
		},
		{
			Name: "neighbour-unreachable", Topology: OwnLink(), Connect: HostUnreach,
			Shows: "No route to host after three seconds: the server on the own link does not answer ARP or ND.",
			Ideal: leaves(unresolved, unresolved),
			fault: func(l *Lab) { l.muteNeighbour(Server) },
		},
		{
			// Nothing asks for the address any more, so nothing tells this from a server
			// that is silent. Who may ask the link hears another address than the entry's.
			Name: "neighbour-unreachable-wrong-entry", Cause: "neighbour-unreachable", Topology: OwnLink(), Connect: TimesOut,
			Shows: "No answer at all: somebody fixed a wrong link-layer address for the server.",
			Ideal: leaves(misled, nil),
			fault: func(l *Lab) {
				l.configure(Client, func(c *rtnl.Changer) error {
					return c.FixNeighbour("eth0", l.Addr(Server), net.HardwareAddr{2, 0, 0, 0, 0, 0x77})
				})
			},
		},
	}
}

// localFirewalls are the host's own rules.
func localFirewalls() []Scenario {
	prohibited := firewalled("local-firewall-prohibited", "local-firewall-reject", HostUnreach, Client, nft.Output, nft.Cond.Prohibit)
	prohibited.Connect6 = Denied
	return []Scenario{
		firewalled("local-firewall-drop", "local-firewall-drop", TimesOut, Client, nft.Output, nft.Cond.Drop).
			leaving([]string{"nat-dead-backend", "path-firewall-drop", "local-firewall-drop"}, nil).
			showing("No answer: an output rule of this host drops the port."),
		{
			Name: "local-firewall-drop-all", Cause: "local-firewall-drop", Connect: TimesOut,
			Shows: "No answer from anywhere: this host's output policy drops everything.",
			// Nobody asks for the gateway's link-layer address. That it is not in the table
			// tells little: another gateway may be taken, or the table may be full.
			Ideal: leaves(and(silence, "gateway-unreachable"), nil),
			fault: func(l *Lab) {
				l.chain(Client, nft.Chain{Hook: nft.Output, DropRest: true, Rules: guarded()})
			},
		},
		{
			Name: "local-firewall-drop-input", Cause: "local-firewall-drop", Connect: TimesOut,
			Shows: "No answer: an input rule of this host drops what comes back.",
			Ideal: leaves(and(silentPortUnseen, "local-firewall-drop"), nil),
			fault: func(l *Lab) { l.rules(Client, nft.Input, nft.If(nft.SPort(l.dst.Port())).Drop()) },
		},
		firewalled("local-firewall-reject", "local-firewall-reject", Refused, Client, nft.Output, nft.Cond.Reject).
			showing("Connection refused, at once: an output rule of this host rejects the port."),
		prohibited.showing("No route to host or permission denied, at once: an output rule of this host prohibits the port."),
		firewalled("local-firewall-reset", "local-firewall-reject", Refused, Client, nft.Output, nft.Cond.Reset).
			leaving([]string{"local-firewall-reject", "nat-dead-backend", "path-firewall-reset"}, nil).
			showing("Connection refused, at once: an output rule of this host resets the port."),
	}
}

// only limits a scenario that a function makes to some families.
func (s Scenario) only(families ...Family) Scenario {
	s.Families = families
	return s
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

// ruled is a policy rule that rejects.
func ruled(name string, connect Outcome, rule func(*Lab) rtnl.RuleSpec) Scenario {
	return configured(name, "route-rejects", connect, func(l *Lab, c *rtnl.Changer) error {
		return c.AddRule(rule(l))
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

// muteNeighbour makes a host keep silent about its link-layer address.
func (l *Lab) muteNeighbour(host string) {
	if l.Family == V4 {
		l.sysctl(host, "net.ipv4.conf.all.arp_ignore", "8") // ip-sysctl: do not reply for all local addresses
		return
	}
	l.rules(host, nft.Input, nft.If(nft.ICMPv6(neighbourSolicitation)).Drop())
}

// everywhere is the destination of a default route, only that of a host route.
func everywhere(l *Lab) netip.Prefix {
	return pick(l, netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"))
}

func only(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// proveFrom checks what a connection from a certain source sees.
func proveFrom(source func(*Lab) netip.AddrPort, want Outcome) func(context.Context, *Lab) error {
	return func(ctx context.Context, l *Lab) error {
		return l.Do(l.Scenario.From, func() error {
			d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(source(l)), Timeout: Patience}
			d.SetMultipathTCP(false)
			c, err := d.DialContext(ctx, "tcp", l.dst.String())
			if err == nil {
				c.Close()
			}
			if got := outcome(err); got != want {
				return fmt.Errorf("connect from %v: %s, want %s (%v)", source(l), got, want, err)
			}
			return nil
		})
	}
}
