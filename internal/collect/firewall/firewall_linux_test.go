package firewall_test

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/collect/firewall"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// rules are loaded by their own programs: lines that start with a program's name
// and a colon go to it, by "nft -f" or line by line.
type rules string

func (p *pair) load(t *testing.T, r rules) {
	t.Helper()
	var script strings.Builder
	for line := range strings.SplitSeq(string(r), "\n") {
		line = strings.TrimSpace(line)
		program, args, ok := strings.Cut(line, ": ")
		if !ok || strings.Contains(program, " ") {
			script.WriteString(line + "\n")
			continue
		}
		p.sh(t, "", nettest.NeedProgram(t, program), split(args)...)
	}
	if strings.TrimSpace(script.String()) != "" {
		p.sh(t, script.String(), nettest.NeedProgram(t, "nft"), "-f", "-")
	}
}

// split splits at spaces outside of double quotes.
func split(s string) []string {
	var out []string
	for i, part := range strings.Split(s, `"`) {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

// Rule sets made by real programs, a real SYN, and what Read said before.
func TestDifferential(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		p := newPair(t)
		for _, tt := range []struct {
			name  string
			rules rules
			v6    bool
			port  uint16
			want  string // of SYN and SYN-ACK; "depends" where it must not be certain
			rule  string // part of the text of the rule that decides
		}{
			{"nothing", "", false, 80, "accept", ""},
			{"nothing, IPv6", "", true, 80, "accept", ""},

			{"legacy drop", "iptables-legacy: -A INPUT -p tcp --dport 80 -j DROP", false, 80, "drop", "-A INPUT -p tcp -m tcp --dport 80 -j DROP"},
			{"legacy other port", "iptables-legacy: -A INPUT -p tcp --dport 81 -j DROP", false, 80, "accept", ""},
			{"legacy policy", "iptables-legacy: -P INPUT DROP\niptables-legacy: -A INPUT -p tcp --dport 443 -j ACCEPT", false, 80, "drop", "-P INPUT DROP"},
			{"legacy policy, accepted", "iptables-legacy: -P INPUT DROP\niptables-legacy: -A INPUT -p tcp --dport 443 -j ACCEPT", false, 443, "accept", "--dport 443 -j ACCEPT"},
			{"legacy reset", "iptables-legacy: -A INPUT -p tcp --dport 80 -j REJECT --reject-with tcp-reset", false, 80, "reset", "REJECT --reject-with tcp-reset"},
			{"legacy reject", "iptables-legacy: -A INPUT -p tcp --dport 80 -j REJECT", false, 80, "reject", "icmp-port-unreachable"},
			{"legacy v6 reject", "ip6tables-legacy: -A INPUT -p tcp --dport 80 -j REJECT", true, 80, "reject", "icmp6-port-unreachable"},
			{"legacy v6 reset", "ip6tables-legacy: -A INPUT -s 2001:db8::/64 -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset", true, 80, "reset", "tcp-reset"},
			{"legacy v4 rules and IPv6", "iptables-legacy: -P INPUT DROP", true, 80, "accept", ""},
			{"legacy multiport", "iptables-legacy: -A INPUT -p tcp -m multiport --dports 22,79:81 -j DROP", false, 80, "drop", "22,79:81"},
			{"legacy multiport not", "iptables-legacy: -A INPUT -p tcp -m multiport ! --dports 22,443 -j DROP", false, 80, "drop", "! --dports"},
			{"legacy interface", "iptables-legacy: -A INPUT -i srv+ -j DROP", false, 80, "drop", "-i srv+"},
			{"legacy other interface", "iptables-legacy: -A INPUT ! -i srv0 -j DROP", false, 80, "accept", ""},
			{"legacy new", "iptables-legacy: -A INPUT -m conntrack --ctstate NEW -j DROP", false, 80, "drop", "--ctstate NEW"},
			{"legacy established", "iptables-legacy: -A INPUT -m state --state RELATED,ESTABLISHED -j DROP", false, 80, "accept", ""},
			{"legacy answer", "iptables-legacy: -A OUTPUT -p tcp --sport 80 -m conntrack --ctstate ESTABLISHED -j DROP", false, 80, "drop", "--sport 80"},
			{"legacy chains", "iptables-legacy: -N a\niptables-legacy: -N b\niptables-legacy: -A a -s 192.0.2.0/24 -g b\niptables-legacy: -A a -j DROP\niptables-legacy: -A b -p tcp --dport 80 -j RETURN\niptables-legacy: -A b -j DROP\niptables-legacy: -A INPUT -j a\niptables-legacy: -A INPUT -j REJECT", false, 80, "reject", "-A INPUT -j REJECT"},
			{"legacy range", "iptables-legacy: -A INPUT -m iprange --src-range 192.0.2.1-192.0.2.7 -j DROP", false, 80, "drop", "--src-range"},
			{"legacy addrtype", "iptables-legacy: -A INPUT -m addrtype --dst-type LOCAL -j DROP", false, 80, "drop", "LOCAL"},
			{"legacy addrtype not", "iptables-legacy: -A INPUT -m addrtype ! --dst-type LOCAL -j DROP", false, 80, "accept", ""},
			{"legacy syn", "iptables-legacy: -A INPUT -p tcp --syn -j DROP", false, 80, "drop", "SYN"},
			{"legacy not syn", "iptables-legacy: -A INPUT -p tcp ! --syn -m conntrack --ctstate NEW -j DROP", false, 80, "accept", ""},
			{"legacy limit", "iptables-legacy: -A INPUT -m limit --limit 1/min -j DROP", false, 80, "depends", "--limit 1/min"},
			{"legacy limit for the log", "iptables-legacy: -A INPUT -m limit --limit 1/min -j LOG\niptables-legacy: -A INPUT -p tcp --dport 80 -j DROP", false, 80, "drop", "--dport 80"},
			{"legacy recent", "iptables-legacy: -A INPUT -p tcp -m recent --name x --update --seconds 9 -j DROP", false, 80, "depends", "recent"},
			{"legacy mark", "iptables-legacy: -t mangle -A PREROUTING -p tcp -j MARK --set-mark 5\niptables-legacy: -A INPUT -m mark --mark 0x4/0x4 -j DROP", false, 80, "drop", "0x4/0x4"},
			{"legacy connmark", "iptables-legacy: -t mangle -A PREROUTING -p tcp -j MARK --set-mark 5\niptables-legacy: -t mangle -A PREROUTING -j CONNMARK --save-mark\niptables-legacy: -A INPUT -m connmark --mark 5 -j DROP", false, 80, "drop", "connmark"},
			{"legacy redirect", "iptables-legacy: -t nat -A PREROUTING -p tcp --dport 79 -j REDIRECT --to-ports 80", false, 79, "accept", ""},
			{"legacy redirect and drop", "iptables-legacy: -t nat -A PREROUTING -p tcp --dport 443 -j REDIRECT --to-ports 80\niptables-legacy: -A INPUT -p tcp --dport 80 -j DROP", false, 443, "drop", "--dport 80 -j DROP"},
			{"legacy dnat", "iptables-legacy: -t nat -A PREROUTING -p tcp --dport 79 -j DNAT --to-destination 192.0.2.2:80\niptables-legacy: -A INPUT -p tcp --dport 79 -j DROP", false, 79, "accept", ""},
			{"legacy dnat state", "iptables-legacy: -t nat -A PREROUTING -p tcp --dport 79 -j DNAT --to-destination 192.0.2.2:80\niptables-legacy: -A INPUT -m conntrack --ctstate DNAT -j DROP", false, 79, "drop", "DNAT"},
			{"legacy raw drop", "iptables-legacy: -t raw -A PREROUTING -p tcp --dport 80 -j DROP", false, 80, "drop", "-A PREROUTING"},
			{"legacy notrack", "iptables-legacy: -t raw -A PREROUTING -p tcp --dport 80 -j CT --notrack\niptables-legacy: -A INPUT -m conntrack --ctstate NEW -j ACCEPT\niptables-legacy: -A INPUT -p tcp -j DROP", false, 80, "drop", "-p tcp -j DROP"},
			{"legacy untracked answer", "iptables-legacy: -t raw -A PREROUTING -p tcp --dport 80 -j CT --notrack\niptables-legacy: -A OUTPUT -m conntrack --ctstate INVALID -j DROP", false, 80, "drop", "INVALID"},
			{"legacy and nft", "iptables-legacy: -A INPUT -p tcp --dport 80 -j ACCEPT\ntable ip t { chain i { type filter hook input priority 10; tcp dport 80 counter drop; }; }", false, 80, "drop", "drop"},
			{"nft before legacy", "iptables-legacy: -A INPUT -p tcp --dport 80 -j REJECT\ntable ip t { chain i { type filter hook input priority -10; tcp dport 80 counter drop; }; }", false, 80, "drop", "drop"},
			{"legacy v6 rt", "ip6tables-legacy: -A INPUT -m rt --rt-type 0 -j DROP", true, 80, "accept", ""},
			{"legacy v6 new", "ip6tables-legacy: -A INPUT -p tcp -m conntrack --ctstate NEW -m tcp --dport 80 -j DROP", true, 80, "drop", "NEW"},

			{"iptables-nft drop", "iptables-nft: -A INPUT -p tcp --dport 80 -j DROP", false, 80, "drop", "tcp dport 80"},
			{"iptables-nft matches", "iptables-nft: -A INPUT -p tcp -m multiport --dports 80,443 -m conntrack --ctstate NEW -m comment --comment \"no web\" -j REJECT --reject-with tcp-reset", false, 443, "reset", "no web"},
			{"iptables-nft policy", "iptables-nft: -P INPUT DROP\niptables-nft: -A INPUT -p tcp --dport 443 -j ACCEPT", false, 80, "drop", "policy drop"},
			{"iptables-nft chain", "iptables-nft: -N x\niptables-nft: -A INPUT -j x\niptables-nft: -A x -s 192.0.2.1 -j REJECT", false, 80, "reject", "192.0.2.1"},
			{"iptables-nft dnat", "iptables-nft: -t nat -A PREROUTING -p tcp --dport 79 -j DNAT --to-destination 192.0.2.2:80\niptables-nft: -A INPUT -p tcp --dport 80 -j DROP", false, 79, "drop", "tcp dport 80"},
			{"iptables-nft redirect", "iptables-nft: -t nat -A PREROUTING -p tcp --dport 79 -j REDIRECT --to-ports 80", false, 79, "accept", ""},
			{"iptables-nft limit", "iptables-nft: -A INPUT -p tcp -m limit --limit 1/min -j DROP", false, 80, "depends", "limit rate"},
			{"ip6tables-nft", "ip6tables-nft: -A INPUT -s 2001:db8::1 -p tcp --dport 80 -j DROP", true, 80, "drop", "2001:db8::1"},
			{"ip6tables-nft reset", "ip6tables-nft: -A INPUT -p tcp -m addrtype --dst-type LOCAL -j REJECT --reject-with tcp-reset", true, 80, "reset", "tcp-reset"},

			{"nft notrack", "table inet t { chain r { type filter hook prerouting priority raw; tcp dport 80 notrack; }; chain i { type filter hook input priority 0; ct state untracked tcp dport 80 counter drop; }; }", false, 80, "drop", "untracked"},
			{"nft ingress", "table netdev t { chain i { type filter hook ingress device srv0 priority 0; tcp dport 80 counter drop; }; }", true, 80, "drop", "tcp dport 80"},
			{"nft ingress elsewhere", "table netdev t { chain i { type filter hook ingress device lo priority 0; tcp dport 80 counter drop; }; }", true, 80, "accept", ""},
			{"nft limit", "table inet t { chain i { type filter hook input priority 0; tcp dport 80 limit rate over 1000/second drop; }; }", false, 80, "depends", "limit rate over 1000/second"},
			{"nft limit, same end", "table inet t { chain i { type filter hook input priority 0; tcp dport 80 limit rate 1/second accept; tcp dport 80 accept; }; }", false, 80, "accept", ""},
			{"nft set", "table inet t { set s { type ipv4_addr; flags timeout; elements = { 192.0.2.1 timeout 1h }; }; chain i { type filter hook input priority 0; ip saddr @s counter drop; }; }", false, 80, "drop", "@s"},
			{"nft dormant", "table inet t { flags dormant; chain i { type filter hook input priority 0; drop; }; }", false, 80, "accept", ""},
			{"nft meter", "table inet t { set m { type ipv4_addr; flags dynamic; }; chain i { type filter hook input priority 0; tcp dport 80 add @m { ip saddr limit rate 1/hour } accept; tcp dport 80 drop; }; }", false, 80, "depends", "drop"},
			{"nft just added", "table inet t { set m { type ipv4_addr; flags dynamic; }; chain i { type filter hook input priority 0; tcp dport 80 add @m { ip saddr }; ip saddr @m drop; }; }", false, 80, "depends", "@m"},
			{"nft output", "table inet t { chain o { type filter hook output priority 0; policy drop; meta l4proto ipv6-icmp accept; }; }", true, 80, "drop", "policy drop"},
			{"nft payload write", "table ip t { chain p { type filter hook prerouting priority -350; tcp dport 79 tcp dport set 80; }; chain i { type filter hook input priority 0; tcp dport 80 counter drop; }; }", false, 79, "drop", "tcp dport 80"},
			{"nft socket owner", "table inet t { chain o { type filter hook output priority 0; meta skuid 0 drop; }; }", false, 80, "depends", "skuid"},
			{"nft catch-all", "table inet t { map m { type inet_service : verdict; elements = { 443 : accept, * : drop }; }; chain i { type filter hook input priority 0; meta l4proto ipv6-icmp accept; tcp dport vmap @m; }; }", true, 80, "drop", "vmap @m"},
			{"nft icmpx", "table inet t { chain i { type filter hook input priority 0; tcp dport 80 counter reject with icmpx host-unreachable; }; }", true, 80, "reject", "host-unreachable"},
			{"nft v6 redirect", "table ip6 t { chain p { type nat hook prerouting priority dstnat; tcp dport 79 redirect to :80; }; chain i { type filter hook input priority 0; ct status dnat counter drop; }; }", true, 79, "drop", "ct status dnat"},
			{"nft fib", "table inet t { chain p { type filter hook prerouting priority 0; fib saddr . iif oif missing drop; tcp dport 80 counter drop; }; }", false, 80, "drop", "tcp dport 80"},
			{"nft synproxy", "table inet t { chain r { type filter hook prerouting priority raw; tcp dport 80 notrack; }; chain i { type filter hook input priority 0; tcp dport 80 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm; }; }", false, 80, "depends", "synproxy"},
			{"legacy queue", "iptables-legacy: -A INPUT -p tcp --dport 80 -j NFQUEUE --queue-num 3 --queue-bypass", false, 80, "depends", "NFQUEUE"},
			{"nft quota", "table inet t { quota q { over 1 bytes }; chain i { type filter hook input priority 0; tcp dport 80 quota name \"q\" drop; }; }", false, 80, "depends", "quota"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				p.clear(t)
				p.load(t, tt.rules)
				p.filtersOut = false
				syn, answer, sure := p.compare(t, tt.v6, tt.port)
				v := syn
				if syn.Verdict == "accept" && answer.Verdict != "accept" {
					v = answer
				}
				if v.Verdict != tt.want || sure != (tt.want != "depends") {
					t.Errorf("got %s, want %s\n%s\n%s", v.Verdict, tt.want, show(syn), show(answer))
				}
				text := ""
				if v.Rule != nil {
					text = v.Rule.Text
				}
				if tt.rule != "" && !strings.Contains(text, tt.rule) {
					t.Errorf("by rule %q, want one with %q", text, tt.rule)
				}
				if tt.want == "depends" && len(v.Depends) == 0 {
					t.Errorf("it does not say on what it depends\n%s", show(v))
				}
			})
		}
	})
}

