package capture

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// parallel calls do for all numbers below n, on so many goroutines, and tells
// it on which.
func parallel(workers, n int, do func(worker, i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range min(workers, n) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				do(w, int(i))
			}
		})
	}
	wg.Wait()
}

// merge makes one book of the parts, and gives what was seen by pairs of hosts.
// The result does not depend on the workers.
func (b *book) merge(workers int) *peers {
	var places [tcpflow.Parts][]uint32
	for i := range b.parts {
		b.notes += b.parts[i].notes
		places[i] = make([]uint32, b.parts[i].kept.n+1)
	}
	b.mergeKept(workers, &places)
	return b.mergeSeen(workers, &places)
}

// numbered is a connection in what a part has kept.
type numbered struct {
	order uint64
	at    uint32
}

// mergeKept puts what the parts have kept into the order of the captures. The
// places are those of each part's in all, both from 1.
func (b *book) mergeKept(workers int, places *[tcpflow.Parts][]uint32) {
	var lists [tcpflow.Parts][]numbered
	parallel(workers, len(lists), func(_, i int) {
		l := &b.parts[i].kept
		lists[i] = make([]numbered, l.n)
		for j := range lists[i] {
			lists[i][j] = numbered{l.at(j).order(), uint32(j)}
		}
		slices.SortFunc(lists[i], func(x, y numbered) int { return cmp.Compare(x.order, y.order) })
	})
	total, longest := 0, 0
	for i, l := range lists {
		total += len(l)
		if len(l) > len(lists[longest]) {
			longest = i
		}
	}
	b.kept = make([]kept, total)
	// Stretches of the captures are merged at the same time. The longest list
	// says where they end.
	const least = 1 << 10
	by := lists[longest]
	n := min(len(by)/least, 4*workers) + 1
	parallel(workers, n, func(_, i int) {
		var some [tcpflow.Parts][]numbered
		to := 0
		for part, l := range lists {
			from, end := 0, len(l)
			if i > 0 {
				from = before(l, by[i*len(by)/n].order)
			}
			if i < n-1 {
				end = before(l, by[(i+1)*len(by)/n].order)
			}
			some[part] = l[from:end]
			to += from
		}
		b.mergeSome(&some, to, places)
	})
	for i := range b.parts {
		b.parts[i].kept = list[kept]{}
	}
}

// before tells how many of a list come before a place in the captures.
func before(l []numbered, order uint64) int {
	n, _ := slices.BinarySearchFunc(l, order, func(x numbered, o uint64) int { return cmp.Compare(x.order, o) })
	return n
}

// mergeSome merges sorted lists of the parts into b.kept, from a place on.
func (b *book) mergeSome(lists *[tcpflow.Parts][]numbered, to int, places *[tcpflow.Parts][]uint32) {
	const none = ^uint64(0)
	var heads [tcpflow.Parts]uint64
	for i, l := range lists {
		heads[i] = none
		if len(l) > 0 {
			heads[i] = l[0].order
		}
	}
	for {
		part := 0
		for i, n := range heads {
			if n < heads[part] {
				part = i
			}
		}
		if heads[part] == none {
			return
		}
		l := lists[part]
		from := l[0].at
		l = l[1:]
		lists[part], heads[part] = l, none
		if len(l) > 0 {
			heads[part] = l[0].order
		}
		b.kept[to] = *b.parts[part].kept.at(int(from))
		to++
		places[part][from+1] = uint32(to)
	}
}

// order is by capture and first packet.
func (k *kept) order() uint64 { return uint64(k.file)<<48 | k.number }

// buckets is into how many parts a hash divides what is to be sorted, so that
// they can be sorted at the same time.
const (
	bucketBits = 12
	buckets    = 1 << bucketBits
)

func hashOf(n uint64) uint32 { return uint32(n * 0x9e3779b97f4a7c15 >> (64 - bucketBits)) }

// hash of the pair of hosts, the best bits of which are the upper ones.
func (s *seen) hash() uint64 {
	return (uint64(s.client)<<32 | uint64(s.server)) * 0x9e3779b97f4a7c15
}

// bucket of the pair of hosts.
func (s *seen) bucket() uint32 { return uint32(s.hash() >> (64 - bucketBits)) }

// partition divides a list into buckets, and tells where each begins.
func partition[T any](in []T, bucket func(*T) uint32) (out []T, starts [buckets + 1]uint32) {
	var at [buckets]uint32
	for i := range in {
		at[bucket(&in[i])]++
	}
	total := uint32(0)
	for k, n := range at {
		starts[k], at[k] = total, total
		total += n
	}
	starts[buckets] = total
	out = make([]T, len(in))
	for i := range in {
		k := bucket(&in[i])
		out[at[k]] = in[i]
		at[k]++
	}
	return out, starts
}

// mergeSeen sorts what was seen by the two hosts, then by port, time and
// outcome.
func (b *book) mergeSeen(workers int, places *[tcpflow.Parts][]uint32) *peers {
	var at [tcpflow.Parts][buckets]uint32
	parallel(workers, len(b.parts), func(_, i int) {
		for s := range b.parts[i].seen.all() {
			s.kept = places[i][s.kept]
			at[i][s.bucket()]++
		}
	})
	var starts [buckets + 1]uint32
	total := uint32(0)
	for k := range buckets {
		starts[k] = total
		for i := range at {
			n := at[i][k]
			at[i][k] = total
			total += n
		}
	}
	starts[buckets] = total
	p := &peers{book: b, seen: make([]seen, total)}
	parallel(workers, len(b.parts), func(_, i int) {
		for s := range b.parts[i].seen.all() {
			to := &at[i][s.bucket()]
			p.seen[*to] = *s
			*to++
		}
		b.parts[i].seen = list[seen]{}
	})
	sorters := make([]sorter, workers)
	parallel(workers, buckets, func(w, k int) { sorters[w].sort(p.seen[starts[k]:starts[k+1]]) })
	for i := range p.seen {
		s := &p.seen[i]
		if i == 0 || s.client != p.seen[i-1].client || s.server != p.seen[i-1].server {
			p.pairs = append(p.pairs, uint32(i))
		}
		s.pair = uint32(len(p.pairs) - 1)
	}
	p.pairs = append(p.pairs, total)
	return p
}

// sorter sorts what was seen, in memory that it uses anew.
type sorter struct {
	keys []uint64
	was  []seen
}

// sort brings together what is about the same two hosts, in the order of
// compareSeen. Most pairs of hosts are there once: numbers are sorted by a hash of
// them, and compared is only what has the same.
func (x *sorter) sort(list []seen) {
	x.keys = x.keys[:0]
	for i := range list {
		x.keys = append(x.keys, list[i].hash()>>(32-bucketBits)<<32|uint64(i))
	}
	slices.Sort(x.keys)
	x.was = append(x.was[:0], list...)
	from := 0
	for i, k := range x.keys {
		list[i] = x.was[uint32(k)]
		if i+1 == len(list) || x.keys[i+1]>>32 != k>>32 {
			if i > from {
				slices.SortFunc(list[from:i+1], compareSeen)
			}
			from = i + 1
		}
	}
}

func compareSeen(x, y seen) int {
	switch {
	case x.client != y.client:
		return cmp.Compare(x.client, y.client)
	case x.server != y.server:
		return cmp.Compare(x.server, y.server)
	case x.port != y.port:
		return cmp.Compare(x.port, y.port)
	}
	return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(x.class, y.class), cmp.Compare(x.kept, y.kept))
}
