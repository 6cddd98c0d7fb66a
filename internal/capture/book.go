package capture

import (
	"net/netip"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// book holds what is kept of the connections while captures are read, in parts
// that are filled at the same time, and what merge makes of them.
type book struct {
	all      bool
	most     int // connections kept, of a part
	mostSeen int // of a part
	parts    [tcpflow.Parts]part
	addrs    *addrs

	kept  []kept // in the order of the captures
	notes uint64 // connections without an entry in kept or seen
}

// part of a book. One goroutine at a time uses it.
type part struct {
	seen    list[seen]
	kept    list[kept]
	blob    [][]byte
	packed  []byte // this and scratch are used anew
	scratch evidence.Recording
	notes   uint64
	_       [128]byte // apart from the next one
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
	at             int64  // of the first packet
	answer         uint32 // ms from there to the answer
	last           uint32 // ms to the server's last packet with data, or its answer
	client, server uint32 // in addrs.list
	kept           uint32 // its place in kept, from 1; 0 if it was not
	pair           uint32 // in peers.pairs
	port           uint16
	class          class
	ttl            [2]uint8 // of the answer and what follows, least and greatest; 0 without
	syns           uint8
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
	number         uint64
	first, last    int64
	watched        int64  // -1 until the end of the capture is known
	client, server uint32 // in addrs.list
	seen           uint32 // its place in peers.seen
	offset         uint32 // of its recording in chunk
	length         uint16
	chunk          uint16
	file           uint16
	clientPort     uint16
	serverPort     uint16
	part           uint8
	wire           tcpflow.Outcome
	odd            Odd
	class          class
	cut            bool // let go while it was alive
	gap            bool // a file set misses packets in the middle of it
}

const (
	// chunkBytes is the size of a piece of part.blob, mostChunks how many there
	// are at most.
	chunkBytes = 1 << 20
	mostChunks = 1 << 16
	// maxSeen bounds what is noted as seen, to 160 MiB.
	maxSeen = 1 << 22
	// sinceMax is the most that a time in seen can tell.
	sinceMax = 1<<32 - 1
)

func newBook(o Options) *book {
	b := &book{all: o.All, most: o.MaxConnections, mostSeen: maxSeen, addrs: newAddrs()}
	if b.most <= 0 {
		b.most = tcpflow.DefaultMaxConnections()
	}
	if o.Settled == nil { // else there is one part
		b.most = (b.most + tcpflow.Parts - 1) / tcpflow.Parts
		b.mostSeen /= tcpflow.Parts
	}
	return b
}

// add takes a connection, and says whether it was kept for a verdict.
func (b *book) add(part, file int, c *tcpflow.Conn) bool {
	p := &b.parts[part]
	if p.seen.n == b.mostSeen {
		p.notes++
		return false
	}
	s := look(c)
	s.client, s.server, s.port = b.addrs.number(c.Client.Addr()), b.addrs.number(c.Server.Addr()), c.Server.Port()
	o := odd(c)
	keep := b.all || !c.Established || o != 0 || suspicious(c)
	if keep && (p.kept.n == b.most || len(p.blob) == mostChunks) {
		p.notes++
		keep = false
	}
	if keep {
		k := p.keep(c)
		k.client, k.server, k.file, k.part, k.odd, k.class = s.client, s.server, uint16(min(file, 1<<16-1)), uint8(part), o, s.class
		s.kept = uint32(p.kept.n)
	}
	p.seen.add(s)
	return keep
}

// keep packs what a verdict may need.
func (p *part) keep(c *tcpflow.Conn) *kept {
	record(&p.scratch, c)
	p.packed = pack(p.packed[:0], &p.scratch)
	if n := len(p.blob); n == 0 || len(p.blob[n-1])+len(p.packed) > chunkBytes {
		p.blob = append(p.blob, make([]byte, 0, chunkBytes))
	}
	chunk := &p.blob[len(p.blob)-1]
	k := p.kept.add(kept{
		number: c.ID, first: int64(c.First), last: int64(c.Last), watched: -1,
		chunk: uint16(len(p.blob) - 1), offset: uint32(len(*chunk)), length: uint16(len(p.packed)),
		clientPort: c.Client.Port(), serverPort: c.Server.Port(), wire: c.Outcome, cut: c.LetGo && !over(c),
	})
	*chunk = append(*chunk, p.packed...)
	return k
}

// over says that nothing more was to come of a connection.
func over(c *tcpflow.Conn) bool {
	switch c.Outcome {
	case tcpflow.Refused, tcpflow.Rejected, tcpflow.Abandoned, tcpflow.Reset, tcpflow.Closed:
		return true
	}
	return false
}

// counts tells how many connections each part keeps.
func (b *book) counts() (n [tcpflow.Parts]int) {
	for i := range n {
		n[i] = b.parts[i].kept.n
	}
	return n
}

// ended tells those kept from the counts on when their capture ends.
func (b *book) ended(from [tcpflow.Parts]int, last tcpflow.Time) {
	for i := range b.parts {
		p := &b.parts[i]
		for j := from[i]; j < p.kept.n; j++ {
			k := p.kept.at(j)
			k.watched = max(int64(last)-k.last, 0)
		}
	}
}

// recording gives what is kept of a connection, in memory that may be used anew.
func (b *book) recording(r *evidence.Recording, k *kept) *evidence.Recording {
	unpack(r, b.parts[k.part].blob[k.chunk][k.offset:k.offset+uint32(k.length)])
	r.Watched = time.Duration(max(k.watched, 0))
	return r
}

func (b *book) client(k *kept) netip.AddrPort {
	return netip.AddrPortFrom(b.addrs.list[k.client], k.clientPort)
}

func (b *book) server(k *kept) netip.AddrPort {
	return netip.AddrPortFrom(b.addrs.list[k.server], k.serverPort)
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
	case c.Outcome == tcpflow.Unconfirmed:
		s.class = classUnclear
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
