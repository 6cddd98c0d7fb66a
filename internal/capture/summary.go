package capture

import (
	"cmp"
	"iter"
	"math/bits"
	"net/netip"
	"slices"
	"sync"

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

// target is a service, whoever asks for it.
type target struct {
	server uint32 // in book.list
	port   uint16
}

// tally is a TargetCount, and gathering a Group, in the making.
type tally struct {
	target
	o               *opinion
	count, attempts int32
	clients         int32
	client          uint32
	example         int32
	first, last     int64
}

// Summarize counts what a filter selects. At most so many targets and groups
// are given, those with the highest counts; Summary tells how many there are.
func (r *Result) Summarize(f Filter, most int) *Summary {
	c := counting{r: r, m: r.matcher(f), groups: map[groupKey]int{}, targets: map[target]int{}, causes: map[verdict.CauseID]*CauseCount{}, clients: map[[2]uint32]struct{}{}}
	s := &c.Summary
	s.Outcomes = map[verdict.Outcome]int{}
	i := 0
	for k := range r.book.kept.all() {
		o := r.judges[i]
		if c.m.takes(k.key, k.first) && c.m.judged(o) {
			c.add(k, o, int32(i))
		}
		i++
	}
	for i := range r.peers.seen {
		c.note(&r.peers.seen[i])
	}
	s.Fine = max(s.Connections-s.Failed-s.Undecided-s.Impaired, 0)
	for _, x := range c.causes {
		s.Causes = append(s.Causes, *x)
	}
	slices.SortFunc(s.Causes, func(x, y CauseCount) int {
		return cmp.Or(cmp.Compare(y.Failed, x.Failed), cmp.Compare(x.Cause, y.Cause))
	})
	c.give(most)
	return s
}

type groupKey struct {
	target
	o *opinion
}

// counting makes a summary.
type counting struct {
	Summary
	r       *Result
	m       *matcher
	groups  map[groupKey]int
	targets map[target]int
	causes  map[verdict.CauseID]*CauseCount
	clients map[[2]uint32]struct{} // groups and their clients
	byGroup list[tally]
	byPort  list[tally]
}

// note counts a connection of any kind.
func (c *counting) note(x *seen) {
	if !c.m.takes(x.key, x.at) {
		return
	}
	c.Connections++
	if x.class == classOlder {
		c.Older++
		return
	}
	c.Attempts++
	k := c.r.book.byKey.at(int(x.key))
	if i, ok := c.targets[target{k.server, k.port}]; ok {
		c.byPort.at(i).attempts++
	}
}

// add counts a connection with an opinion.
func (c *counting) add(k *kept, o *opinion, i int32) {
	id := c.r.book.byKey.at(int(k.key))
	at := target{id.server, id.port}
	switch o.state {
	case Fine:
		c.count(k.odd)
		return
	case Impaired:
		c.Impaired++
		c.count(k.odd)
	case Undecided:
		c.Undecided++
	case Failed:
		c.Failed++
		c.Outcomes[o.outcome]++
		c.Explained = c.Explained || o.explained()
		x := c.causes[o.cause]
		if x == nil {
			x = &CauseCount{Cause: o.cause}
			c.causes[o.cause] = x
		}
		x.Failed++
		if o.certain == verdict.Certain {
			x.Certain++
		}
		n, ok := c.targets[at]
		if !ok {
			n = c.byPort.n
			c.targets[at] = n
			c.byPort.add(tally{target: at, client: id.client, first: k.first})
		}
		c.byPort.at(n).count++
	}
	n, ok := c.groups[groupKey{at, o}]
	if !ok {
		n = c.byGroup.n
		c.groups[groupKey{at, o}] = n
		c.byGroup.add(tally{target: at, client: id.client, o: o, first: k.first, last: k.first, example: i})
	}
	x := c.byGroup.at(n)
	x.count++
	x.first, x.last = min(x.first, k.first), max(x.last, k.first)
	pair := [2]uint32{uint32(n), id.client}
	if _, ok := c.clients[pair]; !ok {
		c.clients[pair] = struct{}{}
		x.clients++
	}
}

// give fills in targets and groups.
func (c *counting) give(most int) {
	top := func(l *list[tally], ok func(*tally) bool) (out []*tally) {
		for t := range l.all() {
			if ok(t) {
				out = append(out, t)
			}
		}
		slices.SortStableFunc(out, func(x, y *tally) int {
			return cmp.Or(cmp.Compare(y.count, x.count), cmp.Compare(x.first, y.first))
		})
		return out
	}
	c.TargetCount, c.GroupCount = c.byPort.n, 0
	for _, t := range clip(top(&c.byPort, func(*tally) bool { return true }), most) {
		c.Targets = append(c.Targets, TargetCount{Server: c.server(t), Name: c.name(t), Failed: int(t.count), Attempts: int(t.attempts)})
	}
	for state, to := range map[State]*[]Group{Failed: &c.Groups, Impaired: &c.ImpairedGroups, Undecided: &c.UndecidedGroups} {
		all := top(&c.byGroup, func(t *tally) bool { return t.o.state == state })
		if state == Failed {
			c.GroupCount = len(all)
		}
		for _, t := range clip(all, most) {
			*to = append(*to, Group{
				Server: c.server(t), Name: c.name(t), State: state, Outcome: t.o.outcome, Cause: t.o.cause, Certainty: t.o.certain,
				Count: int(t.count), Clients: int(t.clients), First: tcpflow.Time(t.first), Last: tcpflow.Time(t.last), example: int(t.example),
			})
		}
	}
}

func clip[T any](s []T, n int) []T { return s[:min(n, len(s))] }

func (c *counting) server(t *tally) netip.AddrPort {
	return netip.AddrPortFrom(c.r.book.list[t.server], t.port)
}

func (c *counting) name(t *tally) string {
	b := c.r.book
	return c.r.names.of(b.list[t.client], b.list[t.server], tcpflow.Time(t.first))
}

func (s *Summary) count(o Odd) {
	if o == 0 {
		return
	}
	s.OddOnes++
	for ; o != 0; o &= o - 1 {
		s.Odd[bits.TrailingZeros8(uint8(o))]++
	}
}

// explained says whether the opinion names a cause or causes.
func (o *opinion) explained() bool {
	return o.cause != "" && o.cause != verdict.None && o.cause != verdict.Undetermined && o.certain != verdict.Unknown
}

// Example gives one connection of a group with its verdict.
func (r *Result) Example(g *Group) *Connection { return r.connection(g.example) }

// connection gives one that was kept, with its verdict.
func (r *Result) connection(i int) *Connection {
	k := r.book.kept.at(i)
	c, early := r.conversation(k, r.peers.of(k))
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
		for i := range r.book.kept.n {
			if !r.selects(m, which, i) {
				continue
			}
			k, o := r.book.kept.at(i), r.judges[i]
			b := Brief{
				File: int(k.file), Number: k.number, Client: r.book.client(k), Server: r.book.server(k.key),
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
	k, o := r.book.kept.at(i), r.judges[i]
	return m.takes(k.key, k.first) && m.judged(o) && which.takes(o, k.odd)
}

// Connections gives the connections that are selected with their facts and
// verdicts, in the order of the capture. Several goroutines prepare them.
func (r *Result) Connections(f Filter, which Select) iter.Seq[*Connection] {
	m := r.matcher(f)
	return func(yield func(*Connection) bool) {
		const run = 64
		var some []int
		flush := func() bool {
			out := make([]*Connection, len(some))
			var wg sync.WaitGroup
			next := make(chan int)
			for range max(r.workers, 1) {
				wg.Go(func() {
					for i := range next {
						out[i] = r.connection(some[i])
					}
				})
			}
			for i := range some {
				next <- i
			}
			close(next)
			wg.Wait()
			some = some[:0]
			for _, c := range out {
				if !yield(c) {
					return false
				}
			}
			return true
		}
		for i := range r.book.kept.n {
			if !r.selects(m, which, i) {
				continue
			}
			if some = append(some, i); len(some) == run && !flush() {
				return
			}
		}
		flush()
	}
}

// sofar gives the peers of the connection that was added last, while the
// capture goes on: from the notes of the last minutes.
func (b *book) sofar(k *kept) evidence.Peers {
	const most = 1 << 14
	var recent []seen
	for i := max(b.seen.n-most, 0); i < b.seen.n; i++ {
		recent = append(recent, *b.seen.at(i))
	}
	return index(b, recent, slices.Values([]*kept{k})).of(k)
}
