package tcpflow

import (
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// The most that is kept of each connection; the counts beside the lists go on.
const (
	// MaxSYNs bounds the times of SYNs and of SYN-ACKs.
	MaxSYNs = 8
	// MaxResets bounds the RSTs.
	MaxResets = 8
	// MaxICMPErrors bounds the ICMP errors.
	MaxICMPErrors = 4
	// MaxFirstData bounds the bytes of the first data of a direction.
	MaxFirstData = 39
)

// Time is nanoseconds since 1970 by the clock of the capture; 0 is "never".
type Time int64

// Time converts to UTC; "never" is the zero time.Time.
func (t Time) Time() time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(t)).UTC()
}

// Sub gives t-u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// MarshalText writes RFC 3339 with nanoseconds, "" for never.
func (t Time) MarshalText() ([]byte, error) {
	if t == 0 {
		return nil, nil
	}
	return t.Time().AppendFormat(nil, time.RFC3339Nano), nil
}

// Side tells the two ends of a connection.
type Side uint8

// The sides. They index [Conn.Dir].
const (
	Client Side = 0 // sender of the SYN
	Server Side = 1
)

// Other gives the other end.
func (s Side) Other() Side { return s ^ 1 }

// String gives "client" or "server".
func (s Side) String() string { return [2]string{"client", "server"}[s&1] }

// MarshalText gives the same.
func (s Side) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Outcome is what became of a connection by the end of the capture.
type Outcome uint8

// The outcomes.
const (
	// TimedOut: one or more SYNs, and nothing came back.
	TimedOut Outcome = iota
	// Refused: a RST came from the server's address in place of a SYN-ACK.
	Refused
	// Rejected: an ICMP error quotes the SYN, and no SYN-ACK came.
	Rejected
	// Unconfirmed: SYN-ACKs, but no ACK of the client completes the handshake.
	Unconfirmed
	// Abandoned: the client sent a RST before the handshake was complete.
	Abandoned
	// Reset: a RST ended an established connection.
	Reset
	// Closed: both sides sent a FIN.
	Closed
	// HalfClosed: one side sent a FIN, the other did not until the end.
	HalfClosed
	// Open: established, and neither FIN nor RST until the end.
	Open
)

var outcomes = [...]string{"timed-out", "refused", "rejected", "unconfirmed", "abandoned", "reset", "closed", "half-closed", "open"}

// String gives "timed-out", "refused" and so on, as in the JSON output.
func (o Outcome) String() string {
	if int(o) < len(outcomes) {
		return outcomes[o]
	}
	return "unknown"
}

// MarshalText gives the same.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Place is where a capture seems to have been taken, for one connection.
type Place uint8

// The places.
const (
	PlaceUnknown Place = iota
	// PlaceClient: on the client's host, or before the first router.
	PlaceClient
	// PlaceServer: on the server's host, or behind the last router.
	PlaceServer
	// PlaceBoth: both ends are on the capturing host.
	PlaceBoth
	// PlaceBetween: both sides' packets have passed a router.
	PlaceBetween
)

// String gives "unknown", "client", "server", "both" or "between".
func (p Place) String() string {
	return [...]string{"unknown", "client", "server", "both", "between"}[min(p, PlaceBetween)]
}

