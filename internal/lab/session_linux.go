package lab

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/nft"
)

// sessions are faults that begin after the handshake.
func sessions() []Scenario {
	return slices.Concat(endings(), secrets(), languages())
}

// endings are connections that end, or stop, in a way that no protocol has.
func endings() []Scenario {
	proxied := []string{"reset-on-accept", "path-firewall-reset", "syn-proxy-dead-backend"}
	cut := []string{"path-firewall-reset", "reset-mid-stream"}
	taken := but(quietServer, "never-accepted") // the application has it
	// A RST in answer to a request may also be the application's way to hang up.
	cutAtOnce := and(cut, "syn-proxy-dead-backend", "application-silent", "wrong-protocol")
	cutHere := but(cutAtOnce, "path-firewall-reset", "syn-proxy-dead-backend")
	return []Scenario{
		handled("reset-on-accept", Reset, resetting).leaving(proxied, nil).
			showing("The connection opens and is reset at once: the application hangs up."),
		ownHost("reset-on-accept-local", Opens, func(l *Lab) { l.serve(Client, l.dst.Port(), resetting) }).after(Reset).
			caused("reset-on-accept").showing("The connection to the own host opens and is reset at once: the application hangs up."),
		handled("closed-on-accept", Closed, closing).leaving([]string{"closed-on-accept", "syn-proxy-dead-backend"}, nil).
			showing("The connection opens and closes without a byte: the application hangs up."),
		handled("closed-on-accept-late", Closed, func(c net.Conn) {
			time.Sleep(100 * time.Millisecond)
			closing(c)
		}).caused("closed-on-accept").leaving([]string{"closed-on-accept", "syn-proxy-dead-backend"}, nil).
			showing("The connection opens and closes after a moment without a byte."),
		handled("application-silent", Silent, silent).leaving(quietServer, quietServer).seen(taken, quietServer).
			showing("The connection opens and nothing ever comes: the application does not answer."),
		ownHost("application-silent-local", Opens, func(l *Lab) { l.serve(Client, l.dst.Port(), silent) }).after(Silent).
			caused("application-silent").leaving(taken, taken).seen(taken, taken).
			showing("The connection to the own host opens and nothing ever comes: the application does not answer."),
		handled("reset-mid-stream", Talks, cutting).leaving(cut, nil).
			showing("Half an answer comes, and then the connection is reset."),
		handled("reset-mid-stream-request", Reset, func(c net.Conn) {
			c.Read(make([]byte, 512))
			resetting(c)
		}).caused("reset-mid-stream").leaving(cutAtOnce, cutHere).seen(cutHere, cutHere).
			showing("The request is answered by a reset: the application ends the connection."),
		{
			Name: "path-firewall-reset-request", Cause: "path-firewall-reset", Connect: Opens, After: Reset,
			Shows: "The request is answered by a reset: a router does not like it.",
			Ideal: leaves(cutAtOnce, but(cut, "reset-mid-stream")),
			fault: func(l *Lab) {
				l.rules(R1, nft.Forward, nft.If(nft.DPort(l.dst.Port()), nft.Flags(nft.PSH, nft.PSH)).Reset())
			},
		},
		{
			Name: "never-accepted", Connect: Opens, After: Silent,
			Shows: "The connection opens and nothing ever comes: the application never takes it.",
			Ideal: Ideal{Ordinary: quietServer, Root: quietServer, Captures: quietServer},
			fault: func(l *Lab) { l.ignore(Server) },
		},
		ownHost("never-accepted-local", Opens, func(l *Lab) { l.ignore(Client) }).after(Silent).caused("never-accepted").
			showing("The connection to the own host opens and nothing ever comes: the application never takes it."),
		{
			Name: "receiver-stalled", Connect: Opens, After: Stalled,
			Shows: "The connection opens, and after a while no more can be sent: the application does not read.",
			fault: func(l *Lab) { l.serve(Server, l.dst.Port(), l.notReading, receiveBuffer(4096)) },
		},
		{
			Name: "timeout-too-short", Topology: overCable(Cable{Delay: 250 * time.Millisecond}), Connect: Opens, After: Talks,
			Shows: "Connecting fails with a timeout of 300 ms, and works with one of a second: the server is far away.",
			Args:  []string{"--connect-timeout", "300ms"},
			prove: proveTakes(300 * time.Millisecond),
		},
	}
}

