package report

import (
	"fmt"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/capdiff"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// The drawing of what both sides saw:
//
//	        client                                               server
//	0.0 ms  |-- SYN  ttl 64 -------------------------------> 62 --|
//	0.3 ms  |                        X-------- SYN,ACK  ttl 64 --|
const (
	sideRows     = 14
	sideHeadRows = 8
)

// twoSides draws the packets of a connection: the first ones, and of the others
// those that something happened to.
func (p *page) twoSides(x *Compared) {
	packets := x.pair.Packets
	if len(packets) == 0 {
		return
	}
	p.blank()
	inner := min(p.Width, maxLadder) - ladderLeft - 2
	p.raw(strings.Repeat(" ", ladderLeft) + pad("client", inner-4) + "server")
	rows := p.limit(sideRows, len(packets))
	shown, skipped := 0, 0
	note := func() {
		if skipped > 0 {
			p.raw(strings.Repeat(" ", ladderLeft) + "... " + count(skipped, "more packet", "more packets"))
		}
		skipped = 0
	}
	for i := range packets {
		k := &packets[i]
		odd := k.Fate != capdiff.Arrived || k.ICMP != nil
		if shown >= rows || !odd && shown >= sideHeadRows && !p.Verbose {
			skipped++
			continue
		}
		note()
		shown++
		p.raw(strings.Repeat(" ", indent) + padLeft(duration(k.At), timeWidth) + " |" + p.sideRow(k, inner) + "|")
	}
	skipped += x.left
	note()
}

// sideRow draws a packet between the lines of the two sides.
func (p *page) sideRow(k *capdiff.Packet, inner int) string {
	label := " " + sideLabel(k) + " "
	if n := inner/2 + 8; len(label) > n {
		label = label[:n-1] + " "
	}
	dash := "-"
	if p.Unicode {
		dash = "─"
	}
	half := inner/2 + 12
	toServer := k.From == tcpflow.Client
	body := func(width int, head, tail string) string {
		fill := max(width-len(label)-2-len(head)-len(tail), 1)
		if toServer {
			return tail + dash + dash + label + strings.Repeat(dash, fill) + head
		}
		return head + strings.Repeat(dash, fill) + label + dash + dash + tail
	}
	place := func(s string, width int, atClient bool) string {
		if atClient {
			return s + strings.Repeat(" ", inner-width)
		}
		return strings.Repeat(" ", inner-width) + s
	}
	head := "<"
	if toServer {
		head = ">"
	}
	switch k.Fate {
	case capdiff.Lost:
		return place(body(half, "X", ""), half, toServer)
	case capdiff.Unwatched:
		return place(body(half, "?", ""), half, k.Number[tcpflow.Client] != 0)
	case capdiff.MadeUp, capdiff.Between:
		return place(body(half, head, "*"), half, !toServer)
	}
	return body(inner, head, "")
}

// sideLabel names a packet.
func sideLabel(k *capdiff.Packet) string {
	if k.ICMP != nil {
		return fmt.Sprintf("ICMP %d/%d from %v", k.ICMP.Type, k.ICMP.Code, k.ICMP.Sender)
	}
	out := k.Flags.String()
	if out == "" {
		out = "no flags"
	}
	if k.Length > 0 {
		out += fmt.Sprintf(" %d bytes", k.Length)
	}
	sender, receiver := k.TTL[k.From], k.TTL[k.From.Other()]
	switch {
	case sender != 0 && receiver != 0 && sender != receiver:
		out += fmt.Sprintf(" ttl %d>%d", sender, receiver)
	case sender+receiver != 0:
		out += fmt.Sprintf(" ttl %d", max(sender, receiver))
	}
	switch k.Fate {
	case capdiff.Lost:
		out += " LOST"
	case capdiff.PartlyLost:
		out += " partly lost"
	case capdiff.MadeUp:
		out += " made up"
	case capdiff.Again:
		out += " copy"
	}
	return out
}
