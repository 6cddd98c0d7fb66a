package lab

import (
	"net/netip"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// hosts are faults of the host that should answer.
func hosts() []Scenario {
	return slices.Concat(hostsDown(), hostFirewalls(), hostRoutes(), hostGuards(), backends(), balancedBackends())
}

// hostsDown are addresses that nobody has, or whose host is switched off.
func hostsDown() []Scenario {
	// A late host unreachable from the last router; its own next hop may be dead.
	late := []string{"host-down", "path-blackhole"}
	ownLink := []string{"host-down", "neighbour-unreachable"}
	all := []Scenario{
		{
			Name: "host-down", Connect: HostUnreach,
			Shows: "No route to host after 3 s: nobody has the address.",
			Ideal: leaves(late, late),
			setup: func(l *Lab) {
				l.service(Server)
				l.dst = l.nobody()
			},
		},
		{
			Name: "host-down-off", Cause: "host-down", Connect: HostUnreach, Topology: BehindSwitch(),
			Shows: "No route to host after 3 s: the server is switched off.",
			Ideal: leaves(late, late),
			fault: func(l *Lab) { l.configure(Server, func(c *rtnl.Changer) error { return c.SetDown("eth0") }) },
		},
		{
			Name: "host-down-far", Cause: "host-down", Connect: HostUnreach, Topology: FiveHops(),
			Shows: "No route to host after 3 s: nobody has the address, five hops away.",
			Ideal: leaves(late, late),
			setup: func(l *Lab) {
				l.service(Server)
				l.dst = l.nobody()
			},
		},
		{
			Name: "host-down-silent", Cause: "host-down", Connect: TimesOut,
			Shows: "Connecting times out: nobody has the address, and the router before it says nothing.",
			Ideal: leaves(silence, silence),
			setup: func(l *Lab) {
				l.service(Server)
				l.dst = l.nobody()
			},
			fault: func(l *Lab) { l.mute(R2) },
		},
		{
			Name: "host-down-own-link", Cause: "host-down", Topology: OwnLink(), Connect: HostUnreach,
			Shows: "No route to host after 3 s: nobody on this link has the address.",
			Ideal: leaves(ownLink, ownLink),
			setup: func(l *Lab) {
				l.service(Server)
				l.dst = netip.AddrPortFrom(ip(l.Family, 1, 9), l.dst.Port())
			},
		},
		{
			Name: "host-down-own-link-off", Cause: "host-down", Topology: SharedLink(), Connect: HostUnreach,
			Shows: "No route to host after 3 s: the server, on this link, is switched off.",
			Ideal: leaves(ownLink, ownLink),
			fault: func(l *Lab) { l.configure(Server, func(c *rtnl.Changer) error { return c.SetDown("eth0") }) },
		},
	}
	for i := range all {
		all[i].Ideal.Host = all[i].Ideal.Root // nobody is there to tell more
	}
	return all
}

// mute keeps a router from saying why packets do not get through.
func (l *Lab) mute(router string) {
	l.rules(router, nft.Output,
		nft.If(nft.ICMP(icmpUnreachable)).Drop(), nft.If(nft.ICMP(icmpExceeded)).Drop(),
		nft.If(nft.ICMPv6(icmp6Unreachable)).Drop(), nft.If(nft.ICMPv6(icmp6Exceeded)).Drop())
}

// hostRoutes are hosts that packets reach, and whose answers do not come.
func hostRoutes() []Scenario {
	return []Scenario{
		{
			Name: "host-no-return-route", Connect: TimesOut,
			Shows: "Connecting times out: the server has no route back.",
			Ideal: leaves(silence, silence),
			fault: func(l *Lab) {
				l.configure(Server, func(c *rtnl.Changer) error { return c.DelRoute(rtnl.RouteSpec{Dst: everywhere(l)}) })
			},
		},
		{
			// There is no such filter for IPv6.
			Name: "host-reverse-path-filter", Families: []Family{V4}, Connect: TimesOut,
			Shows:    "Connecting times out: the server drops what comes in where its answers would not go out.",
			Ideal:    leaves(silence, silence),
			Topology: twoLinksToServer(),
			fault:    func(l *Lab) { l.sysctl(Server, "net.ipv4.conf.eth0.rp_filter", "1") },
		},
		{
			Name: "host-address-missing", Connect: TimesOut,
			Shows: "Connecting times out: packets reach a host that does not have the address.",
			Ideal: leaves(silence, silence),
			setup: func(l *Lab) {
				l.service(Server)
				l.dst = l.nobody()
			},
			fault: func(l *Lab) {
				l.configure(R2, func(c *rtnl.Changer) error {
					return c.AddRoute(rtnl.RouteSpec{Dst: only(l.dst.Addr()), Via: l.Addr(Server)})
				})
			},
		},
	}
}

// hostGuards are listeners, and programs in the kernel, that want more of a SYN
// than the right port.
func hostGuards() []Scenario {
	return []Scenario{
		{
			Name: "tcp-signature-required", Connect: TimesOut,
			Shows: "Connecting times out: the listener wants signed segments (TCP-MD5).",
			Ideal: leaves(silentPortUnseen, silentPort),
			fault: func(l *Lab) { l.serveAt(Server, l.dst, silent, signature(l.Addr(Client))) },
		},
		{
			// RFC 5082: 255 can only come from the own link.
			Name: "ttl-security-own-link", Cause: "ttl-security", Topology: OwnLink(), Connect: TimesOut,
			Shows: "Connecting times out: the listener, on this link, wants TTL 255.",
			Ideal: leaves([]string{"duplicate-address", "ttl-security"}, nil),
			fault: func(l *Lab) { l.serve(Server, l.dst.Port(), silent, minTTL(l.Family, 255)) },
		},
		{
			// Two routers away, a SYN sent with 255 arrives with 253.
			Name: "ttl-security", Connect: TimesOut,
			Shows: "Connecting times out: the listener wants a TTL that only a sender with 255 reaches.",
			fault: func(l *Lab) { l.serve(Server, l.dst.Port(), silent, minTTL(l.Family, 253)) },
		},
		{
			Name: "host-packet-filter", Connect: TimesOut,
			Shows: "Connecting times out: an XDP program on the server drops the port.",
			Ideal: leaves(silentPortUnseen, silentPort),
			fault: func(l *Lab) { l.attach(Server, "eth0", xdp) },
		},
		{
			Name: "host-packet-filter-tc", Cause: "host-packet-filter", Connect: TimesOut,
			Shows: "Connecting times out: a tc program on the server drops the port.",
			Ideal: leaves(silentPortUnseen, silentPort),
			fault: func(l *Lab) { l.attach(Server, "eth0", tcx) },
		},
	}
}
