package capture

import (
	"net/netip"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// book holds what is kept of the connections while captures are read.
type book struct {
	all     bool
	max     int
	addrs   map[netip.Addr]uint32
	list    []netip.Addr
	keys    map[key]uint32
	byKey   list[key]
	seen    list[seen]
	kept    list[kept]
	blob    [][]byte
	packed  []byte // this and scratch are used anew
	scratch evidence.Recording
	notes   uint64 // connections without an entry in kept or seen
}

// key is a service and who asks for it.
type key struct {
	client, server uint32 // in book.list
	port           uint16
}

// class is the answer to a SYN.
type class uint8

const (
	classOpen     class = iota
	classRefused        // by RST
	classRejected       // by ICMP
	classSilent
	classUnclear // a single SYN: it may be too early to tell
	classOlder   // began before the capture
)

// seen is what every connection leaves, for the verdicts about others.
type seen struct {
	at     int64  // of the first packet
	answer uint32 // ms from there to the answer
	last   uint32 // ms to the server's last packet with data, or its answer
	key    uint32
	class  class
	ttl    [2]uint8 // of the answer and what follows, least and greatest; 0 without
	syns   uint8
}

// lost is how many of the SYNs had no answer.
func (s *seen) lost() uint8 {
	if s.class == classSilent || s.syns == 0 {
		return s.syns
	}
	return s.syns - 1
}

// kept is a connection that may need a verdict.
type kept struct {
	number      uint64
	first, last int64
	watched     int64  // -1 until the end of the capture is known
	key         uint32 // in book.byKey
	chunk       uint32
	offset      uint32
	length      uint16
	port        uint16 // the client's
	file        uint16
	wire        tcpflow.Outcome
	odd         Odd
	class       class
	cut         bool // let go while it was alive
}

const (
	// chunkBytes is the size of a piece of book.blob.
	chunkBytes = 1 << 20
	// maxSeen bounds book.seen, to 128 MiB.
	maxSeen = 1 << 22
	// sinceMax is the most that a time in seen can tell.
	sinceMax = 1<<32 - 1
)

func newBook(o Options) *book {
	b := &book{all: o.All, max: o.MaxConnections, addrs: map[netip.Addr]uint32{}, keys: map[key]uint32{}}
	if b.max <= 0 {
		b.max = tcpflow.DefaultMaxConnections()
	}
	return b
}

func (b *book) addr(a netip.Addr) uint32 {
	i, ok := b.addrs[a]
	if !ok {
		i = uint32(len(b.list))
		b.addrs[a] = i
		b.list = append(b.list, a)
	}
	return i
}

func (b *book) key(c *tcpflow.Conn) uint32 {
	k := key{b.addr(c.Client.Addr()), b.addr(c.Server.Addr()), c.Server.Port()}
	i, ok := b.keys[k]
	if !ok {
		i = uint32(b.byKey.n)
		b.keys[k] = i
		b.byKey.add(k)
	}
	return i
}

// add takes a connection, and says whether it was kept for a verdict.
func (b *book) add(file int, c *tcpflow.Conn) bool {
	if b.seen.n == maxSeen {
		b.notes++
		return false
	}
	s := look(c)
	s.key = b.key(c)
	b.seen.add(s)
	o := odd(c)
	if !b.all && c.Established && o == 0 && !suspicious(c) {
		return false
	}
	if b.kept.n == b.max {
		b.notes++
		return false
	}
	record(&b.scratch, c)
	b.packed = pack(b.packed[:0], &b.scratch)
	if n := len(b.blob); n == 0 || len(b.blob[n-1])+len(b.packed) > chunkBytes {
		b.blob = append(b.blob, make([]byte, 0, chunkBytes))
	}
	chunk := &b.blob[len(b.blob)-1]
	b.kept.add(kept{
		number: c.ID, first: int64(c.First), last: int64(c.Last), watched: -1, key: s.key,
		chunk: uint32(len(b.blob) - 1), offset: uint32(len(*chunk)), length: uint16(len(b.packed)),
		port: c.Client.Port(), file: uint16(min(file, 1<<16-1)), wire: c.Outcome, odd: o, class: s.class,
		cut: c.LetGo && !over(c),
	})
	*chunk = append(*chunk, b.packed...)
	return true
}

// over says that nothing more was to come of a connection.
func over(c *tcpflow.Conn) bool {
	switch c.Outcome {
	case tcpflow.Refused, tcpflow.Rejected, tcpflow.Abandoned, tcpflow.Reset, tcpflow.Closed:
		return true
	}
	return false
}

// ended tells those kept from first on when their capture ends.
func (b *book) ended(first int, last tcpflow.Time) {
	for i := first; i < b.kept.n; i++ {
		k := b.kept.at(i)
		k.watched = max(int64(last)-k.last, 0)
	}
}

// recording gives what is kept of a connection.
func (b *book) recording(k *kept) evidence.Recording {
	r := unpack(b.blob[k.chunk][k.offset : k.offset+uint32(k.length)])
	r.Watched = time.Duration(max(k.watched, 0))
	return r
}

func (b *book) client(k *kept) netip.AddrPort {
	return netip.AddrPortFrom(b.list[b.byKey.at(int(k.key)).client], k.port)
}

func (b *book) server(i uint32) netip.AddrPort {
	k := b.byKey.at(int(i))
	return netip.AddrPortFrom(b.list[k.server], k.port)
}

// look sums a connection up for the verdicts about others.
func look(c *tcpflow.Conn) seen {
	since := func(t tcpflow.Time) uint32 {
		return uint32(min(max(t.Sub(c.First).Milliseconds(), 0), sinceMax))
	}
	server := &c.Dir[tcpflow.Server]
	s := seen{at: int64(c.First), syns: uint8(min(c.SYN.Count, 255))}
	s.ttl = [2]uint8{server.MinTTL, server.MaxTTL}
	refusal := refusedBy(c)
	switch {
	case c.BeganBefore:
		s.class = classOlder
		s.last = since(max(server.LastData, server.FIN, c.First))
	case c.SYNACK.Count > 0 && !c.Established && c.SYN.Count > 1:
		s.class = classSilent // the answer did not get through
	case c.SYNACK.Count > 0 || c.Established:
		s.class = classOpen
		s.answer = since(max(c.SYNACK.First(), c.First))
		s.last = max(s.answer, since(max(server.LastData, server.FIN, c.First)))
	case refusal != nil:
		s.class = classRefused
		s.answer = since(refusal.At)
		s.last = s.answer
		s.ttl = [2]uint8{refusal.TTL, refusal.TTL}
	case rejected(c):
		s.class = classRejected
	case c.SYN.Count > 1:
		s.class = classSilent
	default:
		s.class = classUnclear
	}
	return s
}

func refusedBy(c *tcpflow.Conn) *tcpflow.RST {
	for i := range c.Resets {
		if c.Resets[i].From == tcpflow.Server {
			return &c.Resets[i]
		}
	}
	return nil
}

// rejected says that an ICMP error answered the client, but for "fragmentation
// needed" and "packet too big", which ask for smaller packets.
func rejected(c *tcpflow.Conn) bool {
	for i := range c.ICMP {
		x := &c.ICMP[i]
		if x.About == tcpflow.Client && (x.V6 && x.Type != 2 || !x.V6 && !(x.Type == 3 && x.Code == 4)) {
			return true
		}
	}
	return false
}

// suspicious says that the verdict about an established connection may be
// another than "none", though nothing in its packets is odd.
func suspicious(c *tcpflow.Conn) bool {
	client, server := &c.Dir[tcpflow.Client], &c.Dir[tcpflow.Server]
	switch {
	case c.BeganBefore:
		return false
	case server.Bytes == 0:
		return client.Bytes > 0 || server.FIN != 0 && (client.FIN == 0 || server.FIN < client.FIN)
	}
	return complains(client.Data, server.Data)
}

// served says that the server answered, and with nothing that a verdict may
// object to.
func served(r *evidence.Recording) bool {
	return r.ServerBytes > 0 && !r.ZeroWindow && !complains(r.ClientData, r.ServerData)
}

// complains says that the first bytes of the server are no answer to those of
// the client, or an error.
func complains(hello, reply []byte) bool {
	return len(reply) > 0 && (reply[0] == tlsAlert || len(hello) > 0 && looksTLS(hello) != looksTLS(reply)) ||
		len(reply) >= 10 && string(reply[:7]) == "HTTP/1." && reply[9] == '5'
}

// tlsAlert is a content type of RFC 8446 section 5.1.
const tlsAlert = 21

// looksTLS tells a TLS record by content type and version.
func looksTLS(b []byte) bool {
	return len(b) >= 2 && b[0] >= 20 && b[0] <= 23 && b[1] == 3
}
