//go:build linux

package path_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/collect/path"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock/routertest"
)

// describe shows a path as "1 time-exceeded 10.77.1.1, 2 rst": runs of silent
// hops as "3-30 silent".
func describe(p evidence.Path) string {
	var parts []string
	for i := 0; i < len(p.Hops); i++ {
		h, first := p.Hops[i], p.Hops[i].TTL
		for h.Kind == "silent" && i+1 < len(p.Hops) && p.Hops[i+1].Kind == "silent" {
			i++
		}
		s := fmt.Sprint(first)
		if last := p.Hops[i].TTL; last != first {
			s += fmt.Sprint("-", last)
		}
		s += " " + h.Kind
		if h.Addr.IsValid() {
			s += " " + h.Addr.String()
		}
		if h.Kind == "icmp" {
			s += fmt.Sprintf(" %d/%d", h.Type, h.Code)
		}
		if h.Kind != "time-exceeded" && h.Errno != "" {
			s += " " + h.Errno
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, ", ")
}

// patient is what tests wait for an answer instead of the default, which is made
// for round trips and not for a processor that has other tests to run.
const patient = 300 * time.Millisecond

func trace(t *testing.T, n *routertest.Net, to netip.AddrPort, o path.Options) evidence.Path {
	t.Helper()
	var (
		p   evidence.Path
		err error
	)
	if o.Settle == 0 {
		o.Settle = patient
	}
	n.Client.AsUser(func() {
		p, err = path.Trace(t.Context(), collect.Env{Clock: collect.NewClock()}, to, o)
	})
	t.Logf("%v in %v: %s", to, p.Took, describe(p))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTrace(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		for _, family := range []int{4, 6} {
			t.Run(fmt.Sprint("v", family), func(t *testing.T) { testTrace(t, family) })
		}
	})
}

func testTrace(t *testing.T, family int) {
	nettest.LeakCheck(t)
	n := routertest.New(t)
	server := routertest.Addr(family, 3, 2)
	r1, r2 := routertest.Addr(family, 1, 1), routertest.Addr(family, 2, 2)
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
	n.R2.Filter("prerouting", "tcp dport 85 reject with tcp reset")
	n.Server.Filter("input", "tcp dport 86 drop", "tcp dport 87 reject")

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
	}{
		{name: "open", port: 80, want: routers + ", 3 syn-ack", ttl: 3, answer: "syn-ack"},
		{name: "refused", port: 9, want: routers + ", 3 rst", ttl: 3, answer: "rst"},
		{name: "dropped by r1", port: 81, want: near + ", 2-30 silent", unanswered: 29},
		{name: "reset by r1", port: 82, want: near + ", 2 rst", ttl: 2, answer: "rst"},
		{name: "reset by r2", port: 83, want: routers + ", 3 rst", ttl: 3, answer: "rst"},
		{name: "rejected by r2", port: 84, want: fmt.Sprintf("%s, 3 icmp %v %s %s", routers, r2, prohibited, errnoOf(family)), ttl: 3, answer: "icmp"},
		{name: "reset before routing on r2", port: 85, want: near + ", 2 rst", ttl: 2, answer: "rst"},
		{name: "dropped by the host", port: 86, want: routers + ", 3-30 silent", unanswered: 28},
		{name: "rejected by the host", port: 87, want: fmt.Sprintf("%s, 3 icmp %v %s ECONNREFUSED", routers, server, port), ttl: 3, answer: "icmp"},
		{name: "no route at r1", to: inPrefix(away), port: 80, want: fmt.Sprintf("1 icmp %v %s %s", r1, noRoute, noRouteErrno(family)), ttl: 1, answer: "icmp"},
		{name: "loop", to: inPrefix(loop), port: 80, want: loops, maxTTL: 12},
		{name: "on-link", to: r1, port: 9, want: "1 rst", ttl: 1, answer: "rst"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to := tt.to
			if !to.IsValid() {
				to = server
			}
			p := trace(t, n, netip.AddrPortFrom(to, tt.port), path.Options{MaxTTL: tt.maxTTL})
			if got := describe(p); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if p.AnswerTTL != tt.ttl || p.Answer != tt.answer || p.Unanswered != tt.unanswered {
				t.Errorf("answer %q at %d, %d unanswered; want %q at %d, %d", p.Answer, p.AnswerTTL, p.Unanswered, tt.answer, tt.ttl, tt.unanswered)
			}
			if p.Port != tt.port || p.Method != "connect" || p.Took <= 0 {
				t.Errorf("port %d, method %q, took %v", p.Port, p.Method, p.Took)
			}
			for _, h := range p.Hops {
				if (h.Kind != "silent") != (h.RTT > 0) {
					t.Errorf("hop %d is %s with round trip %v", h.TTL, h.Kind, h.RTT)
				}
			}
		})
	}

	heardNothing(t, listener)
}

// heardNothing fails the test if an application behind the listener would have
// got a connection. It comes after the traces, whose resets took the way that
// an ACK would have taken.
func heardNothing(t *testing.T, l *net.TCPListener) {
	t.Helper()
	l.SetDeadline(time.Now().Add(20 * time.Millisecond))
	if c, err := l.AcceptTCP(); err == nil {
		c.Close()
		t.Error("the server's application got a connection")
	}
}

func errnoOf(family int) string {
	if family == 6 {
		return "EACCES"
	}
	return "EHOSTUNREACH"
}

func noRouteErrno(family int) string {
	if family == 6 {
		return "ENETUNREACH"
	}
	return "EHOSTUNREACH"
}
