package fwtrace

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

func TestWatch(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		r := newRoom(t)
		handle := r.handles(t)
		listen(t, r.host, "[::]:8088")
		listen(t, r.host, "[::]:8089")
		texts := func(family, table, chain string, h uint64) *evidence.Rule {
			return &evidence.Rule{System: "nftables", Text: fmt.Sprintf("rule %d", h), Manager: "ufw"}
		}
		rule := func(table, chain, hook string, priority int, comment string) *evidence.Rule {
			h := handle[comment]
			if h == 0 {
				t.Fatalf("no rule %s in %v", comment, handle)
			}
			return &evidence.Rule{
				System: "nftables", Family: "inet", Table: table, Chain: chain, Hook: hook, Priority: priority,
				Handle: h, Text: fmt.Sprintf("rule %d", h), Manager: "ufw",
			}
		}
		allow := rule("p", "in", "input", 10, "allow")
		policy := &evidence.Rule{System: "nftables", Family: "inet", Table: "p", Chain: "in", Hook: "input", Priority: 10, Text: "policy drop", Policy: true}
		accept := &evidence.Rule{System: "nftables", Family: "inet", Table: "f", Chain: "out", Hook: "output", Text: "policy accept", Policy: true}
		type verdict = evidence.RuleVerdict
		for _, c := range []struct {
			name string
			port int
			v6   bool
			to   string // "" is this host
			want []verdict
		}{
			{"prerouting", 8086, false, "", []verdict{{Verdict: "drop", Rule: rule("f", "pre", "prerouting", -300, "pre")}}},
			{"input", 8081, false, "", []verdict{{Verdict: "drop", Rule: rule("f", "in", "input", 0, "drop")}}},
			{"reset", 8082, false, "", []verdict{
				{Verdict: "reset", With: "tcp reset", Rule: rule("f", "in", "input", 0, "reset")},
				{Packet: "rst", Verdict: "accept", Rule: accept},
			}},
			{"reject", 8083, false, "", []verdict{{Verdict: "reject", With: "icmp port-unreachable", Rule: rule("f", "in", "input", 0, "reject")}}},
			{"reject, IPv6", 8083, true, "", []verdict{{Verdict: "reject", With: "icmpv6 port-unreachable", Rule: rule("f", "in", "input", 0, "reject")}}},
			{"admin-prohibited", 8093, false, "", []verdict{{Verdict: "reject", With: "icmp admin-prohibited", Rule: rule("f", "in", "input", 0, "admin4")}}},
			{"no-route", 8093, true, "", []verdict{{Verdict: "reject", With: "icmpv6 no-route", Rule: rule("f", "in", "input", 0, "admin6")}}},
			{"jump", 8084, true, "", []verdict{{Verdict: "drop", Rule: rule("f", "sub", "input", 0, "sub")}}},
			{"vmap", 8085, false, "", []verdict{{Verdict: "drop", Rule: rule("f", "in", "input", 0, "vmap")}}},
			{"policy", 8090, false, "", []verdict{{Verdict: "drop", Rule: policy}}},
			{"policy, IPv6", 8090, true, "", []verdict{{Verdict: "drop", Rule: policy}}},
			{"forward", 8087, false, "10.9.2.2", []verdict{{Verdict: "drop", Rule: rule("f", "forward", "forward", 0, "fwd"), Out: "h1", Forwarded: true}}},
			{"forward, IPv6", 8087, true, "fd09:2::2", []verdict{{Verdict: "drop", Rule: rule("f", "forward", "forward", 0, "fwd"), Out: "h1", Forwarded: true}}},
			{"answer", 8088, false, "", []verdict{
				{Verdict: "accept", Rule: allow},
				{Packet: "syn-ack", Verdict: "drop", Rule: rule("f", "out", "output", 0, "answer")},
			}},
			{"refusal", 8092, true, "", []verdict{
				{Verdict: "accept", Rule: allow},
				{Packet: "rst", Verdict: "drop", Rule: rule("f", "out", "output", 0, "refusal")},
			}},
			{"open", 8089, true, "", []verdict{
				{Verdict: "accept", Rule: allow},
				{Packet: "syn-ack", Verdict: "accept", Rule: accept},
			}},
			{"NAT", 8091, false, "", []verdict{{
				Verdict: "accept", Out: "h1", Forwarded: true,
				NAT: netip.MustParseAddrPort("10.9.2.2:8080"), NATRule: rule("n", "pre", "prerouting", -100, "dnat4"),
				Rule: &evidence.Rule{System: "nftables", Family: "inet", Table: "f", Chain: "forward", Hook: "forward", Text: "policy accept", Policy: true},
			}}},
			{"NAT, IPv6", 8091, true, "", []verdict{{
				Verdict: "accept", Out: "h1", Forwarded: true,
				NAT: netip.MustParseAddrPort("[fd09:2::2]:8080"), NATRule: rule("n", "pre", "prerouting", -100, "dnat6"),
				Rule: &evidence.Rule{System: "nftables", Family: "inet", Table: "f", Chain: "forward", Hook: "forward", Text: "policy accept", Policy: true},
			}}},
		} {
			t.Run(c.name, func(t *testing.T) {
				client, server := "10.9.1.2", "10.9.1.1"
				if c.v6 {
					client, server = "fd09:1::2", "fd09:1::1"
				}
				if c.to != "" {
					server = c.to
				}
				to := net.JoinHostPort(server, strconv.Itoa(c.port))
				for i, w := range c.want { // what is the same in all
					if w.Packet == "" {
						w.Packet, w.In = "syn", "h0"
						w.Tuple.Local, w.Tuple.Remote = netip.AddrPortFrom(netip.MustParseAddr(client), 0), netip.MustParseAddrPort(to)
					} else {
						w.Out = "h0"
						w.Tuple.Local, w.Tuple.Remote = netip.MustParseAddrPort(to), netip.AddrPortFrom(netip.MustParseAddr(client), 0)
					}
					c.want[i] = w
				}
				o := Options{Client: netip.MustParseAddr(client), Port: uint16(c.port), Text: texts}
				var diff string
				for range 5 { // a neighbour may have to be found first
					got, missed := r.try(t, r.client, o, to)
					if len(missed) > 0 {
						t.Fatal(missed)
					}
					if diff = cmp.Diff(c.want, got, compare...); diff == "" {
						return
					}
				}
				t.Errorf("(-want +got):\n%s", diff)
			})
		}
		t.Run("loopback", func(t *testing.T) {
			for _, a := range []string{"127.0.0.1:8081", "10.9.1.1:8081", "[::1]:8081"} {
				got, _ := r.try(t, r.host, Options{Port: 8081}, a)
				if len(got) != 1 || got[0].Verdict != "drop" || got[0].In != "lo" || got[0].Out != "lo" || got[0].Forwarded ||
					got[0].Rule.Handle != handle["drop"] || got[0].Rule.Text != "" {
					t.Errorf("%s: %+v", a, got)
				}
			}
		})
		t.Run("another client", func(t *testing.T) {
			if got, missed := r.try(t, r.client, Options{Client: netip.MustParseAddr("192.0.2.7"), Port: 8081}, "10.9.1.1:8081"); got != nil || missed != nil {
				t.Errorf("%+v, %v", got, missed)
			}
		})
	})
}

