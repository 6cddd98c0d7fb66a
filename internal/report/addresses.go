package report

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// addresses writes a table of the addresses when there are several: each with
// its outcome and cause, those that fare alike on one line when they are many.
func (p *page) addresses(d *verdict.Diagnosis) {
	if len(d.Addresses) < 2 {
		return
	}
	const few = 8
	show := d.Addresses[:p.limit(few, len(d.Addresses))]
	rows := make([][]string, len(show))
	for i := range show {
		a := &show[i]
		rows[i] = []string{a.Addr.Addr().String(), outcomeWord(a.Outcome), p.inShort(d, a)}
	}
	p.blank()
	p.table(rows)
	if n := len(d.Addresses) - len(show); n > 0 {
		p.prose(indent, 0, "", p.moreText(n))
	}
	if n := d.Set.AddressesSkipped; n > 0 {
		p.prose(indent, 0, "", count(n, "more address was", "more addresses were")+" not tried")
	}
}

func outcomeWord(o verdict.Outcome) string {
	if o == verdict.Open {
		return "works"
	}
	return string(o)
}

// inShort is the verdict of one address in a few words.
func (p *page) inShort(d *verdict.Diagnosis, a *verdict.AddressVerdict) string {
	v := &a.Verdict
	switch {
	case a.Outcome == verdict.Open && !explained(v):
		if e := evidenceOf(d, a); e != nil && len(e.Attempts) > 0 {
			return duration(e.Attempts[0].Took)
		}
		return ""
	case !explained(v):
		return "cause not known"
	case v.Certainty == verdict.Certain:
		return string(v.Cause)
	default:
		return choice(v)
	}
}

// table writes rows of columns as wide as what they hold; the last is cut at
// the edge of the page.
func (p *page) table(rows [][]string) {
	var widths []int
	for _, r := range rows {
		for i := range r {
			r[i] = p.clean(r[i])
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], cells(r[i]))
		}
	}
	for _, r := range rows {
		var b strings.Builder
		for i, cell := range r {
			if i > 0 {
				b.WriteString("  ")
			}
			b.WriteString(pad(cell, widths[i]))
		}
		p.raw(strings.Repeat(" ", indent) + cut(strings.TrimRight(b.String(), " "), p.Width-indent))
	}
}

// works writes the two or three lines that a connection deserves which works.
func (p *page) works(d *verdict.Diagnosis) {
	if len(d.Addresses) > 1 {
		p.addresses(d)
	} else if len(d.Set.Addresses) > 0 {
		p.prose(indent, indent, "", connected(d, &d.Set.Addresses[0]))
	}
	for i := range d.Set.Addresses {
		if s := seen(d, &d.Set.Addresses[i]); s != "" {
			p.prose(indent, indent, "", s)
			break
		}
	}
	if p.Verbose {
		p.blank()
		p.why(d, &d.Verdict)
	}
}

// connected says when and where a connection was made.
func connected(d *verdict.Diagnosis, a *evidence.Address) string {
	s := a.Addr.String()
	if len(a.Attempts) > 0 {
		s += " in " + duration(a.Attempts[0].Took)
	}
	if n := d.Set.Name; n != nil && n.AddrsFrom != "" && n.AddrsFrom != "literal" {
		s += ", name resolved in " + duration(n.Took)
	} else if n == nil && factOf(d, evidence.NameResult, netip.AddrPort{}).Value == evidence.NameResolved {
		if text := factOf(d, evidence.NameSpeed, netip.AddrPort{}).Text; text != "" { // all that a saved run holds of it
			s += "; " + text
		}
	}
	if a.Path != nil && a.Path.AnswerTTL > 1 {
		s += ", " + count(a.Path.AnswerTTL-1, "router", "routers") + " between"
	}
	return s
}

// factOf is the fact of a key about an address, none of that if there is none.
func factOf(d *verdict.Diagnosis, key evidence.Key, at netip.AddrPort) evidence.Fact {
	for _, f := range d.Facts {
		if f.Key == key && f.Addr == at {
			return f
		}
	}
	return evidence.Fact{}
}

// seen says what the session at an address showed, "" when nothing was.
func seen(d *verdict.Diagnosis, a *evidence.Address) string {
	s := a.Session
	if s == nil || s.TLS == nil && s.HTTP == nil && s.Got == "" {
		// Of a saved run the fact is left. What it quotes of TLS is for no reader.
		f := factOf(d, evidence.SessionReply, a.Addr)
		if f.Value != evidence.ReplyExpected {
			return ""
		}
		text, _, _ := strings.Cut(f.Text, `: \x`)
		return text
	}
	var parts []string
	if t := s.TLS; t != nil && t.OK {
		tls := t.Version
		if len(t.Names) > 0 {
			tls += fmt.Sprintf(", certificate for %s", t.Names[0])
		}
		if !t.NotAfter.IsZero() {
			tls += " until " + t.NotAfter.UTC().Format("2006-01-02")
		}
		parts = append(parts, tls)
	}
	if h := s.HTTP; h != nil {
		http := fmt.Sprintf("HTTP %d", h.Status)
		if h.Server != "" {
			http += " from " + h.Server
		}
		parts = append(parts, http)
	}
	if len(parts) == 0 && s.Got != "" {
		got := s.Got
		if s.Banner != "" {
			got += ": " + s.Banner
		}
		parts = append(parts, got)
	}
	return strings.Join(parts, "; ")
}