// What is not known of the packet makes a verdict that turns on it depend.
func TestUnknownClient(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		p := newPair(t)
		server := netip.AddrPortFrom(server4, 80)
		for _, tt := range []struct {
			name, rules string
			q           firewall.Query
			want, on    string
		}{
			{"address", "ip saddr 192.0.2.0/24 accept; drop;", firewall.Query{Server: server, In: "srv0"}, "depends", "the client's address (ip t i handle "},
			{"address does not matter", "ip saddr 192.0.2.0/24 drop; drop;", firewall.Query{Server: server, In: "srv0"}, "drop", "the client's address"},
			{"everybody", "ip saddr 0.0.0.0/0 drop;", firewall.Query{Server: server, In: "srv0"}, "drop", ""},
			{"port", "tcp sport 1024-65535 accept; drop;", firewall.Query{Server: server, Client: netip.AddrPortFrom(client4, 0), In: "srv0"}, "depends", "the client's port"},
			{"interface", "iifname \"srv0\" accept; drop;", firewall.Query{Server: server, Client: netip.AddrPortFrom(client4, 9)}, "depends", "the interface it comes in by"},
			{"mark", "meta mark 7 drop;", firewall.Query{Server: server, Client: netip.AddrPortFrom(client4, 9), In: "srv0"}, "depends", "the mark of the packet"},
			{"no mark", "meta mark 7 drop;", firewall.Query{Server: server, Client: netip.AddrPortFrom(client4, 9), In: "srv0", Unmarked: true}, "accept", ""},
			{"map", "ip saddr vmap { 192.0.2.0/25 : accept, 192.0.2.128/25 : drop };", firewall.Query{Server: server, In: "srv0"}, "depends", "the client's address"},
			{"set", "ip saddr . tcp dport { 192.0.2.1 . 443 } drop;", firewall.Query{Server: server, In: "srv0"}, "accept", ""},
		} {
			t.Run(tt.name, func(t *testing.T) {
				p.clear(t)
				p.load(t, rules("table ip t { chain i { type filter hook input priority 0; "+tt.rules+" }; }"))
				v := p.read(t, tt.q).Verdicts[0]
				if v.Verdict != tt.want {
					t.Errorf("got %s, want %s", show(v), tt.want)
				}
				if tt.on != "" && !slices.ContainsFunc(v.Depends, func(s string) bool { return strings.HasPrefix(s, tt.on) }) || tt.on == "" && len(v.Depends) > 0 {
					t.Errorf("depends on %q, want %q", v.Depends, tt.on)
				}
			})
		}
	})
}

