package path_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/collect/path"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/rawsock"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock/routertest"
)

// traceRaw traces from the client as root.
func traceRaw(n *routertest.Net, ctx context.Context, env collect.Env, to netip.AddrPort, o path.Options) (p evidence.Path, err error) {
	env.Clock = collect.NewClock()
	if o.Settle == 0 {
		o.Settle = patient
	}
	n.Client.Do(func() { p, err = path.TraceRaw(ctx, env, to, o) })
	return p, err
}

func TestTraceRaw(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		for _, family := range []int{4, 6} {
			t.Run(fmt.Sprint("v", family), func(t *testing.T) { testTraceRaw(t, family) })
		}
	})
}

func testTraceRaw(t *testing.T, family int) {
	nettest.LeakCheck(t)
	n := routertest.New(t)
	server := routertest.Addr(family, 3, 2)
	r1, r2 := routertest.Addr(family, 1, 1), routertest.Addr(family, 2, 2)
	nettest.Eventually(t, "the net does not work", func() bool {
		p, err := traceRaw(n, t.Context(), collect.Env{}, netip.AddrPortFrom(server, 9), path.Options{})
		return err == nil && p.AnswerTTL == 3
	})
	listener := n.Server.Listen(netip.AddrPortFrom(server, 80))
	away, loop := "10.88.0.0/16", "10.89.0.0/16"
	if family == 6 {
		away, loop = "fd88::/16", "fd89::/16"
	}
	n.R1.RouteType(family, away, unix.RTN_UNREACHABLE)
	n.R1.Route(family, loop, r2)
	n.R2.Route(family, loop, routertest.Addr(family, 2, 1))
	n.R1.Filter("forward", "tcp dport 81 drop", "tcp dport 82 reject with tcp reset")
	n.R2.Filter("forward", "tcp dport 83 reject with tcp reset", "tcp dport 84 reject with icmpx admin-prohibited")
	n.Server.Filter("input", "tcp dport 86 drop", "tcp dport 87 reject")
	// All of one trace must come from one port: the others do not pass.
	n.R1.Filter("forward", "tcp dport 88 tcp sport != 34567 drop")

	prohibited, port, noRoute := "3/13", "3/3", "3/1"
	if family == 6 {
		prohibited, port, noRoute = "1/1", "1/4", "1/0"
	}
	near := fmt.Sprintf("1 time-exceeded %v", r1)
	routers := fmt.Sprintf("%s, 2 time-exceeded %v", near, r2)
	back := r1 // how r1 signs when it has the packet from r2
	if family == 6 {
		back = routertest.Addr(family, 2, 1)
	}
	loops := near
	for ttl := 2; ttl <= 12; ttl++ {
		loops += fmt.Sprintf(", %d time-exceeded %v", ttl, []netip.Addr{r2, back}[ttl%2])
	}
	inPrefix := func(p string) netip.Addr { return netip.MustParsePrefix(p).Addr().Next() }

	for _, tt := range []struct {
		name       string
		to         netip.Addr
		port       uint16
		want       string
		ttl        int
		answer     string
		unanswered int
		maxTTL     int
		sourcePort uint16
	}{
		{name: "open", port: 80, want: routers + ", 3 syn-ack", ttl: 3, answer: "syn-ack"},
		{name: "refused", port: 9, want: routers + ", 3 rst", ttl: 3, answer: "rst"},
		{name: "dropped by r1", port: 81, want: near + ", 2-30 silent", unanswered: 29},
		{name: "reset by r1", port: 82, want: near + ", 2 rst", ttl: 2, answer: "rst"},
		{name: "reset by r2", port: 83, want: routers + ", 3 rst", ttl: 3, answer: "rst"},
		{name: "rejected by r2", port: 84, want: fmt.Sprintf("%s, 3 icmp %v %s", routers, r2, prohibited), ttl: 3, answer: "icmp"},
		{name: "dropped by the host", port: 86, want: routers + ", 3-30 silent", unanswered: 28},
		{name: "rejected by the host", port: 87, want: fmt.Sprintf("%s, 3 icmp %v %s", routers, server, port), ttl: 3, answer: "icmp"},
		{name: "from one port", port: 88, want: routers + ", 3 rst", ttl: 3, answer: "rst", sourcePort: 34567},
		{name: "no route at r1", to: inPrefix(away), port: 80, want: fmt.Sprintf("1 icmp %v %s", r1, noRoute), ttl: 1, answer: "icmp"},
		{name: "loop", to: inPrefix(loop), port: 80, want: loops, maxTTL: 12},
		{name: "on-link", to: r1, port: 9, want: "1 rst", ttl: 1, answer: "rst"},
		{name: "itself", to: routertest.Addr(family, 1, 2), port: 9, want: "1 rst", ttl: 1, answer: "rst"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to := tt.to
			if !to.IsValid() {
				to = server
			}
			p, err := traceRaw(n, t.Context(), collect.Env{SourcePort: tt.sourcePort}, netip.AddrPortFrom(to, tt.port), path.Options{MaxTTL: tt.maxTTL})
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(p); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if p.AnswerTTL != tt.ttl || p.Answer != tt.answer || p.Unanswered != tt.unanswered {
				t.Errorf("answer %q at %d, %d unanswered; want %q at %d, %d", p.Answer, p.AnswerTTL, p.Unanswered, tt.answer, tt.ttl, tt.unanswered)
			}
			if p.Port != tt.port || p.Method != "raw" || p.Took <= 0 {
				t.Errorf("port %d, method %q, took %v", p.Port, p.Method, p.Took)
			}
			for _, h := range p.Hops {
				if (h.Kind != "silent") != (h.RTT > 0) || h.Tries < 1 {
					t.Errorf("hop %d is %s with round trip %v, %d tries", h.TTL, h.Kind, h.RTT, h.Tries)
				}
			}
		})
	}
	heardNothing(t, listener)
}

