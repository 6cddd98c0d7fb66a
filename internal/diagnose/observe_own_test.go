package diagnose

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

var (
	ownClient = netip.MustParseAddrPort("192.0.2.1:40000")
	ownServer = netip.MustParseAddrPort("198.51.100.7:5432")
)

// ownSet is an attempt of a host whose rules were read: what becomes of the SYN,
// and of its answer.
func ownSet(syn, answer string) *evidence.Set {
	rule := &evidence.Rule{System: "nftables", Family: "inet", Table: "filter", Chain: "output", Handle: 7, Text: "tcp dport 5432 drop",
		Allow: "nft insert rule inet filter output handle 7 tcp dport 5432 accept"}
	tuple := flow.Tuple{Local: ownClient, Remote: ownServer}
	own := &evidence.Own{ProgramsRead: true, Firewall: evidence.Firewall{Systems: []string{"nftables"}}}
	for _, v := range []evidence.RuleVerdict{{Packet: "syn", Tuple: tuple, Verdict: syn}, {Packet: "syn-ack", Tuple: flow.Tuple{Local: ownServer, Remote: ownClient}, Verdict: answer}} {
		if v.Verdict != "accept" && v.Verdict != "" {
			v.Rule = rule
		}
		own.Firewall.Verdicts = append(own.Firewall.Verdicts, v)
	}
	return &evidence.Set{
		Target: flow.Target{Addr: ownServer.Addr(), Host: ownServer.Addr().String(), Port: ownServer.Port()},
		Name:   &evidence.Name{Host: ownServer.Addr().String(), Addrs: []netip.Addr{ownServer.Addr()}, AddrsFrom: "literal"},
		Addresses: []evidence.Address{{
			Addr:     ownServer,
			Route:    &evidence.Route{Type: "unicast", Gateway: netip.MustParseAddr("192.0.2.9"), Source: ownClient.Addr(), Interface: "eth0", FamilyAddrs: []netip.Addr{ownClient.Addr()}},
			Attempts: []evidence.Attempt{{Tuple: tuple, Took: 3200 * time.Millisecond, Pending: true, Retransmits: 3}},
			Own:      own,
		}},
	}
}