// Packets that go elsewhere: forwarded, sent by this host, sent on by NAT.
func TestOtherWays(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		p := newPair(t)
		c := changer(t, p.server)
		must(t, c.AddBridge("dmz0"))
		must(t, c.AddAddress("dmz0", netip.MustParsePrefix("198.51.100.1/24")))
		must(t, c.SetUp("dmz0"))
		client, behind := netip.AddrPortFrom(client4, 999), netip.MustParseAddrPort("198.51.100.7:80")
		for _, tt := range []struct {
			name  string
			rules rules
			q     firewall.Query
			want  string
			check func(evidence.RuleVerdict) bool
		}{
			{"forward", "table inet t { chain f { type filter hook forward priority 0; iifname \"srv0\" oifname \"dmz0\" tcp dport 80 drop; }; chain i { type filter hook input priority 0; accept; }; }",
				firewall.Query{Kind: firewall.SYNForward, Client: client, Server: behind, In: "srv0"}, "drop",
				func(v evidence.RuleVerdict) bool { return v.Forwarded && v.Out == "dmz0" && v.Rule.Hook == "forward" }},
			{"published port", "table ip t { chain p { type nat hook prerouting priority dstnat; tcp dport 8080 dnat to 198.51.100.7:80; }; chain f { type filter hook forward priority 0; tcp dport 80 reject; }; }",
				firewall.Query{Client: client, Server: netip.AddrPortFrom(server4, 8080), In: "srv0"}, "reject",
				func(v evidence.RuleVerdict) bool {
					return v.Forwarded && v.NAT == behind && v.NATRule != nil && v.With == "icmp port-unreachable"
				}},
			{"legacy published port", "iptables-legacy: -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 198.51.100.7:80\niptables-legacy: -A FORWARD -o dmz0 -j DROP",
				firewall.Query{Client: client, Server: netip.AddrPortFrom(server4, 8080), In: "srv0"}, "drop",
				func(v evidence.RuleVerdict) bool {
					return v.Forwarded && v.NAT == behind && v.Rule.System == "iptables"
				}},
			{"balanced", "table ip t { chain p { type nat hook prerouting priority dstnat; tcp dport 8080 dnat to numgen random mod 2 map { 0 : 198.51.100.7, 1 : 198.51.100.8 }; }; chain f { type filter hook forward priority 0; ip daddr 198.51.100.8 drop; }; }",
				firewall.Query{Client: client, Server: netip.AddrPortFrom(server4, 8080), In: "srv0"}, "depends",
				func(v evidence.RuleVerdict) bool { return strings.HasPrefix(v.Depends[0], "numgen random mod 2") }},
			{"out", "table inet t { chain o { type filter hook output priority 0; oifname \"dmz0\" ip daddr 198.51.100.0/24 tcp dport 80 reject with tcp reset; }; }",
				firewall.Query{Kind: firewall.SYNOut, Client: netip.MustParseAddrPort("198.51.100.1:0"), Server: behind}, "reset",
				func(v evidence.RuleVerdict) bool { return v.Out == "dmz0" && v.Rule.Hook == "output" }},
			{"legacy out by NAT", "iptables-legacy: -t nat -A OUTPUT -p tcp --dport 80 -j DNAT --to-destination 192.0.2.1:443\niptables-legacy: -A OUTPUT -o srv0 -p tcp --dport 443 -j DROP",
				firewall.Query{Kind: firewall.SYNOut, Server: behind}, "drop",
				func(v evidence.RuleVerdict) bool { return v.NAT == netip.AddrPortFrom(client4, 443) }},
			{"ingress below a bridge", "table netdev t { chain i { type filter hook ingress device srv0 priority 0; tcp dport 80 drop; }; }",
				firewall.Query{Client: client, Server: netip.MustParseAddrPort("198.51.100.1:80"), In: "dmz0"}, "depends",
				func(v evidence.RuleVerdict) bool { return v.Depends[0] == "the interface below dmz0" }},
			{"order of two chains", "table inet a { chain i { type filter hook input priority 0; tcp dport 80 drop; }; }\ntable inet b { chain i { type filter hook input priority 0; tcp dport 80 reject; }; }",
				firewall.Query{Client: client, Server: netip.AddrPortFrom(server4, 80), In: "srv0"}, "depends",
				func(v evidence.RuleVerdict) bool { return strings.Contains(v.Depends[0], "comes first") }},
		} {
			t.Run(tt.name, func(t *testing.T) {
				p.clear(t)
				p.load(t, tt.rules)
				v := p.read(t, tt.q).Verdicts[0]
				if v.Verdict != tt.want || !tt.check(v) {
					t.Errorf("got %+v %s, want %s", v, show(v), tt.want)
				}
			})
		}
	})
}

