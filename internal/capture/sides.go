package capture

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/capdiff"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// Sides are captures at the two sides of connections, each read by itself with
// Options.All.
type Sides struct {
	results  [2]*Result
	byNumber [2]map[uint64]int   // place in book.kept by the number of the first packet
	arrive   [2]map[route]bool   // of which a file holds SYNs; true if RSTs refused some
	opinions map[string]*opinion // by the shape of what both sides show
}

// route is the client and the service of connections.
type route struct {
	client netip.Addr
	server netip.AddrPort
}

// NewSides takes what two captures hold, in the order in which capdiff got them.
func NewSides(a, b *Result) *Sides {
	s := &Sides{results: [2]*Result{a, b}, opinions: map[string]*opinion{}}
	for i, r := range s.results {
		s.byNumber[i] = make(map[uint64]int, len(r.book.kept))
		s.arrive[i] = map[route]bool{}
		for n := range r.book.kept {
			k := &r.book.kept[n]
			s.byNumber[i][k.number] = n
			if k.class != classOlder {
				to := route{r.book.client(k).Addr(), r.book.server(k)}
				s.arrive[i][to] = s.arrive[i][to] || k.class == classRefused
			}
		}
	}
	return s
}

// Connection judges a connection by what both captures show, or by the client's
// alone where the other does not count. It is nil where the client's capture
// does not hold the connection, or there was no room to keep it.
func (s *Sides) Connection(p *capdiff.Pair) *Connection {
	k, r := s.kept(p, tcpflow.Client)
	if k == nil {
		return nil
	}
	c, early := s.conversation(p, k, r)
	out := r.diagnosed(k, &c, early)
	out.File = p.File[tcpflow.Client]
	out.Name = r.names.of(out.Client.Addr(), out.Server.Addr(), out.First)
	return out
}

// Brief is Connection without facts and all of the verdict but its cause and
// certainty: those are the same for connections that look alike, and cost little
// then.
func (s *Sides) Brief(p *capdiff.Pair) *Connection {
	k, r := s.kept(p, tcpflow.Client)
	if k == nil {
		return nil
	}
	c, early := s.conversation(p, k, r)
	key := shape(fmt.Append(nil, c.Compared, c.Server != nil), &c, k, early)
	if c.Compared && c.Server != nil {
		other, _ := s.kept(p, tcpflow.Server)
		sent := slices.ContainsFunc(c.Server.Resets, func(x evidence.RecordedReset) bool { return x.FromServer })
		key = fmt.Append(key, c.Server.SYNCount > 0, min(c.Server.SYNACKCount, enough), c.Server.ACK, sent)
		key = shape(key, &evidence.Conversation{Tuple: c.Tuple, Client: c.Server}, other, "")
	}
	o := s.opinions[string(key)]
	if o == nil {
		x := r.diagnosed(k, &c, early)
		o = &opinion{state: x.State, outcome: x.Outcome, cause: x.Verdict.Cause, certain: x.Verdict.Certainty}
		s.opinions[string(key)] = o
	}
	return &Connection{
		File: p.File[tcpflow.Client], Number: k.number, Client: c.Tuple.Local, Server: c.Tuple.Remote, First: tcpflow.Time(k.first), Last: tcpflow.Time(k.last),
		Wire: k.wire, State: o.state, Outcome: o.outcome, Odd: k.odd, Verdict: verdict.Verdict{Cause: o.cause, Certainty: o.certain},
	}
}

// conversation is what both captures hold of a connection.
func (s *Sides) conversation(p *capdiff.Pair, k *kept, r *Result) (evidence.Conversation, string) {
	c, early := r.conversation(&evidence.Recording{}, k, r.peers.of(k))
	c.Compared = p.Whole
	refused, arrive := s.arrive[p.File[tcpflow.Server]][route{c.Tuple.Local.Addr(), c.Tuple.Remote}]
	c.Client.Place = where(c.Client.Place, p, tcpflow.Client)
	if other, at := s.kept(p, tcpflow.Server); other != nil {
		rec := at.book.recording(&evidence.Recording{}, other)
		rec.Place = where(rec.Place, p, tcpflow.Server)
		c.Server = rec
		if k.class == classRefused && refused && other.class != classRefused {
			c.Compared = false // the host does refuse: its capture may miss this RST
		}
		if c.Compared && slices.ContainsFunc(rec.Resets, func(x evidence.RecordedReset) bool { return x.FromServer }) {
			// The host itself sent the RST: how far that went compared with packets of
			// other connections, which may take another path, says no more.
			c.Peers.OpenTTLs, c.Peers.ClosedTTLs = nil, nil
		}
	} else if p.Flow[tcpflow.Server] != nil {
		c.Compared = false
	} else if arrive {
		// SYNs do arrive: those of this connection did not fare as others did. If they
		// were answered, the server's capture may miss them.
		c.Peers.Changed = true
		c.Compared = c.Compared && (k.class == classSilent || k.class == classUnclear)
	}
	return c, early
}

func (s *Sides) kept(p *capdiff.Pair, side tcpflow.Side) (*kept, *Result) {
	f := p.Flow[side]
	if f == nil {
		return nil, nil
	}
	r := s.results[p.File[side]]
	i, ok := s.byNumber[p.File[side]][f.Number]
	if !ok {
		return nil, nil
	}
	return &r.book.kept[i], r
}

// where says where a side's capture was made. Two captures show more than the
// one by itself does.
func where(one string, p *capdiff.Pair, side tcpflow.Side) string {
	switch {
	case p.Flow[side].Place == tcpflow.PlaceBoth || p.Flow[side].Place == tcpflow.PlaceBetween:
		return p.Flow[side].Place.String()
	case p.Whole:
		return side.String()
	case one == tcpflow.PlaceBoth.String():
		return "" // checksums left to an interface say less than it takes them for
	}
	return one
}
