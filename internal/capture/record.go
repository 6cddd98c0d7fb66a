package capture

import (
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// record makes a recording of what tcpflow saw, with times from its first
// packet, in memory that it uses anew. Watched, and what depends on it, is left for later: when the
// connection is handed out the end of the capture need not be known.
func record(r *evidence.Recording, c *tcpflow.Conn) {
	client, server := &c.Dir[tcpflow.Client], &c.Dir[tcpflow.Server]
	since := func(t tcpflow.Time) time.Duration {
		if t == 0 {
			return 0
		}
		return max(t.Sub(c.First), 1) // 0 is "none"
	}
	*r = evidence.Recording{
		SYNs: r.SYNs[:0], Resets: r.Resets[:0], ICMP: r.ICMP[:0],
		Began: !c.BeganBefore, SYNCount: int(c.SYN.Count), SYNACKCount: int(c.SYNACK.Count), SYNACK: since(c.SYNACK.First()),
		ACK: c.HandshakeACK != 0 || c.Established, FINClient: since(client.FIN), FINServer: since(server.FIN),
		ClientBytes: int64(client.Bytes), ServerBytes: int64(server.Bytes), ClientData: client.Data, ServerData: server.Data,
		Unacked: int64(client.Unacked), Resent: int(client.Retransmissions),
		ZeroWindow: server.ZeroWindowNow, ServerTTL: int(server.FirstTTL), ECN: client.ECN,
	}
	if server.MinTTL != server.MaxTTL {
		r.ServerTTL = 0 // several paths, or each packet before and behind a router
	}
	for _, t := range c.SYN.Times {
		r.SYNs = append(r.SYNs, t.Sub(c.First))
	}
	if c.HandshakeACK != 0 && len(c.SYNACK.Times) > 1 {
		r.SYNACKAgain = c.SYNACK.Times[len(c.SYNACK.Times)-1] > c.HandshakeACK
	}
	for i := range c.Resets {
		// A TCP that gave up before answers with a RST without ACK, RFC 9293 section
		// 3.10.7.1.
		x := &c.Resets[i]
		r.ACK = r.ACK || x.From == tcpflow.Client && x.Flags&wire.ACK != 0 && server.SeenSYN && int32(x.Ack-server.ISN) > 0
	}
	r.Missed = client.Missed || server.Missed
	if r.SYNCount > 1 { // a repeated SYN is a retransmission, too
		r.Resent = max(r.Resent-(r.SYNCount-1), 0)
	}
	if client.FIN != 0 && !client.FINAcked && r.Unacked > 0 {
		r.Unacked-- // a FIN takes a number and is no data
	}
	for i := range c.Resets {
		x := &c.Resets[i]
		r.Resets = append(r.Resets, evidence.RecordedReset{
			At: x.At.Sub(c.First), FromServer: x.From == tcpflow.Server, TTL: int(x.TTL), Valid: x.InWindow != tcpflow.SeqOut,
		})
	}
	for i := range c.ICMP {
		x := &c.ICMP[i]
		if x.About != tcpflow.Client {
			continue
		}
		r.ICMP = append(r.ICMP, evidence.SocketError{
			At: x.At.Sub(c.First), Type: int(x.Type), Code: int(x.Code), From: x.Sender, TTL: int(x.TTL), MTU: x.MTU, Quote: x.Quote,
		})
	}
	r.Place = place(c)
	holes(c, r)
}

// place says where the capture was made, as far as this connection tells. What
// the capture itself says about directions comes first. Without that a checksum
// left to the interface tells of the sender's host, but not if both sides leave
// it: packets between virtual machines or containers keep it on the way.
func place(c *tcpflow.Conn) string {
	client, server := &c.Dir[tcpflow.Client], &c.Dir[tcpflow.Server]
	forwarded := client.Outgoing && client.Incoming || server.Outgoing && server.Incoming
	switch {
	case c.Client.Addr() == c.Server.Addr() || c.Server.Addr().IsLoopback():
		return tcpflow.PlaceBoth.String()
	case forwarded:
		return tcpflow.PlaceBetween.String()
	case client.Outgoing && !server.Outgoing:
		return tcpflow.PlaceClient.String()
	case server.Outgoing && !client.Outgoing:
		return tcpflow.PlaceServer.String()
	case client.Outgoing || client.Incoming || server.Incoming:
		return ""
	}
	switch c.Place {
	case tcpflow.PlaceClient, tcpflow.PlaceServer, tcpflow.PlaceBetween:
		return c.Place.String()
	}
	return ""
}

// holes takes back what a capture that misses packets does not show.
func holes(c *tcpflow.Conn, r *evidence.Recording) {
	if r.Began && r.SYNACKCount == 0 && c.Established {
		// The client acknowledged a SYN-ACK that is not in the capture: how the
		// handshake went is not known.
		r.Began, r.SYNs, r.SYNCount = false, r.SYNs[:0], 0
	}
	if !r.Began {
		// The first bytes of the capture are not the first of the connection.
		r.ClientData, r.ServerData = nil, nil
	}
	data := r.ClientBytes+r.ServerBytes > 0
	if !r.Began && data || c.Dir[tcpflow.Server].LostSegments > 0 {
		r.ServerBytes = max(r.ServerBytes, 1) // what is missing may be data
	}
}

// hole says that the capture misses packets of a connection: those that one
// side acknowledged or that others presuppose.
func hole(c *tcpflow.Conn) bool {
	missing := func(d *tcpflow.Direction) bool { return d.LostSegments > d.OutOfOrder+d.Retransmissions }
	return !c.BeganBefore && c.SYNACK.Count == 0 && c.Established ||
		c.Dir[tcpflow.Client].Missed || c.Dir[tcpflow.Server].Missed ||
		missing(&c.Dir[tcpflow.Client]) || missing(&c.Dir[tcpflow.Server])
}

// odd gathers the peculiarities of a connection.
func odd(c *tcpflow.Conn) Odd {
	var o Odd
	set := func(bit Odd, yes bool) {
		if yes {
			o |= bit
		}
	}
	client, server := &c.Dir[tcpflow.Client], &c.Dir[tcpflow.Server]
	set(OddHole, hole(c))
	if !c.Established {
		return o
	}
	set(OddSYNAgain, c.SYN.Count > 1)
	set(OddSYNACKAgain, c.SYNACK.Count > 1)
	set(OddReset, c.Outcome == tcpflow.Reset)
	set(OddZeroWindow, client.ZeroWindows+server.ZeroWindows > 0)
	set(OddHalfClosed, c.Outcome == tcpflow.HalfClosed)
	set(OddKeepAlive, client.KeepAlivesUnanswered+server.KeepAlivesUnanswered > 0)
	set(OddUnacked, c.Outcome != tcpflow.Reset && client.Unacked > 0 && client.Retransmissions > 0)
	return o
}

// The times that must pass before silence means anything.
const (
	// stallTime is for a window of 0: receivers of a busy moment open it again.
	stallTime = 2 * time.Second
	// answerTime is for an answer to a request.
	answerTime = 5 * time.Second
	// ackTime is for an acknowledgement: the first retransmission leaves after
	// 200 ms at least (Linux, TCP_RTO_MIN) and 1 s at first (RFC 6298 section 2).
	ackTime = 3 * time.Second
)

// early says why the capture shows too little of an established connection to
// judge it, "" if it does not. length is from its first packet to its last.
func early(r *evidence.Recording, wire tcpflow.Outcome, length time.Duration) string {
	switch {
	case !r.Began && r.SYNACKCount == 0 && r.ClientBytes+r.ServerBytes == 0:
		return "the capture holds neither the beginning of the connection nor data of it"
	case wire != tcpflow.Open || r.SYNACKCount == 0 && r.Began:
		return ""
	}
	switch {
	case r.Unacked > 0 && r.Resent > 0 && r.Watched+length < ackTime:
		return "the capture ends " + brief(r.Watched) + " after data that was not acknowledged yet"
	case r.ClientBytes > 0 && r.ServerBytes == 0 && r.Watched < answerTime && length < answerTime:
		return "the capture ends " + brief(r.Watched+length) + " after the connection began, too early to tell whether an answer came"
	}
	return ""
}

func brief(d time.Duration) string { return d.Round(time.Millisecond).String() }
