package test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// must runs a command on the server as root.
func (s *site) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := s.Command(lab.Server, false, name, args...)
	// Not the machine's own: an ordinary user may not write there.
	cmd.Env = append(cmd.Env, "XTABLES_LOCKFILE="+filepath.Join(s.dir, "xtables.lock"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, out, said(err))
	}
	return string(out)
}

// nft adds a chain of a hook and a rule to it, and returns the rule's handle.
func (s *site) nft(t *testing.T, chain, hook, rule string) uint64 {
	t.Helper()
	nft := nettest.NeedProgram(t, "nft")
	s.must(t, nft, "add table inet site; add chain inet site "+chain+" { type filter hook "+hook+"; }; add rule inet site "+chain+" ip saddr 10.77.1.77 counter accept")
	return handleOf(t, s.must(t, nft, "-e", "-a", "add rule inet site "+chain+" "+rule), rule[:8])
}

// handleOf finds the handle of the one rule that has a text, in what nft -a prints.
func handleOf(t *testing.T, listed, text string) uint64 {
	t.Helper()
	found := regexp.MustCompile(`(?m)^.*`+regexp.QuoteMeta(text)+`.* # handle (\d+)$`).FindAllStringSubmatch(listed, -1)
	if len(found) != 1 {
		t.Fatalf("%d rules with %q in\n%s", len(found), text, listed)
	}
	handle, err := strconv.ParseUint(found[0][1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return handle
}

// blames says that of a packet of the handshake the host names the deciding rule,
// and returns it.
func (a *told) blames(t *testing.T, packet string) *evidence.Rule {
	t.Helper()
	if a.Host.Firewall != nil {
		i := slices.IndexFunc(a.Host.Firewall.Verdicts, func(r evidence.RuleVerdict) bool {
			return r.Packet == packet && r.Verdict == "drop" && r.Rule != nil
		})
		if i >= 0 {
			return a.Host.Firewall.Verdicts[i].Rule
		}
	}
	t.Fatalf("no rule drops the %s: %+v", packet, a.Host.Firewall)
	return nil
}

// The exact rule of nftables, wherever on the way of the handshake it stands.
func hostHandles(t *testing.T, program string) {
	for _, c := range []struct{ hook, rule, packet, scenario string }{
		{"input priority 0", "tcp dport 8080 counter drop", "syn", "none-own-link"},
		{"prerouting priority -300", "tcp dport 8080 drop", "syn", "none-own-link"},
		{"output priority 0", "tcp sport 8080 drop", "syn-ack", "none-own-link"},
		{"forward priority 0", "tcp dport 8080 drop", "syn", "none-container"},
	} {
		hook, _, _ := strings.Cut(c.hook, " ")
		t.Run(hook, func(t *testing.T) {
			t.Parallel()
			scenario, ok := lab.Find(c.scenario)
			if !ok {
				t.Fatalf("no scenario %s", c.scenario)
			}
			s := &site{open(t, scenario, lab.V4), publicDir(t)}
			client, dst := s.Addr(lab.Client).String(), s.Dst()
			if a := s.tells(t, lab.Server, program, 0, dst.String(), "--from", client); a.Outcome != "open" {
				t.Errorf("without the rule it is %s: %s", a.Outcome, a.Verdict.Finding)
			}
			handle := s.nft(t, "stops-"+hook, c.hook, c.rule)
			a := s.tells(t, lab.Server, program, 1, dst.String(), "--from", client)
			finding := fmt.Sprintf("inet site stops-%s handle %d: %s", hook, handle, c.rule[:len("tcp dport 8080")])
			if hook == "forward" {
				// Behind it is a backend that the host knows nothing of.
				if a.Outcome != "timeout" || a.Verdict.Cause != "host-firewall-drop" {
					t.Errorf("it is %s, %s of %v", a.Outcome, a.Verdict.Certainty, a.Verdict.Candidates)
				}
				contains(t, a.Verdict.Finding, finding)
			} else {
				a.claims(t, "timeout", "host-firewall-drop", finding)
			}
			r := a.blames(t, c.packet)
			if r.System != "nftables" || r.Family != "inet" || r.Table != "site" || r.Chain != "stops-"+hook || r.Handle != handle || r.Hook != hook {
				t.Errorf("the rule is %+v, want handle %d", r, handle)
			}
			// nft itself takes the handle for that rule.
			s.must(t, nettest.NeedProgram(t, "nft"), fmt.Sprintf("delete rule inet site %s handle %d", r.Chain, r.Handle))
			if a := s.tells(t, lab.Server, program, 0, dst.String(), "--from", client); a.Outcome != "open" {
				t.Errorf("without the rule again it is %s: %s", a.Outcome, a.Verdict.Finding)
			}
		})
	}
}

// Legacy iptables, which has numbers and no handles.
func hostLegacy(t *testing.T, program string) {
	iptables := nettest.NeedProgram(t, "iptables-legacy")
	s := newSite(t)
	s.must(t, iptables, "-N", "site")
	s.must(t, iptables, "-A", "INPUT", "-s", "10.77.1.77", "-j", "ACCEPT")
	s.must(t, iptables, "-A", "INPUT", "-p", "tcp", "-j", "site")
	s.must(t, iptables, "-A", "site", "-p", "tcp", "--dport", "1", "-j", "ACCEPT")
	s.must(t, iptables, "-A", "site", "-p", "tcp", "--dport", "1:2", "-j", "ACCEPT")
	s.must(t, iptables, "-A", "site", "-p", "tcp", "--dport", "8080", "-j", "DROP")
	a := s.tells(t, lab.Server, program, 1, siteAddr+":8080", "--from", visitor)
	a.claims(t, "timeout", "host-firewall-drop", "iptables table filter, chain site, rule 3")
	if r := a.blames(t, "syn"); r.System != "iptables" || r.Table != "filter" || r.Chain != "site" || r.Number != 3 || r.Hook != "input" {
		t.Errorf("the rule is %+v, want rule 3 of chain site", r)
	}
	s.must(t, iptables, "-F", "site")
	s.must(t, iptables, "-P", "INPUT", "DROP")
	a = s.tells(t, lab.Server, program, 1, siteAddr+":8080", "--from", visitor)
	a.claims(t, "timeout", "host-firewall-drop", "policy", "INPUT")
}

// ufw with a rule of its user.
func hostUFW(t *testing.T, program string) {
	if inUserNS() {
		nettest.Unsupported(t, "root of the machine, which ufw wants")
	}
	ufw, nft := nettest.NeedProgram(t, "ufw"), nettest.NeedProgram(t, "nft")
	s := newSite(t)
	// ufw keeps its settings and rules in files of the machine. It gets copies, and
	// sees all else read-only.
	script := s.write(t, "ufw.sh", `
mount -t tmpfs none /run
cp -a /etc/ufw /run/rules
cp -a /lib/ufw /run/scripts
cp -a /etc/default/ufw /run/settings
mount --bind /run/rules /etc/ufw
mount --bind /run/scripts /lib/ufw
mount --bind /run/settings /etc/default/ufw
mount -o remount,bind,ro /
export TMPDIR=/run
`+ufw+` default allow incoming
`+ufw+` deny 8080/tcp
`+ufw+` --force enable
`)
	cmd := s.Command(lab.Server, false, "/bin/sh", "-ex", script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ufw: %v\n%s", err, out)
	}
	a := s.tells(t, lab.Server, program, 1, siteAddr+":8080", "--from", visitor)
	a.claims(t, "timeout", "host-firewall-drop", "ufw-user-input")
	r := a.blames(t, "syn")
	if r.Chain != "ufw-user-input" || r.Manager != "ufw" || !strings.HasPrefix(r.Allow, "ufw ") || !slices.Contains(a.Host.Firewall.Managers, "ufw") {
		t.Errorf("the rule is %+v of %v", r, a.Host.Firewall.Managers)
	}
	switch r.System {
	case "nftables": // by iptables-nft, as on Debian
		if want := handleOf(t, s.must(t, nft, "-a", "list", "chain", r.Family, r.Table, r.Chain), "8080"); r.Handle != want {
			t.Errorf("handle %d, want %d", r.Handle, want)
		}
	case "iptables":
		if r.Number != 1 {
			t.Errorf("rule %d, want 1", r.Number)
		}
	}
	if a := s.tells(t, lab.Server, program, 0, siteAddr+":22", "--from", visitor); a.Outcome != "open" {
		t.Errorf("port 22 is %s: %s", a.Outcome, a.Verdict.Finding)
	}
}

// An ordinary user gets what everybody may see, and is told what is missing.
func hostOrdinary(t *testing.T, program string) {
	s := newSite(t)
	s.nft(t, "stops", "input priority 0", "tcp dport 8081 drop")
	serveAt(t, s.Lab, lab.Server, netip.MustParseAddrPort(siteAddr+":8081"), func(net.Conn) {})
	for _, c := range []struct {
		name  string
		args  []string
		codes []int
	}{
		{"served", []string{":8080"}, []int{0, 1, 3}},
		{"dropped", []string{":8081", "--from", visitor}, []int{0, 1, 3}},
		{"nobody listens", []string{":8099", "--from", visitor}, []int{1}},
		{"watched", []string{":8080", "--during", "300ms"}, []int{0, 1, 3}},
		{"traced", []string{":8080", "--during", "300ms", "--trace"}, []int{0, 1, 3}},
		{"a service", []string{":8080", "--service", "nginx", "--log", "/none/such.log"}, []int{0, 1, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := finish(t, s.Command(lab.Server, true, program, append([]string{"host", "-o", "json"}, c.args...)...))
			if !slices.Contains(c.codes, r.code) || r.stderr != "" {
				t.Fatalf("exit code %d, want one of %v: %s", r.code, c.codes, r.stderr)
			}
			a, err := decodeHost(lastLine([]byte(r.stdout)))
			if err != nil {
				t.Fatal(err)
			}
			if a.Host.Sockets == nil || a.Host.Sockets.Total == 0 {
				t.Error("it does not see who listens, which everybody may")
			}
			if !slices.ContainsFunc(a.NotChecked, func(n struct{ Check, Reason, How string }) bool {
				return strings.Contains(n.Check, "nftables rules") && strings.Contains(n.Reason, "CAP_NET_ADMIN") && n.How != ""
			}) {
				t.Errorf("that the rules were not read is not said: %v", a.NotChecked)
			}
			if v := a.Verdict; v.Certainty == "certain" {
				t.Errorf("certain of %s, and the rules were not read: %s", v.Cause, v.Finding)
			}
			text := finish(t, s.Command(lab.Server, true, program, append([]string{"host"}, c.args...)...))
			if text.code != r.code || strings.Contains(text.stdout, "no rules") {
				t.Errorf("as text: exit code %d: %s%s", text.code, text.stdout, text.stderr)
			}
			if words := strings.Join(strings.Fields(text.stdout), " "); a.Outcome == "open" {
				for form, says := range map[string]string{"text": words, "JSON": a.Verdict.Finding} {
					if !strings.Contains(says, "would be served if the packet filter lets it pass (nftables rules") || !strings.Contains(says, "no BPF program stops it (") || !strings.Contains(says, "run as root") {
						t.Errorf("as %s it says more than it knows: %s", form, says)
					}
				}
				if !strings.Contains(words, ": "+a.Verdict.Finding+" ") {
					t.Errorf("text and JSON differ: %q\n%s", a.Verdict.Finding, text.stdout)
				}
			}
			clean(t, text.stdout)
			contains(t, text.stdout, "not checked", "sudo tcpwhy host")
		})
	}
	t.Run("list", func(t *testing.T) {
		t.Parallel()
		r := finish(t, s.Command(lab.Server, true, program, "host"))
		if r.code != 0 || r.stderr != "" {
			t.Errorf("exit code %d: %s", r.code, r.stderr)
		}
		contains(t, r.stdout, "10.77.1.3:8081", "not checked")
	})
	t.Run("watch", func(t *testing.T) {
		t.Parallel()
		r := finish(t, s.Command(lab.Server, true, program, "host", ":8080", "--watch"))
		if r.code != 2 || r.stdout != "" || strings.Contains(r.stderr, "mistake") {
			t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
		}
		contains(t, r.stderr, "CAP_BPF", "CAP_NET_RAW", "sudo")
	})
	if _, err := os.Stat("/none/such.log"); err == nil {
		t.Error("a log was made")
	}
}
