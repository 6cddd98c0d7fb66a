package capture

import (
	"slices"
	"sync"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// opinion is what connections whose facts are equal have in common.
type opinion struct {
	state    State
	outcome  verdict.Outcome
	cause    verdict.CauseID
	certain  verdict.Certainty
	likeness string // equal for those that are told of together
	number   uint32 // of the opinion, in no order
}

// memo holds opinions by the shape of the facts: a differential takes a fifth of
// a millisecond, and a capture holds many connections and few shapes.
type memo struct {
	mu      sync.Mutex
	byShape map[string]*opinion
	alike   map[string]*opinion // by likeness and state, so that pointers compare
}

// conversation makes of a connection what diagnose asks for, and says why it is
// too early to judge it, "" if it is not. The recording is made in rec.
func (r *Result) conversation(rec *evidence.Recording, k *kept, p evidence.Peers) (evidence.Conversation, string) {
	r.book.recording(rec, k)
	length := time.Duration(k.last - k.first)
	why := early(rec, k.wire, length)
	if k.cut {
		why = "the connection was let go for want of room before it ended (--max-connections)"
	}
	if rec.ZeroWindow && rec.Watched < stallTime {
		rec.ZeroWindow = false
		if k.wire == tcpflow.Open && why == "" {
			why = "the capture ends " + brief(rec.Watched) + " after the server's window closed, too early to tell whether it opens again"
		}
	}
	if rec.Place == tcpflow.PlaceServer.String() && rec.SYNACKCount == 0 && !hostResets(rec, &p) {
		rec.Place = "" // a router that resets sends no more of its own either
	}
	if k.class == classOpen && k.wire != tcpflow.Reset && (served(rec) || rec.ClientBytes == 0) {
		// That others failed is no finding about one that served, and that their
		// SYNs were lost none about one whose SYN was not.
		p.Other, p.Silent = 0, 0
		if k.odd&(OddSYNAgain|OddSYNACKAgain) == 0 {
			p.LostSYNs = 0
		}
	}
	return evidence.Conversation{
		Tuple:  flow.Tuple{Local: r.book.client(k), Remote: r.book.server(k)},
		Client: rec, Peers: p,
	}, why
}

// hostResets says whether RSTs that left the capturing host are known to be the
// server's: its SYN-ACKs begin there with the same hop limit.
func hostResets(r *evidence.Recording, p *evidence.Peers) bool {
	return len(p.OpenTTLs) == 1 && !slices.ContainsFunc(r.Resets, func(x evidence.RecordedReset) bool {
		return x.FromServer && x.TTL != p.OpenTTLs[0]
	})
}

// judge makes opinions. Its memory is used anew for each connection.
type judge struct {
	r     *Result
	host  host
	peers evidence.Peers
	rec   evidence.Recording
	shape []byte
	own   map[string]*opinion // as in memo.byShape, without its lock

	touched byte
}

// finish makes the opinions about all connections that were kept.
func (r *Result) finish() {
	b := r.book
	r.peers = b.merge(r.workers)
	r.memo = &memo{byShape: map[string]*opinion{}, alike: map[string]*opinion{}}
	r.judges = make([]*opinion, len(b.kept))
	r.NotKept = b.notes
	judges := make([]judge, r.workers)
	for i := range judges {
		judges[i].r, judges[i].own = r, map[string]*opinion{}
	}
	const run = 256
	pairs := len(r.peers.pairs) - 1
	parallel(r.workers, (pairs+run-1)/run, func(worker, i int) {
		j := &judges[worker]
		from, to := i*run, min((i+1)*run, pairs)
		j.near(r.peers.seen[r.peers.pairs[from]:r.peers.pairs[to]])
		for pair := from; pair < to; pair++ {
			j.pair(uint32(pair))
		}
	})
}

// near reads a byte of all that is kept of some connections: it is all over the
// memory, and what does not depend on each other is waited for at once.
func (j *judge) near(some []seen) {
	b := j.r.book
	for i := range some {
		if n := some[i].kept; n != 0 {
			j.touched += byte(b.kept[n-1].offset)
		}
	}
	for i := range some {
		if n := some[i].kept; n != 0 {
			k := &b.kept[n-1]
			j.touched += b.parts[k.part].blob[k.chunk][k.offset]
		}
	}
}

// pair judges the connections between two hosts.
func (j *judge) pair(pair uint32) {
	p := j.r.peers
	run := p.run(pair)
	filled := false
	for i := range run {
		n := run[i].kept
		if n == 0 {
			continue
		}
		if !filled {
			j.host.fill(run)
			filled = true
		}
		k := &j.r.book.kept[n-1]
		k.seen = p.pairs[pair] + uint32(i)
		j.host.peers(k, i, &j.peers)
		j.r.judges[n-1] = j.opinion(k)
	}
}

// opinion gives the one about a connection.
func (j *judge) opinion(k *kept) *opinion {
	r := j.r
	c, early := r.conversation(&j.rec, k, j.peers)
	j.shape = append(shape(j.shape[:0], &c, k, early), bit(k.gap, 1))
	if o := j.own[string(j.shape)]; o != nil {
		return o
	}
	s := string(j.shape)
	m := r.memo
	m.mu.Lock()
	o := m.byShape[s]
	m.mu.Unlock()
	if o == nil {
		full := r.diagnosed(k, &c, early)
		o = m.keep(s, &opinion{state: full.State, outcome: full.Outcome, cause: full.Verdict.Cause, certain: full.Verdict.Certainty, likeness: likeness(full)})
	}
	j.own[s] = o
	return o
}

// keep remembers an opinion about a shape, and gives the one that is equal.
func (m *memo) keep(shape string, made *opinion) *opinion {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := made.state.String() + made.likeness
	o := m.alike[key]
	if o == nil {
		o = made
		o.number = uint32(len(m.alike))
		m.alike[key] = o
	}
	m.byShape[shape] = o
	return o
}

// diagnosed asks about one connection.
func (r *Result) diagnosed(k *kept, c *evidence.Conversation, early string) *Connection {
	file, number := r.locate(int(k.file), k.number)
	out := &Connection{
		File: file, Number: number, Client: c.Tuple.Local, Server: c.Tuple.Remote,
		First: tcpflow.Time(k.first), Last: tcpflow.Time(k.last), Wire: k.wire, Odd: k.odd, Recording: *c.Client,
	}
	if early != "" {
		out.State, out.Verdict = Undecided, undecided(early)
		return out
	}
	facts, v := r.known.Conversation(c)
	out.Facts, out.Verdict, out.Outcome = facts, v.Verdict, v.Outcome
	switch {
	case len(facts) == 0:
		out.State, out.Outcome = Undecided, ""
		if c.Client.SYNCount == 1 && c.Client.Watched >= answerTime {
			out.Verdict.Finding = "the SYN was not sent again in the " + brief(c.Client.Watched) + " that the capture goes on: the client gave up, or the capture misses packets"
		}
	case v.Outcome == verdict.Open && k.wire == tcpflow.Unconfirmed:
		out.State, out.Outcome = Undecided, ""
		out.Verdict = undecided("SYN-ACKs came, and the client's ACK is not in the capture")
	case v.Outcome == verdict.Open:
		out.State = Fine
	case c.Client.Missed || c.Compared && c.Server != nil && c.Server.Missed:
		out.State, out.Outcome = Undecided, ""
		out.Verdict = undecided("the capture misses packets that were acknowledged: what they were would decide")
	case v.Outcome == verdict.Timeout && r.Total.ICMPSnapped > 0:
		out.State, out.Outcome = Undecided, ""
		out.Verdict = undecided("the capture's snap length cut ICMP errors too short to tell whom they are about, which may have answered the SYN: capture at least 128 bytes")
	case v.Outcome == verdict.Degraded && k.odd&(OddSYNAgain|OddSYNACKAgain) != 0 && served(c.Client):
		out.State = Impaired
	default:
		out.State = Failed
	}
	if k.gap && out.State != Fine {
		out.State, out.Outcome, out.Facts, out.Verdict = Undecided, "", nil, undecided(r.missed(k))
	}
	return out
}

func undecided(why string) verdict.Verdict {
	return verdict.Verdict{
		Certainty: verdict.Unknown, Cause: verdict.Undetermined, Finding: why,
		Candidates: []verdict.Candidate{}, RuledOut: []verdict.RuledOut{}, Because: []evidence.ID{},
	}
}

// likeness is equal for connections that fare alike for the same causes.
func likeness(c *Connection) string {
	s := string(c.Outcome) + "|" + string(c.Verdict.Certainty) + "|" + string(c.Verdict.Cause)
	for _, x := range c.Verdict.Candidates {
		s += "|" + string(x.Cause)
	}
	return s
}

// settled tells of the connection that was added last at once if it failed.
func (r *Result) settled(tell func(*Connection, *Result)) {
	b := r.book
	p := &b.parts[0]
	k := *p.kept.at(p.kept.n - 1)
	k.watched = int64(linger)
	c, early := r.conversation(&evidence.Recording{}, &k, p.sofar(&k))
	if full := r.diagnosed(&k, &c, early); full.State == Failed {
		tell(full, r)
	}
}

// sofar gives the peers of the connection that was added last, while the
// capture goes on: from the notes of the last minutes.
func (p *part) sofar(k *kept) (out evidence.Peers) {
	const most = 1 << 14
	var recent []seen
	for i := max(p.seen.n-most, 0); i < p.seen.n; i++ {
		if s := p.seen.at(i); s.client == k.client && s.server == k.server {
			recent = append(recent, *s)
		}
	}
	slices.SortFunc(recent, compareSeen)
	var h host
	h.fill(recent)
	h.peers(k, slices.IndexFunc(recent, func(s seen) bool { return s.kept == uint32(p.kept.n) }), &out)
	return out
}
