package capdiff

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// Change is something that was changed in packets on their way.
type Change struct {
	// What is "source", "destination", "sequence-numbers", "mss", "options",
	// "window-scale", "window", "timestamps", "flags", "ecn", "dscp", "ttl",
	// "payload" or "checksum".
	What string
	// From and To are what it was and what it became, in the first packet.
	From, To string
	// Packets counts those in which it was changed.
	Packets int
}

// changes notes how a packet that arrived differs from what was sent.
func (d *Direction) changes(p *Pair, from tcpflow.Side, s, g *packet) {
	note := func(what, was, is string) {
		if was != is {
			d.change(what, was, is)
		}
	}
	a, b := p.Flow[from], p.Flow[from.Other()]
	if p.Translated {
		ends := func(f *Flow) [2]string {
			if from == tcpflow.Client {
				return [2]string{f.Client.String(), f.Server.String()}
			}
			return [2]string{f.Server.String(), f.Client.String()}
		}
		note("source", ends(a)[0], ends(b)[0])
		note("destination", ends(a)[1], ends(b)[1])
	}
	if s.flags&wire.SYN != 0 && p.Renumbered {
		note("sequence-numbers", strconv.FormatUint(uint64(s.seq), 10), strconv.FormatUint(uint64(g.seq), 10))
	}
	d.hops(s, g)
	if s.header != nil && g.header != nil {
		d.options(s.header, g.header)
	} else {
		note("timestamps", stamped(s), stamped(g))
		note("window", strconv.Itoa(int(s.window)), strconv.Itoa(int(g.window)))
	}
	if s.bits&g.bits&hasTS != 0 && s.tsval != g.tsval {
		note("timestamps", strconv.FormatUint(uint64(s.tsval), 10), strconv.FormatUint(uint64(g.tsval), 10))
	}
	note("flags", s.flags.String(), g.flags.String())
	note("ecn", ecn(s.tos), ecn(g.tos))
	note("dscp", dscp(s.tos), dscp(g.tos))
	if s.sum != 0 && g.sum != 0 && s.sum != g.sum {
		d.change("payload", fmt.Sprintf("%d bytes", s.length), "other bytes")
	}
	if g.bits&sumBad != 0 && s.bits&(sumGood|sumLeft) != 0 {
		d.change("checksum", "good", "bad")
	}
}

func stamped(p *packet) string {
	if p.bits&hasTS != 0 {
		return "there"
	}
	return "missing"
}

// ecn names the codepoints of RFC 3168 section 5.
func ecn(tos uint8) string { return [...]string{"not-ECT", "ECT(1)", "ECT(0)", "CE"}[tos&3] }

func dscp(tos uint8) string { return strconv.Itoa(int(tos >> 2)) }

// options compares those of a SYN.
func (d *Direction) options(s, g *header) {
	if s.mss != g.mss {
		d.change("mss", number(int(s.mss), 0), number(int(g.mss), 0))
	}
	if s.wscale != g.wscale {
		d.change("window-scale", number(s.wscale, -1), number(g.wscale, -1))
	}
	kinds := func(h *header) string {
		var l []string
		for _, o := range strings.Split(h.options, ",") {
			name, _, _ := strings.Cut(o, " ")
			if name == "unknown" {
				name = o
			}
			l = append(l, name)
		}
		slices.Sort(l)
		return strings.Join(l, ",")
	}
	if kinds(s) != kinds(g) {
		d.change("options", named(s.options), named(g.options))
	}
}

func number(n, missing int) string {
	if n == missing {
		return "none"
	}
	return strconv.Itoa(n)
}

func named(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// hops takes the TTL, which every router lowers by one.
func (d *Direction) hops(s, g *packet) {
	n := int(s.ttl) - int(g.ttl)
	if n < 0 {
		d.change("ttl", strconv.Itoa(int(s.ttl)), strconv.Itoa(int(g.ttl)))
		return
	}
	if !d.HopsKnown {
		d.Hops, d.HopsKnown = [2]int{n, n}, true
	}
	d.Hops[0], d.Hops[1] = min(d.Hops[0], n), max(d.Hops[1], n)
}

func (d *Direction) change(what, was, is string) {
	for i := range d.Changes {
		if d.Changes[i].What == what {
			d.Changes[i].Packets++
			return
		}
	}
	d.Changes = append(d.Changes, Change{what, was, is, 1})
}
