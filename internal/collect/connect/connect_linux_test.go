package connect_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/collect/connect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock/routertest"
)

// describe puts what is steady of an attempt in a line.
func describe(a evidence.Attempt) string {
	s := ""
	switch {
	case a.Connected:
		s = "connected"
	case a.Pending:
		s = "pending in " + a.State
	default:
		s = a.Errno
	}
	if a.Syscall != "" {
		s += " from " + a.Syscall
	}
	for _, e := range a.ICMP {
		s += fmt.Sprintf(", ICMP %d/%d from %v %s", e.Type, e.Code, e.From, e.Quote)
	}
	if a.Err != "" {
		s += ": " + a.Err
	}
	return s
}

// attempt connects and waits for an outcome; close is whether the connection is
// of no more interest.
func attempt(t *testing.T, env collect.Env, to netip.AddrPort, timeout time.Duration) (evidence.Attempt, *net.TCPConn) {
	env.Clock = collect.NewClock()
	a, c := connect.Attempt(t.Context(), env, to, timeout, connect.Options{})
	t.Logf("%v: %s, %+v", to, describe(a), a)
	if (c != nil) != a.Connected {
		t.Errorf("connected is %v, connection %v", a.Connected, c)
	}
	return a, c
}

const (
	long  = nettest.Patience
	short = 20 * time.Millisecond // for what never comes
)

func TestAttempt(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		for _, family := range []int{4, 6} {
			t.Run(fmt.Sprint("v", family), func(t *testing.T) { testAttempt(t, family) })
		}
	})
}

