package diagnose

import (
	"net/netip"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// A host that finds nothing in the way says what it did not look at in the very
// sentence.
func TestServedSaysWhatIsOpen(t *testing.T) {
	const rest = "found on db1 that keeps it from 192.0.2.7:5432"
	root := evidence.NotChecked{Check: "nftables rules", Reason: "needs CAP_NET_ADMIN", How: "run as root"}
	for _, c := range []struct {
		name   string
		change func(*evidence.Host)
		want   string
	}{
		{"all known", func(*evidence.Host) {}, "198.51.100.2 would be served: nothing " + rest},
		{"any client", func(h *evidence.Host) {
			h.Client, h.Firewall.Verdicts[0].Tuple.Local, h.Firewall.Verdicts[1].Tuple.Remote = netip.Addr{}, netip.AddrPort{}, netip.AddrPort{}
		}, "a client would be served: nothing " + rest},
		{"rules not readable", func(h *evidence.Host) {
			h.Firewall = &evidence.Firewall{Unread: []evidence.NotChecked{root, {Check: "iptables rules", Reason: root.Reason, How: root.How}}}
		}, "198.51.100.2 would be served if the packet filter lets it pass (nftables rules, iptables rules not read: run as root): nothing else " + rest},
		{"one of two systems not readable", func(h *evidence.Host) {
			h.Firewall.Unread = []evidence.NotChecked{{Check: "ip6tables rules", Reason: "broken"}}
		}, "198.51.100.2 would be served if the packet filter lets it pass (ip6tables rules not read): nothing else " + rest},
		{"no rules at all", func(h *evidence.Host) { h.Firewall = nil }, "198.51.100.2 would be served if the packet filter lets it pass (its rules were not read): nothing else " + rest},
		{"rules depend", func(h *evidence.Host) {
			h.Firewall.Verdicts[0].Verdict, h.Firewall.Verdicts[0].Depends = "depends", []string{"a rate (inet filter input handle 4)", "something else"}
		}, "198.51.100.2 would be served if the packet filter lets it pass (it depends on a rate (inet filter input handle 4)): nothing else " + rest},
		{"programs not looked at", func(h *evidence.Host) {
			h.ProgramsRead = false
			h.NotChecked = []evidence.NotChecked{{Check: "BPF programs of tcx", Reason: "permission denied", How: "run it as root of the machine", Keys: []evidence.Key{evidence.HostPrograms}}}
		}, "198.51.100.2 would be served if no BPF program stops it (not all looked at: run it as root of the machine): nothing else " + rest},
		{"both, and no route back looked up", func(h *evidence.Host) {
			h.ProgramsRead, h.Firewall, h.Returns = false, nil, nil
			h.NotChecked = []evidence.NotChecked{{Check: "route back", Reason: "broken", Keys: []evidence.Key{evidence.HostBack, evidence.HostRPFilter}}}
		}, "198.51.100.2 would be served if the packet filter lets it pass (its rules were not read), no BPF program stops it (not all looked at), " +
			"a route leads back to it (not looked up) and the reverse path filter lets it pass (not looked up): nothing else " + rest},
		{"socket of an interface", func(h *evidence.Host) { h.Sockets.Listeners[0].Device = "eth1" },
			"198.51.100.2 would be served if it comes in by eth1 (the socket is bound to that): nothing else " + rest},
	} {
		h := quietHost()
		c.change(h)
		d := Hosted(h, serverAddr)
		if d.Verdict.Finding != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, d.Verdict.Finding, c.want)
		}
		if a := d.Addresses[0]; a.Verdict.Finding != c.want || a.Outcome != verdict.Open || a.Verdict.Certainty == verdict.Certain {
			t.Errorf("%s: %s, %s, at the address %q", c.name, a.Outcome, a.Verdict.Certainty, a.Verdict.Finding)
		}
	}
}
