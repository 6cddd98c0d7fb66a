package returns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/collect/counters"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

func ip(script string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip -batch: %w\n%s", err, out)
	}
	return nil
}

func sysctls(settings ...string) error {
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}

// newHost makes a host with two links, a0 and b0, to one client, which has
// addresses on both and one behind.
func newHost(t *testing.T) (host, client *netns.NS) {
	t.Helper()
	nettest.NeedProgram(t, "ip")
	var all [2]*netns.NS
	for i := range all {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ns.Close() })
		if err := ns.Do(func() error { return sysctls("ipv6/conf/default/accept_dad=0") }); err != nil {
			t.Fatal(err)
		}
		all[i] = ns
	}
	host, client = all[0], all[1]
	c, err := rtnl.NewChanger(host.Fd())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, l := range []string{"a", "b"} {
		if err := c.AddVeth(l+"0", l+"1", client.Fd()); err != nil {
			t.Fatal(err)
		}
	}
	if err := host.Do(func() error {
		return errors.Join(ip(`link set lo up
link set a0 up address 02:00:00:00:00:0a
link set b0 up address 02:00:00:00:00:0b
addr add 10.1.1.1/24 dev a0
addr add 10.2.2.1/24 dev b0
addr add fd01::1/64 dev a0 nodad
`), sysctls("ipv4/conf/all/rp_filter=0", "ipv4/conf/a0/rp_filter=0", "ipv4/conf/b0/rp_filter=0"))
	}); err != nil {
		t.Fatal(err)
	}
	if err := client.Do(func() error {
		return ip(`link set lo up
link set a1 up
link set b1 up
addr add 10.1.1.2/24 dev a1
addr add 10.2.2.2/24 dev b1
addr add 203.0.113.5/32 dev lo
neigh add 10.1.1.1 dev a1 lladdr 02:00:00:00:00:0a
neigh add 10.1.1.1 dev b1 lladdr 02:00:00:00:00:0b
route add 10.1.1.1/32 dev b1 metric 1
`)
	}); err != nil {
		t.Fatal(err)
	}
	return host, client
}

// arrived sends SYNs from a source by b1 and says whether the host let one in:
// it counts the others.
func arrived(t *testing.T, host, client *netns.NS, source string) (in bool) {
	t.Helper()
	read := func() map[string]int64 {
		var c evidence.HostCounters
		if err := host.Do(func() (err error) {
			c, err = counters.Host(t.Context())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return c.Now
	}
	before := read()
	d := net.Dialer{
		Timeout: 20 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)},
		Control: func(_, _ string, c syscall.RawConn) (err error) {
			c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "b1") })
			return err
		},
	}
	nettest.Eventually(t, "no SYN came to the host", func() bool {
		_ = client.Do(func() error {
			if c, err := d.Dial("tcp", "10.1.1.1:9"); err == nil {
				c.Close()
			}
			return nil
		})
		now := read()
		in = now["Tcp.InSegs"] > before["Tcp.InSegs"]
		filtered := now["TcpExt.IPReversePathFilter"] > before["TcpExt.IPReversePathFilter"]
		if in && filtered {
			t.Fatal("both let in and filtered")
		}
		return in || filtered
	})
	return in
}

