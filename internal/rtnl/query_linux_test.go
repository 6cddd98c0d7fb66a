package rtnl

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// lines runs each line of a script with ip(8) in the current namespace.
func lines(args, script string) error {
	cmd := exec.Command("ip", append(strings.Fields(args), "-batch", "-")...)
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return nil
}

// rule6 are the rules for IPv6 of every Reader here.
const rule6 = `rule add pref 60 from fd77::/16 lookup 101
rule add pref 95 oif v0 ipproto tcp dport 88 prohibit
`

// reader gives a Reader on a new namespace set up by a script for ip(8), with
// rule6.
func reader(t *testing.T, script string) *Reader {
	t.Helper()
	nettest.NeedProgram(t, "ip")
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	var r *Reader
	if err := ns.Do(func() (err error) {
		if err := lines("", script); err != nil {
			return err
		}
		if err := lines("-6", rule6); err != nil {
			return err
		}
		r, err = NewReader()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	nettest.Eventually(t, "the addresses of IPv6 did not become local", func() bool { return settled(r) })
	return r
}

// settled says whether the kernel has made the local routes of all addresses
// of IPv6, which it does a moment after the address was added.
func settled(r *Reader) bool {
	addrs, err := r.Addrs(true)
	return err == nil && !slices.ContainsFunc(addrs, func(a LocalAddr) bool {
		f, err := r.Route(Lookup{To: a.Addr, Link: a.Link})
		return err != nil || a.Usable && f.Type != "local"
	})
}

// two makes a link between v0, which has addresses, and v1.
const two = `link set lo up
link add v0 type veth peer name v1
link set v0 up mtu 1400
link set v1 up
addr add 10.77.1.1/24 dev v0
addr add fd77:1::1/64 dev v0 nodad
`

func TestRoute(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		r := reader(t, two+`route add 10.78.0.0/16 via 10.77.1.2
route add 10.78.5.0/24 via 10.77.1.3 mtu 1300
route add 10.78.6.0/24 via inet6 fe80::5 dev v0
route add blackhole 10.79.0.0/16
route add unreachable 10.80.0.0/16
route add unreachable 10.80.7.0/24 table 100
route add prohibit 10.81.0.0/16
route add throw 10.82.0.0/16
route add unreachable fd80::/16
route add blackhole fd79::/16
route add prohibit fd81::/16
route add fd78::/16 via fd77:1::2
rule add to 10.80.7.0/24 lookup 100
rule add to 10.83.0.0/16 prohibit
rule add to 10.84.0.0/16 blackhole
`)
		const local, main = 255, 254
		addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
		for _, c := range []struct {
			to   string
			want Found
		}{
			{"10.77.1.2", Found{Type: "unicast", Prefix: prefix("10.77.1.0/24"), Table: main, Source: addr("10.77.1.1")}},
			{"10.78.0.9", Found{Type: "unicast", Prefix: prefix("10.78.0.0/16"), Table: main, Gateway: addr("10.77.1.2"), Source: addr("10.77.1.1")}},
			{"10.78.5.9", Found{Type: "unicast", Prefix: prefix("10.78.5.0/24"), Table: main, Gateway: addr("10.77.1.3"), Source: addr("10.77.1.1"), MTU: 1300}},
			{"10.78.6.9", Found{Type: "unicast", Prefix: prefix("10.78.6.0/24"), Table: main, Gateway: addr("fe80::5"), Source: addr("10.77.1.1")}},
			{"10.77.1.1", Found{Type: "local", Prefix: prefix("10.77.1.1/32"), Table: local, Source: addr("10.77.1.1")}},
			{"127.0.0.2", Found{Type: "local", Prefix: prefix("127.0.0.0/8"), Table: local, Source: addr("127.0.0.1")}},
			{"0.0.0.0", Found{Type: "local", Prefix: prefix("127.0.0.1/32"), Table: local, Source: addr("127.0.0.1")}},
			{"10.77.1.255", Found{Type: "broadcast", Prefix: prefix("10.77.1.255/32"), Table: local, Source: addr("10.77.1.1")}},
			{"10.79.1.1", Found{Type: "blackhole", Errno: "EINVAL", Prefix: prefix("10.79.0.0/16"), Table: main}},
			{"10.80.1.1", Found{Type: "unreachable", Errno: "EHOSTUNREACH", Prefix: prefix("10.80.0.0/16"), Table: main}},
			{"10.80.7.1", Found{Type: "unreachable", Errno: "EHOSTUNREACH", Prefix: prefix("10.80.7.0/24"), Table: 100}},
			{"10.81.1.1", Found{Type: "prohibit", Errno: "EACCES", Prefix: prefix("10.81.0.0/16"), Table: main}},
			{"10.82.1.1", Found{Errno: "ENETUNREACH"}},
			{"10.83.1.1", Found{Type: "prohibit", Errno: "EACCES", Rule: "32764: from all to 10.83.0.0/16 prohibit"}},
			{"10.84.1.1", Found{Type: "blackhole", Errno: "EINVAL", Rule: "32763: from all to 10.84.0.0/16 blackhole"}},
			{"192.0.2.1", Found{Errno: "ENETUNREACH"}},
			{"fd77:1::2", Found{Type: "unicast", Prefix: prefix("fd77:1::/64"), Table: main, Source: addr("fd77:1::1")}},
			{"fd78::1", Found{Type: "unicast", Prefix: prefix("fd78::/16"), Table: main, Gateway: addr("fd77:1::2"), Source: addr("fd77:1::1")}},
			{"fd77:1::1", Found{Type: "local", Prefix: prefix("fd77:1::1/128"), Table: local, Source: addr("fd77:1::1")}},
			{"::", Found{Type: "local", Prefix: prefix("::1/128"), Table: local, Source: addr("::1")}},
			{"fd79::1", Found{Type: "blackhole", Errno: "EINVAL", Prefix: prefix("fd79::/16"), Table: main}},
			{"fd80::1", Found{Type: "unreachable", Errno: "EHOSTUNREACH", Prefix: prefix("fd80::/16"), Table: main}},
			{"fd81::1", Found{Type: "prohibit", Errno: "EACCES", Prefix: prefix("fd81::/16"), Table: main}},
			{"2001:db8::1", Found{Errno: "ENETUNREACH"}},
			{"::ffff:10.81.1.1", Found{Type: "prohibit", Errno: "EACCES", Prefix: prefix("10.81.0.0/16"), Table: main}},
		} {
			got, err := r.Route(Lookup{To: addr(c.to)})
			if err != nil {
				t.Errorf("%s: %v", c.to, err)
				continue
			}
			if (got.Link != 0) != (c.want.Errno == "") {
				t.Errorf("%s: link %d", c.to, got.Link)
			}
			if diff := cmp.Diff(c.want, got, cmpAddr, cmpopts.IgnoreFields(Found{}, "Link", "Carrier")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.to, diff)
			}
		}
		if t.Failed() {
			return
		}
		index := func(name string) int {
			links, err := r.Interfaces()
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range links {
				if l.Name == name {
					return l.Index
				}
			}
			t.Fatalf("no link %s", name)
			return 0
		}
		for _, a := range []string{"10.77.1.1", "fd77:1::1"} {
			got, err := r.Route(Lookup{To: addr(a)})
			if err != nil || got.Link != index("lo") || got.Carrier != index("v0") {
				t.Errorf("own address %s: link %d, carrier %d, %v; want lo and v0", a, got.Link, got.Carrier, err)
			}
		}
		// Bound to an interface, IPv4 takes every address to be on its link.
		got, err := r.Route(Lookup{To: addr("192.0.2.1"), Link: index("v0")})
		if err != nil || got.Type != "unicast" || got.Link != index("v0") || got.Gateway.IsValid() {
			t.Errorf("bound to v0: %+v, %v", got, err)
		}
		got, err = r.Route(Lookup{To: addr("10.77.1.1"), From: addr("127.0.0.1")})
		if err != nil || got.Type != "local" || got.Source != addr("127.0.0.1") {
			t.Errorf("from 127.0.0.1: %+v, %v", got, err)
		}
		// A source of the other family says nothing here.
		if got, err = r.Route(Lookup{To: addr("10.77.1.1"), From: addr("::1")}); err != nil || got.Type != "local" {
			t.Errorf("from ::1: %+v, %v", got, err)
		}
	})
}

