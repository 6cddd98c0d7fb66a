package evidence

import (
	"time"

	"github.com/tcpwhy/tcpwhy/internal/flow"
)

// Conversation is one TCP connection, or the attempt at one, as captures show
// it: by itself from one capture, or from one at each side.
type Conversation struct {
	// Tuple as the client sees it; Local is the client, who sent the SYN.
	Tuple flow.Tuple `json:"tuple"`
	// At the client's side, or wherever the only capture was made. Nil says that
	// the capture holds nothing of the connection.
	Client *Recording `json:"client,omitempty"`
	// Server is what the second capture, at the server's side, holds of it. It
	// counts only if Compared.
	Server *Recording `json:"server,omitempty"`
	// Compared says that there are captures of both sides, which overlap in time
	// for the whole of the connection.
	Compared bool `json:"compared,omitempty"`
	// Peers sums up what else the client's capture holds of the same server.
	Peers Peers `json:"peers"`
}

// Recording is what one capture holds of a connection. Times count from its
// first packet.
type Recording struct {
	// Place is where the capture was made: "client", "server", "both" (one host),
	// "between", or "" where nothing tells.
	Place string `json:"place,omitempty"`
	// Began says that the SYN is in the capture.
	Began bool `json:"began"`
	// SYNs are the times of the first SYNs, SYNCount counts all.
	SYNs     []time.Duration `json:"syns,omitempty"`
	SYNCount int             `json:"syn_count"`
	// SYNACK is the time of the first SYN-ACK; SYNACKCount of 0 says none.
	SYNACK      time.Duration `json:"syn_ack,omitempty"`
	SYNACKCount int           `json:"syn_ack_count"`
	// SYNACKAgain says that a SYN-ACK came after the client's ACK of one.
	SYNACKAgain bool `json:"syn_ack_again,omitempty"`
	// ACK says that the client's acknowledgement of the SYN-ACK is there, or any
	// later packet of the client that carries it.
	ACK bool `json:"ack"`
	// Watched is how long the capture goes on after the connection's last packet.
	Watched time.Duration `json:"watched"`
	// Resets, in order.
	Resets []RecordedReset `json:"resets,omitempty"`
	// ICMP are the errors that quote a packet of the client; Errno is empty.
	ICMP []SocketError `json:"icmp,omitempty"`
	// FINClient and FINServer are the times of the first FIN; 0 is none.
	FINClient time.Duration `json:"fin_client,omitempty"`
	FINServer time.Duration `json:"fin_server,omitempty"`
	// Payload bytes sent, retransmitted ones left out where that is known, and
	// the first bytes of each side.
	ClientBytes int64  `json:"client_bytes"`
	ServerBytes int64  `json:"server_bytes"`
	ClientData  []byte `json:"client_data,omitempty"`
	ServerData  []byte `json:"server_data,omitempty"`
	// Unacked are bytes of the client that the server had not acknowledged at
	// the end.
	Unacked int64 `json:"unacked"`
	// Resent counts the client's data segments sent again.
	Resent int `json:"resent"`
	// ZeroWindow says that the server's last window was 0.
	ZeroWindow bool `json:"zero_window,omitempty"`
	// Idle is the longest pause before a packet of the client that nothing
	// answered; 0 without one.
	Idle time.Duration `json:"idle,omitempty"`
	// ServerTTL is the hop limit of the SYN-ACK and of the server's data; 0 if
	// neither is there, or they differ.
	ServerTTL int `json:"server_ttl,omitempty"`
	// Missed says that a side acknowledged what is not in the capture, though that
	// ran: the capture misses packets.
	Missed bool `json:"missed,omitempty"`
	// ECN says that the SYNs ask for it.
	ECN bool `json:"ecn,omitempty"`
}

// RecordedReset is a RST.
type RecordedReset struct {
	At         time.Duration `json:"at"`
	FromServer bool          `json:"from_server"` // by its source address
	TTL        int           `json:"ttl,omitempty"`
	// Valid says that its receiver would take it: its number is in the window.
	Valid bool `json:"valid"`
}

// Peers is what a capture holds of a server beside one connection.
type Peers struct {
	// Same counts the other attempts at the same port that had the same outcome,
	// Other those that had another one, and Silent those beside an attempt that was
	// answered that nothing answered: loss may do that, whatever the answer is.
	Same   int `json:"same"`
	Other  int `json:"other"`
	Silent int `json:"silent,omitempty"`
	// Changed says that shortly before or after them attempts had another outcome,
	// so that those counted here may be alike by chance.
	Changed bool `json:"changed,omitempty"`
	// SYNs to the same port in all of them, and how many got no answer.
	SYNs     int `json:"syns"`
	LostSYNs int `json:"lost_syns"`
	// OpenTTLs are the hop limits of SYN-ACKs and data of the server's other
	// connections, ClosedTTLs those of its RSTs to SYNs, without repeats.
	OpenTTLs   []int `json:"open_ttls,omitempty"`
	ClosedTTLs []int `json:"closed_ttls,omitempty"`
}
