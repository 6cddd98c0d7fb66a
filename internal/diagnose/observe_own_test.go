package diagnose

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tcpwhy/tcpwhy/internal/cause"
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
			a.Counters = counted(0)
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
	s := ownSet("accept", "accept")
	s.Addresses[0].Counters = counted(0)
	d := Diagnose(s)
	keys := map[evidence.ID]evidence.Key{}
	for _, f := range d.Facts {
		keys[f.ID] = f.Key
	}
	for _, r := range d.Verdict.RuledOut {
		if r.Cause == "local-firewall-drop" {
			for _, id := range r.Because {
				if k := keys[id]; k != evidence.LocalRule && k != evidence.LocalBack && k != evidence.LocalFilter && k != evidence.Connect && k != evidence.TargetHere {
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

// counted are the counters of a host that keeps a connection table, with what its
// reverse path filter dropped.
func counted(drops int64) *evidence.Counters {
	c := &evidence.Counters{ConntrackCount: 1, ConntrackMax: 100, Delta: map[string]int64{"IpExt.OutOctets": 60}}
	if drops > 0 {
		c.Delta[reversePathDrops] = drops
	}
	return c
}

// TestOwnFilter: the reverse path filter of this host is the cause only where it lets
// nothing of the target pass by the interface that the answers came in by, and
// dropped as many packets as came.
func TestOwnFilter(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		name    string
		passes  *bool
		drops   int64
		come    int
		answer  string // what rules do with it
		certain verdict.CauseID
		finding string
	}{
		{"it drops them all", &no, 4, 4, "accept", "local-firewall-drop", "the SYN-ACK arrives on eth1, where this host's reverse path filter drops it: the way to 198.51.100.7 is eth0"},
		{"others, too", &no, 9, 4, "accept", "local-firewall-drop", "reverse path filter"},
		{"a rule would as well", &no, 4, 4, "drop", "local-firewall-drop", "reverse path filter"},
		{"fewer than came", &no, 3, 4, "accept", "", "no known cause fits"},
		{"it drops nothing", &no, 0, 4, "accept", "", "no known cause fits"},
		{"it lets them pass", &yes, 4, 4, "accept", "", "no known cause fits"},
		{"not known to", nil, 4, 4, "accept", "", "no known cause fits"},
		{"a rule drops what it lets pass", &yes, 4, 4, "drop", "local-firewall-drop", "a rule of this host drops the SYN-ACK"},
		{"nothing comes", &no, 4, 0, "accept", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := ownSet("accept", tt.answer)
			a := &s.Addresses[0]
			a.Counters = counted(tt.drops)
			a.Attempts[0].Retransmits = 3
			a.Capture = &evidence.Capture{Received: 10}
			a.Packets = []evidence.Packet{{Interface: "eth0", Kind: "tcp", Flags: "SYN", Outgoing: true, Src: ownClient, Dst: a.Addr}}
			for range tt.come {
				a.Packets = append(a.Packets, evidence.Packet{Interface: "eth1", Kind: "tcp", Flags: "SYN,ACK", Src: a.Addr, Dst: ownClient})
			}
			a.Own.Return = &evidence.Return{Client: a.Addr.Addr(), Arrives: "eth1", Route: evidence.Route{Interface: "eth0"}, RPFilter: "strict", PassesRP: tt.passes}
			v := Diagnose(s).Verdict
			certain := verdict.CauseID("")
			if v.Certainty == verdict.Certain {
				certain = v.Cause
			}
			if certain != tt.certain || !strings.Contains(v.Finding, tt.finding) {
				t.Errorf("%s %s: %s", v.Certainty, v.Cause, v.Finding)
			}
			if tt.come == 0 && slices.ContainsFunc(v.Candidates, func(c verdict.Candidate) bool { return c.Cause == "local-firewall-drop" }) {
				t.Errorf("candidates: %v", v.Candidates)
			}
			if strings.Contains(tt.finding, "reverse path filter") {
				var commands []string
				for _, f := range v.Fix {
					commands = append(commands, f.Command)
				}
				want := []string{"ip route add 198.51.100.7 via <next-hop> dev eth1", "sysctl -w net/ipv4/conf/eth1/rp_filter=2",
					"echo net/ipv4/conf/eth1/rp_filter = 2 > /etc/sysctl.d/90-rp-filter.conf"}
				if diff := cmp.Diff(want, commands); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// TestOwnFilterUnseen: without the packets the counter alone makes it likelier, or
// rules it out.
func TestOwnFilterUnseen(t *testing.T) {
	rank := func(drops int64) int {
		s := ownSet("accept", "accept")
		s.Addresses[0].Counters = counted(drops)
		s.Addresses[0].Attempts[0].Retransmits = 3
		return slices.IndexFunc(Diagnose(s).Verdict.Candidates, func(c verdict.Candidate) bool { return c.Cause == "local-firewall-drop" })
	}
	few, many, none := rank(2), rank(4), rank(0)
	if many < 0 || few <= many || none >= 0 {
		t.Errorf("place among the candidates with 4 drops %d, 2 drops %d, none %d", many, few, none)
	}
}

// TestLostHere: SYNs of an attempt that TCP sent and that did not leave were lost
// here. A rule that limits the rate does that, and a queue of the interface.
func TestLostHere(t *testing.T) {
	for _, tt := range []struct {
		name           string
		left, again    int    // SYNs of the attempt in the capture, and how many TCP sent again
		syn            string // what rules do with them
		certain, first verdict.CauseID
	}{
		{"one stayed", 1, 1, "depends", "", "local-firewall-drop"},
		{"no rule stops it", 1, 1, "accept", "packet-loss", "packet-loss"},
		{"all left", 2, 1, "depends", "", "packet-loss"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := ownSet(tt.syn, "accept")
			a := &s.Addresses[0]
			a.Counters = counted(0)
			at := &a.Attempts[0]
			at.Pending, at.Connected, at.Took, at.RTT, at.Retransmits = false, true, 1002*time.Millisecond, time.Millisecond, tt.again
			a.Capture = &evidence.Capture{Received: 10}
			for range tt.left {
				a.Packets = append(a.Packets, evidence.Packet{Interface: "eth0", Kind: "tcp", Flags: "SYN", Outgoing: true, Src: ownClient, Dst: a.Addr})
			}
			a.Packets = append(a.Packets, evidence.Packet{Interface: "eth0", Kind: "tcp", Flags: "SYN,ACK", Src: a.Addr, Dst: ownClient})
			a.Session = &evidence.Session{End: "none", Got: "220 ready\r\n"}
			d := Diagnose(s)
			v := d.Verdict
			certain := verdict.CauseID("")
			if v.Certainty == verdict.Certain {
				certain = v.Cause
			}
			if v.Cause != tt.first || certain != tt.certain {
				t.Errorf("%s %v", v.Certainty, v.Candidates)
			}
			if local := slices.ContainsFunc(v.Candidates, func(c verdict.Candidate) bool { return c.Cause == "local-firewall-drop" }); local != (tt.first == "local-firewall-drop") {
				t.Errorf("own rules are left: %v", local)
			}
		})
	}
}

// TestOwnFindingOfSome: that a SYN never leaves is said only where none was answered.
func TestOwnFindingOfSome(t *testing.T) {
	for answer, want := range map[string]string{"silent": "drop the SYN: it never leaves", "syn-ack": "not all of them leave"} {
		s := ownSet("depends", "accept")
		a := &s.Addresses[0]
		a.Controls = []evidence.Control{{Kind: evidence.ControlSourcePort, SourcePort: 40001, Port: ownServer.Port(), Answer: answer}}
		if got := newView(s, a).ownFinding(&cause.Cause{ID: "local-firewall-drop"}); !strings.Contains(got, want) {
			t.Errorf("a SYN from another port %s: %q, want %q", answer, got, want)
		}
	}
}

// TestUnreached: where a rule here resets the SYN to this very host, that nothing
// listens there does not matter; where none does, it is the cause.
func TestUnreached(t *testing.T) {
	for syn, want := range map[string]verdict.CauseID{"reset": "local-firewall-reject", "accept": "no-listener"} {
		s := ownSet(syn, "accept")
		a := &s.Addresses[0]
		a.Counters = counted(0)
		a.Route = &evidence.Route{Local: true, Type: "local", Interface: "lo", Source: ownClient.Addr()}
		a.Listeners = &evidence.Listeners{Total: 1}
		at := &a.Attempts[0]
		at.Pending, at.Took, at.Errno, at.Retransmits = false, time.Millisecond, "ECONNREFUSED", 0
		v := Diagnose(s).Verdict
		if !slices.ContainsFunc(v.Candidates, func(c verdict.Candidate) bool { return c.Cause == want }) || v.Cause != want {
			t.Errorf("rules %s it: %s %v", syn, v.Certainty, v.Candidates)
		}
	}
}
