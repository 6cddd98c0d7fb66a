package tcpflow

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePages asks for huge pages for a region nobody has touched yet, madvise(2).
// Without them it is slower, and that is all.
func hugePages(b []uint64) {
	const huge = 2 << 20
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&b[0])), len(b)*wordBytes)
	skip := int(-uintptr(unsafe.Pointer(&b[0])) & (huge - 1))
	if skip >= len(bytes) {
		return
	}
	if n := (len(bytes) - skip) &^ (huge - 1); n > 0 {
		_ = unix.Madvise(bytes[skip:skip+n], unix.MADV_HUGEPAGE)
	}
}
