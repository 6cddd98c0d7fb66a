package lab

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/tcpwhy/tcpwhy/internal/nft"
)

// app is the name of the server.
const app = "app.example"

// corp is a domain that a search list adds.
const corp = ".corp.example"

// names are faults of the way from a name to addresses.
func names() []Scenario {
	return slices.Concat(answers(), resolvers(), addresses())
}

// answers are name servers that answer, and lead nowhere.
func answers() []Scenario {
	long := zone{cname: map[string]string{app + ".": "a0.example."}}
	for i := range 16 {
		long.cname[fmt.Sprintf("a%d.example.", i)] = fmt.Sprintf("a%d.example.", i+1)
	}
	bogus := &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeSignatureExpired, ExtraText: "signature of example. expired"}
	return []Scenario{
		answered("name-not-found", zone{}, dns.RcodeNameError).showing("No such host: the name does not exist."),
		answered("name-no-address", zone{addrs: map[string][]string{app + ".": nil}}, dns.RcodeSuccess).showing("No address for the name: it exists, and has none."),
		onlyOther("name-no-address-ipv4", V4, "-4").showing("With IPv4 only, no address for the name: it has one of IPv6."),
		onlyOther("name-no-address-ipv6", V6, "-6").showing("With IPv6 only, no address for the name: it has one of IPv4."),
		answered("dns-server-failure", zone{rcode: dns.RcodeServerFailure}, dns.RcodeServerFailure).showing("Temporary failure in name resolution: the name server answers SERVFAIL."),
		answered("dns-server-failure-dnssec", zone{rcode: dns.RcodeServerFailure, why: bogus}, dns.RcodeServerFailure).showing("Temporary failure in name resolution: SERVFAIL, because a DNSSEC signature has expired.").caused("dns-server-failure"),
		answered("dns-query-refused", zone{rcode: dns.RcodeRefused}, dns.RcodeRefused).showing("The name server refuses the query."),
		answered("dns-cname-broken", zone{cname: map[string]string{app + ".": "gone.example."}}, dns.RcodeNameError).showing("No such host: the name is an alias for one that does not exist."),
		answered("dns-cname-broken-loop", zone{cname: map[string]string{app + ".": "www.example.", "www.example.": app + "."}}, dns.RcodeSuccess).showing("No address for the name: its aliases go round in a circle.").caused("dns-cname-broken"),
		answered("dns-cname-broken-long", long, dns.RcodeSuccess).showing("No address for the name: one alias leads to another, and that to the next, too often.").caused("dns-cname-broken"),
		{
			// The C library believes the first server: RFC 2308 makes that a final answer.
			Name: "name-not-found-first-server", Cause: "name-not-found",
			Shows: "No such host: so says the first name server, and the second knows better.",
			Ideal: clientOnly([]string{"name-not-found", "dns-stale-address"}, []string{"name-not-found", "dns-stale-address"}),
			prove: proveAnswers(map[string]int{app + ".": dns.RcodeNameError}),
			setup: func(l *Lab) { l.named() },
			fault: func(l *Lab) { l.disagree(zone{}) },
		},
	}
}

