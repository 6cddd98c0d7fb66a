package capture

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// target is a service, whoever asks for it.
type target struct {
	server uint32 // in book.addrs.list
	port   uint16
}

// tally is a TargetCount or a Group in the making.
type tally struct {
	target
	o               *opinion
	count, attempts int32
	clients         int32
	example         uint32 // the first one in book.kept
	first, last     int64
}

// entry is a connection to be counted.
type entry struct {
	target
	opinion, client, kept uint32
}

// counting makes a summary.
type counting struct {
	Summary
	r        *Result
	m        *matcher
	opinions []opinionCount // by opinion.number
	entries  []entry
	groups   []tally
	targets  []tally
}

// add counts a connection with an opinion.
func (c *counting) add(k *kept, o *opinion, i uint32) {
	if int(o.number) >= len(c.opinions) {
		c.opinions = append(c.opinions, make([]opinionCount, int(o.number)+1-len(c.opinions))...)
	}
	x := &c.opinions[o.number]
	x.o = o
	x.n++
	if o.state == Fine || o.state == Impaired {
		c.count(k.odd)
	}
	if o.state != Fine {
		c.entries = append(c.entries, entry{target{k.server, k.serverPort}, o.number, k.client, i})
	}
}

// opinionCount is how many connections there is an opinion about.
type opinionCount struct {
	o *opinion
	n int
}

// sum counts states, outcomes and causes by the opinions.
func (c *counting) sum() {
	causes := map[verdict.CauseID]*CauseCount{}
	for _, x := range c.opinions {
		if x.o == nil {
			continue
		}
		switch x.o.state {
		case Impaired:
			c.Impaired += x.n
		case Undecided:
			c.Undecided += x.n
		case Failed:
			c.Failed += x.n
			c.Outcomes[x.o.outcome] += x.n
			c.Explained = c.Explained || x.o.explained()
			to := causes[x.o.cause]
			if to == nil {
				to = &CauseCount{Cause: x.o.cause}
				causes[x.o.cause] = to
			}
			to.Failed += x.n
			if x.o.certain == verdict.Certain {
				to.Certain += x.n
			}
		}
	}
	for _, x := range causes {
		c.Causes = append(c.Causes, *x)
	}
	slices.SortFunc(c.Causes, func(x, y CauseCount) int {
		return cmp.Or(cmp.Compare(y.Failed, x.Failed), cmp.Compare(x.Cause, y.Cause))
	})
}

// group makes groups and targets of the entries.
func (c *counting) group() {
	r := c.r
	all, starts := partition(c.entries, func(e *entry) uint32 { return hashOf(uint64(e.server)) })
	c.entries = nil
	var groups, targets [buckets][]tally
	parallel(r.workers, buckets, func(_, n int) {
		some := all[starts[n]:starts[n+1]]
		slices.SortFunc(some, func(x, y entry) int {
			switch {
			case x.target != y.target:
				return cmp.Or(cmp.Compare(x.server, y.server), cmp.Compare(x.port, y.port))
			case x.opinion != y.opinion:
				return cmp.Compare(x.opinion, y.opinion)
			}
			return cmp.Or(cmp.Compare(x.client, y.client), cmp.Compare(x.kept, y.kept))
		})
		for i := range some {
			groups[n], targets[n] = r.tallies(groups[n], targets[n], some, i)
		}
	})
	c.groups, c.targets = slices.Concat(groups[:]...), slices.Concat(targets[:]...)
}

// tallies counts an entry that follows others in their order.
func (r *Result) tallies(groups, targets []tally, all []entry, i int) (g, t []tally) {
	e := &all[i]
	k, o := &r.book.kept[e.kept], r.judges[e.kept]
	if n := len(groups); n == 0 || groups[n-1].target != e.target || groups[n-1].o != o {
		groups = append(groups, tally{target: e.target, o: o, first: k.first, last: k.first, example: e.kept})
	}
	x := &groups[len(groups)-1]
	x.count++
	x.first, x.last, x.example = min(x.first, k.first), max(x.last, k.first), min(x.example, e.kept)
	if x.count == 1 || all[i-1].client != e.client {
		x.clients++
	}
	if o.state != Failed {
		return groups, targets
	}
	if n := len(targets); n == 0 || targets[n-1].target != e.target {
		targets = append(targets, tally{target: e.target, first: k.first, example: e.kept})
	}
	x = &targets[len(targets)-1]
	x.count++
	if e.kept < x.example {
		x.first, x.example = k.first, e.kept
	}
	return groups, targets
}