// A connection that the host makes itself, to another host and to itself.
func TestOwnConnections(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		p := newPair(t)
		out := func(text string) rules {
			return rules("table inet t { chain o { type filter hook output priority 0; meta l4proto ipv6-icmp accept; " + text + " }; }")
		}
		for i, tt := range []struct {
			name  string
			rules rules
			to    netip.AddrPort
			want  string
		}{
			{"nothing", "", netip.AddrPortFrom(client4, 80), "accept"},
			{"drop", out("oifname \"srv0\" ct state new tcp dport 80 counter drop;"), netip.AddrPortFrom(client4, 80), "drop"},
			{"reset", out("tcp dport 80 reject with tcp reset;"), netip.AddrPortFrom(client6, 80), "reset"},
			{"reject", out("ip daddr 192.0.2.1 reject;"), netip.AddrPortFrom(client4, 80), "reject"},
			{"not over the loopback", out("oifname \"lo\" drop;"), netip.AddrPortFrom(client4, 80), "accept"},
			{"owner", out("meta skuid 0 drop;"), netip.AddrPortFrom(client4, 80), "depends"},
			{"redirected", "table ip n { chain o { type nat hook output priority -100; tcp dport 79 dnat to 192.0.2.1:80; }; }", netip.AddrPortFrom(client4, 79), "accept"},
			{"redirected and dropped", "table ip n { chain o { type nat hook output priority -100; tcp dport 79 dnat to 192.0.2.1:80; }; chain f { type filter hook output priority 0; tcp dport 80 counter drop; }; }", netip.AddrPortFrom(client4, 79), "drop"},
			{"to itself", "table inet t { chain i { type filter hook input priority 0; policy drop; iif lo ct state new,established counter accept; }; }", netip.AddrPortFrom(server4, 80), "accept"},
			{"to itself, dropped", "table inet t { chain i { type filter hook input priority 0; iifname \"lo\" tcp dport 80 counter drop; }; }", netip.AddrPortFrom(server6, 80), "drop"},
			{"to itself, raw", "table inet t { chain i { type filter hook prerouting priority raw; ct state invalid drop; }; }", netip.AddrPortFrom(server4, 80), "depends"},
			{"to itself, legacy", "iptables-legacy: -A INPUT -i lo -p tcp --dport 80 -j REJECT --reject-with tcp-reset", netip.AddrPortFrom(server4, 80), "reset"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				p.clear(t)
				p.load(t, tt.rules)
				from, in := server4, "srv0"
				if tt.to.Addr().Is6() {
					from = server6
				}
				itself := tt.to.Addr() == from
				q := firewall.Query{Kind: firewall.SYNOut, Client: netip.AddrPortFrom(from, uint16(30000+i)), Server: tt.to, In: in, Unmarked: true}
				list := []firewall.Query{q}
				if itself {
					q.Kind, q.In = firewall.SYNIn, "lo"
					list = append(list, q)
				}
				fw, got := p.read(t, list...), "accept"
				for _, v := range fw.Verdicts {
					if got == "accept" {
						got = v.Verdict
					}
				}
				if got != tt.want {
					t.Errorf("read %s, want %s: %s", got, tt.want, show(fw.Verdicts[0]))
				}
				if got == "depends" {
					return
				}
				if seen := fate(t, p.server, q.Client, q.Server, got == "drop"); seen != got {
					t.Errorf("read %s, but it was %s", got, seen)
				}
			})
		}
	})
}

