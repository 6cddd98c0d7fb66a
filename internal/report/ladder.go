package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// The drawing: a column of times, the client's line, the other side's line.
//
//	0.0 ms  |-- SYN ----------------------------->|
//	0.3 ms  |<-------- RST,ACK  ttl 62 (hop 3) --|
const (
	timeWidth    = 9
	ladderLeft   = indent + timeWidth + 1 // column of the client's line
	maxRows      = 12
	maxLadder    = 80
	headRowsKept = 8 // of a drawing with more rows than maxRows
)

// ladder is a drawing under way.
type ladder struct {
	p      *page
	dash   string
	bar    string
	inner  int // columns between the lines
	middle int // column where routers stand
	zero   time.Duration
}

// ladder draws the packets of the shown attempt at an address. Nothing known
// draws nothing.
func (p *page) ladder(a *evidence.Address) {
	ev := fold(events(a))
	if len(ev) == 0 {
		return
	}
	l := ladder{p: p, dash: "-", bar: "|", inner: min(p.Width, maxLadder) - ladderLeft - 2, zero: ev[0].At}
	if p.Unicode {
		l.dash, l.bar = "─", "│"
	}
	rows := make([]row, len(ev))
	for i := range ev {
		rows[i] = l.row(a, ev, i)
	}
	l.middle = l.place(rows)
	p.blank()
	l.head(a)
	skipped := 0
	if len(rows) > maxRows {
		skipped = len(rows) - maxRows + 1
	}
	for i := range rows {
		switch {
		case skipped > 0 && i == headRowsKept:
			l.line("", row{text: "... " + count(skipped, "more step", "more steps"), shape: shapeNote})
		case skipped > 0 && i > headRowsKept && i < headRowsKept+skipped:
		default:
			l.line(l.when(&ev[i]), rows[i])
		}
	}
	p.blank()
}

// head names both sides.
func (l *ladder) head(a *evidence.Address) {
	client, server := "client", endpoint(a.Addr)
	if att, number := shown(a); att != nil {
		if e := endpoint(att.Tuple.Local); e != "" {
			client += " " + e
		}
		if n := len(a.Attempts); n > 1 {
			client += fmt.Sprintf(", attempt %d of %d", number, n)
		}
	}
	client, server = l.p.clean(client), l.p.clean(server)
	w := min(l.p.Width, maxLadder) - indent
	lead := strings.Repeat(" ", indent)
	if gap := w - cells(client) - cells(server); gap >= 2 {
		l.p.raw(lead + client + strings.Repeat(" ", gap) + server)
		return
	}
	l.p.raw(lead + cut(client, w))
	l.p.raw(lead + padLeft(cut(server, w), w))
}

// when is the time of an event since the first, "" when it is not known.
func (l *ladder) when(e *event) string {
	if e.untimed {
		return ""
	}
	s := duration(e.At - l.zero)
	if strings.HasSuffix(s, " s") {
		s += " " // decimal points below each other
	}
	return s
}

// line writes a row.
func (l *ladder) line(when string, r row) {
	t := l.p.paint(sgrDim, padLeft(when, timeWidth))
	l.p.raw(strings.Repeat(" ", indent) + t + " " + l.bar + pad(l.draw(r), l.inner) + l.bar)
}

// shape of a row.
type shape uint8

const (
	shapeNote     shape = iota // words only
	shapeOut                   // client to the other side
	shapeIn                    // other side to client
	shapeOutPart               // client to the router name
	shapeInPart                // router name to client
	shapeVanishes              // leaves the client, past name if there is one; nobody knows how far
)

// row is a line of the drawing before it is laid out; text and name are escaped.
type row struct {
	shape      shape
	text, name string
}

// row says how to draw ev[i].
func (l *ladder) row(a *evidence.Address, ev []event, i int) row {
	e := &ev[i]
	if e.note != "" {
		return row{shape: shapeNote, text: l.p.clean(e.note)}
	}
	r := row{text: l.p.clean(l.text(e))}
	// A gateway is asked for its hardware address, not the target.
	neighbour := (e.Kind == "arp" || e.Kind == "nd") && e.About.IsValid() && e.About != a.Addr.Addr().WithZone("")
	switch {
	case neighbour && e.Outgoing && slices.ContainsFunc(ev[i+1:], func(f event) bool { return !f.Outgoing && f.Kind == e.Kind && f.About == e.About }):
		r.shape, r.name = shapeOutPart, l.p.clean(e.About.String())
	case neighbour && e.Outgoing:
		r.shape = shapeVanishes
	case neighbour:
		r.shape, r.name = shapeInPart, l.p.clean(e.About.String())
	case !e.Outgoing && e.here:
		r.shape, r.name = shapeInPart, "this host"
	case !e.Outgoing && e.Interface == "lo" && strings.Contains(e.Flags, "RST") && stopped(a):
		r.shape, r.name = shapeInPart, ownRulesName
	case !e.Outgoing && e.Kind == "icmp" && e.Src.Addr() != a.Addr.Addr():
		r.shape, r.name = shapeInPart, l.p.clean(endpoint(e.Src))
	case !e.Outgoing:
		r.shape = shapeIn
	default:
		r.shape, r.name = l.fate(a, ev[i+1:], e)
	}
	return r
}

