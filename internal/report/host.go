package report

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// HostText writes what a host's own evidence shows about its port: the answer
// first, then what listens, what proves the answer and what to do.
func HostText(w io.Writer, d *verdict.HostDiagnosis, o Options) error {
	p := newPage(o)
	answer := p.hostHeadline(d)
	if o.Quiet {
		p.raw(p.paint(answerColor(d.Outcome), p.clean(answer)))
	} else {
		p.prose(0, indent, answerColor(d.Outcome), answer)
		p.hostBody(d)
	}
	_, err := w.Write(append(bytes.TrimRight(p.buf.Bytes(), "\n"), '\n'))
	return err
}

// would says an outcome of a client that does not connect.
func would(o verdict.Outcome) string {
	switch o {
	case verdict.Open: // what was not looked at may be in the way
		return "a client would be served, as far as could be looked at"
	case verdict.Refused:
		return "a client would be refused"
	case verdict.Timeout:
		return "a client would time out"
	case verdict.Unreachable:
		return "a client would be rejected"
	case verdict.Degraded:
		return "a client would be served at some addresses only"
	default:
		return "it was not decided whether a client would be served"
	}
}

func (p *page) hostHeadline(d *verdict.HostDiagnosis) string {
	port := fmt.Sprintf("port %d of %s: ", d.Host.Port, orHost(d.Host.Name))
	v := &d.Verdict
	finding := strings.TrimRight(v.Finding, ".")
	s := would(d.Outcome)
	if d.Host.Client.IsValid() {
		s = strings.Replace(s, "a client", d.Host.Client.String(), 1)
	}
	s = port + s
	switch {
	case d.Outcome == verdict.Open:
		return port + finding // it says itself that a client would be served, and if what
	case !explained(v):
		return s
	case v.Certainty == verdict.Certain:
		return s + ": " + finding + " (certain)"
	}
	return s + ": " + choice(v)
}

func orHost(name string) string {
	if name == "" {
		return "this host"
	}
	return name
}

func (p *page) hostBody(d *verdict.HostDiagnosis) {
	if d.Outcome != verdict.Open {
		p.subtitle(&d.Verdict)
	}
	// The sections that all reports have need a diagnosis of the usual form.
	as := &verdict.Diagnosis{Facts: d.Facts, Outcome: d.Outcome, Verdict: d.Verdict, Addresses: d.Addresses, NotChecked: d.NotChecked,
		Set: evidence.Set{Target: flow.Target{Host: d.Host.Name, Port: d.Host.Port}}}
	if d.Outcome != verdict.Open && len(d.Verdict.Candidates) > 1 {
		p.candidates(&d.Verdict)
	}
	p.blank()
	if len(d.Addresses) > 1 {
		p.hostAddresses(d)
	}
	if t := d.Host.Sockets; t != nil {
		p.listeners("listens", p.telling(t.Listeners), 6)
		p.listeners("elsewhere", p.telling(t.Others), 3)
	}
	p.hostRules(d)
	p.hostService(d)
	p.cause(&d.Verdict)
	if d.Outcome != verdict.Open || p.Verbose {
		p.why(as, &d.Verdict)
	} else {
		p.seen(d)
	}
	p.advice(as, nil)
	if p.Verbose {
		p.ruledOut(d.Verdict.RuledOut)
	}
	p.notChecked(d.NotChecked)
}

// seen writes the facts behind "nothing in the way", but for what was supposed.
func (p *page) seen(d *verdict.HostDiagnosis) {
	var facts []evidence.Fact
	for _, f := range d.Facts {
		if f.Source == "host" && f.Addr == d.Addresses[0].Addr {
			facts = append(facts, f)
		}
	}
	n := p.limit(8, len(facts))
	marks := make([]string, n)
	for i, f := range facts[:n] {
		marks[i] = string(f.ID)
	}
	p.section("seen", marks...)
	for _, f := range facts[:n] {
		p.item(string(f.ID), f.Text)
	}
	p.more(len(facts) - n)
}

func (p *page) hostAddresses(d *verdict.HostDiagnosis) {
	p.section("addresses")
	n := p.limit(6, len(d.Addresses))
	for _, a := range d.Addresses[:n] {
		s := fmt.Sprintf("%v: %s", a.Addr, strings.TrimPrefix(would(a.Outcome), "a client would be "))
		if a.Outcome != verdict.Open && explained(&a.Verdict) {
			s += " (" + string(a.Verdict.Cause) + ")"
		}
		p.item("", s)
	}
	p.more(len(d.Addresses) - n)
}

// telling leaves out the listeners of other namespaces that are not known to be the
// service: a host with containers may have very many.
func (p *page) telling(ls []evidence.Listener) []evidence.Listener {
	return slices.DeleteFunc(slices.Clone(ls), func(l evidence.Listener) bool { return l.Namespace != 0 && !l.Usual && !p.Verbose })
}

// listeners writes sockets, those of this namespace first.
func (p *page) listeners(label string, ls []evidence.Listener, few int) {
	ls = slices.Clone(ls)
	slices.SortStableFunc(ls, func(a, b evidence.Listener) int {
		return min(1, int(a.Namespace)) - min(1, int(b.Namespace))
	})
	n := p.limit(few, len(ls))
	p.section(label)
	for i := range ls[:n] {
		p.item("", listenerText(&ls[i]))
	}
	p.more(len(ls) - n)
}

