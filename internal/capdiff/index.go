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
		Cut: c.Snapped, Lost: c.LetGo, answer: c.SYNACK.First(),
	}
	for _, s := range []tcpflow.Side{tcpflow.Client, tcpflow.Server} {
		d := &c.Dir[s]
		f.ISN[s], f.SeenSYN[s], f.TTL[s], f.mss[s] = d.ISN, d.SeenSYN, d.FirstTTL, d.MSS
		f.own[s] = d.Outgoing && !d.Incoming
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
	initial := func(s tcpflow.Side) bool { return f.TTL[s] == 64 || f.TTL[s] == 128 || f.TTL[s] == 255 }
	left := func(s tcpflow.Side) bool { return c.Dir[s].Offloaded && !c.Dir[s].Incoming && initial(s) }
	switch {
	case c.Client.Addr() == c.Server.Addr():
		return tcpflow.PlaceBoth
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

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
