package xtables_test

import (
	"errors"
	"io/fs"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/xtables"
)

// rules4 and rules6 are rules as iptables -S prints them.
var rules4 = []string{
	"-A INPUT -s 192.0.2.0/24 -d 198.51.100.1/32 ! -i eth0 -p tcp -m tcp --sport 1024:65535 --dport 22 -j ACCEPT",
	"-A INPUT ! -s 192.0.2.1/32 -i veth+ -j DROP",
	"-A INPUT -s 10.0.0.1/255.0.0.255 -j DROP",
	"-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j REJECT --reject-with tcp-reset",
	"-A INPUT -p tcp -m tcp ! --dport 80 ! --tcp-flags SYN,ACK NONE -j REJECT --reject-with icmp-port-unreachable",
	"-A INPUT -p tcp -m multiport --dports 80,443,8000:8100 -j ACCEPT",
	"-A INPUT -p tcp -m multiport ! --sports 1,2 -m multiport --ports 5 -j ACCEPT",
	"-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
	"-A INPUT -m conntrack ! --ctstate NEW,UNTRACKED,DNAT -j ACCEPT",
	"-A INPUT -m conntrack --ctstate NEW --ctorigdst 192.0.2.0/24 --ctorigdstport 80 --ctdir ORIGINAL -j ACCEPT",
	"-A INPUT -m state --state INVALID -j DROP",
	"-A INPUT -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix \"[UFW BLOCK] \"",
	"-A INPUT -m limit --limit 7/sec -j LOG --log-level 7 --log-tcp-options",
	"-A INPUT -m addrtype --dst-type LOCAL -m addrtype ! --src-type BROADCAST,MULTICAST -j ACCEPT",
	"-A INPUT -m comment --comment \"it's a \\\"test\\\"\" -j ACCEPT",
	"-A INPUT -m comment --comment plain -j ACCEPT",
	"-A INPUT -m mark --mark 0x1/0xff -m connmark ! --mark 0x2 -j ACCEPT",
	"-A INPUT -m iprange --src-range 192.0.2.1-192.0.2.9 ! --dst-range 192.0.2.1-192.0.2.2 -j RETURN",
	"-A INPUT ! -p udp -f -j other",
	"-A INPUT -g other",
	"-A INPUT",
	"-A other -j RETURN",
	"-A other -j NFLOG",
	"-A other -j NFLOG --nflog-prefix \"a b\" --nflog-group 3",
	"-A other -p tcp -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff",
}

var nat4 = []string{
	"-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.0.2.1:8080",
	"-A PREROUTING -p tcp -j DNAT --to-destination 192.0.2.1-192.0.2.4:1-2 --random --persistent",
	"-A PREROUTING -p tcp -j DNAT --to-destination 192.0.2.1",
	"-A PREROUTING -p tcp -j REDIRECT --to-ports 81",
	"-A PREROUTING -p tcp -j REDIRECT",
	"-A POSTROUTING -o eth0 -j MASQUERADE",
	"-A POSTROUTING -o eth0 -j SNAT --to-source 192.0.2.1",
}

var rules6 = []string{
	"-A INPUT -s 2001:db8::/32 -p tcp -m tcp --dport 22 -j REJECT --reject-with icmp6-adm-prohibited",
	"-A INPUT -d 2001:db8::1/128 ! -i eth0 -p tcp -j REJECT --reject-with tcp-reset",
	"-A INPUT -p ipv6-icmp -j ACCEPT",
	"-A INPUT -m conntrack --ctstate NEW -j ACCEPT",
}

var nat6 = []string{
	"-A PREROUTING -p tcp -j DNAT --to-destination [2001:db8::1]:8080",
	"-A PREROUTING -p tcp -j REDIRECT --to-ports 81",
}