// after says what follows the handshake of a scenario that a function makes.
func (s Scenario) after(e Ending) Scenario {
	s.After = e
	return s
}

// handled is a server that treats its connections in a certain way.
func handled(name string, after Ending, handle func(net.Conn)) Scenario {
	return Scenario{
		Name: name, Connect: Opens, After: after,
		fault: func(l *Lab) { l.serve(Server, l.dst.Port(), handle) },
	}
}

// ignore listens at the target and never accepts.
func (l *Lab) ignore(host string) {
	l.stop(host, l.dst.Port())
	l.listen(host, l.dst)
}

// notReading keeps a connection until the lab ends.
func (l *Lab) notReading(net.Conn) { <-l.ctx.Done() }

// proveTakes checks that to connect takes so long at least.
func proveTakes(least time.Duration) func(context.Context, *Lab) error {
	return func(ctx context.Context, l *Lab) error {
		start := time.Now()
		if err := l.expect(ctx, l.dst, Opens, Whatever); err != nil {
			return err
		}
		if took := time.Since(start); took < least {
			return fmt.Errorf("connecting took %v, less than %v", took, least)
		}
		return nil
	}
}

// oddServers are healthy and unusual.
func oddServers() []Scenario {
	// At a port that nobody knows nothing is said, so nothing is known of the answer.
	unasked := []string{"none", "application-silent", "never-accepted"}
	return slices.Concat([]Scenario{
		greeted("none-slow-banner", 22, after300ms(ssh)).showing("Works: the server greets after 300 ms."),
		greeted("none-mysql", 3306, mysql).showing("Works: MySQL greets first."),
		greeted("none-postgres", 5432, postgres).showing("Works: PostgreSQL has no TLS."),
		greeted("none-redis", 6379, redis).showing("Works: Redis answers."),
		greeted("none-redis-password", 6379, redisLocked).showing("Works: Redis wants a password."),
		greeted("none-smtp", 25, smtp).showing("Works: a mail server greets first."),
		greeted("none-ftp", 21, ftp).showing("Works: an FTP server greets first."),
		greeted("none-half-close", 7000, afterEOF).leaving(unasked, unasked).seen(unasked, unasked).showing("Works: the server answers when the client has said all."),
		greeted("none-http-10", 0, once(http.StatusOK)).showing("Works: the server closes after each answer."),
		urled("none-http-404", web(http.StatusNotFound)).showing("Works: the server does not have the page."),
		urled("none-http-401", web(http.StatusUnauthorized)).showing("Works: the server wants a password."),
		urled("none-http-500", web(http.StatusInternalServerError)).showing("Works: the application has an error of its own."),
	}, oddSecrets())
}

// greeted is a healthy server of some protocol at its port,
// at the target's if that is 0.
func greeted(name string, port uint16, handle func(net.Conn)) Scenario {
	return Scenario{
		Name: name, Cause: "none", Connect: Opens,
		setup: func(l *Lab) {
			l.dst = l.at(Server, cmp.Or(port, l.dst.Port()))
			l.serve(Server, 22, ssh)
			l.serve(Server, l.dst.Port(), handle)
		},
	}
}

// urled is a healthy server that is asked for by URL.
func urled(name string, handle func(net.Conn)) Scenario {
	return Scenario{
		Name: name, Cause: "none", Connect: Opens, After: Talks,
		setup: func(l *Lab) {
			l.service(Server)
			l.serve(Server, l.dst.Port(), handle)
			l.target = "http://" + l.dst.String() + "/"
		},
	}
}
