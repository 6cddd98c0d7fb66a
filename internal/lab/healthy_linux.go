package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// healthy are scenarios in which nothing is wrong.
func healthy() []Scenario {
	return slices.Concat(usual(), oddPaths(), oddHosts())
}

// works is a service that works.
func works(name, shows string, t Topology, setup func(*Lab)) Scenario {
	return Scenario{
		Name: name, Cause: "none", Shows: "Works. " + shows,
		Topology: t, Connect: Opens, After: Talks, setup: setup,
	}
}

// usual are those without anything odd.
func usual() []Scenario {
	tls := works("none-tls", "HTTPS with a good certificate.", TwoRouters(), (*Lab).healthyTLS)
	tls.After, tls.prove = Whatever, proveTLS("")
	return []Scenario{
		works("none", "Two routers away.", TwoRouters(), nil),
		works("none-own-link", "On the own link.", OwnLink(), nil),
		works("none-shared-link", "On the own link, behind a switch.", SharedLink(), nil),
		works("none-local", "On this host.", TwoRouters(), func(l *Lab) { l.local() }),
		works("none-dual-stack", "By a name with addresses of both families.", TwoRouters(), func(l *Lab) { l.named() }),
		tls,
		works("none-ssh", "SSH.", TwoRouters(), func(l *Lab) {
			l.service(Server)
			l.dst = l.at(Server, 22)
		}),
	}
}

// oddPaths are ways that work though they are odd, or seem so.
func oddPaths() []Scenario {
	slow := func(name, shows string, roundTrip time.Duration) Scenario {
		s := works(name, shows, overCable(Cable{Delay: roundTrip / 2}), nil)
		s.prove = proveSlow(roundTrip)
		return s
	}
	on := func(name, shows string, t Topology, change func(*Lab)) Scenario {
		return works(name, shows, t, func(l *Lab) {
			l.service(Server)
			change(l)
		})
	}
	// Who happens to meet the loss is right to name it.
	lossy := works("none-loss-1", "A packet is lost now and then.", TwoRouters(), nil).Losing(1)
	reordered := works("none-reordered", "Every fifth packet is overtaken.", overCable(Cable{Delay: 5 * time.Millisecond, LateEvery: 5, LateBy: 10 * time.Millisecond}), nil)
	reordered.prove = proveReordered
	narrow := on("none-small-mtu", "The link in the middle has an MTU of 1280, and the routers say so.", TwoRouters(), func(l *Lab) { l.narrow(R1, R2) })
	narrow.prove = proveLarge
	clamped := on("none-clamped", "The link in the middle has an MTU of 1280; the routers say nothing, and rewrite the MSS.", TwoRouters(), func(l *Lab) {
		l.narrow(R1, R2)
		l.hush(R1, R2)
		l.rules(R1, nft.Forward, nft.If(nft.Flags(nft.SYN, nft.SYN)).ClampMSS(1280-60))
	})
	clamped.prove = proveLarge
	jumbo := on("none-jumbo", "All links have an MTU of 9000.", TwoRouters(), func(l *Lab) {
		for _, h := range l.Scenario.Topology.Hosts {
			for _, e := range l.Scenario.Topology.ends(h) {
				l.configure(h, func(c *rtnl.Changer) error { return c.SetMTU(e.Interface, 9000) })
			}
		}
	})
	jumbo.prove = proveLarge
	proxied := on("none-syn-proxy", "A router completes the handshakes, and the server is there.", TwoRouters(), func(l *Lab) { l.synProxy(R2) })
	proxied.Blunt = "the kernel's SYN proxy itself fails about one connection in a hundred under load, and a client cannot tell that from a failing backend"
	return []Scenario{
		slow("none-slow", "The way there and back takes 300 ms.", 300*time.Millisecond),
		slow("none-slow-600ms", "The way there and back takes 600 ms, as by satellite.", 600*time.Millisecond),
		slow("none-slow-1200ms", "The way there and back takes 1.2 s: each SYN is sent twice.", 1200*time.Millisecond),
		reordered,
		lossy,
		on("none-silent-hop", "The first router sends no ICMP.", TwoRouters(), func(l *Lab) { l.mute(R1) }),
		on("none-silent-hops", "No router sends ICMP.", TwoRouters(), func(l *Lab) {
			l.mute(R1)
			l.mute(R2)
		}),
		works("none-five-hops", "Five hops away.", FiveHops(), nil),
		works("none-parallel-paths", "There are two paths of equal length.", ParallelPaths(), nil),
		works("none-uneven-paths", "There are two paths of unequal length.", UnevenPaths(), nil),
		works("none-uneven-return", "There are two paths of unequal length back.", UnevenReturn(), nil),
		on("none-asymmetric", "Answers come back another way.", ParallelPaths(), func(l *Lab) { l.forwardBy(R1, gateway{4, 2}) }),
		on("none-asymmetric-uneven", "Answers come back another, shorter way.", UnevenPaths(), func(l *Lab) { l.forwardBy(R1, gateway{4, 2}) }),
		narrow, clamped, jumbo,
		works("none-switch", "A switch is before the server.", BehindSwitch(), nil),
		works("none-nat-gateway", "A gateway hides the client behind its own address.", NATGateway(), nil),
		works("none-port-forwarding", "A gateway forwards the port to the server.", ForwardingGateway(), func(l *Lab) { l.forwarded() }),
		proxied,
	}
}

