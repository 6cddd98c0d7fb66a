package firewall_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// Rule sets made at random: the kernel decides a real SYN as Read said, or Read
// said that it depends.
func TestRandomRules(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		program := nettest.NeedProgram(t, "nft")
		p := newPair(t)
		const sets = 80
		sure := 0
		fates := map[string]int{}
		for i := range sets {
			g := &generator{r: rand.New(rand.NewPCG(7, uint64(i)))}
			rules := g.ruleset()
			if strings.Contains(rules, "hook postrouting") { // where reject is not allowed
				rules = rejects.ReplaceAllString(rules, "drop")
			}
			p.sh(t, "flush ruleset\n"+rules, program, "-f", "-")
			p.filtersOut = strings.Contains(rules, "hook output") || strings.Contains(rules, "hook postrouting")
			for _, v6 := range []bool{false, true} {
				syn, answer, certain := p.compare(t, v6, uint16([]int{80, 443, 5432}[i%3]))
				if certain {
					sure++
				}
				fates[syn.Verdict+" "+answer.Verdict]++
			}
			if t.Failed() {
				t.Fatalf("rule set %d:\n%s", i, p.sh(t, "", program, "-a", "list", "ruleset"))
			}
		}
		t.Logf("%d rule sets, %d of %d attempts certain; %v", sets, sure, 2*sets, fates)
		// A generator that makes everything depend would test nothing.
		if sure < sets {
			t.Errorf("only %d of %d attempts were certain", sure, 2*sets)
		}
	})
}

var rejects = regexp.MustCompile(`(?m)reject.*$`)

// generator writes rule sets.
type generator struct {
	r      *rand.Rand
	chains []string // that may be jumped to from here
	out    strings.Builder
}

func (g *generator) pick(list ...string) string { return list[g.r.IntN(len(list))] }

func (g *generator) chance(percent int) bool { return g.r.IntN(100) < percent }

func (g *generator) ruleset() string {
	g.out.WriteString(`table inet t {
	set ports { type inet_service; flags interval; elements = { 22, 80-90, 5000-6000 } }
	set who { type ipv4_addr; flags interval; elements = { 192.0.2.0/25, 198.51.100.7 } }
	set who6 { type ipv6_addr; elements = { 2001:db8::1, 2001:db8::9 } }
	set pairs { type ipv4_addr . inet_service; flags interval; elements = { 192.0.2.0/28 . 440-450, 192.0.2.1 . 80 } }
	set empty { type ipv4_addr; }
`)
	n := 2 + g.r.IntN(4)
	for i := range n {
		name := fmt.Sprintf("c%d", i)
		fmt.Fprintf(&g.out, "\tchain %s {\n", name)
		g.rules(g.r.IntN(5), true)
		g.out.WriteString("\t}\n")
		g.chains = append(g.chains, name)
	}
	for i := range 1 + g.r.IntN(4) {
		hook := g.pick("input", "input", "input", "prerouting", "output", "postrouting")
		fmt.Fprintf(&g.out, "\tchain base%d {\n\t\ttype filter hook %s priority %d; policy %s;\n", i, hook, []int{-300, -150, 0, 0, 10, 50}[g.r.IntN(6)], g.pick("accept", "accept", "accept", "drop"))
		// Neighbours must find each other, or nothing gets through at all.
		g.out.WriteString("\t\tmeta l4proto ipv6-icmp counter accept\n")
		g.rules(1+g.r.IntN(6), false)
		g.out.WriteString("\t}\n")
	}
	g.out.WriteString("}\n")
	if g.chance(30) {
		fmt.Fprintf(&g.out, "table ip n {\n\tchain pre {\n\t\ttype nat hook prerouting priority %d;\n\t\ttcp dport %s counter %s\n\t}\n}\n",
			-100+g.r.IntN(3), g.pick("80", "443", "5432", "1-6000"), g.pick("redirect to :8080", "dnat to 192.0.2.2:80", "dnat to 192.0.2.2:443", "accept", "dnat to tcp dport map { 80 : 192.0.2.2, 443 : 192.0.2.2 }"))
	}
	return g.out.String()
}