// The command shown lets the port pass.
func TestAllow(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		p := newPair(t)
		for _, tt := range []struct {
			rules rules
			want  string
		}{
			{"table inet filter { chain input { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; }; }", "nft add rule inet filter input ip saddr 192.0.2.1 tcp dport 80 accept"},
			{"table inet filter { chain input { type filter hook input priority 0; tcp dport 80 reject; }; }", "nft insert rule inet filter input handle 2 ip saddr 192.0.2.1 tcp dport 80 accept"},
			{"iptables-legacy: -A INPUT -j ACCEPT -s 203.0.113.1\niptables-legacy: -A INPUT -p tcp -j DROP", "iptables-legacy -I INPUT 2 -p tcp -s 192.0.2.1 --dport 80 -j ACCEPT"},
			{"iptables-nft: -A INPUT -j ACCEPT -s 203.0.113.1\niptables-nft: -A INPUT -p tcp -j REJECT", "iptables-nft -I INPUT 2 -p tcp -s 192.0.2.1 --dport 80 -j ACCEPT"},
			{"iptables-nft: -P INPUT DROP", "iptables-nft -I INPUT 1 -p tcp -s 192.0.2.1 --dport 80 -j ACCEPT"},
			{"iptables-legacy: -t raw -A PREROUTING -p tcp -j DROP", "iptables-legacy -t raw -I PREROUTING 1 -p tcp -s 192.0.2.1 --dport 80 -j ACCEPT"},
		} {
			t.Run(tt.want, func(t *testing.T) {
				p.clear(t)
				p.load(t, tt.rules)
				syn, _, _ := p.compare(t, false, 80)
				if syn.Rule == nil || syn.Rule.Allow != tt.want {
					t.Fatalf("got %+v, want %q", syn.Rule, tt.want)
				}
				args := strings.Fields(syn.Rule.Allow)
				p.sh(t, "", nettest.NeedProgram(t, args[0]), args[1:]...)
				if syn, _, _ = p.compare(t, false, 80); syn.Verdict != "accept" {
					t.Errorf("after it: %s", show(syn))
				}
			})
		}
	})
}

