// Package wire decodes and builds the packets that a TCP connection attempt
// consists of: IPv4 and IPv6 headers, TCP with its options, ICMP errors with
// the packet they quote, echo, ARP and neighbour discovery.
//
// Decoders fill a struct that the caller reuses, allocate nothing, keep slices
// of the input and never read beyond it, whatever it holds. They start at the
// network layer, as captures made with SOCK_DGRAM do (packet(7)).
//
// It imports evidence for the word that VerifyQuote returns, and no other
// package of ours.
package wire

// Error says what is wrong with a packet.
type Error string

func (e Error) Error() string { return "wire: " + string(e) }

// The errors of the decoders.
const (
	ErrShort     Error = "packet is cut short"
	ErrVersion   Error = "neither IPv4 nor IPv6"
	ErrHeader    Error = "header length is impossible"
	ErrFragment  Error = "not the first fragment"
	ErrExtension Error = "too many IPv6 extension headers"
	ErrProtocol  Error = "another protocol"
	ErrChecksum  Error = "checksum does not fit"
	ErrHopLimit  Error = "neighbour discovery from beyond a router"
)

// Protocol numbers, IANA "Protocol Numbers".
const (
	ProtoICMP   = 1
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoICMPv6 = 58
)
