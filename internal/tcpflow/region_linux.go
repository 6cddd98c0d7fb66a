package tcpflow

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// newRegion gives n words of zeroed memory, in huge pages where the system has
// them to spare, mmap(2) and madvise(2).
func newRegion(n int) []uint64 {
	b, err := unix.Mmap(-1, 0, n*wordBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]uint64, n)
	}
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // without them it is slower
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// freeRegion frees what newRegion gave. What came from the heap is not known to
// Munmap, and left to the garbage collector.
func freeRegion(r []uint64) {
	_ = unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(r))), len(r)*wordBytes))
}
