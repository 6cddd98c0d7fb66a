package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// pathMiddleboxes are boxes that take part in the connection, and limits of size
// and time.
func pathMiddleboxes() []Scenario {
	proxied := []string{"reset-on-accept", "path-firewall-reset", "syn-proxy-dead-backend"}
	return []Scenario{
		{
			Name: "syn-proxy-dead-backend", Connect: Opens, After: Reset,
			Shows: "The connection opens and is reset at once: the second router completes handshakes, and nothing listens behind it.",
			Ideal: leaves(proxied, nil),
			fault: func(l *Lab) {
				l.stop(Server, l.dst.Port())
				l.synProxy(R2)
			},
		},
		{
			Name: "syn-proxy-dead-backend-r1", Cause: "syn-proxy-dead-backend", Connect: Opens, After: Reset,
			Shows: "The connection opens and is reset at once: the first router completes handshakes, and nothing listens on the server.",
			Ideal: leaves(proxied, nil),
			fault: func(l *Lab) {
				l.stop(Server, l.dst.Port())
				l.synProxy(R1)
			},
		},
		{
			// The proxy's window stays zero, and nobody answers the client's probes.
			Name: "syn-proxy-dead-backend-silent", Cause: "syn-proxy-dead-backend", Connect: Opens, After: Silent,
			Shows: "The connection opens and nothing ever comes: a router completes handshakes, and the server drops.",
			Ideal: leaves([]string{"receiver-stalled", "syn-proxy-dead-backend", "accept-queue-full", "path-firewall-drop"}, nil),
			fault: func(l *Lab) {
				l.synProxy(R2)
				l.rules(Server, nft.Input, nft.If(nft.DPort(l.dst.Port())).Drop())
			},
		},
		{
			Name: "answers-for-everything", Connect: Opens, After: Silent,
			Shows: "Every port of the server opens, and nothing ever comes: a router accepts everything.",
			fault: func(l *Lab) { l.acceptAll(R2, silent) },
		},
		{
			Name: "answers-for-everything-r1", Cause: "answers-for-everything", Connect: Opens, After: Closed,
			Shows: "Every port of the server opens and closes at once: the first router accepts everything.",
			fault: func(l *Lab) { l.acceptAll(R1, closing) },
		},
		{
			Name: "mtu-blackhole", Connect: Opens, After: Talks, prove: proveLargeStalls,
			Shows: "Small answers come, large ones never: packets of full size vanish without a word.",
			fault: func(l *Lab) {
				l.narrow(R1, R2)
				l.hush(R1, R2)
			},
		},
		{
			Name: "ecn-blocked", Connect: Opens, After: Talks,
			Shows: "Connecting takes a second: SYNs that ask for ECN vanish.",
			Ideal: leaves([]string{"ecn-blocked", "packet-loss", "syn-queue-full"}, nil),
			fault: func(l *Lab) {
				l.sysctl(Client, "net.ipv4.tcp_ecn", "1")
				ecn := byte(nft.SYN | nft.ECE | nft.CWR)
				l.rules(R2, nft.Forward, nft.If(nft.Flags(ecn, ecn)).Drop())
			},
		},
		{
			Name: "idle-dropped", Connect: Opens, After: Talks, prove: proveForgotten(2 * forgets),
			Shows: "A connection that rests for a second is dead: a router has forgotten it.",
			Args:  []string{"--idle", "3s"},
			fault: func(l *Lab) {
				l.sysctl(R2, "net.netfilter.nf_conntrack_tcp_loose", "0")
				l.sysctl(R2, "net.netfilter.nf_conntrack_tcp_timeout_established", fmt.Sprint(int(forgets.Seconds())))
				l.rules(R2, nft.Forward, nft.If(nft.TCP(), nft.Untracked()).Drop())
			},
		},
	}
}

// synProxy makes a router complete the handshakes for the target's port.
func (l *Lab) synProxy(router string) {
	l.rules(router, nft.Raw, nft.If(nft.DPort(l.dst.Port()), nft.Flags(nft.SYN|nft.ACK, nft.SYN)).NoTrack())
	l.rules(router, nft.Forward, nft.If(nft.DPort(l.dst.Port()), nft.Untracked()).SYNProxy(1460, 7))
	l.sysctl(router, "net.netfilter.nf_conntrack_tcp_loose", "0")
}

// acceptAll makes a router take all connections to the server.
func (l *Lab) acceptAll(router string, handle func(net.Conn)) {
	l.serve(router, 9999, handle)
	l.rules(router, nft.NAT, nft.If(nft.TCP(), nft.DAddr(l.Addr(Server))).Redirect(9999))
}

// narrow gives the link between the two routers the smallest MTU of IPv6.
func (l *Lab) narrow(r1, r2 string) {
	l.configure(r1, func(c *rtnl.Changer) error { return c.SetMTU("eth1", 1280) })
	l.configure(r2, func(c *rtnl.Changer) error { return c.SetMTU("eth0", 1280) })
}

// hush keeps routers from saying that packets are too large.
func (l *Lab) hush(routers ...string) {
	for _, r := range routers {
		l.rules(r, nft.Output, nft.If(nft.ICMP(icmpUnreachable)).Drop(), nft.If(nft.ICMPv6(icmp6TooBig)).Drop())
	}
}

// large asks for an answer of several segments.
const large = "GET / HTTP/1.1\r\nHost: lab\r\n\r\n"

// fetch asks for a large answer and reads all of it.
func fetch(c net.Conn) error {
	c.SetDeadline(time.Now().Add(Patience))
	if _, err := io.WriteString(c, large); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return fmt.Errorf("a large answer: %w", err)
	}
	return nil
}

// proveLarge checks that a large answer comes.
func proveLarge(ctx context.Context, l *Lab) error {
	return l.Do(l.Scenario.From, func() error {
		c, err := dial(ctx, l.dst)
		if err != nil {
			return err
		}
		defer c.Close()
		return fetch(c)
	})
}

// proveLargeStalls checks that a large answer does not come through.
func proveLargeStalls(ctx context.Context, l *Lab) error {
	return l.Do(l.Scenario.From, func() error {
		c, err := dial(ctx, l.dst)
		if err != nil {
			return err
		}
		defer c.Close()
		if got := ending(c, large, Silent); got != Silent {
			return fmt.Errorf("a large answer: %s, want %s", got, Silent)
		}
		return nil
	})
}

// forgets is the time after which the router of idle-dropped forgets a
// connection.
const forgets = time.Second

// proveForgotten checks that a connection works, rests, and is dead.
func proveForgotten(rest time.Duration) func(context.Context, *Lab) error {
	return func(ctx context.Context, l *Lab) error {
		return l.Do(l.Scenario.From, func() error {
			c, err := dial(ctx, l.dst)
			if err != nil {
				return err
			}
			defer c.Close()
			if got := ending(c, hello, Talks); got != Talks {
				return fmt.Errorf("before the rest: %s", got)
			}
			select {
			case <-time.After(rest):
			case <-ctx.Done():
				return ctx.Err()
			}
			if got := ending(c, hello, Silent); got != Silent {
				return fmt.Errorf("after %v without a packet: %s, want %s", rest, got, Silent)
			}
			return nil
		})
	}
}
