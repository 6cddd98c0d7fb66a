package tcpflow

import (
	"sync"
	"unsafe"
)

// arena hands out zeroed memory for tables, in pieces. It is taken from the
// system in large regions for which huge pages are asked: tables of hundreds of
// megabytes are read at random, and with small pages most of the time goes into
// page faults and address translation. The garbage collector knows nothing of
// it, and what lies in it has no pointers.
type arena struct {
	mu      sync.Mutex
	regions [][]uint64
	rest    []uint64   // of the last region
	size    int        // of the next one
	old     [][]uint64 // given back
}

// The sizes in 8-byte words.
const (
	wordBytes   = 8
	leastRegion = 2 << 20 / wordBytes
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
	if n > len(a.rest) {
		a.size = min(max(2*a.size, leastRegion), mostRegion)
		a.rest = newRegion(max(a.size, n))
		a.regions = append(a.regions, a.rest)
	}
	b := a.rest[:n:n]
	a.rest = a.rest[n:]
	return b
}

// release gives all memory back to the system.
func (a *arena) release() {
	for _, r := range a.regions {
		freeRegion(r)
	}
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

// want notes an element that add is to give soon: those given back are not near
// any more.
func (s *slab[T]) want(l *lines) {
	if n := len(s.free) - soon; n >= 0 {
		var zero T
		at := uintptr(unsafe.Pointer(s.at(s.free[n])))
		for i := uintptr(0); i < unsafe.Sizeof(zero); i += cacheLine {
			l.want(at + i)
		}
	}
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

// slot is what stands for a connection in the index.
func slot(hash, id uint32) uint64 { return uint64(hash)<<32 | uint64(id) }

// start gives the place of a slot when nothing is in the way.
func (x *index) start(s uint64) uint64 { return s >> 32 & uint64(len(x.slots)-1) }

// put makes room in the first place and moves what is there: the packets to
// come are those of young connections.
func (x *index) put(s uint64) {
	mask := uint64(len(x.slots) - 1)
	for i := x.start(s); s != 0; i = (i + 1) & mask {
		x.slots[i], s = s, x.slots[i]
	}
}

func (x *index) insert(a *arena, hash, id uint32) {
	x.grow(a)
	x.used++
	x.put(slot(hash, id))
}

// replace makes the slot of one connection that of another.
func (x *index) replace(hash, from, to uint32) {
	if i, ok := x.find(slot(hash, from)); ok {
		x.slots[i] = slot(hash, to)
	}
}

func (x *index) find(s uint64) (uint64, bool) {
	if len(x.slots) == 0 {
		return 0, false
	}
	mask := uint64(len(x.slots) - 1)
	for i := x.start(s); x.slots[i] != 0; i = (i + 1) & mask {
		if x.slots[i] == s {
			return i, true
		}
	}
	return 0, false
}

// remove closes the gap that it makes, so that there are no tombstones.
func (x *index) remove(hash, id uint32) {
	i, ok := x.find(slot(hash, id))
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
