package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// stops are the verdicts of rules that stop a packet: the fact, and the verb.
var stops = map[string]struct {
	value evidence.Value
	verb  string
}{
	"drop": {evidence.RuleDrop, "drop"}, "reset": {evidence.RuleReset, "reset"}, "reject": {evidence.RuleReject, "reject"},
}

// ownRules: what do this host's own rules do with the SYN of the attempt, and with
// its answer?
func (o *observer) ownRules(v *view) {
	if r := v.stopped(); r != nil {
		o.add(evidence.LocalRule, stops[r.Verdict].value, "rules", v.a.Own.Firewall.At, "rules of this host %s the SYN%s", stops[r.Verdict].verb, ruleText(r.Rule))
		return // it gets no answer
	}
	if v.passes() {
		o.add(evidence.LocalRule, evidence.RuleNone, "rules", v.a.Own.Firewall.At, "no rule of this host stops the SYN (%s)", orWord(strings.Join(v.a.Own.Firewall.Systems, ", "), "it has none"))
	}
	switch r := v.ownVerdict("syn-ack"); {
	case r == nil || v.kind != evidence.AnswerNone || v.inCall():
	case r.Verdict == "accept" && v.unobstructed():
		o.add(evidence.LocalBack, evidence.RuleNone, "rules", v.a.Own.Firewall.At, "no rule of this host stops the SYN-ACK")
	default:
		o.add(evidence.LocalBack, stops[r.Verdict].value, "rules", v.a.Own.Firewall.At, "rules of this host %s the SYN-ACK%s", stops[r.Verdict].verb, ruleText(r.Rule))
	}
}

// reversePathDrops is the kernel's counter of what its reverse path filter
// dropped; net/ipv4/proc.c.
const reversePathDrops = "TcpExt.IPReversePathFilter"

// ownFilter: did the reverse path filter of this host drop as many packets meanwhile
// as the attempt should have had answers? IPv6 has none.
func (o *observer) ownFilter(v *view) {
	c := v.a.Counters
	if c == nil || v.main == nil || v.here || v.kind != evidence.AnswerNone || v.inCall() || !v.addr().Is4() {
		return
	}
	switch n := c.Delta[reversePathDrops]; {
	case n == 0 && netstatRead(c):
		o.add(evidence.LocalFilter, evidence.No, "counters", v.main.At, "this host's reverse path filter dropped nothing meanwhile")
	case n > int64(v.main.Retransmits):
		o.add(evidence.LocalFilter, evidence.Yes, "counters", v.main.At, "this host's reverse path filter dropped %s meanwhile (TcpExtIPReversePathFilter)", plural(int(n), "packet", "packets"))
	}
}

// netstatRead says that the counters of /proc/net/netstat were read: those of
// bytes are among them, which every attempt changes.
func netstatRead(c *evidence.Counters) bool { return c.Delta["IpExt.OutOctets"] != 0 }

// filtered is the way back by which this host's reverse path filter drops the
// SYN-ACKs of the attempt, nil where it is not shown to: they came in by an
// interface at which it lets nothing of the target pass, and it dropped no fewer
// packets than there were.
func (v *view) filtered() *evidence.Return {
	own, c := v.a.Own, v.a.Counters
	if own == nil || own.Return == nil || c == nil || own.Return.PassesRP == nil || *own.Return.PassesRP {
		return nil
	}
	n := int64(0)
	for i := range v.a.Packets {
		if p := &v.a.Packets[i]; p.Kind == "tcp" && !p.Outgoing && p.Src == v.a.Addr && p.Dst == v.main.Tuple.Local && hasFlag(p.Flags, "SYN") {
			n++
		}
	}
	if n == 0 || c.Delta[reversePathDrops] < n {
		return nil
	}
	return own.Return
}

// wayOut is the interface by which this host sends to the other end of a way.
func wayOut(r *evidence.Return) string { return orWord(r.Route.Interface, "none") }

