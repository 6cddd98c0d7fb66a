package tcpflow

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// filler makes a Conn of what was held, in memory that it uses anew.
type filler struct {
	conn   Conn
	times  [2][MaxSYNs]Time
	resets [MaxResets]RST
	icmp   [MaxICMPErrors]ICMPError
	data   [2][MaxFirstData]byte
}

// fill tells what is known of a connection. The result is valid until the
// next call with the same filler.
func (f *filler) fill(s *shard, c *conn) *Conn {
	out := &f.conn
	// Field by field: a literal would be built elsewhere and copied.
	*out = Conn{}
	out.ID, out.First, out.Last = c.number, Time(c.first), Time(c.last)
	out.BeganBefore, out.SimultaneousOpen = c.set&hasSYN == 0, c.set&hasSimultaneous != 0
	out.HandshakeACK, out.ResetCount, out.ICMPCount = Time(c.acked), uint32(c.resets), uint32(c.icmp)
	out.Snapped, out.Fragmented, out.Tunnelled = c.set&isCut != 0, c.set&isFragmented != 0, c.set&isTunnelled != 0
	client, server := s.addresses(c)
	out.Client = netip.AddrPortFrom(client, uint16(c.ports>>16))
	out.Server = netip.AddrPortFrom(server, uint16(c.ports))
	f.events(s, c)
	for side := range c.half {
		f.direction(s, c, Side(side))
	}
	out.Established = c.established()
	out.Outcome = f.outcome(c)
	out.Place = c.place()
	return out
}

func (s *shard) addresses(c *conn) (client, server netip.Addr) {
	if c.set&isV6 != 0 {
		a := s.addrs.at(c.v6)
		return netip.AddrFrom16([16]byte(a[:16])), netip.AddrFrom16([16]byte(a[16:]))
	}
	var a, b [4]byte
	binary.BigEndian.PutUint32(a[:], c.client)
	binary.BigEndian.PutUint32(b[:], c.server)
	return netip.AddrFrom4(a), netip.AddrFrom4(b)
}

// events sorts the lists of events, the last of which comes first.
func (f *filler) events(s *shard, c *conn) {
	out := &f.conn
	syns, answers := f.times[0][:0], f.times[1][:0]
	resets, icmp := f.resets[:0], f.icmp[:0]
	for id := c.event; id != 0; {
		e := s.events.at(id)
		id = e.before
		switch e.kind {
		case eventRST:
			h := &c.half[e.side]
			resets = append(resets, RST{
				At: Time(e.time), From: e.side, Flags: wire.Flags(e.flags), TTL: e.ttl, IPID: e.ipid,
				TTLDiffers: h.maxTTL > 0 && (e.ttl < h.minTTL || e.ttl > h.maxTTL),
				Seq:        e.seq, Ack: e.ack, Window: e.window, InWindow: e.place, BytesBefore: e.bytes,
			})
		case eventICMP:
			icmp = append(icmp, s.icmpError(c, e))
		}
	}
	for id := c.repeat; id != 0; {
		r := s.repeats.at(id)
		id = r.before
		if r.answer {
			answers = append(answers, Time(r.time))
		} else {
			syns = append(syns, Time(r.time))
		}
	}
	if c.syns > 0 {
		syns = append(syns, Time(c.first))
	}
	if c.synACKs > 0 {
		answers = append(answers, Time(c.synACK))
	}
	slices.Reverse(syns)
	slices.Reverse(answers)
	slices.Reverse(resets)
	slices.Reverse(icmp)
	out.SYN = Occurrences{uint32(c.syns), syns}
	out.SYNACK = Occurrences{uint32(c.synACKs), answers}
	out.Resets, out.ICMP = resets, icmp
}

func (s *shard) icmpError(c *conn, e *event) ICMPError {
	out := ICMPError{
		At: Time(e.time), About: e.side, V6: c.set&isV6 != 0, Type: e.typ, Code: e.code, TTL: e.ttl,
		MTU: int(e.mtu), SYN: e.quotedSYN,
		Sender: netip.AddrFrom16([16]byte(s.addrs.at(e.address)[:16])).Unmap(),
	}
	switch e.quote {
	case quoteIntact:
		out.Quote = evidence.QuoteIntact
	case quoteRewritten:
		out.Quote = evidence.QuoteRewritten
	}
	return out
}

