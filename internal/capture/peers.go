package capture

import (
	"cmp"
	"slices"
	"sync"
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

// peers finds what captures hold of a server beside one connection. It is made
// when all is read.
type peers struct {
	book  *book
	seen  []seen   // by pair of hosts, port and time
	pairs []uint32 // where in seen each pair begins, and its end

	mu    sync.Mutex
	hosts map[uint32]*host // by pair, those that are large
}

// point is a packet of a server that tells its distance.
type point struct {
	at     int64
	ttl    [2]uint8
	port   uint16
	closed bool // a RST to a SYN
}

// host is what a client saw of a server host.
type host struct {
	seen   []seen  // by port and time
	lone   bool    // there is one connection only, and nothing to compare it with
	points []point // by time
	open   []limit
	closed []limit
	at     []moment // of every entry of seen
	sums   []sum    // up to and without every entry of seen
}

// moment is where the attempts at the same port begin and end, and the nearest
// ones before and after that fared otherwise, -1 without.
type moment struct{ lo, hi, before, after int32 }

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

// largeHost is from how many connections on a host is remembered.
const largeHost = 64

// run gives what was seen of a pair.
func (p *peers) run(pair uint32) []seen { return p.seen[p.pairs[pair]:p.pairs[pair+1]] }

// host gives what is known of a pair.
func (p *peers) host(pair uint32) *host {
	run := p.run(pair)
	if len(run) < largeHost {
		h := &host{}
		h.fill(run)
		return h
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hosts[pair]
	if h == nil {
		h = &host{}
		h.fill(run)
		if p.hosts == nil {
			p.hosts = map[uint32]*host{}
		}
		p.hosts[pair] = h
	}
	return h
}

// of gives the peers of a connection that was kept.
func (p *peers) of(k *kept) (out evidence.Peers) {
	pair := p.seen[k.seen].pair
	p.host(pair).peers(k, int(k.seen-p.pairs[pair]), &out)
	return out
}

// fill makes of what was seen what is asked for, in memory that it uses anew.
func (h *host) fill(run []seen) {
	h.seen = run
	if h.lone = len(run) == 1 && run[0].class != classOlder; h.lone {
		return
	}
	h.points, h.open, h.closed = h.points[:0], h.open[:0], h.closed[:0]
	for i := range run {
		s := &run[i]
		if s.class > classRefused && s.class != classOlder || s.ttl[0] == 0 {
			continue
		}
		x := point{at: s.at + int64(s.answer)*1e6, ttl: s.ttl, port: s.port, closed: s.class == classRefused}
		h.points = append(h.points, x)
		if s.last > s.answer {
			x.at = s.at + int64(s.last)*1e6
			h.points = append(h.points, x)
		}
		h.limits(&x)
	}
	slices.SortFunc(h.points, func(x, y point) int { return cmp.Compare(x.at, y.at) })
	h.runs()
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

// runs looks for changes of the outcome in the attempts at every port.
func (h *host) runs() {
	h.sums = append(h.sums[:0], sum{})
	for i := range h.seen {
		s, t := &h.seen[i], h.sums[i]
		if s.told() {
			t.n[s.class]++
			t.syns += uint32(s.syns)
			t.lost += uint32(s.lost())
		}
		h.sums = append(h.sums, t)
	}
	n := len(h.seen)
	h.at = slices.Grow(h.at[:0], n)[:n]
	for lo := 0; lo < n; {
		hi := lo + 1
		for hi < n && h.seen[hi].port == h.seen[lo].port {
			hi++
		}
		h.port(lo, hi)
		lo = hi
	}
}

// port looks for the changes at one port.
func (h *host) port(lo, hi int) {
	last, change := -1, int32(-1)
	step := func(i int) int32 {
		if s := &h.seen[i]; s.told() {
			if last >= 0 && h.seen[last].class != s.class {
				change = int32(last)
			}
			last = i
		}
		return change
	}
	for i := lo; i < hi; i++ {
		h.at[i] = moment{lo: int32(lo), hi: int32(hi), before: step(i)}
	}
	last, change = -1, -1
	for i := hi - 1; i >= lo; i-- {
		h.at[i].after = step(i)
	}
}

// peers gives those of a connection that was kept, in memory that it uses anew.
// i is its place in seen.
func (h *host) peers(k *kept, i int, out *evidence.Peers) {
	*out = evidence.Peers{OpenTTLs: out.OpenTTLs[:0], ClosedTTLs: out.ClosedTTLs[:0]}
	if h.lone {
		return
	}
	if h.seen[i].told() {
		h.attempts(i, out)
	}
	h.distances(k, i, out)
}

// attempts compares an attempt with the others of its client at the same port:
// where outcomes alternate with all of them around it, else with those since
// and until the outcome changed, for what was before or came after may have
// been another state of things.
func (h *host) attempts(i int, out *evidence.Peers) {
	s := &h.seen[i]
	m := &h.at[i]
	lo, hi := int(m.lo), int(m.hi)
	from, to := lo, hi
	before, after := int(m.before), int(m.after)
	near := func(j int) bool {
		return j >= 0 && time.Duration(max(h.seen[j].at-s.at, s.at-h.seen[j].at)) <= alternation
	}
	mixed := near(before) && near(after)
	if mixed {
		from, _ = slices.BinarySearchFunc(h.seen[lo:hi], s.at-int64(alternation), func(x seen, t int64) int { return cmp.Compare(x.at, t) })
		to, _ = slices.BinarySearchFunc(h.seen[lo:hi], s.at+int64(alternation)+1, func(x seen, t int64) int { return cmp.Compare(x.at, t) })
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
	a, b := &h.sums[from], &h.sums[to]
	out.SYNs = int(b.syns-a.syns) - int(s.syns)
	out.LostSYNs = int(b.lost-a.lost) - int(s.lost())
	for c := range a.n {
		switch n := int(b.n[c] - a.n[c]); class(c) {
		case s.class:
			out.Same = n - 1
		case classSilent:
			out.Silent = n
		default:
			out.Other += n
		}
	}
}

// mostPoints bounds how many answers during one attempt are looked at.
const mostPoints = 64

// distances gives the hop limits of the host's other packets. For a connection
// that nothing answered only those count that show the host to be up meanwhile:
// one during the attempt, or one soon before and one soon after.
func (h *host) distances(k *kept, i int, out *evidence.Peers) {
	open, closed := h.open, h.closed
	if k.class == classSilent || k.class == classUnclear || k.class == classRejected {
		var then host
		from, to := around(h.points, k.first, k.last)
		for j := from; j < to; j++ {
			then.limits(&h.points[j])
		}
		open, closed = then.open, then.closed
	}
	var own [2]uint8
	if k.class == classOpen {
		own = h.seen[i].ttl
	}
	for _, l := range open {
		if l.n > 1 || l.ttl != own[0] && l.ttl != own[1] {
			out.OpenTTLs = append(out.OpenTTLs, int(l.ttl))
		}
	}
	for _, l := range closed {
		if l.ports || l.port != k.serverPort { // the same port is no comparison
			out.ClosedTTLs = append(out.ClosedTTLs, int(l.ttl))
		}
	}
	slices.Sort(out.OpenTTLs)
	slices.Sort(out.ClosedTTLs)
}

// around gives the range of the points that show a host to be up from first to
// last: those of that time, or else the one before and the one after.
func around(list []point, first, last int64) (from, to int) {
	at := func(t int64) int {
		i, _ := slices.BinarySearchFunc(list, t, func(x point, t int64) int { return cmp.Compare(x.at, t) })
		return i
	}
	i, j := at(first), at(last+1)
	switch {
	case i < j:
		return i, min(j, i+mostPoints)
	case i > 0 && i < len(list) && first-list[i-1].at <= int64(aliveFor) && list[i].at-last <= int64(aliveFor):
		return i - 1, i + 1
	}
	return 0, 0
}
