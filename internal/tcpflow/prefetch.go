//go:build amd64 || arm64

package tcpflow

// prefetch asks the processor to load the memory at some addresses into its
// cache, and does not wait for it. An address that is not mapped does no harm.
//
//go:noescape
func prefetch(lines []uintptr)