// MarshalText gives the same.
func (p Place) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Conn is a TCP connection, or the attempt at one, and its fate. A Conn given
// to a callback is valid until the callback returns; [Conn.Clone] keeps it.
type Conn struct {
	// ID is the number of the connection's first packet in the capture, from 1
	// (Wireshark's frame number of an uncompressed single file).
	ID             uint64
	Client, Server netip.AddrPort
	// First and Last are the times of its first and last packet, ICMP errors
	// about it included.
	First, Last Time
	Outcome     Outcome
	// BeganBefore says that no SYN was seen: the connection is older than the
	// capture, or its SYN passed elsewhere. Client is then a guess: the sender
	// of a SYN-ACK is the server, and else the lower port is the server's.
	BeganBefore bool
	// Established says that the handshake was completed, or that it began
	// before and packets with ACK went both ways or carried data.
	Established bool

	// SYNs of the client and SYN-ACKs of the server. More than one SYN-ACK
	// beside a single SYN means that the server missed the final ACK.
	SYN, SYNACK Occurrences
	// HandshakeACK is the client's first packet that acknowledges the SYN-ACK.
	HandshakeACK Time
	// SimultaneousOpen says that both sides sent a bare SYN, RFC 9293 section 3.5.
	SimultaneousOpen bool

	Dir [2]Direction // by Side

	// Resets are the first MaxResets RSTs, ResetCount all of them.
	Resets     []RST
	ResetCount uint32
	// ICMP are the first MaxICMPErrors errors that quote a packet of the
	// connection, ICMPCount all of them.
	ICMP      []ICMPError
	ICMPCount uint32

	Place Place
	// Snapped says that the capture's snap length cut headers or the data of
	// packets: FirstData may be short.
	Snapped bool
	// Fragmented says that some packet was the first fragment of a larger one.
	Fragmented bool
	// Tunnelled says that the packets were read inside GRE, VXLAN, Geneve or IP
	// in IP.
	Tunnelled bool
	// LetGo says that the connection had to leave as the table was full. What
	// came later, if anything did, is in another Conn.
	LetGo bool
}

// Occurrences counts packets of one kind.
type Occurrences struct {
	Count uint32
	// Times of the first MaxSYNs of them.
	Times []Time
}

// First gives the time of the first, 0 without one.
func (o *Occurrences) First() Time {
	if len(o.Times) == 0 {
		return 0
	}
	return o.Times[0]
}

// Direction is what one side sent.
type Direction struct {
	Packets uint64
	// Bytes of payload by the headers, retransmitted ones included, whatever
	// the snap length cut.
	Bytes uint64
	// ISN is the sequence number of the SYN; 0 and not SeenSYN without one.
	ISN     uint32
	SeenSYN bool
	// ISNChanged says that SYN-ACKs with several sequence numbers came: from
	// several hosts, or from one that forgot the first.
	ISNChanged bool
	// Retransmissions, OutOfOrder and DupACKs follow Wireshark's definitions
	// (tcp.analysis.*); fast and spurious retransmissions are in the first. A
	// repeated SYN, SYN-ACK or FIN is a retransmission too.
	Retransmissions uint32
	OutOfOrder      uint32
	DupACKs         uint32
	// LostSegments counts gaps: a segment beyond what was seen before.
	LostSegments uint32
	// ZeroWindows counts packets with window 0 (SYN, FIN and RST excepted).
	ZeroWindows uint32
	// ZeroWindowFirst is the first of them, ZeroWindowFor the time spent in
	// zero window, until the next larger one or the last packet.
	ZeroWindowFirst Time
	ZeroWindowFor   time.Duration
	// ZeroWindowNow says that the last window announced was 0.
	ZeroWindowNow bool
	// ZeroWindowProbes were sent by this side into the other's zero window.
	ZeroWindowProbes uint32
	// KeepAlives were sent by this side; KeepAlivesUnanswered is how many of
	// the last ones nothing answered.
	KeepAlives           uint32
	KeepAlivesUnanswered uint32
	FIN                  Time // first FIN, 0 without one
	FINAcked             bool
	FirstData, LastData  Time // first and last packet with payload
	// Unacked is how many bytes the other side has not acknowledged at the
	// end, as far as the capture tells; 0 when it saw no ACK.
	Unacked uint32
	// Missed says that the other side acknowledged what is not in the capture: it
	// misses packets.
	Missed bool
	// Data is the beginning of the payload of the first packet with data, at
	// most MaxFirstData bytes of it, as captured.
	Data []byte

	// FirstTTL is that of the first packet that is not a RST, MinTTL and
	// MaxTTL span those packets; all 0 without one.
	FirstTTL, MinTTL, MaxTTL uint8

	// The options of the SYN or SYN-ACK. MSS is 0 and WindowScale -1 without
	// such an option.
	MSS         uint16
	WindowScale int8
	SACK        bool
	Timestamps  bool
	// ECN: the SYN asks for it (ECE and CWR), the SYN-ACK grants it (ECE).
	ECN bool
	// Window is that of the last packet, as in the header: not scaled.
	Window uint16
	// OptionsChanged says that a later SYN or SYN-ACK of this side carried
	// other options than its first.
	OptionsChanged bool
	// Offloaded says that the checksum of the SYN or SYN-ACK was left to the
	// interface (it holds the sum of the pseudo-header): the packet was
	// captured on the host that sent it.
	Offloaded bool
	// Outgoing and Incoming say that the capture itself marks some of the
	// packets as sent or received by the capturing host (cooked captures, pcapng
	// flags).
	Outgoing, Incoming bool
}