// fate tells from what came after how far an outgoing packet is known to have
// got.
func (l *ladder) fate(a *evidence.Address, later []event, e *event) (shape, string) {
	for i := range later {
		switch f := &later[i]; {
		case f.Outgoing || f.note != "" || (f.Kind != "tcp" && f.Kind != "icmp") != (e.Kind != "tcp"):
		case f.here:
			return shapeOutPart, "this host"
		case f.Kind == "icmp" && f.Src.Addr() != a.Addr.Addr():
			return shapeOutPart, l.p.clean(endpoint(f.Src))
		default:
			return shapeOut, ""
		}
	}
	if strings.Contains(e.Flags, "ACK") {
		return shapeOut, "" // the handshake was answered
	}
	if e.Kind == "tcp" && !e.captured && stopped(a) {
		return shapeOutPart, ownRulesName
	}
	if hop := lastHop(a.Path); e.Kind == "tcp" && hop.IsValid() {
		return shapeVanishes, l.p.clean(hop.String())
	}
	return shapeVanishes, ""
}

const ownRulesName = "own rules"

// stopped says that rules of this host stop the SYN of the shown attempt.
func stopped(a *evidence.Address) bool {
	att, _ := shown(a)
	if a.Own == nil || att == nil || att.Connected {
		return false
	}
	return slices.ContainsFunc(a.Own.Firewall.Verdicts, func(v evidence.RuleVerdict) bool {
		return v.Packet == "syn" && v.Tuple.Local == att.Tuple.Local && (v.Verdict == "drop" || v.Verdict == "reset" || v.Verdict == "reject")
	})
}

// text says what a packet is.
func (l *ladder) text(e *event) string {
	var s string
	switch e.Kind {
	case "icmp":
		s = icmpText(e)
	case "arp":
		s = "ARP " + e.Op
		if e.About.IsValid() {
			s += " " + e.About.String()
		}
	case "nd":
		s = "ND " + e.Op
		if e.About.IsValid() {
			s += " " + e.About.String()
		}
	default:
		s = e.Flags
		if e.PayloadLen > 0 {
			s = count(e.PayloadLen, "byte", "bytes")
			if strings.Contains(e.Flags, "FIN") || strings.Contains(e.Flags, "RST") {
				s += " " + e.Flags
			}
		}
		if e.captured && e.Flags == "SYN,ACK" && e.Window == 0 {
			s += "  window 0"
		}
	}
	switch {
	case e.again == 1:
		s += " again"
	case e.again > 1 && e.untimed:
		s += fmt.Sprintf(" again, %d times", e.again)
	case e.again > 1:
		s += fmt.Sprintf(" again, %d times to %s", e.again, duration(e.last-l.zero))
	}
	if !e.Outgoing && e.TTL > 0 && !e.here {
		s += "  " + ttlText(e.TTL)
	}
	return s
}

// ttlText shows a hop limit with the hop that the sender is, counted as
// traceroute does, if it began with one of the usual values, 64, 128 or 255.
func ttlText(ttl int) string {
	start := 255
	switch {
	case ttl <= 64:
		start = 64
	case ttl <= 128:
		start = 128
	}
	if ttl >= start {
		return fmt.Sprintf("ttl %d", ttl)
	}
	return fmt.Sprintf("ttl %d (hop %d)", ttl, start-ttl+1)
}

// icmpText names an ICMP message in the words of RFC 792, 1812 and 4443.
func icmpText(e *event) string {
	name, code := "", fmt.Sprintf("ICMP %d/%d", e.Type, e.Code)
	if e.Src.Addr().Is6() && !e.Src.Addr().Is4In6() {
		code = fmt.Sprintf("ICMPv6 %d/%d", e.Type, e.Code)
		name = map[[2]int]string{
			{1, 0}: "no route", {1, 1}: "prohibited", {1, 3}: "address unreachable",
			{1, 4}: "port unreachable", {1, 5}: "prohibited", {1, 6}: "prohibited",
			{2, 0}: "packet too big", {3, 0}: "time exceeded",
		}[[2]int{e.Type, e.Code}]
	} else {
		name = map[[2]int]string{
			{3, 0}: "network unreachable", {3, 1}: "host unreachable",
			{3, 2}: "protocol unreachable", {3, 3}: "port unreachable",
			{3, 4}: "packet too big", {3, 9}: "prohibited", {3, 10}: "prohibited",
			{3, 13}: "prohibited", {11, 0}: "time exceeded",
		}[[2]int{e.Type, e.Code}]
	}
	if name == "" {
		return code
	}
	return name + " (" + code + ")"
}