func (f *filler) direction(s *shard, c *conn, side Side) {
	h, o := &c.half[side], &c.half[side^1]
	t, d := &c.trouble[side], &f.conn.Dir[side]
	d.Packets, d.Bytes = uint64(h.packets), h.bytes
	d.ISN, d.SeenSYN, d.ISNChanged = c.isn[side], h.set&halfSYN != 0, h.set&halfISNChanged != 0
	d.Retransmissions, d.OutOfOrder, d.DupACKs, d.LostSegments = t.retrans, t.disorder, t.dupACKs, t.lost
	d.ZeroWindowNow = h.set&inZero != 0
	d.FIN, d.FINAcked, d.LastData = Time(c.fin[side]), h.set&halfFINAcked != 0, Time(h.lastData)
	d.FirstTTL, d.MinTTL, d.MaxTTL = h.firstTTL, h.minTTL, h.maxTTL
	d.MSS, d.WindowScale, d.SACK = c.mss[side], c.wscale[side], h.set&halfSACK != 0
	d.Timestamps, d.ECN, d.Window = h.set&halfTimestamps != 0, h.set&halfECN != 0, h.window
	d.OptionsChanged, d.Offloaded = h.set&halfChanged != 0, h.set&halfOffloaded != 0
	d.Outgoing, d.Incoming = h.set&halfOut != 0, h.set&halfIn != 0
	if h.set&halfNext != 0 && o.set&halfACK != 0 && int32(h.next-o.ack) > 0 {
		d.Unacked = h.next - o.ack
	}
	d.Missed = s.missed(c, h, o, side) || f.resetMissed(h, side)
	if c.data[side] != 0 {
		block := s.data.at(c.data[side])
		d.FirstData = Time(block.at)
		d.Data = f.data[side][:copy(f.data[side][:], block.data[:block.n])]
	}
	if c.extra != 0 {
		x := &s.extras.at(c.extra).half[side]
		d.ZeroWindows, d.ZeroWindowFirst, d.ZeroWindowFor = x.zeros, Time(x.zeroFirst), time.Duration(x.zeroFor)
		if d.ZeroWindowNow {
			d.ZeroWindowFor += time.Duration(c.last - x.zeroSince)
		}
		d.ZeroWindowProbes, d.KeepAlives, d.KeepAlivesUnanswered = x.probes, x.keepAlives, x.unanswered
	}
}

// missed says whether the other side has acknowledged more than was seen, at the
// end or in between. Where the beginning was not seen that may have been before.
func (s *shard) missed(c *conn, h, o *half, side Side) bool {
	if h.set&halfSYN == 0 || h.set&halfNext == 0 || o.set&halfACK == 0 {
		return false
	}
	n := int32(o.ack - h.next)
	if h.set&halfMissed != 0 {
		return true
	}
	if c.extra == 0 {
		return n > 0
	}
	x := &s.extras.at(c.extra).half[side]
	if x.probes > 0 && n == 1 {
		return false // the byte of a probe, which may have been taken or not
	}
	for _, g := range x.gaps {
		if g.from != g.to && int32(o.ack-g.to) >= 0 && (x.probes == 0 || g.to-g.from > 1) {
			return true
		}
	}
	return n > 0
}

// resetMissed says whether a RST acknowledges what was not seen.
func (f *filler) resetMissed(h *half, side Side) bool {
	for i := range f.conn.Resets {
		if r := &f.conn.Resets[i]; r.From != side && r.Flags&wire.ACK != 0 && r.InWindow != SeqOut && h.set&halfNext != 0 && h.set&halfSYN != 0 && int32(r.Ack-h.next) > 0 {
			return true
		}
	}
	return false
}

// established goes by the handshake, and without one by ACKs both ways or data.
func (c *conn) established() bool {
	if c.set&(hasSYN|hasSYNACK) != 0 {
		return c.set&(hasHandshake|hasServerData) != 0
	}
	return c.set&hasHandshake != 0 && c.set&hasServerData != 0 || c.half[0].bytes+c.half[1].bytes > 0
}

func (f *filler) outcome(c *conn) Outcome {
	out := &f.conn
	both := c.fin[Client] != 0 && c.fin[Server] != 0
	ended := false
	var by Side
	for i := range out.Resets {
		if r := &out.Resets[i]; r.InWindow != SeqOut {
			ended, by = true, r.From
			break
		}
	}
	switch {
	case out.Established || c.set&hasSYN == 0 && c.set&hasSYNACK == 0:
		switch {
		case both:
			return Closed
		case ended:
			return Reset
		case c.fin[Client] != 0 || c.fin[Server] != 0:
			return HalfClosed
		}
		return Open
	case ended && by == Client:
		return Abandoned
	case ended && c.set&hasSYNACK != 0:
		return Reset
	case ended:
		return Refused
	case c.set&hasSYNACK != 0:
		return Unconfirmed
	case c.icmp > 0:
		return Rejected
	}
	return TimedOut
}

// place goes by the marks of the capture and checksums that were left to the
// interface, and then by the TTLs that hosts begin with.
func (c *conn) place() Place {
	own := func(s Side) bool { return c.half[s].set&(halfOut|halfOffloaded) != 0 }
	in := func(s Side) bool { return c.half[s].set&halfIn != 0 }
	switch {
	case own(Client) && own(Server):
		return PlaceBoth
	case own(Client):
		return PlaceClient
	case own(Server):
		return PlaceServer
	case in(Client) && in(Server):
		return PlaceUnknown // forwarded, or mirrored
	}
	a, b := c.half[Client].firstTTL, c.half[Server].firstTTL
	switch {
	case a == 0 || b == 0:
		return PlaceUnknown
	case isInitial(a) && !isInitial(b):
		return PlaceClient
	case !isInitial(a) && isInitial(b):
		return PlaceServer
	case !isInitial(a):
		return PlaceBetween
	}
	return PlaceUnknown
}

// isInitial tells the TTLs that operating systems begin with.
func isInitial(ttl uint8) bool { return ttl == 64 || ttl == 128 || ttl == 255 }
