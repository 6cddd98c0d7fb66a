package diagnose

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
)

// hostView is what a host told of itself, seen for one of its addresses, or one
// that leads to it, and the client whose attempts are in question.
type hostView struct {
	h    *evidence.Host
	addr netip.Addr
	port uint16
	// client is the client's address as the host sees it, zero for anybody's or
	// where that is not known. translated is its end there if NAT on the way gave
	// it another than it knows of.
	client     netip.Addr
	translated netip.AddrPort
	// main is the attempt that the facts describe, as the client sees it, tuples all
	// of them; live says that the host was watched while they were made.
	main   flow.Tuple
	tuples []flow.Tuple
	live   bool
	sent   []evidence.Packet // what the client captured
	near   bool              // there is no router between the client and the host
}

// hosted is what the host told about the address of the view.
func (v *view) hosted() *hostView {
	h := &hostView{h: v.a.Host, addr: Reached(v.addr()), port: v.a.Addr.Port(), live: v.a.HostLive, sent: v.a.Packets}
	for i := range v.a.Attempts {
		if t := v.a.Attempts[i].Tuple; t.Local.Port() != 0 {
			h.tuples = append(h.tuples, t)
		}
	}
	if m := v.main; m != nil && m.At >= v.a.HostFrom {
		h.main = m.Tuple
	} else if m != nil {
		// One that fared the same stands for it.
		for i := range v.a.Attempts {
			if t := &v.a.Attempts[i]; t.At >= v.a.HostFrom && t.Errno == m.Errno && t.Connected == m.Connected && t.Pending == m.Pending {
				h.main = t.Tuple
			}
		}
	}
	h.near = v.a.Route != nil && !v.a.Route.Gateway.IsValid() && (v.a.Route.Type == "unicast" || v.a.Route.Local)
	h.origin()
	return h
}