// compare leaves out times and the client's port.
var compare = cmp.Options{
	cmpopts.IgnoreFields(evidence.RuleVerdict{}, "At"),
	cmp.Comparer(func(a, b flow.Tuple) bool {
		mask := func(p netip.AddrPort) netip.AddrPort {
			if p.Addr() == netip.MustParseAddr("10.9.1.2") || p.Addr() == netip.MustParseAddr("fd09:1::2") {
				return netip.AddrPortFrom(p.Addr(), 0)
			}
			return p
		}
		return mask(a.Local) == mask(b.Local) && mask(a.Remote) == mask(b.Remote)
	}),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
}

// TestIptables rejects with a target of iptables, which is no expression of
// nftables.
func TestIptables(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		r := newRoom(t)
		for _, c := range []struct{ program, with, client, to, want string }{
			{"iptables-nft", "icmp-host-prohibited", "10.9.1.2", "10.9.1.1:8093", "reject icmp host-prohibited"},
			{"iptables-nft", "tcp-reset", "10.9.1.2", "10.9.1.1:8094", "reset tcp reset"},
			{"ip6tables-nft", "icmp6-adm-prohibited", "fd09:1::2", "[fd09:1::1]:8095", "reject icmpv6 admin-prohibited"},
			{"ip6tables-nft", "tcp-reset", "fd09:1::2", "[fd09:1::1]:8096", "reset tcp reset"},
		} {
			program, port := nettest.NeedProgram(t, c.program), netip.MustParseAddrPort(c.to).Port()
			if err := r.host.Do(func() error {
				return feed("", program, "-t", "raw", "-I", "PREROUTING", "-p", "tcp", "--dport", strconv.Itoa(int(port)), "-j", "ACCEPT")
			}); err != nil {
				t.Fatal(err)
			}
			if err := r.host.Do(func() error {
				if err := feed("flush chain inet f in", nettest.NeedProgram(t, "nft"), "-f", "-"); err != nil {
					return err
				}
				return feed("", program, "-I", "INPUT", "-p", "tcp", "--dport", strconv.Itoa(int(port)), "-j", "REJECT", "--reject-with", c.with)
			}); err != nil {
				t.Fatal(err)
			}
			got, missed := r.try(t, r.client, Options{Port: port}, c.to)
			if len(got) == 0 || len(missed) > 0 || got[0].Packet != "syn" || got[0].Verdict+" "+got[0].With != c.want || got[0].Rule.Chain != "INPUT" {
				t.Errorf("%s: %+v, %v; want %s", c.to, got, missed, c.want)
			}
		}
	})
}

