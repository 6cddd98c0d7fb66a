package capture

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/decap"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// trail follows a connection through its packets, for the comments on them.
type trail struct {
	kept           *kept
	client, server netip.AddrPort
	syns, synACKs  int
	done           bool // the handshake, by the client's ACK
	next           [2]uint32
	known          [2]bool
	ttls           []int // of the server's SYN-ACKs and data, also on other connections
	answered       time.Duration
	hasTTLs        bool
}

// tcp says what a TCP packet means. What comes later is known from the first
// reading.
func (t *trail) tcp(r *Result, at int64, d *decap.Packet, data []byte, byClient bool) string {
	h := data[d.L4 : d.L4+16]
	flags := wire.Flags(h[13])
	seq, length := binary.BigEndian.Uint32(h[4:]), d.Len
	window := binary.BigEndian.Uint16(h[14:])
	since := time.Duration(at - t.kept.first)
	if !t.hasTTLs {
		t.lookBack(r)
	}
	who, side := "the server", 1
	if byClient {
		who, side = "the client", 0
	}
	again := t.known[side] && length > 0 && int32(seq-t.next[side]) < 0
	end := seq + uint32(length)
	if flags&(wire.SYN|wire.FIN) != 0 {
		end++
	}
	if flags&wire.RST == 0 && (!t.known[side] || int32(end-t.next[side]) > 0) {
		t.next[side], t.known[side] = end, true
	}
	var s string
	switch {
	case flags&wire.RST != 0:
		s = t.rst(int(d.TTL), byClient)
	case flags&wire.SYN != 0 && flags&wire.ACK != 0:
		if t.synACKs++; t.synACKs == 1 {
			s = "SYN-ACK " + seconds(since) + " after the first SYN"
		} else {
			s = "SYN-ACK, " + ordinal(t.synACKs) + " time: the one before, or the client's ACK of it, was lost"
		}
	case flags&wire.SYN != 0:
		s = t.syn(since)
	case flags&wire.FIN != 0:
		s = "FIN: " + who + " ends its side"
	case again:
		s = fmt.Sprintf("%d bytes that %s sent before, sent again", length, who)
	case length > 0:
		s = fmt.Sprintf("%d bytes of %s", length, who)
	case byClient && !t.done && t.synACKs > 0:
		t.done = true
		s = "ACK: the handshake is complete for the client"
	default:
		s = "ACK of " + who
	}
	if byClient && flags&(wire.SYN|wire.RST) == 0 {
		t.done = true
	}
	if window == 0 && flags&(wire.SYN|wire.RST) == 0 {
		s += "; window 0: " + who + " takes no more"
	}
	return s
}

// lookBack finds out what the first reading tells.
func (t *trail) lookBack(r *Result) {
	t.hasTTLs = true
	rec := r.book.recording(&evidence.Recording{}, t.kept)
	t.ttls = r.peers.of(t.kept).OpenTTLs
	if rec.ServerTTL > 0 && (rec.SYNACKCount > 0 || rec.ServerBytes > 0) {
		t.ttls = []int{rec.ServerTTL}
	}
	t.answered = firstAnswer(rec)
}

// firstAnswer is when anything came back for the SYN, -1 if nothing did.
func firstAnswer(r *evidence.Recording) time.Duration {
	first := time.Duration(-1)
	take := func(at time.Duration) {
		if first < 0 || at < first {
			first = at
		}
	}
	if r.SYNACKCount > 0 {
		take(r.SYNACK)
	}
	for _, x := range r.Resets {
		if x.FromServer {
			take(x.At)
		}
	}
	for _, x := range r.ICMP {
		take(x.At)
	}
	return first
}

func (t *trail) syn(since time.Duration) string {
	s := "SYN, the first try"
	if t.syns++; t.syns > 1 {
		s = "SYN, " + ordinal(t.syns) + " try after " + seconds(since)
	}
	switch {
	case t.answered < 0:
		s += ", no answer"
	case since > t.answered:
		s += ", though an answer had come"
	}
	return s
}

func (t *trail) rst(ttl int, byClient bool) string {
	switch {
	case byClient && t.synACKs > 0 && !t.done:
		return "RST: the client does not want the connection any more"
	case byClient:
		return "RST: the client ends the connection"
	}
	what := "RST: the connection is ended, by the server's address"
	if t.synACKs == 0 && !t.done {
		what = "RST: the SYN is refused, by the server's address"
	}
	if len(t.ttls) != 1 || ttl == 0 || ttl == t.ttls[0] {
		return what
	}
	s := fmt.Sprintf("RST from the server's address with TTL %d, the server's other packets have %d: ", ttl, t.ttls[0])
	if left(ttl) < left(t.ttls[0]) {
		return s + "made up on the way, nearer than what sent those"
	}
	return s + "from farther away than what sent those, or by another path"
}

// left is how many hops a packet has travelled, if it began with one of the
// hop limits that systems begin with.
func left(ttl int) int {
	for _, from := range []int{64, 128} {
		if ttl <= from {
			return from - ttl
		}
	}
	return 255 - ttl
}

// icmp says what an ICMP error about a connection means.
func (t *trail) icmp(from netip.Addr, typ, code uint8, aboutClient bool) string {
	who := from.String()
	if from == t.server.Addr() {
		who += ", the server's own address"
	}
	about := "a packet of the client"
	if !aboutClient {
		about = "a packet of the server"
	}
	return fmt.Sprintf("ICMP error of %s about %s: %s", who, about, icmpText(from.Is4(), typ, code))
}

// icmpText names errors of RFC 792, RFC 1812 section 5.2.7.1 and RFC 4443.
func icmpText(v4 bool, typ, code uint8) string {
	key := fmt.Sprintf("%d/%d", typ, code)
	if !v4 {
		key = "v6 " + key
	}
	if s := icmpTexts[key]; s != "" {
		return s
	}
	return "type " + strconv.Itoa(int(typ)) + " code " + strconv.Itoa(int(code))
}

var icmpTexts = map[string]string{
	"3/0": "network unreachable: it has no route", "3/1": "host unreachable: it gets no answer from that host", "3/2": "protocol unreachable",
	"3/3": "port unreachable", "3/4": "packet too big", "3/9": "network prohibited", "3/10": "host prohibited",
	"3/13": "prohibited by a filter", "11/0": "time exceeded: too many hops",
	"v6 1/0": "no route", "v6 1/1": "prohibited by a filter", "v6 1/3": "address unreachable: it gets no answer from that host",
	"v6 1/4": "port unreachable", "v6 1/5": "source address failed policy", "v6 1/6": "route rejects", "v6 2/0": "packet too big",
	"v6 3/0": "time exceeded: too many hops",
}

func ordinal(n int) string {
	suffix := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.Itoa(n) + suffix
}

// seconds writes a time as "3.0 s" or "0.21 ms".
func seconds(d time.Duration) string {
	if d < time.Second {
		return strings.TrimSuffix(strconv.FormatFloat(float64(d)/1e6, 'f', 2, 64), "0") + " ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}
