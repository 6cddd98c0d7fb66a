package capture

import (
	"cmp"
	"net/netip"
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
	number := map[netip.Addr]uint32{}
	var addrs, places [tcpflow.Parts][]uint32
	for i := range b.parts {
		p := &b.parts[i]
		addrs[i] = make([]uint32, len(p.list))
		for j, a := range p.list {
			n, ok := number[a]
			if !ok {
				n = uint32(len(b.list))
				number[a] = n
				b.list = append(b.list, a)
			}
			addrs[i][j] = n
		}
		b.notes += p.notes
		places[i] = make([]uint32, p.kept.n+1)
	}
	b.mergeKept(workers, &addrs, &places)
	return b.mergeSeen(workers, &addrs, &places)
}

// mergeKept puts what the parts have kept into the order of the captures. The
// places are those of each part's in all, both from 1.
func (b *book) mergeKept(workers int, addrs, places *[tcpflow.Parts][]uint32) {
	const none = ^uint64(0)
	type place struct {
		order uint64
		at    uint32 // in the part
	}
	var lists [tcpflow.Parts][]place
	var heads [tcpflow.Parts]uint64
	head := func(part int) uint64 {
		if len(lists[part]) == 0 {
			return none
		}
		return lists[part][0].order
	}
	parallel(workers, len(lists), func(_, i int) {
		l := &b.parts[i].kept
		lists[i] = make([]place, l.n)
		for j := range lists[i] {
			lists[i][j] = place{l.at(j).order(), uint32(j)}
		}
		slices.SortFunc(lists[i], func(x, y place) int { return cmp.Compare(x.order, y.order) })
		heads[i] = head(i)
	})
	total := 0
	for _, l := range lists {
		total += len(l)
	}
	b.kept = make([]kept, 0, total)
	for range total {
		part := 0
		for i, n := range heads {
			if n < heads[part] {
				part = i
			}
		}
		from := lists[part][0].at
		lists[part] = lists[part][1:]
		heads[part] = head(part)
		k := *b.parts[part].kept.at(int(from))
		k.client, k.server = addrs[part][k.client], addrs[part][k.server]
		b.kept = append(b.kept, k)
		places[part][from+1] = uint32(len(b.kept))
	}
	for i := range b.parts {
		b.parts[i].kept = list[kept]{}
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

// bucket of the pair of hosts.
func (s *seen) bucket() uint32 { return hashOf(uint64(s.client)<<32 | uint64(s.server)) }

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
func (b *book) mergeSeen(workers int, addrs, places *[tcpflow.Parts][]uint32) *peers {
	var at [tcpflow.Parts][buckets]uint32
	parallel(workers, len(b.parts), func(_, i int) {
		for s := range b.parts[i].seen.all() {
			s.client, s.server, s.kept = addrs[i][s.client], addrs[i][s.server], places[i][s.kept]
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
	parallel(workers, buckets, func(_, k int) {
		slices.SortFunc(p.seen[starts[k]:starts[k+1]], compareSeen)
	})
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
