package lab

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// listeners are faults of what listens on the host, or does not.
func listeners() []Scenario {
	return slices.Concat(absent(), services(), queues())
}

// absent are ports at which nobody listens where the user looks.
func absent() []Scenario {
	return []Scenario{
		refusing("no-listener", func(l *Lab) { l.stop(Server, l.dst.Port()) }).
			showing("Connection refused: nothing listens on the port."),
		{
			Name: "no-listener-own-link", Cause: "no-listener", Topology: OwnLink(), Connect: Refused,
			Shows: "Connection refused, on the own link: nothing listens on the port.",
			Ideal: Ideal{Ordinary: and(refusals, "duplicate-address"), Root: refusals, Captures: resets},
			fault: func(l *Lab) { l.stop(Server, l.dst.Port()) },
		},
		ownHost("no-listener-local", Refused, func(l *Lab) { l.stop(Client, l.dst.Port()) }).
			caused("no-listener").showing("Connection refused on the own host: nothing listens on the port."),
		{
			Name: "no-listener-localhost", Cause: "no-listener", Connect: Refused,
			Shows: "Connection refused at localhost: nothing listens on the port.",
			setup: func(l *Lab) {
				l.file("/etc/hosts", pick(l, "127.0.0.1 localhost\n", "::1 localhost\n"))
				l.dst = loopback(l, 81)
				l.target = "localhost:81"
				l.serve(Client, 81, web(http.StatusOK))
			},
			fault: func(l *Lab) { l.stop(Client, 81) },
		},
		ownHost("listens-on-loopback", Refused, func(l *Lab) {
			l.serveAt(Client, loopback(l, l.dst.Port()), web(http.StatusOK))
		}).showing("Connection refused at the own host's address, and it works at localhost."),
		refusing("listens-on-loopback-remote", func(l *Lab) {
			l.serveAt(Server, loopback(l, l.dst.Port()), web(http.StatusOK))
		}).caused("listens-on-loopback").showing("Connection refused, and it works on the server itself at localhost."),
		ownHost("listens-elsewhere", Refused, func(l *Lab) {
			l.serveElsewhere(Client, "eth0", netip.MustParsePrefix("10.77.1.4/24"), netip.MustParsePrefix("fd77:1::4/64"))
		}).showing("Connection refused at one address of the own host, and it works at another."),
		refusing("listens-elsewhere-remote", func(l *Lab) {
			l.serveElsewhere(Server, "eth0", netip.MustParsePrefix("10.77.3.4/24"), netip.MustParsePrefix("fd77:3::4/64"))
		}).caused("listens-elsewhere").showing("Connection refused at one address of the server, and it works at another."),
		ownHost("listens-elsewhere-family", Refused, func(l *Lab) { l.serveAt(Client, otherFamily(l), web(http.StatusOK)) }).
			caused("listens-elsewhere").showing("Connection refused on the own host, and it works with the other IP version."),
		refusing("listens-elsewhere-family-remote", func(l *Lab) { l.serveAt(Server, otherFamily(l), web(http.StatusOK)) }).
			caused("listens-elsewhere").showing("Connection refused, and it works with the other IP version."),
		refusing("listens-on-other-port", func(l *Lab) {
			l.stop(Server, l.dst.Port())
			l.serve(Server, otherPort, web(http.StatusOK))
		}).refining("listens-on-other-port").showing("Connection refused, and it works on another port."),
		ownHost("listens-on-other-port-local", Refused, func(l *Lab) {
			l.stop(Client, l.dst.Port())
			l.serve(Client, otherPort, web(http.StatusOK))
		}).leaving([]string{"no-listener"}, []string{"no-listener"}).refining("listens-on-other-port").
			showing("Connection refused on the own host, and it works on another port."),
		shutIn("listens-in-other-namespace").showing("Connection refused: the service has a network namespace of its own, without a link."),
	}
}

// otherPort is one that a service took in place of the target's.
const otherPort = 8443

// refusing is a server at which the port refuses. From the client the reasons
// are all alike, and those that only say why nobody listens are left out.
func refusing(name string, fault func(*Lab)) Scenario {
	return Scenario{
		Name: name, Connect: Refused, fault: fault,
		Ideal: Ideal{Ordinary: refusals, Root: refusals, Captures: resets},
	}
}

// refining is a scenario in which nothing listens, and it is known why: the cause
// is no other than that nothing listens.
func (s Scenario) refining(cause string) Scenario {
	s.Cause, s.Also = cause, []string{"no-listener"}
	s.Ideal.Host = []string{"no-listener", cause}
	return s
}

// ownHost is a service of the user's own host.
func ownHost(name string, connect Outcome, fault func(*Lab)) Scenario {
	return Scenario{Name: name, Connect: connect, fault: fault, setup: (*Lab).local}
}

// shutIn is a service in a network namespace of the server that has no link to
// anywhere, as systemd's PrivateNetwork makes it.
func shutIn(name string) Scenario {
	s := refusing(name, func(l *Lab) {
		l.stop(Server, l.dst.Port())
		l.serve(Container, l.dst.Port(), web(http.StatusOK))
		l.inhabit(Container)
	}).refining(name)
	s.Topology = TwoRouters()
	s.Topology.Name = "namespace"
	s.Topology.Hosts = append(s.Topology.Hosts, Container)
	s.prove = func(ctx context.Context, l *Lab) error {
		return l.expectAt(ctx, Container, loopback(l, l.dst.Port()), Opens, Talks)
	}
	return s
}

