package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/rawsock"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock/routertest"
)

// brief is a wait for silence: between namespaces an answer takes 1 ms.
const brief = 150 * time.Millisecond

func env() collect.Env { return collect.Env{Clock: collect.NewClock()} }

// eachFamily runs a test in a net of its own that has been seen to work.
func eachFamily(t *testing.T, test func(t *testing.T, n *routertest.Net, f int, server netip.Addr)) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		for _, f := range []int{4, 6} {
			t.Run(fmt.Sprintf("IPv%d", f), func(t *testing.T) {
				n := routertest.New(t)
				server := routertest.Addr(f, 3, 2)
				nettest.Eventually(t, "the net does not work", func() bool {
					var err error
					n.Client.Do(func() { _, err = net.DialTimeout("tcp", netip.AddrPortFrom(server, 9).String(), time.Second) })
					return errors.Is(err, unix.ECONNREFUSED)
				})
				test(t, n, f, server)
			})
		}
	})
}

// unreachable and exceeded are ICMP types by family.
var (
	unreachable = map[int]int{4: 3, 6: 1}
	exceeded    = map[int]int{4: 11, 6: 3}
)

func TestEcho(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *routertest.Net, f int, server netip.Addr) {
		echo := func(wait time.Duration, to netip.Addr, e collect.Env, as func(func())) (c evidence.Control, err error) {
			as(func() { c, err = Echo(t.Context(), e, to, wait) })
			return c, err
		}
		check := func(name string, c evidence.Control, err error, want evidence.Control) {
			t.Helper()
			want.Kind, want.At, want.Took = evidence.ControlEcho, c.At, c.Took
			if err != nil || c != want || c.At <= 0 || c.Answer != "not-sent" && c.Took <= 0 {
				t.Errorf("%s: %+v, %v; want %+v", name, c, err, want)
			}
		}
		reply := evidence.Control{Sent: 1, Answer: "echo-reply", TTL: 62, From: server}
		nowhere := routertest.Addr(f, 8, 8)
		n.R2.RouteType(f, netip.PrefixFrom(nowhere, nowhere.BitLen()).String(), unix.RTN_UNREACHABLE)
		unrouted := evidence.Control{Sent: 1, Answer: "icmp", Type: unreachable[f], Code: map[int]int{4: 1}[f], TTL: 63, From: routertest.Addr(f, 2, 2)}

		_, err := echo(brief, server, env(), n.Client.AsUser)
		var denied *PermissionError
		if !errors.As(err, &denied) || !errors.Is(err, fs.ErrPermission) || denied.How == "" {
			t.Errorf("without permission: %v", err)
		}
		for _, name := range []string{"raw", "ping"} { // a new namespace allows no ping sockets
			as := n.Client.Do
			if name == "ping" {
				n.Client.Sysctl("net/ipv4/ping_group_range", "0 0")
				as = n.Client.AsUser
			}
			c, err := echo(nettest.Patience, server, env(), as)
			check(name, c, err, reply)
			source := env()
			source.Source = routertest.Addr(f, 1, 2)
			c, err = echo(nettest.Patience, server, source, as)
			check(name+" from a source", c, err, reply)
			c, err = echo(nettest.Patience, nowhere, env(), as)
			check(name+" without route on r2", c, err, unrouted)
		}
		source := env()
		source.Source = routertest.Addr(f, 5, 5)
		if _, err := echo(brief, server, source, n.Client.Do); !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Errorf("from an address of another host: %v", err)
		}

		rejected := routertest.Addr(f, 6, 6)
		n.Client.RouteType(f, netip.PrefixFrom(rejected, rejected.BitLen()).String(), unix.RTN_PROHIBIT)
		c, err := echo(brief, rejected, env(), n.Client.Do)
		check("prohibited here", c, err, evidence.Control{Answer: "not-sent", Errno: "EACCES"})

		n.Server.Filter("input", fmt.Sprintf("meta l4proto %s drop", map[int]string{4: "icmp", 6: "icmpv6 icmpv6 type echo-request"}[f]))
		c, err = echo(brief, server, env(), n.Client.Do)
		check("dropped", c, err, evidence.Control{Sent: 1, Answer: "silent"})

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		n.Client.Do(func() { c, err = Echo(ctx, env(), server, nettest.Patience) })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %+v, %v", c, err)
		}

		n.Client.Filter("output", fmt.Sprintf("ip%s daddr %v drop", map[int]string{4: "", 6: "6"}[f], server))
		c, err = echo(brief, server, env(), n.Client.Do)
		check("dropped here", c, err, evidence.Control{Answer: "not-sent", Errno: "EPERM"})
	})
}