// resolvers are name servers that do not answer, or not as they should.
func resolvers() []Scenario {
	return []Scenario{
		unanswered("dns-timeout", TimesOut, func(l *Lab) { l.resolve(zone{silent: true}) }).showing("Resolving the name times out: the name server does not answer."),
		unanswered("dns-timeout-dropped", TimesOut, func(l *Lab) {
			l.rules(l.nameServer(), nft.Prerouting, guarded(nft.If(nft.DAddr(l.resolver())).Drop())...)
		}).showing("Resolving the name times out: a firewall before the name server drops.").caused("dns-timeout"),
		unanswered("dns-timeout-both", TimesOut, func(l *Lab) {
			l.resolve(zone{silent: true})
			l.resolveAt(R2, zone{silent: true})
			l.resolvers(l.resolver(), l.Addr(R2))
		}).showing("Resolving the name times out: neither name server answers.").caused("dns-timeout"),
		unanswered("dns-unreachable", Refused, (*Lab).unresolve).showing("Resolving the name fails: nothing listens on port 53 of the name server."),
		unanswered("dns-unreachable-prohibited", "", func(l *Lab) {
			l.rules(l.nameServer(), nft.Input, guarded(nft.If(nft.DAddr(l.resolver())).Prohibit())...)
		}).showing("Resolving the name fails: the name server's firewall prohibits.").caused("dns-unreachable"),
		{
			Name: "dns-unreachable-no-route", Cause: "dns-unreachable",
			Shows: "Resolving the name times out: a router has no route to the name server, and says so.",
			setup: func(l *Lab) { l.named() },
			fault: func(l *Lab) { l.resolvers(nowhere(l)) },
			prove: func(ctx context.Context, l *Lab) error {
				// The kernel tells only those who ask for soft errors; ip(7), IP_RECVERR.
				return unansweredBy(ctx, l, nowhere(l), TimesOut)
			},
		},
		unanswered("dns-no-server", Refused, func(l *Lab) {
			l.unresolve()
			l.file("/etc/resolv.conf", "")
		}).showing("Resolving the name fails: no name server is configured."),
		unanswered("dns-no-server-garbage", Refused, func(l *Lab) {
			l.unresolve()
			l.file("/etc/resolv.conf", "nameserver ns1.example\nnameserver 10.77.1\n")
		}).showing("Resolving the name fails: what is configured as name server is no address.").caused("dns-no-server"),
		{
			Name: "dns-tcp-blocked", prove: proveTruncated(Refused),
			Shows: "Resolving the name fails: the answer is too long for UDP, and the name server refuses TCP.",
			setup: func(l *Lab) { l.named() },
			fault: func(l *Lab) {
				l.resolve(zone{cut: true})
				l.stop(l.nameServer(), 53)
			},
		},
		{
			Name: "dns-tcp-blocked-dropped", Cause: "dns-tcp-blocked", prove: proveTruncated(TimesOut),
			Shows: "Resolving the name times out: the answer is too long for UDP, and a firewall drops TCP.",
			setup: func(l *Lab) { l.named() },
			fault: func(l *Lab) {
				l.resolve(zone{cut: true})
				l.rules(l.nameServer(), nft.Input, nft.If(nft.DPort(53)).Drop())
			},
		},
		slow("dns-slow", func(l *Lab) {
			l.resolve(zone{addrs: l.dualStack(), late: 800 * time.Millisecond})
		}).showing("Works, and resolving the name takes most of a second."),
		// Programs ask the servers one after the other.
		slow("dns-slow-first-dead", func(l *Lab) {
			l.resolve(zone{silent: true})
			l.resolveAt(R2, zone{addrs: l.dualStack()})
			l.resolvers(l.resolver(), l.Addr(R2))
		}).showing("Works, after seconds: the first name server is dead.").caused("dns-slow"),
		stale("dns-stale-address", Refused, (*Lab).neighbour, clientOnly(and(refusals, "dns-stale-address"), and(refusals, "dns-stale-address"))).showing("Connection refused: the first name server still has the old address."),
		stale("dns-stale-address-dead", HostUnreach, (*Lab).nobody, clientOnly([]string{"dns-stale-address", "host-down", "path-blackhole"}, []string{"dns-stale-address", "host-down", "path-blackhole"})).showing("No route to host after 3 s: the first name server still has the old address.").caused("dns-stale-address"),
		suffixed("dns-search-suffix", Refused, (*Lab).neighbour, clientOnly(and(refusals, "dns-search-suffix"), and(refusals, "dns-search-suffix"))).showing("Connection refused: the name does not exist, and with a search suffix it does."),
		suffixed("dns-search-suffix-dead", HostUnreach, (*Lab).nobody, clientOnly([]string{"dns-search-suffix", "host-down", "path-blackhole"}, []string{"dns-search-suffix", "host-down", "path-blackhole"})).showing("No route to host after 3 s: the name does not exist, and with a search suffix it does.").caused("dns-search-suffix"),
	}
}