// Answers that come after all SYNs are out, as on a real network.
func TestTraceRawLater(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		n := routertest.New(t)
		n.R1.Slow("e0", 100_000)     // towards the client
		n.Server.Slow("e0", 100_000) // towards r2
		for _, family := range []int{4, 6} {
			server := routertest.Addr(family, 3, 2)
			listener := n.Server.Listen(netip.AddrPortFrom(server, 80))
			routers := fmt.Sprintf("1 time-exceeded %v, 2 time-exceeded %v", routertest.Addr(family, 1, 1), routertest.Addr(family, 2, 2))
			trace(t, n, netip.AddrPortFrom(server, 9), path.Options{}) // learns the neighbours
			for port, answer := range map[uint16]string{80: ", 3 syn-ack", 9: ", 3 rst"} {
				p, err := traceRaw(n, t.Context(), collect.Env{}, netip.AddrPortFrom(server, port), path.Options{})
				if got := describe(p); err != nil || got != routers+answer || p.AnswerTTL != 3 {
					t.Errorf("port %d: %v, answer at %d: %s", port, err, p.AnswerTTL, got)
				}
			}
			heardNothing(t, listener)
		}
	})
}

func TestTraceRawTriesAgain(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		n := routertest.New(t)
		n.R1.Filter("output", "icmp type time-exceeded numgen inc mod 2 0 drop")
		n.R2.Filter("output", "icmp type time-exceeded drop")
		to := netip.AddrPortFrom(routertest.Addr(4, 3, 2), 9)
		p, err := traceRaw(n, t.Context(), collect.Env{}, to, path.Options{})
		if got, want := describe(p), "1 time-exceeded 10.77.1.1, 2 silent, 3 rst"; err != nil || got != want {
			t.Fatalf("%v: got %s, want %s", err, got, want)
		}
		for i, want := range []int{2, 2, 1} {
			if h := p.Hops[i]; h.Tries != want {
				t.Errorf("hop %d: %d tries, want %d", h.TTL, h.Tries, want)
			}
		}
	})
}

func TestTraceRawErrors(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		n := routertest.New(t)
		n.R1.Filter("forward", "tcp dport 81 drop")
		n.Client.Filter("output", "tcp dport 82 drop")
		server := routertest.Addr(4, 3, 2)
		to := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(server, port) }

		var err error
		n.Client.AsUser(func() {
			_, err = path.TraceRaw(t.Context(), collect.Env{Clock: collect.NewClock()}, to(9), path.Options{})
		})
		var denied *rawsock.PermissionError
		if !errors.As(err, &denied) || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("without CAP_NET_RAW: %v", err)
		}

		p, err := traceRaw(n, t.Context(), collect.Env{}, to(82), path.Options{})
		if !errors.Is(err, unix.EPERM) || len(p.Hops) != 30 || p.Hops[0].Kind != "error" || p.Hops[0].Errno != "EPERM" {
			t.Errorf("dropped here: %+v, %v", p, err)
		}

		ctx, cancel := context.WithCancel(t.Context())
		stop := time.AfterFunc(50*time.Millisecond, cancel)
		defer stop.Stop()
		p, err = traceRaw(n, ctx, collect.Env{}, to(81), path.Options{Timeout: time.Hour, Settle: time.Hour})
		if !errors.Is(err, context.Canceled) || len(p.Hops) != 30 {
			t.Errorf("cancelled: %+v, %v", p, err)
		}

		p, err = traceRaw(n, t.Context(), collect.Env{}, to(81), path.Options{MaxTTL: 1000, Timeout: 50 * time.Millisecond, Settle: time.Hour})
		if err != nil || len(p.Hops) != 64 {
			t.Errorf("%d hops, %v", len(p.Hops), err)
		}

		_, err = traceRaw(n, t.Context(), collect.Env{Source: netip.MustParseAddr("192.0.2.5")}, to(9), path.Options{})
		if !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Errorf("from an address of another host: %v", err)
		}
		_, err = traceRaw(n, t.Context(), collect.Env{Interface: "nosuch"}, to(9), path.Options{})
		if !errors.Is(err, unix.ENODEV) {
			t.Errorf("through an interface that does not exist: %v", err)
		}
	})
}
