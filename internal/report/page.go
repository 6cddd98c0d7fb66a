package report

import (
	"bytes"
	"strconv"
	"strings"
)

// Where text stands. The labels of sections ("not checked") have a margin of
// their own, unless the page is narrow: then they get their own lines.
const (
	defaultWidth = 80
	minWidth     = 40
	narrowWidth  = 64
	labelMargin  = 13
	indent       = 2
)

// SGR sequences, ECMA-48.
const (
	sgrReset  = "\x1b[0m"
	sgrDim    = "\x1b[2m"
	sgrRed    = "\x1b[1;31m"
	sgrGreen  = "\x1b[1;32m"
	sgrYellow = "\x1b[1;33m"
)

// page collects the lines of a report. What its methods are given as text is
// escaped by them; drawings are written with raw and escaped by the caller.
type page struct {
	Options
	buf    bytes.Buffer
	margin int
	label  string // of the section that begins with the next line
	marks  int    // columns of the marks of its items
}

func newPage(o Options) *page {
	if o.Width <= 0 {
		o.Width = defaultWidth
	}
	o.Width = max(o.Width, minWidth)
	p := &page{Options: o, margin: labelMargin}
	if o.Width < narrowWidth {
		p.margin = indent
	}
	return p
}

// clean escapes text for this page.
func (p *page) clean(s string) string { return escape(s, !p.Unicode, maxText) }

// paint sets s in a colour, where colour is allowed.
func (p *page) paint(sgr, s string) string {
	if !p.Color || sgr == "" || s == "" {
		return s
	}
	return sgr + s + sgrReset
}

// raw writes a line that is already escaped and fits; one of spaces only is
// left out.
func (p *page) raw(line string) {
	if line = strings.TrimRight(line, " "); line != "" {
		p.buf.WriteString(line)
		p.buf.WriteByte('\n')
	}
}

// blank writes an empty line between parts, never two in a row.
func (p *page) blank() {
	if b := p.buf.Bytes(); !bytes.HasSuffix(b, []byte("\n\n")) && len(b) > 0 {
		p.buf.WriteByte('\n')
	}
}

// prose writes wrapped text from column in on, its further lines more deeply.
func (p *page) prose(in, more int, sgr, text string) {
	lines := wrap(p.clean(text), p.Width-in-more)
	for i, l := range lines {
		pad := in
		if i > 0 {
			pad += more
		}
		p.raw(strings.Repeat(" ", pad) + p.paint(sgr, l))
	}
}

// section begins a labelled section. It shows with its first item only. The
// marks are those of its items, which are aligned.
func (p *page) section(label string, marks ...string) {
	p.label, p.marks = label, 0
	for _, m := range marks {
		p.marks = max(p.marks, min(cells(p.clean(m)), p.Width/4))
	}
}

// lead gives what stands in the margin of the next line.
func (p *page) lead() string {
	label := p.label
	p.label = ""
	if label != "" && p.margin < labelMargin {
		p.raw(label)
		label = ""
	}
	return pad(label, p.margin)
}

// item writes an entry of a section: a mark such as "1." or "e3", then text
// wrapped beside it.
func (p *page) item(mark, text string) { p.entry(mark, p.clean(text)) }

// list writes an entry whose text is a list of names, all of them.
func (p *page) list(mark string, names []string) {
	clean := make([]string, len(names))
	for i, n := range names {
		clean[i] = p.clean(n)
	}
	p.entry(mark, strings.Join(clean, ", "))
}

// entry writes an entry whose text is escaped.
func (p *page) entry(mark, text string) {
	if strings.Trim(mark+text, " ") == "" {
		return // and leave the label for what follows
	}
	if mark != "" {
		mark = pad(cut(p.clean(mark), p.Width/4), p.marks) + " "
	}
	in := cells(mark)
	for i, l := range wrap(text, p.Width-p.margin-in) {
		if i > 0 {
			mark = strings.Repeat(" ", in)
		}
		p.raw(p.lead() + mark + l)
	}
}

// command writes a command on lines of its own, never broken, so that it can
// be copied. Several commands are separated by newlines.
func (p *page) command(in int, cmd string) {
	const most = 20
	n := 0
	for line := range strings.Lines(cmd) {
		if line = strings.TrimRight(line, " \r\n"); line == "" {
			continue
		}
		if n++; n > most {
			p.raw(p.lead() + strings.Repeat(" ", in) + "...")
			return
		}
		p.raw(p.lead() + strings.Repeat(" ", in) + escape(line, !p.Unicode, maxCommand))
	}
}

// more says how many entries were left out of a list, if any.
func (p *page) more(n int) {
	if n > 0 {
		p.item("", p.moreText(n))
	}
}

// moreText is "+3 more (-v)", or without the hint when that would not help.
func (p *page) moreText(n int) string {
	s := "+" + strconv.Itoa(n) + " more"
	if !p.Verbose {
		s += " (-v)"
	}
	return s
}

// limit is the number of entries of a list to show: few, or with Verbose as
// many as a person could ever read.
func (p *page) limit(few, n int) int {
	if p.Verbose {
		few = 200
	}
	return min(few, n)
}

// pad fills s up with spaces to n columns.
func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-cells(s)))
}

// padLeft fills s up with spaces before it.
func padLeft(s string, n int) string {
	return strings.Repeat(" ", max(0, n-cells(s))) + s
}
