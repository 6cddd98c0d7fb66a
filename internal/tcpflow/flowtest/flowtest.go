// Package flowtest writes captures of many interleaved TCP connections whose
// fates are known, for tests and for the benchmark. Equal configurations give
// equal bytes, on every machine. It shares no code with what it tests and
// imports no other package of ours.
package flowtest

import (
	"bufio"
	"encoding/binary"
	"io"
	"math/rand/v2"
)

// Config says what to write.
type Config struct {
	Connections int
	Seconds     int // over which they begin
	Seed        uint64
	Snaplen     int // 0: whole packets
}

// Truth is what a capture holds.
type Truth struct {
	Packets, Bytes uint64
	// Outcomes counts connections by the names that tcpflow gives outcomes.
	Outcomes map[string]int
	// SYNs sent again, segments with data sent again, and RSTs.
	RepeatedSYNs, Retransmissions, Resets int
}

// TCP flags.
const (
	fin, syn, rst, psh, ack = 1, 2, 4, 8, 16
)

// Who sends a packet.
const (
	client = iota
	server
	router // an ICMP error to the client
)

// step is a packet of a connection. Numbers are relative to the initial ones.
type step struct {
	at       int64 // ns after the beginning
	from     uint8
	flags    uint8
	length   uint16
	seq, ack uint32
}

// conn is a connection on its way.
type conn struct {
	begin  int64
	number int
	addrs  [2][16]byte
	ports  [2]uint16
	isn    [2]uint32
	v6     bool
	steps  []step
}

func (c *conn) next() int64 { return c.begin + c.steps[0].at }

// start is when the first connection begins, in ns since 1970.
const start = 1_700_000_000_000_000_000

// Write writes a pcap file with nanoseconds, Ethernet.
func Write(w io.Writer, c Config) (Truth, error) {
	g := &generator{
		Config: c, w: bufio.NewWriterSize(w, 1<<20), r: rand.New(rand.NewPCG(c.Seed, 0)),
		truth: Truth{Outcomes: map[string]int{}},
	}
	if g.Snaplen == 0 {
		g.Snaplen = 1 << 18
	}
	header := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d)
	header = append(header, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	header = binary.LittleEndian.AppendUint32(header, uint32(g.Snaplen))
	g.w.Write(header)
	g.w.Write([]byte{1, 0, 0, 0})
	pause := int64(c.Seconds) * 1e9 / int64(max(c.Connections, 1))
	var live queue
	for i := 0; i < c.Connections || len(live) > 0; {
		begin := start + int64(i)*pause
		if i < c.Connections && (len(live) == 0 || begin <= live[0].next()) {
			live.push(g.conn(i, begin))
			i++
			continue
		}
		first := live[0]
		g.packet(first, first.steps[0])
		if first.steps = first.steps[1:]; len(first.steps) > 0 {
			live.down(0)
		} else {
			live.pop()
		}
	}
	return g.truth, g.w.Flush() // a bufio.Writer keeps its first error
}

type generator struct {
	Config
	w     *bufio.Writer
	r     *rand.Rand
	truth Truth
	ipid  uint16
	buf   []byte
}

// conn makes up a connection.
func (g *generator) conn(number int, begin int64) *conn {
	c := &conn{begin: begin, number: number, v6: g.r.IntN(10) == 0}
	host := number % 4000
	c.ports = [2]uint16{uint16(20000 + number/4000%40000), []uint16{22, 80, 443, 5432, 6379, 8080}[g.r.IntN(6)]}
	for side := range c.addrs {
		h := host
		if side == server {
			h = g.r.IntN(1000)
		}
		c.isn[side] = g.r.Uint32()
		if c.v6 {
			c.addrs[side] = [16]byte{0x20, 0x01, 0x0d, 0xb8, 5: byte(side), 14: byte(h >> 8), 15: byte(h)}
		} else {
			c.addrs[side] = [16]byte{10, byte(side), byte(h >> 8), byte(h)}
		}
	}
	g.script(c)
	return c
}

