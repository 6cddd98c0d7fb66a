//go:build !linux

package tcpflow

// newRegion gives n words of zeroed memory.
func newRegion(n int) []uint64 { return make([]uint64, n) }

// freeRegion leaves it to the garbage collector.
func freeRegion([]uint64) {}