// TestRouteOfPort asks for a TCP port, about which policy rules can be.
func TestRouteOfPort(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		r := reader(t, two+`route add default via 10.77.1.9
route add 192.0.2.0/24 via 10.77.1.2 table 100
route add prohibit 198.51.100.0/24
rule add pref 10 ipproto tcp dport 5432 lookup 100
rule add pref 20 ipproto tcp dport 81 unreachable
rule add pref 30 ipproto udp dport 82 prohibit
rule add pref 40 ipproto tcp dport 83-85 blackhole
rule add pref 50 sport 1-65534 prohibit
rule add pref 60 ipproto tcp dport 86 goto 80
rule add pref 70 ipproto tcp dport 86 prohibit
rule add pref 80 fwmark 7 prohibit
rule add pref 90 from 10.77.1.1 ipproto tcp dport 87 prohibit
rule add pref 95 oif v0 ipproto tcp dport 88 prohibit
rule add pref 40000 ipproto tcp dport 89 to 198.51.100.0/24 prohibit
`)
		addr := netip.MustParseAddr
		links, err := r.Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		v0 := links[slices.IndexFunc(links, func(l Interface) bool { return l.Name == "v0" })].Index
		for _, c := range []struct {
			q                          Lookup
			kind, errno, gateway, rule string
		}{
			{Lookup{To: addr("192.0.2.7")}, "unicast", "", "10.77.1.9", ""},
			{Lookup{To: addr("192.0.2.7"), Port: 80}, "unicast", "", "10.77.1.9", ""},
			{Lookup{To: addr("192.0.2.7"), Port: 5432}, "unicast", "", "10.77.1.2", ""},
			{Lookup{To: addr("203.0.113.1"), Port: 5432}, "unicast", "", "10.77.1.9", ""},
			{Lookup{To: addr("203.0.113.1"), Port: 81}, "unreachable", "ENETUNREACH", "", "20: from all ipproto 6 dport 81-81 unreachable"},
			{Lookup{To: addr("203.0.113.1"), Port: 82}, "unicast", "", "10.77.1.9", ""},
			{Lookup{To: addr("203.0.113.1"), Port: 84}, "blackhole", "EINVAL", "", "40: from all ipproto 6 dport 83-85 blackhole"},
			{Lookup{To: addr("203.0.113.1"), Port: 86}, "unicast", "", "10.77.1.9", ""},
			{Lookup{To: addr("203.0.113.1"), Port: 87}, "unicast", "", "10.77.1.9", ""},
			{Lookup{To: addr("203.0.113.1"), Port: 87, From: addr("10.77.1.1")}, "prohibit", "EACCES", "", "90: from 10.77.1.1 ipproto 6 dport 87-87 prohibit"},
			{Lookup{To: addr("203.0.113.1"), Port: 88}, "unicast", "", "10.77.1.9", ""},
			// Bound to an interface, IPv4 takes an address that is turned away to be on its link.
			{Lookup{To: addr("203.0.113.1"), Port: 88, Link: v0}, "unicast", "", "", ""},
			{Lookup{To: addr("2001:db8::1"), Port: 88, Link: v0}, "prohibit", "EACCES", "", "95: from all oif v0 ipproto 6 dport 88-88 prohibit"},
			// The route rejects before the rule that would.
			{Lookup{To: addr("198.51.100.1"), Port: 89}, "prohibit", "EACCES", "", ""},
		} {
			got, err := r.Route(c.q)
			want := netip.Addr{}
			if c.gateway != "" {
				want = addr(c.gateway)
			}
			if err != nil || got.Type != c.kind || got.Errno != c.errno || got.Gateway != want || got.Rule != c.rule || got.Port != c.q.Port {
				t.Errorf("%+v: %+v, %v", c.q, got, err)
			}
		}
		if c, err := r.RulesLookAt(false); c != (Criteria{Mark: true, Packet: true, Unnamed: true}) || err != nil {
			t.Errorf("rules look at %+v, %v", c, err)
		}
	})
}

