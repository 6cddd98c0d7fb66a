package lab

import (
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// hosts are faults of the host that should answer.
func hosts() []Scenario {
	return []Scenario{
		{
			Name: "host-down", Connect: HostUnreach,
			Ideal: leaves([]string{"host-down", "path-blackhole"}, []string{"host-down", "path-blackhole"}),
			setup: func(l *Lab) {
				l.service(Server)
				l.dst = l.nobody()
			},
		},
		{
			Name: "host-down-own-link", Cause: "host-down", Topology: OwnLink(), Connect: HostUnreach,
			Ideal: leaves([]string{"host-down", "neighbour-unreachable"}, []string{"host-down", "neighbour-unreachable"}),
			setup: func(l *Lab) {
				l.service(Server)
				l.dst = netip.AddrPortFrom(pick(l, netip.MustParseAddr("10.77.1.9"), netip.MustParseAddr("fd77:1::9")), l.dst.Port())
			},
		},
		{
			Name: "host-down-silent", Cause: "host-down", Connect: TimesOut,
			Ideal: leaves(silence, silence),
			setup: func(l *Lab) {
				l.service(Server)
				l.dst = l.nobody()
			},
			fault: func(l *Lab) {
				l.rules(R2, nft.Output,
					nft.If(nft.ICMP(icmpUnreachable)).Drop(), nft.If(nft.ICMP(icmpExceeded)).Drop(),
					nft.If(nft.ICMPv6(icmp6Unreachable)).Drop(), nft.If(nft.ICMPv6(icmp6Exceeded)).Drop())
			},
		},
		firewalled("host-firewall-drop", "host-firewall-drop", TimesOut, Server, nft.Input, nft.Cond.Drop).leaving(silentPortUnseen, silentPort),
		{
			Name: "host-firewall-drop-all", Cause: "host-firewall-drop", Connect: TimesOut,
			Ideal: leaves(silence, silence),
			fault: func(l *Lab) {
				// Without neighbour discovery the host would not be there at all.
				l.chain(Server, nft.Chain{Hook: nft.Input, DropRest: true, Rules: []nft.Rule{
					nft.If(nft.ICMPv6(neighbourSolicitation)).Accept(),
					nft.If(nft.ICMPv6(neighbourAdvertisement)).Accept(),
				}})
			},
		},
		firewalled("host-firewall-reset", "host-firewall-reset", Refused, Server, nft.Input, nft.Cond.Reset).leaving(refusalsFromSomewhere, refusals),
		firewalled("host-firewall-reject", "host-firewall-reject", Refused, Server, nft.Input, nft.Cond.Reject),
		{
			Name: "host-no-return-route", Connect: TimesOut,
			Ideal: leaves(silence, silence),
			fault: func(l *Lab) {
				l.configure(Server, func(c *rtnl.Changer) error { return c.DelRoute(rtnl.RouteSpec{Dst: everywhere(l)}) })
			},
		},
		{
			// There is no such filter for IPv6.
			Name: "host-reverse-path-filter", Families: []Family{V4}, Connect: TimesOut,
			Ideal:    leaves(silence, silence),
			Topology: twoLinksToServer(),
			fault: func(l *Lab) {
				l.sysctl(Server, "net.ipv4.conf.eth0.rp_filter", "1")
			},
		},
		{
			Name: "host-address-missing", Connect: TimesOut,
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
		{
			Name: "tcp-signature-required", Connect: TimesOut,
			Ideal: leaves(silentPortUnseen, silentPort),
			fault: func(l *Lab) { l.serveAt(Server, l.dst, silent, signature(l.Addr(Client))) },
		},
		{
			// RFC 5082: 255 can only come from the own link.
			Name: "ttl-security-own-link", Cause: "ttl-security", Topology: OwnLink(), Connect: TimesOut,
			Ideal: leaves([]string{"duplicate-address", "ttl-security"}, nil),
			fault: func(l *Lab) { l.serve(Server, l.dst.Port(), silent, minTTL(l.Family, 255)) },
		},
		{
			// Two routers away, a SYN sent with 255 arrives with 253.
			Name: "ttl-security", Connect: TimesOut,
			fault: func(l *Lab) { l.serve(Server, l.dst.Port(), silent, minTTL(l.Family, 253)) },
		},
		{
			Name: "nat-dead-backend-port", Cause: "nat-dead-backend", Connect: Refused,
			Ideal: leaves(refusalsFromSomewhere, refusals),
			fault: func(l *Lab) { l.translate(R2, l.at(Server, deadPort)) },
		},
		{
			Name: "nat-dead-backend-nearer", Cause: "nat-dead-backend", Connect: Refused,
			Ideal: leaves([]string{"nat-dead-backend", "path-firewall-reset"}, []string{"nat-dead-backend", "path-firewall-reset"}),
			fault: func(l *Lab) { l.translate(R1, l.at(R2, deadPort)) },
		},
		{
			Name: "nat-dead-backend-host", Cause: "nat-dead-backend", Connect: HostUnreach,
			Ideal: leaves(silentPortUnseen, silentPort),
			fault: func(l *Lab) { l.translate(R2, l.nobody()) },
		},
	}
}

// deadPort is one at which nothing listens.
const deadPort = 8081

// translate makes a router lead the target's port elsewhere.
func (l *Lab) translate(router string, to netip.AddrPort) {
	l.rules(router, nft.NAT, nft.If(nft.DPort(l.dst.Port())).DNAT(to))
}

// Types of neighbour discovery, RFC 4861.
const (
	neighbourSolicitation  = 135
	neighbourAdvertisement = 136
)

// twoLinksToServer is TwoRouters with a second link between r2 and the server,
// which the server's answers take.
func twoLinksToServer() Topology {
	t := TwoRouters()
	t.Name = "two-links"
	t.Links = append(t.Links, Link{end(R2, "eth2", "10.77.4.1", "fd77:4::1"), end(Server, "eth1", "10.77.4.2", "fd77:4::2")})
	t.Routes = append(t.Routes, route(Server, "10.77.1.0/24", "10.77.4.1"), route(Server, "fd77:1::/64", "fd77:4::1"))
	return t
}
