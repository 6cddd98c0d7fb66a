package kernel

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
)

var (
	client = netip.MustParseAddrPort("192.0.2.1:40000")
	server = netip.MustParseAddrPort("198.51.100.7:80")
)

// given is an event or a packet.
type given func(t *Tracker)

func at(us int) time.Duration { return time.Second + time.Duration(us)*time.Microsecond }

func event(us int, e evidence.KernelEvent) given {
	e.At, e.Client, e.Server, e.Namespace = at(us), client, server, 1
	return func(t *Tracker) { t.Event(&e) }
}

func packet(us int, p evidence.Packet) given {
	p.At, p.Kind = at(us), "tcp"
	if p.Interface == "" {
		p.Interface = "eth0"
	}
	if p.Src == (netip.AddrPort{}) {
		p.Src, p.Dst = client, server
		if p.Outgoing {
			p.Src, p.Dst = server, client
		}
	}
	return func(t *Tracker) { t.Packet(&p) }
}

func syn(us int, seq uint32) given { return packet(us, evidence.Packet{Flags: "SYN", Seq: seq}) }
func synack(us int) given          { return packet(us, evidence.Packet{Flags: "SYN,ACK", Outgoing: true}) }
func rstOut(us int) given          { return packet(us, evidence.Packet{Flags: "RST,ACK", Outgoing: true}) }
func rstIn(us int) given           { return packet(us, evidence.Packet{Flags: "RST"}) }
func established(us int) given {
	return event(us, evidence.KernelEvent{Kind: evidence.EventEstablished})
}
func resent(us int) given { return event(us, evidence.KernelEvent{Kind: evidence.EventRetransSYNACK}) }
func lose(us int) given   { return func(t *Tracker) { t.Lose(at(us)) } }
func tick(us int) given   { return func(t *Tracker) { t.Tick(at(us)) } }
func accepted(us int) given {
	return event(us, evidence.KernelEvent{Kind: evidence.EventAccepted, PID: 7, Comm: "httpd"})
}
func closed(us int, taken bool) given {
	return event(us, evidence.KernelEvent{Kind: evidence.EventState, State: "CLOSE", Taken: taken})
}

func dropped(us int, flags, reason string, fromServer bool) given {
	return event(us, evidence.KernelEvent{Kind: evidence.EventDrop, Flags: flags, Reason: reason, FromServer: fromServer})
}

func sentReset(us int, flags, reason string) given {
	return event(us, evidence.KernelEvent{Kind: evidence.EventSendReset, Flags: flags, Reason: reason, FromServer: true})
}

func icmp(us int) given {
	p := evidence.Packet{
		At: at(us), Kind: "icmp", Type: 3, Code: 13, Outgoing: true, Interface: "eth0",
		Src: netip.AddrPortFrom(server.Addr(), 0), Dst: netip.AddrPortFrom(client.Addr(), 0), Inner: flow.Tuple{Local: client, Remote: server},
	}
	return func(t *Tracker) { t.Packet(&p) }
}

const (
	events  = 1
	packets = 2
	late    = 2_000_000 // us: long after all
)

func track(which int, told *[]Attempt, all ...given) *Tracker {
	t := NewTracker(TrackerOptions{Port: 80, Traced: which&events != 0, Captured: which&packets != 0, Attempts: 100}, func(a Attempt) {
		if told != nil {
			*told = append(*told, a)
		}
	})
	for _, g := range all {
		g(t)
	}
	t.Tick(at(late))
	return t
}