// TestLegacy has rules that no trace shows.
func TestLegacy(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		r := newRoom(t)
		for _, program := range []string{"iptables-legacy", "ip6tables-legacy"} {
			path := nettest.NeedProgram(t, program)
			if err := r.host.Do(func() error {
				return feed("", path, "-A", "INPUT", "-p", "tcp", "--dport", "8089", "-j", "DROP")
			}); err != nil {
				nettest.Unsupported(t, err.Error())
			}
		}
		got, missed := r.try(t, r.client, Options{Port: 8089}, "10.9.1.1:8089")
		if len(got) != 1 || got[0].Verdict != "accept" || len(missed) != 2 || !strings.Contains(missed[0].Reason, "legacy iptables") ||
			!strings.Contains(missed[1].Reason, "legacy ip6tables") {
			t.Errorf("%+v, %v", got, missed)
		}
	})
}

// TestRulesChange loads rules anew while packets are traced: their handles
// name other rules then.
func TestRulesChange(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		r := newRoom(t)
		nft := nettest.NeedProgram(t, "nft")
		first := r.handles(t)["drop"]
		asked := make(chan struct{})
		text := func(family, table, chain string, h uint64) *evidence.Rule {
			if h == first { // while the trace waits to know the rule, it goes
				_ = r.host.Do(func() error { return feed("flush ruleset", nft, "-f", "-") })
			}
			close(asked)
			return &evidence.Rule{Text: "another rule"}
		}
		got, missed := r.try(t, r.client, Options{Port: 8081, Text: text}, "10.9.1.1:8081")
		<-asked
		if len(got) != 1 || len(missed) > 0 || got[0].Verdict != "depends" || got[0].Rule.Text != "" || len(got[0].Depends) != 1 ||
			!strings.Contains(got[0].Depends[0], "have changed since") {
			t.Errorf("%+v, %v", got, missed)
		}
	})
}

// TestFlood has more packets than are traced.
func TestFlood(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		change, err := rtnl.NewChanger(ns.Fd())
		if err != nil {
			t.Fatal(err)
		}
		defer change.Close()
		if err := change.SetUp("lo"); err != nil {
			t.Fatal(err)
		}
		var stop func() ([]evidence.RuleVerdict, []evidence.NotChecked)
		if err := ns.Do(func() (err error) {
			stop, err = Watch(t.Context(), collect.Env{Clock: collect.NewClock()}, Options{Port: 8089})
			for range 1000 {
				if c, err := net.Dial("tcp", "127.0.0.1:8089"); err == nil {
					c.Close()
				}
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		got, missed := stop()
		syns := 0
		for _, v := range got {
			if v.Packet == "syn" {
				syns++
			}
		}
		if syns < 100 || syns > 900 || len(missed) != 1 || !strings.Contains(missed[0].Reason, "faster than 100") {
			t.Errorf("%d verdicts on SYNs, %v", syns, missed)
		}
	})
}

// TestKilled runs Watch in a process that gets SIGKILL.
func TestKilled(t *testing.T) {
	const env = "TCPWHY_TEST_WATCH"
	if os.Getenv(env) != "" {
		if _, err := Watch(t.Context(), collect.Env{Clock: collect.NewClock()}, Options{Port: 1}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("watching")
		select {}
	}
	nettest.InUserNS(t, func(t *testing.T) {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		nft := nettest.NeedProgram(t, "nft")
		ruleset := func() (text string) {
			if err := ns.Do(func() error {
				out, err := exec.Command(nft, "list", "ruleset").CombinedOutput()
				text = string(out)
				return err
			}); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			return text
		}
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), env+"=1")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := ns.Start(cmd, nil); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Signal(syscall.SIGKILL)
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "watching\n" {
			t.Fatalf("%q, %v", line, err)
		}
		if text := ruleset(); !strings.Contains(text, "nftrace set 1") || !strings.Contains(text, "flags owner") {
			t.Errorf("while it watches:\n%s", text)
		}
		if err := ns.Do(func() error { return feed("flush ruleset", nft, "-f", "-") }); err != nil {
			t.Error(err)
		}
		if text := ruleset(); !strings.Contains(text, "nftrace set 1") {
			t.Errorf("a firewall that is loaded anew takes the trace away:\n%s", text)
		}
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		nettest.Eventually(t, "the table is left after SIGKILL", func() bool { return ruleset() == "" })
	})
}

func TestForbidden(t *testing.T) {
	nettest.LeakCheck(t)
	nettest.Powerless(t, func() error {
		_, err := Watch(t.Context(), collect.Env{}, Options{Port: 80})
		if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
			t.Errorf("an ordinary user: %v", err)
		}
		return nil
	})
}
