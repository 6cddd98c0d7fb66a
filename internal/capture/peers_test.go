package capture

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// scene adds attempts to a book, of one client at one server unless told
// otherwise.
type scene struct {
	b              *book
	n              uint64
	part           int
	client, server byte
}

const start = tcpflow.Time(1_700_000_000_000_000_000)

// attempt is one that begins at a second: it opens ('o'), is refused ('r') or
// times out ('t').
func (s *scene) attempt(at float64, kind byte, port uint16, ttl uint8) {
	s.n++
	first := start + tcpflow.Time(at*1e9)
	c := tcpflow.Conn{
		ID: s.n, Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1 + s.client}), uint16(30000+s.n)),
		Server: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, 1 + s.server}), port), First: first, Last: first + 1e6,
		SYN: tcpflow.Occurrences{Count: 1, Times: []tcpflow.Time{first}},
	}
	switch kind {
	case 'o':
		c.Outcome, c.Established, c.HandshakeACK = tcpflow.Closed, true, first+1e6
		c.SYNACK = tcpflow.Occurrences{Count: 1, Times: []tcpflow.Time{first + 1e6}}
		c.Dir[tcpflow.Server].FirstTTL, c.Dir[tcpflow.Server].MinTTL, c.Dir[tcpflow.Server].MaxTTL = ttl, ttl, ttl
	case 'r':
		c.Outcome = tcpflow.Refused
		c.Resets = []tcpflow.RST{{At: first + 1e6, From: tcpflow.Server, TTL: ttl}}
	case 't':
		c.Outcome = tcpflow.TimedOut
		c.SYN = tcpflow.Occurrences{Count: 3, Times: []tcpflow.Time{first, first + 1e9, first + 3e9}}
		c.Last = first + 3e9
	}
	s.b.add(s.part, 0, &c)
}

