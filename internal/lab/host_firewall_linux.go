package lab

import "github.com/tcpwhy/tcpwhy/internal/nft"

// hostFirewalls are rules of the host itself.
func hostFirewalls() []Scenario {
	const drop, reset, reject = "host-firewall-drop", "host-firewall-reset", "host-firewall-reject"
	return []Scenario{
		firewalled("host-firewall-drop", drop, TimesOut, Server, nft.Input, nft.Cond.Drop).leaving(silentPortUnseen, silentPort).
			showing("Connecting times out; other ports of the server work. The server's own rules drop."),
		firewalled("host-firewall-drop-prerouting", drop, TimesOut, Server, nft.Prerouting, nft.Cond.Drop).leaving(silentPortUnseen, silentPort).
			showing("Connecting times out: the server's own rules drop before routing."),
		{
			Name: "host-firewall-drop-ingress", Cause: drop, Connect: TimesOut,
			Shows: "Connecting times out: the server's own rules drop where packets enter its interface.",
			Ideal: leaves(silentPortUnseen, silentPort),
			fault: func(l *Lab) { l.ingress(Server, "eth0", nft.If(nft.DPort(l.dst.Port())).Drop()) },
		},
		{
			Name: "host-firewall-drop-output", Cause: drop, Connect: TimesOut,
			Shows: "Connecting times out: the server's own output rules drop its answers.",
			Ideal: leaves(silentPortUnseen, silentPort),
			fault: func(l *Lab) { l.rules(Server, nft.Output, nft.If(nft.SPort(l.dst.Port())).Drop()) },
		},
		{
			Name: "host-firewall-drop-forward", Cause: drop, Connect: TimesOut, Topology: Containers(),
			Shows: "Connecting times out: the port is published, and the server's forward rules drop what goes to the container.",
			Ideal: leaves(silentPortUnseen, silentPort),
			setup: func(l *Lab) { l.published() },
			fault: func(l *Lab) {
				l.rules(Server, nft.Forward, nft.If(nft.DAddr(l.Addr(Container)), nft.DPort(l.dst.Port())).Drop())
			},
		},
		{
			Name: "host-firewall-drop-tcp", Cause: drop, Connect: TimesOut,
			Shows: "Connecting times out, to every port; the server answers ping.",
			// An echo takes privilege. A bare ACK tells of no queue where no TCP comes in.
			Ideal: leaves(silence, and(silentPort, "accept-queue-full", "syn-queue-full")),
			fault: func(l *Lab) { l.rules(Server, nft.Input, nft.If(nft.TCP()).Drop()) },
		},
		{
			Name: "host-firewall-drop-us", Cause: drop, Connect: TimesOut,
			Shows: "Connecting times out: the server drops whatever comes from this address, and nothing else.",
			Ideal: leaves(silence, silence),
			fault: func(l *Lab) { l.rules(Server, nft.Input, nft.If(nft.SAddr(l.Addr(Client))).Drop()) },
		},
		{
			Name: "host-firewall-drop-nat-gateway", Cause: drop, Connect: TimesOut, Topology: NATGateway(),
			Shows: "Connecting times out: the server drops what comes from the gateway that hides the client.",
			Ideal: leaves(silentPortUnseen, silentPort),
			fault: func(l *Lab) {
				l.rules(Server, nft.Input, nft.If(nft.SAddr(ip(l.Family, 2, 1)), nft.DPort(l.dst.Port())).Drop())
			},
		},
		{
			Name: "host-firewall-drop-all", Cause: drop, Connect: TimesOut,
			Shows: "Connecting times out, and the server answers nothing at all.",
			Ideal: leaves(silence, silence),
			fault: func(l *Lab) {
				// Without neighbour discovery the host would not be there at all.
				l.chain(Server, nft.Chain{Hook: nft.Input, DropRest: true, Rules: []nft.Rule{
					nft.If(nft.ICMPv6(neighbourSolicitation)).Accept(),
					nft.If(nft.ICMPv6(neighbourAdvertisement)).Accept(),
				}})
			},
		},
		// The length of the path follows the source port, the place of the rule does not.
		firewalled("host-firewall-drop-uneven-paths", drop, TimesOut, Server, nft.Input, nft.Cond.Drop).leaving(silentPortUnseen, silentPort).over(UnevenPaths()).
			showing("Connecting times out: the server's own rules drop, at the end of two paths of unequal length."),
		firewalled("host-firewall-reset-uneven-paths", reset, Refused, Server, nft.Input, nft.Cond.Reset).leaving(refusals, refusals).over(UnevenPaths()).
			showing("Connection refused by the server's own rules, at the end of two paths of unequal length."),
		firewalled("host-firewall-reset", reset, Refused, Server, nft.Input, nft.Cond.Reset).leaving(refusals, refusals).
			showing("Connection refused, though the service runs: the server's own rules reset."),
		firewalled("host-firewall-reset-closed", reset, Refused, Server, nft.Input, nft.Cond.Reset).leaving(refusals, refusals).closed().
			showing("Connection refused by the server's own rules, and nothing listens either."),
		firewalled("host-firewall-reject", reject, Refused, Server, nft.Input, nft.Cond.Reject).leaving(rejections, rejections).
			showing("Connection refused: the server's own rules reject with ICMP port unreachable."),
		firewalled("host-firewall-reject-host", reject, HostUnreach, Server, nft.Input, nft.Cond.RejectHost).leaving(rejections, rejections).
			showing("No route to host at once: the server's own rules reject with ICMP host unreachable."),
		firewalled("host-firewall-reject-net", reject, NetUnreach, Server, nft.Input, nft.Cond.RejectNet).leaving(rejections, rejections).
			showing("Network is unreachable: the server's own rules reject with ICMP net unreachable."),
		firewalled("host-firewall-reject-prohibited", reject, HostUnreach, Server, nft.Input, nft.Cond.Prohibit).with6(Denied).leaving(rejections, rejections).
			showing("No route to host (IPv6: Permission denied): the server's own rules reject as prohibited."),
		firewalled("host-firewall-reject-closed", reject, Refused, Server, nft.Input, nft.Cond.Reject).leaving(rejections, rejections).closed().
			showing("Connection refused: the server's own rules reject with ICMP, and nothing listens either."),
	}
}