// A kernel that has no IPv4 route but a rule for another port has none.
func TestRouteNoneBesideARule(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		r := reader(t, two+"rule add pref 20 ipproto tcp dport 81 unreachable\n")
		for port, kind := range map[uint16]string{81: "unreachable", 82: "", 0: ""} {
			if got, err := r.Route(Lookup{To: netip.MustParseAddr("203.0.113.1"), Port: port}); err != nil || got.Type != kind || got.Errno != "ENETUNREACH" {
				t.Errorf("port %d: %+v, %v", port, got, err)
			}
		}
	})
}

// An inverted rule turns away what is not TCP.
func TestRouteInverted(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		r := reader(t, two+"rule add pref 20 not ipproto tcp prohibit\n")
		to := netip.MustParseAddr("10.77.1.2")
		if got, err := r.Route(Lookup{To: to}); err != nil || got.Rule != "20: not from all ipproto 6 prohibit" {
			t.Errorf("%+v, %v", got, err)
		}
		if got, err := r.Route(Lookup{To: to, Port: 80}); err != nil || got.Type != "unicast" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// cmpAddr compares addresses and prefixes as their text.
var cmpAddr = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func TestInterfacesAndAddrs(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		r := reader(t, two+`link add br0 type bridge
link add p0 type veth peer name p1
link set p0 master br0
link add v2 type veth peer name v3
link set v2 up
addr add fd77:2::1/64 dev v2
addr add 169.254.7.7/16 dev v2
`)
		links, err := r.Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		byName := make(map[string]Interface)
		for _, l := range links {
			if byName[l.Name] = l; !l.Loopback && len(l.MAC) != len("02:00:00:00:00:00") {
				t.Errorf("%s has MAC %q", l.Name, l.MAC)
			}
		}
		for name, want := range map[string]Interface{
			"lo":  {Loopback: true, Link: evidence.Link{Up: true, Carrier: true, MTU: 65536}},
			"v0":  {Ethernet: true, Link: evidence.Link{Kind: "veth", Up: true, Carrier: true, MTU: 1400}},
			"v2":  {Ethernet: true, Link: evidence.Link{Kind: "veth", Up: true, MTU: 1500}},
			"v3":  {Ethernet: true, Link: evidence.Link{Kind: "veth", MTU: 1500}},
			"br0": {Ethernet: true, Link: evidence.Link{Kind: "bridge", MTU: 1500}},
			"p0":  {Ethernet: true, Link: evidence.Link{Kind: "veth", MTU: 1500}, Master: byName["br0"].Index},
		} {
			want.Name = name
			if diff := cmp.Diff(want, byName[name], cmpopts.IgnoreFields(Interface{}, "Index", "MAC")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		v4, err := r.Addrs(false)
		if err != nil {
			t.Fatal(err)
		}
		v6, err := r.Addrs(true)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []LocalAddr{
			{netip.MustParseAddr("10.77.1.1"), byName["v0"].Index, 24, true},
			{netip.MustParseAddr("127.0.0.1"), byName["lo"].Index, 8, true},
			{netip.MustParseAddr("169.254.7.7"), byName["v2"].Index, 16, true},
			{netip.MustParseAddr("fd77:1::1"), byName["v0"].Index, 64, true},
			{netip.MustParseAddr("::1"), byName["lo"].Index, 128, true},
			{netip.MustParseAddr("fd77:2::1"), byName["v2"].Index, 64, false}, // tentative: no carrier
		} {
			if !slices.Contains(append(v4, v6...), want) {
				t.Errorf("%v is missing in %v %v", want, v4, v6)
			}
		}
		if slices.ContainsFunc(v4, func(a LocalAddr) bool { return a.Addr.Is6() }) {
			t.Errorf("an IPv6 address among those of IPv4: %v", v4)
		}
	})
}

func TestNeighbour(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		r := reader(t, two+`neigh add 10.77.1.2 dev v0 lladdr 02:00:00:00:00:02 nud permanent
neigh add 10.77.1.3 dev v0 lladdr 02:00:00:00:00:03 nud stale
neigh add 10.77.1.4 dev v0 nud failed
neigh add fd77:1::2 dev v0 lladdr 02:00:00:00:00:06 nud reachable
`)
		links, err := r.Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		v0 := links[slices.IndexFunc(links, func(l Interface) bool { return l.Name == "v0" })].Index
		for to, want := range map[string]*evidence.Neighbour{
			"10.77.1.2": {State: "PERMANENT", MAC: "02:00:00:00:00:02"},
			"10.77.1.3": {State: "STALE", MAC: "02:00:00:00:00:03"},
			"10.77.1.4": {State: "FAILED"},
			"fd77:1::2": {State: "REACHABLE", MAC: "02:00:00:00:00:06"},
			"10.77.1.5": nil,
		} {
			addr := netip.MustParseAddr(to)
			if want != nil {
				want.Addr = addr
			}
			got, err := r.Neighbour(v0, addr)
			if diff := cmp.Diff(want, got, cmpAddr); diff != "" || err != nil {
				t.Errorf("%s: %v (-want +got):\n%s", to, err, diff)
			}
		}
	})
}