func testAttempt(t *testing.T, family int) {
	nettest.LeakCheck(t)
	n := routertest.New(t)
	server, client := routertest.Addr(family, 3, 2), routertest.Addr(family, 1, 2)
	r1, r2 := routertest.Addr(family, 1, 1), routertest.Addr(family, 2, 2)
	prefix := map[int]string{4: "10.%d.0.0/16", 6: "fd%d::/16"}[family]
	in := func(i int) netip.Addr { return netip.MustParsePrefix(fmt.Sprintf(prefix, i)).Addr().Next() }
	n.Server.Listen(netip.AddrPortFrom(server, 80))
	n.R1.RouteType(family, fmt.Sprintf(prefix, 88), unix.RTN_UNREACHABLE)
	n.R1.Route(family, fmt.Sprintf(prefix, 89), r2)
	n.R2.Route(family, fmt.Sprintf(prefix, 89), routertest.Addr(family, 2, 1))
	n.R2.Filter("forward", "tcp dport 84 reject with icmpx admin-prohibited")
	n.Server.Filter("input", "tcp dport 86 drop", "tcp dport 87 reject")
	n.Client.Filter("output", "tcp dport 91 drop", "tcp dport 92 reject")
	for i, typ := range []int{unix.RTN_BLACKHOLE, unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT} {
		n.Client.RouteType(family, fmt.Sprintf(prefix, 90+i), typ)
	}

	v4 := family == 4
	pick := func(four, six string) string {
		if v4 {
			return four
		}
		return six
	}
	for _, tt := range []struct {
		name string
		to   netip.Addr
		port uint16
		env  collect.Env
		want string
	}{
		{name: "open", port: 80, want: "connected"},
		{name: "refused", port: 9, want: "ECONNREFUSED"},
		{name: "dropped", port: 86, want: "pending in SYN_SENT"},
		{name: "rejected by the host", port: 87, want: fmt.Sprintf("ECONNREFUSED, ICMP %s from %v intact", pick("3/3", "1/4"), server)},
		{name: "prohibited by r2", port: 84, want: fmt.Sprintf("%s from %v intact", pick("EHOSTUNREACH, ICMP 3/13", "EACCES, ICMP 1/1"), r2)},
		{name: "no route at r1", to: in(88), port: 80, want: fmt.Sprintf("%s from %v intact", pick("EHOSTUNREACH, ICMP 3/1", "ENETUNREACH, ICMP 1/0"), r1)},
		{name: "loop", to: in(89), port: 80, want: fmt.Sprintf("EHOSTUNREACH, ICMP %s from %v intact", pick("11/0", "3/0"), r2)},
		{name: "dropped here", port: 91, want: "pending in SYN_SENT"},
		{name: "rejected here", port: 92, want: fmt.Sprintf("ECONNREFUSED, ICMP %s from %v intact", pick("3/3", "1/4"), client)},
		{name: "blackhole here", to: in(90), port: 80, want: "EINVAL from connect"},
		{name: "unreachable here", to: in(91), port: 80, want: "EHOSTUNREACH from connect"},
		{name: "prohibit here", to: in(92), port: 80, want: "EACCES from connect"},
		{name: "source", port: 80, env: collect.Env{Source: client, SourcePort: 4711}, want: "connected"},
		{name: "source address only", port: 80, env: collect.Env{Source: client}, want: "connected"},
		{name: "source missing", port: 80, env: collect.Env{Source: in(77).Next()}, want: "EADDRNOTAVAIL from bind"},
		{name: "source port not permitted", port: 80, env: collect.Env{SourcePort: 81}, want: "EACCES from bind"},
		{name: "interface", port: 80, env: collect.Env{Interface: "e0"}, want: "connected"},
		{name: "interface missing", port: 80, env: collect.Env{Interface: "e\x1b9"}, want: `ENODEV from bind: interface "e\x1b9": no such device`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to := netip.AddrPortFrom(server, tt.port)
			if tt.to.IsValid() {
				to = netip.AddrPortFrom(tt.to, tt.port)
			}
			timeout := long
			if tt.want == "pending in SYN_SENT" {
				timeout = short
			}
			n.Client.AsUser(func() {
				a, c := attempt(t, tt.env, to, timeout)
				if got := describe(a); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
				checkFacts(t, a, client)
				if tt.env.SourcePort != 0 && a.Connected && a.Tuple.Local.Port() != tt.env.SourcePort {
					t.Errorf("from port %d, want %d", a.Tuple.Local.Port(), tt.env.SourcePort)
				}
				if c == nil {
					return
				}
				if c.LocalAddr().String() != a.Tuple.Local.String() || c.RemoteAddr().String() != to.String() {
					t.Errorf("connection from %v to %v", c.LocalAddr(), c.RemoteAddr())
				}
				c.SetLinger(0) // or the source port is taken for a minute
				c.Close()
			})
		})
	}
}

// checkFacts checks what holds for every attempt.
func checkFacts(t *testing.T, a evidence.Attempt, client netip.Addr) {
	t.Helper()
	if a.Took <= 0 || a.At < 0 {
		t.Errorf("at %v, took %v", a.At, a.Took)
	}
	if a.Connected && (a.State != "ESTABLISHED" || a.RTT <= 0 || a.MSS < 500) {
		t.Errorf("state %q, RTT %v, MSS %d", a.State, a.RTT, a.MSS)
	}
	if a.Syscall == "" && (a.Tuple.Local.Addr() != client || a.Tuple.Local.Port() == 0) {
		t.Errorf("local end %v, want %v", a.Tuple.Local, client)
	}
	for _, e := range a.ICMP {
		if e.Errno != a.Errno || e.DstPort != a.Tuple.Remote.Port() || e.Seq == 0 || e.QuoteLen < 20 || e.Local {
			t.Errorf("ICMP %+v", e)
		}
		if e.TTL < 60 || e.TTL > 255 {
			t.Errorf("ICMP from %v came with hop limit %d", e.From, e.TTL)
		}
		if e.At < a.At || e.At > a.At+a.Took {
			t.Errorf("ICMP at %v of an attempt at %v that took %v", e.At, a.At, a.Took)
		}
	}
}