// prober makes a Prober in the client's namespace.
func prober(t *testing.T, n *routertest.Net, to netip.AddrPort) *Prober {
	t.Helper()
	var p *Prober
	var err error
	n.Client.Do(func() { p, err = NewProber(env(), to) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

type method func(*Prober, context.Context, Options) (evidence.Control, error)

func TestProbes(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *routertest.Net, f int, server netip.Addr) {
		l := n.Server.Listen(netip.AddrPortFrom(server, 0))
		open := l.Addr().(*net.TCPAddr).AddrPort()
		closed := netip.AddrPortFrom(server, 81)
		n.R2.Filter("forward", fmt.Sprintf("tcp dport 82 ip%s daddr %v reject with icmpx admin-prohibited", map[int]string{4: "", 6: "6"}[f], server),
			"tcp dport 83 tcp flags ecn drop")
		rejected, noECN := netip.AddrPortFrom(server, 82), netip.AddrPortFrom(server, 83)

		answer := func(answer string, ttl int) evidence.Control {
			return evidence.Control{Sent: 1, Answer: answer, TTL: ttl, From: server}
		}
		silent := evidence.Control{Sent: 1, Answer: "silent"}
		for _, c := range []struct {
			name string
			to   netip.AddrPort
			send method
			o    Options
			kind string
			want evidence.Control
		}{
			{"ACK to a listener", open, (*Prober).ACK, Options{}, evidence.ControlACK, answer("rst", 62)},
			{"ACK to a closed port", closed, (*Prober).ACK, Options{}, evidence.ControlACK, answer("rst", 62)},
			{"FIN to a listener", open, (*Prober).FIN, Options{Wait: brief}, evidence.ControlFIN, silent},
			{"FIN to a closed port", closed, (*Prober).FIN, Options{}, evidence.ControlFIN, answer("rst", 62)},
			{"SYN to a listener", open, (*Prober).SYN, Options{}, evidence.ControlPlain, answer("syn-ack", 62)},
			{"SYN to a closed port", closed, (*Prober).SYN, Options{}, evidence.ControlPlain, answer("rst", 62)},
			{"SYN with ECN", open, (*Prober).SYN, Options{ECN: true}, evidence.ControlECN, answer("syn-ack", 62)},
			{"SYN with ECN where that is dropped", noECN, (*Prober).SYN, Options{ECN: true, Wait: brief}, evidence.ControlECN, silent},
			{"SYN without ECN where that is dropped", noECN, (*Prober).SYN, Options{}, evidence.ControlPlain, answer("rst", 62)},
			{"SYN with TTL 255", open, (*Prober).SYN, Options{TTL: 255}, evidence.ControlTTL255, answer("syn-ack", 62)},
			{"SYN from a port", open, (*Prober).SYN, Options{SourcePort: 34567}, evidence.ControlSourcePort, answer("syn-ack", 62)},
			{"SYN with TTL 2", open, (*Prober).SYN, Options{TTL: 2}, evidence.ControlPlain,
				evidence.Control{Sent: 1, Answer: "icmp", Type: exceeded[f], TTL: 63, From: routertest.Addr(f, 2, 2)}},
			{"SYN that is rejected", rejected, (*Prober).SYN, Options{}, evidence.ControlPlain,
				evidence.Control{Sent: 1, Answer: "icmp", Type: unreachable[f], Code: map[int]int{4: 13, 6: 1}[f], TTL: 63, From: routertest.Addr(f, 2, 2)}},
		} {
			p := prober(t, n, c.to)
			var got evidence.Control
			var err error
			n.Client.Do(func() { got, err = c.send(p, t.Context(), c.o) })
			c.want.Kind, c.want.Port, c.want.SourcePort, c.want.At, c.want.Took = c.kind, c.to.Port(), c.o.SourcePort, got.At, got.Took
			if err != nil || got != c.want || got.At <= 0 || got.Took <= 0 {
				t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
			}
			if err := p.Close(); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	})
}

func TestProbesTogether(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *routertest.Net, f int, server netip.Addr) {
		l := n.Server.Listen(netip.AddrPortFrom(server, 0))
		p := prober(t, n, l.Addr().(*net.TCPAddr).AddrPort())
		var wg sync.WaitGroup
		for range 10 {
			for _, c := range []struct {
				send method
				want string
			}{{(*Prober).SYN, "syn-ack"}, {(*Prober).ACK, "rst"}} {
				wg.Go(func() {
					var got evidence.Control
					var err error
					n.Client.Do(func() { got, err = c.send(p, t.Context(), Options{}) })
					if err != nil || got.Answer != c.want {
						t.Errorf("%+v, %v; want %s", got, err, c.want)
					}
				})
			}
		}
		wg.Wait()
		p.Close()
	})
}

