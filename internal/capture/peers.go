package capture

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// alternation is how near, before and after, an attempt with another outcome
// must be to make a service one that comes and goes. Farther away it may have
// changed for good.
const alternation = time.Minute

// aliveFor is how near, before and after, answers of a host must be to show
// that it was up all the time.
const aliveFor = 30 * time.Second

// peers finds what a capture holds of a server beside one connection. It is
// made when all is read.
type peers struct {
	book  *book
	seen  []seen  // by key and time
	keyAt []int32 // by key, the index of its first entry in seen
	hosts map[pair]*host
	// Of every entry of seen: the nearest ones of its key before and after that
	// fared otherwise, -1 without; and sums up to and without it, of its key.
	before, after []int32
	sums          []sum
}

// pair is a client and a server host.
type pair struct{ client, server uint32 }

// point is a packet of a server that tells its distance.
type point struct {
	at     int64
	ttl    [2]uint8
	port   uint16
	closed bool // a RST to a SYN
}

// host is what a client heard of a server host.
type host struct {
	points []point // by time
	open   []limit
	closed []limit
}

// limit is a hop limit, how often it was seen, and the port if it was one only.
type limit struct {
	ttl   uint8
	ports bool // several
	port  uint16
	n     int
}

type sum struct {
	n          [classSilent + 1]uint32
	syns, lost uint32
}

// index makes notes searchable for connections that were kept.
func index(b *book, notes []seen, of iter.Seq[*kept]) *peers {
	p := &peers{book: b, seen: notes, hosts: map[pair]*host{}}
	for x := range of {
		k := b.byKey.at(int(x.key))
		if h := (pair{k.client, k.server}); p.hosts[h] == nil {
			p.hosts[h] = &host{}
		}
	}
	slices.SortFunc(p.seen, func(x, y seen) int {
		return cmp.Or(cmp.Compare(x.key, y.key), cmp.Compare(x.at, y.at), cmp.Compare(x.class, y.class))
	})
	p.keyAt = make([]int32, b.byKey.n+1)
	k := 0
	for i := range p.seen {
		for ; k <= int(p.seen[i].key); k++ {
			p.keyAt[k] = int32(i)
		}
	}
	for ; k < len(p.keyAt); k++ {
		p.keyAt[k] = int32(len(p.seen))
	}
	p.points()
	p.runs()
	return p
}

// span gives where the notes of a key begin and end.
func (p *peers) span(key uint32) (lo, hi int) { return int(p.keyAt[key]), int(p.keyAt[key+1]) }

// points gathers the answers of every host.
func (p *peers) points() {
	for i := range p.seen {
		s := &p.seen[i]
		if s.class > classRefused && s.class != classOlder || s.ttl[0] == 0 {
			continue
		}
		k := p.book.byKey.at(int(s.key))
		h := p.hosts[pair{k.client, k.server}]
		if h == nil {
			continue
		}
		x := point{at: s.at + int64(s.answer)*1e6, ttl: s.ttl, port: k.port, closed: s.class == classRefused}
		h.points = append(h.points, x)
		if s.last > s.answer {
			x.at = s.at + int64(s.last)*1e6
			h.points = append(h.points, x)
		}
		h.limits(&x)
	}
	for _, h := range p.hosts {
		slices.SortFunc(h.points, func(x, y point) int { return cmp.Compare(x.at, y.at) })
	}
}

// limits counts the hop limits of a connection.
func (h *host) limits(x *point) {
	to := &h.open
	if x.closed {
		to = &h.closed
	}
	for i, ttl := range x.ttl {
		if i > 0 && ttl == x.ttl[0] {
			continue
		}
		k := slices.IndexFunc(*to, func(l limit) bool { return l.ttl == ttl })
		if k < 0 {
			*to = append(*to, limit{ttl: ttl, port: x.port})
			k = len(*to) - 1
		}
		l := &(*to)[k]
		l.n++
		l.ports = l.ports || l.port != x.port
	}
}

// told says whether an attempt has an outcome to compare.
func (s *seen) told() bool { return s.class <= classSilent }

// runs looks for changes of the outcome in the attempts of every key.
func (p *peers) runs() {
	n := len(p.seen)
	p.before, p.after, p.sums = make([]int32, n), make([]int32, n), make([]sum, n+1)
	for k := range len(p.keyAt) - 1 {
		lo, hi := p.span(uint32(k))
		last, change := -1, int32(-1)
		for i := lo; i < hi; i++ {
			s := &p.seen[i]
			if s.told() {
				if last >= 0 && p.seen[last].class != s.class {
					change = int32(last)
				}
				last = i
			}
			p.before[i] = change
		}
		last, change = -1, -1
		for i := hi - 1; i >= lo; i-- {
			s := &p.seen[i]
			if s.told() {
				if last >= 0 && p.seen[last].class != s.class {
					change = int32(last)
				}
				last = i
			}
			p.after[i] = change
		}
	}
	for i := range p.seen {
		s, t := &p.seen[i], p.sums[i]
		if s.told() {
			t.n[s.class]++
			t.syns += uint32(s.syns)
			t.lost += uint32(s.lost())
		}
		p.sums[i+1] = t
	}
}