// Reached is the address at which a SYN arrives: one to the unspecified address goes
// to the host itself, ip(7).
func Reached(a netip.Addr) netip.Addr {
	switch a = a.Unmap(); {
	case !a.IsUnspecified():
		return a
	case a.Is4():
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// told derives the facts of the server's side. What is known already stays.
func (o *observer) told(v *hostView) {
	before := len(o.facts)
	defer func() {
		known := o.facts[:before]
		o.facts = append(known, slices.DeleteFunc(o.facts[before:], func(f evidence.Fact) bool {
			return slices.ContainsFunc(known, func(k evidence.Fact) bool { return k.Key == f.Key })
		})...)
	}()
	o.owns(v)
	o.listening(v)
	o.rules(v)
	o.wayBack(v)
	o.programs(v)
	o.service(v)
	o.watched(v)
}

// owns: is it the host that has the address, and up?
func (o *observer) owns(v *hostView) {
	owns, known := v.h.Owns(v.addr)
	if v.h.Addresses == nil || !known {
		return
	}
	a, ok := v.own()
	switch {
	case v.addr.IsLoopback():
		o.add(evidence.HostOwns, evidence.Yes, "host", 0, "%v is the host itself", v.addr)
	case !ok && owns:
		o.add(evidence.HostOwns, evidence.Yes, "host", 0, "%s takes %v as its own, by a route of type local", v.name(), v.addr)
		o.add(evidence.HostUp, evidence.Yes, "host", 0, "%s is up, as it says itself", v.name())
	case !ok:
		o.add(evidence.HostOwns, evidence.No, "host", 0, "%s has no address %v", v.name(), v.addr)
	case a.Up && !a.Tentative:
		o.add(evidence.HostOwns, evidence.Yes, "host", 0, "%s has the address %v on %s", v.name(), v.addr, a.Interface)
		o.add(evidence.HostUp, evidence.Yes, "host", 0, "%s is up, as it says itself", v.name())
	}
}

// own is the host's entry of the address.
func (v *hostView) own() (evidence.HostAddress, bool) {
	i := slices.IndexFunc(v.h.Addresses, func(a evidence.HostAddress) bool { return a.Prefix.Addr().WithZone("") == v.addr.WithZone("") })
	if i < 0 {
		return evidence.HostAddress{}, false
	}
	return v.h.Addresses[i], true
}

// at is the end that a client connects to.
func (v *hostView) at() netip.AddrPort { return netip.AddrPortFrom(v.addr, v.port) }

func (v *hostView) name() string { return orWord(v.h.Name, "the host") }

// reaches says whether a SYN to the address can get to the listener: that the
// namespace is the host's own, the family fits, and the address. A socket bound to
// an interface gets what comes in there.
func reaches(l *evidence.Listener, addr netip.Addr) bool {
	bound := l.Addr.Addr()
	switch {
	case l.Namespace != 0:
		return false
	case addr.Is4() && (bound.Is4() || bound.Is4In6()):
	case addr.Is4() && !(bound.IsUnspecified() && !l.V6Only):
		return false
	case addr.Is6() && (bound.Is4() || bound.Is4In6()):
		return false
	}
	return bound.IsUnspecified() || bound.Unmap().WithZone("") == addr.WithZone("")
}

// listening: who listens, and have the queues room?
func (o *observer) listening(v *hostView) {
	if r := v.nat(); r != nil {
		// The backend counts, whoever listens at the port itself.
		there := *v
		there.addr, there.port = r.NAT.Addr().Unmap(), r.NAT.Port()
		v = &there
	}
	t := v.h.Sockets
	if owns, _ := v.h.Owns(v.addr); t == nil || !owns || len(t.Ports) > 0 && !slices.Contains(t.Ports, v.port) {
		return
	}
	var here []*evidence.Listener
	for i := range t.Listeners {
		if l := &t.Listeners[i]; l.Namespace == 0 && l.Addr.Port() == v.port {
			here = append(here, l)
		}
	}
	// The one on the very address is asked before one on the wildcard.
	slices.SortStableFunc(here, func(a, b *evidence.Listener) int {
		exact := func(l *evidence.Listener) int {
			if l.Addr.Addr().IsUnspecified() {
				return 1
			}
			return 0
		}
		return cmp.Compare(exact(a), exact(b))
	})
	i := slices.IndexFunc(here, func(l *evidence.Listener) bool { return reaches(l, v.addr) })
	switch {
	case i >= 0 && here[i].Device != "":
		return // it depends on the interface
	case i >= 0:
		o.add(evidence.HostSockets, evidence.SocketsServe, "host", t.At, "on %s a socket%s listens at %v", v.name(), owner(here[i]), here[i].Addr)
		o.queues(v, here[i:])
	case len(t.Diverted) > 0, slices.ContainsFunc(v.h.Programs, func(p evidence.Program) bool { return p.Kind == "netns" }):
		return // IPVS or a program of type sk_lookup may serve it all the same
	case len(here) == 0:
		o.add(evidence.HostSockets, evidence.SocketsNone, "host", t.At, "no socket of %s listens on port %d (%s in all)", v.name(), v.port, plural(t.Total, "listening socket", "listening sockets"))
	case !slices.ContainsFunc(here, func(l *evidence.Listener) bool { return !l.Addr.Addr().IsLoopback() }):
		o.add(evidence.HostSockets, evidence.SocketsLoopback, "host", t.At, "on %s port %d is listened on at %v only%s", v.name(), v.port, here[0].Addr, owner(here[0]))
	default:
		o.add(evidence.HostSockets, evidence.SocketsElsewhere, "host", t.At, "on %s port %d is listened on at %v%s, not at %v", v.name(), v.port, here[0].Addr, owner(here[0]), v.addr)
	}
}

func owner(l *evidence.Listener) string {
	switch {
	case l.Process != "" && l.PID != 0:
		return fmt.Sprintf(" of %s (PID %d)", l.Process, l.PID)
	case l.Process != "":
		return " of " + l.Process
	}
	return ""
}

// queues: Linux takes no SYN once the accept queue is longer than the backlog
// (sk_acceptq_is_full in include/net/sock.h), nor, without cookies, when three
// quarters of the half-open connections it keeps are there (tcp_conn_request in
// net/ipv4/tcp_input.c).
func (o *observer) queues(v *hostView, serving []*evidence.Listener) {
	t := v.h.Sockets
	first, full := serving[0], 0
	same := 0
	for _, l := range serving {
		if l.Addr != first.Addr {
			continue
		}
		same++
		if l.Queue > l.Backlog {
			full++
		}
	}
	switch {
	case full == same:
		o.add(evidence.HostQueue, evidence.Full, "host", t.At, "its accept queue is full: %d waiting, backlog %d", first.Queue, first.Backlog)
		return
	case full > 0:
		return // it depends on which of them the SYN falls to
	}
	o.add(evidence.HostQueue, evidence.Free, "host", t.At, "its accept queue has room: %d waiting, backlog %d", first.Queue, first.Backlog)
	limits := v.h.Limits
	if limits == nil {
		return
	}
	half, most := t.States["SYN_RECV"], limits.MaxSYNBacklog
	delta := int64(0)
	if c := v.h.Counters; c != nil {
		delta = c.Delta["TcpExt.TCPReqQFullDrop"]
	}
	switch {
	case limits.SYNCookies == 0 && (delta > 0 || half >= most-most>>2 && half > 0 || half > first.Backlog):
		o.add(evidence.HostSYNQueue, evidence.Full, "host", t.At, "%s half-open, at most %d are kept (tcp_max_syn_backlog), and SYN cookies are off", plural(half, "connection is", "connections are"), most)
	case delta == 0:
		o.add(evidence.HostSYNQueue, evidence.Free, "host", t.At, "%s half-open; there is room for more", plural(half, "connection is", "connections are"))
	}
}

// rules: what do the packet filters do with the SYN, and with its answer?
func (o *observer) rules(v *hostView) {
	r := v.rule()
	if r == nil {
		return
	}
	if n := v.nat(); n != nil {
		o.add(evidence.HostNAT, evidence.Yes, "host", n.At, "a rule of %s sends the SYN to %v%s", v.name(), n.NAT, ruleText(n.NATRule))
	} else {
		o.add(evidence.HostNAT, evidence.No, "host", r.At, "no rule of %s sends the SYN elsewhere", v.name())
	}
	what := "the SYN"
	if r.Packet == "syn-ack" {
		what = "the SYN-ACK"
	}
	switch r.Verdict {
	case "drop":
		o.add(evidence.HostRule, evidence.RuleDrop, "host", r.At, "rules of %s drop %s%s", v.name(), what, ruleText(r.Rule))
	case "reset":
		o.add(evidence.HostRule, evidence.RuleReset, "host", r.At, "rules of %s answer %s with RST%s", v.name(), what, ruleText(r.Rule))
	case "reject":
		o.add(evidence.HostRule, evidence.RuleReject, "host", r.At, "rules of %s reject %s (%s)%s", v.name(), what, orWord(r.With, "ICMP"), ruleText(r.Rule))
	case "accept":
		o.add(evidence.HostRule, evidence.RuleNone, "host", r.At, "no rule of %s is in the way of %s", v.name(), what)
	}
}

// rule is the verdict on the first packet of the handshake that a rule stops, or
// on the last one where none does; nil where the rules are not known. A trace saw
// it happen, and goes before what was read.
func (v *hostView) rule() *evidence.RuleVerdict {
	f := v.h.Firewall
	if f == nil {
		return nil
	}
	var last *evidence.RuleVerdict
	lists := [][]evidence.RuleVerdict{f.Traces, f.Verdicts}
	if len(f.Unread) > 0 {
		lists = lists[:1] // a rule that was not read may send the packet elsewhere first
	}
	for _, list := range lists {
		for _, packet := range []string{"syn", "syn-ack"} {
			for _, r := range v.verdicts(list, packet) {
				if r.Verdict == "depends" {
					return nil // not even what comes after it is known to happen
				}
				last = r
				if r.Verdict != "accept" {
					return r
				}
			}
		}
	}
	if len(f.Unread) > 0 {
		return nil
	}
	return last
}

// nat is the verdict on a SYN that a rule sends elsewhere, nil without one.
func (v *hostView) nat() *evidence.RuleVerdict {
	if v.rule() == nil {
		return nil
	}
	for _, list := range [][]evidence.RuleVerdict{v.h.Firewall.Traces, v.h.Firewall.Verdicts} {
		for _, r := range v.verdicts(list, "syn") {
			if r.NAT.IsValid() {
				return r
			}
		}
	}
	return nil
}

// verdicts are those on a packet of the client to the address, or back. One on
// anybody's is on the client's, too, where there is none on the client's own.
func (v *hostView) verdicts(list []evidence.RuleVerdict, packet string) []*evidence.RuleVerdict {
	var own, anybodys []*evidence.RuleVerdict
	for i := range list {
		r := &list[i]
		server, client := r.Tuple.Remote, r.Tuple.Local
		if packet == "syn-ack" {
			server, client = client, server
		}
		switch {
		case r.Packet != packet || server.Addr().Unmap() != v.addr || server.Port() != v.port:
		case !client.Addr().IsValid():
			anybodys = append(anybodys, r)
		case client.Addr().Unmap() == v.client:
			own = append(own, r)
		}
	}
	if len(own) > 0 {
		return own
	}
	return anybodys
}

// ruleText names a rule in brackets.
func ruleText(r *evidence.Rule) string {
	if r == nil {
		return ""
	}
	return " (" + ruleName(r) + ")"
}

// ruleName names a rule as its own tool would find it.
func ruleName(r *evidence.Rule) string {
	where := strings.Join(strings.Fields(strings.Join([]string{r.Family, r.Table, r.Chain}, " ")), " ")
	switch {
	case r.Policy:
		return fmt.Sprintf("policy of chain %s", where)
	case r.Handle != 0:
		return fmt.Sprintf("rule %s handle %d: %s", where, r.Handle, r.Text)
	case r.Number != 0:
		return fmt.Sprintf("%s table %s, chain %s, rule %d: %s", r.System, r.Table, r.Chain, r.Number, r.Text)
	}
	return fmt.Sprintf("rule of %s: %s", where, r.Text)
}

// wayBack: routes and the reverse path filter.
func (o *observer) wayBack(v *hostView) {
	if !v.client.IsValid() {
		return
	}
	i := slices.IndexFunc(v.h.Returns, func(r evidence.Return) bool { return r.Client.Unmap() == v.client && r.Local.Unmap() == v.addr })
	if i < 0 {
		return
	}
	r := &v.h.Returns[i]
	switch r.Route.Type {
	case "unicast", "local":
		o.add(evidence.HostBack, evidence.Yes, "host", r.At, "%s sends its answers to %v by %s", v.name(), v.client, orWord(r.Route.Interface, "an interface"))
	case "":
		o.add(evidence.HostBack, evidence.No, "host", r.At, "%s has no route back to %v (%s)", v.name(), v.client, orWord(r.Route.Errno, "no match"))
	default:
		o.add(evidence.HostBack, evidence.No, "host", r.At, "the route of %s back to %v is of type %s", v.name(), v.client, r.Route.Type)
	}
	if r.PassesRP != nil && *r.PassesRP {
		o.add(evidence.HostRPFilter, evidence.Yes, "host", r.At, "the reverse path filter of %s lets packets of %v pass", v.name(), v.client)
	} else if r.PassesRP != nil {
		o.add(evidence.HostRPFilter, evidence.No, "host", r.At, "the reverse path filter (%s) of %s on %s drops packets of %v: its answers would leave elsewhere", r.RPFilter, v.name(), orWord(r.Arrives, "the interface"), v.client)
	}
}

func (o *observer) programs(v *hostView) {
	switch {
	case len(v.h.Programs) > 0:
		p := &v.h.Programs[0]
		o.add(evidence.HostPrograms, evidence.Yes, "host", 0, "%s has a BPF program in the way of packets: %s at %s (ID %d%s)", v.name(), p.Kind, cmp.Or(p.Interface, p.Cgroup, "the host"), p.ID, named(p.Name))
	case v.h.ProgramsRead:
		o.add(evidence.HostPrograms, evidence.No, "host", 0, "%s has no BPF program in the way of packets", v.name())
	}
}

func named(name string) string {
	if name == "" {
		return ""
	}
	return ", " + name
}
