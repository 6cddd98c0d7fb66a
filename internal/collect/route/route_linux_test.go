package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// namespace makes a network namespace with base, and then more, done by ip(8).
func namespace(t *testing.T, more string) *netns.NS {
	t.Helper()
	nettest.NeedProgram(t, "ip")
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	if err := ns.Do(func() error { return ip(base) }); err != nil {
		t.Fatal(err)
	}
	settle(t, ns, "fd77:1::1")
	if err := ns.Do(func() error { return ip(more) }); err != nil {
		t.Fatal(err)
	}
	return ns
}

// settle waits until the kernel has made the local route of an address of
// IPv6, which it does a moment after the address was added.
func settle(t *testing.T, ns *netns.NS, addr string) {
	t.Helper()
	nettest.Eventually(t, addr+" did not become local", func() bool {
		return collectIn(t, ns, collect.Env{}, addr).Type == "local"
	})
}

func ip(script string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip -batch: %w\n%s", err, out)
	}
	return nil
}

func collectIn(t *testing.T, ns *netns.NS, env collect.Env, to string) evidence.Route {
	t.Helper()
	env.Clock = collect.NewClock()
	var r evidence.Route
	if err := ns.Do(func() (err error) {
		r, err = Collect(t.Context(), env, port(to))
		return err
	}); err != nil {
		t.Fatalf("%s: %v", to, err)
	}
	if len(r.NotChecked) > 0 {
		t.Errorf("%s: not checked: %v", to, r.NotChecked)
	}
	return r
}

// port is a port of an address.
func port(addr string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(addr), 5432)
}

const base = `link set lo up
link add v0 type veth peer name v1
link set v0 up mtu 1400
link set v1 up
addr add 10.77.1.1/24 dev v0
addr add fd77:1::1/64 dev v0 nodad
route add 10.78.0.0/16 via 10.77.1.2
route add default via fd77:1::2
route add blackhole 10.79.0.0/16
route add prohibit fd79::/16
neigh add 10.77.1.2 dev v0 lladdr 02:00:00:00:00:02 nud stale
neigh add 10.77.1.3 dev v0 lladdr 02:00:00:00:00:03 nud permanent
neigh add fd77:1::2 dev v0 nud failed
rule add pref 10 from 10.77.9.9 lookup 100
`

func addrs(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func TestCollect(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		ns := namespace(t, "")
		addr := netip.MustParseAddr
		v0 := &evidence.Link{Name: "v0", Kind: "veth", Up: true, Carrier: true, MTU: 1400}
		lo := &evidence.Link{Name: "lo", Up: true, Carrier: true, MTU: 65536}
		rules := []string{"10: from 10.77.9.9 lookup 100"}
		v4, v6 := addrs("10.77.1.1"), addrs("fd77:1::1")
		for to, want := range map[string]evidence.Route{
			"10.77.1.3": {
				Type: "unicast", Prefix: "10.77.1.0/24", Table: 254, Source: addr("10.77.1.1"),
				Interface: "v0", MTU: 1400, Link: v0, FamilyAddrs: v4, Rules: rules,
				Neighbour: &evidence.Neighbour{Addr: addr("10.77.1.3"), State: "PERMANENT", MAC: "02:00:00:00:00:03"},
			},
			"10.77.1.4": {
				Type: "unicast", Prefix: "10.77.1.0/24", Table: 254, Source: addr("10.77.1.1"),
				Interface: "v0", MTU: 1400, Link: v0, FamilyAddrs: v4, Rules: rules,
			},
			"10.78.1.1": {
				Type: "unicast", Prefix: "10.78.0.0/16", Table: 254, Source: addr("10.77.1.1"), Gateway: addr("10.77.1.2"),
				Interface: "v0", MTU: 1400, Link: v0, FamilyAddrs: v4, Rules: rules,
				Neighbour: &evidence.Neighbour{Addr: addr("10.77.1.2"), State: "STALE", MAC: "02:00:00:00:00:02"},
			},
			"2001:db8::1": {
				Type: "unicast", Prefix: "default", Table: 254, Source: addr("fd77:1::1"), Gateway: addr("fd77:1::2"),
				Interface: "v0", MTU: 1400, Link: v0, FamilyAddrs: v6,
				Neighbour: &evidence.Neighbour{Addr: addr("fd77:1::2"), State: "FAILED"},
			},
			"10.77.1.1": {
				Type: "local", Prefix: "10.77.1.1/32", Table: 255, Source: addr("10.77.1.1"), Local: true,
				Interface: "lo", MTU: 65536, Link: lo, FamilyAddrs: v4, Rules: rules,
			},
			"fd77:1::1": {
				Type: "local", Prefix: "fd77:1::1/128", Table: 255, Source: addr("fd77:1::1"), Local: true,
				Interface: "lo", MTU: 65536, Link: lo, FamilyAddrs: v6,
			},
			"127.1.2.3": {
				Type: "local", Prefix: "127.0.0.0/8", Table: 255, Source: addr("127.0.0.1"), Local: true,
				Interface: "lo", MTU: 65536, Link: lo, FamilyAddrs: v4, Rules: rules,
			},
			"10.79.1.1":        {Type: "blackhole", Errno: "EINVAL", Prefix: "10.79.0.0/16", Table: 254, FamilyAddrs: v4, Rules: rules},
			"::ffff:10.79.1.1": {Type: "blackhole", Errno: "EINVAL", Prefix: "10.79.0.0/16", Table: 254, FamilyAddrs: v4, Rules: rules},
			"fd79::1":          {Type: "prohibit", Errno: "EACCES", Prefix: "fd79::/16", Table: 254, FamilyAddrs: v6},
			"192.0.2.1":        {Errno: "ENETUNREACH", FamilyAddrs: v4, Rules: rules},
		} {
			want.Port, want.Exact = 5432, true
			got := collectIn(t, ns, collect.Env{}, to)
			if got.At == 0 {
				t.Errorf("%s: no time", to)
			}
			if diff := cmp.Diff(want, got, compare); diff != "" {
				t.Errorf("%s (-want +got):\n%s", to, diff)
			}
		}
	})
}

