// Package kernel watches what the kernel of this host does with the connection
// attempts to a port: by tracepoints (package bpf), which know the reasons, and by
// a capture, which proves that a packet came or left. Either works without the
// other. The Tracker puts events and packets together to attempts, each with its
// fate.
//
// It imports collect, evidence, and for the mechanics bpf, afpacket, pcapfilter,
// wire and sockdiag.
package kernel

import (
	"net/netip"
	"time"
)

// Options of Start.
type Options struct {
	// Port is the one to watch; 0 is all, see bpf.Filter.
	Port uint16
	// Client and Server, if not zero, are the addresses of the ends.
	Client, Server netip.Addr
	// Namespace is the inode of the network namespace whose events are wanted; 0
	// takes all of this host. Packets are always those of the namespace that the
	// thread which calls Start is in.
	Namespace uint32
	// Changed, if not nil, gets each attempt that is new or whose fate has changed,
	// from one goroutine, in batches some 20 ms apart and up to 100 ms late. What
	// happens while it does not return waits in buffers of the kernel, and is
	// counted where they are too small.
	Changed func(Attempt)
	// Keep bounds the events, and the packets, that Stop returns; 0 takes 10,000,
	// and less than 0 keeps none.
	Keep int
	// About, if not zero, is the client whose events and packets are kept. One of the
	// others may be the same, with an address that NAT gave it: those of the first
	// 512 ends are kept, too, 2048 at most, and of all further SYNs the count. Of the
	// client itself the SYNs, SYN-ACKs and RSTs of all other ports are among the
	// packets: NAT may lead it there.
	About netip.Addr
	// Attempts bounds those known at a time; 0 takes 50,000, of some 600 bytes each.
	Attempts int
}

// Fate is what has become of a connection attempt, as far as is known.
type Fate string

// The fates. Those without a word on it may change.
const (
	FateArrived  Fate = "arrived"   // a SYN came, no more is known
	FateAnswered Fate = "answered"  // SYN-ACK left, and the kernel is not traced: no more is known
	FateHalfOpen Fate = "half-open" // SYN-ACK left, no ACK came yet
	// FateUnanswered: the SYN-ACK was sent again, so nothing answered it.
	FateUnanswered Fate = "syn-ack-unanswered"
	// FateComplete: the handshake is complete and no process was seen to accept the
	// connection. An accept() of io_uring(7) or of a 32-bit program shows a second
	// later; in another network namespace than the program's it shows only when the
	// state changes next, so there this is no proof that nobody has.
	FateComplete Fate = "complete"
	FateAccepted Fate = "accepted" // by a process; Attempt.Ended tells that it is over
	// FateRefused: a RST answered the SYN; final, unless the same SYN comes again.
	// Attempt.Reset is the kernel's reason. Where that is zero although the kernel
	// was traced and nothing is Incomplete, it was not TCP of this host that sent
	// it but a packet filter, see Attempt.Drop, or a host behind this one.
	FateRefused  Fate = "refused"
	FateRejected Fate = "rejected" // an ICMP error answered the SYN; final, as FateRefused
	FateDropped  Fate = "dropped"  // a segment of the handshake was dropped, see Attempt.Drop
	// FateForwarded: the SYN left by another interface, and no more is known.
	FateForwarded Fate = "forwarded"
	// FateIgnored: a SYN came, nothing left with the addresses and ports of the
	// attempt, and the kernel gave no reason. Full queues of a listener look so, and
	// no route to the client; address translation may have sent the SYN elsewhere,
	// and with Options.Namespace another namespace may have dropped it.
	FateIgnored       Fate = "ignored"
	FateResetByClient Fate = "reset-by-client" // after the SYN-ACK; final
	FateResetByServer Fate = "reset-by-server" // after the handshake; final
)

// Attempt is one connection attempt. Times called At or named after what happened
// then are since the clock's start, and 0 where it did not happen or was not seen.
type Attempt struct {
	Client netip.AddrPort `json:"client"`
	Server netip.AddrPort `json:"server"`
	// At is the time of the first SYN, or of what was seen first, Last of what was
	// seen last.
	At   time.Duration `json:"at"`
	Last time.Duration `json:"last"`
	Fate Fate          `json:"fate"`
	// Since is when the fate came true.
	Since time.Duration `json:"since"`
	// SYNs counts those that came in, on the interface of the first; 0 without a
	// capture.
	SYNs int `json:"syns,omitempty"`
	// Interface is the one that the first SYN came in on, Forwarded one by which it
	// left again.
	Interface string `json:"interface,omitempty"`
	Forwarded string `json:"forwarded,omitempty"`
	// Namespace is the inode of the network namespace of the server's socket, or of
	// what dropped or refused the attempt; 0 when not known.
	Namespace uint32 `json:"namespace,omitempty"`
	// Answered is when the first SYN-ACK left, Resent how often it was sent again.
	Answered time.Duration `json:"answered,omitempty"`
	Resent   int           `json:"resent,omitempty"`
	// Established is when the handshake was complete, AcceptedAt when a process took
	// the connection, or was seen to have: then PID is 0.
	Established time.Duration `json:"established,omitempty"`
	AcceptedAt  time.Duration `json:"accepted_at,omitempty"`
	PID         int           `json:"pid,omitempty"`
	Process     string        `json:"process,omitempty"` // its name, escaped
	// Ended is when the server's socket was closed, or the attempt came to its end
	// without one.
	Ended time.Duration `json:"ended,omitempty"`
	// Retransmits counts segments that the server sent again after the handshake.
	Retransmits int `json:"retransmits,omitempty"`
	// Drop is the last drop of a segment of the handshake, Drops counts them all.
	Drop  Act `json:"drop,omitzero"`
	Drops int `json:"drops,omitempty"`
	// Reset is the kernel's reason for the RST that it sent.
	Reset Act `json:"reset,omitzero"`
	// ICMP is the error that answered the SYN: "3/13".
	ICMP string `json:"icmp,omitempty"`
	// Incomplete says that events or packets were lost while the attempt was under
	// way: it may have come further than its fate says.
	Incomplete bool `json:"incomplete,omitempty"`
}

// Act is what the kernel did with a segment, and why; the words are those of
// evidence.KernelEvent.
type Act struct {
	At         time.Duration `json:"at"`
	Flags      string        `json:"flags,omitempty"`
	FromServer bool          `json:"from_server,omitempty"`
	Reason     string        `json:"reason,omitempty"`
	Location   string        `json:"location,omitempty"`
	Interface  string        `json:"interface,omitempty"`
	Namespace  uint32        `json:"namespace,omitempty"`
}

// Handshake is the time from the first SYN to the complete handshake; 0 when one
// of them was not seen.
func (a *Attempt) Handshake() time.Duration {
	if a.SYNs == 0 || a.Established == 0 {
		return 0
	}
	return a.Established - a.At
}

// Waited is the time from the complete handshake to the accept(); false when one
// of them was not seen.
func (a *Attempt) Waited() (time.Duration, bool) {
	return a.AcceptedAt - a.Established, a.Established != 0 && a.AcceptedAt != 0
}

// Final says that nothing more can become of the attempt.
func (a *Attempt) Final() bool { return a.Ended != 0 }

// Summary counts. Attempts are all seen since the start, Fates those by their
// fate now or, for those forgotten, at the end. Forgotten are no longer known,
// Unfinished those of them that might have gone on.
type Summary struct {
	Attempts   int
	Fates      map[Fate]int
	Forgotten  int
	Unfinished int
	// Events and Packets taken in, LostEvents and LostPackets those for which the
	// kernel had no room.
	Events, Packets         int
	LostEvents, LostPackets uint64
}
