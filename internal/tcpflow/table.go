package tcpflow

import (
	"sync"
	"unsafe"
)

// arena hands out zeroed memory for tables, in pieces. It is taken from the
// heap in large regions for which the system is asked for huge pages: tables
// of hundreds of megabytes are read at random, and with small pages most of
// the time goes into page faults and address translation. The garbage
// collector keeps a region as a whole, and does not look into it: what lies in
// it has no pointers.
type arena struct {
	mu     sync.Mutex
	region []uint64
	size   int        // of the next region
	old    [][]uint64 // given back
}

// The sizes in 8-byte words.
const (
	wordBytes   = 8
	leastRegion = 1 << 20 / wordBytes
	mostRegion  = 16 << 20 / wordBytes
	leastOld    = 128 << 10 / wordBytes // worth using again
)

// words gives n words.
func (a *arena) words(n int) []uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if last := len(a.old) - 1; last >= 0 && n <= len(a.old[last]) {
		b := a.old[last][:n:n]
		clear(b)
		if a.old[last] = a.old[last][n:]; len(a.old[last]) < leastOld {
			a.old = a.old[:last]
		}
		return b
	}
	if n > len(a.region) {
		a.size = min(max(2*a.size, leastRegion), mostRegion)
		a.region = make([]uint64, max(a.size, n))
		hugePages(a.region)
	}
	b := a.region[:n:n]
	a.region = a.region[n:]
	return b
}

// giveBack takes memory that nobody uses any more.
func (a *arena) giveBack(b []uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(b) >= leastOld {
		a.old = append(a.old, b)
	}
}

// chunk is how many elements of a slab are allocated at a time.
const (
	chunkBits = 9
	chunk     = 1 << chunkBits
)

// slab holds elements by number, from 1; they do not move, and those given
// back are used again. T has no pointers.
type slab[T any] struct {
	chunks []*[chunk]T
	free   []uint32
	n      uint32 // elements ever made
}

func (s *slab[T]) at(id uint32) *T {
	return &s.chunks[id>>chunkBits][id&(chunk-1)]
}

// add gives a zeroed element.
func (s *slab[T]) add(a *arena) (uint32, *T) {
	if n := len(s.free); n > 0 {
		id := s.free[n-1]
		s.free = s.free[:n-1]
		p := s.at(id)
		var zero T
		*p = zero
		return id, p
	}
	s.n++
	if int(s.n>>chunkBits) == len(s.chunks) {
		var t [chunk]T
		b := a.words(int(unsafe.Sizeof(t)+wordBytes-1) / wordBytes)
		s.chunks = append(s.chunks, (*[chunk]T)(unsafe.Pointer(&b[0])))
	}
	return s.n, s.at(s.n)
}

func (s *slab[T]) release(id uint32) { s.free = append(s.free, id) }

// index finds the number of a connection by the hash of its four-tuple: open
// addressing with linear probing. A slot holds the upper half of the hash and
// the number; 0 is free.
type index struct {
	slots []uint64
	used  int
}

const minSlots = 1 << 10

// grow makes room for one more. At most five eighths are used.
func (x *index) grow(a *arena) {
	if len(x.slots) == 0 {
		x.slots = a.words(minSlots)
	}
	if (x.used+1)*8 <= len(x.slots)*5 {
		return
	}
	old := x.slots
	x.slots = a.words(2 * len(old))
	// The position is taken from the upper half, which is all that is kept.
	for _, s := range old {
		if s != 0 {
			x.put(s)
		}
	}
	a.giveBack(old)
}

func (x *index) start(hash uint64) uint64 {
	return (hash >> 32) & uint64(len(x.slots)-1)
}

// put makes room in the first place and moves what is there: the packets to
// come are those of young connections.
func (x *index) put(s uint64) {
	mask := uint64(len(x.slots) - 1)
	for i := x.start(s); s != 0; i = (i + 1) & mask {
		x.slots[i], s = s, x.slots[i]
	}
}

func (x *index) insert(a *arena, hash uint64, id uint32) {
	x.grow(a)
	x.used++
	x.put(hash&^0xffffffff | uint64(id))
}

// replace makes the slot of one connection that of another.
func (x *index) replace(hash uint64, from, to uint32) {
	if i, ok := x.find(hash, from); ok {
		x.slots[i] = hash&^0xffffffff | uint64(to)
	}
}

func (x *index) find(hash uint64, id uint32) (uint64, bool) {
	if len(x.slots) == 0 {
		return 0, false
	}
	mask := uint64(len(x.slots) - 1)
	want := hash&^0xffffffff | uint64(id)
	for i := x.start(hash); x.slots[i] != 0; i = (i + 1) & mask {
		if x.slots[i] == want {
			return i, true
		}
	}
	return 0, false
}

// remove closes the gap that it makes, so that there are no tombstones.
func (x *index) remove(hash uint64, id uint32) {
	i, ok := x.find(hash, id)
	if !ok {
		return
	}
	x.used--
	mask := uint64(len(x.slots) - 1)
	for j := (i + 1) & mask; x.slots[j] != 0; j = (j + 1) & mask {
		// What sits at j may move to i if its start is not between them.
		if s := x.start(x.slots[j]); (j-s)&mask >= (j-i)&mask {
			x.slots[i] = x.slots[j]
			i = j
		}
	}
	x.slots[i] = 0
}
