package report

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// raws writes what Verbose adds at the end: facts, the tables of causes against
// facts, hops, name servers.
func (p *page) raws(d *verdict.Diagnosis, blocks []block, own bool) {
	p.facts(d.Facts)
	p.matrices(d, blocks, own)
	for i := range d.Set.Addresses[:p.limit(0, len(d.Set.Addresses))] {
		a := &d.Set.Addresses[i]
		p.hops(a, a.Path)
		p.hops(a, a.OtherPath)
	}
	p.servers(d.Set.Name)
}

// facts lists all facts with their keys and times.
func (p *page) facts(facts []evidence.Fact) {
	if len(facts) == 0 {
		return
	}
	p.blank()
	n := p.limit(0, len(facts))
	marks := make([]string, n)
	for i, f := range facts[:n] {
		marks[i] = string(f.ID)
	}
	p.section("facts", marks...)
	for _, f := range facts[:n] {
		p.item(string(f.ID), fmt.Sprintf("%s = %s, by %s at %s: %s", f.Key, f.Value, f.Source, duration(f.At), f.Text))
	}
	p.more(len(facts) - n)
}

// Marks of the table.
const (
	markFits        = "+"
	markContradicts = "x"
	markAny         = "."
)

// matrices writes a table for every verdict, each with the facts that it is
// about: those of its address, those about the name for the target as a whole.
func (p *page) matrices(d *verdict.Diagnosis, blocks []block, own bool) {
	if p.Predicts == nil {
		return
	}
	var none netip.AddrPort
	switch {
	case len(blocks) == 0:
		p.matrix(&d.Verdict, d.Facts)
	case !own && len(blocks) == 1:
		p.matrix(&d.Verdict, about(d.Facts, none, blocks[0].v.Addr))
	default:
		if own {
			p.matrix(&d.Verdict, about(d.Facts, none))
		}
		for _, b := range blocks[:min(len(blocks), 20)] {
			p.matrix(&b.v.Verdict, about(d.Facts, b.v.Addr))
		}
	}
}

// about picks the facts about the given addresses.
func about(facts []evidence.Fact, addrs ...netip.AddrPort) []evidence.Fact {
	var out []evidence.Fact
	for _, f := range facts {
		if slices.Contains(addrs, f.Addr) {
			out = append(out, f)
		}
	}
	return out
}

// matrix writes the table of causes against facts: for every cause of the
// verdict a row, for every fact a column.
func (p *page) matrix(v *verdict.Verdict, facts []evidence.Fact) {
	var causes []verdict.CauseID
	for _, c := range v.Candidates {
		causes = append(causes, c.Cause)
	}
	for _, r := range v.RuledOut {
		causes = append(causes, r.Cause)
	}
	causes = causes[:p.limit(0, len(causes))]
	facts = facts[:p.limit(0, len(facts))]
	if len(facts) == 0 || len(causes) == 0 {
		return
	}
	id := 0
	for _, c := range causes {
		id = max(id, min(cells(p.clean(string(c))), p.Width/2))
	}
	for chunk := range slices.Chunk(facts, (p.Width-indent-id)/2) {
		p.blank()
		p.matrixHead(chunk, id)
		for _, c := range causes {
			var b strings.Builder
			for _, f := range chunk {
				b.WriteString(" " + p.mark(c, f))
			}
			p.raw(strings.Repeat(" ", indent) + pad(cut(p.clean(string(c)), id), id) + b.String())
		}
	}
	p.prose(indent, 0, "", "+ the cause allows the fact, x the fact contradicts it, . it may be anything")
}

// matrixHead writes the IDs of facts downwards, one column each.
func (p *page) matrixHead(facts []evidence.Fact, id int) {
	names := make([]string, len(facts))
	height := 0
	for i, f := range facts {
		names[i] = cut(escape(string(f.ID), true, 8), 8)
		height = max(height, len(names[i]))
	}
	for line := range height {
		var b strings.Builder
		for _, n := range names {
			if line < len(n) {
				b.WriteString(" " + n[line:line+1])
			} else {
				b.WriteString("  ")
			}
		}
		p.raw(strings.Repeat(" ", indent+id) + b.String())
	}
}

func (p *page) mark(c verdict.CauseID, f evidence.Fact) string {
	allowed, any := p.Predicts(c, f.Key)
	switch {
	case any:
		return markAny
	case slices.Contains(allowed, f.Value):
		return markFits
	default:
		return markContradicts
	}
}

// hops writes a path trace as it was measured.
func (p *page) hops(a *evidence.Address, path *evidence.Path) {
	if path == nil {
		return
	}
	p.blank()
	p.section("path")
	head := fmt.Sprintf("to %s, port %d, by %s, in %s", a.Addr.Addr(), path.Port, path.Method, duration(path.Took))
	if path.AnswerTTL > 0 {
		head += fmt.Sprintf("; the port answers %s from TTL %d on", path.Answer, path.AnswerTTL)
	}
	p.item("", head)
	n := p.limit(0, len(path.Hops))
	for _, h := range path.Hops[:n] {
		p.item(padLeft(strconv.Itoa(h.TTL), 3), hopText(h))
	}
	p.more(len(path.Hops) - n)
}

func hopText(h evidence.Hop) string {
	switch {
	case h.Kind == "silent":
		return "silent"
	case h.Kind == "error":
		return "error " + h.Errno
	}
	s := h.Kind
	if h.Addr.IsValid() {
		s = h.Addr.String() + " " + s
	}
	if h.Kind == "icmp" {
		s += fmt.Sprintf(" %d/%d", h.Type, h.Code)
	}
	return s + " " + duration(h.RTT)
}

// servers writes the questions to name servers and their answers.
func (p *page) servers(name *evidence.Name) {
	if name == nil || len(name.Queries) == 0 {
		return
	}
	p.blank()
	p.section("name servers")
	n := p.limit(0, len(name.Queries))
	for _, q := range name.Queries[:n] {
		p.item("", fmt.Sprintf("%s %s %s %s: %s, %s", q.Server, q.Net, q.Name, q.Type, queryResult(q), duration(q.Took)))
	}
	p.more(len(name.Queries) - n)
}

func queryResult(q evidence.Query) string {
	var s string
	switch {
	case q.Rcode != "":
		s = q.Rcode
	case q.Timeout:
		s = "no answer"
	case q.Errno != "":
		s = q.Errno
	default:
		s = q.Err
	}
	for _, a := range q.Addrs {
		s += " " + a.String()
	}
	if q.ExtendedError != "" {
		s += " (" + q.ExtendedError + ")"
	}
	return s
}