func collectIn(t *testing.T, ns *netns.NS, local, client, arrives string) evidence.Return {
	t.Helper()
	var r evidence.Return
	if err := ns.Do(func() (err error) {
		r, err = Collect(t.Context(), collect.Env{Clock: collect.NewClock()}, netip.MustParseAddr(local), netip.MustParseAddr(client), arrives)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(r.Route.NotChecked) > 0 {
		t.Errorf("not checked: %v", r.Route.NotChecked)
	}
	return r
}

// TestReversePath holds what is foretold against what the kernel does.
func TestReversePath(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		const strict, loose, unknown = "strict", "loose", "unknown"
		for _, c := range []struct {
			name, all, own, ip, source string
			filter                     string
			want                       string // "pass", "fail" or unknown
		}{
			{"off", "0", "0", "", "203.0.113.5", "off", "pass"},
			{"symmetric", "0", "1", "", "10.2.2.2", strict, "pass"},
			{"asymmetric", "0", "1", "", "10.1.1.2", strict, "fail"},
			{"asymmetric, by all", "1", "0", "", "10.1.1.2", strict, "fail"},
			{"asymmetric, loose", "0", "2", "", "10.1.1.2", loose, "pass"},
			{"loose wins over strict", "1", "2", "", "10.1.1.2", loose, "pass"},
			{"loose by all wins", "2", "1", "", "10.1.1.2", loose, "pass"},
			{"no route, strict", "0", "1", "", "203.0.113.5", strict, "fail"},
			{"no route, loose", "0", "2", "", "203.0.113.5", loose, "fail"},
			{"default route", "0", "1", "route add default via 10.1.1.2", "203.0.113.5", strict, "fail"},
			{"default route, loose", "0", "2", "route add default via 10.1.1.2", "203.0.113.5", loose, "pass"},
			{"unreachable, loose", "0", "2", "route add default via 10.1.1.2\nroute add unreachable 203.0.113.0/24", "203.0.113.5", loose, "fail"},
			{"several paths", "0", "1", "route add 203.0.113.0/24 nexthop via 10.1.1.2 nexthop via 10.2.2.2", "203.0.113.5", strict, "pass"},
			{"policy rule for the local address", "0", "1", "route add default via 10.1.1.2\nroute add default via 10.2.2.2 table 100\nrule add from 10.1.1.1 lookup 100", "203.0.113.5", strict, "pass"},
			{"policy rule for another interface", "0", "1", "route add default via 10.1.1.2\nroute add default via 10.2.2.2 table 100\nrule add iif b0 lookup 100", "203.0.113.5", strict, "fail"},
			{"policy rule for a mark", "0", "1", "route add default via 10.1.1.2\nroute add default via 10.2.2.2 table 100\nrule add fwmark 7 lookup 100", "203.0.113.5", strict, "fail"},
			{"no address, loose", "0", "2", "addr flush dev b0", "10.1.1.2", loose, "fail"},
		} {
			t.Run(c.name, func(t *testing.T) {
				host, client := newHost(t)
				if err := host.Do(func() error {
					return errors.Join(ip(c.ip), sysctls("ipv4/conf/all/rp_filter="+c.all, "ipv4/conf/b0/rp_filter="+c.own))
				}); err != nil {
					t.Fatal(err)
				}
				r := collectIn(t, host, "10.1.1.1", c.source, "b0")
				got := unknown
				switch {
				case r.PassesRP != nil && *r.PassesRP:
					got = "pass"
				case r.PassesRP != nil:
					got = "fail"
				}
				if got != c.want || r.RPFilter != c.filter || r.Arrives != "b0" || !r.IsLocal {
					t.Errorf("%s, want %s: %+v", got, c.want, r)
				}
				if in := arrived(t, host, client, c.source); in != (c.want == "pass") {
					t.Errorf("let in: %v, want %s", in, c.want)
				}
			})
		}
	})
}

func TestUnknown(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		for _, c := range []struct{ name, ip, client string }{
			{"marks count", "rule add fwmark 7 lookup 100", "10.1.1.2"},
			{"ports count", "rule add ipproto tcp dport 80 lookup 100", "10.1.1.2"},
			{"own address", "", "10.2.2.1"},
			{"loopback address", "", "127.0.0.1"},
		} {
			t.Run(c.name, func(t *testing.T) {
				host, _ := newHost(t)
				if err := host.Do(func() error {
					return errors.Join(ip(c.ip), sysctls("ipv4/conf/b0/rp_filter=1", "ipv4/conf/b0/src_valid_mark=1"))
				}); err != nil {
					t.Fatal(err)
				}
				if r := collectIn(t, host, "10.1.1.1", c.client, "b0"); r.PassesRP != nil || r.RPFilter != "strict" {
					t.Errorf("%v, %+v", *r.PassesRP, r)
				}
			})
		}
	})
}

