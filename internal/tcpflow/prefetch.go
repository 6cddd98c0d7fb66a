//go:build amd64 || arm64

package tcpflow

// prefetch asks the processor to load the memory at some addresses into its
// cache, and does not wait for it. An address that is not mapped does no harm.
//
//go:noescape
func prefetch(lines []uintptr)

// prefetchSlots asks for the places of packets in an index.
//
//go:noescape
func prefetchSlots(packets []packet, slots []uint64)

// prefetchConns asks for what the first places of packets in an index name: the
// first half of the connections, with SYN, FIN or RST the other half, too, and
// for the header of a SYN in data. There is one chunk at least.
//
//go:noescape
func prefetchConns(packets []packet, slots []uint64, chunks []*[chunk]conn, data []byte)
