package capture

import (
	"sync"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/diagnose"
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
}

// memo holds opinions by the shape of the facts: a differential takes a fifth of
// a millisecond, and a capture holds many connections and few shapes.
type memo struct {
	mu      sync.Mutex
	byShape map[string]*opinion
	alike   map[string]*opinion // by likeness and state, so that pointers compare
}

// conversation makes of a connection what diagnose asks for, and says why it is
// too early to judge it, "" if it is not.
func (r *Result) conversation(k *kept, p evidence.Peers) (evidence.Conversation, string) {
	rec := r.book.recording(k)
	length := time.Duration(k.last - k.first)
	why := early(&rec, k.wire, length)
	if k.cut {
		why = "the connection was let go for want of room before it ended (--max-connections)"
	}
	if rec.ZeroWindow && rec.Watched < stallTime {
		rec.ZeroWindow = false
		if k.wire == tcpflow.Open && why == "" {
			why = "the capture ends " + brief(rec.Watched) + " after the server's window closed, too early to tell whether it opens again"
		}
	}
	if k.class == classOpen && k.wire != tcpflow.Reset && (served(&rec) || rec.ClientBytes == 0) {
		// That others failed is no finding about one that served, and that their
		// SYNs were lost none about one whose SYN was not.
		p.Other = 0
		if k.odd&(OddSYNAgain|OddSYNACKAgain) == 0 {
			p.LostSYNs = 0
		}
	}
	return evidence.Conversation{
		Tuple:  flow.Tuple{Local: r.book.client(k), Remote: r.book.server(k.key)},
		Client: &rec, Peers: p,
	}, why
}

// finish makes the opinions about all connections that were kept.
func (r *Result) finish() {
	b := r.book
	r.peers = index(b, b.seen.take(), b.kept.all())
	r.memo = &memo{byShape: map[string]*opinion{}, alike: map[string]*opinion{}}
	r.judges = make([]*opinion, b.kept.n)
	r.NotKept = b.notes
	const run = 1024
	var wg sync.WaitGroup
	work := make(chan int)
	for range r.workers {
		wg.Go(func() {
			for from := range work {
				for i := from; i < min(from+run, b.kept.n); i++ {
					k := b.kept.at(i)
					r.judges[i] = r.judge(k, r.peers.of(k))
				}
			}
		})
	}
	for from := 0; from < b.kept.n; from += run {
		work <- from
	}
	close(work)
	wg.Wait()
}

// judge gives the opinion about a connection.
func (r *Result) judge(k *kept, p evidence.Peers) *opinion {
	c, early := r.conversation(k, p)
	s := shape(&c, k, early)
	m := r.memo
	m.mu.Lock()
	o := m.byShape[s]
	m.mu.Unlock()
	if o != nil {
		return o
	}
	full := r.diagnosed(k, &c, early)
	made := opinion{state: full.State, outcome: full.Outcome, cause: full.Verdict.Cause, certain: full.Verdict.Certainty, likeness: likeness(full)}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := made.state.String() + made.likeness
	if o = m.alike[key]; o == nil {
		o = &made
		m.alike[key] = o
	}
	m.byShape[s] = o
	return o
}

// diagnosed asks about one connection.
func (r *Result) diagnosed(k *kept, c *evidence.Conversation, early string) *Connection {
	out := &Connection{
		File: int(k.file), Number: k.number, Client: c.Tuple.Local, Server: c.Tuple.Remote,
		First: tcpflow.Time(k.first), Last: tcpflow.Time(k.last), Wire: k.wire, Odd: k.odd, Recording: *c.Client,
	}
	if early != "" {
		out.State, out.Verdict = Undecided, undecided(early)
		return out
	}
	facts, v := diagnose.Conversation(c)
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
	case v.Outcome == verdict.Degraded && k.odd&(OddSYNAgain|OddSYNACKAgain) != 0 && served(c.Client):
		out.State = Impaired
	default:
		out.State = Failed
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

// settled tells of a connection at once if it failed.
func (r *Result) settled(i int, tell func(*Connection, *Result)) {
	k := r.book.kept.at(i)
	was := k.watched
	k.watched = int64(linger)
	c, early := r.conversation(k, r.book.sofar(k))
	k.watched = was
	if full := r.diagnosed(k, &c, early); full.State == Failed {
		tell(full, r)
	}
}
