package fwtrace

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// rules drop in each way there is, by port. Each has a comment, to find it by.
const rules = `
table inet f {
	chain pre { type filter hook prerouting priority raw; tcp dport 8086 drop comment "pre"; }
	chain sub { tcp dport 8084 drop comment "sub"; }
	chain in {
		type filter hook input priority filter;
		tcp dport 8081 drop comment "drop"
		tcp dport 8082 reject with tcp reset comment "reset"
		tcp dport 8083 reject comment "reject"
		tcp dport 8084 jump sub comment "jump"
		tcp dport vmap { 8085 : drop } comment "vmap"
		meta nfproto ipv4 tcp dport 8093 reject with icmp type admin-prohibited comment "admin4"
		meta nfproto ipv6 tcp dport 8093 reject with icmpv6 type no-route comment "admin6"
	}
	chain forward { type filter hook forward priority filter; tcp dport 8087 drop comment "fwd"; }
	chain out {
		type filter hook output priority filter
		tcp sport 8088 tcp flags & syn == syn drop comment "answer"
		tcp sport 8092 tcp flags & rst == rst drop comment "refusal"
	}
}
table inet p {
	chain in {
		type filter hook input priority filter + 10; policy drop
		tcp dport { 8088, 8089, 8092 } accept comment "allow"
		meta l4proto ipv6-icmp accept
	}
}
table inet n {
	chain pre {
		type nat hook prerouting priority dstnat
		meta nfproto ipv4 tcp dport 8091 dnat ip to 10.9.2.2:8080 comment "dnat4"
		meta nfproto ipv6 tcp dport 8091 dnat ip6 to [fd09:2::2]:8080 comment "dnat6"
	}
}
`

// room is a client, this host, and a host behind it.
type room struct{ client, host *netns.NS }

func newRoom(t *testing.T) room {
	t.Helper()
	nft := nettest.NeedProgram(t, "nft")
	var nss [3]*netns.NS
	var change [3]*rtnl.Changer
	for i := range nss {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ns.Close() })
		nss[i] = ns
		if err := ns.Do(func() error { // addresses are good at once
			return os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0)
		}); err != nil {
			t.Fatal(err)
		}
		if change[i], err = rtnl.NewChanger(ns.Fd()); err != nil {
			t.Fatal(err)
		}
		defer change[i].Close()
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	prefix := netip.MustParsePrefix
	must(change[1].AddVeth("h0", "c0", nss[0].Fd()))
	must(change[1].AddVeth("h1", "b0", nss[2].Fd()))
	must(change[1].SetUp("lo"))
	for i, links := range [3]map[string][]string{
		{"c0": {"10.9.1.2/24", "fd09:1::2/64"}},
		{"h0": {"10.9.1.1/24", "fd09:1::1/64"}, "h1": {"10.9.2.1/24", "fd09:2::1/64"}},
		{"b0": {"10.9.2.2/24", "fd09:2::2/64"}},
	} {
		for link, addrs := range links {
			must(change[i].SetUp(link))
			for _, a := range addrs {
				must(change[i].AddAddress(link, prefix(a)))
			}
		}
	}
	for i, link := range []string{"c0", "h0", "b0"} {
		must(change[i].WaitIPv6(t.Context(), link))
	}
	must(change[1].WaitIPv6(t.Context(), "h1"))
	for dst, via := range map[string]string{"0.0.0.0/0": "10.9.1.1", "::/0": "fd09:1::1"} {
		must(change[0].AddRoute(rtnl.RouteSpec{Dst: prefix(dst), Via: netip.MustParseAddr(via)}))
	}
	must(nss[1].Do(func() error {
		for _, f := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			if err := os.WriteFile("/proc/sys/net/"+f, []byte("1"), 0); err != nil {
				return err
			}
		}
		return feed(rules, nft, "-f", "-")
	}))
	return room{nss[0], nss[1]}
}

func feed(input, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return nil
}

// handles gives the handle of each rule by its comment.
func (r room) handles(t *testing.T) map[string]uint64 {
	t.Helper()
	var out []byte
	if err := r.host.Do(func() (err error) {
		out, err = exec.Command(nettest.NeedProgram(t, "nft"), "-a", "list", "ruleset").Output()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	m := make(map[string]uint64)
	for _, f := range regexp.MustCompile(`comment "(.*)" # handle (\d+)`).FindAllStringSubmatch(string(out), -1) {
		m[f[1]], _ = strconv.ParseUint(f[2], 10, 64)
	}
	return m
}

// try connects from a namespace while its handshakes are traced on the host.
func (r room) try(t *testing.T, from *netns.NS, o Options, to string) ([]evidence.RuleVerdict, []evidence.NotChecked) {
	t.Helper()
	var stop func() ([]evidence.RuleVerdict, []evidence.NotChecked)
	if err := r.host.Do(func() (err error) {
		stop, err = Watch(t.Context(), collect.Env{Clock: collect.NewClock()}, o)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := from.Do(func() error {
		if c, err := net.DialTimeout("tcp", to, 50*time.Millisecond); err == nil {
			c.Close()
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return stop()
}

func listen(t *testing.T, ns *netns.NS, addr string) {
	t.Helper()
	if err := ns.Do(func() error {
		l, err := net.Listen("tcp", addr)
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
