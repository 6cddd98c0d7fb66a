package capture

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
)

// TestAddrs: goroutines that ask for the same addresses, more than there is room
// for at first, get the same numbers, and the list has each address once.
func TestAddrs(t *testing.T) {
	const n, workers = 5 * leastAddrs, 4
	address := func(i int) netip.Addr {
		if i%5 == 0 {
			b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
			binary.BigEndian.PutUint32(b[12:], uint32(i))
			return netip.AddrFrom16(b)
		}
		return netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)})
	}
	a := newAddrs()
	var got [workers][n]uint32
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range n {
				i = (i*7 + w*n/workers) % n // each in an order of its own
				got[w][i] = a.number(address(i))
			}
		})
	}
	wg.Wait()
	if len(a.list) != n {
		t.Fatalf("%d addresses in the list, want %d", len(a.list), n)
	}
	for i := range n {
		for w := range workers {
			if x := a.list[got[w][i]]; x != address(i) {
				t.Fatalf("goroutine %d was given the number of %v for %v", w, x, address(i))
			}
		}
	}
}
