package capdiff

import (
	"context"
	"errors"
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// Flow is a connection as one capture shows it.
type Flow struct {
	// Number is that of its first packet in the capture, from 1, as
	// [tcpflow.Conn.ID].
	Number         uint64
	Client, Server netip.AddrPort
	First, Last    tcpflow.Time
	// Began says that the SYN was seen.
	Began bool
	// ISN are the initial sequence numbers, as far as SeenSYN.
	ISN     [2]uint32
	SeenSYN [2]bool
	// TTL is that of the first packet of each side, 0 without one.
	TTL [2]uint8
	// Place is where the capture seems to have been made, by this connection.
	Place tcpflow.Place
	// Cut says that the snap length cut packets, Lost that it was handed out
	// before its end for want of room.
	Cut, Lost bool
	// Missed says that the capture misses packets of it, which the other side
	// acknowledged.
	Missed bool

	packets uint64
	answer  tcpflow.Time // first SYN-ACK or RST of the server
	mss     [2]uint16
	own     [2]bool // the side's packets were sent by the capturing host
	data    [2]uint32
}

// addresses is a set.
type addresses map[netip.Addr]struct{}

// side is the connections of one file.
type side struct {
	File
	flows []*Flow
}

// maxFlows bounds the connections of a file, to some 300 MB.
const maxFlows = 1 << 20

// index reads the connections of a capture.
func index(ctx context.Context, src Source, o Options) (*side, error) {
	s := &side{File: File{Name: src.Name}}
	in, err := src.Open()
	if err != nil {
		return s, err
	}
	sum, err := tcpflow.Analyze(ctx, in, tcpflow.Options{
		Parallelism: o.Parallelism, MaxConnections: o.MaxConnections,
		Conn: func(c *tcpflow.Conn) error {
			if len(s.flows) == maxFlows {
				s.NotKept++
				return nil
			}
			s.flows = append(s.flows, newFlow(c))
			return nil
		},
	})
	if e := in.Close(); err == nil {
		err = e
	}
	s.Counts = sum.Counts
	if errors.As(err, &s.Damage) {
		err = nil
	}
	return s, err
}

func newFlow(c *tcpflow.Conn) *Flow {
	f := &Flow{
		Number: c.ID, Client: c.Client, Server: c.Server, First: c.First, Last: c.Last, Began: !c.BeganBefore,
		Cut: c.Snapped, Lost: c.LetGo, Missed: c.Dir[0].Missed || c.Dir[1].Missed, answer: c.SYNACK.First(),
	}
	for _, s := range []tcpflow.Side{tcpflow.Client, tcpflow.Server} {
		d := &c.Dir[s]
		f.ISN[s], f.SeenSYN[s], f.TTL[s], f.mss[s] = d.ISN, d.SeenSYN, d.FirstTTL, d.MSS
		f.own[s] = d.Outgoing && !d.Incoming && d.FirstTTL != 0 // a router may send RSTs, too
		f.packets += d.Packets
		f.data[s] = hash(d.Data)
	}
	for i := range c.Resets {
		if r := &c.Resets[i]; r.From == tcpflow.Server && (f.answer == 0 || r.At < f.answer) {
			f.answer = r.At
			if f.TTL[tcpflow.Server] == 0 {
				f.TTL[tcpflow.Server] = r.TTL
			}
		}
	}
	f.Place = place(c, f)
	return f
}

// place is more careful than tcpflow with checksums that were left to the
// interface: between virtual hosts they stay so on the whole way.
func place(c *tcpflow.Conn, f *Flow) tcpflow.Place {
	const client, server = tcpflow.Client, tcpflow.Server
	initial := func(s tcpflow.Side) bool { return isInitial(f.TTL[s]) }
	left := func(s tcpflow.Side) bool { return c.Dir[s].Offloaded && !c.Dir[s].Incoming && initial(s) }
	switch {
	case c.Client.Addr() == c.Server.Addr():
		return tcpflow.PlaceBoth
	case c.Dir[client].Outgoing && c.Dir[client].Incoming || c.Dir[server].Outgoing && c.Dir[server].Incoming:
		return tcpflow.PlaceBetween // forwarded
	case f.own[client] != f.own[server]:
		return [...]tcpflow.Place{tcpflow.PlaceServer, tcpflow.PlaceClient}[b2i(f.own[client])]
	case left(client) && f.TTL[server] != 0 && !left(server):
		return tcpflow.PlaceClient
	case left(server) && !left(client):
		return tcpflow.PlaceServer
	case f.TTL[client] == 0 || f.TTL[server] == 0 || initial(client) && initial(server):
		return tcpflow.PlaceUnknown
	case initial(client):
		return tcpflow.PlaceClient
	case initial(server):
		return tcpflow.PlaceServer
	}
	return tcpflow.PlaceBetween
}

// isInitial tells the hop limits that operating systems begin with.
func isInitial(ttl uint8) bool { return ttl == 64 || ttl == 128 || ttl == 255 }

// passed says that a side's packets have passed a router where they were
// captured.
func (f *Flow) passed(s tcpflow.Side) bool {
	return f.TTL[s] != 0 && !isInitial(f.TTL[s]) && !f.own[s]
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
