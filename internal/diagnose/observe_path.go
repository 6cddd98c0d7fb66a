package diagnose

import (
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// sighting is how far away an answerer is, by one method.
type sighting struct {
	hops int
	how  string
}

// distance compares who answered with the host.
func (o *observer) distance(v *view) {
	if v.here || v.kind != evidence.AnswerRST && v.kind != evidence.AnswerSYNACK {
		return
	}
	flag := "RST"
	if v.kind == evidence.AnswerSYNACK {
		flag = "SYN"
	}
	p := v.captured(flag)
	if p != nil && v.kind == evidence.AnswerRST {
		if p.Interface == "lo" {
			o.add(evidence.AnswerVia, evidence.ViaLoopback, "packets", p.At, "the RST came in on lo: this host made it")
			o.add(evidence.AnswerFrom, evidence.DistanceNearer, "packets", p.At, "who answers is this host")
			return
		}
		o.add(evidence.AnswerVia, evidence.ViaNetwork, "packets", p.At, "the RST came in on %s", p.Interface)
	}
	a, b := v.a.Path, v.a.OtherPath
	if !samePath(v.addr(), a, b) || a != nil && a.Uneven || b != nil && b.Uneven {
		return
	}
	if p != nil && p.TTL > 0 {
		if v.kind == evidence.AnswerRST && v.scattered() {
			return
		}
		mine := distanceOf(p.TTL)
		if host, how := v.hostByTTL(); host > 0 {
			if mine > host && !(exact(a) && exact(b) && a.AnswerTTL > b.AnswerTTL) {
				return // another path back or an unusual initial hop limit looks farther, too
			}
			o.compare(v, sighting{mine, plural(mine, "hop", "hops")}, sighting{host, how}, how == "its echo reply")
			return
		}
	}
	if exact(a) && exact(b) && (b.Answer == "rst" || b.Answer == "syn-ack") {
		o.compare(v, sighting{a.AnswerTTL, "TTL " + plural(a.AnswerTTL, "hop", "hops")}, sighting{b.AnswerTTL, "a closed port"}, false)
	}
}

// scattered says that RSTs from the port, or those from the closed one, came
// from different distances: several paths lead back.
func (v *view) scattered() bool {
	seen := map[uint16]int{}
	for i := range v.a.Packets {
		p := &v.a.Packets[i]
		if p.Kind != "tcp" || p.Outgoing || p.Src.Addr() != v.addr() || p.TTL == 0 || !hasFlag(p.Flags, "RST") {
			continue
		}
		if ttl, ok := seen[p.Src.Port()]; ok && ttl != p.TTL {
			return true
		}
		seen[p.Src.Port()] = p.TTL
	}
	return false
}

// samePath says that the same routers stand at the same distances on the way to
// the port and to the other one, as far as they are known: with
// several paths of different length, distances compare nothing.
func samePath(target netip.Addr, paths ...*evidence.Path) bool {
	at, who := map[netip.Addr]int{}, map[int]netip.Addr{}
	for _, p := range paths {
		if p == nil {
			continue
		}
		for _, h := range p.Hops {
			if h.Kind != "time-exceeded" || h.Addr == target { // NAT: in the name of the target
				continue
			}
			if ttl, seen := at[h.Addr]; seen && ttl != h.TTL {
				return false
			}
			if a, seen := who[h.TTL]; seen && a != h.Addr {
				return false
			}
			at[h.Addr], who[h.TTL] = h.TTL, h.Addr
		}
	}
	return true
}

// exact says that the port answered at this TTL and not below: the SYN with a
// smaller one got as far as a router, so it was not just lost.
func exact(p *evidence.Path) bool {
	if p == nil || p.AnswerTTL == 0 {
		return false
	}
	h, ok := hopAt(p, p.AnswerTTL-1)
	return p.AnswerTTL == 1 || ok && h.Kind == "time-exceeded"
}

// hostByTTL is the host's distance by the hop limit of an answer of another
// kind or from another port.
func (v *view) hostByTTL() (hops int, how string) {
	if c := v.control(evidence.ControlEcho); c != nil && c.Answer == "echo-reply" && c.TTL > 0 {
		return distanceOf(c.TTL), "its echo reply"
	}
	if b := v.a.OtherPath; b != nil && b.AnswerTTL > 0 {
		if p := v.capturedFrom(b.Port); p != nil && p.Interface != "lo" {
			return distanceOf(p.TTL), "a closed port"
		}
	}
	return 0, ""
}

func (o *observer) compare(v *view, mine, host sighting, sure bool) {
	at := v.main.At + v.main.Took
	switch {
	case mine.hops < host.hops:
		// The way back may be another one: the way there must place it likewise, one
		// TTL behind the router, whose rules come after its check of the TTL.
		if h, ok := hopAt(v.a.Path, mine.hops); ok && h.Kind == "time-exceeded" && v.a.Path.AnswerTTL == mine.hops+1 {
			o.add(evidence.AnswerFrom, evidence.DistanceRouter, "path", at, "who answers is %s away, exactly where the router %v is; the host is %s away by %s", plural(mine.hops, "hop", "hops"), h.Addr, plural(host.hops, "hop", "hops"), host.how)
			return
		}
		o.add(evidence.AnswerFrom, evidence.DistanceNearer, "path", at, "who answers is %s away, the host %s by %s", plural(mine.hops, "hop", "hops"), plural(host.hops, "hop", "hops"), host.how)
	case mine.hops > host.hops:
		o.add(evidence.AnswerFrom, evidence.DistanceFarther, "path", at, "who answers is %s away, the host only %s by %s", plural(mine.hops, "hop", "hops"), plural(host.hops, "hop", "hops"), host.how)
	case sure:
		o.add(evidence.AnswerFrom, evidence.DistanceHost, "path", at, "who answers is as far away as the host by %s: %s", host.how, plural(host.hops, "hop", "hops"))
	default:
		o.add(evidence.AnswerFrom, evidence.DistanceSame, "path", at, "who answers is as far away as who answers for %s: %s", host.how, plural(host.hops, "hop", "hops"))
	}
}

// path derives how far SYNs to the port get.
func (o *observer) path(v *view) {
	p := v.a.Path
	switch {
	case v.main == nil || v.inCall() || v.here:
		return
	case v.kind == evidence.AnswerRST || v.kind == evidence.AnswerSYNACK:
		o.add(evidence.PathEnd, evidence.PathAnswered, "connect", v.main.At+v.main.Took, "SYNs to the port get an answer")
		return
	case v.kind == evidence.AnswerICMP && (p == nil || !loops(p)) && v.icmp != nil && icmpCode(v.addr().Is4(), v.icmp.Type, v.icmp.Code) != evidence.ICMPExceeded:
		if !v.own(v.icmp.From) {
			o.add(evidence.PathEnd, evidence.PathAnswered, "connect", v.icmp.At, "SYNs to the port get an answer")
		}
		return
	case p == nil:
		return
	case p.AnswerTTL > 0:
		switch limit := v.defaultTTL(); {
		case limit == 0:
		case p.AnswerTTL > limit:
			o.add(evidence.PathEnd, evidence.PathFar, "path", p.At, "the port answers SYNs with TTL %d and more; this host sends with TTL %d", p.AnswerTTL, limit)
		default:
			o.add(evidence.PathEnd, evidence.PathAnswered, "path", p.At, "the port answered a SYN with TTL %d", p.AnswerTTL)
		}
		return
	case loops(p):
		o.add(evidence.PathEnd, evidence.PathLoop, "path", p.At, "the same routers answer again and again: %s", loopText(p))
		return
	}
	b := v.a.OtherPath
	last, other := lastHop(p), lastHop(b)
	switch {
	case !v.heardOut(p):
		// Given up before the host could have answered.
	case v.kind == evidence.AnswerNone && v.varies():
		// Another SYN was answered, so that it is by chance how far these came.
	case last == 0 && other == 0 && v.a.Route != nil && v.a.Route.Type == "unicast" && !v.a.Route.Gateway.IsValid():
		o.add(evidence.PathEnd, evidence.PathOnLink, "path", p.At, "no router stands in between")
	case last < other && triedTwice(p, last+1) && !p.Uneven && !b.Uneven:
		h, _ := hopAt(b, other)
		o.add(evidence.PathEnd, evidence.PathShort, "path", p.At, "SYNs to port %d get %s; those to port %d get as far as %v, %s", p.Port, reach(last), b.Port, h.Addr, plural(other, "hop", "hops"))
	case last < other:
		// One try only: the router may limit its ICMP; or paths differ in length.
		// Nothing may be concluded.
	case last == 0 && (b == nil || b.AnswerTTL == 0):
		o.add(evidence.PathEnd, evidence.PathNoHop, "path", p.At, "no router on the way answered")
	case v.reached(b):
		o.add(evidence.PathEnd, evidence.PathLastHop, "path", p.At, "every router that answers at all lets SYNs to the port pass; the host is %s away", plural(b.AnswerTTL, "hop", "hops"))
	case b != nil:
		h, _ := hopAt(p, last)
		o.add(evidence.PathEnd, evidence.PathBlackhole, "path", p.At, "SYNs to this port and to port %d get as far as %v, %s, and no further", b.Port, h.Addr, plural(last, "hop", "hops"))
	default:
		h, _ := hopAt(p, last)
		o.add(evidence.PathEnd, evidence.PathUnknown, "path", p.At, "SYNs to the port get as far as %v, %s; what is behind it is not known", h.Addr, plural(last, "hop", "hops"))
	}
}

func reach(last int) string {
	if last == 0 {
		return "to no router at all"
	}
	return "no further than " + plural(last, "hop", "hops")
}

func triedTwice(p *evidence.Path, ttl int) bool {
	h, ok := hopAt(p, ttl)
	return ok && h.Kind == "silent" && h.Tries >= 2
}

// loops says that routers repeat, far more often than a tunnel or a balanced
// path would show the same router twice. Loops of routers that limit their ICMP
// leave gaps, so no regular pattern is asked for.
func loops(p *evidence.Path) bool {
	seen := map[string][]int{}
	for _, h := range p.Hops {
		if h.Kind == "time-exceeded" {
			seen[h.Addr.String()] = append(seen[h.Addr.String()], h.TTL)
		}
	}
	for _, ttls := range seen {
		if len(ttls) >= 4 && lastHop(p) >= 8 {
			return true
		}
	}
	return false
}

func loopText(p *evidence.Path) string {
	s, n := "", 0
	for i := len(p.Hops) - 1; i >= 0 && n < 4; i-- {
		if h := p.Hops[i]; h.Kind == "time-exceeded" {
			if s != "" {
				s = " -> " + s
			}
			s = h.Addr.String() + s
			n++
		}
	}
	return s
}
