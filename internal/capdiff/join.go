package capdiff

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// tuple is the four-tuple of a connection.
type tuple struct{ client, server netip.AddrPort }

func (f *Flow) tuple() tuple { return tuple{f.Client, f.Server} }

// Connections with one initial sequence number are few, unless somebody makes
// them so.
const maxAlike = 64

// join finds the connections that both files hold: by the client's initial
// sequence number, which translation of addresses leaves alone, and then those
// that are left by their four-tuple.
func (c *comparison) join() {
	taken := make(map[*Flow]bool)
	c.joinISN(taken)
	c.joinTuple(taken)
	for i := range c.files {
		for _, f := range c.files[i].flows {
			if !taken[f] {
				p := &Pair{File: [2]int{0, 1}}
				p.Flow[i] = f // by file, until order
				c.pairs = append(c.pairs, p)
			}
		}
	}
}

// candidate is a pair of flows that may be one.
type candidate struct {
	a, b  *Flow
	score int
	apart time.Duration // of the first packets, by clocks that may differ
}

func (c *comparison) joinISN(taken map[*Flow]bool) {
	byISN := make(map[uint32][]*Flow)
	for _, f := range c.files[1].flows {
		if f.SeenSYN[tcpflow.Client] {
			if l := byISN[f.ISN[tcpflow.Client]]; len(l) < maxAlike {
				byISN[f.ISN[tcpflow.Client]] = append(l, f)
			}
		}
	}
	var all []candidate
	for _, a := range c.files[0].flows {
		if !a.SeenSYN[tcpflow.Client] {
			continue
		}
		for _, b := range byISN[a.ISN[tcpflow.Client]] {
			if n := likeness(a, b); n >= 2 {
				all = append(all, candidate{a, b, n, b.First.Sub(a.First)})
			}
		}
	}
	// The usual distance of the clocks decides between those that are alike.
	usual := median(all)
	for i := range all {
		all[i].apart = (all[i].apart - usual).Abs()
	}
	c.take(all, ByISN, taken)
}

// likeness counts what two flows with the same initial sequence number of the
// client have in common that a translation of addresses leaves alone; 0 where
// something contradicts.
func likeness(a, b *Flow) int {
	n := 1
	yes := func(ok bool, weight int) {
		if ok {
			n += weight
		}
	}
	const s, r = tcpflow.Client, tcpflow.Server
	yes(a.tuple() == b.tuple(), 8)
	yes(a.Client.Port() == b.Client.Port(), 1)
	yes(a.Server.Port() == b.Server.Port(), 1)
	yes(a.Server.Addr() == b.Server.Addr(), 1)
	yes(a.Client.Addr() == b.Client.Addr(), 1)
	yes(a.SeenSYN[r] && b.SeenSYN[r] && a.ISN[r] == b.ISN[r], 4)
	yes(a.data[s] != 0 && a.data[s] == b.data[s], 2)
	yes(a.data[r] != 0 && a.data[r] == b.data[r], 2)
	return n
}

// olderApart bounds how far apart, by clocks that agree after the correction,
// two flows may begin that are matched by their addresses alone.
const olderApart = 2 * time.Second

// joinTuple matches by addresses and ports what has no initial sequence number
// in common: connections that are older than a capture, and those whose numbers
// somebody rewrites.
func (c *comparison) joinTuple(taken map[*Flow]bool) {
	offset, known := c.roughly()
	byTuple := make(map[tuple][]*Flow)
	for _, f := range c.files[1].flows {
		if !taken[f] {
			if l := byTuple[f.tuple()]; len(l) < maxAlike {
				byTuple[f.tuple()] = append(l, f)
			}
		}
	}
	var all []candidate
	for _, a := range c.files[0].flows {
		if taken[a] {
			continue
		}
		l := byTuple[a.tuple()]
		for _, b := range l {
			apart := (b.First.Sub(a.First) - offset).Abs()
			overlap := known && a.Last.Sub(b.First)+offset >= -olderApart && b.Last.Sub(a.First)-offset >= -olderApart
			switch {
			case a.Began && b.Began && (!known || apart > olderApart):
			case !known && len(l) > 1:
			case known && !overlap:
			default:
				all = append(all, candidate{a, b, 0, apart})
			}
		}
	}
	c.take(all, ByTuple, taken)
}

// take makes pairs, the best first.
func (c *comparison) take(all []candidate, by Method, taken map[*Flow]bool) {
	slices.SortStableFunc(all, func(x, y candidate) int {
		return cmp.Or(-cmp.Compare(x.score, y.score), cmp.Compare(x.apart, y.apart), cmp.Compare(x.a.Number, y.a.Number))
	})
	for _, x := range all {
		if taken[x.a] || taken[x.b] {
			continue
		}
		taken[x.a], taken[x.b] = true, true
		p := &Pair{File: [2]int{0, 1}, Flow: [2]*Flow{x.a, x.b}, By: by, Translated: x.a.tuple() != x.b.tuple()}
		for s := range 2 {
			p.Renumbered = p.Renumbered || x.a.SeenSYN[s] && x.b.SeenSYN[s] && x.a.ISN[s] != x.b.ISN[s]
		}
		c.pairs = append(c.pairs, p)
	}
}

// roughly is how much later the second clock shows the first packets of the
// pairs that there are.
func (c *comparison) roughly() (time.Duration, bool) {
	var all []candidate
	for _, p := range c.pairs {
		all = append(all, candidate{apart: p.Flow[1].First.Sub(p.Flow[0].First)})
	}
	return median(all), len(all) > 0
}

func median(all []candidate) time.Duration {
	if len(all) == 0 {
		return 0
	}
	d := make([]time.Duration, len(all))
	for i := range all {
		d[i] = all[i].apart
	}
	slices.Sort(d)
	return d[len(d)/2]
}
