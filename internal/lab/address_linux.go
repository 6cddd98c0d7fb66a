package lab

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// addresses are names that lead to addresses, and those, or some, fail.
func addresses() []Scenario {
	return []Scenario{
		overridden("hosts-file-override", Refused, (*Lab).neighbour, clientOnly(and(refusals, "hosts-file-override"), and(refusals, "hosts-file-override"))).showing("Connection refused: the hosts file has an old address."),
		overridden("hosts-file-override-dead", HostUnreach, (*Lab).nobody, clientOnly([]string{"hosts-file-override", "host-down", "path-blackhole"}, []string{"hosts-file-override", "host-down", "path-blackhole"})).showing("No route to host after 3 s: the hosts file has an old address.").caused("hosts-file-override"),
		self("name-points-to-self", func(l *Lab) netip.Addr { return loopback(l, 0).Addr() }).showing("Connection refused: the name leads to the loopback address."),
		self("name-points-to-self-any", func(l *Lab) netip.Addr { return pick(l, netip.IPv4Unspecified(), netip.IPv6Unspecified()) }).showing("Connection refused: the name leads to the unspecified address."),
		self("name-points-to-self-own-address", func(l *Lab) netip.Addr { return l.Addr(Client) }).with("no-listener").showing("Connection refused: the name leads to this host itself."),
		mixed("some-addresses-fail", Refused, (*Lab).neighbour, nil).showing("Some programs fail with Connection refused: one of two addresses refuses."),
		mixed("some-addresses-fail-dead", HostUnreach, (*Lab).nobody, nil).showing("Some programs wait for 3 s: nobody has one of two addresses."),
		mixed("some-addresses-fail-dropped", TimesOut, (*Lab).neighbour, func(l *Lab) {
			l.rules(R2, nft.Input, nft.If(nft.DPort(l.dst.Port())).Drop())
		}).showing("Some programs time out: a firewall drops at one of two addresses."),
		{
			Name: "some-addresses-fail-two-of-three", Cause: "some-addresses-fail", Connect: Refused, prove: proveServerWorks,
			Shows: "Some programs fail: two of three addresses do not work.",
			setup: func(l *Lab) {
				l.named()
				l.dst = l.neighbour()
			},
			fault: func(l *Lab) { l.name(l.dst.Addr(), l.nobody().Addr(), l.Addr(Server)) },
		},
		{
			Name: "some-addresses-fail-all-differently", Cause: "no-listener", Also: []string{"host-down"}, Connect: Refused,
			Shows: "Nothing works: one address refuses, and nobody has the other.",
			Ideal: clientOnly(and(refusals, "host-down", "path-blackhole"), and(refusals, "host-down", "path-blackhole")),
			setup: func(l *Lab) {
				l.named()
				l.dst = l.neighbour()
			},
			fault: func(l *Lab) { l.name(l.dst.Addr(), l.nobody().Addr()) },
		},
		family("address-family-broken", TimesOut, func(l *Lab) {
			l.rules(R1, nft.Forward, nft.If(pick(l, nft.V4(), nft.V6())).Drop())
		}).showing("Some programs time out: with one IP version a router drops, with the other all is well."),
		family("address-family-broken-refused", Refused, func(l *Lab) { l.serveAt(Server, otherFamily(l), web(http.StatusOK)) }).showing("Some programs fail with Connection refused: the service listens for one IP version only.").with("listens-elsewhere"),
		family("address-family-broken-no-route", NetUnreach, func(l *Lab) {
			l.configure(Client, func(c *rtnl.Changer) error { return c.DelRoute(rtnl.RouteSpec{Dst: everywhere(l)}) })
		}).showing("Some programs fail with Network is unreachable: this host has a route for one IP version only.").with("no-route"),
	}
}

// with adds causes that hold beside the scenario's own.
func (s Scenario) with(also ...string) Scenario {
	s.Also = also
	return s
}

// oddNames are names that are unusual and work.
func oddNames() []Scenario {
	return []Scenario{
		reached("none-alias", app, func(l *Lab) {
			l.resolve(zone{
				cname: map[string]string{app + ".": "www.example.", "www.example.": "cdn.example."},
				addrs: map[string][]string{"cdn.example.": l.dualStack()[app+"."]},
			})
		}).showing("Works. The name is an alias of an alias."),
		reached("none-idn", "bücher.example", func(l *Lab) {
			l.resolve(zone{addrs: map[string][]string{"xn--bcher-kva.example.": l.dualStack()[app+"."]}})
		}).showing("Works. The name is not in ASCII."),
		reached("none-underscore", "my_app.example", func(l *Lab) {
			l.resolve(zone{addrs: map[string][]string{"my_app.example.": l.dualStack()[app+"."]}})
		}).showing("Works. The name has an underscore, which no host name should."),
		reached("none-upper-case-dot", "APP.Example.", func(*Lab) {}).showing("Works. The name is written in capitals and with its last dot."),
		reached("none-search-suffix", "app", func(l *Lab) {
			l.resolve(zone{addrs: map[string][]string{"app" + corp + ".": l.dualStack()[app+"."]}})
			l.search()
		}).showing("Works. The name needs a search suffix."),
		reached("none-one-family", app, func(l *Lab) { l.name(l.Addr(Server)) }).showing("Works. The name has an address of one IP version only."),
		reached("none-hosts-file", app, func(l *Lab) {
			l.resolve(zone{addrs: leading(l.nobody().Addr())})
			l.hosts(l.Addr(Server).String() + " " + app)
		}).showing("Works. The hosts file is right, and DNS is not."),
		reached("none-dns-truncated", app, func(l *Lab) { l.resolve(zone{addrs: l.dualStack(), cut: true}) }).showing("Works. The answer is too long for UDP, so the name server is asked over TCP."),
		// REFUSED and SERVFAIL make the C library ask the next server; resolver(3).
		reached("none-dns-first-refuses", app, func(l *Lab) { l.disagree(zone{rcode: dns.RcodeRefused}) }).showing("Works. The first name server refuses, and the second answers."),
		reached("none-dns-first-fails", app, func(l *Lab) { l.disagree(zone{rcode: dns.RcodeServerFailure}) }).showing("Works. The first name server fails, and the second answers."),
		reached("none-dns-125ms", app, func(l *Lab) {
			l.resolve(zone{addrs: l.dualStack(), late: quiet / 2})
		}).showing("Works. The name server takes 125 ms."),
	}
}