// Rules that iptables made are read back, and print as iptables prints them.
func TestRead(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		for _, tt := range []struct {
			family xtables.Family
			table  string
			chains []string
			rules  []string
		}{
			{xtables.IPv4, "filter", []string{"other"}, rules4},
			{xtables.IPv4, "nat", nil, nat4},
			{xtables.IPv4, "raw", nil, []string{"-A PREROUTING -p tcp -j CT --notrack", "-A OUTPUT -p tcp -j NOTRACK"}},
			{xtables.IPv4, "mangle", nil, []string{"-A PREROUTING -j MARK --set-xmark 0x1/0xff"}},
			{xtables.IPv6, "filter", nil, rules6},
			{xtables.IPv6, "nat", nil, nat6},
		} {
			t.Run(string(tt.family)+" "+tt.table, func(t *testing.T) {
				ns := newNS(t)
				program := nettest.NeedProgram(t, string(tt.family)+"-legacy")
				for _, c := range tt.chains {
					ipt(t, ns, program, "-t", tt.table, "-N", c)
				}
				for _, r := range tt.rules {
					ipt(t, ns, program, append([]string{"-t", tt.table}, split(r)...)...)
				}
				want := ipt(t, ns, program, "-t", tt.table, "-S")
				if got := list(t, ns, tt.family, tt.table); got != want {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
			})
		}
	})
}

// Asking must not make tables: a table has hooks, and costs every packet.
func TestReadMakesNoTables(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		ns := newNS(t)
		for _, f := range []xtables.Family{xtables.IPv4, xtables.IPv6} {
			if tables := read(t, ns, f); len(tables) != 0 {
				t.Errorf("%s: %d tables in an empty namespace", f, len(tables))
			}
		}
		ipt(t, ns, nettest.NeedProgram(t, "iptables-legacy"), "-t", "raw", "-S")
		for range 2 {
			if tables := read(t, ns, xtables.IPv4); len(tables) != 1 || tables[0].Name != "raw" {
				t.Errorf("got %d tables, want raw only", len(tables))
			}
		}
	})
}

// Without privilege the error says so.
func TestReadNotPermitted(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		ns := newNS(t)
		ipt(t, ns, nettest.NeedProgram(t, "iptables-legacy"), "-A", "INPUT", "-j", "DROP")
		err := ns.Do(func() error { // on a thread that ends
			var none [2]unix.CapUserData
			if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
				return err
			}
			_, err := xtables.Read(t.Context(), xtables.IPv4)
			return err
		})
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("got %v, want a permission error", err)
		}
	})
}

// A comment with terminal escapes comes out harmless.
func TestHostileComment(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		ns := newNS(t)
		ipt(t, ns, nettest.NeedProgram(t, "iptables-legacy"), "-A", "INPUT", "-m", "comment", "--comment", "\x1b[2Jgone\u202e", "-j", "DROP")
		got := list(t, ns, xtables.IPv4, "filter")
		if strings.ContainsAny(got, "\x1b\u202e") || !strings.Contains(got, `\x1b[2Jgone\u202e`) {
			t.Errorf("got %q", got)
		}
	})
}

func newNS(t *testing.T) *netns.NS {
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

func read(t *testing.T, ns *netns.NS, f xtables.Family) []*xtables.Table {
	t.Helper()
	var tables []*xtables.Table
	if err := ns.Do(func() (err error) {
		tables, err = xtables.Read(t.Context(), f)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return tables
}

// list prints a table as iptables -S does: policies, chains, rules.
func list(t *testing.T, ns *netns.NS, f xtables.Family, table string) string {
	t.Helper()
	var out strings.Builder
	for _, tab := range read(t, ns, f) {
		if tab.Name != table {
			continue
		}
		for _, c := range tab.Chains {
			if c.Hook != "" {
				out.WriteString(c.PolicyText() + "\n")
			} else {
				out.WriteString("-N " + c.Name + "\n")
			}
		}
		for _, c := range tab.Chains {
			for _, r := range c.Rules {
				out.WriteString(r.Text(f, c.Name) + "\n")
			}
		}
	}
	return out.String()
}

func ipt(t *testing.T, ns *netns.NS, program string, args ...string) string {
	t.Helper()
	var out strings.Builder
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"XTABLES_LOCKFILE=" + t.TempDir() + "/lock"}
	cmd.Stdout, cmd.Stderr = &out, &out
	err := ns.Start(cmd, nil)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, &out)
	}
	return out.String()
}

// split splits a rule as a shell does, double quotes included.
func split(rule string) []string {
	var (
		args   []string
		word   strings.Builder
		quoted bool
	)
	for i := 0; i < len(rule); i++ {
		switch c := rule[i]; {
		case c == '\\':
			i++
			word.WriteByte(rule[i])
		case c == '"':
			quoted = !quoted
		case c == ' ' && !quoted:
			args = append(args, word.String())
			word.Reset()
		default:
			word.WriteByte(c)
		}
	}
	return append(args, word.String())
}
