package firewall_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// Rule sets of iptables made at random, loaded once as legacy tables and once as
// nftables.
func TestRandomIPTables(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		p := newPair(t)
		p.filtersOut = true
		const sets = 40
		sure := 0
		for i := range sets {
			g := &generator{r: rand.New(rand.NewPCG(3, uint64(i)))}
			v6 := i%2 == 1
			program := map[bool]string{false: "iptables", true: "ip6tables"}[v6] + []string{"-legacy", "-nft"}[i/2%2] + "-restore"
			p.clear(t)
			rules := g.xtables(v6)
			p.sh(t, rules, nettest.NeedProgram(t, program))
			if _, _, certain := p.compare(t, v6, uint16([]int{80, 443, 5432}[i%3])); certain {
				sure++
			}
			if t.Failed() {
				t.Fatalf("rule set %d, by %s:\n%s", i, program, rules)
			}
		}
		t.Logf("%d of %d attempts certain", sure, sets)
		if sure < sets/2 {
			t.Errorf("only %d of %d attempts were certain", sure, sets)
		}
	})
}

func (g *generator) xtables(v6 bool) string {
	for _, table := range []struct{ name, chains string }{{"raw", "PREROUTING OUTPUT"}, {"mangle", "PREROUTING INPUT OUTPUT POSTROUTING"}, {"filter", "INPUT FORWARD OUTPUT"}, {"nat", "PREROUTING INPUT OUTPUT POSTROUTING"}} {
		if table.name != "filter" && g.chance(50) {
			continue
		}
		fmt.Fprintf(&g.out, "*%s\n", table.name)
		for c := range strings.FieldsSeq(table.chains) {
			policy := "ACCEPT"
			if c == "INPUT" && table.name == "filter" {
				policy = g.pick("ACCEPT", "DROP")
			}
			fmt.Fprintf(&g.out, ":%s %s [0:0]\n", c, policy)
		}
		fmt.Fprint(&g.out, ":a - [0:0]\n:b - [0:0]\n")
		if v6 && table.name != "nat" { // neighbours must find each other
			for c := range strings.FieldsSeq(table.chains) {
				fmt.Fprintf(&g.out, "-A %s -p ipv6-icmp -j ACCEPT\n", c)
			}
		}
		for _, c := range append([]string{"a", "b"}, strings.Fields(table.chains)...) {
			for range g.r.IntN(4) {
				fmt.Fprintf(&g.out, "-A %s -p tcp %s %s %s\n", c, g.xmatch(v6, c), g.xmatch(v6, c), g.xtarget(table.name, c, v6))
			}
		}
		fmt.Fprint(&g.out, "COMMIT\n")
	}
	return g.out.String()
}

func (g *generator) xmatch(v6 bool, chain string) string {
	if g.chance(4) {
		return g.pick("-m limit --limit 1/min", "-m statistic --mode random --probability 0.5")
	}
	if g.chance(25) {
		return ""
	}
	list := []string{
		"-m tcp --dport 80", "-m tcp ! --dport 443", "-m tcp --dport 1:1000", "-m tcp --sport 1024:65535", "-m tcp --syn", "-m tcp ! --syn", "-m tcp --tcp-flags SYN,ACK,RST SYN,ACK",
		"-m multiport --dports 80,443", "-m multiport --sports 80,20000:30000", "-m multiport ! --ports 5432,9",
		"-m conntrack --ctstate NEW", "-m conntrack --ctstate ESTABLISHED,RELATED", "-m conntrack ! --ctstate INVALID", "-m state --state NEW,UNTRACKED", "-m conntrack --ctstate DNAT", "-m conntrack --ctdir ORIGINAL",
		"-m mark --mark 1", "-m mark ! --mark 0/0xf", "-m connmark --mark 0", "-m addrtype --dst-type LOCAL", "-m addrtype ! --src-type LOCAL", "-m comment --comment x",
	}
	if v6 {
		list = append(list, "-m iprange --src-range 2001:db8::1-2001:db8::5")
	} else {
		list = append(list, "-m iprange ! --dst-range 192.0.2.1-192.0.2.9")
	}
	return list[g.r.IntN(len(list))]
}

func (g *generator) xtarget(table, chain string, v6 bool) string {
	var list []string
	if table != "nat" {
		list = []string{"-j ACCEPT", "-j ACCEPT", "-j DROP", "", "-j RETURN"}
	} else {
		list = []string{"-j ACCEPT", "-j RETURN", ""}
	}
	if chain != "a" && chain != "b" {
		list = append(list, "-j a", "-j b", "-g b")
	} else if chain == "b" {
		list = append(list, "-j a", "-g a")
	}
	user := chain == "a" || chain == "b"
	switch table {
	case "raw":
		list = append(list, "-j CT --notrack")
	case "mangle":
		list = append(list, "-j MARK --set-mark 1", "-j MARK --set-xmark 0x10/0xf0", "-j CONNMARK --save-mark", "-j CONNMARK --restore-mark", "-j CONNMARK --set-mark 3")
	case "filter":
		list = append(list, "-j REJECT", "-j REJECT --reject-with tcp-reset", "-j LOG")
	case "nat":
		if chain == "PREROUTING" && !user {
			to := map[bool]string{false: "192.0.2.2:80", true: "[2001:db8::2]:80"}[v6]
			list = append(list, "-j REDIRECT --to-ports 8080", "-j DNAT --to-destination "+to)
		}
	}
	return list[g.r.IntN(len(list))]
}