// of gives the peers of a connection that was kept.
func (p *peers) of(k *kept) evidence.Peers {
	var out evidence.Peers
	if i, ok := p.find(k); ok && p.seen[i].told() {
		p.attempts(i, &out)
	}
	p.distances(k, &out)
	return out
}

// find gives the place of a connection in seen, or of another of the same key,
// time and outcome, which is as good.
func (p *peers) find(k *kept) (int, bool) {
	lo, hi := p.span(k.key)
	i, _ := slices.BinarySearchFunc(p.seen[lo:hi], k.first, func(s seen, t int64) int { return cmp.Compare(s.at, t) })
	for i += lo; i < hi && p.seen[i].at == k.first; i++ {
		if p.seen[i].class == k.class {
			return i, true
		}
	}
	return 0, false
}

// attempts compares an attempt with the others of its client at the same port:
// where outcomes alternate with all of them around it, else with those since
// and until the outcome changed, for what was before or came after may have
// been another state of things.
func (p *peers) attempts(i int, out *evidence.Peers) {
	s := &p.seen[i]
	lo, hi := p.span(s.key)
	from, to := lo, hi
	before, after := int(p.before[i]), int(p.after[i])
	near := func(j int) bool {
		return j >= 0 && time.Duration(max(p.seen[j].at-s.at, s.at-p.seen[j].at)) <= alternation
	}
	mixed := near(before) && near(after)
	if mixed {
		from, _ = slices.BinarySearchFunc(p.seen[lo:hi], s.at-int64(alternation), func(x seen, t int64) int { return cmp.Compare(x.at, t) })
		to, _ = slices.BinarySearchFunc(p.seen[lo:hi], s.at+int64(alternation)+1, func(x seen, t int64) int { return cmp.Compare(x.at, t) })
		from, to = from+lo, to+lo
	} else {
		out.Changed = near(before) || near(after)
		if before >= 0 {
			from = before + 1
		}
		if after >= 0 {
			to = after
		}
	}
	a, b := &p.sums[from], &p.sums[to]
	out.SYNs = int(b.syns-a.syns) - int(s.syns)
	out.LostSYNs = int(b.lost-a.lost) - int(s.lost())
	for c := range a.n {
		if n := int(b.n[c] - a.n[c]); class(c) == s.class {
			out.Same = n - 1
		} else {
			out.Other += n
		}
	}
}

// mostPoints bounds how many answers during one attempt are looked at.
const mostPoints = 64

// distances gives the hop limits of the host's other packets. For a connection
// that nothing answered only those count that show the host to be up meanwhile:
// one during the attempt, or one soon before and one soon after.
func (p *peers) distances(k *kept, out *evidence.Peers) {
	id := p.book.byKey.at(int(k.key))
	h := p.hosts[pair{id.client, id.server}]
	if h == nil {
		return
	}
	open, closed := h.open, h.closed
	if k.class == classSilent || k.class == classUnclear || k.class == classRejected {
		var then host
		for _, i := range around(h.points, k.first, k.last) {
			then.limits(&h.points[i])
		}
		open, closed = then.open, then.closed
	}
	var own [2]uint8
	if i, ok := p.find(k); ok && k.class == classOpen {
		own = p.seen[i].ttl
	}
	for _, l := range open {
		if l.n > 1 || l.ttl != own[0] && l.ttl != own[1] {
			out.OpenTTLs = append(out.OpenTTLs, int(l.ttl))
		}
	}
	for _, l := range closed {
		if l.ports || l.port != id.port { // the same port is no comparison
			out.ClosedTTLs = append(out.ClosedTTLs, int(l.ttl))
		}
	}
	slices.Sort(out.OpenTTLs)
	slices.Sort(out.ClosedTTLs)
}

// around gives the places of the points that show a host to be up from first to
// last: those of that time, or else the one before and the one after.
func around(list []point, first, last int64) []int {
	at := func(t int64) int {
		i, _ := slices.BinarySearchFunc(list, t, func(x point, t int64) int { return cmp.Compare(x.at, t) })
		return i
	}
	i, j := at(first), at(last+1)
	switch {
	case i < j:
		j = min(j, i+mostPoints)
	case i > 0 && i < len(list) && first-list[i-1].at <= int64(aliveFor) && list[i].at-last <= int64(aliveFor):
		i, j = i-1, i+1
	default:
		return nil
	}
	var out []int
	for ; i < j; i++ {
		out = append(out, i)
	}
	return out
}
