package firewall_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/collect/firewall"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// compareOwn asks about an attempt that the host with the rules makes itself,
// makes it, and holds the answers together.
func (p *pair) compareOwn(t *testing.T, v6 bool, port uint16) (syn, answer evidence.RuleVerdict, sure bool) {
	t.Helper()
	p.port++
	from, to := netip.AddrPortFrom(server4, p.port), netip.AddrPortFrom(client4, port)
	if v6 {
		from, to = netip.AddrPortFrom(server6, p.port), netip.AddrPortFrom(client6, port)
	}
	q := firewall.Query{Kind: firewall.SYNOut, Client: from, Server: to, In: "srv0", Out: "srv0", Unmarked: true}
	return p.hold(t, p.server, q, firewall.SYNACKIn)
}

// The client's side: what this host's own rules do with its SYN and with the
// answer.
func TestOwnSide(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		p := newPair(t)
		nft := func(hook, text string) rules {
			return rules("table inet t { chain c { type filter hook " + hook + " priority 0; meta l4proto ipv6-icmp accept; " + text + " }; }")
		}
		for _, tt := range []struct {
			name        string
			rules       rules
			v6          bool
			port        uint16
			syn, answer string
			allow       string // of the one that stops
		}{
			{"nothing", "", false, 80, "accept", "accept", ""},
			{"output policy", "table inet t { chain c { type filter hook output priority 0; policy drop; meta l4proto ipv6-icmp accept; tcp dport 443 accept; }; }", false, 80, "drop", "accept",
				"nft add rule inet t c ip daddr 192.0.2.1 tcp dport 80 accept"},
			{"output policy, let out", "table inet t { chain c { type filter hook output priority 0; policy drop; meta l4proto ipv6-icmp accept; tcp dport 443 accept; }; }", true, 443, "accept", "accept", ""},
			{"postrouting", nft("postrouting", `oifname "srv0" tcp dport 80 counter drop;`), true, 80, "drop", "accept",
				"nft insert rule inet t c handle 3 ip6 daddr 2001:db8::1 tcp dport 80 accept"},
			{"another interface", nft("postrouting", `oifname "lo" tcp dport 80 drop;`), false, 80, "accept", "accept", ""},
			{"answer by port", nft("input", "tcp sport 80 counter drop;"), false, 80, "accept", "drop",
				"nft insert rule inet t c handle 3 ip saddr 192.0.2.1 tcp sport 80 accept"},
			{"answer rejected", nft("input", "tcp sport 80 counter reject with tcp reset;"), false, 80, "accept", "reset", "nft insert rule inet t c handle 3 ip saddr 192.0.2.1 tcp sport 80 accept"},
			{"established", "table inet t { chain c { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; ct state established accept; }; }", true, 80, "accept", "accept", ""},
			{"only new", "table inet t { chain c { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; ct state new accept; }; }", false, 80, "accept", "drop",
				"nft add rule inet t c ip saddr 192.0.2.1 tcp sport 80 accept"},
			{"answer to what is not tracked", "table inet t { chain r { type filter hook output priority raw; tcp dport 80 notrack; }; chain c { type filter hook input priority 0; ct state invalid counter drop; }; }", false, 80, "accept", "drop", "nft insert rule inet t c handle 4 ip saddr 192.0.2.1 tcp sport 80 accept"},
			{"prerouting", nft("prerouting", `iifname "srv0" tcp flags & (syn|ack) == syn|ack counter drop;`), false, 80, "accept", "drop",
				"nft insert rule inet t c handle 3 ip saddr 192.0.2.1 tcp sport 80 accept"},
			{"limit", nft("output", "tcp dport 80 limit rate over 1000/second drop;"), false, 80, "depends", "accept", ""},
			{"owner", nft("output", "tcp dport 80 meta skuid 0 drop;"), false, 80, "depends", "accept", ""},
			{"masqueraded, and the answer's address", "table ip n { chain s { type nat hook postrouting priority srcnat; masquerade; }; }\n" + nft("input", "ip daddr 192.0.2.2 tcp sport 80 drop;"), false, 80, "accept", "depends", ""},
			{"masqueraded", "table ip n { chain s { type nat hook postrouting priority srcnat; masquerade; }; }", false, 80, "accept", "accept", ""},

			{"legacy", "iptables-legacy: -A OUTPUT -p tcp --dport 80 -j DROP", false, 80, "drop", "accept", "iptables-legacy -I OUTPUT 1 -p tcp -d 192.0.2.1 --dport 80 -j ACCEPT"},
			{"legacy policy", "iptables-legacy: -P OUTPUT DROP", false, 80, "drop", "accept", "iptables-legacy -I OUTPUT 1 -p tcp -d 192.0.2.1 --dport 80 -j ACCEPT"},
			{"legacy reset", "ip6tables-legacy: -A OUTPUT -p tcp --dport 80 -j REJECT --reject-with tcp-reset", true, 80, "reset", "accept", "ip6tables-legacy -I OUTPUT 1 -p tcp -d 2001:db8::1 --dport 80 -j ACCEPT"},
			{"legacy reject", "iptables-legacy: -A OUTPUT -o srv0 -p tcp --dport 80 -j REJECT", false, 80, "reject", "accept", "iptables-legacy -I OUTPUT 1 -p tcp -d 192.0.2.1 --dport 80 -j ACCEPT"},
			{"legacy answer", "iptables-legacy: -A INPUT -p tcp --sport 80 -m conntrack --ctstate ESTABLISHED -j DROP", false, 80, "accept", "drop", "iptables-legacy -I INPUT 1 -p tcp -s 192.0.2.1 --sport 80 -j ACCEPT"},
			{"legacy answer let in", "iptables-legacy: -P INPUT DROP\niptables-legacy: -A INPUT -m state --state ESTABLISHED -j ACCEPT", false, 80, "accept", "accept", ""},
			{"iptables-nft", "iptables-nft: -A OUTPUT -p tcp --dport 80 -j DROP", false, 80, "drop", "accept", "iptables-nft -I OUTPUT 1 -p tcp -d 192.0.2.1 --dport 80 -j ACCEPT"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				p.clear(t)
				p.load(t, tt.rules)
				p.filtersOut = false
				syn, answer, _ := p.compareOwn(t, tt.v6, tt.port)
				if syn.Verdict != tt.syn || answer.Verdict != tt.answer {
					t.Errorf("got %s and %s, want %s and %s\n%s\n%s", syn.Verdict, answer.Verdict, tt.syn, tt.answer, show(syn), show(answer))
				}
				stops := syn
				if syn.Verdict == "accept" {
					stops = answer
				}
				if tt.allow == "" || t.Failed() {
					return
				}
				if stops.Rule == nil || stops.Rule.Allow != tt.allow {
					t.Fatalf("%s\nallowed by %+v, want %q", show(stops), stops.Rule, tt.allow)
				}
				args := strings.Fields(tt.allow)
				p.sh(t, "", nettest.NeedProgram(t, args[0]), args[1:]...)
				if syn, answer, _ := p.compareOwn(t, tt.v6, tt.port); syn.Verdict != "accept" || answer.Verdict != "accept" {
					t.Errorf("after it: %s\n%s", show(syn), show(answer))
				}
			})
		}
	})
}

