package test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// ownRule is what the JSON says about one packet and this host's rules.
type ownRule struct {
	Packet, Verdict string
	Rule            *struct {
		System, Table, Chain string
		Handle               uint64
		Number               int
		Allow                string
	}
	Depends []string
}

// ownRules are those of the first address, by packet.
func (r result) ownRules(t *testing.T) map[string]ownRule {
	t.Helper()
	var doc struct {
		Addresses []struct {
			Own []ownRule `json:"own_rules"`
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || len(doc.Addresses) == 0 {
		t.Fatalf("%v\n%s", err, r.stdout)
	}
	out := map[string]ownRule{}
	for _, o := range doc.Addresses[0].Own {
		out[o.Packet] = o
	}
	return out
}

// TestOwnRules gives the client rules of its own, as their own programs load them.
// Root hears which rule it is and what lets the port pass, which is then so. An
// ordinary user, who may not read them, hears no more than shows.
func TestOwnRules(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		program := nettest.Build(t, "../cmd/tcpwhy")
		const lead = "nft: add table inet own; add chain inet own c { type filter hook "
		for _, tt := range []struct {
			name  string
			rules string // lines of a program's name, a colon, and what it is told
			// cause is what root hears for certain, unless it depends.
			cause, packet, verdict, outcome string
			number                          int // of an iptables rule
			ordinary                        bool
		}{
			{"output", lead + "output priority 0; }; add rule inet own c tcp dport 1 drop; add rule inet own c tcp dport 8080 drop", "local-firewall-drop", "syn", "drop", "timeout", 0, true},
			{"policy", lead + "output priority 0; policy drop; }; add rule inet own c tcp dport 1 accept", "local-firewall-drop", "syn", "drop", "timeout", 0, true},
			{"postrouting", lead + "postrouting priority 0; }; add rule inet own c oifname eth0 tcp dport 8080 drop", "local-firewall-drop", "syn", "drop", "timeout", 0, false},
			{"answer", lead + "prerouting priority raw; }; add rule inet own c tcp sport 8080 drop", "local-firewall-drop", "syn-ack", "drop", "timeout", 0, true},
			{"input policy", lead + "input priority 0; policy drop; }; add rule inet own c ct state new accept", "local-firewall-drop", "syn-ack", "drop", "timeout", 0, false},
			{"reset", lead + "output priority 0; }; add rule inet own c tcp dport 8080 reject with tcp reset", "local-firewall-reject", "syn", "reset", "refused", 0, true},
			{"reject", lead + "output priority 0; }; add rule inet own c tcp dport 8080 reject", "local-firewall-reject", "syn", "reject", "refused", 0, false},
			{"legacy", "iptables-legacy: -A OUTPUT -p tcp --dport 1 -j DROP\niptables-legacy: -A OUTPUT -p tcp --dport 8080 -j DROP", "local-firewall-drop", "syn", "drop", "timeout", 2, true},
			{"legacy policy", "iptables-legacy: -P OUTPUT DROP", "local-firewall-drop", "syn", "drop", "timeout", 0, false},
			{"legacy reset", "iptables-legacy: -A OUTPUT -p tcp --dport 8080 -j REJECT --reject-with tcp-reset", "local-firewall-reject", "syn", "reset", "refused", 1, false},
			{"legacy answer", "iptables-legacy: -A INPUT -p tcp --sport 8080 -j DROP", "local-firewall-drop", "syn-ack", "drop", "timeout", 1, false},
			// On the way to this host itself they are those of the client, too.
			{"here", lead + "output priority 0; }; add rule inet own c tcp dport 8080 drop", "local-firewall-drop", "syn", "drop", "timeout", 0, false},
			{"here, reset", lead + "output priority 0; }; add rule inet own c oifname lo tcp dport 8080 reject with tcp reset", "local-firewall-reject", "syn", "reset", "refused", 0, true},
			// A rule by the socket's owner cannot be decided from outside: what shows
			// must do, and no rule is named.
			{"owner", lead + "output priority 0; }; add rule inet own c meta skuid 0 tcp dport 8080 reject with tcp reset", "local-firewall-reject", "syn", "depends", "refused", 0, false},
			{"not the owner", lead + "output priority 0; }; add rule inet own c meta skuid != 4242 tcp dport 8080 drop", "local-firewall-drop", "syn", "depends", "timeout", 0, false},
		} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				f := faults{program}
				scenario, target := "none", "10.77.3.2:8080"
				if strings.HasPrefix(tt.name, "here") {
					scenario, target = "none-local", "10.77.1.2:8080"
				}
				l := f.open(t, scenario)
				env := "XTABLES_LOCKFILE=" + filepath.Join(t.TempDir(), "lock")
				tell := func(name string, args ...string) {
					t.Helper()
					cmd := l.Command(lab.Client, false, nettest.NeedProgram(t, name), args...)
					cmd.Env = append(cmd.Env, env)
					if out, err := cmd.Output(); err != nil {
						t.Fatalf("%v: %v\n%s%s", cmd.Args, err, out, said(err))
					}
				}
				for line := range strings.SplitSeq(tt.rules, "\n") {
					name, args, _ := strings.Cut(line, ": ")
					if name == "nft" {
						tell(name, args)
					} else {
						tell(name, strings.Fields(args)...)
					}
				}
				r := f.run(t, l, false, "-o", "json", target)
				own := r.ownRules(t)[tt.packet]
				if own.Verdict != tt.verdict {
					t.Fatalf("the rules do %q with the %s\n%s", own.Verdict, tt.packet, r.stdout)
				}
				a := r.says(t, 1, tt.outcome, tt.cause)
				if tt.verdict == "depends" {
					if len(own.Depends) == 0 || strings.Contains(a.Verdict.Finding, "a rule of this host") {
						t.Errorf("it depends on %q: %s", own.Depends, a.Verdict.Finding)
					}
					return
				}
				if a.Verdict.Certainty != "certain" || own.Rule == nil || own.Rule.Number != tt.number {
					t.Fatalf("%s %s, rule %+v: %s", a.Verdict.Certainty, a.Verdict.Cause, own.Rule, a.Verdict.Finding)
				}
				for _, word := range []string{"a rule of this host", own.Rule.Table, own.Rule.Chain} {
					if !strings.Contains(a.Verdict.Finding, word) {
						t.Errorf("%q is not in %q", word, a.Verdict.Finding)
					}
				}
				if h := own.Rule.Handle; h != 0 && !strings.Contains(a.Verdict.Finding, fmt.Sprintf("handle %d:", h)) {
					t.Errorf("handle %d is not in %q", h, a.Verdict.Finding)
				}
				if tt.ordinary {
					a := f.run(t, l, true, "-o", "json", target).says(t, 1, tt.outcome, tt.cause)
					if a.Verdict.Certainty != "narrowed" {
						t.Errorf("an ordinary user hears %s %s: %s", a.Verdict.Certainty, a.Verdict.Cause, a.Verdict.Finding)
					}
				}
				args := strings.Fields(own.Rule.Allow)
				if len(args) == 0 {
					t.Fatalf("no command lets it pass: %+v", own.Rule)
				}
				tell(args[0], args[1:]...)
				if a := f.run(t, l, false, "-o", "json", target); a.code != 0 {
					t.Errorf("after %q: exit code %d: %s", own.Rule.Allow, a.code, a.json(t).Verdict.Finding)
				}
			})
		}
	})
}