// RST is a packet with the RST flag.
type RST struct {
	At    Time
	From  Side // by its source address
	Flags wire.Flags
	TTL   uint8
	// TTLDiffers says that the TTL is outside the span of the same side's other
	// packets, of which there are some.
	TTLDiffers bool
	IPID       uint16
	Seq, Ack   uint32
	Window     uint16
	// InWindow judges the sequence number as the receiver would, RFC 5961
	// section 3.2: SeqExact is what it expects next.
	InWindow SeqPlace
	// BytesBefore is the payload both sides had sent.
	BytesBefore uint64
}

// SeqPlace says where a sequence number lies in the window of its receiver.
type SeqPlace uint8

// The places of a sequence number.
const (
	SeqUnknown SeqPlace = iota // too little was seen
	SeqExact                   // the next expected
	SeqIn                      // in the window
	SeqOut                     // outside: the receiver ignores it
)

// String gives "unknown", "exact", "in" or "out".
func (p SeqPlace) String() string { return [...]string{"unknown", "exact", "in", "out"}[p&3] }

// MarshalText gives the same.
func (p SeqPlace) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// ICMPError is an ICMP or ICMPv6 error that quotes a packet of a connection.
type ICMPError struct {
	At     Time
	Sender netip.Addr
	// About is the side whose packet it quotes, and to whom it is sent.
	About      Side
	V6         bool
	Type, Code uint8
	// TTL of the ICMP packet itself.
	TTL uint8
	// MTU is that of "fragmentation needed" and "packet too big", or 0.
	MTU int
	// Quote judges the quoted packet, as internal/wire does.
	Quote evidence.Quote
	// SYN says that the quoted sequence number is that of the SYN.
	SYN bool
}

// Clone copies c with all it refers to.
func (c *Conn) Clone() *Conn {
	d := *c
	d.SYN.Times = slices.Clone(c.SYN.Times)
	d.SYNACK.Times = slices.Clone(c.SYNACK.Times)
	d.Resets = slices.Clone(c.Resets)
	d.ICMP = slices.Clone(c.ICMP)
	for i := range d.Dir {
		d.Dir[i].Data = slices.Clone(c.Dir[i].Data)
	}
	return &d
}

// Failed says that the attempt did not lead to an established connection.
func (c *Conn) Failed() bool { return !c.Established }

// HandshakeTimes gives the time from the last SYN before the SYN-ACK to the
// first SYN-ACK, and from there to the ACK. A time that is not known, or not
// certain as another SYN may be the one that was answered, is -1.
func (c *Conn) HandshakeTimes() (synACK, ack time.Duration) {
	synACK, ack = -1, -1
	first := c.SYNACK.First()
	if first == 0 {
		return
	}
	before := 0
	for _, t := range c.SYN.Times {
		if t <= first {
			before++
		}
	}
	if before == 1 {
		synACK = first.Sub(c.SYN.Times[0])
	}
	if c.HandshakeACK != 0 && c.SYNACK.Count == 1 {
		ack = c.HandshakeACK.Sub(first)
	}
	return
}

// End gives the RST that ended the connection: the first that its receiver
// would accept, or the first at all; nil without one.
func (c *Conn) End() *RST {
	for i := range c.Resets {
		if p := c.Resets[i].InWindow; p == SeqExact || p == SeqIn {
			return &c.Resets[i]
		}
	}
	if len(c.Resets) > 0 {
		return &c.Resets[0]
	}
	return nil
}
