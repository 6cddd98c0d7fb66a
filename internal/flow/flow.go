package flow

import (
	"net/netip"
)

// Tuple is a TCP four-tuple as seen from the client: Local is the source of
// the SYN. A zero netip.AddrPort means "not known yet".
type Tuple struct {
	Local  netip.AddrPort `json:"local"`
	Remote netip.AddrPort `json:"remote"`
}

// Target is what the user asked about.
type Target struct {
	// Input is the text as typed.
	Input string `json:"input"`
	// Host is the name or the literal address without brackets and zone.
	Host string `json:"host"`
	// Addr is set when Host is a literal address (with its zone, if any).
	Addr netip.Addr `json:"-"`
	// Port is the TCP port, 1 to 65535.
	Port uint16 `json:"port"`
	// Scheme is the lower-case URL scheme or service name ("https", "redis"),
	// or "" when the user gave only a port number.
	Scheme string `json:"scheme,omitempty"`
}