// oddHosts are hosts that work though they are odd, or seem so.
func oddHosts() []Scenario {
	on := func(name, shows string, change func(*Lab)) Scenario {
		return works(name, shows, TwoRouters(), func(l *Lab) {
			l.service(Server)
			change(l)
		})
	}
	mss := on("none-small-mss", "The server takes segments of 536 bytes only.", func(l *Lab) {
		l.serve(Server, l.dst.Port(), web(http.StatusOK), maxSegment(536))
	})
	mss.prove = proveLarge
	return []Scenario{
		on("none-no-echo", "The server does not answer ping.", func(l *Lab) {
			l.rules(Server, nft.Input, nft.If(nft.ICMP(icmpEcho)).Drop(), nft.If(nft.ICMPv6(icmp6Echo)).Drop())
		}),
		on("none-icmp-limited", "The server and the routers send one ICMP error in a second.", func(l *Lab) {
			for _, h := range []string{R1, R2, Server} {
				l.sysctl(h, "net.ipv4.icmp_ratemask", "6168") // the kernel's default
				l.sysctl(h, "net.ipv4.icmp_ratelimit", "1000")
				l.sysctl(h, "net.ipv6.icmp.ratelimit", "1000")
			}
		}),
		on("none-only-port", "The server drops all but this port.", func(l *Lab) {
			l.chain(Server, nft.Chain{Hook: nft.Input, DropRest: true, Rules: []nft.Rule{
				nft.If(nft.DPort(l.dst.Port())).Accept(),
				nft.If(nft.ICMPv6(neighbourSolicitation)).Accept(),
				nft.If(nft.ICMPv6(neighbourAdvertisement)).Accept(),
			}})
		}),
		on("none-odd-ttl-100", "The server's packets start with TTL 100.", func(l *Lab) { l.startTTL(Server, "100") }),
		on("none-odd-ttl-200", "The server's packets start with TTL 200.", func(l *Lab) { l.startTTL(Server, "200") }),
		on("none-ecn", "Both ends use ECN.", func(l *Lab) {
			l.sysctl(Client, "net.ipv4.tcp_ecn", "1")
			l.sysctl(Server, "net.ipv4.tcp_ecn", "1")
		}),
		mss,
		works("none-load-balancer", "A load balancer has three backends.", LoadBalancer(), func(l *Lab) { l.balanced(bySourcePort) }),
		works("none-container", "The service runs in a container, and its port is published.", Containers(), func(l *Lab) { l.published() }),
	}
}

// proveSlow checks that a handshake takes a round trip.
func proveSlow(roundTrip time.Duration) func(context.Context, *Lab) error {
	return func(ctx context.Context, l *Lab) error {
		return l.Do(l.Scenario.From, func() error {
			start := time.Now()
			c, err := dial(ctx, l.dst)
			if err != nil {
				return err
			}
			c.Close()
			if took := time.Since(start); took < roundTrip {
				return fmt.Errorf("the handshake took %v, less than %v", took, roundTrip)
			}
			return nil
		})
	}
}

// proveReordered checks that segments of a large answer come out of order.
func proveReordered(ctx context.Context, l *Lab) error {
	return l.Do(l.Scenario.From, func() error {
		c, err := dial(ctx, l.dst)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := fetch(c); err != nil {
			return err
		}
		info, err := tcpInfo(c)
		if err == nil && info.Rcv_ooopack == 0 {
			err = errors.New("all segments came in order")
		}
		return err
	})
}

// maxSegment limits the segments that the peer may send, in bytes; tcp(7).
func maxSegment(bytes int) option {
	return func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, bytes) }
}