var compare = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmpopts.IgnoreFields(evidence.Route{}, "At"),
	cmpopts.IgnoreFields(evidence.Link{}, "Index", "MAC"),
}

func TestCollectEnv(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		ns := namespace(t, `addr add 10.77.1.11/24 dev v0
addr add fe80::7/64 dev v1 nodad
`)
		settle(t, ns, "fe80::7%v1")
		for source, want := range map[string]bool{
			"10.77.1.11": true, "127.5.5.5": true, "0.0.0.0": true, "10.77.1.99": false, "192.0.2.7": false,
		} {
			env := collect.Env{Source: netip.MustParseAddr(source)}
			got := collectIn(t, ns, env, "10.77.1.3")
			if got.SourceIsLocal == nil || *got.SourceIsLocal != want {
				t.Errorf("source %s: local %v, want %v", source, got.SourceIsLocal, want)
			}
			if source == "10.77.1.11" && got.Source != env.Source {
				t.Errorf("source %s: sends from %s", source, got.Source)
			}
		}
		got := collectIn(t, ns, collect.Env{Interface: "v1"}, "192.0.2.1")
		if got.Interface != "v1" || got.Type != "unicast" || got.Link == nil {
			t.Errorf("bound to v1: %+v", got)
		}
		got = collectIn(t, ns, collect.Env{Interface: "nope\x1b"}, "192.0.2.1")
		if got.Errno != "ENODEV" || got.Interface != `nope\x1b` {
			t.Errorf("bound to an interface that is not there: %+v", got)
		}
		got = collectIn(t, ns, collect.Env{}, "fe80::9%v1")
		if got.Interface != "v1" || got.Type != "unicast" || got.Prefix != "fe80::/64" {
			t.Errorf("link-local: %+v", got)
		}
		if got = collectIn(t, ns, collect.Env{}, "fe80::7%v1"); !got.Local || got.Type != "local" {
			t.Errorf("own link-local: %+v", got)
		}
	})
}

