//go:build !amd64 && !arm64

package tcpflow

// Nothing is asked for where the instruction is not known here.

func prefetch([]uintptr) {}

func prefetchSlots([]packet, []uint64) {}

func prefetchConns([]packet, []uint64, []*[chunk]conn, []byte) {}
