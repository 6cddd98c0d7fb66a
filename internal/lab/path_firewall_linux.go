package lab

import "github.com/tcpwhy/tcpwhy/internal/nft"

// pathFirewalls are rules about the target's port on the way.
func pathFirewalls() []Scenario {
	const drop, reset, reject, prohibited = "path-firewall-drop", "path-firewall-reset", "path-firewall-reject", "path-prohibited"
	// A rule in the forward chain of r2 answers, or begins to be silent, at the
	// host's own distance: r2 has checked the TTL by then. The TTL of its RST is
	// that of r2.
	return []Scenario{
		firewalled("path-prohibited", prohibited, HostUnreach, R2, nft.Forward, nft.Cond.Prohibit).with6(Denied).
			showing("Connecting fails at once with No route to host (IPv6: Permission denied); other ports of the server work."),
		firewalled("path-prohibited-r1", prohibited, HostUnreach, R1, nft.Forward, nft.Cond.Prohibit).with6(Denied).
			showing("The first router refuses the port with ICMP administratively prohibited."),
		{
			// 3/10 is what "icmp-host-prohibited" of well-known default rules says,
			// and 1/5, failed policy, the nearest that IPv6 has.
			Name: "path-prohibited-host", Cause: prohibited, Connect: HostUnreach, Connect6: Denied,
			Shows: "A router refuses the port with ICMP host prohibited (IPv6: failed policy).",
			fault: func(l *Lab) {
				family, code := pick(l, nft.V4(), nft.V6()), pick[byte](l, 10, 5)
				l.rules(R2, nft.Forward, nft.If(family, nft.DPort(l.dst.Port())).RejectCode(code))
			},
		},

		firewalled("path-firewall-reset-r1", reset, Refused, R1, nft.Forward, nft.Cond.Reset).leaving(nearer(reset), nil).
			showing("Connection refused, though the service runs: the first router resets."),
		firewalled("path-firewall-reset-r2", reset, Refused, R2, nft.Forward, nft.Cond.Reset).leaving(refusals, nil).
			showing("Connection refused, though the service runs: the router before the server resets."),
		firewalled("path-firewall-reset-r1-closed", reset, Refused, R1, nft.Forward, nft.Cond.Reset).leaving(nearer(reset), nil).closed().
			showing("Connection refused by the first router, and nothing listens behind it either."),
		firewalled("path-firewall-reset-r2-closed", reset, Refused, R2, nft.Forward, nft.Cond.Reset).leaving(refusals, nil).closed().
			showing("Connection refused by the router before the server, and nothing listens behind it either."),
		{
			// Nobody has the address: another port says so after 3 s, by ICMP. So the
			// RST is that of something on the way, a firewall or a forwarded port.
			Name: "path-firewall-reset-dead-host", Cause: reset, Connect: Refused,
			Shows: "Connection refused for an address that nobody has: a router resets the port.",
			// What resets for everybody behind it looks like a host, and there is none
			// that could tell more.
			Ideal: Ideal{Ordinary: refusals, Root: refusals, Host: refusals},
			setup: func(l *Lab) {
				l.service(Server)
				l.dst = l.nobody()
			},
			fault: func(l *Lab) { l.rules(R2, nft.Forward, nft.If(nft.DPort(l.dst.Port())).Reset()) },
		},
		{
			Name: "path-firewall-reset-odd-ttl", Cause: reset, Connect: Refused,
			Shows: "The router before the server resets; its packets start with TTL 100.",
			Blunt: "the program takes hop limits for distances, and does not compare them with the routers' own",
			// The RST looks as far away as r2's ICMP, and not as the host.
			Ideal: leaves(refusals, nil),
			setup: func(l *Lab) {
				l.service(Server)
				l.startTTL(R2, "100")
			},
			fault: func(l *Lab) { l.rules(R2, nft.Forward, nft.If(nft.DPort(l.dst.Port())).Reset()) },
		},
		{
			// A bridge is no hop: its RST in the host's name is as far away as one of
			// the host.
			Name: "path-firewall-reset-bridge", Cause: reset, Connect: Refused, Topology: BehindSwitch(),
			Shows: "Connection refused, though the service runs: a transparent firewall before the server resets in its name.",
			Ideal: leaves(refusals, refusals),
			fault: func(l *Lab) { l.bridgeRule(nft.Cond.Reset) },
		},

		firewalled("path-firewall-drop-r1", drop, TimesOut, R1, nft.Forward, nft.Cond.Drop).leaving(nearer(drop), nearer(drop)).
			showing("Connecting times out; other ports of the server work. The first router drops."),
		firewalled("path-firewall-drop-r2", drop, TimesOut, R2, nft.Forward, nft.Cond.Drop).leaving(silentPortUnseen, silentPort).
			showing("Connecting times out; other ports of the server work. The router before it drops."),
		// Before routing not even the router itself answers for the port: seen from
		// without privilege it might as well never have left.
		firewalled("path-firewall-drop-r1-prerouting", drop, TimesOut, R1, nft.Prerouting, nft.Cond.Drop).
			leaving(and(nearer(drop), "local-firewall-drop"), nearer(drop)).
			showing("Connecting times out, and for this port not even the first router shows itself."),
		firewalled("path-firewall-drop-r2-prerouting", drop, TimesOut, R2, nft.Prerouting, nft.Cond.Drop).leaving(nearer(drop), nearer(drop)).
			showing("Connecting times out; for this port the way ends before the second router."),
		{
			Name: "path-firewall-drop-r1-ingress", Cause: drop, Connect: TimesOut,
			Shows: "Connecting times out: the first router drops where the packets enter its interface.",
			Ideal: leaves(and(nearer(drop), "local-firewall-drop"), nearer(drop)),
			fault: func(l *Lab) { l.ingress(R1, "eth0", nft.If(nft.DPort(l.dst.Port())).Drop()) },
		},
		{
			Name: "path-firewall-drop-bridge", Cause: drop, Connect: TimesOut, Topology: BehindSwitch(),
			Shows: "Connecting times out: a transparent firewall before the server drops.",
			Ideal: leaves(silentPortUnseen, silentPort),
			fault: func(l *Lab) { l.bridgeRule(nft.Cond.Drop) },
		},

		firewalled("path-firewall-reject", reject, Refused, R2, nft.Forward, nft.Cond.Reject).
			showing("Connection refused: a router rejects the port with ICMP port unreachable."),
		firewalled("path-firewall-reject-r1", reject, Refused, R1, nft.Forward, nft.Cond.Reject).
			showing("Connection refused: the first router rejects the port with ICMP port unreachable."),
		firewalled("path-firewall-reject-host", reject, HostUnreach, R2, nft.Forward, nft.Cond.RejectHost).
			showing("No route to host at once: a router rejects the port with ICMP host unreachable."),
		// Other ports of the host answer, so it is no matter of routes.
		firewalled("path-firewall-reject-net", reject, NetUnreach, R2, nft.Forward, nft.Cond.RejectNet).
			showing("Network is unreachable: a router rejects the port with ICMP net unreachable."),
		{
			Name: "path-firewall-reject-bridge", Cause: reject, Connect: Refused, Topology: BehindSwitch(),
			Shows: "Connection refused: a transparent firewall before the server rejects in its name.",
			Ideal: leaves(rejections, rejections),
			fault: func(l *Lab) { l.bridgeRule(nft.Cond.Reject) },
		},
	}
}

// ingress adds rules where packets come in at an interface.
func (l *Lab) ingress(host, iface string, rules ...nft.Rule) {
	l.chain(host, nft.Chain{Hook: nft.Ingress, Device: iface, Rules: rules})
}

// bridgeRule makes the switch before the server a firewall for the target's port.
func (l *Lab) bridgeRule(does func(nft.Cond) nft.Rule) {
	l.ingress(Switch, "eth0", does(nft.If(nft.DPort(l.dst.Port()))))
}

// startTTL sets the TTL, or hop limit, that packets of a host start with.
func (l *Lab) startTTL(host, ttl string) {
	if l.Family == V4 {
		l.sysctl(host, "net.ipv4.ip_default_ttl", ttl)
		return
	}
	l.sysctl(host, "net.ipv6.conf.all.hop_limit", ttl)
	for _, e := range l.Scenario.Topology.ends(host) {
		l.sysctl(host, "net.ipv6.conf."+e.Interface+".hop_limit", ttl)
	}
}