// unreached: where rules of this host answer the SYN to it with RST, it does not matter
// that nothing listens there as well.
func (o *observer) unreached(v *view) {
	reset := slices.ContainsFunc(o.facts, func(f evidence.Fact) bool {
		return (f.Key == evidence.HostRule || f.Key == evidence.LocalRule) && f.Value == evidence.RuleReset ||
			f.Key == evidence.HostDrop && f.Value == evidence.DropNetfilter && v.kind == evidence.AnswerRST
	})
	for i := range o.facts {
		if f := &o.facts[i]; v.here && reset && f.Key == evidence.HostSockets && f.Value != evidence.SocketsServe {
			f.Value = evidence.SocketsUnreached
			f.Text += "; rules let no SYN get that far"
		}
	}
}

// lostHere: where SYNs are lost, did TCP send more of the attempt's than left? A
// capture that shows one of them shows all.
func (o *observer) lostHere(v *view) {
	c, m := v.a.Capture, v.main
	if c == nil || c.Received == 0 || c.Dropped > 0 || m == nil {
		return
	}
	left, sent := 0, m.Retransmits+1
	for i := range v.a.Packets {
		if v.left(v.a.Packets[i]) {
			left++
		}
	}
	for i := range o.facts {
		if f := &o.facts[i]; f.Key == evidence.ProbeLoss && f.Value == evidence.LossSome && 0 < left && left < sent {
			f.Value = evidence.LossHere
			f.Text = fmt.Sprintf("of %d SYNs that TCP sent for the attempt only %d left this host", sent, left)
		}
	}
}

