//go:build !amd64 && !arm64

package tcpflow

// prefetch does nothing where the instruction is not known here.
func prefetch([]uintptr) {}