// TestPeers: what counts for the attempt at 100 s, which is the last added.
func TestPeers(t *testing.T) {
	type at struct {
		at   float64
		kind byte
		port uint16
		ttl  uint8
	}
	for name, c := range map[string]struct {
		others []at
		this   at
		want   evidence.Peers
	}{
		"alone":             {nil, at{100, 't', 80, 0}, evidence.Peers{}},
		"alone, refused":    {nil, at{100, 'r', 80, 62}, evidence.Peers{}},
		"alone, open":       {nil, at{100, 'o', 80, 62}, evidence.Peers{}},
		"steady":            {[]at{{10, 't', 80, 0}, {50, 't', 80, 0}}, at{100, 't', 80, 0}, evidence.Peers{Same: 2, SYNs: 6, LostSYNs: 6}},
		"went down":         {[]at{{90, 'o', 80, 62}, {95, 't', 80, 0}}, at{100, 't', 80, 0}, evidence.Peers{Same: 1, SYNs: 3, LostSYNs: 3, Changed: true}},
		"came up":           {[]at{{110, 'o', 80, 62}}, at{100, 't', 80, 0}, evidence.Peers{Changed: true}},
		"comes and goes":    {[]at{{90, 'o', 80, 62}, {110, 'o', 80, 62}, {105, 't', 80, 0}}, at{100, 't', 80, 0}, evidence.Peers{Same: 1, Other: 2, SYNs: 5, LostSYNs: 3, OpenTTLs: []int{62}}},
		"down for an hour":  {[]at{{10, 'o', 80, 62}, {90, 't', 80, 0}, {4000, 'o', 80, 62}}, at{100, 't', 80, 0}, evidence.Peers{Same: 1, SYNs: 3, LostSYNs: 3}},
		"some unanswered":   {[]at{{90, 'r', 80, 62}, {95, 't', 80, 0}, {105, 't', 80, 0}, {110, 'r', 80, 62}}, at{100, 'r', 80, 62}, evidence.Peers{Same: 2, Silent: 2, SYNs: 8, LostSYNs: 6}},
		"up meanwhile":      {[]at{{101, 'o', 22, 62}}, at{100, 't', 80, 0}, evidence.Peers{OpenTTLs: []int{62}}},
		"up around it":      {[]at{{95, 'o', 22, 62}, {105, 'r', 81, 61}}, at{100, 't', 80, 0}, evidence.Peers{OpenTTLs: []int{62}, ClosedTTLs: []int{61}}},
		"up before only":    {[]at{{95, 'o', 22, 62}}, at{100, 't', 80, 0}, evidence.Peers{}},
		"up long before":    {[]at{{50, 'o', 22, 62}, {105, 'o', 22, 62}}, at{100, 't', 80, 0}, evidence.Peers{}},
		"refused, distance": {[]at{{1, 'o', 22, 62}, {2, 'r', 81, 61}, {3, 'r', 80, 63}}, at{100, 'r', 80, 63}, evidence.Peers{Same: 1, SYNs: 1, OpenTTLs: []int{62}, ClosedTTLs: []int{61}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scene{b: newBook(Options{All: true})}
			for _, o := range c.others {
				s.attempt(o.at, o.kind, o.port, o.ttl)
			}
			s.attempt(c.this.at, c.this.kind, c.this.port, c.this.ttl)
			r := &Result{book: s.b, workers: 2}
			r.finish()
			if got := r.peers.of(&s.b.kept[len(s.b.kept)-1]); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

// TestBounded: what does not fit is counted.
func TestBounded(t *testing.T) {
	s := &scene{b: newBook(Options{MaxConnections: 3 * tcpflow.Parts})}
	for i := range 10 {
		s.attempt(float64(i), 'r', 80, 64)
	}
	p := &s.b.parts[0]
	if p.kept.n != 3 || p.seen.n != 10 || p.notes != 7 {
		t.Errorf("%d kept, %d seen, %d let go", p.kept.n, p.seen.n, p.notes)
	}
}

// TestEarly: a capture that ends shows too little for some verdicts.
func TestEarly(t *testing.T) {
	opened := evidence.Recording{Began: true, SYNCount: 1, SYNs: []time.Duration{0}, SYNACKCount: 1, ACK: true, ClientBytes: 10}
	for name, c := range map[string]struct {
		change func(*evidence.Recording)
		wire   tcpflow.Outcome
		length time.Duration
		early  bool
	}{
		"request just sent":   {func(r *evidence.Recording) { r.Watched = time.Second }, tcpflow.Open, time.Millisecond, true},
		"request long ago":    {func(r *evidence.Recording) { r.Watched = time.Minute }, tcpflow.Open, time.Millisecond, false},
		"answered":            {func(r *evidence.Recording) { r.ServerBytes = 1 }, tcpflow.Open, time.Millisecond, false},
		"ended":               {func(*evidence.Recording) {}, tcpflow.Closed, time.Millisecond, false},
		"sent again just now": {func(r *evidence.Recording) { r.ServerBytes, r.Unacked, r.Resent = 1, 5, 1 }, tcpflow.Open, time.Second, true},
		"only a RST of it":    {func(r *evidence.Recording) { *r = evidence.Recording{} }, tcpflow.Open, 0, true},
	} {
		r := opened
		c.change(&r)
		if got := early(&r, c.wire, c.length); (got != "") != c.early {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestHoles: packets that the capture misses lower what is claimed.
func TestHoles(t *testing.T) {
	c := tcpflow.Conn{
		First: start, Last: start + 1e9, Outcome: tcpflow.Open, Established: true,
		SYN: tcpflow.Occurrences{Count: 1, Times: []tcpflow.Time{start}},
	}
	c.Dir[tcpflow.Client].Bytes, c.Dir[tcpflow.Client].Data = 5, []byte("hello")
	var r evidence.Recording
	if record(&r, &c); r.Began || r.ServerBytes == 0 || r.ClientData != nil {
		t.Errorf("the SYN-ACK is missing, and yet %+v", r)
	}
	if odd(&c)&OddHole == 0 {
		t.Error("it is not called odd")
	}
}

// established is a connection with a handshake and no more.
func established() tcpflow.Conn {
	c := tcpflow.Conn{
		ID: 1, First: start, Last: start + 1e6, Outcome: tcpflow.Open, Established: true, HandshakeACK: start + 1e6,
		Client: netip.MustParseAddrPort("192.0.2.1:40000"), Server: netip.MustParseAddrPort("198.51.100.7:80"),
		SYN:    tcpflow.Occurrences{Count: 1, Times: []tcpflow.Time{start}},
		SYNACK: tcpflow.Occurrences{Count: 1, Times: []tcpflow.Time{start + 1e5}},
	}
	d := &c.Dir[tcpflow.Server]
	d.SeenSYN, d.ISN, d.FirstTTL, d.MinTTL, d.MaxTTL = true, 5000, 62, 62, 62
	return c
}

// TestRecord: what packets say beyond their numbers.
func TestRecord(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*tcpflow.Conn)
		ok     func(*evidence.Recording) bool
	}{
		"SYN-ACK again before the ACK": {func(c *tcpflow.Conn) {
			c.HandshakeACK = start + 2e9
			c.SYNACK = tcpflow.Occurrences{Count: 2, Times: []tcpflow.Time{start + 1e5, start + 1e9}}
		}, func(r *evidence.Recording) bool { return !r.SYNACKAgain }},
		"SYN-ACK again behind the ACK": {func(c *tcpflow.Conn) {
			c.SYNACK = tcpflow.Occurrences{Count: 2, Times: []tcpflow.Time{start + 1e5, start + 1e9}}
		}, func(r *evidence.Recording) bool { return r.SYNACKAgain }},
		"hop limits that differ": {func(c *tcpflow.Conn) { c.Dir[tcpflow.Server].MinTTL = 61 }, func(r *evidence.Recording) bool { return r.ServerTTL == 0 }},
		"one hop limit":          {func(*tcpflow.Conn) {}, func(r *evidence.Recording) bool { return r.ServerTTL == 62 && !r.Missed }},
		"the client's TCP had the connection": {func(c *tcpflow.Conn) {
			c.HandshakeACK, c.Established, c.Outcome = 0, false, tcpflow.Abandoned
			c.Resets = []tcpflow.RST{{At: start + 1e6, From: tcpflow.Client, Flags: wire.RST | wire.ACK, Ack: 5001}}
		}, func(r *evidence.Recording) bool { return r.ACK }},
		"the client's TCP had given up": {func(c *tcpflow.Conn) {
			c.HandshakeACK, c.Established, c.Outcome = 0, false, tcpflow.Abandoned
			c.Resets = []tcpflow.RST{{At: start + 1e6, From: tcpflow.Client, Flags: wire.RST}}
		}, func(r *evidence.Recording) bool { return !r.ACK }},
	} {
		x := established()
		c.change(&x)
		var r evidence.Recording
		if record(&r, &x); !c.ok(&r) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// judged gives what is said of a connection beside others.
func judged(total tcpflow.Counts, conns ...tcpflow.Conn) *Connection {
	r := &Result{book: newBook(Options{All: true}), workers: 1, Total: total}
	r.Files = []File{{}}
	for i := range conns {
		conns[i].ID = uint64(i + 1)
		r.book.add(0, 0, &conns[i])
	}
	r.book.ended([tcpflow.Parts]int{}, start+60e9)
	r.finish()
	return r.connection(0)
}

// TestUndecided: what a capture does not hold may be what decides.
func TestUndecided(t *testing.T) {
	closed := func(missed bool) tcpflow.Conn {
		c := established()
		c.Outcome, c.Dir[tcpflow.Server].FIN, c.Dir[tcpflow.Client].Missed = tcpflow.HalfClosed, start+2e6, missed
		return c
	}
	silent := established()
	silent.SYNACK, silent.HandshakeACK, silent.Established, silent.Outcome = tcpflow.Occurrences{}, 0, false, tcpflow.TimedOut
	silent.SYN = tcpflow.Occurrences{Count: 3, Times: []tcpflow.Time{start, start + 1e9, start + 3e9}}
	silent.Dir[tcpflow.Server] = tcpflow.Direction{}
	for name, c := range map[string]struct {
		got  *Connection
		want State
	}{
		"closed by the server":           {judged(tcpflow.Counts{}, closed(false)), Failed},
		"perhaps closed by the client":   {judged(tcpflow.Counts{}, closed(true)), Undecided},
		"unanswered":                     {judged(tcpflow.Counts{}, silent), Failed},
		"unanswered but by ICMP perhaps": {judged(tcpflow.Counts{Snapped: 1, ICMPSnapped: 1}, silent), Undecided},
	} {
		if c.got.State != c.want || (c.want == Undecided) != (c.got.Verdict.Certainty == verdict.Unknown) {
			t.Errorf("%s: %v, %+v", name, c.got.State, c.got.Verdict)
		}
	}
}

// TestRouterResets: RSTs alone leave a router as they leave the server.
func TestRouterResets(t *testing.T) {
	refused := established()
	refused.SYNACK, refused.HandshakeACK, refused.Established, refused.Outcome = tcpflow.Occurrences{}, 0, false, tcpflow.Refused
	refused.Resets = []tcpflow.RST{{At: start + 1e5, From: tcpflow.Server, TTL: 64}}
	refused.Dir[tcpflow.Client].Incoming = true
	refused.Dir[tcpflow.Server] = tcpflow.Direction{Outgoing: true}
	other := func(ttl uint8) tcpflow.Conn {
		c := established()
		c.Server = netip.AddrPortFrom(c.Server.Addr(), 22)
		d := &c.Dir[tcpflow.Server]
		d.FirstTTL, d.MinTTL, d.MaxTTL, d.Outgoing = ttl, ttl, ttl, true
		return c
	}
	for name, c := range map[string]struct {
		conns []tcpflow.Conn
		there bool
	}{
		"alone":             {[]tcpflow.Conn{refused}, false},
		"the server's":      {[]tcpflow.Conn{refused, other(64), other(64)}, true},
		"before the server": {[]tcpflow.Conn{refused, other(63), other(63)}, false},
	} {
		x := judged(tcpflow.Counts{}, c.conns...)
		left := slices.ContainsFunc(x.Verdict.Candidates, func(c verdict.Candidate) bool { return c.Cause == "path-firewall-reset" })
		if left == c.there || x.State != Failed {
			t.Errorf("%s: %v of %+v", name, x.State, x.Verdict.Candidates)
		}
	}
}

// TestHalfOpen: a SYN-ACK that nothing follows shows no answer yet.
func TestHalfOpen(t *testing.T) {
	c := established()
	c.HandshakeACK, c.Established, c.Outcome = 0, false, tcpflow.Unconfirmed
	if s := look(&c); s.class != classUnclear {
		t.Errorf("class %v", s.class)
	}
}
