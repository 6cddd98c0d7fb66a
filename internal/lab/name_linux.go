package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"github.com/miekg/dns"

	"github.com/tcpwhy/tcpwhy/internal/nft"
)

// app is the name of the server.
const app = "app.example"

// names are faults of the way from a name to addresses.
func names() []Scenario {
	return []Scenario{
		answered("name-not-found", zone{}, dns.RcodeNameError),
		answered("name-no-address", zone{addrs: map[string][]string{app + ".": nil}}, dns.RcodeSuccess),
		answered("dns-server-failure", zone{rcode: dns.RcodeServerFailure}, dns.RcodeServerFailure),
		answered("dns-query-refused", zone{rcode: dns.RcodeRefused}, dns.RcodeRefused),
		answered("dns-cname-broken", zone{cname: map[string]string{app + ".": "gone.example."}}, dns.RcodeNameError),
		unanswered("dns-timeout", os.ErrDeadlineExceeded, func(l *Lab) { l.resolve(zone{silent: true}) }),
		unanswered("dns-unreachable", syscall.ECONNREFUSED, (*Lab).unresolve),
		unanswered("dns-no-server", syscall.ECONNREFUSED, func(l *Lab) {
			l.unresolve()
			l.file("/etc/resolv.conf", "")
		}),
		{
			Name: "dns-search-suffix", Connect: Refused,
			Ideal: leaves(and(refusalsFromSomewhere, "dns-search-suffix"), and(refusals, "dns-search-suffix")),
			prove: proveAnswers(map[string]int{app + ".": dns.RcodeNameError, app + ".corp.example.": dns.RcodeSuccess}),
			setup: func(l *Lab) {
				l.named()
				l.dst = l.neighbour()
			},
			fault: func(l *Lab) {
				l.resolve(zone{addrs: map[string][]string{"*.corp.example.": {l.dst.Addr().String()}}})
				l.file("/etc/resolv.conf", "search corp.example\nnameserver "+l.resolver().String()+"\n")
			},
		},
		{
			Name: "hosts-file-override", Connect: Refused,
			Ideal: leaves(and(refusalsFromSomewhere, "hosts-file-override"), and(refusals, "hosts-file-override")),
			prove: proveAnswers(map[string]int{app + ".": dns.RcodeSuccess}),
			setup: func(l *Lab) {
				l.named()
				l.dst = l.neighbour()
			},
			fault: func(l *Lab) { l.hosts(l.dst.Addr().String() + " " + app) },
		},
		{
			Name: "name-points-to-self", Connect: Refused,
			Ideal: leaves([]string{"name-points-to-self", "no-listener"}, []string{"name-points-to-self", "no-listener"}),
			prove: proveAnswers(map[string]int{app + ".": dns.RcodeSuccess}),
			setup: func(l *Lab) {
				l.named()
				l.dst = loopback(l, l.dst.Port())
			},
			fault: func(l *Lab) { l.name(l.dst.Addr()) },
		},
		{
			Name: "some-addresses-fail", Connect: Refused, prove: proveServerWorks,
			setup: func(l *Lab) {
				l.named()
				l.dst = l.neighbour()
			},
			fault: func(l *Lab) { l.name(l.dst.Addr(), l.Addr(Server)) },
		},
		{
			Name: "some-addresses-fail-dead", Cause: "some-addresses-fail", Connect: HostUnreach, prove: proveServerWorks,
			setup: func(l *Lab) {
				l.named()
				l.dst = l.nobody()
			},
			fault: func(l *Lab) { l.name(l.dst.Addr(), l.Addr(Server)) },
		},
		{
			Name: "address-family-broken", Connect: TimesOut, prove: proveOtherFamilyWorks,
			setup: func(l *Lab) { l.named() },
			fault: func(l *Lab) {
				l.rules(R1, nft.Forward, nft.If(pick(l, nft.V4(), nft.V6())).Drop())
			},
		},
	}
}

// answered is a name server whose answer leads nowhere.
func answered(name string, z zone, rcode int) Scenario {
	return Scenario{
		Name:  name,
		prove: proveAnswers(map[string]int{app + ".": rcode}),
		setup: func(l *Lab) { l.named() },
		fault: func(l *Lab) { l.resolve(z) },
	}
}

// unanswered is a name server that gives none.
func unanswered(name string, want error, fault func(*Lab)) Scenario {
	return Scenario{
		Name: name,
		prove: func(ctx context.Context, l *Lab) error {
			if m, err := l.ask(ctx, app+".", quiet); !errors.Is(err, want) {
				return fmt.Errorf("the name server answers %v, %w; want %w", m, err, want)
			}
			return nil
		},
		setup: func(l *Lab) { l.named() },
		fault: fault,
	}
}

// name makes app lead to these addresses, and the target that name.
func (l *Lab) name(addrs ...netip.Addr) {
	var list []string
	for _, a := range addrs {
		list = append(list, a.String())
	}
	l.resolve(zone{addrs: map[string][]string{app + ".": list}})
	l.target = fmt.Sprintf("%s:%d", app, l.dst.Port())
}

// dualStack makes app lead to the server's addresses of both families.
func (l *Lab) dualStack() { l.name(l.machines[Server].addrs...) }

// named is a healthy server that the user knows by name.
func (l *Lab) named() {
	l.service(Server)
	l.dualStack()
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

// proveAnswers checks the response code for each name.
func proveAnswers(want map[string]int) func(context.Context, *Lab) error {
	return func(ctx context.Context, l *Lab) error {
		for name, rcode := range want {
			m, err := l.ask(ctx, name, Patience)
			if err != nil {
				return err
			}
			if m.Rcode != rcode {
				return fmt.Errorf("the name server says %s for %s, want %s", dns.RcodeToString[m.Rcode], name, dns.RcodeToString[rcode])
			}
		}
		return nil
	}
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
