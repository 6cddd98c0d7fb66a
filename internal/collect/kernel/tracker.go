package kernel

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// TrackerOptions of NewTracker.
type TrackerOptions struct {
	Port uint16 // the server's; 0 is any
	// Traced says that events are to come, Captured that packets are.
	Traced, Captured bool
	// Attempts bounds those known at a time, at least 1.
	Attempts int
}

// Tracker puts events and packets together to attempts. It is given them about in
// the order of time; what comes late is put in its place. It does no I/O and is
// for one goroutine at a time.
type Tracker struct {
	o     TrackerOptions
	known map[ends]*entry
	// Those that may go on, least recently seen first, and those that are over.
	live, over list
	arrivals   []*entry // those with nothing but a SYN, oldest first
	changed    []*entry
	tell       func(Attempt)
	lost       time.Duration // when something was lost last
	sum        Summary
}

// ends name an attempt.
type ends struct{ client, server netip.AddrPort }

// NewTracker makes a tracker. changed, which may be nil, gets at each Tick the
// attempts that are new, have another fate or are over.
func NewTracker(o TrackerOptions, changed func(Attempt)) *Tracker {
	o.Attempts = max(o.Attempts, 1)
	if changed == nil {
		changed = func(Attempt) {}
	}
	return &Tracker{o: o, known: make(map[ends]*entry), tell: changed, sum: Summary{Fates: make(map[Fate]int)}, lost: -1}
}

// The times that bound what belongs together.
const (
	// together is how far apart the signs of one and the same segment may be: some
	// us, or as long as somebody else has the processor.
	together = 50 * time.Millisecond
	// soon is within the time that the kernel takes for one segment.
	soon = time.Millisecond
	// skew is how much the clocks of events and packets may disagree.
	skew = 100 * time.Microsecond
	// quiet is how long after a SYN without any sign there will be none.
	quiet = 300 * time.Millisecond
)

// Event takes in an event of the kernel.
func (t *Tracker) Event(e *evidence.KernelEvent) {
	t.sum.Events++
	k := ends{e.Client, e.Server}
	a := t.known[k]
	switch e.Kind {
	case evidence.EventDrop:
		t.drop(k, a, e)
		return
	case evidence.EventSendReset:
		t.sendReset(k, a, e)
		return
	case evidence.EventEstablished:
		switch {
		case a != nil && t.o.Captured && a.resetBy == byClient && a.Established == 0:
			// The RST was ignored: a new attempt would have begun with a SYN.
			a.Ended, a.resetBy = 0, byNobody
		case a == nil || a.Ended != 0 && e.At > a.Ended:
			a = t.begin(k, e.At)
		}
		a.Established = e.At
		if a.AcceptedAt < e.At { // that of one before, with the same ends
			a.AcceptedAt, a.PID, a.Process = 0, 0, ""
		}
	case evidence.EventAccepted:
		// A connection that is over may still wait for it. One whose handshake was
		// not seen is from before the watch, or forgotten.
		if a == nil || a.Ended != 0 && (a.PID != 0 || a.Established == 0) {
			return
		}
		if a.AcceptedAt == 0 {
			a.AcceptedAt = e.At
		}
		a.PID, a.Process = e.PID, e.Comm
	case evidence.EventRetransSYNACK:
		if a == nil || a.Ended != 0 && e.At > a.Ended {
			a = t.begin(k, e.At)
		}
		a.Resent++
		a.answered = max(a.answered, e.At)
	case evidence.EventReceiveReset:
		if a == nil || a.Ended != 0 && e.At > a.Ended+together {
			return
		}
		a.end(e.At)
		a.resetBy = byClient
	case evidence.EventRetransmit:
		if a == nil {
			return
		}
		a.Retransmits++
	case evidence.EventState:
		if a == nil || a.Ended != 0 && e.At > a.Ended+together {
			return // one from before the watch, or all was said
		}
		if e.Taken && a.AcceptedAt == 0 {
			a.AcceptedAt = e.At
		}
		if e.State == "CLOSE" {
			a.end(e.At)
		}
	default:
		return
	}
	a.Namespace = e.Namespace
	t.seen(a, e.At)
}

// drop is of interest until the handshake is complete.
func (t *Tracker) drop(k ends, a *entry, e *evidence.KernelEvent) {
	syn, answer := isSYN(e.Flags), e.FromServer
	switch {
	case syn && a != nil && a.Ended != 0 && (a.Drops > 0 || t.another(a, e)):
		a = t.begin(k, e.At)
	case a == nil && (syn || answer && synACK(e.Flags)):
		a = t.begin(k, e.At)
	case a == nil || a.Established != 0 && e.At >= a.Established:
		return
	case syn && (a.Answered != 0 || a.Resent > 0):
		return // a SYN again, after the SYN-ACK: it says nothing new
	case answer && !synACK(e.Flags):
		return
	}
	a.Drop, a.Namespace = act(e), e.Namespace
	a.Drops++
	t.seen(a, e.At)
}