// attempts counts the connections of any kind, and those to the targets.
func (c *counting) attempts() {
	// The targets of a server are together, by port.
	ports := make([]uint16, len(c.targets))
	servers := make([][2]uint32, len(c.r.book.addrs.list))
	for i := range c.targets {
		t := &c.targets[i]
		ports[i] = t.port
		if s := &servers[t.server]; s[1] == 0 {
			*s = [2]uint32{uint32(i), uint32(i) + 1}
		} else {
			s[1]++
		}
	}
	p := c.r.peers
	const run = 1 << 14
	type counts struct {
		all, older int
		_          [128]byte
	}
	sums := make([]counts, c.r.workers)
	parallel(c.r.workers, (len(p.seen)+run-1)/run, func(w, n int) {
		for i := n * run; i < min((n+1)*run, len(p.seen)); i++ {
			s := &p.seen[i]
			if !c.m.takes(s.server, s.port, s.at) {
				continue
			}
			sums[w].all++
			if s.class == classOlder {
				sums[w].older++
				continue
			}
			of := servers[s.server]
			if at, ok := slices.BinarySearch(ports[of[0]:of[1]], s.port); ok {
				atomic.AddInt32(&c.targets[int(of[0])+at].attempts, 1)
			}
		}
	})
	for _, s := range sums {
		c.Connections += s.all
		c.Older += s.older
	}
	c.Attempts = c.Connections - c.Older
}

// top gives those with the highest counts of a state, and how many there are.
func top(list []tally, most int, ok func(*tally) bool) (out []*tally, n int) {
	compare := func(x, y *tally) int {
		return cmp.Or(cmp.Compare(y.count, x.count), cmp.Compare(x.first, y.first), cmp.Compare(x.example, y.example))
	}
	for i := range list {
		t := &list[i]
		if !ok(t) {
			continue
		}
		n++
		if len(out) == most && (most == 0 || compare(t, out[most-1]) > 0) {
			continue
		}
		at, _ := slices.BinarySearchFunc(out, t, compare)
		out = slices.Insert(out[:min(len(out), most-1)], at, t)
	}
	return out, n
}

// give fills in targets and groups.
func (c *counting) give(most int) {
	targets, n := top(c.targets, most, func(*tally) bool { return true })
	c.TargetCount = n
	for _, t := range targets {
		c.Targets = append(c.Targets, TargetCount{Server: c.server(t), Name: c.name(t), Failed: int(t.count), Attempts: int(t.attempts)})
	}
	for state, to := range map[State]*[]Group{Failed: &c.Groups, Impaired: &c.ImpairedGroups, Undecided: &c.UndecidedGroups} {
		groups, n := top(c.groups, most, func(t *tally) bool { return t.o.state == state })
		if state == Failed {
			c.GroupCount = n
		}
		for _, t := range groups {
			*to = append(*to, Group{
				Server: c.server(t), Name: c.name(t), State: state, Outcome: t.o.outcome, Cause: t.o.cause, Certainty: t.o.certain,
				Count: int(t.count), Clients: int(t.clients), First: tcpflow.Time(t.first), Last: tcpflow.Time(t.last), example: int(t.example),
			})
		}
	}
}

func (c *counting) server(t *tally) netip.AddrPort {
	return netip.AddrPortFrom(c.r.book.addrs.list[t.server], t.port)
}

func (c *counting) name(t *tally) string {
	b := c.r.book
	return c.r.names.of(b.addrs.list[b.kept[t.example].client], b.addrs.list[t.server], tcpflow.Time(t.first))
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