func TestOwnRules(t *testing.T) {
	const (
		silent = iota
		refused
		icmpHere
		icmpRouter
		unexplained = "the answer is kept by no rule"
		hidden      = "only SYNs to another port were seen"
	)
	packet := func(iface, flags string, outgoing bool) evidence.Packet {
		p := evidence.Packet{Interface: iface, Kind: "tcp", Flags: flags, Outgoing: outgoing, Src: ownServer, Dst: ownClient, TTL: 62}
		if outgoing {
			p.Src, p.Dst = p.Dst, p.Src
		}
		return p
	}
	own := func(change func(*evidence.Own)) func(*evidence.Address) {
		return func(a *evidence.Address) { change(a.Own) }
	}
	seen := func(ps ...evidence.Packet) func(*evidence.Address) {
		return func(a *evidence.Address) {
			a.Packets, a.Capture = ps, &evidence.Capture{Received: len(ps)}
		}
	}
	for _, tt := range []struct {
		name        string
		fate        int
		syn, answer string
		change      func(*evidence.Address)
		certain     verdict.CauseID // "" where it must not be
		finding     string
		local       bool // whether own rules are among what is left
	}{
		{"dropped", silent, "drop", "accept", nil, "local-firewall-drop", "a rule of this host drops the SYN to port 5432 of 198.51.100.7: rule inet filter output handle 7: tcp dport 5432 drop", true},
		{"reset, and the RST is lost", silent, "reset", "accept", nil, "local-firewall-drop", "a rule of this host resets the SYN", true},
		{"reset", refused, "reset", "accept", nil, "local-firewall-reject", "a rule of this host resets the SYN", true},
		{"rejected", icmpHere, "reject", "accept", nil, "local-firewall-reject", "a rule of this host rejects the SYN", true},
		{"legacy", silent, "drop", "accept", own(func(o *evidence.Own) {
			o.Firewall.Verdicts[0].Rule = &evidence.Rule{System: "iptables", Table: "filter", Chain: "OUTPUT", Number: 2, Text: "-A OUTPUT -j DROP"}
		}), "local-firewall-drop", "iptables table filter, chain OUTPUT, rule 2: -A OUTPUT -j DROP", true},
		{"passes", silent, "accept", "accept", nil, "", "", false},
		{"depends", silent, "depends", "accept", nil, "", "", true},
		{"the answer depends", silent, "accept", "depends", nil, "", "", true},
		// Nothing shows that there is an answer.
		{"the answer would be dropped", silent, "accept", "drop", nil, "", "", true},
		{"passes, but programs were not read", silent, "accept", "accept", own(func(o *evidence.Own) { o.ProgramsRead = false }), "", "", true},
		{"dropped, and programs were not read", silent, "drop", "accept", own(func(o *evidence.Own) { o.ProgramsRead = false }), "local-firewall-drop", "handle 7", true},
		{"passes, but there is a program", silent, "accept", "accept", own(func(o *evidence.Own) {
			o.Programs = []evidence.Program{{Kind: "tc", Interface: "eth0", Attach: "egress"}}
		}), "", "", true},
		{"a program sends connections elsewhere", silent, "drop", "accept", own(func(o *evidence.Own) {
			o.Programs = []evidence.Program{{Kind: "cgroup", Attach: "cgroup_inet4_connect"}}
		}), "", "", true},
		{"rules that were not read", silent, "drop", "accept", own(func(o *evidence.Own) { o.Firewall.Unread = []evidence.NotChecked{{Check: "iptables rules"}} }), "", "", true},
		{"of another attempt", silent, "drop", "accept", own(func(o *evidence.Own) {
			o.Firewall.Verdicts[0].Tuple.Local = netip.MustParseAddrPort("192.0.2.1:40001")
		}), "", "", true},
		{"not asked", silent, "drop", "accept", func(a *evidence.Address) { a.Own = nil }, "", "", true},
		// What was seen goes before rules that were read later.
		{"the SYN left", silent, "drop", "accept", seen(packet("eth0", "SYN", true)), "", "", false},
		{"the RST came from the network", refused, "reset", "accept", seen(packet("eth0", "RST,ACK", false)), "", "", false},
		{"a router answered", icmpRouter, "reject", "accept", nil, "path-prohibited", "", false},
		{"it was refused, not dropped", refused, "drop", "accept", nil, "", "", true},
		{"the answer is dropped", silent, "accept", "drop", seen(packet("eth0", "SYN", true), packet("eth0", "SYN,ACK", false)), "local-firewall-drop", "a rule of this host drops the SYN-ACK of 198.51.100.7:5432: rule inet filter output handle 7", true},
		// Something else keeps it from TCP, such as the reverse path filter.
		{unexplained, silent, "accept", "accept", seen(packet("eth0", "SYN", true), packet("eth0", "SYN,ACK", false)), "", "", false},
		// IPsec may hide the SYN from the capture.
		{hidden, silent, "accept", "accept", seen(evidence.Packet{Interface: "eth0", Kind: "tcp", Flags: "SYN", Outgoing: true,
			Src: netip.MustParseAddrPort("192.0.2.1:40002"), Dst: netip.MustParseAddrPort("198.51.100.7:61")}), "", "", false},
		{"sent elsewhere", refused, "accept", "accept", own(func(o *evidence.Own) {
			o.Firewall.Verdicts[0].NAT = netip.MustParseAddrPort("203.0.113.5:80")
			o.Firewall.Verdicts[0].NATRule = &evidence.Rule{System: "nftables", Family: "ip", Table: "nat", Chain: "output", Handle: 4, Text: "dnat to 203.0.113.5:80"}
		}), "nat-dead-backend", "a rule of this host leads port 5432 of 198.51.100.7 to 203.0.113.5:80", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := ownSet(tt.syn, tt.answer)
			a := &s.Addresses[0]
			a.Counters = &evidence.Counters{ConntrackCount: 1, ConntrackMax: 100}
			at := &a.Attempts[0]
			icmp := func(from string) []evidence.SocketError {
				return []evidence.SocketError{{Errno: "EHOSTUNREACH", Type: 3, Code: 13, From: netip.MustParseAddr(from), At: time.Millisecond}}
			}
			switch tt.fate {
			case refused:
				at.Pending, at.Took, at.Errno, at.Retransmits = false, time.Millisecond, "ECONNREFUSED", 0
			case icmpHere:
				at.Pending, at.Took, at.Errno, at.Retransmits, at.ICMP = false, time.Millisecond, "EHOSTUNREACH", 0, icmp("192.0.2.1")
			case icmpRouter:
				at.Pending, at.Took, at.Errno, at.Retransmits, at.ICMP = false, time.Millisecond, "EHOSTUNREACH", 0, icmp("203.0.113.9")
			}
			if tt.change != nil {
				tt.change(a)
			}
			d := Diagnose(s)
			v := d.Verdict
			certain := verdict.CauseID("")
			if v.Certainty == verdict.Certain {
				certain = v.Cause
			}
			if certain != tt.certain || !strings.Contains(v.Finding, tt.finding) {
				t.Errorf("%s %s: %s", v.Certainty, v.Cause, v.Finding)
			}
			if fits := v.Cause != verdict.Undetermined; fits != (tt.name != unexplained) {
				t.Errorf("a cause fits: %v", fits)
			}
			if tt.name == hidden && !slices.ContainsFunc(v.Candidates, func(c verdict.Candidate) bool { return c.Cause == "path-firewall-drop" }) {
				t.Errorf("the SYN is said not to have left: %v", v.Candidates)
			}
			local := func(c verdict.CauseID) bool { return c == "local-firewall-drop" || c == "local-firewall-reject" }
			if left := slices.ContainsFunc(v.Candidates, func(c verdict.Candidate) bool { return local(c.Cause) }); left != tt.local {
				t.Errorf("own rules are left: %v, of %v", left, v.Candidates)
			}
			if !local(certain) {
				return
			}
			if r := a.Own.Firewall.Verdicts[0].Rule; r != nil && r.Allow != "" && (len(v.Fix) == 0 || v.Fix[0].Command != r.Allow) {
				t.Errorf("fix: %+v", v.Fix)
			}
			if v.Where != ownClient.Addr() {
				t.Errorf("where: %v", v.Where)
			}
		})
	}
}

