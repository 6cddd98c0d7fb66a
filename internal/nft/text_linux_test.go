package nft_test

import (
	"errors"
	"io/fs"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/nft"
)

// listed are rules that we print just as nft does.
var listed = map[string][]string{
	"inet filter input": {
		"accept", "drop", "continue", "return", "jump other", "goto other",
		"tcp dport 22 accept", "tcp dport != 22 drop", "tcp dport 1024-65535 accept", "tcp dport != 1-5 drop", "tcp dport > 1000 drop", "tcp dport <= 5 drop",
		"udp dport 53 accept", "tcp sport 53 tcp dport 80 drop", "tcp flags syn / fin,syn,rst,ack accept", "tcp flags syn drop", "tcp flags != syn / syn,ack drop",
		"tcp flags == syn drop", "tcp flags & (fin | syn) == 0 drop", "th dport 53 drop", "tcp window 5 drop",
		"ip saddr 192.0.2.1 drop", "ip saddr 192.0.2.0/24 drop", "ip saddr 10.0.0.0/9 drop", "ip saddr != 192.0.2.0/25 accept", "ip daddr 192.0.2.1 ip saddr 192.0.2.2 drop",
		"ip saddr 192.0.2.1-192.0.2.9 drop", "ip protocol tcp drop", "ip ttl 1 drop", "ip dscp cs1 accept", "ip length 60 drop",
		"ip6 saddr 2001:db8::1 drop", "ip6 saddr 2001:db8::/32 drop", "ip6 daddr 2001:db8::/33 drop", "ip6 nexthdr tcp drop", "ip6 hoplimit 255 drop",
		"icmp type echo-request accept", "icmpv6 type nd-neighbor-solicit accept", "icmpv6 type { nd-neighbor-solicit, nd-router-advert } accept",
		"meta l4proto tcp drop", "meta nfproto ipv6 drop", "meta l4proto { tcp, udp } th dport 53 accept", "meta mark 0x00000001 drop", "meta mark & 0x000000ff == 0x00000001 drop",
		"meta mark set 0x00000005", "meta mark set meta mark & 0x000000f0", "meta mark set ct mark", "ct mark set meta mark", "meta skuid 1000 drop", "meta pkttype broadcast drop", "meta cpu 1 drop",
		"iifname \"eth0\" accept", "iifname != \"eth0\" accept", "iifname \"eth*\" accept", "iif \"lo\" accept", "oifname { \"a\", \"b\" } accept", "iifname . oifname { \"a\" . \"b\" } accept",
		"ct state new drop", "ct state established,related accept", "ct state invalid,untracked drop", "ct direction reply drop", "ct status dnat accept", "ct mark 0x00000007 drop",
		"ct state vmap { invalid : drop, established : accept, related : accept }", "tcp dport vmap { 22 : accept, 80-90 : jump other, 443 : goto other }",
		"tcp dport { 22, 80, 443 } accept", "tcp dport != { 22, 80-90 } drop", "ip saddr { 192.0.2.0/24, 198.51.100.7 } drop", "ip6 saddr { 2001:db8::/32, 2001:db9::1 } drop",
		"ip saddr @four drop", "ip saddr != @four drop", "ip saddr . tcp dport @pairs drop", "ip saddr . tcp dport { 192.0.2.1 . 80, 192.0.2.0/28 . 443-445 } drop", "ip daddr . tcp dport vmap @verdicts",
		"tcp sport . tcp dport { 1 . 2 } drop", "add @dyn { ip saddr }", "update @dyn { ip saddr timeout 1m }", "add @dyn { ip saddr limit rate 3/second } drop", "delete @dyn { ip saddr }",
		"limit rate 10/second accept", "limit rate over 3/minute burst 10 packets drop", "limit rate 1 mbytes/second accept", "quota over 25 mbytes drop", "ct count over 10 drop",
		"counter packets 0 bytes 0", "log", "log prefix \"a b\"", "log prefix \"x\" level info", "log flags all", "log group 2", "log prefix \"x\" group 3 snaplen 40",
		"reject", "reject with icmpx admin-prohibited", "reject with icmpx no-route", "meta nfproto ipv4 reject with icmp host-prohibited", "meta l4proto tcp reject with tcp reset", "tcp dport 5 reject with tcp reset",
		"fib daddr type local accept", "fib saddr type != unicast drop", "fib saddr . iif oif missing drop", "fib saddr oif exists accept",
		"numgen inc mod 2 0 drop", "numgen random mod 100 < 20 drop", "jhash tcp sport mod 3 seed 0x1 1 drop", "symhash mod 2 0 drop",
		"tcp dport 80 ct state untracked synproxy mss 1460 wscale 7 timestamp sack-perm", "tcp option maxseg size set 1220", "tcp option sack-perm exists drop", "exthdr frag exists drop", "rt type 0 drop",
		"socket transparent 1 accept", "quota name \"q\" drop", "counter name \"c\"", "limit name \"l\" drop", "notrack", "ip daddr set 192.0.2.7", "tcp dport set 80",
		"ipsec in reqid 1 drop", "tcp dport 22 accept comment \"ssh for all\"", "tcp dport 22 counter packets 0 bytes 0 accept comment \"x\"",
	},
	"ip nat prerouting": {
		"dnat to 192.0.2.1", "tcp dport 80 dnat to 192.0.2.1:8080", "tcp dport 80 dnat to 192.0.2.1-192.0.2.9:1-5 random,persistent", "tcp dport 80 redirect to :8080", "tcp dport 80 redirect", "udp dport 80 redirect to :1-5 random",
		"dnat to ip saddr map { 192.0.2.1 : 192.0.2.2 }", "dnat to tcp dport map { 80 : 192.0.2.1, 443 : 192.0.2.2 }", "dnat to numgen inc mod 2 map { 0 : 192.0.2.1, 1 : 192.0.2.2 }", "dnat ip to tcp dport map { 80 : 192.0.2.1 . 81 }", "return",
	},
	"inet nat prerouting": {
		"tcp dport 80 dnat ip to 192.0.2.1:8080", "tcp dport 80 dnat ip6 to [2001:db8::1]:8080", "dnat ip6 to 2001:db8::1", "tcp dport 80 redirect to :81",
	},
	"ip nat postrouting":   {"oifname \"eth0\" masquerade", "masquerade random,persistent", "tcp dport 1 masquerade to :5", "snat to 192.0.2.1", "snat to 192.0.2.1-192.0.2.5"},
	"ip6 filter input":     {"reject", "reject with icmpv6 admin-prohibited", "ip6 saddr 2001:db8::1 tcp dport 80 drop"},
	"ip filter input":      {"reject", "reject with icmp host-unreachable", "tcp dport 80 drop", "ip saddr 192.0.2.1 udp sport 5 drop"},
	"ip filter prerouting": {"notrack", "tcp dport 80 tproxy to :81"},
}

