package capdiff

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// order finds out which file was made at the clients' side. Most connections
// decide; one that goes the other way is turned around.
func (c *comparison) order() {
	votes := 0
	for _, p := range c.pairs {
		votes += p.nearer()
	}
	r := c.result
	r.OrderKnown, r.ServerFirst = votes != 0, votes < 0
	usual := [2]int{0, 1}
	if r.ServerFirst {
		usual = [2]int{1, 0}
	}
	for _, p := range c.pairs {
		flows := p.Flow // by file
		p.File = usual
		if n := p.nearer(); n > 0 {
			p.File = [2]int{0, 1}
		} else if n < 0 {
			p.File = [2]int{1, 0}
		}
		p.Flow = [2]*Flow{flows[p.File[0]], flows[p.File[1]]}
	}
	at := func(p *Pair) (int, tcpflow.Time, uint64) {
		if f := p.Flow[tcpflow.Client]; f != nil {
			return p.File[tcpflow.Client], f.First, f.Number
		}
		return 2, p.Flow[tcpflow.Server].First, p.Flow[tcpflow.Server].Number
	}
	slices.SortStableFunc(c.pairs, func(x, y *Pair) int {
		xf, xt, xn := at(x)
		yf, yt, yn := at(y)
		return cmp.Or(cmp.Compare(xf/2, yf/2), cmp.Compare(xt, yt), cmp.Compare(xf, yf), cmp.Compare(xn, yn))
	})
}

// nearer says which of the files, whose flows are still in their order, was
// made nearer to the client: more than 0 for the first, less for the second, 0
// where nothing tells.
func (p *Pair) nearer() int {
	a, b := p.Flow[0], p.Flow[1]
	if a == nil || b == nil {
		switch f := cmp.Or(a, b); {
		case f.Place != tcpflow.PlaceClient && f.Place != tcpflow.PlaceServer:
			return 0
		case (f == a) == (f.Place == tcpflow.PlaceClient):
			return 1
		}
		return -1
	}
	// A packet's TTL is less behind every router.
	for _, s := range []tcpflow.Side{tcpflow.Client, tcpflow.Server} {
		if x, y := a.TTL[s], b.TTL[s]; x != 0 && y != 0 && x != y {
			if (x > y) == (s == tcpflow.Client) {
				return 1
			}
			return -1
		}
	}
	for _, s := range []tcpflow.Side{tcpflow.Client, tcpflow.Server} {
		if a.own[s] != b.own[s] {
			if a.own[s] == (s == tcpflow.Client) {
				return 1
			}
			return -1
		}
	}
	return 0
}

// forClock is how many packets of connections that are not asked for are read
// to measure the clocks.
const forClock = 100_000

// choose decides which connections are told, and whose packets are compared one
// by one: as many as there is room for, those that look unlike at the two sides
// first.
func (c *comparison) choose() {
	room := [2]uint64{uint64(c.MaxPackets), uint64(c.MaxPackets)}
	take := func(p *Pair) {
		for s, f := range p.Flow {
			if f != nil && f.packets > room[p.File[s]] {
				return
			}
		}
		p.Compared = true
		for s, f := range p.Flow {
			if f != nil {
				room[p.File[s]] -= f.packets
			}
		}
	}
	var alike, others []*Pair
	for _, p := range c.pairs {
		c.learn(p)
		p.wanted = c.Select == nil || c.Select(p)
		switch a, b := p.Flow[tcpflow.Client], p.Flow[tcpflow.Server]; {
		case !p.wanted && a != nil && b != nil:
			others = append(others, p)
		case !p.wanted || a == nil:
		case b != nil && a.packets == b.packets:
			alike = append(alike, p)
		default:
			take(p)
		}
	}
	for _, p := range alike {
		take(p)
	}
	for i := range room {
		room[i] = min(room[i], forClock)
	}
	for _, p := range others {
		take(p)
	}
}

// learn notes addresses whose packets a file is known to hold: those that the
// capturing host has, and those of connections that are in both files. It also
// notes whose packets have passed a router before, and whether a file misses any.
func (c *comparison) learn(p *Pair) {
	noteIn := func(list *addresses, f *Flow, s tcpflow.Side) {
		if *list == nil {
			*list = addresses{}
		}
		if a := [2]netip.AddrPort{f.Client, f.Server}[s].Addr(); !a.IsLoopback() { // which every host has
			(*list)[a] = struct{}{}
		}
	}
	note := func(file int, f *Flow, s tcpflow.Side) { noteIn(&c.local[file], f, s) }
	for s, f := range p.Flow {
		if f == nil {
			continue
		}
		c.misses[p.File[s]] = c.misses[p.File[s]] || f.Missed
		for _, side := range []tcpflow.Side{tcpflow.Client, tcpflow.Server} {
			if f.passed(side) {
				noteIn(&c.remote[p.File[s]], f, side)
			}
		}
		switch f.Place {
		case tcpflow.PlaceClient:
			note(p.File[s], f, tcpflow.Client)
		case tcpflow.PlaceServer:
			note(p.File[s], f, tcpflow.Server)
		}
	}
	switch a, b := p.Flow[tcpflow.Client], p.Flow[tcpflow.Server]; {
	case a == nil || b == nil:
	case a.Server == b.Server:
		note(p.File[tcpflow.Server], b, tcpflow.Server)
	default:
		c.translated[a.Server] = true
	}
}
