package evidence

import (
	"net/netip"
	"time"
)

// Watched is what the kernel of the host did while it was watched.
type Watched struct {
	From  time.Duration `json:"from"`
	Until time.Duration `json:"until"`
	// Events are from the kernel's tracepoints, Packets from a capture, both in
	// order of time. Either may be missing: see Host.NotChecked.
	Events  []KernelEvent `json:"events,omitempty"`
	Packets []Packet      `json:"packets,omitempty"`
	Capture *Capture      `json:"capture,omitempty"`
	// Traced says that the tracepoints were on.
	Traced bool `json:"traced,omitempty"`
	// OtherSYNs counts the SYNs to the port from other addresses than Host.Client of
	// which nothing more is kept: the first few others are among Events and Packets,
	// since one of them may be the client behind NAT. OthersOmitted counts what was
	// left out of what those few did.
	OtherSYNs     int `json:"other_syns,omitempty"`
	OthersOmitted int `json:"others_omitted,omitempty"`
	// Lost counts events for which the ring buffer had no room, Omitted those
	// left out of Events.
	Lost    uint64 `json:"lost,omitempty"`
	Omitted int    `json:"omitted,omitempty"`
}

// KernelEvent is one event of a tracepoint about a connection of the host.
type KernelEvent struct {
	At   time.Duration `json:"at"`
	Kind EventKind     `json:"kind"`
	// Client and Server are the ends: Server has the port that is watched.
	Client netip.AddrPort `json:"client"`
	Server netip.AddrPort `json:"server"`
	// Flags are those of a dropped segment, or of the one that a reset answers:
	// "SYN", "SYN,ACK". A reset that answers none has no flags.
	Flags string `json:"flags,omitempty"`
	// FromServer says that a dropped packet was on its way to the client.
	FromServer bool `json:"from_server,omitempty"`
	// Reason is the kernel's own word without its prefix: of a drop
	// ("NETFILTER_DROP", enum skb_drop_reason), of a reset ("NO_SOCKET", enum
	// sk_rst_reason).
	Reason string `json:"reason,omitempty"`
	// Location is the kernel function that dropped it, "" where it has no name.
	Location string `json:"location,omitempty"`
	// Namespace is the inode of the network namespace (as in
	// /proc/PID/ns/net); 0 when not known.
	Namespace uint32 `json:"namespace,omitempty"`
	Interface string `json:"interface,omitempty"`
	// State is the TCP state entered, of EventState.
	State string `json:"state,omitempty"`
	// Taken says, with State, that a process had accepted the connection by then.
	Taken bool   `json:"taken,omitempty"`
	PID   int    `json:"pid,omitempty"`  // of EventAccepted
	Comm  string `json:"comm,omitempty"` // its name, escaped
}

// EventKind is the kind of a kernel event.
type EventKind string

// The kinds, with their tracepoints.
const (
	EventDrop          EventKind = "drop"               // skb:kfree_skb
	EventSendReset     EventKind = "send-reset"         // tcp:tcp_send_reset
	EventReceiveReset  EventKind = "receive-reset"      // tcp:tcp_receive_reset
	EventRetransmit    EventKind = "retransmit"         // tcp:tcp_retransmit_skb
	EventRetransSYNACK EventKind = "retransmit-syn-ack" // tcp:tcp_retransmit_synack
	EventEstablished   EventKind = "established"        // sock:inet_sock_set_state, SYN_RECV to ESTABLISHED: the handshake is complete
	EventState         EventKind = "state"              // sock:inet_sock_set_state, any other change
	EventAccepted      EventKind = "accepted"           // syscalls:sys_exit_accept, sys_exit_accept4
)