// differently are rules that nft lists in another way than we do, with ours.
var differently = map[string]string{
	// nft sorts concatenations with ranges by the size of the ranges, too.
	"ip saddr . tcp dport { 192.0.2.1 . 80, 192.0.2.0/28 . 443-445 } drop": "ip saddr . tcp dport { 192.0.2.0/28 . 443-445, 192.0.2.1 . 80 } drop",
	// What is not known is there, and said to be unknown.
	"ipsec in reqid 1 drop": `unknown expression "xfrm" 16777216 drop`,
}

// Rules print as nft prints them.
func TestText(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		program := nettest.NeedProgram(t, "nft")
		for where, rules := range listed {
			t.Run(where, func(t *testing.T) {
				f := strings.Fields(where)
				for _, rule := range rules {
					ns := newNS(t)
					script := "table " + f[0] + " t {\nset four { type ipv4_addr; flags interval; }\nset pairs { type ipv4_addr . inet_service; }\n" +
						"set dyn { type ipv4_addr; flags dynamic,timeout; }\nmap verdicts { type ipv4_addr . inet_service : verdict; }\n" +
						"quota q { over 1 mbytes }\ncounter c { }\nlimit l { rate 1/second }\nchain other { }\n" +
						"chain c { type " + f[1] + " hook " + f[2] + " priority 0;\n" + rule + "\n}\n}\n"
					if _, err := run(ns, program, script, "-f", "-"); err != nil {
						t.Errorf("%s: %v", rule, err)
						ns.Close()
						continue
					}
					out, err := run(ns, program, "", "-a", "list", "chain", f[0], "t", "c")
					if err != nil {
						t.Fatal(err)
					}
					want, handle := line(out)
					got := texts(t, ns)
					if len(got) != 1 || got[0].text != want && differently[want] != got[0].text || got[0].handle != handle {
						t.Errorf("rule %s\ngot  %v\nwant %s, handle %s", rule, got, want, handle)
					}
					ns.Close()
				}
			})
		}
	})
}

func newNS(t *testing.T) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// line is the only rule in a listing of a chain, and its handle.
func line(out string) (rule, handle string) {
	m := regexp.MustCompile(`(?m)^\t\t(.*) # handle (\d+)$`).FindStringSubmatch(out)
	if m == nil {
		return out, ""
	}
	return m[1], m[2]
}

type textOf struct{ text, handle string }

// texts are the rules of chain c.
func texts(t *testing.T, ns *netns.NS) []textOf {
	t.Helper()
	rules, err := nft.Read(t.Context(), ns.Fd())
	if err != nil {
		t.Fatal(err)
	}
	var out []textOf
	for _, tab := range rules.Tables {
		if c := tab.Chain("c"); c != nil {
			for _, r := range c.Rules {
				out = append(out, textOf{tab.Text(r), strconv.FormatUint(r.Handle, 10)})
			}
		}
	}
	return out
}

func run(ns *netns.NS, program, input string, args ...string) (string, error) {
	var out strings.Builder
	cmd := exec.Command(program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &out
	err := ns.Start(cmd, nil)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = errors.Join(err, errors.New(out.String()))
	}
	return out.String(), err
}

// An ordinary user is told that it is not permitted.
func TestReadNotPermitted(t *testing.T) {
	nettest.Powerless(t, func() error {
		if _, err := nft.Read(t.Context(), 0); !errors.Is(err, fs.ErrPermission) && !errors.Is(err, nft.ErrUnsupported) {
			t.Errorf("got %v, want a permission error", err)
		}
		return nil
	})
}