// TestCollectAsConnect looks up what connect() to a port meets: rules about the
// port, and about the source that the kernel chooses.
func TestCollectAsConnect(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		ns := namespace(t, `rule add pref 20 to 10.78.0.1 ipproto tcp dport 5432 unreachable
rule add pref 30 from 10.77.1.1 to 10.78.0.2 prohibit
rule add pref 40 from 10.77.1.1 to 10.78.0.3 lookup 100
route add 10.78.0.3 via 10.77.1.3 table 100
`)
		for to, want := range map[string]evidence.Route{
			"10.78.0.1": {Type: "unreachable", Errno: "ENETUNREACH", RejectedBy: "20: from all to 10.78.0.1 ipproto 6 dport 5432-5432 unreachable"},
			"10.78.0.2": {Type: "prohibit", Errno: "EACCES", RejectedBy: "30: from 10.77.1.1 to 10.78.0.2 prohibit"},
			"10.78.0.3": {Type: "unicast", Gateway: netip.MustParseAddr("10.77.1.3")},
			"10.78.0.4": {Type: "unicast", Gateway: netip.MustParseAddr("10.77.1.2")},
		} {
			got := collectIn(t, ns, collect.Env{}, to)
			if got.Type != want.Type || got.Errno != want.Errno || got.RejectedBy != want.RejectedBy || got.Gateway != want.Gateway || got.Port != 5432 || !got.Exact {
				t.Errorf("%s: %+v", to, got)
			}
			connects := ns.Do(func() error {
				c, err := net.DialTimeout("tcp", port(to).String(), time.Millisecond)
				if err == nil {
					c.Close()
				}
				return err
			})
			if refused := !os.IsTimeout(connects); refused != (want.Errno != "") {
				t.Errorf("%s: connect says %v", to, connects)
			}
		}
		// Port 0 asks for the address alone.
		if err := ns.Do(func() error {
			got, err := Collect(t.Context(), collect.Env{Clock: collect.NewClock()}, netip.MustParseAddrPort("10.78.0.1:0"))
			if got.Type != "unicast" || got.Port != 0 || got.Exact {
				t.Errorf("without a port: %+v", got)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		for _, rule := range []string{"fwmark 7 prohibit", "ipproto tcp sport 7 prohibit", "tos 0x10 prohibit"} {
			if err := ns.Do(func() error { return ip("rule add pref 9 " + rule) }); err != nil {
				t.Fatal(err)
			}
			if got := collectIn(t, ns, collect.Env{}, "10.78.0.4"); got.Exact {
				t.Errorf("a rule %q is taken to be named by the lookup", rule)
			}
			if err := ns.Do(func() error { return ip("rule del pref 9") }); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestDownLinks(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		for _, c := range []struct{ name, script, v4, v6 string }{
			{"all up", "", "", ""},
			{"down with addresses", "link set v0 down", "v0", "v0"},
			{"no carrier", "link set v1 down", "v0", "v0 v1"}, // v1 is plainly down
			{"unused pair", "link add u0 type veth peer name u1\nlink set u0 up", "", "u1"},
			{"no carrier, IPv6 address", "link add u0 type veth peer name u1\nlink set u0 up\naddr add fd77:2::1/64 dev u0", "", "u0 u1"},
			{"no carrier, link-local addresses", "link add u0 type veth peer name u1\nlink set u0 up\naddr add 169.254.3.3/16 dev u0", "", "u1"},
			{"bridge whose last port was removed", "link add b0 type bridge\naddr add 10.77.5.1/24 dev b0\naddr add fd77:5::1/64 dev b0\nlink set b0 up\nlink add u0 type veth peer name u1\nlink set u0 master b0\nlink del u0", "", ""},
			{"empty bridge, down", "link add b0 type bridge\naddr add 10.77.5.1/24 dev b0", "b0", "b0"},
			{"bridge that lost its port", "link add b0 type bridge\naddr add 10.77.5.1/24 dev b0\nlink set b0 up\nlink add u0 type veth peer name u1\nlink set u0 master b0", "b0", "u1"},
			{"loopback down", "link set lo down", "", ""},
		} {
			t.Run(c.name, func(t *testing.T) {
				ns := namespace(t, c.script)
				for to, want := range map[string]string{"192.0.2.1": c.v4, "2001:db8::1": c.v6} {
					var names []string
					for _, l := range collectIn(t, ns, collect.Env{}, to).DownLinks {
						names = append(names, l.Name)
					}
					if got := strings.Join(names, " "); !sameWords(got, want) {
						t.Errorf("towards %s: %q are down, want %q", to, got, want)
					}
				}
			})
		}
	})
}

func sameWords(a, b string) bool {
	return cmp.Equal(strings.Fields(a), strings.Fields(b), cmpopts.SortSlices(strings.Compare))
}

func TestAfter(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		ns := namespace(t, "")
		for _, to := range []string{"10.77.1.9", "fd77:1::9"} {
			addr := netip.MustParseAddr(to)
			r := collectIn(t, ns, collect.Env{}, to)
			if r.Neighbour != nil {
				t.Fatalf("%s: neighbour before the attempt: %+v", to, r.Neighbour)
			}
			if err := ns.Do(func() error {
				c, err := net.Dial("udp", netip.AddrPortFrom(addr, 9).String())
				if err != nil {
					return err
				}
				defer c.Close()
				if _, err := c.Write([]byte{0}); err != nil {
					return err
				}
				return After(t.Context(), collect.Env{}, addr, &r)
			}); err != nil {
				t.Fatal(err)
			}
			if n := r.NeighbourAfter; n == nil || n.Addr != addr || n.State != "INCOMPLETE" || r.Neighbour != nil {
				t.Errorf("%s: neighbour after the attempt: %+v", to, n)
			}
		}
		r := collectIn(t, ns, collect.Env{}, "10.79.1.1")
		if err := After(t.Context(), collect.Env{}, netip.MustParseAddr("10.79.1.1"), &r); err != nil || r.NeighbourAfter != nil {
			t.Errorf("no next hop: %v, %+v", err, r.NeighbourAfter)
		}
	})
}

func TestErrors(t *testing.T) {
	if _, err := Collect(t.Context(), collect.Env{}, netip.AddrPort{}); err == nil {
		t.Error("no address is accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Collect(ctx, collect.Env{}, port("127.0.0.1")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := After(ctx, collect.Env{}, netip.MustParseAddr("127.0.0.1"), new(evidence.Route)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func BenchmarkCollect(b *testing.B) {
	env := collect.Env{Clock: collect.NewClock()}
	for b.Loop() {
		if _, err := Collect(b.Context(), env, port("127.0.0.1")); err != nil {
			b.Fatal(err)
		}
	}
}
