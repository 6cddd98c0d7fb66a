package report

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// drawing is a size of a picture: pages have one for wide windows and paper,
// one for phones, so that no text has to shrink.
type drawing struct {
	class string
	width int // of the viewBox
	left  int // the client's line
	right int // the other side's line
	chars int // of text between the lines
	name  int // characters for the name of a router
}

var (
	wideDrawing = drawing{class: "wide", width: 760, left: 92, right: 744, chars: 84, name: 46}
	slimDrawing = drawing{class: "slim", width: 360, left: 66, right: 350, chars: 42, name: 40}
)

// steps are the rows of a ladder, and what they were made of.
type steps struct {
	address *evidence.Address
	ladder  *ladder
	events  []event
	rows    []row
	client  string
	server  string
}

// newSteps lists what the drawing shows; nil when nothing is known.
func newSteps(p *page, a *evidence.Address) *steps {
	ev := fold(events(a))
	if len(ev) == 0 {
		return nil
	}
	l := &ladder{p: p, zero: ev[0].At}
	s := &steps{address: a, ladder: l, events: ev, client: "client", server: p.clean(endpoint(a.Addr))}
	if att, number := shown(a); att != nil {
		if e := endpoint(att.Tuple.Local); e != "" {
			s.client = p.clean(e)
		}
		if n := len(a.Attempts); n > 1 {
			s.client += fmt.Sprintf(", attempt %d of %d", number, n)
		}
	}
	for i := range ev {
		s.rows = append(s.rows, l.row(a, ev, i))
	}
	return s
}

// table lists the rows in words.
func (s *steps) table() []packetView {
	var out []packetView
	for i := range s.rows[:min(len(s.rows), mostRows)] {
		out = append(out, packetView{s.when(i), s.words(i)})
	}
	return out
}

func (s *steps) when(i int) string { return strings.TrimRight(s.ladder.when(&s.events[i]), " ") }

// words say a row in full; they are its hover text, too.
func (s *steps) words(i int) string {
	e, r := &s.events[i], s.rows[i]
	if r.shape == shapeNote {
		return r.text
	}
	out := r.text
	if from, to := s.ladder.p.clean(endpoint(e.Src)), s.ladder.p.clean(endpoint(e.Dst)); from != "" && to != "" {
		out += ", " + from + " to " + to
	} else if from != "" {
		out += ", from " + from
	}
	switch r.shape {
	case shapeVanishes:
		out += ", no answer"
		if r.name != "" {
			out += "; SYNs are known to get as far as " + r.name
		}
	case shapeOutPart:
		out += ", ends at " + r.name
	}
	if e.captured {
		out += ", captured"
		if e.Interface != "" {
			out += " on " + s.ladder.p.clean(e.Interface)
		}
		if e.Options != "" {
			out += ", options " + s.ladder.p.clean(e.Options)
		}
	} else {
		out += ", told by the socket"
	}
	return out
}

// class says how a row is coloured.
func (s *steps) class(i int) string {
	e, r := &s.events[i], s.rows[i]
	switch {
	case r.shape == shapeVanishes:
		return "step lost"
	case e.Kind == "icmp", strings.Contains(e.Flags, "RST"):
		return "step bad"
	case !e.Outgoing && e.Flags == "SYN,ACK":
		return "step good"
	}
	return "step"
}

// Heights of a ladder.
const (
	ladderTop  = 46
	ladderStep = 38
	nameStep   = 16 // more where a name stands below the arrow
)

// draw is the ladder as SVG. Its text is read out as one picture; the table
// beside it holds the same for those who cannot see it.
func (s *steps) draw(d drawing) template.HTML {
	const most, first = 16, 11 // rows, and how many of them before a gap
	gap, skipped := len(s.rows), 0
	if len(s.rows) > most {
		gap, skipped = first, len(s.rows)-most+1
	}
	middle := d.left + (d.right-d.left)*58/100
	var body svg
	y, routers := ladderTop, false
	for i, r := range s.rows {
		if i == gap {
			body.text(d.left+12, y+4, "dim", "start", "… "+count(skipped, "more step", "more steps"))
			y += ladderStep
		}
		if i >= gap && i < gap+skipped {
			continue
		}
		body.open(s.class(i), s.words(i))
		if w := s.when(i); w != "" {
			body.text(d.left-8, y+4, "when", "end", w)
		}
		label := cut(r.text, d.chars)
		arrow := y + 4
		switch r.shape {
		case shapeNote:
			body.text(d.left+12, y+4, "dim", "start", label)
		case shapeOut:
			body.text(d.left+12, y-4, "what", "start", label)
			body.arrow(d.left+2, d.right-2, arrow)
		case shapeIn:
			body.text(d.right-12, y-4, "what", "end", label)
			body.arrow(d.right-2, d.left+2, arrow)
		case shapeOutPart, shapeInPart:
			routers = true
			body.text(d.left+12, y-4, "what", "start", label)
			from, to := d.left+2, middle
			if r.shape == shapeInPart {
				from, to = middle, d.left+2
			}
			body.arrow(from, to, arrow)
			body.spot(middle, arrow)
			if d.class == wideDrawing.class {
				body.text(middle+14, arrow+4, "dim", "start", cut(r.name, 34))
			} else {
				body.text(middle, y+22, "dim", "middle", cut(r.name, d.name))
				y += nameStep
			}
		default:
			end := d.left + (d.right-d.left)*3/4
			body.text(d.left+12, y-4, "what", "start", label)
			body.arrow(d.left+2, end, arrow)
			body.text(end+10, y+8, "what", "start", "?")
			if r.name != "" {
				body.text(end, y+22, "dim", "end", "past "+cut(r.name, d.name))
				y += nameStep
			}
		}
		body.close()
		y += ladderStep
	}
	var out svg
	out.begin(d, y-14, "Ladder of packets between "+s.client+" and "+s.server+"; the same is in the table below")
	out.text(0, 14, "", "start", cut(s.client, d.name))
	if len(s.client)+len(s.server) > d.chars-8 && d.class == "slim" {
		out.text(d.width, 28, "", "end", cut(s.server, d.name))
	} else {
		out.text(d.width, 14, "", "end", cut(s.server, d.name))
	}
	out.line("life", d.left, 32, d.left, y-16)
	out.line("life", d.right, 32, d.right, y-16)
	if routers {
		out.line("via", middle, 32, middle, y-16)
	}
	return out.end(&body)
}
