package sockdiag

import "net/netip"

// State is a TCP state as the kernel numbers it (include/net/tcp_states.h).
type State uint8

// The states.
const (
	Established State = iota + 1
	SynSent
	SynRecv
	FinWait1
	FinWait2
	TimeWait
	Close
	CloseWait
	LastAck
	Listen
	Closing
	NewSynRecv    // half-open, still without a full socket; answers show it as SynRecv
	BoundInactive // bound, neither listening nor connected (CLOSE in the answer); told since Linux 6.8
)

// States is a set of states.
type States uint32

// Of makes a set.
func Of(states ...State) (set States) {
	for _, s := range states {
		set |= 1 << s
	}
	return set
}

// Has says whether the state is in the set.
func (set States) Has(s State) bool { return set&(1<<s) != 0 }

// Connections are the states of a socket that has a peer, or had.
const Connections = States(1<<Established | 1<<SynSent | 1<<SynRecv | 1<<FinWait1 | 1<<FinWait2 |
	1<<TimeWait | 1<<CloseWait | 1<<LastAck | 1<<Closing | 1<<NewSynRecv)

// Query says which sockets are wanted. The kernel filters, so a narrow query
// of a large table is cheap.
type Query struct {
	States States
	// LocalPort and RemotePort, where not 0, must be equal.
	LocalPort, RemotePort uint16
	// V4 and V6 ask for sockets of the address families. A socket of IPv6 can
	// carry IPv4 traffic, with IPv4-mapped addresses.
	V4, V6 bool
}

// Socket is one TCP socket, struct inet_diag_msg of linux/inet_diag.h.
type Socket struct {
	// Local and Remote are as the socket has them: Is4 for a socket of IPv4,
	// Is4In6 for IPv4 over a socket of IPv6. They carry no zone.
	Local, Remote netip.AddrPort
	State         State
	// RecvQ and SendQ are bytes; of a listener RecvQ is the number of
	// connections waiting for accept and SendQ the limit of that queue.
	RecvQ, SendQ uint32
	UID          uint32
	// Inode identifies the socket in /proc/PID/fd. It is 0 as long as no
	// process accepted the connection, and again once it was closed.
	Inode uint64
	// Device is the index of the interface the socket is bound to, or 0.
	Device int
	V6Only bool // of a listener, or one that is only bound
	// Cgroup is the ID of the control group, of version 2, that the socket was
	// made in; 0 where it is not told (before Linux 5.8).
	Cgroup uint64
}

// Owner is a process that has a socket open.
type Owner struct {
	PID int
	// Name is the command name, escaped to printable ASCII, at most 64
	// characters.
	Name string
}
