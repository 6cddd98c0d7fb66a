package diagnose

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// view is the evidence about one address with what several facts need worked
// out once.
type view struct {
	set  *evidence.Set
	a    *evidence.Address
	main *evidence.Attempt // the attempt that the facts describe
	kind evidence.Value    // its evidence.Answer
	icmp *evidence.SocketError
	here bool // the target is this host
}

func newView(s *evidence.Set, a *evidence.Address) *view {
	v := &view{set: s, a: a}
	v.here = a.Addr.Addr().IsLoopback() || a.Route != nil && a.Route.Local
	for i := range a.Attempts {
		t := &a.Attempts[i]
		if v.main == nil || v.main.Connected && !t.Connected {
			v.main = t // with several tries the first that failed is the one to explain
		}
	}
	if v.main == nil {
		return v
	}
	if x := a.Session; s.Interrupted && x != nil && x.Received == 0 && x.End == "" {
		cut := *a // a reply that was not waited for is not missing
		cut.Session, v.a = nil, &cut
	}
	v.icmp = firstHard(v.main.ICMP)
	switch {
	case v.main.Connected:
		v.kind, v.icmp = evidence.AnswerSYNACK, nil
	case v.inCall():
		v.kind, v.icmp = evidence.AnswerNone, nil
	case v.icmp != nil:
		v.kind = evidence.AnswerICMP
	case v.main.Errno == "ECONNREFUSED" || v.main.Errno == "ECONNRESET":
		v.kind = evidence.AnswerRST
	case v.main.Errno == "" || v.main.Errno == "ETIMEDOUT":
		v.kind = evidence.AnswerNone
	}
	return v
}

// unfinished says that the run was stopped while the SYN waited for its answer,
// and before its silence meant anything.
func (v *view) unfinished() bool {
	return v.set.Interrupted && v.main != nil && v.main.Pending && !v.silentForLong()
}

// silentForLong says that waiting longer for an answer would prove nothing.
func (v *view) silentForLong() bool {
	took, rtt := v.main.Took, v.rtt()
	return took >= 3*time.Second || rtt > 0 && took >= max(10*rtt, 500*time.Millisecond)
}

// firstHard returns the ICMP error that explains the attempt: the first that
// is not a mere "too big", preferring one that is not time exceeded.
func firstHard(es []evidence.SocketError) *evidence.SocketError {
	var first *evidence.SocketError
	for i := range es {
		e := &es[i]
		switch code := icmpCode(e.From.Is4() || e.From.Is4In6(), e.Type, e.Code); {
		case code == evidence.ICMPTooBig:
		case code != evidence.ICMPExceeded:
			return e
		case first == nil:
			first = e
		}
	}
	return first
}

// inCall says that the kernel refused before any packet.
func (v *view) inCall() bool {
	return v.main != nil && v.main.Syscall != "" && v.main.Errno != "ECONNREFUSED" && v.main.Errno != "ETIMEDOUT"
}

// defaultTTL is the hop limit of packets of this host, 0 if not known. IPv6 has
// a setting for each interface; its default is 64 too and hardly ever changed.
func (v *view) defaultTTL() int {
	if c := v.a.Counters; c != nil {
		if n, err := strconv.Atoi(c.Sysctl["net.ipv4.ip_default_ttl"]); err == nil && v.addr().Is4() {
			return n
		}
	}
	if v.main != nil {
		for i := range v.a.Packets {
			if p := &v.a.Packets[i]; p.Outgoing && p.Kind == "tcp" && p.Src == v.main.Tuple.Local {
				return p.TTL
			}
		}
	}
	return 0
}

// missed says that a fact was wanted and could not be had.
func (v *view) missed(k evidence.Key) bool {
	return slices.ContainsFunc(v.a.NotChecked, func(n evidence.NotChecked) bool { return slices.Contains(n.Keys, k) })
}

func (v *view) addr() netip.Addr { return v.a.Addr.Addr() }

