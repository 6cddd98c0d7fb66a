package report

import (
	"fmt"
	"html/template"
	"strconv"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// pathHead says in a sentence how far SYNs to the port get.
func pathHead(a *evidence.Address) string {
	s := fmt.Sprintf("TCP port %d of %s, traced by the hop limit of SYNs in %s. ", a.Path.Port, a.Addr.Addr(), duration(a.Path.Took))
	switch {
	case a.Path.AnswerTTL > 0:
		return s + fmt.Sprintf("The port answers with %s from hop %d on.", answerWords(a.Path.Answer), a.Path.AnswerTTL)
	case lastHop(a.Path).IsValid():
		return s + fmt.Sprintf("The port does not answer; %s is the last hop that is known to get its SYNs.", lastHop(a.Path))
	default:
		return s + "Nothing answers."
	}
}

func answerWords(answer string) string {
	switch answer {
	case "syn-ack":
		return "SYN,ACK"
	case "rst":
		return "RST"
	case "icmp":
		return "an ICMP error"
	}
	return escape(answer, false, 40)
}

// pathTable is the path in words.
func pathTable(p *page, path *evidence.Path) []packetView {
	rows, times := pathRows(p, path)
	var out []packetView
	for i, r := range rows {
		v := packetView{When: r.mark, What: r.name}
		if r.what != "" {
			v.What += ", " + r.what
		}
		if times[i] > 0 {
			v.What += ", " + duration(times[i])
		}
		out = append(out, v)
	}
	return out
}

// silentHops is the name of hops that did not answer.
const silentHops = "no answer"

// pathRow is a line of the picture: a hop, or several silent ones.
type pathRow struct{ mark, name, what, class string }

func pathRows(p *page, path *evidence.Path) (rows []pathRow, times []time.Duration) {
	for i := 0; i < min(len(path.Hops), 255); {
		h := path.Hops[i]
		j := i + 1
		for h.Kind == "silent" && j < len(path.Hops) && path.Hops[j].Kind == "silent" {
			j++
		}
		r := pathRow{mark: strconv.Itoa(h.TTL)}
		var rtt time.Duration
		if j > i+1 {
			r.mark += "–" + strconv.Itoa(path.Hops[j-1].TTL)
		}
		switch h.Kind {
		case "silent":
			r.name, r.class = silentHops, "lost"
		case "error":
			r.name, r.class = "error "+p.clean(h.Errno), "bad"
		case "time-exceeded":
			r.name, rtt = h.Addr.String(), h.RTT
		default:
			r.what, rtt, r.class = answerWords(h.Kind), h.RTT, "bad"
			if h.Kind == "icmp" {
				r.what = fmt.Sprintf("ICMP %d/%d", h.Type, h.Code)
			} else if h.Kind == "syn-ack" {
				r.class = "good"
			}
			if r.name = "the port"; h.Addr.IsValid() {
				r.name = h.Addr.String()
			}
		}
		rows, times = append(rows, r), append(times, rtt)
		i = j
	}
	return rows, times
}

// drawPath is a path as SVG: one line a hop, with the time to it.
func drawPath(p *page, a *evidence.Address, d drawing) template.HTML {
	rows, times := pathRows(p, a.Path)
	var longest time.Duration
	for _, t := range times {
		longest = max(longest, t)
	}
	const step, top = 30, 20
	marks, names := 22, 52 // columns
	for _, r := range rows {
		if len(r.mark) > 2 { // "12–30"
			names = 80
		}
	}
	bars, end := 430, d.width-78
	var body svg
	y := top
	line := func(mark, name, what, class, title, rtt string, bar int) {
		body.open("hop "+class, title)
		body.spot(marks, y)
		if mark != "" {
			body.text(names-6, y+4, "num", "end", mark)
		}
		body.text(names+8, y+4, "", "start", cut(name, d.chars/2+2))
		switch {
		case d.class == "slim" && what != "":
			body.text(d.width, y+4, "what", "end", what)
		case d.class == "slim":
			body.text(d.width, y+4, "when", "end", rtt)
		default:
			if what != "" {
				body.text(bars-12, y+4, "what", "end", what)
			}
			if bar > 0 {
				body.bar(bars, y-4, bar)
			}
			body.text(d.width, y+4, "when", "end", rtt)
		}
		body.close()
		y += step
	}
	from := "this host"
	if att, _ := shown(a); att != nil && att.Tuple.Local.IsValid() {
		from = att.Tuple.Local.Addr().String()
	}
	line("", from, "", "", "the client, "+from, "", 0)
	const most, first = 16, 11 // rows, and how many of them before a gap
	gap, skipped := len(rows), 0
	if len(rows) > most {
		gap, skipped = first, len(rows)-most+1
	}
	for i, r := range rows {
		if i == gap {
			line("", "… "+count(skipped, "more hop", "more hops"), "", "lost", rows[i].mark+" to "+rows[i+skipped-1].mark+" in the table below", "", 0)
		}
		if i >= gap && i < gap+skipped {
			continue
		}
		rtt, bar, title := "", 0, "hop "+r.mark+": "+r.name
		if r.what != "" {
			title += " answers with " + r.what
		}
		if times[i] > 0 {
			rtt, bar = duration(times[i]), max(2, int(int64(end-bars)*int64(times[i])/int64(longest)))
			title += " after " + rtt
		}
		line(r.mark, r.name, r.what, r.class, title, rtt, bar)
	}
	if last := len(rows) - 1; a.Path.AnswerTTL == 0 && rows[last].name != silentHops {
		line("", "?", "", "lost", "no answer of the port at any hop limit", "", 0)
	}
	var out svg
	out.begin(d, y-step/2, "Path to "+a.Addr.Addr().String()+": "+p.clean(pathHead(a)))
	out.line("life", marks, top, marks, y-step)
	return out.end(&body)
}
