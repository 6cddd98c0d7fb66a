// Package packets captures what goes to and comes from the target while it is
// being tried: TCP, the ICMP errors about it, ARP and ND, on every interface of
// this host, through a kernel filter. It answers: what really was on the wire.
//
// It imports evidence, flow, collect and the mechanics afpacket, wire and
// pcapfile.
package packets

import "io"

// MaxKept bounds the packets that a Capture keeps. More are counted, and
// written to the file if there is one.
const MaxKept = 20_000

// Options are the wishes for a capture.
type Options struct {
	// Write gets the packets as a pcapng file while they arrive, if not nil.
	// It should not block.
	Write io.Writer
	// Application is the program's name in that file.
	Application string
}
