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
			make: func(l *Lab) { l.serve(Server, 22, ssh) },
		},
		{
			Name: "no-listener-own-link", Cause: "no-listener", Topology: OwnLink(), Connect: Refused,
			make: func(l *Lab) { l.serve(Server, 22, ssh) },
		},
		{
			Name: "no-listener-local", Cause: "no-listener", Connect: Refused,
			make: func(l *Lab) {
				l.serve(Client, 22, ssh)
				l.dst = l.at(Client, 8080)
			},
		},
		{
			Name: "no-listener-localhost", Cause: "no-listener", Connect: Refused,
			make: func(l *Lab) {
				l.file("/etc/hosts", pick(l, "127.0.0.1 localhost\n", "::1 localhost\n"))
				l.dst = loopback(l, 81)
				l.target = "localhost:81"
			},
		},
		{
			Name: "listens-on-loopback", Connect: Refused,
			make: func(l *Lab) {
				l.accept(l.listen(Client, loopback(l, 8080)), web(http.StatusOK))
				l.dst = l.at(Client, 8080)
			},
		},
		{
			Name: "listens-elsewhere", Connect: Refused,
			make: func(l *Lab) {
				other := pick(l, netip.MustParsePrefix("10.77.1.4/24"), netip.MustParsePrefix("fd77:1::4/64"))
				l.configure(Client, func(c *rtnl.Changer) error { return c.AddAddress("eth0", other) })
				l.accept(l.listen(Client, netip.AddrPortFrom(other.Addr(), 8080)), web(http.StatusOK))
				l.dst = l.at(Client, 8080)
			},
		},
		{
			Name: "accept-queue-full", Connect: TimesOut,
			make: func(l *Lab) {
				l.serve(Server, 22, ssh)
				l.fullQueue(Server)
			},
		},
		{
			Name: "accept-queue-full-local", Cause: "accept-queue-full", Connect: TimesOut,
			make: func(l *Lab) {
				l.dst = l.at(Client, 8080)
				l.fullQueue(Client)
			},
		},
	}
}

// fullQueue listens at the target and fills the accept queue from the host
// itself.
func (l *Lab) fullQueue(host string) {
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
