package diagnose

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// trace is one of a port that hears the routers at the first hops, and nothing
// behind them until it ends.
func trace(port uint16, took time.Duration, routers ...string) *evidence.Path {
	p := &evidence.Path{Port: port, Method: "connect", Took: took}
	for ttl := 1; ttl <= 30; ttl++ {
		h := evidence.Hop{TTL: ttl, Kind: "silent", Tries: 1}
		if ttl <= len(routers) {
			h.Addr, h.Kind, h.RTT = netip.MustParseAddr(routers[ttl-1]), "time-exceeded", time.Millisecond
		} else {
			p.Unanswered++
		}
		p.Hops = append(p.Hops, h)
	}
	return p
}

// answering is a trace that the port answers behind the routers.
func answering(port uint16, answer string, rtt time.Duration, routers ...string) *evidence.Path {
	p := trace(port, 2*rtt, routers...)
	p.Unanswered, p.Answer, p.AnswerTTL = 0, answer, len(routers)+1
	p.Hops = append(p.Hops[:len(routers)], evidence.Hop{TTL: p.AnswerTTL, Kind: answer, RTT: rtt, Tries: 1})
	return p
}

// What was given up before an answer could have come does not rule out that it was
// only late, or lost by chance.
func TestSilenceThatWasNotHeardOut(t *testing.T) {
	const router = "192.0.2.9"
	persistent := func(took time.Duration) (cs []evidence.Control) {
		for i := range 12 {
			cs = append(cs, evidence.Control{Kind: evidence.ControlSourcePort, Port: ownServer.Port(), SourcePort: uint16(50000 + i), Took: took, Sent: 1, Answer: "silent"})
		}
		return cs
	}
	answer := func(kind, what string, took time.Duration) evidence.Control {
		return evidence.Control{Kind: kind, Port: ownServer.Port(), Took: took, Sent: 1, Answer: what, From: ownServer.Addr()}
	}
	for _, c := range []struct {
		name        string
		change      func(*evidence.Address)
		left, ruled []verdict.CauseID
		path        evidence.Value // "" for no fact
	}{
		{"traces end before the host's round trip", func(a *evidence.Address) {
			a.Attempts[0].Took, a.Attempts[0].Retransmits = 800*time.Millisecond, 0
			a.Path, a.OtherPath = trace(5432, 200*time.Millisecond, router), trace(61, 200*time.Millisecond, router)
			a.Controls = []evidence.Control{answer(evidence.ControlTTL255, "syn-ack", 301*time.Millisecond), answer(evidence.ControlEcho, "echo-reply", 301*time.Millisecond)}
		}, []verdict.CauseID{"packet-loss", "ttl-security"}, nil, ""},
		{"only the SYN with TTL 255 tells the round trip", func(a *evidence.Address) {
			a.Attempts[0].Took, a.Attempts[0].Retransmits = 800*time.Millisecond, 0
			a.Path, a.OtherPath = trace(5432, 500*time.Millisecond, router), trace(61, 500*time.Millisecond, router)
			a.Controls = []evidence.Control{answer(evidence.ControlTTL255, "syn-ack", 600*time.Millisecond)}
		}, []verdict.CauseID{"packet-loss", "ttl-security"}, nil, ""},
		{"nothing answers, and nothing was waited for", func(a *evidence.Address) {
			a.Path, a.OtherPath = trace(5432, 500*time.Millisecond), trace(61, 500*time.Millisecond)
		}, []verdict.CauseID{"packet-loss", "bad-ecmp-path", "host-down"}, nil, ""},
		{"nothing answers behind a router, and nothing was waited for", func(a *evidence.Address) {
			a.Path, a.OtherPath = trace(5432, 200*time.Millisecond, router), trace(61, 200*time.Millisecond, router)
		}, []verdict.CauseID{"packet-loss", "bad-ecmp-path", "host-down"}, nil, ""},
		{"nothing answers for long", func(a *evidence.Address) {
			a.Path, a.OtherPath = trace(5432, 200*time.Millisecond, router), trace(61, 200*time.Millisecond, router)
			a.Controls = persistent(1600 * time.Millisecond)
		}, []verdict.CauseID{"host-down", "path-blackhole"}, []verdict.CauseID{"packet-loss", "bad-ecmp-path"}, evidence.PathBlackhole},
		{"nothing answers several attempts, none of them for long", func(a *evidence.Address) {
			a.Attempts[0].Took, a.Attempts[0].Retransmits = 400*time.Millisecond, 0
			for range 19 {
				a.Attempts = append(a.Attempts, a.Attempts[0])
			}
		}, []verdict.CauseID{"packet-loss", "bad-ecmp-path", "host-down"}, nil, ""},
		{"others of several attempts tell the round trip", func(a *evidence.Address) {
			a.Attempts[0].Took, a.Attempts[0].Retransmits = 400*time.Millisecond, 0
			a.Attempts = append(a.Attempts, evidence.Attempt{Tuple: a.Attempts[0].Tuple, Took: 3 * time.Millisecond, Connected: true, RTT: 3 * time.Millisecond})
		}, []verdict.CauseID{"packet-loss", "bad-ecmp-path", "nat-dead-backend"}, []verdict.CauseID{"host-down"}, ""},
		{"the others are too far away to say that one is lost", func(a *evidence.Address) {
			a.Attempts[0].Took, a.Attempts[0].Retransmits = 400*time.Millisecond, 0
			a.Attempts = append(a.Attempts, evidence.Attempt{Tuple: a.Attempts[0].Tuple, Took: 390 * time.Millisecond, Connected: true, RTT: 390 * time.Millisecond})
		}, []verdict.CauseID{"packet-loss", "bad-ecmp-path", "nat-dead-backend"}, []verdict.CauseID{"host-down"}, ""},
		{"one of many is answered", func(a *evidence.Address) {
			a.Path, a.OtherPath = trace(5432, 200*time.Millisecond, router), trace(61, 200*time.Millisecond, router)
			a.Controls = persistent(1600 * time.Millisecond)
			a.Controls[7].Answer, a.Controls[7].From, a.Controls[7].Type, a.Controls[7].Code = "icmp", netip.MustParseAddr(router), 3, 1
		}, []verdict.CauseID{"packet-loss"}, nil, ""},
		{"a near host's port is silent", func(a *evidence.Address) {
			a.Path, a.OtherPath = trace(5432, 500*time.Millisecond, router), answering(61, "rst", 3*time.Millisecond, router)
		}, []verdict.CauseID{"host-firewall-drop"}, []verdict.CauseID{"packet-loss", "bad-ecmp-path"}, evidence.PathLastHop},
		{"a loop that is seen after the trace", func(a *evidence.Address) {
			at := &a.Attempts[0]
			at.Pending, at.Retransmits, at.Took, at.Errno = false, 1, 1200*time.Millisecond, "EHOSTUNREACH"
			at.ICMP = []evidence.SocketError{{At: at.Took, Errno: at.Errno, Type: 11, From: netip.MustParseAddr(router)}}
			a.Path, a.OtherPath = trace(5432, 500*time.Millisecond), trace(61, 500*time.Millisecond)
		}, []verdict.CauseID{"routing-loop"}, nil, ""},
	} {
		set := ownSet("accept", "accept")
		c.change(&set.Addresses[0])
		facts := ObserveAddress(set, &set.Addresses[0])
		d := Differ(evidence.ScopeAddress, facts)
		for _, id := range c.left {
			if !d.has(id) {
				t.Errorf("%s: %s is ruled out", c.name, id)
			}
		}
		for _, id := range c.ruled {
			if d.has(id) {
				t.Errorf("%s: %s is left", c.name, id)
			}
		}
		var path evidence.Value
		if i := slices.IndexFunc(facts, func(f evidence.Fact) bool { return f.Key == evidence.PathEnd }); i >= 0 {
			path = facts[i].Value
		}
		if path != c.path {
			t.Errorf("%s: the path ends %q, want %q", c.name, path, c.path)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	const rtt = 3 * time.Millisecond
	for _, c := range []struct {
		name string
		a    evidence.Address
		want time.Duration
	}{
		{"nothing", evidence.Address{Attempts: []evidence.Attempt{{Took: time.Second, Pending: true}}, Controls: []evidence.Control{{Took: time.Second, Answer: "silent"}}}, 0},
		{"another attempt", evidence.Address{Attempts: []evidence.Attempt{{Took: time.Second, Pending: true}, {Took: 2 * rtt, Connected: true, RTT: rtt}}}, rtt},
		{"refused", evidence.Address{Attempts: []evidence.Attempt{{Took: rtt, Errno: "ECONNREFUSED"}}}, rtt},
		{"refused, once sent again", evidence.Address{Attempts: []evidence.Attempt{{Took: time.Second, Errno: "ECONNREFUSED", Retransmits: 1}}}, 0},
		{"refused by a router", evidence.Address{Attempts: []evidence.Attempt{{Took: rtt, Errno: "ECONNREFUSED", ICMP: make([]evidence.SocketError, 1)}}}, 0},
		{"another port", evidence.Address{Path: trace(5432, time.Second), OtherPath: answering(61, "rst", rtt)}, rtt},
		{"a bare ACK", evidence.Address{Controls: []evidence.Control{{Took: time.Second, Answer: "silent"}, {Took: rtt, Answer: "rst"}}}, rtt},
	} {
		if got := RoundTrip(&c.a); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// Large segments that stall where SYNs are lost may be lost by chance, too.
func TestLossMayStallLargeSegments(t *testing.T) {
	set := ownSet("accept", "accept")
	a := &set.Addresses[0]
	a.Attempts[0] = evidence.Attempt{Tuple: a.Attempts[0].Tuple, Took: time.Second, Connected: true, Retransmits: 1, RTT: 3 * time.Millisecond}
	acked := true
	a.Session = &evidence.Session{Expect: "http", Got: "http", Sent: 80, Received: 100, Hello: "http head", Acked: &acked,
		MTU: &evidence.MTUCheck{SmallAcked: true, LargeBytes: 5000, MSS: 1448, MSSTried: 536, MSSAcked: true}}
	if d := Differ(evidence.ScopeAddress, ObserveAddress(set, a)); !d.has("packet-loss") {
		t.Errorf("packet-loss is ruled out, left are %v", d.Candidates())
	}
}

// A session that fails behind a SYN that was lost fails by its own cause.
func TestLossBeforeASessionThatFails(t *testing.T) {
	acked := true
	for _, c := range []struct {
		session evidence.Session
		want    verdict.CauseID
	}{
		{evidence.Session{Expect: "tls", Got: "tls", Sent: 80, Received: 7, Hello: "tls client hello", Acked: &acked, TLS: &evidence.TLS{Problem: "alert", Alert: "handshake failure"}}, "tls-failed"},
		{evidence.Session{Expect: "http", Got: "http", Sent: 80, Received: 90, Hello: "http head", Acked: &acked, HTTP: &evidence.HTTP{Status: 502}}, "http-gateway-error"},
		{evidence.Session{Expect: "http", Got: "ssh", Sent: 80, Received: 20, Hello: "http head", Acked: &acked}, "wrong-protocol"},
		{evidence.Session{Expect: "http", End: "rst"}, "reset-on-accept"},
		{evidence.Session{Expect: "http", End: "fin"}, "closed-on-accept"},
		{evidence.Session{Expect: "http", Sent: 80, Hello: "http head", Acked: &acked}, "application-silent"},
	} {
		set := ownSet("accept", "accept")
		a := &set.Addresses[0]
		a.Attempts[0] = evidence.Attempt{Tuple: a.Attempts[0].Tuple, Took: time.Second, Connected: true, Retransmits: 1, RTT: 3 * time.Millisecond}
		a.Session = &c.session
		if d := Differ(evidence.ScopeAddress, ObserveAddress(set, a)); !d.has(c.want) {
			t.Errorf("%s is ruled out, left are %v", c.want, d.Candidates())
		}
	}
}

// That small segments fare no better is said only where they were tried.
func TestLargeSegmentsThatWereNotTriedSmaller(t *testing.T) {
	for tried, want := range map[int]bool{0: false, 536: true} {
		o := &observer{}
		o.large(&evidence.Session{MTU: &evidence.MTUCheck{SmallAcked: true, LargeBytes: 5000, MSS: 1448, MSSTried: tried}})
		if got := len(o.facts) > 0; got != want {
			t.Errorf("segments of %d tried: %v", tried, o.facts)
		}
	}
}

// An address of a name that answered another SYN is not one that fails: the loss
// is, not the address or its family.
func TestAddressThatFailsByChance(t *testing.T) {
	for _, c := range []struct {
		name string
		path *evidence.Path
		want verdict.CauseID
	}{
		{"it answered the trace", answering(5432, "syn-ack", 3*time.Millisecond, "192.0.2.9"), "packet-loss"},
		{"it answers nothing", trace(5432, 500*time.Millisecond, "192.0.2.9"), "address-family-broken"},
	} {
		set := ownSet("accept", "accept")
		set.Target.Host, set.Target.Addr = "db.example", netip.Addr{}
		works := netip.MustParseAddrPort("[2001:db8::7]:5432")
		set.Name = &evidence.Name{Host: "db.example", Addrs: []netip.Addr{ownServer.Addr(), works.Addr()}, AddrsFrom: "dns",
			System: &evidence.SystemAnswer{Addrs: []netip.Addr{ownServer.Addr(), works.Addr()}}}
		a := &set.Addresses[0]
		a.Attempts[0].Took, a.Attempts[0].Retransmits = 500*time.Millisecond, 0
		a.Path, a.OtherPath = c.path, answering(61, "rst", 3*time.Millisecond, "192.0.2.9")
		set.Addresses = append(set.Addresses, evidence.Address{Addr: works, Attempts: []evidence.Attempt{{Took: 3 * time.Millisecond, Connected: true, RTT: 3 * time.Millisecond}}})
		d := Diagnose(set)
		if !slices.ContainsFunc(d.Verdict.Candidates, func(x verdict.Candidate) bool { return x.Cause == c.want }) {
			t.Errorf("%s: %s of %v, want %s: %s", c.name, d.Verdict.Certainty, d.Verdict.Candidates, c.want, d.Verdict.Finding)
		}
	}
}