func (t *Tracker) sendReset(k ends, a *entry, e *evidence.KernelEvent) {
	syn := isSYN(e.Flags)
	switch {
	case syn && (a == nil || a.Ended != 0 && (a.Reset != Act{} || t.another(a, e))):
		a = t.begin(k, e.At)
	case a == nil || a.Ended != 0 && e.At > a.Ended+together:
		return
	case a.Established != 0 && a.Ended != 0 && e.Flags != "" && e.At > a.Ended+soon:
		return // it answers what came too late, which ends nothing
	}
	a.Reset, a.Namespace = act(e), e.Namespace
	a.end(e.At)
	if a.resetBy == byNobody {
		a.resetBy = byServer
	}
	t.seen(a, e.At)
}

// another says that a SYN was not the one of an attempt that is over. With a
// capture another one would have been seen to come.
func (t *Tracker) another(a *entry, e *evidence.KernelEvent) bool {
	return e.At > a.Ended+together && (!t.o.Captured || a.SYNs == 0 || t.lost >= a.At)
}

// isSYN: the flags of a SYN may hold those of ECN, RFC 3168.
func isSYN(flags string) bool {
	return flags == "SYN" || flags == "SYN,ECE,CWR" || flags == "SYN,CWR" || flags == "SYN,ECE"
}

func synACK(flags string) bool { return flags == "SYN,ACK" || flags == "SYN,ACK,ECE" }

// Packet takes in a packet of the capture.
func (t *Tracker) Packet(p *evidence.Packet) {
	t.sum.Packets++
	switch p.Kind {
	case "tcp":
		t.segment(p)
	case "icmp":
		t.icmp(p)
	}
}

func (t *Tracker) segment(p *evidence.Packet) {
	toServer, fromServer := ends{p.Src, p.Dst}, ends{p.Dst, p.Src}
	switch {
	case isSYN(p.Flags):
		if t.o.Port == 0 || p.Dst.Port() == t.o.Port {
			t.syn(toServer, p)
		}
	case synACK(p.Flags):
		if p.Outgoing && (t.o.Port == 0 || p.Src.Port() == t.o.Port) {
			t.synACK(fromServer, p)
		}
	case strings.Contains(p.Flags, "RST"):
		if a := t.known[fromServer]; a != nil && p.Outgoing {
			t.reset(a, p.At, byServer)
		} else if a := t.known[toServer]; a != nil && !p.Outgoing {
			t.reset(a, p.At, byClient)
		}
	}
}

func (t *Tracker) syn(k ends, p *evidence.Packet) {
	a := t.known[k]
	if p.Outgoing {
		if a != nil && a.SYNs > 0 && p.Seq == a.seq && p.Interface != a.Interface && p.Interface != "lo" {
			a.Forwarded = p.Interface
			t.seen(a, p.At)
		}
		return
	}
	switch {
	case a == nil:
		a = t.begin(k, p.At)
	case a.SYNs == 0 && (a.Ended == 0 || p.At < a.Ended+skew):
		// That of the attempt whose other signs came first.
		a.At = min(a.At, p.At)
	case a.Ended != 0 && a.SYNs > 0 && p.Seq == a.seq && a.Established == 0 && p.At > a.Ended:
		// The same SYN again. Windows sends it after a RST, too, and everybody
		// after the challenge of an old connection, RFC 5961 section 4.2.
		a.again()
	case a.Ended != 0 && p.At > a.Ended, a.Ended == 0 && a.seq != p.Seq && p.At > a.At:
		a = t.begin(k, p.At)
	}
	if a.SYNs == 0 {
		a.seq, a.Interface = p.Seq, p.Interface
	}
	// Bridges and tunnels show the same packet on several.
	if p.Seq == a.seq && p.Interface == a.Interface {
		a.SYNs++
	}
	t.seen(a, p.At)
}

func (t *Tracker) synACK(k ends, p *evidence.Packet) {
	a := t.known[k]
	if a == nil || a.Ended != 0 && p.At > a.Ended {
		a = t.begin(k, p.At)
	}
	switch {
	case a.Answered == 0:
		a.Answered, a.answeredBy = p.At, p.Interface
	case !t.o.Traced && p.Interface == a.answeredBy:
		a.Resent++
	}
	a.answered = max(a.answered, p.At)
	t.seen(a, p.At)
}

// reset is a RST on the wire.
func (t *Tracker) reset(a *entry, at time.Duration, by party) {
	switch {
	case a.Ended != 0:
		return
	case t.o.Traced && a.Established != 0:
		return // the kernel may have ignored it, and says so if not
	}
	a.end(at)
	a.resetBy = by
	t.seen(a, at)
}

// icmp is an error that leaves for the client.
func (t *Tracker) icmp(p *evidence.Packet) {
	v6 := p.Src.Addr().Is6() && !p.Src.Addr().Is4In6()
	unreachable := !v6 && p.Type == 3 && p.Code != 4 || v6 && p.Type == 1
	a := t.known[ends{p.Inner.Local, p.Inner.Remote}]
	if !p.Outgoing || !unreachable || a == nil || a.Established != 0 || a.Ended != 0 {
		return
	}
	a.ICMP = fmt.Sprintf("%d/%d", p.Type, p.Code)
	a.end(p.At)
	t.seen(a, p.At)
}