// TestHardError has ICMP errors come after connect() has returned: the kernel
// then ends the attempt.
func TestHardError(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		n := routertest.New(t)
		n.R1.Slow("e0", 10_000)
		n.R2.Filter("forward", "tcp dport 84 reject with icmpx admin-prohibited")
		for family, want := range map[int]string{
			4: "EHOSTUNREACH, ICMP 3/13 from 10.77.2.2 intact",
			6: "EACCES, ICMP 1/1 from fd77:2::2 intact",
		} {
			to := netip.AddrPortFrom(routertest.Addr(family, 3, 2), 84)
			var runs []*connect.Running
			n.Client.AsUser(func() {
				runs = connect.StartAll(collect.Env{Clock: collect.NewClock()}, []netip.AddrPort{to, to, to, to}, connect.Options{})
			})
			hard := 0
			for _, r := range runs {
				<-r.Done()
				a, _ := r.Result()
				if got := describe(a); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				if a.State == "CLOSE" {
					hard++
				}
			}
			if hard == 0 { // the first are within the burst and come at once
				t.Error("no attempt was ended by the kernel")
			}
		}
	})
}

// TestLoopback is an ordinary user's, on this host.
func TestLoopback(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		for _, host := range []string{"127.0.0.1", "::1"} {
			addr := netip.MustParseAddr(host)
			n := routertest.New(t)
			l := n.Client.Listen(netip.AddrPortFrom(addr, 0))
			open := l.Addr().(*net.TCPAddr).AddrPort()
			n.Server.AsUser(func() { // the same address in another namespace
				if a, _ := attempt(t, collect.Env{}, open, long); describe(a) != "ECONNREFUSED" || a.Tuple.Local.Addr() != addr {
					t.Errorf("closed port: %s from %v", describe(a), a.Tuple.Local)
				}
			})
			n.Client.AsUser(func() {
				a, c := attempt(t, collect.Env{}, open, long)
				if describe(a) != "connected" {
					t.Errorf("open port: %s", describe(a))
				} else {
					c.Close()
				}
				if a, _ := attempt(t, collect.Env{SourcePort: open.Port(), Source: addr}, open, long); describe(a) != "EADDRINUSE from bind" {
					t.Errorf("busy source port: %s", describe(a))
				}
				if a, _ := attempt(t, collect.Env{SourcePort: 22, Source: addr}, open, long); describe(a) != "EACCES from bind" {
					t.Errorf("privileged source port: %s", describe(a))
				}
			})
		}
	})
}

// TestNoRoute is in a namespace that has nothing. For IPv6 without any address
// the kernel misses the source address before the route: not every
// EADDRNOTAVAIL is about ports.
func TestNoRoute(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		for to, want := range map[string]string{
			"192.0.2.1:80":     "ENETUNREACH from connect",
			"[2001:db8::1]:80": "EADDRNOTAVAIL from connect",
		} {
			err := ns.Do(func() error {
				if a, _ := attempt(t, collect.Env{}, netip.MustParseAddrPort(to), long); describe(a) != want {
					t.Errorf("%s: got %s, want %s", to, describe(a), want)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestUsedUp is without local ports, then without descriptors.
func TestUsedUp(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		n := routertest.New(t)
		n.Client.Sysctl("net/ipv4/ip_local_port_range", "40000 40000")
		n.Server.Filter("input", "tcp dport 86 drop")
		to := netip.AddrPortFrom(routertest.Addr(4, 3, 2), 86)
		n.Client.AsUser(func() {
			only := connect.Start(collect.Env{Clock: collect.NewClock()}, to, connect.Options{})
			if a, _ := attempt(t, collect.Env{}, to, long); describe(a) != "EADDRNOTAVAIL from connect" {
				t.Error(describe(a))
			}
			only.Stop()
			if a, _ := only.Result(); describe(a) != "pending in SYN_SENT" {
				t.Error(describe(a))
			}
		})

		var before unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: before.Max}); err != nil {
			t.Fatal(err)
		}
		a, _ := attempt(t, collect.Env{}, to, long)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
		if a.Errno != "EMFILE" || a.Syscall != "socket" {
			t.Error(describe(a))
		}
	})
}
