package capture

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
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