// listenerText is a listener in one line.
func listenerText(l *evidence.Listener) string {
	s := l.Addr.String()
	if l.V6Only {
		s += " (IPv6 only)"
	}
	if l.Device != "" {
		s += " on " + l.Device
	}
	if l.Process != "" {
		s += fmt.Sprintf(" %s (PID %d)", l.Process, l.PID)
	}
	s += fmt.Sprintf(", user %d", l.UID)
	if l.Unit != "" {
		s += ", " + l.Unit
	}
	if l.Container != "" {
		s += ", container " + l.Container
	}
	if l.Namespace != 0 {
		s += ", network namespace " + strconv.FormatUint(uint64(l.Namespace), 10)
	}
	return s + fmt.Sprintf(", queue %d of %d", l.Queue, l.Backlog)
}

// hostRules writes what the packet filters do.
func (p *page) hostRules(d *verdict.HostDiagnosis) {
	f := d.Host.Firewall
	if f == nil {
		return
	}
	p.section("firewall")
	who := strings.Join(f.Systems, ", ")
	if len(f.Managers) > 0 {
		who += " (" + strings.Join(f.Managers, ", ") + ")"
	}
	switch {
	case who == "" && len(f.Unread) > 0:
		p.item("", "not read, see below")
		return
	case who == "":
		p.item("", "no rules")
		return
	}
	p.item("", "rules of "+who)
	seen := set[string]{}
	for _, list := range [][]evidence.RuleVerdict{f.Traces, f.Verdicts} {
		for i := range list {
			r := &list[i]
			text := ruleVerdictText(r)
			if d.Host.Client.IsValid() && anybodys(r) {
				continue // there is one on the client's packet
			}
			if text == "" || !seen.add(text) || len(seen) > p.limit(4, 100) {
				continue
			}
			p.item("", text)
			if r.Rule != nil && r.Verdict != "accept" {
				p.command(indent, r.Rule.Allow)
			}
		}
	}
}

// anybodys says that a verdict is on a packet of no client in particular.
func anybodys(r *evidence.RuleVerdict) bool {
	if r.Packet == "syn-ack" {
		return !r.Tuple.Remote.Addr().IsValid()
	}
	return !r.Tuple.Local.Addr().IsValid()
}

func ruleVerdictText(r *evidence.RuleVerdict) string {
	packet := map[string]string{"syn": "the SYN", "syn-ack": "the SYN-ACK"}[r.Packet]
	switch {
	case r.Verdict == "depends":
		return fmt.Sprintf("%s: it depends on %s", packet, strings.Join(r.Depends[:min(3, len(r.Depends))], "; "))
	case r.Rule == nil && !r.NAT.IsValid():
		return ""
	}
	s := packet + " is accepted"
	switch r.Verdict {
	case "drop":
		s = packet + " is dropped"
	case "reset", "reject":
		s = packet + " is rejected"
		if r.With != "" {
			s += " with " + r.With
		}
	}
	if r.NAT.IsValid() {
		s += ", sent to " + r.NAT.String()
	}
	if r.Rule != nil {
		s += " by " + ruleLine(r.Rule)
	}
	return s
}

// ruleLine is a rule with where it stands and its counter.
func ruleLine(r *evidence.Rule) string {
	var s string
	switch {
	case r.Policy:
		s = fmt.Sprintf("the policy of chain %s %s %s", r.Family, r.Table, r.Chain)
	case r.Handle != 0:
		s = fmt.Sprintf("%s %s %s handle %d: %s", r.Family, r.Table, r.Chain, r.Handle, r.Text)
	default:
		s = fmt.Sprintf("%s -t %s, chain %s, rule %d: %s", r.System, r.Table, r.Chain, r.Number, r.Text)
	}
	if r.Packets != nil {
		s += fmt.Sprintf(" [%s so far]", count(int(min(*r.Packets, 1<<53)), "packet", "packets"))
	}
	return s
}

// hostService writes units, containers and the last lines of the log.
func (p *page) hostService(d *verdict.HostDiagnosis) {
	s := d.Host.Service
	if s == nil || len(s.Units)+len(s.Containers)+len(s.Log) == 0 {
		return
	}
	p.section("service")
	for i := range s.Units[:p.limit(3, len(s.Units))] {
		u := &s.Units[i]
		line := fmt.Sprintf("%s: %s (%s)", u.Name, u.Active, u.Sub)
		if u.ExitCode != "" && u.Active != "active" {
			line += fmt.Sprintf(", %s with status %d", u.ExitCode, u.ExitStatus)
		}
		if u.Restarts > 0 {
			line += ", " + count(u.Restarts, "restart", "restarts")
		}
		p.item("", line)
	}
	for i := range s.Containers[:p.limit(3, len(s.Containers))] {
		c := &s.Containers[i]
		line := fmt.Sprintf("container %s (%s): %s", c.Name, c.Engine, c.State)
		for _, q := range c.Published {
			line += fmt.Sprintf(", %v to its port %d", q.Host, q.Port)
		}
		p.item("", line)
	}
	last := s.Log[max(0, len(s.Log)-p.limit(4, len(s.Log))):]
	for i := range last {
		l := &last[i]
		at := ""
		if !l.Time.IsZero() {
			at = l.Time.Format("2006-01-02 15:04:05") + " "
		}
		p.item("", at+orHostWord(l.Unit, l.Process)+l.Text)
	}
}

func orHostWord(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w + ": "
		}
	}
	return ""
}
