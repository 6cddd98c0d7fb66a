//go:build linux

package path_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/collect/path"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock/routertest"
)

// TestTraceLater has answers come after the system calls that ask for them, as
// on a real network, so that all SYNs are out before the first answer.
func TestTraceLater(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		n := routertest.New(t)
		n.R1.Slow("e0", 100_000)     // towards the client
		n.Server.Slow("e0", 100_000) // towards r2
		for _, family := range []int{4, 6} {
			server := routertest.Addr(family, 3, 2)
			listener := n.Server.Listen(netip.AddrPortFrom(server, 80))
			routers := fmt.Sprintf("1 time-exceeded %v, 2 time-exceeded %v", routertest.Addr(family, 1, 1), routertest.Addr(family, 2, 2))
			trace(t, n, netip.AddrPortFrom(server, 9), path.Options{}) // learns the neighbours
			for port, answer := range map[uint16]string{80: ", 3 syn-ack", 9: ", 3 rst"} {
				p := trace(t, n, netip.AddrPortFrom(server, port), path.Options{})
				if got := describe(p); !strings.HasPrefix(got, routers+answer) || p.AnswerTTL != 3 || p.Unanswered != 0 {
					t.Errorf("port %d: answer at %d, %d unanswered: %s", port, p.AnswerTTL, p.Unanswered, got)
				}
			}
			heardNothing(t, listener)
		}
	})
}

func TestTraceTriesAgain(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		n := routertest.New(t)
		n.R1.Filter("output", "icmp type time-exceeded numgen inc mod 2 0 drop")
		n.R2.Filter("output", "icmp type time-exceeded drop")
		server := routertest.Addr(4, 3, 2)
		p := trace(t, n, netip.AddrPortFrom(server, 9), path.Options{})
		if got, want := describe(p), "1 time-exceeded 10.77.1.1, 2 silent, 3 rst"; got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		for i, want := range []int{2, 2, 1} {
			if h := p.Hops[i]; h.Tries != want {
				t.Errorf("hop %d: %d tries, want %d", h.TTL, h.Tries, want)
			}
		}
		if p.Unanswered != 0 {
			t.Errorf("%d unanswered, want 0: hop 2 is below the port", p.Unanswered)
		}
	})
}

// TestTraceFewPorts leaves fewer local ports than probes.
func TestTraceFewPorts(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		n := routertest.New(t)
		n.Client.Sysctl("net/ipv4/ip_local_port_range", "40000 40007")
		n.R1.Filter("forward", "tcp dport 81 drop")
		server := routertest.Addr(4, 3, 2)

		p := trace(t, n, netip.AddrPortFrom(server, 81), path.Options{})
		counts := kinds(p)
		if counts["time-exceeded"] != 1 || counts["error"] < 20 || counts["silent"] < 2 || len(p.Hops) != 30 {
			t.Errorf("dropped port: %v", counts)
		}
		if p.Unanswered != counts["silent"] {
			t.Errorf("%d unanswered of %d silent", p.Unanswered, counts["silent"])
		}
		for _, h := range p.Hops {
			if h.Kind == "error" && (h.Errno != "EADDRNOTAVAIL" || h.Tries != 0) {
				t.Errorf("hop %d: %s, %d tries", h.TTL, h.Errno, h.Tries)
			}
		}

		p = trace(t, n, netip.AddrPortFrom(server, 9), path.Options{})
		if got, want := describe(p), "1 time-exceeded 10.77.1.1, 2 time-exceeded 10.77.2.2, 3 rst"; got != want {
			t.Errorf("refused port: got %s, want %s", got, want)
		}
	})
}

func kinds(p evidence.Path) map[string]int {
	m := make(map[string]int)
	for _, h := range p.Hops {
		m[h.Kind]++
	}
	return m
}