// Taken says that a process had accepted a connection by then.
func (t *Tracker) Taken(client, server netip.AddrPort, at time.Duration) {
	if a := t.known[ends{client, server}]; a != nil && a.Established != 0 && a.AcceptedAt == 0 && a.Ended == 0 {
		a.AcceptedAt = at
		t.seen(a, at)
	}
}

// Lose says that until now events or packets were lost.
func (t *Tracker) Lose(now time.Duration) { t.lost = max(t.lost, now) }

// Tick says that everything until now was given, and tells of changes.
func (t *Tracker) Tick(now time.Duration) {
	n := 0
	for ; n < len(t.arrivals) && t.arrivals[n].At+quiet <= now; n++ {
		if a := t.arrivals[n]; a.in != nil && a.Fate == FateArrived {
			a.quiet = true
			t.settle(a, now)
		}
	}
	t.arrivals = slices.Delete(t.arrivals, 0, n)
	for _, a := range t.changed {
		a.changed = false
		if a.in != nil {
			t.report(a)
		}
	}
	t.changed = t.changed[:0]
}

// Attempts returns what is known, oldest first.
func (t *Tracker) Attempts() []Attempt {
	all := make([]Attempt, 0, len(t.known))
	for _, l := range []*list{&t.over, &t.live} {
		for a := l.first; a != nil; a = a.next {
			all = append(all, t.copy(a))
		}
	}
	slices.SortStableFunc(all, func(a, b Attempt) int { return cmp.Compare(a.At, b.At) })
	return all
}

// Summary counts what was taken in; LostEvents and LostPackets are not known here.
func (t *Tracker) Summary() Summary {
	s := t.sum
	s.Fates = maps.Clone(s.Fates)
	maps.DeleteFunc(s.Fates, func(_ Fate, n int) bool { return n == 0 })
	return s
}

// begin makes a new attempt, in the place of one with the same ends.
func (t *Tracker) begin(k ends, at time.Duration) *entry {
	if old := t.known[k]; old != nil {
		t.forget(old)
	} else if len(t.known) >= t.o.Attempts {
		if t.over.first != nil {
			t.forget(t.over.first)
		} else {
			t.forget(t.live.first)
		}
	}
	a := &entry{Attempt: Attempt{Client: k.client, Server: k.server, At: at, Last: at, Since: at, Fate: FateArrived}}
	t.known[k] = a
	t.live.push(a)
	t.sum.Attempts++
	t.sum.Fates[a.Fate]++
	t.arrivals = append(t.arrivals, a)
	return a
}

func (t *Tracker) forget(a *entry) {
	t.report(a)
	t.sum.Forgotten++
	if a.Ended == 0 {
		t.sum.Unfinished++
	}
	a.in.remove(a)
	delete(t.known, ends{a.Client, a.Server})
}

// seen notes the time and works out the fate.
func (t *Tracker) seen(a *entry, at time.Duration) {
	a.Last = max(a.Last, at)
	a.in.remove(a)
	if a.Ended != 0 {
		t.over.push(a)
	} else {
		t.live.push(a)
	}
	t.settle(a, at)
}

func (t *Tracker) settle(a *entry, at time.Duration) {
	if fate := t.fate(a); fate != a.Fate {
		t.sum.Fates[a.Fate]--
		t.sum.Fates[fate]++
		a.Fate, a.Since = fate, at
	}
	if !a.changed {
		a.changed = true
		t.changed = append(t.changed, a)
	}
}

// fate follows from what is known, in whatever order that came.
func (t *Tracker) fate(a *entry) Fate {
	switch {
	case a.resetBy == byClient:
		return FateResetByClient
	case a.resetBy == byServer && a.Established != 0:
		return FateResetByServer
	case a.resetBy == byServer:
		return FateRefused
	case a.AcceptedAt != 0:
		return FateAccepted
	case a.Established != 0:
		return FateComplete
	case a.ICMP != "":
		return FateRejected
	case a.Drops > 0 && a.Drop.At >= a.answered:
		return FateDropped
	case a.Resent > 0:
		return FateUnanswered
	case a.Answered != 0 && t.o.Traced:
		return FateHalfOpen
	case a.Answered != 0:
		return FateAnswered
	case a.Forwarded != "":
		return FateForwarded
	case a.quiet && t.o.Traced && t.o.Captured && t.lost < a.At:
		return FateIgnored
	}
	return FateArrived
}

// report tells of an attempt unless that was said.
func (t *Tracker) report(a *entry) {
	if final := a.Ended != 0; a.told != a.Fate || a.toldFinal != final {
		a.told, a.toldFinal = a.Fate, final
		t.tell(t.copy(a))
	}
}

func (t *Tracker) copy(a *entry) Attempt {
	c := a.Attempt
	c.Incomplete = t.lost >= c.At && (c.Ended == 0 || t.lost <= c.Ended)
	return c
}