func TestCollect(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		host, _ := newHost(t)
		if err := host.Do(func() error {
			return errors.Join(ip(`link add br0 type bridge
link set br0 up
link set b0 master br0
neigh add 10.1.1.2 dev a0 lladdr 02:00:00:00:00:02 nud stale
`), sysctls("ipv4/conf/a0/forwarding=1", "ipv4/conf/a0/log_martians=1", "ipv4/conf/lo/rp_filter=1", "ipv6/conf/all/forwarding=1"))
		}); err != nil {
			t.Fatal(err)
		}
		yes := true
		for _, c := range []struct {
			local, client, arrives string
			want                   evidence.Return
			back                   string // interface
		}{
			{"10.1.1.1", "10.1.1.2", "", evidence.Return{IsLocal: true, Arrives: "a0", RPFilter: "off", PassesRP: &yes, Forwarding: true, LogMartians: true}, "a0"},
			{"10.1.1.1", "10.1.1.2", "b0", evidence.Return{IsLocal: true, Arrives: "br0", RPFilter: "off", PassesRP: &yes}, "a0"},
			{"192.0.2.9", "10.1.1.2", "", evidence.Return{}, "a0"},
			{"127.0.0.1", "127.0.0.1", "", evidence.Return{IsLocal: true, Arrives: "lo", RPFilter: "strict", PassesRP: &yes}, "lo"},
			{"10.1.1.1", "10.2.2.1", "", evidence.Return{IsLocal: true, Arrives: "lo", RPFilter: "strict", PassesRP: &yes}, "lo"},
			{"fd01::1", "fd01::2", "", evidence.Return{IsLocal: true, Arrives: "a0", Forwarding: true}, "a0"},
			{"fd01::1", "fe80::2", "a0", evidence.Return{IsLocal: true, Arrives: "a0", Forwarding: true}, "a0"},
		} {
			got := collectIn(t, host, c.local, c.client, c.arrives)
			if got.Route.Interface != c.back || got.Route.At == 0 || got.At == 0 {
				t.Errorf("%s to %s: %+v", c.local, c.client, got)
			}
			if n := got.Route.Neighbour; c.client == "10.1.1.2" && (n == nil || n.State != "STALE") {
				t.Errorf("%s to %s: neighbour %+v", c.local, c.client, n)
			}
			c.want.At, c.want.Route = got.At, got.Route
			c.want.Local, c.want.Client = netip.MustParseAddr(c.local), netip.MustParseAddr(c.client)
			if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a.WithZone("") == b.WithZone("") })); diff != "" {
				t.Errorf("%s to %s (-want +got):\n%s", c.local, c.client, diff)
			}
		}
		if err := host.Do(func() error {
			r, err := Collect(t.Context(), collect.Env{}, netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("10.1.1.2"), "no\x1b")
			if len(r.Route.NotChecked) != 1 || !strings.Contains(r.Route.NotChecked[0].Reason, `no\x1b`) || r.RPFilter != "" {
				t.Errorf("no such interface: %+v", r)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}

func TestAddresses(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		host, _ := newHost(t)
		if err := host.Do(func() error {
			if err := errors.Join(sysctls("ipv6/conf/default/accept_dad=1"), ip("link add d0 type veth peer name d1\naddr add fd09::1/64 dev d0\nlink set d0 up")); err != nil {
				return err
			}
			list, err := Addresses(t.Context())
			got := make(map[netip.Prefix]evidence.HostAddress)
			for _, a := range list {
				got[a.Prefix] = a
			}
			for _, want := range []evidence.HostAddress{
				{Prefix: netip.MustParsePrefix("127.0.0.1/8"), Interface: "lo", Up: true},
				{Prefix: netip.MustParsePrefix("10.1.1.1/24"), Interface: "a0", Up: true},
				{Prefix: netip.MustParsePrefix("fd01::1/64"), Interface: "a0", Up: true},
				{Prefix: netip.MustParsePrefix("fd09::1/64"), Interface: "d0", Tentative: true},
			} {
				if got[want.Prefix] != want {
					t.Errorf("%+v, want %+v", got[want.Prefix], want)
				}
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// TestRoutes: routes of type local make a host take what is for addresses that no
// interface has, and it answers for them.
func TestRoutes(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		err = ns.Do(func() error {
			return ip("link set lo up\naddr add 192.0.2.1/24 dev lo\nroute add local 198.51.100.0/24 dev lo\nroute add local 203.0.113.7 dev lo\n" +
				"route add local 0.0.0.0/0 dev lo table 100\nroute add local 2001:db8::/64 dev lo\n")
		})
		if err != nil {
			t.Fatal(err)
		}
		h := evidence.Host{RoutesRead: true}
		err = ns.Do(func() (err error) {
			if h.Addresses, err = Addresses(t.Context()); err != nil {
				return err
			}
			h.LocalRoutes, err = Routes(t.Context(), h.Addresses)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range h.LocalRoutes {
			got = append(got, fmt.Sprint(r.Prefix, " ", r.Table))
		}
		slices.Sort(got)
		want := []string{"0.0.0.0/0 100", "192.0.2.0/24 255", "198.51.100.0/24 255", "2001:db8::/64 255", "203.0.113.7/32 255"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for addr, want := range map[string][2]bool{
			"192.0.2.1": {true, true}, "192.0.2.99": {true, true}, "198.51.100.200": {true, true}, "203.0.113.7": {true, true}, "2001:db8::5": {true, true}, "127.0.0.9": {true, true},
			"203.0.113.8":   {false, false}, // table 100 may have it
			"2001:db8:1::5": {false, true},
		} {
			if yes, known := h.Owns(netip.MustParseAddr(addr)); yes != want[0] || known != want[1] {
				t.Errorf("owns %s: %v, known %v", addr, yes, known)
			}
		}
		err = ns.Do(func() error { // and so it does
			l, err := net.Listen("tcp", "198.51.100.200:0")
			if err == nil {
				err = l.Close()
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestErrors(t *testing.T) {
	a, b := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")
	for _, c := range [][2]netip.Addr{{a, b}, {a, {}}, {{}, a}} {
		if _, err := Collect(t.Context(), collect.Env{}, c[0], c[1], ""); err == nil {
			t.Errorf("%v is accepted", c)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Collect(ctx, collect.Env{}, a, a, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := Addresses(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