// queues are listeners whose queues are full, so that SYNs vanish.
func queues() []Scenario {
	full := and(but(silentPort, "tcp-signature-required"), "accept-queue-full", "syn-queue-full")
	remote := func(name string, fault func(*Lab)) Scenario {
		return Scenario{Name: name, Connect: TimesOut, Ideal: Ideal{Ordinary: silentPortUnseen, Root: full, Captures: ignored}, fault: fault}
	}
	// One of several paths, backends or owners of the address may refuse.
	flapping := []string{"service-restarting", "bad-ecmp-path", "nat-dead-backend", "duplicate-address"}
	return []Scenario{
		remote("accept-queue-full", func(l *Lab) { l.fullQueue(Server) }).
			showing("No answer: the application does not accept connections as fast as they come."),
		remote("accept-queue-full-no-cookies", func(l *Lab) {
			l.sysctl(Server, "net.ipv4.tcp_syncookies", "0")
			l.fullQueue(Server)
		}).caused("accept-queue-full").showing("No answer: the application does not accept, on a host without SYN cookies."),
		remote("accept-queue-full-abort", func(l *Lab) {
			l.sysctl(Server, "net.ipv4.tcp_abort_on_overflow", "1")
			l.fullQueue(Server)
		}).caused("accept-queue-full").showing("No answer: the application does not accept, on a host that aborts on overflow."),
		ownHost("accept-queue-full-local", TimesOut, func(l *Lab) { l.fullQueue(Client) }).
			caused("accept-queue-full").showing("No answer from the own host: the application does not accept."),
		remote("syn-queue-full", func(l *Lab) { l.halfOpen(Server) }).
			showing("No answer: handshakes that nobody completes have taken all room for them."),
		ownHost("syn-queue-full-local", TimesOut, func(l *Lab) { l.halfOpen(Client) }).
			caused("syn-queue-full").showing("No answer from the own host: handshakes that nobody completes have taken all room for them."),
		{
			// Longer or shorter than a run's attempts are apart: they differ.
			Name: "service-restarting", Args: []string{"--count", "8"}, prove: proveFlaps,
			Shows: "Connection refused now and then: the service starts and ends all the time.",
			Ideal: Ideal{Ordinary: flapping, Root: flapping, Captures: but(flapping, "bad-ecmp-path", "duplicate-address")},
			fault: func(l *Lab) { l.flap(Server, 150*time.Millisecond) },
		},
	}
}

// local makes the user's own host the target.
func (l *Lab) local() {
	l.service(Client)
	l.dst = l.at(Client, l.dst.Port())
}

// serveElsewhere gives a host one more address, and only that has the service.
func (l *Lab) serveElsewhere(host, link string, v4, v6 netip.Prefix) {
	other := pick(l, v4, v6)
	l.configure(host, func(c *rtnl.Changer) error { return c.AddAddress(link, other) })
	l.serveAt(host, netip.AddrPortFrom(other.Addr(), l.dst.Port()), web(http.StatusOK))
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

// halfOpen fills the table of half-open connections: router1 begins some, and
// never sees an answer.
func (l *Lab) halfOpen(host string) {
	const room = 4 // tcp_conn_request in net/ipv4/tcp_input.c leaves a quarter to known peers
	l.sysctl(host, "net.ipv4.tcp_syncookies", "0")
	l.sysctl(host, "net.ipv4.tcp_max_syn_backlog", fmt.Sprint(room))
	l.rules(R1, nft.Input, nft.If(nft.SPort(l.dst.Port())).Drop())
	for range room {
		l.begin(R1, l.dst)
	}
	if l.err == nil && !l.eventually(func() bool { return l.count(host, synRecv) >= room }) {
		l.fail(fmt.Errorf("%s has %d half-open connections, want %d", host, l.count(host, synRecv), room))
	}
}

// begin sends a SYN, and again and again if nothing answers, until the lab ends.
func (l *Lab) begin(host string, to netip.AddrPort) {
	if l.err != nil {
		return
	}
	err := l.Do(host, func() error {
		fd, err := l.socket()
		if err != nil {
			return err
		}
		l.closers = append(l.closers, descriptor(fd))
		if err := unix.SetNonblock(fd, true); err != nil {
			return err
		}
		if err := unix.Connect(fd, sockaddr(to)); err != unix.EINPROGRESS {
			return err
		}
		return nil
	})
	if err != nil {
		l.fail(fmt.Errorf("begin to connect from %s: %w", host, err))
	}
}

// flap ends the service at the target, and from then on starts and ends it in
// turn.
func (l *Lab) flap(host string, every time.Duration) {
	at := netip.AddrPortFrom(netip.Addr{}, l.dst.Port())
	l.stop(host, at.Port())
	l.serving.Go(func() {
		for l.pause(every) {
			ln, err := l.open(host, at)
			if err != nil {
				return // the lab has ended
			}
			time.AfterFunc(every, func() { ln.Close() })
			l.accept(ln, web(http.StatusOK))
		}
	})
}

// proveFlaps sees the port open and refuse.
func proveFlaps(ctx context.Context, l *Lab) error {
	for _, want := range []Outcome{Opens, Refused, Opens, Refused} {
		var err error
		if !l.eventually(func() bool {
			err = l.expect(ctx, l.dst, want, Whatever)
			return err == nil
		}) {
			return err
		}
	}
	return nil
}

// eventually asks again and again, until the answer is yes or Patience is over.
func (l *Lab) eventually(ok func() bool) bool {
	for end := time.Now().Add(Patience); ; {
		if ok() {
			return true
		}
		if time.Now().After(end) || !l.pause(2*time.Millisecond) {
			return false
		}
	}
}

func loopback(l *Lab, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(pick(l, netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()), port)
}
