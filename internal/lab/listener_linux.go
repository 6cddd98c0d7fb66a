package lab

import (
	"net/http"
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// listeners are faults of what listens on the host, or does not.
func listeners() []Scenario {
	return []Scenario{
		{
			Name: "no-listener", Connect: Refused,
			Ideal: leaves(refusalsFromSomewhere, refusals),
			fault: func(l *Lab) { l.stop(Server, l.dst.Port()) },
		},
		{
			Name: "no-listener-own-link", Cause: "no-listener", Topology: OwnLink(), Connect: Refused,
			Ideal: leaves(and(refusalsFromSomewhere, "duplicate-address"), refusals),
			fault: func(l *Lab) { l.stop(Server, l.dst.Port()) },
		},
		{
			Name: "no-listener-local", Cause: "no-listener", Connect: Refused,
			setup: func(l *Lab) { l.local() },
			fault: func(l *Lab) { l.stop(Client, l.dst.Port()) },
		},
		{
			Name: "no-listener-localhost", Cause: "no-listener", Connect: Refused,
			setup: func(l *Lab) {
				l.file("/etc/hosts", pick(l, "127.0.0.1 localhost\n", "::1 localhost\n"))
				l.dst = loopback(l, 81)
				l.target = "localhost:81"
			},
		},
		{
			Name: "listens-on-loopback", Connect: Refused,
			setup: func(l *Lab) { l.local() },
			fault: func(l *Lab) { l.serveAt(Client, loopback(l, l.dst.Port()), web(http.StatusOK)) },
		},
		{
			Name: "listens-elsewhere", Connect: Refused,
			setup: func(l *Lab) { l.local() },
			fault: func(l *Lab) {
				other := pick(l, netip.MustParsePrefix("10.77.1.4/24"), netip.MustParsePrefix("fd77:1::4/64"))
				l.configure(Client, func(c *rtnl.Changer) error { return c.AddAddress("eth0", other) })
				l.serveAt(Client, netip.AddrPortFrom(other.Addr(), l.dst.Port()), web(http.StatusOK))
			},
		},
		{
			Name: "accept-queue-full", Connect: TimesOut,
			Ideal: leaves(silentPortUnseen, and(but(silentPort, "tcp-signature-required"), "accept-queue-full", "syn-queue-full")),
			fault: func(l *Lab) { l.fullQueue(Server) },
		},
		{
			Name: "accept-queue-full-local", Cause: "accept-queue-full", Connect: TimesOut,
			setup: func(l *Lab) { l.local() },
			fault: func(l *Lab) { l.fullQueue(Client) },
		},
	}
}

// local makes the user's own host the target.
func (l *Lab) local() {
	l.service(Client)
	l.dst = l.at(Client, l.dst.Port())
}

// fullQueue listens at the target and fills the accept queue from the host
// itself.
func (l *Lab) fullQueue(host string) {
	l.stop(host, l.dst.Port())
	ln := l.listen(host, l.dst)
	if ln == nil {
		return
	}
	if err := backlog(ln, 0); err != nil {
		l.fail(err)
	}
	l.hold(host, l.dst)
}

func loopback(l *Lab, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(pick(l, netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()), port)
}
