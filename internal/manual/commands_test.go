package manual

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// known lists the programs that a Linux command of a page may begin with.
var known = strings.Fields(`
	arping bpftool bridge cat certbot conntrack curl df dig docker echo env ethtool firewall-cmd getent grep ip iptables
	journalctl kill ln ls lsns lsof mtr nc networkctl nft nsenter nstat openssl ping prlimit ps resolvectl rndc semanage
	setcap setsebool ss ssh sudoedit sysctl systemctl tail tc tcpdump tcpwhy timedatectl traceroute tracepath ufw
	unbound-control update-ca-certificates vtysh`)

// everyCommand calls f with each command of the manual as it stands in a page,
// placeholders unfilled.
func everyCommand(t testing.TB, f func(page, os, command string)) {
	for _, c := range allPages(t) {
		for _, it := range c.all() {
			for _, command := range []string{it.Command, it.UndoCommand} {
				if command != "" {
					f(c.ID, it.OS, command)
				}
			}
		}
	}
	for _, s := range allTopics(t) {
		for _, b := range s.Blocks {
			if b.Kind != Code || b.OS == "" {
				continue
			}
			for line := range strings.SplitSeq(b.Text, "\n") {
				f(s.ID, b.OS, line)
			}
		}
	}
}

// commands returns every Linux command of the manual, filled, once.
func commands(t testing.TB, v Vars) []string {
	all := make(map[string]bool)
	everyCommand(t, func(_, os, command string) {
		if os == "linux" || os == "any" {
			all[Item{Command: command}.Fill(v).Command] = true
		}
	})
	return slices.Sorted(maps.Keys(all))
}

// all returns the items of every section.
func (c *Cause) all() []Item { return slices.Concat(c.Confirm, c.Fix, c.Verify, c.Prevent) }

func program(command string) string {
	p, _, _ := strings.Cut(strings.TrimPrefix(command, "sudo "), " ")
	return p
}

func TestCommandsBeginWithAKnownProgram(t *testing.T) {
	used := make(map[string]bool)
	for _, c := range commands(t, sample) {
		p := program(c)
		if used[p] = true; !slices.Contains(known, p) {
			t.Errorf("%q is no known program: %s", p, c)
		}
	}
	for _, p := range known {
		if !used[p] {
			t.Errorf("no page uses %s", p)
		}
	}
}
