// Package rawsock sends packets made by hand: a raw IP socket for segments
// that carry their own IP header (raw(7)), and what belongs to it: the source
// address the kernel would choose, a source port that no other program gets
// meanwhile, and the question who on the link has an address.
//
// It imports wire.
package rawsock

import "fmt"

// Conn is a raw IP socket for sending. Its methods may be called from several
// goroutines at once.
type Conn struct {
	conn // by operating system
}

// Port is a reserved TCP source port.
type Port struct {
	Number uint16
	port   // by operating system
}

// The range that random source ports are taken from: the default of
// net.ipv4.ip_local_port_range, which firewalls expect clients to use.
const (
	firstPort = 32768
	lastPort  = 60999
)

// PermissionError says that the kernel does not let this process send raw
// packets.
type PermissionError struct{ Err error }

func (e *PermissionError) Error() string {
	return fmt.Sprintf("send raw packets: needs CAP_NET_RAW: %v", e.Err)
}

// Unwrap gives the system's error, so that errors.Is(err, fs.ErrPermission)
// holds.
func (e *PermissionError) Unwrap() error { return e.Err }