func TestRules(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		r := reader(t, two+`rule add pref 10 from 10.77.0.0/16 to 10.78.0.1 lookup 100
rule add pref 20 not fwmark 0x1/0xff iif v0 lookup main suppress_prefixlength 0
rule add pref 30 ipproto tcp dport 80-90 uidrange 0-0 lookup 7
rule add pref 40 to 10.79.0.0/16 unreachable
rule add pref 45 goto 50
rule add pref 50 oif v0 lookup main
`)
		want := map[bool][]string{
			false: {
				"10: from 10.77.0.0/16 to 10.78.0.1 lookup 100",
				"20: not from all fwmark 0x1/0xff iif v0 lookup main suppress_prefixlength 0",
				"30: from all uidrange 0-0 ipproto 6 dport 80-90 lookup 7",
				"40: from all to 10.79.0.0/16 blackhole, unreachable or prohibit",
				"45: from all goto 50",
				"50: from all oif v0 lookup main",
			},
			true: {"60: from fd77::/16 lookup 101", "95: from all oif v0 ipproto 6 dport 88-88 blackhole, unreachable or prohibit"},
		}
		for v6, want := range want {
			got, err := r.Rules(v6)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("IPv6 %v: %v (-want +got):\n%s", v6, err, diff)
			}
		}
	})
}

func TestRuleTextEscapes(t *testing.T) {
	rule := netlink.NewRule()
	rule.IifName, rule.Table = "a\x1b[2J", 254
	_, rule.Src, _ = net.ParseCIDR("::/0")
	if got, want := ruleText(*rule), `-1: from ::/0 iif a\x1b[2J lookup main`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
