// Package capdiff compares two captures of the same connections, made at the
// two sides of a path. It finds the connections that both hold, though addresses,
// ports and sequence numbers may have been rewritten on the way, measures how
// the clocks differ, and says of every packet whether it arrived, what was
// changed, and which packets neither side sent. It has no opinion about causes.
//
// A file is read twice: for its connections, and then for the packets of those
// that are looked at in detail. Memory is bounded, and what is left out is
// counted. It imports internal/tcpflow, internal/pcapfile, internal/decap and
// internal/wire.
package capdiff

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// Source opens one capture, from its beginning each time.
type Source struct {
	Name string
	Open func() (*pcapfile.Reader, error)
}

// Options of Compare. The zero value is good.
type Options struct {
	// Parallelism and MaxConnections are those of [tcpflow.Options].
	Parallelism, MaxConnections int
	// MaxPackets bounds the packets of a capture that are compared one by one;
	// 0 takes 2 million.
	MaxPackets int
	// Complete says that both captures are known to have run all the time that
	// matters, with no filter that leaves out packets of the connections.
	Complete bool
	// Select says which connections to compare; nil takes all.
	Select func(*Pair) bool
	// Pair is called for every connection that is compared, in the order of
	// their first packets; those that are in the server's file alone come last.
	// The pair and what it holds are valid until it returns. An error ends the
	// comparison.
	Pair func(*Pair) error
}

// DefaultMaxPackets is the bound where Options.MaxPackets is 0. A packet takes
// some 70 bytes.
const DefaultMaxPackets = 2_000_000

// File is what is known of one capture.
type File struct {
	Name string
	tcpflow.Counts
	// Damage says where the file stops making sense; nil if it does not.
	Damage *pcapfile.DamageError
	// NotKept counts connections that are left out for want of room.
	NotKept uint64
}

// Result sums up a comparison.
type Result struct {
	// Files are in the order given.
	Files [2]File
	// ServerFirst says that the first file was made nearer to the servers.
	ServerFirst bool
	// OrderKnown says that the files themselves show which is which.
	OrderKnown bool
	Clock      Clock
	// Matched connections are in both files, ClientOnly and ServerOnly in one.
	Matched, ClientOnly, ServerOnly int
	// NotCompared counts matched connections whose packets were not compared one
	// by one, for want of room.
	NotCompared int
	// Whole counts connections of which both captures saw everything.
	Whole int
}

// Pair is a connection and what each capture holds of it.
type Pair struct {
	// File is the index of the file on each side of the connection, and Flow what
	// it holds of it; nil for nothing. Both are indexed by [tcpflow.Side].
	File [2]int
	Flow [2]*Flow
	// By says how the two were matched.
	By Method
	// Translated says that addresses or ports differ between the sides.
	Translated bool
	// Renumbered says that initial sequence numbers differ.
	Renumbered bool
	// Whole says that both captures ran for the whole of the connection, by the
	// clock. Why says why not.
	Whole bool
	Why   string
	// Compared says that the packets were compared one by one.
	Compared bool
	// Dir is what became of the packets that each side sent.
	Dir [2]Direction
	// Packets, in the order of time at the client, with what became of each.
	Packets []Packet

	wanted  bool
	packets [2][]packet // by side, as read
	shared  shared
}

// Method is how a connection was found in both files.
type Method uint8

// The methods.
const (
	// None: it is in one file only.
	None Method = iota
	// ByISN: the client's initial sequence number, and something else that no
	// translation changes.
	ByISN
	// ByTuple: addresses and ports, at the same time.
	ByTuple
)

// String gives "", "isn" or "tuple".
func (m Method) String() string { return [...]string{"", "isn", "tuple"}[m%3] }

// Compare compares the captures; of the two the first should be the one at the
// client's side. The error is that of opening or reading, of ctx, or of
// Options.Pair; damage of a file is none, as what comes before it counts.
func Compare(ctx context.Context, files [2]Source, o Options) (*Result, error) {
	if o.MaxPackets <= 0 {
		o.MaxPackets = DefaultMaxPackets
	}
	c := &comparison{Options: o, result: &Result{}, sources: files, translated: map[netip.AddrPort]bool{}}
	for i := range files {
		var err error
		if c.files[i], err = index(ctx, files[i], o); err != nil {
			return c.result, err
		}
		c.result.Files[i] = c.files[i].File
	}
	c.join()
	c.order()
	c.choose()
	if err := c.details(ctx); err != nil {
		return c.result, err
	}
	c.clocks()
	return c.result, c.tell(ctx)
}

// comparison is one call of Compare.
type comparison struct {
	Options
	sources [2]Source
	files   [2]*side
	result  *Result
	pairs   []*Pair // their flows are by file until order
	clock   Clock
	// local are addresses of which the file is known to hold the packets, by file.
	local [2]addresses
	// remote are addresses whose packets have passed a router before a file's
	// capture, and misses says that a file's capture misses packets.
	remote [2]addresses
	misses [2]bool
	// translated are services, as the clients see them, that lead to another
	// address or port.
	translated map[netip.AddrPort]bool
}

// details reads the packets of the pairs that were chosen, from both files at
// once.
func (c *comparison) details(ctx context.Context) error {
	var wg sync.WaitGroup
	var errs [2]error
	for i := range c.files {
		wg.Go(func() { errs[i] = c.read(ctx, i) })
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}

// tell judges the pairs and hands them out.
func (c *comparison) tell(ctx context.Context) error {
	r := c.result
	for _, p := range c.pairs {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if !p.wanted {
			p.packets = [2][]packet{}
			continue
		}
		c.compare(p)
		switch {
		case p.Flow[tcpflow.Client] == nil:
			r.ServerOnly++
		case p.Flow[tcpflow.Server] == nil:
			r.ClientOnly++
		default:
			r.Matched++
			if !p.Compared {
				r.NotCompared++
			}
		}
		if p.Whole {
			r.Whole++
		}
		if c.Pair != nil {
			if err := c.Pair(p); err != nil {
				return err
			}
		}
		p.packets, p.Packets = [2][]packet{}, nil
	}
	return nil
}
