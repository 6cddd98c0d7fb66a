// Package control sends single packets whose answers tell the host from what
// stands before it: an ICMP echo, which an ordinary user may send on most
// systems, and raw TCP segments that no connect() can make: a bare ACK, a bare
// FIN, a SYN with a TTL, with ECN, from a chosen port.
//
// It imports evidence, collect and the mechanics afpacket, rawsock and wire.
package control

import "time"

// Options are the wishes for a raw probe.
type Options struct {
	// TTL is the hop limit; 0 is 64.
	TTL uint8
	// ECN asks for explicit congestion notification, RFC 3168 section 6.1.1.
	// It has a meaning for a SYN only.
	ECN bool
	// SourcePort is the port to send from; 0 is a random free one. It must
	// not be in use.
	SourcePort uint16
	// Wait is how long an answer is waited for; 0 is one second.
	Wait time.Duration
}

// PermissionError says that the kernel lets this process send no echo.
type PermissionError struct {
	Err error
	// How says what would permit it.
	How string
}

func (e *PermissionError) Error() string {
	return "send echo: not permitted: " + e.Err.Error() + "; to permit it: " + e.How
}

// Unwrap gives the system's error, so that errors.Is(err, fs.ErrPermission)
// holds.
func (e *PermissionError) Unwrap() error { return e.Err }

// How an echo can be permitted, icmp(7).
const howEcho = `sudo sysctl -w net.ipv4.ping_group_range="0 2147483647", or CAP_NET_RAW for this program`
