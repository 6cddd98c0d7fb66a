package lab

import (
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// backends are ports that are forwarded to one that does not answer.
func backends() []Scenario {
	const cause = "nat-dead-backend"
	reset := nearer("path-firewall-reset")
	// Out of the NAT's own rules, root here sees what is sent in place of the SYN.
	all := []Scenario{
		{
			Name: "nat-dead-backend-port", Cause: cause, Connect: Refused,
			Shows: "Connection refused: the router before the server leads the port to another one, where nothing listens.",
			Ideal: leaves(refusals, refusals),
			fault: func(l *Lab) { l.translate(R2, l.at(Server, deadPort)) },
		},
		{
			Name: "nat-dead-backend-nearer", Cause: cause, Connect: Refused,
			Shows: "Connection refused: the first router leads the port to the second, where nothing listens.",
			Ideal: leaves(reset, reset),
			fault: func(l *Lab) { l.translate(R1, l.at(R2, deadPort)) },
		},
		{
			Name: "nat-dead-backend-at-host", Cause: cause, Connect: Refused,
			Shows: "Connection refused: the server's own rules lead the port to another one, where nothing listens.",
			Ideal: leaves(refusals, refusals),
			fault: func(l *Lab) { l.translate(Server, l.at(Server, deadPort)) },
		},
		{
			Name: "nat-dead-backend-host", Cause: cause, Connect: HostUnreach,
			Shows: "No route to host after 3 s: a router leads the port to an address that nobody has.",
			Blunt: "the ICMP error comes after 3 s, and the program does not wait for it where the host answers other ports",
			fault: func(l *Lab) { l.translate(R2, l.nobody()) },
		},
		{
			Name: "nat-dead-backend-silent", Cause: cause, Connect: TimesOut,
			Shows: "Connecting times out: a router leads the port to a backend that drops.",
			Ideal: leaves(silentPortUnseen, silentPort),
			fault: func(l *Lab) {
				l.rules(Server, nft.Input, nft.If(nft.DPort(deadPort)).Drop())
				l.translate(R2, l.at(Server, deadPort))
			},
		},
		{
			Name: "nat-dead-backend-here", Cause: cause, Connect: Refused,
			Shows: "Connection refused: this host's own rules lead the address to a backend where nothing listens.",
			Ideal: leaves(refusals, nil),
			fault: func(l *Lab) { l.translateOwn(l.at(Server, deadPort)) },
		},
		{
			Name: "nat-dead-backend-here-nearer", Cause: cause, Connect: Refused,
			Shows: "Connection refused: this host's own rules lead the address to the first router, where nothing listens.",
			// Without privilege it is not seen by which interface the RST comes.
			Ideal: leaves(and(reset, "local-firewall-reject"), nil),
			fault: func(l *Lab) { l.translateOwn(l.at(R1, deadPort)) },
		},
		{
			Name: "nat-dead-backend-here-host", Cause: cause, Connect: HostUnreach,
			Shows: "No route to host after 3 s: this host's own rules lead the address to one that nobody has.",
			Blunt: "the ICMP error comes after 3 s, and the program does not wait for it where the host answers other ports",
			fault: func(l *Lab) { l.translateOwn(l.nobody()) },
		},
		// What refuses is farther away than the rest of the address.
		{
			Name: "nat-dead-backend-forwarded", Cause: cause, Connect: Refused, Topology: ForwardingGateway(),
			Shows: "Connection refused: the gateway forwards the port to a server where nothing listens.",
			setup: func(l *Lab) { l.forwarded() },
			fault: func(l *Lab) { l.stop(Server, l.dst.Port()) },
		},
		{
			Name: "nat-dead-backend-forwarded-off", Cause: cause, Connect: HostUnreach, Topology: ForwardingGateway(),
			Shows: "No route to host after 3 s: the gateway forwards the port to a server that is off.",
			Blunt: "the ICMP error comes after 3 s, and the program does not wait for it where the host answers other ports",
			setup: func(l *Lab) { l.forwarded() },
			fault: func(l *Lab) { l.vanish(Server) },
		},
		{
			Name: "nat-dead-backend-container", Cause: cause, Connect: Refused, Topology: Containers(),
			Shows: "Connection refused: the port is published, and in the container nothing listens.",
			setup: func(l *Lab) { l.published() },
			fault: func(l *Lab) { l.stop(Container, l.dst.Port()) },
		},
		{
			Name: "nat-dead-backend-container-gone", Cause: cause, Connect: HostUnreach, Topology: Containers(),
			Shows: "No route to host after 3 s: the port is published, and the container is gone.",
			Blunt: "the ICMP error comes after 3 s, and the program does not wait for it where the host answers other ports",
			setup: func(l *Lab) { l.published() },
			fault: func(l *Lab) { l.vanish(Container) },
		},
		{
			Name: "listens-in-other-namespace-container", Cause: "listens-in-other-namespace", Also: []string{"no-listener"}, Connect: Refused, Topology: Containers(),
			Shows: "Connection refused: the service runs in a container, and its port is not published.",
			Ideal: leaves(refusals, refusals),
			setup: func(l *Lab) {
				l.serve(Server, 22, ssh)
				l.service(Container)
				l.inhabit(Container)
			},
		},
	}
	for i := range all {
		// Where something before the host leads the SYN to another, the host does not
		// see what became of it.
		switch s := &all[i]; s.Name {
		case "nat-dead-backend-nearer", "nat-dead-backend-here":
			s.Ideal.Host = []string{cause, "path-firewall-reset"}
		case "nat-dead-backend-here-nearer":
			s.Ideal.Host = []string{cause, "path-firewall-reset", "local-firewall-reject"}
		case "listens-in-other-namespace-container":
			s.Ideal.Host = s.Truth()
		case "nat-dead-backend-host", "nat-dead-backend-here-host":
			s.Ideal.Host = []string{cause, "path-firewall-drop"}
		}
	}
	return all
}

// balancedBackends are those of a load balancer.
func balancedBackends() []Scenario {
	const cause = "nat-dead-backend"
	// The source port decides, as it would between parallel paths.
	byPort := []string{"nat-dead-backend", "bad-ecmp-path"}
	stop := func(backends ...string) func(*Lab) {
		return func(l *Lab) {
			for _, b := range backends {
				l.stop(b, l.dst.Port())
			}
		}
	}
	all := []Scenario{
		{
			Name: "nat-dead-backend-one-of-three", Cause: cause, Topology: LoadBalancer(), prove: proveMixed(quiet, Opens, Refused),
			Shows: "Every third connection is refused: a load balancer has one dead backend.",
			Args:  comesAndGoes(32),
			Ideal: leaves(byPort, byPort),
			setup: func(l *Lab) { l.balanced(bySourcePort) },
			fault: stop(Backend2),
		},
		{
			// In turn, whatever the source port: so would a service fare that comes and
			// goes.
			Name: "nat-dead-backend-one-in-turn", Cause: cause, Topology: LoadBalancer(), prove: proveMixed(quiet, Opens, Refused),
			Shows: "Every third connection is refused, in turn: a load balancer has one dead backend.",
			Args:  comesAndGoes(32),
			Ideal: leaves(and(byPort, "service-restarting"), and(byPort, "service-restarting")),
			setup: func(l *Lab) { l.balanced(inTurn) },
			fault: stop(Backend2),
		},
		{
			Name: "nat-dead-backend-one-silent", Cause: cause, Topology: LoadBalancer(), prove: proveMixed(quiet, Opens, TimesOut),
			Shows: "Every third connection times out: one backend of a load balancer drops.",
			Args:  comesAndGoes(32),
			Ideal: leaves(someVanishUnseen, someVanish),
			setup: func(l *Lab) { l.balanced(bySourcePort) },
			fault: func(l *Lab) { l.rules(Backend2, nft.Input, nft.If(nft.DPort(l.dst.Port())).Drop()) },
		},
		{
			Name: "nat-dead-backend-one-gone", Cause: cause, Topology: LoadBalancer(), prove: proveMixed(Patience, Opens, HostUnreach),
			Shows: "Every third connection fails after 3 s: one backend of a load balancer is off.",
			Args:  comesAndGoes(32),
			Ideal: leaves(someVanishUnseen, someVanish),
			setup: func(l *Lab) { l.balanced(bySourcePort) },
			fault: func(l *Lab) { l.vanish(Backend2) },
		},
		{
			Name: "nat-dead-backend-all", Cause: cause, Topology: LoadBalancer(), Connect: Refused,
			Shows: "Connection refused: all backends of a load balancer are dead.",
			setup: func(l *Lab) { l.balanced(bySourcePort) },
			fault: stop(Backend1, Backend2, Backend3),
		},
		{
			Name: "nat-dead-backend-all-gone", Cause: cause, Topology: LoadBalancer(), Connect: HostUnreach,
			Shows: "No route to host after 3 s: all backends of a load balancer are off.",
			Blunt: "the ICMP error comes after 3 s, and the program does not wait for it where the host answers other ports",
			setup: func(l *Lab) { l.balanced(bySourcePort) },
			fault: func(l *Lab) {
				for _, b := range []string{Backend1, Backend2, Backend3} {
					l.vanish(b)
				}
			},
		},
	}
	for i := range all {
		// The balancer sees what it sends on, and not who of several should answer.
		if all[i].Args != nil {
			all[i].Ideal.Host = and(all[i].Ideal.Root, "service-restarting")
		}
	}
	return all
}

// deadPort is one at which nothing listens.
const deadPort = 8081

// translate makes a host lead the target's port elsewhere.
func (l *Lab) translate(host string, to netip.AddrPort) {
	l.rules(host, nft.NAT, nft.If(nft.DPort(l.dst.Port())).DNAT(to))
}

// translateOwn makes the client's own packets to the target go elsewhere.
func (l *Lab) translateOwn(to netip.AddrPort) {
	l.rules(Client, nft.OutputNAT, nft.If(nft.DAddr(l.dst.Addr()), nft.DPort(l.dst.Port())).DNAT(to))
}

// forwarded is a healthy server behind r2, which has the target's address.
func (l *Lab) forwarded() {
	l.service(Server)
	l.serve(R2, 22, ssh)
	l.dst = l.at(R2, l.dst.Port())
	l.translate(R2, l.at(Server, l.dst.Port()))
}

// published is a healthy service in a container of the server.
func (l *Lab) published() {
	l.serve(Server, 22, ssh)
	l.service(Container)
	l.translate(Server, l.at(Container, l.dst.Port()))
}

// A share says which connections the balancer gives to the i-th of n backends
// that are left.
type share func(n, i uint32) nft.Match

// By the source port, which is the same for all packets of a connection; and in
// turn, where each backend takes its part of what those before it leave.
var (
	bySourcePort share = func(_, i uint32) nft.Match { return nft.Share(3, i) }
	inTurn       share = func(n, _ uint32) nft.Match { return nft.Every(n) }
)

// balanced is a healthy service on three backends.
func (l *Lab) balanced(s share) {
	l.dst = l.at(Balancer, l.dst.Port())
	l.serve(Balancer, 22, ssh)
	var rules []nft.Rule
	for i, b := range []string{Backend1, Backend2, Backend3} {
		l.service(b)
		rules = append(rules, nft.If(nft.DPort(l.dst.Port()), s(uint32(3-i), uint32(i))).DNAT(l.at(b, l.dst.Port())))
	}
	l.rules(Balancer, nft.NAT, rules...)
}

// vanish takes a host's addresses: nobody answers for them any more.
func (l *Lab) vanish(host string) {
	for _, e := range l.Scenario.Topology.ends(host) {
		for _, a := range e.Addrs {
			l.configure(host, func(c *rtnl.Changer) error { return c.DelAddress(e.Interface, a) })
		}
	}
}
