// Package tcpflow turns a capture into the TCP connections in it and what
// became of each. It reads at the speed of memory on all processors, holds a
// bounded number of connections, and gives the same answer whatever the
// parallelism. It has no opinion about causes.
//
// It imports internal/pcapfile, internal/decap, internal/wire and
// internal/evidence.
package tcpflow

import (
	"net/netip"
	"time"
)

// Options of Analyze. The zero value is good.
type Options struct {
	// Parallelism is how many goroutines decode, and how many follow
	// connections; 0 is runtime.GOMAXPROCS. The results do not depend on it.
	Parallelism int
	// MaxConnections bounds how many are held at a time; 0 takes
	// DefaultMaxConnections. When there are more, the oldest finished
	// connection is handed out, or the oldest of all.
	MaxConnections int
	// Linger, if not 0, is how long a finished connection is held after its last
	// packet, by the capture's clock, and then handed out; an attempt without a
	// handshake is held until it has also been silent for twice as long as it
	// has lasted. Packets that come later begin another connection. It is for
	// captures that grow, and takes less memory; with 0 all is held to the end.
	Linger time.Duration
	// Conn is called for every connection, from one goroutine at a time: as they
	// leave the table, and at the end for the others in the order of their first
	// packets. The order is the same in every run; that of first packets is the
	// order of Conn.ID. An error ends the analysis.
	Conn func(*Conn) error
	// Part, if not nil, is called in place of Conn, and does not wait for other
	// connections: connections are divided into Parts parts, by a hash of their
	// four-tuples, and it is called for different parts at the same time. Within
	// a part the order is the same in every run: as they leave the table, and
	// then the others in the order of their first packets.
	Part func(part int, c *Conn) error
}

// Parts is into how many parts connections are divided for Options.Part.
const Parts = shards

// Counts are those of a capture.
type Counts struct {
	Packets uint64
	// Bytes captured, link-layer headers included.
	Bytes       uint64
	First, Last Time
	// TCP packets followed, ICMP errors that quote TCP, and DNS messages read.
	TCP, ICMP, DNS uint64
	// NotTCP are whole packets of other protocols.
	NotTCP uint64
	// Malformed packets have headers that contradict themselves.
	Malformed uint64
	// Fragments are IP fragments but the first, which carry no ports.
	Fragments uint64
	// Snapped packets were cut by the snap length so short that headers are
	// missing; CutData ones are whole up to their payload.
	Snapped, CutData uint64
	// ICMPSnapped are those of the snapped packets that are ICMP errors, about
	// nobody knows whom.
	ICMPSnapped uint64
	// UnknownLink packets are of a link type that is not read.
	UnknownLink uint64
	// Backwards counts packets with an earlier time than the one before.
	Backwards uint64
	// ICMPStray quote no connection in the capture.
	ICMPStray uint64
	// Connections handed out in all, LetGo of them before the end as the table
	// was full, LetGoUnfinished of those while they were still alive.
	Connections, LetGo, LetGoUnfinished uint64
}

// Summary is what a capture holds beside its connections.
type Summary struct {
	Counts
	// Lookups are the DNS questions seen, by time of the question, at most
	// MaxLookups; LookupsLost is how many more there were.
	Lookups     []Lookup
	LookupsLost uint64
}

// MaxLookups bounds the DNS lookups kept.
const MaxLookups = 65536

// Lookup is a DNS question and its answer, over UDP or TCP.
type Lookup struct {
	Client, Server netip.AddrPort
	// Asked is 0 when only the answer was seen, Answered 0 without an answer.
	Asked, Answered Time
	Name            string // with control characters escaped, without the final dot
	Type            uint16 // of the question
	RCode           int    // of the answer
	// Tries counts the questions with the same ID, port and name.
	Tries uint32
	// Addrs are the addresses in the answer, at most 16.
	Addrs []netip.Addr
	// Truncated says that the answer sent the client to TCP, or that the
	// capture cut it.
	Truncated bool
}

// Name gives the name that a lookup of the client before the given time
// resolved to addr: the latest one, and "" without one. A lookup by another
// host counts where the client made none.
func (s *Summary) Name(client, addr netip.Addr, before Time) string {
	best, own := "", false
	for i := range s.Lookups {
		l := &s.Lookups[i]
		if l.Answered == 0 || l.Answered > before {
			continue
		}
		mine := l.Client.Addr() == client
		if own && !mine {
			continue
		}
		for _, a := range l.Addrs {
			if a == addr {
				best, own = l.Name, own || mine
			}
		}
	}
	return best
}
