package lab

import (
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// hosts are faults of the host that should answer.
func hosts() []Scenario {
	port := nft.If(nft.DPort(8080))
	return []Scenario{
		{
			Name: "host-down", Connect: HostUnreach,
			make: func(l *Lab) {
				l.service(Server)
				l.dst = l.nobody()
			},
		},
		{
			Name: "host-down-own-link", Cause: "host-down", Topology: OwnLink(), Connect: HostUnreach,
			make: func(l *Lab) {
				l.service(Server)
				l.dst = pick(l, netip.MustParseAddrPort("10.77.1.9:8080"), netip.MustParseAddrPort("[fd77:1::9]:8080"))
			},
		},
		{
			Name: "host-down-silent", Cause: "host-down", Connect: TimesOut,
			make: func(l *Lab) {
				l.service(Server)
				l.dst = l.nobody()
				l.rules(R2, nft.Output,
					nft.If(nft.ICMP(icmpUnreachable)).Drop(), nft.If(nft.ICMP(icmpExceeded)).Drop(),
					nft.If(nft.ICMPv6(icmp6Unreachable)).Drop(), nft.If(nft.ICMPv6(icmp6Exceeded)).Drop())
			},
		},
		firewalled("host-firewall-drop", "host-firewall-drop", TimesOut, Server, nft.Input, port.Drop()),
		{
			Name: "host-firewall-drop-all", Cause: "host-firewall-drop", Connect: TimesOut,
			make: func(l *Lab) {
				l.service(Server)
				// Without neighbour discovery the host would not be there at all.
				l.chain(Server, nft.Chain{Hook: nft.Input, DropRest: true, Rules: []nft.Rule{
					nft.If(nft.ICMPv6(neighbourSolicitation)).Accept(),
					nft.If(nft.ICMPv6(neighbourAdvertisement)).Accept(),
				}})
			},
		},
		firewalled("host-firewall-reset", "host-firewall-reset", Refused, Server, nft.Input, port.Reset()),
		firewalled("host-firewall-reject", "host-firewall-reject", Refused, Server, nft.Input, port.Reject()),
		{
			Name: "host-no-return-route", Connect: TimesOut,
			make: func(l *Lab) {
				l.service(Server)
				l.configure(Server, func(c *rtnl.Changer) error { return c.DelRoute(rtnl.RouteSpec{Dst: everywhere(l)}) })
			},
		},
		{
			// There is no such filter for IPv6.
			Name: "host-reverse-path-filter", Families: []Family{V4}, Connect: TimesOut,
			Topology: twoLinksToServer(),
			make: func(l *Lab) {
				l.service(Server)
				l.sysctl(Server, "net.ipv4.conf.eth0.rp_filter", "1")
			},
		},
		{
			Name: "host-address-missing", Connect: TimesOut,
			make: func(l *Lab) {
				l.service(Server)
				l.dst = l.nobody()
				l.configure(R2, func(c *rtnl.Changer) error {
					return c.AddRoute(rtnl.RouteSpec{Dst: only(l.dst.Addr()), Via: l.Addr(Server)})
				})
			},
		},
		{
			Name: "tcp-signature-required", Connect: TimesOut,
			make: func(l *Lab) {
				l.serve(Server, 22, ssh)
				l.accept(l.listen(Server, l.dst, signature(l.Addr(Client))), silent)
			},
		},
		{
			// RFC 5082: 255 can only come from the own link.
			Name: "ttl-security-own-link", Cause: "ttl-security", Topology: OwnLink(), Connect: TimesOut,
			make: func(l *Lab) {
				l.serve(Server, 22, ssh)
				l.accept(l.listen(Server, l.dst, minTTL(l.Family, 255)), silent)
			},
		},
		{
			// Two routers away, a SYN sent with 255 arrives with 253.
			Name: "ttl-security", Connect: TimesOut,
			make: func(l *Lab) {
				l.serve(Server, 22, ssh)
				l.accept(l.listen(Server, l.dst, minTTL(l.Family, 253)), silent)
			},
		},
		{
			Name: "nat-dead-backend-port", Cause: "nat-dead-backend", Connect: Refused,
			make: func(l *Lab) {
				l.serve(Server, 22, ssh)
				l.rules(R2, nft.NAT, port.DNAT(l.at(Server, 8081)))
			},
		},
		{
			Name: "nat-dead-backend-nearer", Cause: "nat-dead-backend", Connect: Refused,
			make: func(l *Lab) {
				l.serve(Server, 22, ssh)
				l.rules(R1, nft.NAT, port.DNAT(l.at(R2, 8081)))
			},
		},
		{
			Name: "nat-dead-backend-host", Cause: "nat-dead-backend", Connect: HostUnreach,
			make: func(l *Lab) {
				l.serve(Server, 22, ssh)
				l.rules(R2, nft.NAT, port.DNAT(l.nobody()))
			},
		},
	}
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