// ownVerdict is what the rules do with a packet of the attempt, nil where that was
// not read, or where what was read is not all that can decide: a rule of a kind
// that is not followed, or a program that sends connections elsewhere.
func (v *view) ownVerdict(packet string) *evidence.RuleVerdict {
	own := v.a.Own
	if own == nil || v.main == nil || len(own.Firewall.Unread) > 0 || slices.ContainsFunc(own.Programs, redirects) {
		return nil
	}
	tuple := flow.Tuple{Local: v.main.Tuple.Local, Remote: v.a.Addr}
	if packet == "syn-ack" {
		tuple.Local, tuple.Remote = tuple.Remote, tuple.Local
	}
	list := own.Firewall.Verdicts
	i := slices.IndexFunc(list, func(r evidence.RuleVerdict) bool { return r.Packet == packet && r.Tuple == tuple })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// redirects says that a program of a control group may send a connection to
// another address, or mark it; bpf(2), BPF_CGROUP_INET4_CONNECT and relatives.
func redirects(p evidence.Program) bool {
	return p.Kind == "cgroup" && (strings.HasSuffix(p.Attach, "_connect") || strings.HasSuffix(p.Attach, "_sock_create"))
}

// stopped is the verdict of a rule that stops the SYN of the attempt; nil where
// none is known to, or where the SYN has fared otherwise, so that the rule is newer.
func (v *view) stopped() *evidence.RuleVerdict {
	r := v.ownVerdict("syn")
	if r == nil || v.inCall() || slices.ContainsFunc(v.a.Packets, v.left) {
		return nil
	}
	switch r.Verdict {
	case "drop", "reset", "reject":
	default:
		return nil
	}
	rst := v.captured("RST")
	switch {
	case v.kind == evidence.AnswerNone: // what a rule answers with may be lost
	case v.kind == evidence.AnswerRST && r.Verdict == "reset" && (rst == nil || rst.Interface == "lo"):
	case v.kind == evidence.AnswerICMP && r.Verdict == "reject" && (v.icmp.Local || v.own(v.icmp.From)):
	default:
		return nil
	}
	return r
}

// left says whether a packet is the SYN of the attempt on its way out.
func (v *view) left(p evidence.Packet) bool {
	return p.Outgoing && p.Kind == "tcp" && p.Dst == v.a.Addr && p.Src == v.main.Tuple.Local && hasFlag(p.Flags, "SYN")
}

// passes says that nothing of this host that filters packets stops the SYN.
func (v *view) passes() bool {
	r := v.ownVerdict("syn")
	return r != nil && r.Verdict == "accept" && v.unobstructed()
}

// translates is the verdict by which a rule of this host sends the SYN to another
// address, nil where none is known to.
func (v *view) translates() *evidence.RuleVerdict {
	r := v.ownVerdict("syn")
	if r == nil || r.Verdict != "accept" || !r.NAT.IsValid() || r.NAT.Addr().IsUnspecified() || r.NAT == v.a.Addr {
		return nil
	}
	return r
}

// unobstructed says that there is no BPF program which could stop what rules let
// pass.
func (v *view) unobstructed() bool { return v.a.Own.ProgramsRead && len(v.a.Own.Programs) == 0 }

// ownStop is the verdict by which this host's own rules are the cause, and the
// packet that it is about; nil where the rules do not show it.
func (v *view) ownStop() (*evidence.RuleVerdict, string) {
	if r := v.stopped(); r != nil {
		return r, fmt.Sprintf("the SYN to port %d of %v", v.a.Addr.Port(), v.addr())
	}
	if r := v.ownVerdict("syn-ack"); r != nil && stops[r.Verdict].verb != "" && v.captured("SYN") != nil {
		return r, fmt.Sprintf("the SYN-ACK of %v", v.a.Addr)
	}
	return nil, ""
}

// ownFinding is the answer in one sentence where rules of this host are the cause.
func (v *view) ownFinding(c *cause.Cause) string {
	if r := v.filtered(); r != nil {
		return fmt.Sprintf("the SYN-ACK arrives on %s, where this host's reverse path filter drops it: the way to %v is %s", r.Arrives, r.Client, wayOut(r))
	}
	if r, what := v.ownStop(); r != nil && r.Rule != nil {
		return fmt.Sprintf("a rule of this host %ss %s: %s", stops[r.Verdict].verb, what, ruleName(r.Rule))
	}
	switch p := v.captured("SYN"); {
	case c.ID == "local-firewall-reject":
		return "output rules of this host reject the SYN: the error is of its own making"
	case p != nil:
		return fmt.Sprintf("the SYN-ACK arrives on %s, but filters of this host keep it from its TCP", p.Interface)
	}
	if v.varies() {
		return "output rules of this host drop SYNs: not all of them leave"
	}
	return "output rules of this host drop the SYN: it never leaves"
}

// ownFix is what would fix it by the very rule or filter of this host.
func (v *view) ownFix(out *verdict.Verdict) []verdict.Fix {
	if out.Certainty != verdict.Certain || out.Cause != "local-firewall-drop" && out.Cause != "local-firewall-reject" {
		return nil
	}
	if r := v.filtered(); r != nil {
		return filterFixes(r)
	}
	r, _ := v.ownStop()
	if r == nil || r.Rule == nil {
		return nil
	}
	return ruleFixes(r.Rule)
}

// filterFixes let answers pass the reverse path filter by which they come in. The
// larger number of an interface and of "all" counts, and 2 is the loose filter.
func filterFixes(r *evidence.Return) []verdict.Fix {
	fixes := []verdict.Fix{{OS: "linux", Text: "have what the answers come in by be the way there, too", Command: fmt.Sprintf("ip route add %v via <next-hop> dev %s", r.Client, r.Arrives)}}
	if r.RPFilter == "strict" && plainName(r.Arrives) {
		loose := fmt.Sprintf("net/ipv4/conf/%s/rp_filter", r.Arrives) // names may have dots
		fixes = append(fixes, verdict.Fix{OS: "linux", Text: "or make the filter loose there, until reboot", Command: "sysctl -w " + loose + "=2"},
			verdict.Fix{OS: "linux", Text: "keep it loose", Command: fmt.Sprintf("echo %s = 2 > /etc/sysctl.d/90-rp-filter.conf", loose)})
	}
	return fixes
}