// What this host itself does to a probe is evidence.
func TestNotSent(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *routertest.Net, f int, server netip.Addr) {
		n.Client.Filter("output", "tcp dport 84 drop")
		p := prober(t, n, netip.AddrPortFrom(server, 84))
		var c evidence.Control
		var err error
		n.Client.Do(func() { c, err = p.SYN(t.Context(), Options{Wait: brief}) })
		if err != nil || c.Answer != "not-sent" || c.Errno != "EPERM" || c.Sent != 0 {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

func TestProberErrors(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *routertest.Net, f int, server netip.Addr) {
		to := netip.AddrPortFrom(server, 81)
		var err error
		n.Client.AsUser(func() { _, err = NewProber(env(), to) })
		var denied *rawsock.PermissionError
		if !errors.As(err, &denied) || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("without CAP_NET_RAW: %v", err)
		}
		prohibited := routertest.Addr(f, 6, 7)
		n.Client.RouteType(f, netip.PrefixFrom(prohibited, prohibited.BitLen()).String(), unix.RTN_PROHIBIT)
		n.Client.Do(func() { _, err = NewProber(env(), netip.AddrPortFrom(prohibited, 81)) })
		if !errors.Is(err, unix.EACCES) {
			t.Errorf("without route: %v", err)
		}

		p := prober(t, n, to)
		taken := n.Client.Listen(netip.AddrPortFrom(routertest.Addr(f, 1, 2), 0)).Addr().(*net.TCPAddr).AddrPort().Port()
		n.Client.Do(func() { _, err = p.SYN(t.Context(), Options{SourcePort: taken}) })
		if !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("from a port in use: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		n.Server.Filter("input", "tcp dport 81 drop")
		n.Client.Do(func() { _, err = p.SYN(ctx, Options{}) })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		p.Close()
		n.Client.Do(func() { _, err = p.SYN(t.Context(), Options{}) })
		if err == nil {
			t.Error("a probe by a closed prober")
		}
	})
}

func TestProbeLoopback(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		n := routertest.New(t)
		for _, a := range []string{"127.0.0.1", "::1"} {
			to := netip.AddrPortFrom(netip.MustParseAddr(a), 81)
			p := prober(t, n, to)
			var c evidence.Control
			var err error
			n.Client.Do(func() { c, err = p.ACK(t.Context(), Options{}) })
			if err != nil || c.Answer != "rst" || c.TTL != 64 || c.From != to.Addr() {
				t.Errorf("%+v, %v", c, err)
			}
		}
	})
}
