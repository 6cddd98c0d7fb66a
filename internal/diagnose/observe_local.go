package diagnose

import (
	"fmt"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// local derives what this host knows of its own side.
func (o *observer) local(v *view) {
	if v.a.Route != nil || v.here {
		whose := "another machine"
		if v.here {
			whose = "this host"
		}
		o.add(evidence.TargetHere, yesNo(v.here), "route", 0, "%v is an address of %s", v.addr(), whose)
	}
	o.route(v)
	o.resources(v)
	o.ownRules(v)
	o.ownFilter(v)
	o.synLeft(v)
	if m := v.main; m != nil {
		self := m.Connected && m.Tuple.Local == m.Tuple.Remote
		relation := "differ"
		if self {
			relation = "are the same socket address"
		}
		o.add(evidence.SelfConnect, yesNo(self), "connect", m.At, "source and destination of the connection %s", relation)
	}
}

func (o *observer) route(v *view) {
	r := v.a.Route
	if r == nil {
		return
	}
	via := "directly"
	if r.Gateway.IsValid() {
		via = "by way of " + r.Gateway.String()
	}
	switch {
	case r.Type == "local":
		o.add(evidence.RouteLookup, evidence.RouteLocal, "route", r.At, "the kernel delivers packets to %v locally", v.addr())
		o.add(evidence.RouteTo, evidence.NextHopSelf, "route", r.At, "no other machine is involved")
	case r.Type == "blackhole", r.Type == "unreachable", r.Type == "prohibit":
		if r.RejectedBy != "" {
			o.add(evidence.RouteLookup, evidence.Value(r.Type), "route", r.At, "a policy rule here turns packets to %s away (%s)", v.asked(), r.RejectedBy)
			break
		}
		o.add(evidence.RouteLookup, evidence.Value(r.Type), "route", r.At, "the route to %v here is of type %s (%s)", v.addr(), r.Type, orWord(r.Prefix, "prefix not shown"))
	case r.Type == "":
		o.add(evidence.RouteLookup, evidence.RouteNone, "route", r.At, "the routing table here has no route to %v (%s)", v.addr(), orWord(r.Errno, "no match"))
	default:
		o.add(evidence.RouteLookup, evidence.RouteOK, "route", r.At, "packets to %v leave by %s, %s, from %v", v.addr(), orWord(r.Interface, "an interface"), via, r.Source)
		if r.Gateway.IsValid() {
			o.add(evidence.RouteTo, evidence.NextHopGateway, "route", r.At, "the next hop is the gateway %v", r.Gateway)
		} else {
			o.add(evidence.RouteTo, evidence.NextHopTarget, "route", r.At, "%v is on the own link", v.addr())
		}
	}
	o.policy(v, r)
	o.links(v, r)
	if s := v.set.Options.Source; s.IsValid() {
		if r.SourceIsLocal != nil {
			where := "this host"
			if !*r.SourceIsLocal {
				where = "no interface of this host"
			}
			o.add(evidence.SourceHere, yesNo(*r.SourceIsLocal), "route", r.At, "the requested source address %v is on %s", s, where)
		}
	} else {
		o.add(evidence.SourceHere, evidence.Yes, "route", r.At, "the kernel chose the source address itself")
	}
	family := "IPv6"
	if v.addr().Is4() || v.addr().Is4In6() {
		family = "IPv4"
	}
	switch {
	case v.here || len(r.FamilyAddrs) > 0 || v.addr().IsLinkLocalUnicast():
		o.add(evidence.FamilyHere, evidence.Yes, "route", r.At, "this host has %s addresses", family)
	default:
		o.add(evidence.FamilyHere, evidence.No, "route", r.At, "this host has no %s address but loopback and link-local ones", family)
	}
}

// asked is what the route was looked up for, as far as policy rules can tell it
// apart.
func (v *view) asked() string {
	if r := v.a.Route; r.Port != 0 {
		return fmt.Sprintf("TCP port %d of %v", r.Port, v.addr())
	}
	return v.addr().String()
}

// policy: where connect() itself fails, can a rule have met it that the lookup did
// not meet?
func (o *observer) policy(v *view, r *evidence.Route) {
	switch {
	case !v.inCall():
	case r.Exact:
		o.add(evidence.RouteRules, evidence.No, "route", r.At, "the lookup was for %s, which is all that policy rules here choose by", v.asked())
	case r.Port != 0:
		o.add(evidence.RouteRules, evidence.Yes, "route", r.At, "policy rules here choose by more than addresses and the port, which the lookup was for")
	}
}

func (o *observer) links(v *view, r *evidence.Route) {
	switch {
	case !v.here && (v.kind == evidence.AnswerSYNACK || v.kind == evidence.AnswerRST):
		o.add(evidence.LinkState, evidence.LinkUp, "connect", v.main.At, "an answer came, so the interface works")
	case r.Link != nil && (!r.Link.Up || !r.Link.Carrier):
		o.add(evidence.LinkState, evidence.LinkDown, "route", r.At, "interface %s %s", r.Link.Name, downWord(r.Link))
	case r.Link != nil:
		o.add(evidence.LinkState, evidence.LinkUp, "route", r.At, "interface %s is up with carrier", r.Link.Name)
	case v.here:
		o.add(evidence.LinkState, evidence.LinkUp, "route", r.At, "local delivery needs no interface but lo")
	case len(r.DownLinks) > 0:
		o.add(evidence.LinkState, evidence.LinkDown, "route", r.At, "interface %s %s; a route by way of it is gone with it", r.DownLinks[0].Name, downWord(&r.DownLinks[0]))
	default:
		o.add(evidence.LinkState, evidence.LinkUp, "route", r.At, "no interface that could carry the route is down")
	}
	n := r.NeighbourAfter
	if n == nil {
		n = r.Neighbour
	}
	if n == nil || v.here {
		return
	}
	if said := v.announced(n.Addr); r.Neighbour != nil && r.Neighbour.MAC != "" && len(said) > 0 && !slices.Contains(said, r.Neighbour.MAC) {
		o.add(evidence.NeighState, evidence.NeighWrong, "packets", r.At, "the neighbour table has %v at %s, but on the link %s says that it has it", n.Addr, r.Neighbour.MAC, said[0])
		return
	}
	switch n.State {
	case "FAILED", "INCOMPLETE":
		o.add(evidence.NeighState, evidence.NeighFailed, "route", r.At, "the next hop %v answers no ARP or ND request (neighbour state %s)", n.Addr, n.State)
	case "REACHABLE", "STALE", "DELAY", "PROBE", "NOARP": // PERMANENT proves nothing: somebody wrote it
		o.add(evidence.NeighState, evidence.NeighAnswers, "route", r.At, "the next hop %v is known at %s (neighbour state %s)", n.Addr, orWord(n.MAC, "its interface"), n.State)
	}
}

func downWord(l *evidence.Link) string {
	if l.Up {
		return "has no carrier"
	}
	return "is down"
}

// resources: source ports, descriptors, the connection table.
func (o *observer) resources(v *view) {
	m := v.main
	if m == nil {
		return
	}
	c := v.a.Counters
	if p := v.set.Options.SourcePort; p != 0 {
		o.add(evidence.SourcePort, evidence.Yes, "connect", m.At, "source port %d was asked for", p)
	} else {
		o.add(evidence.SourcePort, evidence.No, "connect", m.At, "no source port was asked for")
	}
	switch {
	case m.Errno == "EADDRNOTAVAIL" && m.Syscall != "":
		if c != nil && c.PortsTotal > 0 {
			if c.PortsUsed >= c.PortsTotal {
				o.add(evidence.PortsHere, evidence.Full, "counters", m.At, "all %d ephemeral ports are in use towards this destination", c.PortsTotal)
			} else if c.PortsUsed < c.PortsTotal/2 {
				o.add(evidence.PortsHere, evidence.Free, "counters", m.At, "%d of %d ephemeral ports are in use towards this destination", c.PortsUsed, c.PortsTotal)
			}
		}
	case !v.inCall():
		o.add(evidence.PortsHere, evidence.Free, "connect", m.At, "the kernel gave source port %d", m.Tuple.Local.Port())
	}
	if m.Errno == "EMFILE" || m.Errno == "ENFILE" {
		o.add(evidence.FilesHere, evidence.Full, "connect", m.At, "no socket could be made: %s", m.Errno)
	} else if m.Syscall != "socket" {
		o.add(evidence.FilesHere, evidence.Free, "connect", m.At, "a socket could be made")
	}
	if c == nil {
		return
	}
	o.nat(v, c)
	switch {
	case c.ConntrackMax > 0 && c.ConntrackCount >= c.ConntrackMax:
		o.add(evidence.TrackHere, evidence.Full, "counters", m.At, "the connection table is full: %d of %d", c.ConntrackCount, c.ConntrackMax)
	case c.ConntrackMax > 0:
		o.add(evidence.TrackHere, evidence.Free, "counters", m.At, "the connection table holds %d of %d", c.ConntrackCount, c.ConntrackMax)
	case c.ConntrackMax < 0 && !v.missed(evidence.TrackHere):
		o.add(evidence.TrackHere, evidence.Free, "counters", m.At, "this host keeps no connection table that could be full")
	}
}

// nat: can this host's own rules have sent the SYN to another address? What NAT
// touches is in the connection table, but a RST removes it at once. A RST that this
// host's TCP did not send may be that of a rule as well as of somebody else.
func (o *observer) nat(v *view, c *evidence.Counters) {
	left := slices.IndexFunc(v.a.Packets, v.left)
	switch {
	case left >= 0:
		o.add(evidence.NATHere, evidence.No, "packets", v.a.Packets[left].At, "the SYN left with the target's own address and port")
	case v.translates() != nil:
		r := v.translates()
		o.add(evidence.NATHere, evidence.Yes, "rules", v.a.Own.Firewall.At, "a rule of this host sends the SYN to %v%s", r.NAT, ruleText(r.NATRule))
	case c.ConntrackMax < 0 && !v.missed(evidence.TrackHere), v.kind != evidence.AnswerRST && c.ConntrackMax > 0 && c.ConntrackCount == 0:
		o.add(evidence.NATHere, evidence.No, "counters", v.main.At, "this host tracks no connection, so no NAT of its own was at work")
	case v.here && v.kind == evidence.AnswerRST && c.Delta["Tcp.OutRsts"] > 0:
		o.add(evidence.NATHere, evidence.No, "counters", v.main.At, "this host's own TCP sent the RST")
	}
}

// synLeft: did the SYN get out of this host?
func (o *observer) synLeft(v *view) {
	m := v.main
	if m == nil {
		return
	}
	if v.inCall() {
		o.add(evidence.SynLeft, evidence.No, "connect", m.At, "%s() failed by itself, before any packet", m.Syscall)
		return
	}
	if r := v.stopped(); r != nil {
		o.add(evidence.SynLeft, evidence.No, "rules", v.a.Own.Firewall.At, "this host's own rules keep the SYN from leaving")
		return
	}
	if p := v.a.Path; lastHop(p) > 0 && !(v.kind == evidence.AnswerNone && p.AnswerTTL > 0) { // else they fare differently
		i := slices.IndexFunc(p.Hops, func(h evidence.Hop) bool { return h.Kind == "time-exceeded" })
		o.add(evidence.SynLeft, evidence.Yes, "path", p.At, "SYNs to the port leave this host: router %v answered one", p.Hops[i].Addr)
		return
	}
	var other *evidence.Packet
	for i := range v.a.Packets {
		p := &v.a.Packets[i]
		switch {
		case p.Kind != "tcp" || !p.Outgoing || p.Dst.Addr() != v.addr() || !hasFlag(p.Flags, "SYN"):
		case p.Dst == v.a.Addr && p.Src != m.Tuple.Local: // of another connection, or a probe's
		case p.Dst == v.a.Addr:
			o.add(evidence.SynLeft, evidence.Yes, "packets", p.At, "the SYN was seen going out on %s", p.Interface)
			return
		default:
			other = p
		}
	}
	// A raw SYN that the kernel refuses to send is proof, too; a bare ACK or FIN is
	// not, for rules that drop packets without a connection let the SYN pass.
	for _, c := range v.a.Controls {
		if (c.Kind == evidence.ControlPlain || c.Kind == evidence.ControlECN) && c.Answer == "not-sent" && c.Errno == "EPERM" {
			o.add(evidence.SynLeft, evidence.No, "control", c.At, "this host refuses to send a SYN to the port (EPERM from its own output rules)")
			return
		}
	}
	n := v.a.Route
	unresolved := n != nil && n.NeighbourAfter != nil && (n.NeighbourAfter.State == "FAILED" || n.NeighbourAfter.State == "INCOMPLETE")
	switch {
	case v.a.Capture != nil && v.a.Capture.Dropped > 0:
	case other != nil && !v.passes():
		// Only beside a SYN that was seen does one that was not prove anything:
		// IPsec, for one, hides all of them from the capture.
		o.add(evidence.SynLeft, evidence.No, "packets", other.At, "SYNs to port %d went out on %s, none to port %d", other.Dst.Port(), other.Interface, v.a.Addr.Port())
	case unresolved && v.a.Capture != nil:
		o.add(evidence.SynLeft, evidence.No, "packets", m.At, "no SYN to the port appeared on any interface")
	}
}

func orWord(s, word string) string {
	if s == "" {
		return word
	}
	return s
}