// from says whether an answer came from the target's own address. Addresses
// taken out of a packet have no zone.
func (v *view) from(a netip.Addr) bool { return a.WithZone("") == v.addr().WithZone("") }

// reached says whether a trace got an answer of the host itself: from its TCP,
// or an ICMP error with its own address.
func (v *view) reached(p *evidence.Path) bool {
	if p == nil || p.AnswerTTL == 0 {
		return false
	}
	if p.Answer != "icmp" {
		return true
	}
	h, ok := hopAt(p, p.AnswerTTL)
	return ok && v.from(h.Addr)
}

// own says whether an address is one of this host's.
func (v *view) own(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	if v.main != nil && v.main.Tuple.Local.Addr() == a {
		return true
	}
	if r := v.a.Route; r != nil {
		if r.Source == a {
			return true
		}
		for _, f := range r.FamilyAddrs {
			if f == a {
				return true
			}
		}
	}
	return false
}

// distanceOf turns a received hop limit into hops to the sender, 1 being the
// own link, assuming the usual initial values 32, 64, 128, 255.
func distanceOf(ttl int) int {
	if ttl <= 0 {
		return 0
	}
	for _, initial := range []int{32, 64, 128, 255} {
		if ttl <= initial {
			return initial - ttl + 1
		}
	}
	return 0
}

// captured returns the first incoming TCP packet of the attempt with the flag.
// Other connections of this host to the same port are not ours to judge by.
func (v *view) captured(flag string) *evidence.Packet {
	for i := range v.a.Packets {
		p := &v.a.Packets[i]
		if p.Kind == "tcp" && !p.Outgoing && p.Src == v.a.Addr && p.Dst == v.main.Tuple.Local && hasFlag(p.Flags, flag) {
			return p
		}
	}
	return nil
}

// capturedFrom returns the first RST from another port of the target.
func (v *view) capturedFrom(port uint16) *evidence.Packet {
	for i := range v.a.Packets {
		p := &v.a.Packets[i]
		if p.Kind == "tcp" && !p.Outgoing && p.Src.Addr() == v.addr() && p.Src.Port() == port && hasFlag(p.Flags, "RST") {
			return p
		}
	}
	return nil
}

// announced are the link-layer addresses that hosts on the link claim to have
// the address at, without repeats.
func (v *view) announced(addr netip.Addr) []string {
	var macs []string
	for i := range v.a.Packets {
		p := &v.a.Packets[i]
		if (p.Op == "is-at" || p.Op == "advertisement") && !p.Outgoing && p.About == addr && p.MAC != "" && !slices.Contains(macs, p.MAC) {
			macs = append(macs, p.MAC)
		}
	}
	return macs
}

func hasFlag(flags, want string) bool {
	for len(flags) > 0 {
		f := flags
		for i := range flags {
			if flags[i] == ',' {
				f = flags[:i]
				break
			}
		}
		if f == want {
			return true
		}
		flags = flags[min(len(flags), len(f)+1):]
	}
	return false
}

func (v *view) control(kind string) *evidence.Control {
	for i := range v.a.Controls {
		if v.a.Controls[i].Kind == kind && !v.early(&v.a.Controls[i]) {
			return &v.a.Controls[i]
		}
	}
	return nil
}

// lastHop is the greatest TTL at which a router answered time exceeded.
func lastHop(p *evidence.Path) int {
	last := 0
	if p != nil {
		for _, h := range p.Hops {
			if h.Kind == "time-exceeded" {
				last = max(last, h.TTL)
			}
		}
	}
	return last
}

func hopAt(p *evidence.Path, ttl int) (h evidence.Hop, ok bool) {
	if p != nil {
		for _, h := range p.Hops {
			if h.TTL == ttl {
				return h, true
			}
		}
	}
	return evidence.Hop{}, false
}

// sources is what the sources probe got: by source port, the answers in order.
func (v *view) sources() map[uint16][]string {
	by := map[uint16][]string{}
	for i := range v.a.Controls {
		if c := &v.a.Controls[i]; c.Kind == evidence.ControlSourcePort && c.Answer != "not-sent" && !v.early(c) {
			by[c.SourcePort] = append(by[c.SourcePort], c.Answer)
		}
	}
	return by
}

