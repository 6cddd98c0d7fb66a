// Package afpacket captures packets with Linux's packet sockets, packet(7): on
// one interface or all, cooked (from the network header on), through a filter
// in the kernel that is in place before the first packet can arrive.
//
// It imports no other package of ours.
package afpacket

import "time"

// Conn is a capture. Its methods may be called from several goroutines, but
// only one may be in Next or Drain at a time.
type Conn struct {
	conn // by operating system
}

// Direction is the packet's way as the kernel saw it, sll_pkttype of
// packet(7).
type Direction uint8

// The directions.
const (
	ToHost      Direction = 0 // addressed to this host
	ToBroadcast Direction = 1
	ToMulticast Direction = 2
	ToOther     Direction = 3 // to another host, seen in promiscuous mode
	Outgoing    Direction = 4 // from this host
)

// Packet is one captured packet.
type Packet struct {
	// Time is the kernel's time of capture, without monotonic reading. Where
	// no capture ran before, the kernel takes a moment to switch its clock on,
	// and the first packets have the time at which they were read.
	Time      time.Time
	Interface int // index
	Direction Direction
	// EtherType is the protocol behind any VLAN tag, and VLAN that tag's TCI
	// (-1 without one).
	EtherType uint16
	VLAN      int
	// HardwareType is the interface's ARPHRD_ number, HardwareAddr the link
	// address of the sender, as far as it has one.
	HardwareType    uint16
	HardwareAddr    [8]byte
	HardwareAddrLen int
	// Partial says that the transport checksum is not filled in yet: that was
	// left to the interface.
	Partial bool
	// Len is the packet's length before it was cut to Data, which starts with
	// the network header and is valid until the next call of Next.
	Len  int
	Data []byte
}

// EtherTypes, IANA "IEEE 802 Numbers".
const (
	EtherTypeIPv4 = 0x0800
	EtherTypeARP  = 0x0806
	EtherTypeIPv6 = 0x86dd
)

// Stats counts since the last call: packets that passed the filter (the
// dropped ones among them), and those of them that found no room.
type Stats struct{ Received, Dropped int }

// PermissionError says that the kernel does not let this process capture.
type PermissionError struct{ Err error }

func (e *PermissionError) Error() string {
	return "capture packets: needs CAP_NET_RAW: " + e.Err.Error()
}

// Unwrap gives the system's error, so that errors.Is(err, fs.ErrPermission)
// holds.
func (e *PermissionError) Unwrap() error { return e.Err }