// ufw's own rules, as ufw loads them.
func TestUFW(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.NeedProgram(t, "ufw")
		for _, file := range []string{"/etc/ufw/before.rules", "/etc/ufw/user.rules", "/etc/ufw/after.rules"} {
			if f, err := os.Open(file); err != nil {
				nettest.Unsupported(t, err.Error())
			} else {
				f.Close()
			}
		}
		p := newPair(t)
		p.loadUFW(t, "-A ufw-user-input -p tcp --dport 443 -j ACCEPT")
		syn, _, _ := p.compare(t, false, 80)
		if syn.Verdict != "drop" || syn.Rule == nil || syn.Rule.Manager != "ufw" || syn.Rule.Allow != "ufw allow proto tcp from 192.0.2.1 to any port 80" {
			t.Errorf("got %s %q %q", show(syn), syn.Rule.Manager, syn.Rule.Allow)
		}
		if syn, _, _ = p.compare(t, false, 443); syn.Verdict != "accept" || syn.Rule == nil || syn.Rule.Chain != "ufw-user-input" {
			t.Errorf("got %s", show(syn))
		}
		if fw := p.read(t); !slices.Contains(fw.Managers, "ufw") || !slices.Contains(fw.Systems, "iptables") {
			t.Errorf("systems %v, managers %v", fw.Systems, fw.Managers)
		}
		// Anybody's SYN: ufw asks for source addresses on the way, which must not
		// make it depend.
		v := p.read(t, firewall.Query{Server: netip.AddrPortFrom(server4, 80), In: "srv0"}).Verdicts[0]
		if v.Verdict != "drop" || v.Rule.Allow != "ufw allow 80/tcp" {
			t.Errorf("anybody's SYN: %s %+v", show(v), v.Rule)
		}
	})
}

