package capture

import (
	"iter"
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// Summary counts the connections that a filter selects.
type Summary struct {
	// Connections are all of them; Attempts have their SYN in the capture,
	// Older ones have not.
	Connections, Attempts, Older int
	// These sum to Connections, without a filter by cause; see State.
	Fine, Impaired, Failed, Undecided int
	// Outcomes counts the failed ones by what the client experienced.
	Outcomes map[verdict.Outcome]int
	// Odd counts those that are fine or impaired by the bits of Odd, OddOnes
	// those that have any.
	Odd     [odds]int
	OddOnes int
	// Explained says that a failed connection has a cause at all, or several.
	Explained bool
	// Targets and Causes count the failed ones, most first; TargetCount is how
	// many targets there are.
	Targets     []TargetCount
	TargetCount int
	Causes      []CauseCount
	// Groups are the failed ones by target and verdict, most first, of
	// GroupCount in all; then those of the impaired and undecided ones.
	Groups, ImpairedGroups, UndecidedGroups []Group
	GroupCount                              int
}

// TargetCount is how many connections to a server failed.
type TargetCount struct {
	Server   netip.AddrPort
	Name     string
	Failed   int
	Attempts int // in all
}

// CauseCount is how many connections failed with a first candidate, Certain of
// them with no other.
type CauseCount struct {
	Cause           verdict.CauseID
	Failed, Certain int
}

// Group is connections to one server that fared alike for the same causes.
type Group struct {
	Server      netip.AddrPort
	Name        string
	State       State
	Outcome     verdict.Outcome
	Cause       verdict.CauseID
	Certainty   verdict.Certainty
	Count       int
	Clients     int // hosts
	First, Last tcpflow.Time
	example     int
}

// Summarize counts what a filter selects. At most so many targets and groups
// are given, those with the highest counts; Summary tells how many there are.
func (r *Result) Summarize(f Filter, most int) *Summary {
	c := counting{r: r, m: r.matcher(f)}
	s := &c.Summary
	s.Outcomes = map[verdict.Outcome]int{}
	for i := range r.book.kept {
		k, o := &r.book.kept[i], r.judges[i]
		if c.m.takes(k.server, k.serverPort, k.first) && c.m.judged(o) {
			c.add(k, o, uint32(i))
		}
	}
	c.sum()
	c.group()
	c.attempts()
	s.Fine = max(s.Connections-s.Failed-s.Undecided-s.Impaired, 0)
	c.give(most)
	return s
}

// Example gives one connection of a group with its verdict.
func (r *Result) Example(g *Group) *Connection { return r.connection(g.example) }

// connection gives one that was kept, with its verdict.
func (r *Result) connection(i int) *Connection {
	k := &r.book.kept[i]
	c, early := r.conversation(&evidence.Recording{}, k, r.peers.of(k))
	out := r.diagnosed(k, &c, early)
	out.Name = r.names.of(out.Client.Addr(), out.Server.Addr(), out.First)
	return out
}

// Brief is a connection without its facts.
type Brief struct {
	File           int
	Number         uint64
	Client, Server netip.AddrPort
	Name           string
	First, Last    tcpflow.Time
	Wire           tcpflow.Outcome
	State          State
	Outcome        verdict.Outcome
	Odd            Odd
	Cause          verdict.CauseID
	Certainty      verdict.Certainty
}

// Brief gives the connection without its facts.
func (c *Connection) Brief() Brief {
	return Brief{
		File: c.File, Number: c.Number, Client: c.Client, Server: c.Server, Name: c.Name, First: c.First, Last: c.Last,
		Wire: c.Wire, State: c.State, Outcome: c.Outcome, Odd: c.Odd, Cause: c.Verdict.Cause, Certainty: c.Verdict.Certainty,
	}
}

// Select says which connections to give.
type Select uint8

// The selections.
const (
	OnlyFailed Select = iota // failed ones
	Notable                  // failed, undecided and odd ones
	Everything               // all that were kept; see Options.All
)

func (x Select) takes(o *opinion, odd Odd) bool {
	switch {
	case x == Everything || o.state == Failed:
		return true
	case x == Notable:
		return o.state != Fine || odd != 0
	}
	return false
}

// Briefs gives the connections that are selected, in the order of the capture.
func (r *Result) Briefs(f Filter, which Select) iter.Seq[Brief] {
	m := r.matcher(f)
	return func(yield func(Brief) bool) {
		for i := range r.book.kept {
			if !r.selects(m, which, i) {
				continue
			}
			k, o := &r.book.kept[i], r.judges[i]
			file, number := r.locate(int(k.file), k.number)
			b := Brief{
				File: file, Number: number, Client: r.book.client(k), Server: r.book.server(k),
				First: tcpflow.Time(k.first), Last: tcpflow.Time(k.last), Wire: k.wire, State: o.state, Outcome: o.outcome,
				Odd: k.odd, Cause: o.cause, Certainty: o.certain,
			}
			b.Name = r.names.of(b.Client.Addr(), b.Server.Addr(), b.First)
			if !yield(b) {
				return
			}
		}
	}
}

func (r *Result) selects(m *matcher, which Select, i int) bool {
	k, o := &r.book.kept[i], r.judges[i]
	return m.takes(k.server, k.serverPort, k.first) && m.judged(o) && which.takes(o, k.odd)
}