// caused sets the cause of a scenario that a function makes.
func (s Scenario) caused(cause string) Scenario {
	s.Cause = cause
	return s
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

// onlyOther is a name without an address of the family that the user wants.
func onlyOther(name string, f Family, flag string) Scenario {
	return Scenario{
		Name: name, Cause: "name-no-address", Families: []Family{f}, Args: []string{flag},
		prove: proveAnswers(map[string]int{app + ".": dns.RcodeSuccess}),
		setup: func(l *Lab) { l.named() },
		fault: func(l *Lab) { l.name(l.machines[Server].addr(V4 + V6 - f)) },
	}
}

// unanswered is a name server that gives no answer, but an error; "" for that
// of an ICMP message that prohibits.
func unanswered(name string, want Outcome, fault func(*Lab)) Scenario {
	return Scenario{
		Name: name,
		prove: func(ctx context.Context, l *Lab) error {
			want := want
			if want == "" {
				want = pick(l, HostUnreach, Denied)
			}
			return unansweredBy(ctx, l, l.resolver(), want)
		},
		setup: func(l *Lab) { l.named() },
		fault: fault,
	}
}

// slow is a name server that is long in giving the right answer.
func slow(name string, fault func(*Lab)) Scenario {
	return Scenario{
		Name: name, Connect: Opens, After: Talks,
		prove: func(ctx context.Context, l *Lab) error {
			return unansweredBy(ctx, l, l.resolver(), TimesOut)
		},
		setup: func(l *Lab) { l.named() },
		fault: fault,
	}
}

// stale is a first name server that still has an old address.
func stale(name string, connect Outcome, old func(*Lab) netip.AddrPort, ideal Ideal) Scenario {
	return Scenario{
		Name: name, Connect: connect, Ideal: ideal, prove: proveServerWorks,
		setup: func(l *Lab) {
			l.named()
			l.dst = old(l)
		},
		fault: func(l *Lab) { l.disagree(zone{addrs: leading(l.dst.Addr())}) },
	}
}

// suffixed is a name that exists only with a search suffix.
func suffixed(name string, connect Outcome, to func(*Lab) netip.AddrPort, ideal Ideal) Scenario {
	return Scenario{
		Name: name, Connect: connect, Ideal: ideal,
		prove: proveAnswers(map[string]int{app + ".": dns.RcodeNameError, app + corp + ".": dns.RcodeSuccess}),
		setup: func(l *Lab) {
			l.named()
			l.dst = to(l)
		},
		fault: func(l *Lab) {
			l.resolve(zone{addrs: map[string][]string{"*" + corp + ".": {l.dst.Addr().String()}}})
			l.search()
		},
	}
}

// search gives the user a search list.
func (l *Lab) search() {
	l.file("/etc/resolv.conf", "search "+corp[1:]+"\nnameserver "+l.resolver().String()+"\n")
}

// disagree lets the first name server say something else than the second, which
// is right.
func (l *Lab) disagree(first zone) {
	l.resolve(first)
	l.resolveAt(R2, zone{addrs: l.dualStack()})
	l.resolvers(l.resolver(), l.Addr(R2))
}

// name makes app lead to these addresses, and the target that name.
func (l *Lab) name(addrs ...netip.Addr) {
	l.resolve(zone{addrs: leading(addrs...)})
	l.call(app)
}

// call makes a name of the server the target.
func (l *Lab) call(name string) { l.target = fmt.Sprintf("%s:%d", name, l.dst.Port()) }

// leading are records that make app lead to these addresses.
func leading(addrs ...netip.Addr) map[string][]string {
	var list []string
	for _, a := range addrs {
		list = append(list, a.String())
	}
	return map[string][]string{app + ".": list}
}

// dualStack are records that make app lead to the server's addresses of both
// families.
func (l *Lab) dualStack() map[string][]string { return leading(l.machines[Server].addrs...) }

// named is a healthy server that the user knows by name.
func (l *Lab) named() {
	l.service(Server)
	l.name(l.machines[Server].addrs...)
}

// nowhere is an address that the first router has no route to.
func nowhere(l *Lab) netip.Addr {
	return pick(l, netip.MustParseAddr("10.77.9.53"), netip.MustParseAddr("fd77:9::53"))
}

// guarded are rules that leave neighbour discovery alone: without it there would
// be no host at all.
func guarded(rules ...nft.Rule) []nft.Rule {
	return append([]nft.Rule{
		nft.If(nft.ICMPv6(neighbourSolicitation)).Accept(),
		nft.If(nft.ICMPv6(neighbourAdvertisement)).Accept(),
	}, rules...)
}

// proveAnswers checks the response code for each name.
func proveAnswers(want map[string]int) func(context.Context, *Lab) error {
	return func(ctx context.Context, l *Lab) error {
		for name, rcode := range want {
			m, err := l.ask(ctx, "udp", l.resolver(), name, Patience)
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

// unansweredBy checks that a name server does not answer soon, but for the error.
func unansweredBy(ctx context.Context, l *Lab, server netip.Addr, want Outcome) error {
	if m, err := l.ask(ctx, "udp", server, app+".", patienceFor(want)); outcome(err) != want {
		return fmt.Errorf("the name server answers %v, %v; want %s", m, err, want)
	}
	return nil
}

// proveTruncated checks that the answer is truncated and TCP fails.
func proveTruncated(want Outcome) func(context.Context, *Lab) error {
	return func(ctx context.Context, l *Lab) error {
		m, err := l.ask(ctx, "udp", l.resolver(), app+".", Patience)
		if err != nil || !m.Truncated {
			return fmt.Errorf("the answer is not truncated: %v, %v", m, err)
		}
		if _, err := l.ask(ctx, "tcp", l.resolver(), app+".", patienceFor(want)); outcome(err) != want {
			return fmt.Errorf("over TCP: %v, want %s", err, want)
		}
		return nil
	}
}

// patienceFor is how long to wait for what is expected: for silence no longer
// than it takes to count as silence.
func patienceFor(want Outcome) time.Duration {
	if want == TimesOut {
		return quiet
	}
	return Patience
}