// loadUFW loads what ufw's init script does: its rules, and chains of its own
// before them.
func (p *pair) loadUFW(t *testing.T, user ...string) {
	t.Helper()
	var chains, base strings.Builder
	for _, c := range []string{"before-logging", "before", "after", "after-logging", "reject", "track"} {
		for _, hook := range []string{"input", "output", "forward"} {
			chains.WriteString(":ufw-" + c + "-" + hook + " - [0:0]\n")
			base.WriteString("-A " + strings.ToUpper(hook) + " -j ufw-" + c + "-" + hook + "\n")
		}
	}
	for _, c := range []string{"logging-deny", "logging-allow", "skip-to-policy-input", "skip-to-policy-output", "skip-to-policy-forward"} {
		chains.WriteString(":ufw-" + c + " - [0:0]\n")
	}
	restore := nettest.NeedProgram(t, "iptables-legacy-restore")
	p.sh(t, "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n"+chains.String()+base.String()+"-A ufw-skip-to-policy-input -j DROP\nCOMMIT\n", restore)
	for _, file := range []string{"before", "after", "user"} {
		text, err := os.ReadFile("/etc/ufw/" + file + ".rules")
		must(t, err)
		s := string(text)
		if file == "user" {
			s = strings.Replace(s, "### RULES ###", strings.Join(user, "\n"), 1)
		}
		p.sh(t, s, restore, "-n")
	}
	p.sh(t, "*filter\n-A ufw-before-input -j ufw-user-input\n-A ufw-before-output -j ufw-user-output\nCOMMIT\n", restore, "-n")
}

