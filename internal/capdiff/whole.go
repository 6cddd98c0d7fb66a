package capdiff

import (
	"math"
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// covers says whether a file's capture ran at a time of another file's clock,
// as far as the clocks tell.
func (c *comparison) covers(file, of int, t int64) bool {
	return c.begun(file, of, t) && c.running(file, of, t)
}

// begun says whether a file's capture had begun by then.
func (c *comparison) begun(file, of int, t int64) bool {
	k := &c.clock
	if c.Complete {
		return true
	}
	return c.dated(file) && k.toFirst(of, t)-k.slack() >= k.toFirst(file, int64(c.files[file].First))
}

// running says whether a file's capture had not ended by then.
func (c *comparison) running(file, of int, t int64) bool {
	k := &c.clock
	if c.Complete {
		return true
	}
	return c.dated(file) && k.toFirst(of, t) <= k.toFirst(file, int64(c.files[file].Last))-2*k.slack()-onTheWay
}

// dated says whether the times of a file mean something to the other.
func (c *comparison) dated(file int) bool {
	return c.clock.Samples != [2]int{} && c.files[file].Packets > 0
}

// shared are times, for the file of each side, that show when the other file's
// capture ran, whatever the clocks say: of the first packet that both hold, of
// the last one that this side sent and the other holds, and of the last one the
// other way.
type shared struct{ first, sent, got [2]int64 }

func newShared(directions [2]*matching) (s shared) {
	s.first = [2]int64{math.MaxInt64, math.MaxInt64}
	for from, m := range directions {
		for i, j := range m.partner {
			if j < 0 {
				continue
			}
			x, y := m.sent[i].time, m.got[j].time
			s.first[from], s.first[1-from] = min(s.first[from], x), min(s.first[1-from], y)
			s.sent[from] = max(s.sent[from], x)
			s.got[1-from] = max(s.got[1-from], y)
		}
	}
	return s
}

// watched says whether the capture of the other side ran when a packet of the
// pair was in the file of this one.
func (c *comparison) watched(p *Pair, s *shared, side tcpflow.Side, t int64) bool {
	file, of := p.File[side.Other()], p.File[side]
	if t < s.first[side] && !c.begun(file, of, t) {
		return false
	}
	// What the other side sent and is here left it a moment before.
	moment := int64(onTheWay)
	if c.clock.Known {
		moment += 2 * c.clock.slack()
	} else {
		moment = oneWayMoment
	}
	return t <= s.sent[side] || t <= s.got[side]-moment || c.running(file, of, t)
}

// oneWayMoment is longer than a packet to the other side and one back take
// together, where that is not known.
const oneWayMoment = 1e9

// onTheWay is how long before the end of a capture packets must have been sent
// to count as lost: they may be in a queue.
const onTheWay = 50e6

// why says why the captures did not both see the whole of a connection, "" if
// they did.
func (c *comparison) why(p *Pair) string {
	a, b := p.Flow[tcpflow.Client], p.Flow[tcpflow.Server]
	switch {
	case a == nil:
		return "the client's capture does not hold it"
	case !a.Began:
		return "it is older than the captures"
	case a.Lost || b != nil && b.Lost:
		return "it was let go for want of room before it ended (--max-connections)"
	case b == nil:
		return c.whyAlone(a, p)
	case !b.Began:
		return "the server's capture does not hold its beginning"
	case b.Place == tcpflow.PlaceBetween || b.Place == tcpflow.PlaceClient && a.Place != tcpflow.PlaceClient:
		return "the second capture was not made at the server: its packets have passed routers there"
	case a.Place == tcpflow.PlaceBetween || a.Place == tcpflow.PlaceServer && b.Place != tcpflow.PlaceServer:
		return "the first capture was not made at the client: its packets have passed routers there"
	case c.elsewhere(p, tcpflow.Server):
		return "the second capture was not made at the server: packets of its address have passed routers there"
	case c.elsewhere(p, tcpflow.Client):
		return "the first capture was not made at the client: packets of its address have passed routers there"
	case c.misses[p.File[tcpflow.Server]]:
		return "the server's capture misses packets: some were acknowledged that it does not hold"
	case c.misses[p.File[tcpflow.Client]]:
		return "the client's capture misses packets: some were acknowledged that it does not hold"
	case p.passesBy():
		return "what the server's capture holds of it is addressed to another host on the link"
	case !c.sawEnd(p):
		return "the server's capture may have ended before the connection did"
	case b.answer != 0 && !c.sawAnswer(p):
		return "the client's capture may have ended before the server's answer"
	}
	return ""
}

// elsewhere says that other connections show a side's capture not to be made at
// that side, and this one does not show it to be.
func (c *comparison) elsewhere(p *Pair, s tcpflow.Side) bool {
	f := p.Flow[s]
	if f.own[s] {
		return false
	}
	_, yes := c.remote[p.File[s]][[2]netip.AddrPort{f.Client, f.Server}[s].Addr()]
	return yes
}

// passesBy says that the client's packets go to another link address than that
// of the host that captured them at the server's side.
func (p *Pair) passesBy() bool {
	n := 0
	for i := range p.packets[tcpflow.Server] {
		x := &p.packets[tcpflow.Server][i]
		if x.from != tcpflow.Client || x.bits&isICMP != 0 {
			continue
		}
		if x.bits&toOther == 0 {
			return false
		}
		n++
	}
	return n > 0
}

// sawEnd says whether the server's capture ran until the client's last packet.
func (c *comparison) sawEnd(p *Pair) bool {
	last := int64(p.Flow[tcpflow.Client].Last)
	for i := len(p.packets[tcpflow.Client]) - 1; i >= 0; i-- {
		if x := &p.packets[tcpflow.Client][i]; x.from == tcpflow.Client && x.bits&isICMP == 0 {
			last = x.time
			break
		}
	}
	return c.watched(p, &p.shared, tcpflow.Client, last)
}

// sawAnswer says whether the client's capture ran when the server answered.
func (c *comparison) sawAnswer(p *Pair) bool {
	return c.watched(p, &p.shared, tcpflow.Server, int64(p.Flow[tcpflow.Server].answer))
}

// whyAlone is for what only the client's capture holds. That the other one would
// hold it, too, if it had arrived must be known.
func (c *comparison) whyAlone(a *Flow, p *Pair) string {
	client, server := p.File[tcpflow.Client], p.File[tcpflow.Server]
	switch _, local := c.local[server][a.Server.Addr()]; {
	case c.misses[server]:
		return "the server's capture misses packets: some were acknowledged that it does not hold"
	case c.elsewhere(p, tcpflow.Client):
		return "the first capture was not made at the client: packets of its address have passed routers there"
	case a.Place == tcpflow.PlaceServer || a.Place == tcpflow.PlaceBetween || a.Place == tcpflow.PlaceBoth:
		return "it did not leave for the other side"
	case !local && (!c.Complete || c.files[server].TCP > 0 && len(c.local[server]) > 0):
		return "nothing shows that the server's capture was made at " + a.Server.Addr().String()
	case c.translated[a.Server]:
		return "the server's address is translated on the way, and may lead elsewhere"
	case !c.covers(server, client, int64(a.First)) || !c.covers(server, client, int64(a.Last)):
		return "nothing shows that the server's capture ran meanwhile"
	}
	return ""
}
