// Package tcpsock makes TCP connection attempts and reads everything the
// kernel tells about them without privileges: which call failed with which
// errno, the ICMP errors of the socket's error queue with their senders and the
// packets they quote, the TCP state, and the addresses chosen. A Poller waits
// for many sockets in one goroutine.
//
// Linux is the system it is written for. Elsewhere the same types stand over
// net.Dialer: they tell whether and why a connect failed, and what needs more
// fails with an error that wraps errors.ErrUnsupported.
//
// It imports nothing of ours.
//
// # What Linux does with ICMP errors during connect
//
// Read in net/ipv4/tcp_ipv4.c (tcp_v4_err) and net/ipv6/tcp_ipv6.c
// (tcp_v6_err), and measured on 6.18: in SYN_SENT every ICMP error that has an
// errno ends the attempt at once, hard or soft by RFC 1122 4.2.3.9, with
// IP_RECVERR or without. Destination unreachable, time exceeded and parameter
// problem do so; fragmentation needed, packet too big, redirect and source
// quench do not, and never enter the error queue. A quote whose sequence number
// is not that of the SYN is ignored.
//
// There is one exception. ICMP errors are not backlogged, so one that arrives
// while connect() itself still holds the socket (over veth or lo the answer
// comes within the same system call) becomes a soft error: the socket stays in
// SYN_SENT and would send its SYN again after one second, while poll(2) reports
// POLLERR and SO_ERROR the errno. A program that waits by poll, as nearly all
// do, takes that for the end of its connect. Status does the same.
package tcpsock

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
)

// Options say how a socket is set up before connect(). The zero value leaves
// everything to the system.
type Options struct {
	// Source and SourcePort are bound before connect(); zero lets the kernel
	// choose. With an address alone the port is chosen by connect()
	// (IP_BIND_ADDRESS_NO_PORT), as without bind().
	Source     netip.Addr
	SourcePort uint16
	// Interface binds to a network interface (SO_BINDTODEVICE).
	Interface string
	// TTL is the hop limit of the socket's packets, 1 to 255.
	TTL int
	// MSS is the largest segment to announce and send, in bytes (TCP_MAXSEG).
	MSS int
	// HalfOpen keeps back the ACK that completes the handshake for as long as
	// the kernel delays ACKs, 40 ms at least (TCP_QUICKACK off). A socket that
	// is aborted within that time was never a connection to the server: its
	// half-open entry goes away with the RST and its application hears nothing.
	HalfOpen bool
}

// Error is a system call that failed before any packet was sent.
type Error struct {
	// Call is "socket", "bind" or "connect". Binding to an interface is "bind".
	Call string
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("tcpsock: %s: %v", e.Call, e.Err) }

// Unwrap returns the cause, in the end a syscall.Errno if the kernel gave one.
func (e *Error) Unwrap() error { return e.Err }

// Phase is where a connection attempt stands.
type Phase uint8

const (
	Pending Phase = iota
	Connected
	Failed
)

// Status is the news about a connection attempt.
type Status struct {
	Phase Phase
	// Err says why the attempt failed. On Linux it is a syscall.Errno;
	// elsewhere it can be an *Error.
	Err error
	// ICMP are the errors that were in the error queue, oldest first.
	ICMP []ICMPError
}

// ICMPError is one entry of a socket's error queue, ip(7) under IP_RECVERR.
type ICMPError struct {
	At         time.Time     // when it was read
	Errno      syscall.Errno // what the kernel makes of it
	Local      bool          // made by this host without a packet
	Type, Code int           // of ICMP or ICMPv6
	// From is the sender of the ICMP packet, with zone if link-local.
	From netip.Addr
	// TTL is the hop limit with which the ICMP packet arrived; 0 if not known.
	TTL int
	// MTU is the next hop's, for packet too big and fragmentation needed.
	MTU int
	// Header is what was quoted of our packet from the TCP header on, at most
	// the 60 bytes that a TCP header can have.
	Header []byte
}

// Info is the part of TCP_INFO that tells about a connection attempt.
type Info struct {
	State       State
	Retransmits int           // segments sent again, in total
	RTT         time.Duration // smoothed round trip time; 0 if not measured
	MSS         int           // largest segment to send, bytes
	Unacked     int           // segments sent and not acknowledged
	Unsent      int           // bytes written and not sent yet
}

// State is a TCP state in the numbers of Linux, include/net/tcp_states.h; 0 is
// not known.
type State uint8

const (
	Established State = iota + 1
	SynSent
	SynRecv
	FinWait1
	FinWait2
	TimeWait
	Closed
	CloseWait
	LastAck
	Listening
	Closing
	NewSynRecv
)

// String names the state as RFC 9293 and ss(8) do, "" if it is not known.
func (s State) String() string {
	names := [...]string{"", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",
		"TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV"}
	if int(s) >= len(names) {
		return ""
	}
	return names[s]
}

// ErrnoName names the errno that err wraps, "ECONNREFUSED", and returns "" when
// there is none or it has no name.
func ErrnoName(err error) string {
	var e syscall.Errno
	if !errors.As(err, &e) {
		return ""
	}
	return errnoName(e)
}