func TestFate(t *testing.T) {
	both := events | packets
	for _, c := range []struct {
		name  string
		which int
		given []given
		want  []Fate // of each attempt
		check func(a *Attempt) bool
	}{
		{"accepted", both, []given{syn(0, 1), synack(10), established(200), accepted(250)}, []Fate{FateAccepted}, func(a *Attempt) bool {
			waited, ok := a.Waited()
			return a.Handshake() == 200*time.Microsecond && ok && waited == 50*time.Microsecond && a.PID == 7 && a.Process == "httpd" && a.Answered == at(10) && a.Since == at(250) && !a.Final()
		}},
		{"accepted and over", both, []given{syn(0, 1), synack(10), established(200), accepted(250), closed(900, true)}, []Fate{FateAccepted}, func(a *Attempt) bool { return a.Final() && a.Ended == at(900) }},
		{"accepted by a way that is not seen", both, []given{syn(0, 1), synack(10), established(200), closed(900, true)}, []Fate{FateAccepted}, func(a *Attempt) bool { return a.PID == 0 && a.AcceptedAt == at(900) }},
		{"accepted by the socket table", both, []given{syn(0, 1), synack(10), established(200), func(t *Tracker) { t.Taken(client, server, at(500)) }}, []Fate{FateAccepted}, func(a *Attempt) bool { return a.PID == 0 && a.AcceptedAt == at(500) }},
		{"never accepted", both, []given{syn(0, 1), synack(10), established(200), closed(900, false)}, []Fate{FateComplete}, func(a *Attempt) bool { return a.Final() }},
		{"taken from the queue when over", both, []given{syn(0, 1), synack(10), established(200), closed(900, false), accepted(5000)}, []Fate{FateAccepted}, nil},
		{"seen to be taken, then told by whom", both, []given{syn(0, 1), synack(10), established(200), event(300, evidence.KernelEvent{Kind: evidence.EventReceiveReset}), closed(301, true), accepted(303)}, []Fate{FateResetByClient}, func(a *Attempt) bool { return a.AcceptedAt == at(301) && a.PID == 7 }},
		{"accepted once, told twice", both, []given{syn(0, 1), synack(10), established(200), accepted(250), closed(300, true), accepted(5000)}, []Fate{FateAccepted}, func(a *Attempt) bool { return a.AcceptedAt == at(250) }},
		{"accepted late: another one with the same ends", both, []given{syn(0, 1), synack(10), accepted(20), established(200)}, []Fate{FateComplete}, func(a *Attempt) bool { return a.PID == 0 && a.AcceptedAt == 0 }},
		{"refused", both, []given{syn(0, 1), sentReset(5, "SYN", "NO_SOCKET"), rstOut(7), dropped(9, "SYN", "NO_SOCKET", false)}, []Fate{FateRefused}, func(a *Attempt) bool {
			return a.Reset.Reason == "NO_SOCKET" && a.Drop.Reason == "NO_SOCKET" && a.Drops == 1 && a.Ended == at(5) && a.SYNs == 1
		}},
		{"refused, told late", both, []given{syn(0, 1), sentReset(5, "SYN", "NO_SOCKET"), rstOut(7), dropped(90_000, "SYN", "NO_SOCKET", false)}, []Fate{FateRefused}, func(a *Attempt) bool { return a.Drops == 1 }},
		{"refused, no packets", events, []given{sentReset(5, "SYN", "NO_SOCKET"), dropped(9, "SYN", "NO_SOCKET", false)}, []Fate{FateRefused}, nil},
		{"refused, packets only", packets, []given{syn(0, 1), rstOut(7)}, []Fate{FateRefused}, nil},
		{"refused twice", both, []given{
			syn(0, 1), sentReset(5, "SYN", "NO_SOCKET"), rstOut(7), dropped(9, "SYN", "NO_SOCKET", false),
			syn(100, 1), sentReset(105, "SYN", "NO_SOCKET"), rstOut(107), dropped(109, "SYN", "NO_SOCKET", false),
		}, []Fate{FateRefused}, func(a *Attempt) bool { return a.SYNs == 2 && a.Drops == 1 && a.Ended == at(105) }},
		{"challenged, then accepted", both, []given{ // RFC 5961 section 4
			syn(0, 1), rstIn(50), syn(1_000_000, 1), synack(1_000_009), established(1_000_100), accepted(1_000_200),
		}, []Fate{FateAccepted}, func(a *Attempt) bool { return a.SYNs == 2 && !a.Final() }},
		{"refused by a filter", both, []given{syn(0, 1), rstOut(7), dropped(9, "SYN", "NETFILTER_DROP", false)}, []Fate{FateRefused}, func(a *Attempt) bool {
			return a.Reset == Act{} && a.Drop.Reason == "NETFILTER_DROP"
		}},
		{"rejected", both, []given{syn(0, 1), icmp(5), dropped(9, "SYN", "NETFILTER_DROP", false)}, []Fate{FateRejected}, func(a *Attempt) bool { return a.ICMP == "3/13" && a.Drops == 1 }},
		{"dropped", both, []given{syn(0, 1), dropped(9, "SYN", "IP_RPFILTER", false), syn(1_000_000, 1), dropped(1_000_009, "SYN", "IP_RPFILTER", false)}, []Fate{FateDropped}, func(a *Attempt) bool {
			return a.SYNs == 2 && a.Drops == 2 && a.Drop.Reason == "IP_RPFILTER" && a.Since == at(9)
		}},
		{"dropped, then accepted", both, []given{syn(0, 1), dropped(9, "SYN", "NETFILTER_DROP", false), syn(1_000_000, 1), synack(1_000_010), established(1_000_100), accepted(1_000_200)}, []Fate{FateAccepted}, func(a *Attempt) bool { return a.Drops == 1 && a.SYNs == 2 }},
		{"answer dropped", both, []given{syn(0, 1), dropped(9, "SYN,ACK", "NETFILTER_DROP", true), resent(1_000_000), dropped(1_000_004, "SYN,ACK", "NETFILTER_DROP", true)}, []Fate{FateDropped}, func(a *Attempt) bool { return a.Drop.FromServer && a.Answered == 0 }},
		{"ACK dropped", both, []given{syn(0, 1), synack(9), dropped(200, "ACK", "NETFILTER_DROP", false)}, []Fate{FateDropped}, func(a *Attempt) bool { return a.Drop.Flags == "ACK" }},
		{"the SYN again after the answer", both, []given{syn(0, 1), synack(9), syn(100, 1), dropped(101, "SYN", "NOT_SPECIFIED", false)}, []Fate{FateHalfOpen}, nil},
		{"half-open", both, []given{syn(0, 1), synack(9)}, []Fate{FateHalfOpen}, nil},
		{"answered", packets, []given{syn(0, 1), synack(9)}, []Fate{FateAnswered}, nil},
		{"unanswered", both, []given{syn(0, 1), synack(9), resent(1_000_000), synack(1_000_009)}, []Fate{FateUnanswered}, func(a *Attempt) bool { return a.Resent == 1 }},
		{"unanswered, packets only", packets, []given{syn(0, 1), synack(9), synack(1_000_009)}, []Fate{FateUnanswered}, func(a *Attempt) bool { return a.Resent == 1 }},
		{"ignored", both, []given{syn(0, 1), syn(1_000_000, 1)}, []Fate{FateIgnored}, func(a *Attempt) bool { return a.SYNs == 2 }},
		{"ignored, then answered", both, []given{syn(0, 1), tick(900_000), synack(1_000_000)}, []Fate{FateHalfOpen}, nil},
		{"no reason asked for", packets, []given{syn(0, 1)}, []Fate{FateArrived}, nil},
		{"a reason may be lost", both, []given{syn(0, 1), lose(20)}, []Fate{FateArrived}, func(a *Attempt) bool { return a.Incomplete }},
		{"something was lost before", both, []given{lose(0), syn(20, 1)}, []Fate{FateIgnored}, func(a *Attempt) bool { return !a.Incomplete }},
		{"forwarded", both, []given{syn(0, 1), packet(3, evidence.Packet{Flags: "SYN", Seq: 1, Outgoing: true, Interface: "br0", Src: client, Dst: server})}, []Fate{FateForwarded}, func(a *Attempt) bool { return a.Forwarded == "br0" }},
		{"reset by the client", both, []given{syn(0, 1), synack(9), established(100), accepted(150), event(300, evidence.KernelEvent{Kind: evidence.EventReceiveReset}), closed(301, true)}, []Fate{FateResetByClient}, func(a *Attempt) bool { return a.Ended == at(300) }},
		{"reset that the kernel ignores", both, []given{syn(0, 1), synack(9), established(100), accepted(150), rstIn(300)}, []Fate{FateAccepted}, func(a *Attempt) bool { return !a.Final() }},
		{"reset of what is half-open", both, []given{syn(0, 1), synack(9), rstIn(300)}, []Fate{FateResetByClient}, nil},
		{"ignored reset of what is half-open", both, []given{syn(0, 1), synack(9), rstIn(300), established(400)}, []Fate{FateComplete}, func(a *Attempt) bool { return !a.Final() && a.SYNs == 1 }},
		{"reset by the server", both, []given{syn(0, 1), synack(9), established(100), accepted(150), closed(299, true), sentReset(300, "", "TCP_ABORT_ON_CLOSE"), rstOut(301)}, []Fate{FateResetByServer}, func(a *Attempt) bool { return a.Reset.Reason == "TCP_ABORT_ON_CLOSE" }},
		{"reset after the end", both, []given{syn(0, 1), synack(9), established(100), accepted(150), closed(299, true), sentReset(5_000, "ACK", "NO_SOCKET")}, []Fate{FateAccepted}, nil},
		{"from before the watch", both, []given{closed(5, true), accepted(6), event(1, evidence.KernelEvent{Kind: evidence.EventReceiveReset}), rstOut(3), dropped(4, "PSH,ACK", "TCP_OLD_DATA", false), sentReset(7, "ACK", "NO_SOCKET")}, nil, nil},
		{"with ECN", both, []given{packet(0, evidence.Packet{Flags: "SYN,ECE,CWR", Seq: 1}), packet(9, evidence.Packet{Flags: "SYN,ACK,ECE", Outgoing: true})}, []Fate{FateHalfOpen}, nil},
		{"on the loopback", both, []given{
			packet(0, evidence.Packet{Flags: "SYN", Seq: 1, Outgoing: true, Interface: "lo", Src: client, Dst: server}), packet(1, evidence.Packet{Flags: "SYN", Seq: 1, Interface: "lo"}),
			packet(2, evidence.Packet{Flags: "SYN,ACK", Outgoing: true, Interface: "lo"}), packet(3, evidence.Packet{Flags: "SYN,ACK", Interface: "lo", Src: server, Dst: client}),
		}, []Fate{FateHalfOpen}, func(a *Attempt) bool { return a.SYNs == 1 }},
		{"through a bridge", both, []given{syn(0, 1), packet(1, evidence.Packet{Flags: "SYN", Seq: 1, Interface: "br0"})}, []Fate{FateIgnored}, func(a *Attempt) bool { return a.SYNs == 1 && a.Interface == "eth0" }},
		{"the host's own connections elsewhere", both, []given{packet(0, evidence.Packet{Flags: "SYN", Outgoing: true, Src: client, Dst: server}), packet(9, evidence.Packet{Flags: "SYN,ACK", Src: server, Dst: client})}, nil, nil},
		{"the SYN comes after its reset", both, []given{sentReset(5, "SYN", "NO_SOCKET"), syn(0, 1)}, []Fate{FateRefused}, func(a *Attempt) bool { return a.At == at(0) && a.SYNs == 1 }},
		{"the accept comes before the handshake", both, []given{syn(0, 1), accepted(250), established(200)}, []Fate{FateAccepted}, func(a *Attempt) bool { return a.Handshake() == 200*time.Microsecond }},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := track(c.which, nil, c.given...)
			all := tr.Attempts()
			if n := tr.Summary().Attempts; n != len(c.want) {
				t.Errorf("counted %d attempts", n)
			}
			var got []Fate
			for i := range all {
				got = append(got, all[i].Fate)
				if c.check != nil && !c.check(&all[i]) {
					t.Errorf("%+v", all[i])
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// What an attempt with the same ends as one before is told as another.
func TestSameEnds(t *testing.T) {
	for name, again := range map[string][]given{
		"refused":            {syn(100_000, 3), sentReset(100_005, "SYN", "NO_SOCKET"), dropped(100_009, "SYN", "NO_SOCKET", false)},
		"refused, no SYN":    {sentReset(100_005, "SYN", "NO_SOCKET"), dropped(100_009, "SYN", "NO_SOCKET", false)},
		"at once":            {syn(20, 3), sentReset(22, "SYN", "NO_SOCKET"), dropped(23, "SYN", "NO_SOCKET", false)},
		"dropped":            {lose(90_000), dropped(100_009, "SYN", "NETFILTER_DROP", false)},
		"another handshake":  {established(100_000), accepted(100_010)},
		"half-open":          {syn(100_000, 9), synack(100_010)},
		"without its SYN":    {synack(100_010)},
		"the SYN-ACK again ": {resent(100_010)},
	} {
		t.Run(name, func(t *testing.T) {
			first := []given{syn(0, 1), sentReset(5, "SYN", "NO_SOCKET"), rstOut(6), dropped(9, "SYN", "NO_SOCKET", false)}
			var told []Attempt
			tr := track(events|packets, &told, append(first, again...)...)
			if s := tr.Summary(); s.Attempts != 2 || s.Forgotten != 1 || s.Unfinished != 0 || len(told) != 2 || told[0].Fate != FateRefused {
				t.Errorf("%+v, told %+v", s, told)
			}
		})
	}
	// A SYN with another number begins a new one even where nothing ended the first.
	if s := track(events|packets, nil, syn(0, 1), syn(50, 2)).Summary(); s.Attempts != 2 || s.Unfinished != 1 {
		t.Errorf("%+v", s)
	}
}

func TestTold(t *testing.T) {
	var told []Attempt
	track(events|packets, &told,
		syn(0, 1), synack(10), tick(20), // told
		established(200), accepted(250), tick(300), // told once for both
		packet(400, evidence.Packet{Flags: "SYN,ACK", Outgoing: true}), tick(500), // no news
		closed(900, true))
	var got []Fate
	for _, a := range told {
		got = append(got, a.Fate)
	}
	if want := []Fate{FateHalfOpen, FateAccepted, FateAccepted}; !slices.Equal(got, want) || !told[2].Final() || told[1].Final() {
		t.Errorf("%v, want %v", got, want)
	}
}

// What is over is forgotten first, then what was quiet longest, and each is told
// of and counted.
func TestBounded(t *testing.T) {
	told := map[netip.AddrPort]Fate{}
	tr := NewTracker(TrackerOptions{Port: 80, Traced: true, Captured: true, Attempts: 3}, func(a Attempt) { told[a.Client] = a.Fate })
	with := func(port uint16, e evidence.KernelEvent) {
		e.Client, e.Server, e.At = netip.AddrPortFrom(client.Addr(), port), server, at(int(port))
		tr.Event(&e)
	}
	with(1, evidence.KernelEvent{Kind: evidence.EventEstablished})
	with(2, evidence.KernelEvent{Kind: evidence.EventSendReset, Flags: "SYN"})
	with(3, evidence.KernelEvent{Kind: evidence.EventEstablished})
	with(4, evidence.KernelEvent{Kind: evidence.EventEstablished}) // forgets 2
	with(1, evidence.KernelEvent{Kind: evidence.EventAccepted})    // 1 is the latest now
	with(5, evidence.KernelEvent{Kind: evidence.EventEstablished}) // forgets 3
	var left []uint16
	for _, a := range tr.Attempts() {
		left = append(left, a.Client.Port())
	}
	want := Summary{Attempts: 5, Fates: map[Fate]int{FateRefused: 1, FateComplete: 3, FateAccepted: 1}, Forgotten: 2, Unfinished: 1, Events: 6}
	if s := tr.Summary(); !slices.Equal(left, []uint16{1, 4, 5}) || !cmp.Equal(s, want) {
		t.Errorf("left are %v; %s", left, cmp.Diff(want, s))
	}
	if len(told) != 2 || told[netip.AddrPortFrom(client.Addr(), 2)] != FateRefused || told[netip.AddrPortFrom(client.Addr(), 3)] != FateComplete {
		t.Errorf("told of %v", told)
	}
}

func TestBatch(t *testing.T) {
	b := batch{
		events:  []evidence.KernelEvent{{At: 30, PID: 3}, {At: 10, PID: 1}, {At: 90, PID: 9}, {At: 30, PID: 4}},
		packets: []evidence.Packet{{At: 20, TTL: 2}, {At: 80, TTL: 8}, {At: 30, TTL: 5}},
	}
	var got []int
	give := func(until time.Duration) {
		b.release(until, func(e *evidence.KernelEvent) { got = append(got, e.PID) }, func(p *evidence.Packet) { got = append(got, p.TTL) })
	}
	give(50)
	if want := []int{1, 2, 3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	give(100)
	if want := []int{1, 2, 3, 4, 5, 8, 9}; !slices.Equal(got, want) || len(b.events)+len(b.packets) != 0 {
		t.Errorf("%v, want %v", got, want)
	}
}

// Whatever comes in whatever order: the counts agree and the bound holds.
func FuzzTracker(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 1, 5, 0, 2, 9, 0, 3, 20, 1, 0}, uint8(3))
	f.Add([]byte{0, 0, 4, 1, 0, 5, 5, 0, 7, 9, 0, 8, 20, 1, 9, 1, 1, 12}, uint8(7))
	f.Fuzz(func(t *testing.T, script []byte, how uint8) {
		counts := map[ends]int{}
		tr := NewTracker(TrackerOptions{Port: uint16(how&4) * 20, Traced: how&1 != 0, Captured: how&2 != 0, Attempts: 1 + int(how>>4)}, func(a Attempt) {
			counts[ends{a.Client, a.Server}]++
			if a.Fate == FateIgnored && (how&3 != 3 || a.Incomplete) {
				t.Errorf("claims too much: %+v", a)
			}
		})
		var steps = []func(us int) given{
			func(us int) given { return syn(us, uint32(us)&3) }, synack, rstOut, rstIn, established, resent, lose, tick, accepted, icmp,
			func(us int) given { return closed(us, us&1 != 0) },
			func(us int) given { return dropped(us, "SYN", "X", false) },
			func(us int) given { return dropped(us, "SYN,ACK", "X", true) },
			func(us int) given { return sentReset(us, "SYN", "NO_SOCKET") },
			func(us int) given { return sentReset(us, "ACK", "NO_SOCKET") },
			func(us int) given { return event(us, evidence.KernelEvent{Kind: evidence.EventReceiveReset}) },
			func(us int) given {
				return packet(us, evidence.Packet{Flags: "SYN", Seq: 1, Outgoing: true, Interface: "br0", Src: client, Dst: server})
			},
		}
		saved := client
		defer func() { client = saved }()
		for ; len(script) >= 4; script = script[4:] {
			client = netip.AddrPortFrom(saved.Addr(), 40000+uint16(script[3]&7))
			steps[int(script[0])%len(steps)](int(binary.LittleEndian.Uint16(script[1:])) * 37)(tr)
			s := tr.Summary()
			sum := 0
			for fate, n := range s.Fates {
				if n < 0 {
					t.Fatalf("%d times %s", n, fate)
				}
				sum += n
			}
			if sum != s.Attempts || s.Attempts != len(tr.known)+s.Forgotten || len(tr.known) > tr.o.Attempts || s.Unfinished > s.Forgotten {
				t.Fatalf("%+v with %d known", s, len(tr.known))
			}
		}
		tr.Tick(at(late * 10))
		for _, a := range tr.Attempts() {
			if a.Last < a.At || counts[ends{a.Client, a.Server}] == 0 {
				t.Errorf("%+v", a)
			}
		}
	})
}