// Who made a rule is told by the names that programs give.
func TestManagers(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		p := newPair(t)
		for _, tt := range []struct{ rules, manager, allow string }{
			{"table inet firewalld { chain filter_IN_public { reject with icmpx admin-prohibited; }; chain filter_INPUT { type filter hook input priority 10; ct state established accept; goto filter_IN_public; }; }", "firewalld", "firewall-cmd --zone=public --add-port=80/tcp"},
			// It would not change what comes before the zones.
			{"table inet firewalld { chain filter_PREROUTING { type filter hook prerouting priority 10; tcp dport 80 drop; }; }", "firewalld", ""},
			{"table inet f2b-table { chain f2b-chain { type filter hook input priority -1; ip saddr 192.0.2.1 tcp dport 80 reject; }; }", "fail2ban", "fail2ban-client unban 192.0.2.1"},
			{"table ip kube-proxy { chain filter-input { type filter hook input priority 0; drop; }; }", "kube-proxy", ""},
			{"table ip mine { chain DOCKER-USER { drop; }; chain i { type filter hook input priority 0; jump DOCKER-USER; }; }", "docker", ""},
			{"iptables-legacy: -N a;b\niptables-legacy: -A a;b -j DROP\niptables-legacy: -A INPUT -j a;b", "", ""},
		} {
			t.Run(tt.manager+" "+tt.allow, func(t *testing.T) {
				p.clear(t)
				p.load(t, rules(tt.rules))
				fw := p.read(t, firewall.Query{Client: netip.AddrPortFrom(client4, 9), Server: netip.AddrPortFrom(server4, 80), In: "srv0"})
				v := fw.Verdicts[0]
				if v.Rule == nil || v.Rule.Manager != tt.manager || v.Rule.Allow != tt.allow {
					t.Errorf("got %+v of %v, want %q, %q", v.Rule, fw.Managers, tt.manager, tt.allow)
				}
				if tt.manager != "" && !slices.Equal(fw.Managers, []string{tt.manager}) {
					t.Errorf("managers %v, want %s", fw.Managers, tt.manager)
				}
			})
		}
	})
}

// Names and comments in the rules are hostile.
func TestHostileNames(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		p := newPair(t)
		p.load(t, "table inet t { chain i { type filter hook input priority 0; tcp dport 80 counter drop comment \"\x1b[2J\x1b]0;x\x07ok\u202e\"; }; }")
		v := p.read(t, firewall.Query{Server: netip.AddrPortFrom(server4, 80), In: "srv0"}).Verdicts[0]
		for _, s := range []string{v.Rule.Text, v.Rule.Comment} {
			if strings.ContainsAny(s, "\x1b\x07\u202e") || !strings.Contains(s, `\x1b[2J`) {
				t.Errorf("got %q", s)
			}
		}
	})
}

// Without privilege there is no verdict, and the reason says what is missing.
func TestNotPermitted(t *testing.T) {
	nettest.Powerless(t, func() error {
		fw, missing, err := firewall.Read(t.Context(), collect.Env{Clock: collect.NewClock()},
			[]firewall.Query{{Server: netip.MustParseAddrPort("192.0.2.1:80")}})
		if len(fw.Verdicts) != 0 || len(missing) == 0 || missing[0].Reason != "needs CAP_NET_ADMIN" {
			t.Errorf("got %+v, %+v, %v", fw, missing, err)
		}
		return err
	})
}