// What is not known of the SYN or of its answer makes the verdict depend.
func TestOwnSideUnknown(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		p := newPair(t)
		from, to := netip.AddrPortFrom(server4, 4000), netip.AddrPortFrom(client4, 80)
		for _, tt := range []struct {
			name, hook, rules string
			q                 firewall.Query
			want, on          string
		}{
			{"interface", "input", `iifname "srv0" drop;`, firewall.Query{Kind: firewall.SYNACKIn, Client: from, Server: to}, "depends", "the interface it comes in by"},
			{"another interface", "input", `iifname "lo" drop;`, firewall.Query{Kind: firewall.SYNACKIn, Client: from, Server: to, In: "srv0"}, "accept", ""},
			{"mark", "output", "meta mark 7 drop;", firewall.Query{Kind: firewall.SYNOut, Client: from, Server: to}, "depends", "the mark of the packet"},
			{"source port", "output", "tcp sport 4000 drop;", firewall.Query{Kind: firewall.SYNOut, Client: netip.AddrPortFrom(server4, 0), Server: to}, "depends", "the client's port"},
			{"an interface that is not there", "output", `oifname "srv0" drop;`, firewall.Query{Kind: firewall.SYNOut, Client: from, Server: to, Out: "gone0"}, "depends", "the interface it leaves by"},
			{"cgroup", "output", "meta cgroup 7 drop;", firewall.Query{Kind: firewall.SYNOut, Client: from, Server: to}, "depends", "meta cgroup"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				p.clear(t)
				p.load(t, rules("table ip t { chain c { type filter hook "+tt.hook+" priority 0; "+tt.rules+" }; }"))
				v := p.read(t, tt.q).Verdicts[0]
				if v.Verdict != tt.want || tt.on != "" && !slices.ContainsFunc(v.Depends, func(s string) bool { return strings.HasPrefix(s, tt.on) }) {
					t.Errorf("got %s, want %s on %q", show(v), tt.want, tt.on)
				}
			})
		}
	})
}

// Rule sets made at random, and attempts of the host that has them.
func TestRandomOwnSide(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		program := nettest.NeedProgram(t, "nft")
		p := newPair(t)
		const sets = 25
		sure := 0
		for i := range sets {
			g := &generator{r: rand.New(rand.NewPCG(11, uint64(i)))}
			rules := g.ruleset()
			if strings.Contains(rules, "hook postrouting") {
				rules = rejects.ReplaceAllString(rules, "drop")
			}
			p.sh(t, "flush ruleset\n"+rules, program, "-f", "-")
			p.filtersOut = true // the answer of a reject passes all hooks of this host
			for _, v6 := range []bool{false, true} {
				if _, _, certain := p.compareOwn(t, v6, uint16([]int{80, 443, 5432}[i%3])); certain {
					sure++
				}
			}
			if t.Failed() {
				t.Fatalf("rule set %d:\n%s", i, p.sh(t, "", program, "-a", "list", "ruleset"))
			}
		}
		t.Logf("%d of %d attempts were certain", sure, 2*sets)
		if sure < sets {
			t.Errorf("only %d of %d attempts were certain", sure, 2*sets)
		}
	})
}
