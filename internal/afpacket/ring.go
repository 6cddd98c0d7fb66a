package afpacket

import "time"

// RingOptions of OpenRing. The zero value is good.
type RingOptions struct {
	// Interface is the index of the one to capture on; 0 is all.
	Interface int
	// Bytes of the ring; 0 takes 32 MiB.
	Bytes int
	// Retire is how long a packet may wait in a block of the ring that is not
	// full; 0 takes 20 ms.
	Retire time.Duration
	// Promiscuous also captures what is addressed to other hosts on the link; it
	// needs an interface.
	Promiscuous bool
}

const (
	defaultRing   = 32 << 20
	defaultRetire = 20 * time.Millisecond
)

// Ring is a capture through memory that the kernel shares: TPACKET_V3 of
// packet_mmap in the kernel's documentation. Packets are not copied and cost no
// system call each. It is for one goroutine at a time.
type Ring struct {
	ring // by operating system
}
