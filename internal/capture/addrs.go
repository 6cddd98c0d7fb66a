package capture

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
)

// addrs numbers addresses, for several goroutines at a time. Who asks for an
// IPv4 address that is known takes no lock.
type addrs struct {
	seed uint64 // nobody is to choose addresses that collide
	v4   atomic.Pointer[[]atomic.Uint64]

	mu   sync.Mutex // of what follows, and of changes of v4
	used int        // of v4
	v6   map[netip.Addr]uint32
	list []netip.Addr // by number
}

const leastAddrs = 1 << 10

func newAddrs() *addrs {
	a := &addrs{seed: rand.Uint64() | 1, v6: map[netip.Addr]uint32{}}
	slots := make([]atomic.Uint64, leastAddrs)
	a.v4.Store(&slots)
	return a
}

// number gives the place of an address in the list.
func (a *addrs) number(x netip.Addr) uint32 {
	if !x.Is4() {
		return a.number6(x)
	}
	b := x.As4()
	key := binary.BigEndian.Uint32(b[:])
	if s := a.slot(*a.v4.Load(), key).Load(); s != 0 {
		return uint32(s) - 1
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	slots := *a.v4.Load()
	to := a.slot(slots, key)
	if s := to.Load(); s != 0 {
		return uint32(s) - 1
	}
	a.list = append(a.list, x)
	to.Store(uint64(key)<<32 | uint64(len(a.list)))
	if a.used++; 2*a.used > len(slots) {
		a.grow(slots)
	}
	return uint32(len(a.list)) - 1
}

func (a *addrs) number6(x netip.Addr) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, ok := a.v6[x]
	if !ok {
		n = uint32(len(a.list))
		a.v6[x] = n
		a.list = append(a.list, x)
	}
	return n
}

// slot is that of an IPv4 address, or the free one where it belongs. A slot
// holds the address and the number, from 1; it never changes again.
func (a *addrs) slot(slots []atomic.Uint64, key uint32) *atomic.Uint64 {
	hi, lo := bits.Mul64(uint64(key)+a.seed, 0x9e3779b97f4a7c15^a.seed)
	mask := uint64(len(slots) - 1)
	for i := (hi ^ lo) & mask; ; i = (i + 1) & mask {
		if s := slots[i].Load(); s == 0 || uint32(s>>32) == key {
			return &slots[i]
		}
	}
}

func (a *addrs) grow(old []atomic.Uint64) {
	slots := make([]atomic.Uint64, 2*len(old))
	for i := range old {
		if s := old[i].Load(); s != 0 {
			a.slot(slots, uint32(s>>32)).Store(s)
		}
	}
	a.v4.Store(&slots)
}