// What rules out own rules is that no rule stops the packets.
func TestOwnRulesRuledOutBy(t *testing.T) {
	d := Diagnose(ownSet("accept", "accept"))
	keys := map[evidence.ID]evidence.Key{}
	for _, f := range d.Facts {
		keys[f.ID] = f.Key
	}
	for _, r := range d.Verdict.RuledOut {
		if r.Cause == "local-firewall-drop" {
			for _, id := range r.Because {
				if k := keys[id]; k != evidence.LocalRule && k != evidence.LocalBack {
					t.Errorf("ruled out by %s", k)
				}
			}
			return
		}
	}
	t.Error("it is not ruled out")
}

// A RST on this host that its TCP did not send may be that of a rule: that somebody
// else sent it, by NAT, does not follow.
func TestResetHereIsNoNAT(t *testing.T) {
	s := ownSet("", "")
	a := &s.Addresses[0]
	a.Own, a.Addr = nil, netip.MustParseAddrPort("127.0.0.1:5432")
	a.Route = &evidence.Route{Type: "local", Local: true, Interface: "lo"}
	a.Attempts[0] = evidence.Attempt{Tuple: flow.Tuple{Local: netip.MustParseAddrPort("127.0.0.1:40000"), Remote: a.Addr}, Errno: "ECONNREFUSED", Took: time.Millisecond}
	a.Listeners = &evidence.Listeners{Total: 1, OnPort: []evidence.Listener{{Addr: a.Addr, Serves: true, Backlog: 5}}}
	a.Counters = &evidence.Counters{Delta: map[string]int64{"Tcp.ActiveOpens": 1}, ConntrackCount: 1, ConntrackMax: 100}
	v := Diagnose(s).Verdict
	for _, id := range []verdict.CauseID{"local-firewall-reject", "host-firewall-reset", "nat-dead-backend"} {
		if !slices.ContainsFunc(v.Candidates, func(c verdict.Candidate) bool { return c.Cause == id }) {
			t.Errorf("%s is ruled out: %s %v", id, v.Certainty, v.Candidates)
		}
	}
}

// A refusal in the call itself: a policy rule that the lookup would have met is
// none, one that it could not name may be.
func TestPolicyRules(t *testing.T) {
	for _, tt := range []struct {
		name    string
		route   evidence.Route
		certain verdict.CauseID
	}{
		{"all named", evidence.Route{Type: "unicast", Port: 5432, Exact: true}, "local-policy-denies"},
		{"rules by mark", evidence.Route{Type: "unicast", Port: 5432}, ""},
		{"the address alone", evidence.Route{Type: "unicast"}, ""},
		{"a rule for the port", evidence.Route{Type: "prohibit", Errno: "EACCES", Port: 5432, Exact: true, RejectedBy: "1000: from all ipproto 6 dport 5432 prohibit"}, "route-rejects"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := ownSet("", "")
			a := &s.Addresses[0]
			a.Own, a.Route = nil, &tt.route
			a.Route.FamilyAddrs = []netip.Addr{ownClient.Addr()}
			a.Attempts[0] = evidence.Attempt{Tuple: flow.Tuple{Remote: ownServer}, Errno: "EACCES", Syscall: "connect"}
			v := Diagnose(s).Verdict
			if (v.Certainty == verdict.Certain) != (tt.certain != "") || tt.certain != "" && v.Cause != tt.certain {
				t.Errorf("%s %s of %v", v.Certainty, v.Cause, v.Candidates)
			}
			if r := tt.route.RejectedBy; r != "" && !strings.HasSuffix(v.Finding, r) {
				t.Errorf("finding: %s", v.Finding)
			}
		})
	}
}

// The rules are read where they may be the cause, even if nothing else is left, and
// not where it works.
func TestPlanOwnRules(t *testing.T) {
	planned := func(change func(*evidence.Address)) bool {
		s := ownSet("", "")
		a := &s.Addresses[0]
		a.Own = nil
		change(a)
		d := Differ(evidence.ScopeAddress, ObserveAddress(s, a))
		return slices.ContainsFunc(d.Plan(nil, true, 8), func(c Check) bool { return c.ID == CheckRules })
	}
	if !planned(func(*evidence.Address) {}) {
		t.Error("not planned for silence")
	}
	if !planned(func(a *evidence.Address) {
		a.Packets = []evidence.Packet{{Interface: "eth0", Kind: "tcp", Flags: "SYN,ACK", Src: ownServer, Dst: ownClient}}
		a.Capture = &evidence.Capture{Received: 1}
	}) {
		t.Error("not planned for an answer that its TCP never got")
	}
	if planned(func(a *evidence.Address) {
		a.Attempts[0] = evidence.Attempt{Tuple: a.Attempts[0].Tuple, Connected: true, Took: time.Millisecond}
	}) {
		t.Error("planned for a connection that works")
	}
}