// synsSent counts the SYNs to the port that had the default TTL or were above
// the last router that answered, and how many of them got no answer.
func (v *view) synsSent() (sent, lost int) {
	for i := range v.a.Attempts {
		t := &v.a.Attempts[i]
		if t.Syscall != "" && t.Errno != "ECONNREFUSED" {
			continue
		}
		rtt := v.rtt()
		switch {
		case t.Pending || t.Errno == "ETIMEDOUT":
			for n := range 1 + t.Retransmits { // one a second at most
				if v.waited(t.Took - time.Duration(n)*time.Second) {
					sent++
					lost++
				}
			}
		case rtt > 0 && rtt < 900*time.Millisecond:
			// A SYN sent again was lost only where the round trip is known to be
			// shorter than the second that the kernel waits.
			sent += 1 + t.Retransmits
			lost += t.Retransmits
		default:
			sent++
		}
	}
	for _, answers := range v.sources() {
		for _, a := range answers {
			sent++
			if a == "silent" {
				lost++
			}
		}
	}
	if p := v.a.Path; p != nil && p.AnswerTTL == 0 && v.waited(p.Took) {
		sent += p.Unanswered
		lost += p.Unanswered
	}
	if p := v.a.Path; p != nil && p.AnswerTTL > 0 && p.Answer != "icmp" {
		sent++ // the one of the trace that the port answered
	}
	return sent, lost
}

// Farthest is longer than any usual round trip, one by two satellites included.
const Farthest = 1500 * time.Millisecond

// waited says that an answer was waited for so long that it is missing. While the
// round trip is not known, what is near may be silent, or all of it far away.
func (v *view) waited(took time.Duration) bool {
	if rtt := v.rtt(); rtt > 0 {
		return took >= 2*rtt
	}
	return took >= Farthest
}

// heardOut says that what a trace did not hear in its time is missing. While the
// round trip is not known, SYNs that were waited for longer must have shown it.
func (v *view) heardOut(p *evidence.Path) bool {
	if rtt := v.rtt(); rtt > 0 {
		return p.Took >= rtt
	}
	return p.Took >= Farthest || slices.ContainsFunc(v.a.Controls, func(c evidence.Control) bool {
		return c.Kind == evidence.ControlSourcePort && c.Answer == "silent" && c.Took >= Farthest
	})
}

// early says that the answer to a probe was not waited for long enough: the
// round trip, known by now, takes longer.
func (v *view) early(c *evidence.Control) bool {
	return c.Answer == "silent" && c.Kind != evidence.ControlEcho && c.Took < v.rtt()
}

// rtt is the round trip to the host as far as known, 0 if not.
func (v *view) rtt() time.Duration {
	if v.main != nil && v.main.RTT > 0 {
		return v.main.RTT
	}
	if v.kind == evidence.AnswerRST && v.main.Retransmits == 0 {
		return v.main.Took
	}
	return RoundTrip(v.a)
}

// RoundTrip is how long the host took to answer an attempt or a probe, 0 while it
// has answered none.
func RoundTrip(a *evidence.Address) time.Duration {
	for i := range a.Attempts {
		switch t := &a.Attempts[i]; {
		case t.RTT > 0:
			return t.RTT
		case t.Errno == "ECONNREFUSED" && len(t.ICMP) == 0 && t.Syscall == "" && t.Retransmits == 0:
			return t.Took
		}
	}
	for _, p := range []*evidence.Path{a.Path, a.OtherPath} {
		if p == nil || p.AnswerTTL == 0 {
			continue
		}
		if h, ok := hopAt(p, p.AnswerTTL); ok && h.RTT > 0 {
			return h.RTT
		}
	}
	for i := range a.Controls {
		if c := &a.Controls[i]; c.Answer == "echo-reply" || c.Answer == "syn-ack" || c.Answer == "rst" {
			return c.Took
		}
	}
	return 0
}