const second = 1_000_000_000

// script writes the steps of a connection.
func (g *generator) script(c *conn) {
	rtt := int64(200_000 + g.r.IntN(400_000))
	if g.r.IntN(3) == 0 {
		rtt = int64(5_000_000 + g.r.IntN(100_000_000))
	}
	syns := func(n int, answer bool) (at int64) {
		for i := range n {
			at = (1<<i - 1) * second
			c.steps = append(c.steps, step{at: at, flags: syn})
			if answer {
				c.steps = append(c.steps, step{at: at + rtt, from: server, flags: syn | ack, ack: 1})
			}
		}
		g.truth.RepeatedSYNs += n - 1
		return at
	}
	outcome := ""
	switch k := g.r.IntN(1000); {
	case k < 160:
		outcome = "refused"
		c.steps = []step{{flags: syn}, {at: rtt, from: server, flags: rst | ack, ack: 1}}
		g.truth.Resets++
	case k < 290:
		outcome = "timed-out"
		syns(5, false)
	case k < 340:
		outcome = "rejected"
		at := syns(1+g.r.IntN(2), false)
		c.steps = append(c.steps, step{at: at + rtt, from: router})
	case k < 365:
		outcome = "unconfirmed"
		syns(4, true)
	case k < 390: // a SYN is lost
		outcome = "closed"
		at := syns(2, false)
		c.steps = append(c.steps, step{at: at + rtt, from: server, flags: syn | ack, ack: 1})
		g.session(c, at+rtt, rtt, outcome)
	case k < 420: // a SYN-ACK is lost
		outcome = "closed"
		g.session(c, syns(2, true)+rtt, rtt, outcome)
	case k < 460:
		outcome = "reset"
		g.session(c, syns(1, true)+rtt, rtt, outcome)
	case k < 475:
		outcome = "open"
		g.session(c, syns(1, true)+rtt, rtt, outcome)
	default:
		outcome = "closed"
		g.session(c, syns(1, true)+rtt, rtt, outcome)
	}
	g.truth.Outcomes[outcome]++
}

// session goes from the ACK of the handshake to the end.
func (g *generator) session(c *conn, at, rtt int64, end string) {
	var sent [2]uint32
	sent[client], sent[server] = 1, 1
	add := func(from, flags uint8, length int) {
		s := step{at: at, from: from, flags: flags, length: uint16(length), seq: sent[from], ack: sent[1-from]}
		c.steps = append(c.steps, s)
		if length > 0 && g.r.IntN(100) == 0 {
			at += 200 * second / 1000
			s.at = at
			c.steps = append(c.steps, s)
			g.truth.Retransmissions++
		}
		sent[from] += uint32(length)
		if flags&fin != 0 {
			sent[from]++
		}
	}
	at += 20_000
	add(client, ack, 0)
	for round := 0; round == 0 || round < 40 && g.r.IntN(100) < 55; round++ {
		at += int64(50_000 + g.r.IntN(2_000_000))
		add(client, psh|ack, 60+g.r.IntN(900))
		at += rtt / 2
		add(server, ack, 0)
		at += int64(100_000 + g.r.IntN(5_000_000))
		for i, last := 1, false; !last; i++ {
			last = i == 60 || g.r.IntN(100) >= 80
			at += int64(8_000 + g.r.IntN(40_000))
			if last {
				add(server, psh|ack, 40+g.r.IntN(1400))
			} else {
				add(server, ack, 1448)
			}
			if last || i%2 == 0 {
				at += int64(5_000 + g.r.IntN(30_000))
				add(client, ack, 0)
			}
		}
		at += rtt/2 + int64(g.r.IntN(1_000_000_000))
	}
	first := uint8(g.r.IntN(2))
	switch end {
	case "reset":
		add(first, rst|ack, 0)
		g.truth.Resets++
	case "closed":
		add(first, fin|ack, 0)
		at += rtt / 2
		add(1-first, fin|ack, 0)
		at += rtt / 2
		add(first, ack, 0)
	}
}