// groups of matches: a rule has at most one of each, as nft takes no two that
// contradict each other.
var groups = [][]string{
	{"tcp dport 80", "tcp dport != 443", "tcp dport { 80, 443 }", "tcp dport 1-1000", "tcp dport > 400", "tcp dport @ports", "tcp dport != @ports",
		"tcp sport 20000-20100", "tcp sport { 1024-65535 }", "tcp sport . tcp dport { 20005 . 80, 20006 . 443 }", "tcp sport >= 20000 tcp dport <= 443",
		"tcp flags & (syn | ack | rst | fin) == syn", "tcp flags syn / syn,ack", "tcp flags & (syn | ack) != syn", "tcp flags ack", "tcp flags & (fin | syn) == 0x0", "tcp flags { syn, ack }",
		"meta l4proto tcp", "meta l4proto != udp", "meta l4proto { tcp, udp } th dport { 80, 443 }", "tcp option sack-perm exists"},
	{"ip saddr 192.0.2.1", "ip saddr 192.0.2.0/28", "ip saddr != 10.0.0.0/8", "ip saddr @who", "ip saddr != @who", "ip daddr 192.0.2.2 ip saddr 192.0.2.1",
		"ip saddr . tcp dport @pairs", "ip saddr @empty", "ip6 saddr @who6", "ip6 saddr 2001:db8::/64", "ip6 daddr != 2001:db8::2", "ip saddr 192.0.2.1-192.0.2.77",
		"meta nfproto ipv4", "meta nfproto ipv6", "fib daddr type local", "fib saddr type != unicast", "ip protocol tcp", "ip6 nexthdr tcp", "ip ttl > 1"},
	{"iifname \"srv0\"", "iifname \"srv*\"", "iifname != \"lo\"", "iif lo", "oifname \"srv0\"", "iifname { \"srv0\", \"lo\" }", "iiftype ether", "meta pkttype host"},
	{"ct state new", "ct state established,related", "ct state != established", "ct state { new, untracked }", "ct state invalid", "ct direction reply", "ct status dnat"},
	{"meta mark 0x1", "meta mark != 0x1", "meta mark & 0xf == 0x1", "meta mark 0x1-0x20", "meta mark < 0x10", "meta mark { 0x1, 0x5-0x12 }", "limit rate 1/minute", "numgen random mod 2 0", "ct mark 0x5", "ct mark 0x0", "meta hour \"03:00\"-\"04:00\""},
}

func (g *generator) rules(n int, user bool) {
	for range n {
		var parts []string
		four, six := false, false
		for _, i := range g.r.Perm(len(groups))[:g.r.IntN(3)] {
			m := g.pick(groups[i]...)
			four = four || strings.HasPrefix(m, "ip ") || m == "meta nfproto ipv4"
			six = six || strings.HasPrefix(m, "ip6 ") || m == "meta nfproto ipv6"
			parts = append(parts, m)
		}
		v := g.verdict(user)
		if six {
			v = strings.ReplaceAll(v, "ip saddr . tcp", "meta mark . tcp")
			v = strings.ReplaceAll(v, "192.0.2.1 .", "0x1 .")
			v = strings.ReplaceAll(v, "ip protocol", "meta l4proto")
		}
		if strings.Contains(v, "icmp") && four {
			v = "reject"
		}
		if slices.ContainsFunc(parts, func(m string) bool { return strings.Contains(m, "{ tcp, udp }") }) {
			v = strings.ReplaceAll(v, "tcp dport", "th dport")
			v = strings.ReplaceAll(v, " with tcp reset", "")
		}
		parts = append(parts, "counter", v)
		fmt.Fprintf(&g.out, "\t\t%s\n", strings.Join(parts, " "))
	}
}

func (g *generator) verdict(user bool) string {
	jump := func() string {
		if len(g.chains) == 0 {
			return "accept"
		}
		return g.pick("jump ", "jump ", "goto ") + g.chains[g.r.IntN(len(g.chains))]
	}
	target := func() string { return g.pick("accept", "drop", "continue", "return", jump()) }
	switch n := g.r.IntN(20); {
	case n < 4:
		return "accept"
	case n < 6:
		return "drop"
	case n < 7:
		return g.pick("reject", "reject with tcp reset", "reject with icmpx admin-prohibited")
	case n < 11:
		return jump()
	case n < 12 && user:
		return "return"
	case n < 13:
		return "meta mark set " + g.pick("0x1", "0x2", "meta mark | 0x11", "meta mark & 0xf0")
	case n < 14:
		return fmt.Sprintf("tcp dport vmap { 80 : %s, 443 : %s, 5000-6000 : %s }", target(), target(), target())
	case n < 15:
		return fmt.Sprintf("ct state vmap { new : %s, established : %s }", target(), target())
	case n < 16:
		return fmt.Sprintf("ip saddr . tcp dport vmap { 192.0.2.1 . 80 : %s, 192.0.2.1 . 443 : %s, * : %s }", target(), target(), target())
	case n < 17:
		return fmt.Sprintf("iifname . ip protocol vmap { \"srv0\" . tcp : %s, \"lo\" . udp : drop }", target())
	case n < 18:
		return "meta mark set tcp dport map { 80 : 0x1, 443 : 0x2 }"
	}
	return "continue"
}
