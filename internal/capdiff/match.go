package capdiff

import (
	"cmp"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// matching finds the packets of one direction of a connection in both files.
type matching struct {
	sent, got []*packet
	// base are what sequence and acknowledgement numbers count from, for each
	// file.
	base  [2][2]uint32
	files [2]int // of sent and got
	clock *Clock
	// partner is the place in got of each one sent, origin that in sent of each
	// one got; -1 for none.
	partner, origin []int
	// covered is how many bytes of each one sent arrived in other segments, made
	// how many of each one got are in no segment sent.
	covered, made []uint32
	sameTS        bool // timestamps are not rewritten
}

// key is what makes two packets the same.
type key struct {
	seq, ack, length, ts uint32
	ipid                 uint16
	flags                wire.Flags
}

// level is how much of a packet must be the same.
type level uint8

const (
	exact  level = iota // with the IP identification
	stamps              // with the timestamp option
	loose               // numbers, length and flags
)

// newMatching gathers what a side sent. Without a clock only what is certain
// can be matched.
func newMatching(p *Pair, from tcpflow.Side, clock *Clock) *matching {
	m := &matching{clock: clock, files: [2]int{p.File[from], p.File[from.Other()]}}
	for i := range p.packets[from] {
		if x := &p.packets[from][i]; x.from == from && x.bits&isICMP == 0 && !seenTwice(m.sent, x) {
			m.sent = append(m.sent, x)
		}
	}
	other := from.Other()
	for i := range p.packets[other] {
		if x := &p.packets[other][i]; x.from == from && x.bits&isICMP == 0 {
			m.got = append(m.got, x)
		}
	}
	a, b := p.Flow[from], p.Flow[other]
	for i, s := range []tcpflow.Side{from, other} {
		m.base[0][i], m.base[1][i] = bases(a, b, s)
	}
	m.partner, m.origin = none(len(m.sent)), none(len(m.got))
	m.covered, m.made = make([]uint32, len(m.sent)), make([]uint32, len(m.got))
	return m
}

// bases are what the numbers of a side count from in two files: its initial
// sequence number, the same for both where one has not seen it.
func bases(a, b *Flow, s tcpflow.Side) (uint32, uint32) {
	switch {
	case a.SeenSYN[s] && b.SeenSYN[s]:
		return a.ISN[s], b.ISN[s]
	case a.SeenSYN[s]:
		return a.ISN[s], a.ISN[s]
	case b.SeenSYN[s]:
		return b.ISN[s], b.ISN[s]
	}
	return 0, 0
}

func none(n int) []int {
	l := make([]int, n)
	for i := range l {
		l[i] = -1
	}
	return l
}

// seenTwice tells a packet that the sending host's capture shows once more, on
// another interface: nothing is sent again as quickly, and hosts give each
// packet an identification of its own or 0.
func seenTwice(before []*packet, x *packet) bool {
	for i := len(before) - 1; i >= max(0, len(before)-4); i-- {
		y := before[i]
		if y.seq == x.seq && y.ack == x.ack && y.length == x.length && y.flags == x.flags && y.tsval == x.tsval && y.ipid == x.ipid {
			apart := x.time - y.time
			return x.ipid != 0 && apart < 1e6 || x.flags&wire.RST == 0 && apart < 1e5
		}
	}
	return false
}

// seq and ack are relative to the initial ones; file is 0 for sent, 1 for got.
func (m *matching) seq(file int, x *packet) uint32 {
	if x.flags&wire.RST != 0 && x.seq == 0 {
		return 0 // to a SYN: it has no number
	}
	return x.seq - m.base[file][0]
}

func (m *matching) ack(file int, x *packet) uint32 {
	if x.flags&wire.ACK == 0 {
		return 0
	}
	return x.ack - m.base[file][1]
}

func (m *matching) key(file int, x *packet, l level) key {
	const control = wire.FIN | wire.SYN | wire.RST | wire.PSH | wire.ACK | wire.URG
	k := key{seq: m.seq(file, x), ack: m.ack(file, x), length: x.length, flags: x.flags & control}
	switch l {
	case exact:
		k.ts, k.ipid = x.tsval, x.ipid
	case stamps:
		k.ts = x.tsval
	default:
		k.flags &^= wire.PSH
	}
	return k
}

// all matches as much as there is.
func (m *matching) all() {
	for _, l := range []level{exact, stamps, loose} {
		m.byKey(l, false)
	}
	m.byRange()
}

// byKey matches packets that are equal. Of several the latest copy that can have
// arrived by then is taken: it did not overtake.
func (m *matching) byKey(l level, certain bool) {
	groups := make(map[key][]int)
	for j, x := range m.got {
		if m.origin[j] < 0 {
			k := m.key(1, x, l)
			groups[k] = append(groups[k], j)
		}
	}
	if len(groups) == 0 {
		return
	}
	from := make(map[key][]int)
	for i, x := range m.sent {
		if m.partner[i] >= 0 {
			continue
		}
		if k := m.key(0, x, l); groups[k] != nil {
			from[k] = append(from[k], i)
		}
	}
	for k, s := range from {
		g := groups[k]
		switch {
		case len(s) == 1 && len(g) == 1:
			m.pair(s[0], g[0], l)
		case certain:
		default:
			m.pairs(s, g, l)
		}
	}
}

// pairs matches groups of equal packets.
func (m *matching) pairs(s, g []int, l level) {
	if len(s) == len(g) {
		for i := range s {
			m.pair(s[i], g[i], l)
		}
		return
	}
	i := len(s) - 1
	for j := len(g) - 1; j >= 0 && i >= 0; j-- {
		for i > j && i > 0 && !m.inTime(m.sent[s[i]], m.got[g[j]]) {
			i--
		}
		if len(s)-i > 0 && m.inTime(m.sent[s[i]], m.got[g[j]]) {
			m.pair(s[i], g[j], l)
			i--
		}
	}
}

// inTime says whether a packet can have arrived as another.
func (m *matching) inTime(s, g *packet) bool {
	if m.clock == nil {
		return true
	}
	slack := int64(1e6)
	if m.clock.Known {
		slack = m.clock.slack()
	}
	return m.clock.toFirst(m.files[0], s.time) <= m.clock.toFirst(m.files[1], g.time)+slack
}

func (m *matching) pair(i, j int, l level) {
	s, g := m.sent[i], m.got[j]
	both := s.bits&g.bits&hasTS != 0
	if l == loose && both && m.sameTS && s.tsval != g.tsval {
		return
	}
	if both && s.tsval == g.tsval {
		m.sameTS = true
	}
	m.partner[i], m.origin[j] = j, i
}

// maxLook bounds the segments that are looked at for one that overlaps.
const maxLook = 256

// byRange matches what is left of the data by its place in the stream: one side
// may see segments that the interface has yet to cut up, or has put together.
func (m *matching) byRange() {
	var left []int
	var longest uint32
	for i, s := range m.sent {
		if m.partner[i] < 0 && s.length > 0 {
			left = append(left, i)
			longest = max(longest, s.length)
		}
	}
	place := func(i int) int32 { return int32(m.seq(0, m.sent[i])) }
	slices.SortStableFunc(left, func(x, y int) int { return cmp.Compare(place(x), place(y)) })
	for j, g := range m.got {
		if m.origin[j] >= 0 || g.length == 0 {
			continue
		}
		from, to := int64(int32(m.seq(1, g))), int64(int32(m.seq(1, g)))+int64(g.length)
		m.made[j] = g.length
		at, _ := slices.BinarySearchFunc(left, to, func(i int, to int64) int { return cmp.Compare(int64(place(i)), to) })
		var last = -1
		for n := at - 1; n >= 0 && n >= at-maxLook && m.made[j] > 0; n-- {
			i := left[n]
			s := m.sent[i]
			begin := int64(place(i))
			end := begin + int64(s.length)
			if begin+int64(longest) <= from {
				break
			}
			overlap := min(end, to) - max(begin, from)
			if overlap <= 0 || m.covered[i] >= s.length || !m.inTime(s, g) || s.bits&g.bits&hasTS != 0 && m.sameTS && s.tsval != g.tsval {
				continue
			}
			bytes := uint32(min(overlap, int64(s.length-m.covered[i]), int64(m.made[j])))
			m.covered[i] += bytes
			m.made[j] -= bytes
			last = i
		}
		if last >= 0 {
			m.origin[j] = last
		}
	}
}