// reached is a healthy server that the user knows by a certain name.
func reached(name, as string, odd func(*Lab)) Scenario {
	return Scenario{
		Name: name, Cause: "none", Connect: Opens, After: Talks,
		setup: func(l *Lab) {
			l.named()
			odd(l)
			l.call(as)
		},
	}
}

// overridden is a name for which the hosts file has another address than DNS.
func overridden(name string, connect Outcome, to func(*Lab) netip.AddrPort, ideal Ideal) Scenario {
	return Scenario{
		Name: name, Connect: connect, Ideal: ideal,
		prove: proveAnswers(map[string]int{app + ".": dns.RcodeSuccess}),
		setup: func(l *Lab) {
			l.named()
			l.dst = to(l)
		},
		fault: func(l *Lab) { l.hosts(l.dst.Addr().String() + " " + app) },
	}
}

// self is a name that leads to the user's own host, where nothing listens.
func self(name string, to func(*Lab) netip.Addr) Scenario {
	return Scenario{
		Name: name, Cause: "name-points-to-self", Connect: Refused,
		Ideal: clientOnly([]string{"name-points-to-self", "no-listener"}, []string{"name-points-to-self", "no-listener"}),
		prove: proveAnswers(map[string]int{app + ".": dns.RcodeSuccess}),
		setup: func(l *Lab) {
			l.named()
			l.dst = netip.AddrPortFrom(to(l), l.dst.Port())
		},
		fault: func(l *Lab) { l.name(l.dst.Addr()) },
	}
}

// mixed is a name that leads to an address that fails and to one that works.
func mixed(name string, connect Outcome, failing func(*Lab) netip.AddrPort, more func(*Lab)) Scenario {
	return Scenario{
		Name: name, Cause: "some-addresses-fail", Connect: connect, prove: proveServerWorks,
		setup: func(l *Lab) {
			l.named()
			l.dst = failing(l)
		},
		fault: func(l *Lab) {
			l.name(l.dst.Addr(), l.Addr(Server))
			if more != nil {
				more(l)
			}
		},
	}
}

// family is a name with addresses of both families, of which one fails.
func family(name string, connect Outcome, fault func(*Lab)) Scenario {
	return Scenario{
		Name: name, Cause: "address-family-broken", Connect: connect, prove: proveOtherFamilyWorks,
		Ideal: clientOnly([]string{"address-family-broken"}, []string{"address-family-broken"}),
		setup: func(l *Lab) { l.named() },
		fault: fault,
	}
}

// otherFamily is the target's port at all addresses of the other family.
func otherFamily(l *Lab) netip.AddrPort {
	return netip.AddrPortFrom(pick(l, netip.IPv6Unspecified(), netip.IPv4Unspecified()), l.dst.Port())
}

// neighbour is the target's port at router2's address on the server's link,
// where nothing listens.
func (l *Lab) neighbour() netip.AddrPort {
	return netip.AddrPortFrom(pick(l, netip.MustParseAddr("10.77.3.1"), netip.MustParseAddr("fd77:3::1")), l.dst.Port())
}

// nobody is the target's port at an address on the server's link that nobody
// has.
func (l *Lab) nobody() netip.AddrPort {
	return netip.AddrPortFrom(pick(l, netip.MustParseAddr("10.77.3.9"), netip.MustParseAddr("fd77:3::9")), l.dst.Port())
}

// proveServerWorks checks that the server itself can be reached.
func proveServerWorks(ctx context.Context, l *Lab) error {
	return l.expect(ctx, l.at(Server, l.dst.Port()), Opens, Talks)
}

// proveOtherFamilyWorks checks that the server can be reached over the other
// family.
func proveOtherFamilyWorks(ctx context.Context, l *Lab) error {
	other := l.machines[Server].addr(V4 + V6 - l.Family)
	return l.expect(ctx, netip.AddrPortFrom(other, l.dst.Port()), Opens, Talks)
}