// TestTraceFewFiles leaves fewer descriptors than probes.
func TestTraceFewFiles(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		n := routertest.New(t)
		n.R1.Filter("forward", "tcp dport 81 drop")
		server := netip.AddrPortFrom(routertest.Addr(4, 3, 2), 81)
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		var before unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
		limit := func(files int) error {
			return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(files), Max: before.Max})
		}
		defer unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
		n.Client.Do(func() {
			if err := limit(len(files) + 12); err != nil {
				t.Error(err)
			}
			p, err := path.Trace(t.Context(), collect.Env{Clock: collect.NewClock()}, server, path.Options{})
			counts := kinds(p)
			if err != nil || counts["time-exceeded"] != 1 || counts["silent"] < 2 || counts["error"] < 15 || len(p.Hops) != 30 {
				t.Errorf("%v, %v", counts, err)
			}
			if err := limit(3); err != nil {
				t.Error(err)
			}
			_, err = path.Trace(t.Context(), collect.Env{Clock: collect.NewClock()}, server, path.Options{})
			if !errors.Is(err, unix.EMFILE) {
				t.Errorf("without descriptors: %v", err)
			}
		})
	})
}

func TestTraceFailsHere(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		n := routertest.New(t)
		n.Client.RouteType(4, "10.88.0.0/16", unix.RTN_PROHIBIT)
		n.Client.Do(func() {
			for _, tt := range []struct {
				env             collect.Env
				to, call, errno string
			}{
				{to: "10.88.0.1:80", call: "connect", errno: "EACCES"},
				{to: "10.77.3.2:80", call: "bind", errno: "EADDRNOTAVAIL", env: collect.Env{Source: netip.MustParseAddr("192.0.2.1")}},
				{to: "10.77.3.2:80", call: "bind", errno: "ENODEV", env: collect.Env{Interface: "no such"}},
			} {
				tt.env.Clock = collect.NewClock()
				p, err := path.Trace(t.Context(), tt.env, netip.MustParseAddrPort(tt.to), path.Options{})
				var call *tcpsock.Error
				if !errors.As(err, &call) || call.Call != tt.call || tcpsock.ErrnoName(err) != tt.errno {
					t.Errorf("%s: %v, want %s of %s", tt.to, err, tt.errno, tt.call)
				}
				if got, want := describe(p), "1 error "+tt.errno; got != want {
					t.Errorf("%s: %s, want %s", tt.to, got, want)
				}
			}
		})
	})
}

func TestTraceEnds(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		n := routertest.New(t)
		n.R1.Filter("prerouting", "tcp dport 81 drop")
		n.R1.Filter("forward", "tcp dport 82 drop")
		server := routertest.Addr(4, 3, 2)
		env := func() collect.Env { return collect.Env{Clock: collect.NewClock()} }
		n.Client.Do(func() {
			p, err := path.Trace(t.Context(), env(), netip.AddrPortFrom(server, 81), path.Options{Timeout: 20 * time.Millisecond, MaxTTL: 100})
			if err != nil || describe(p) != "1-64 silent" || p.Unanswered != 64 {
				t.Errorf("timeout: %s, %d unanswered, %v", describe(p), p.Unanswered, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			p, err = path.Trace(ctx, env(), netip.AddrPortFrom(server, 82), path.Options{Timeout: time.Hour, Settle: time.Hour})
			if !errors.Is(err, context.DeadlineExceeded) || describe(p) != "1 time-exceeded 10.77.1.1, 2-30 silent" {
				t.Errorf("context done: %s, %v", describe(p), err)
			}
			p, err = path.Trace(ctx, env(), netip.AddrPortFrom(server, 82), path.Options{})
			if !errors.Is(err, context.DeadlineExceeded) || len(p.Hops) != 0 {
				t.Errorf("context done before: %s, %v", describe(p), err)
			}
		})
	})
}

// BenchmarkTrace is a trace over two routers to a refused and to a dropped port.
func BenchmarkTrace(b *testing.B) {
	n := routertest.New(b)
	server := routertest.Addr(4, 3, 2)
	n.Client.Do(func() {
		for b.Loop() {
			p, err := path.Trace(b.Context(), collect.Env{Clock: collect.NewClock()}, netip.AddrPortFrom(server, 9), path.Options{})
			if err != nil || p.AnswerTTL != 3 {
				b.Fatalf("%s, %v", describe(p), err)
			}
		}
	})
}
