package manual

import (
	"strings"
	"unicode/utf8"
)

const minWidth = 24

// Render lays a page out as plain text in width columns, every line ended by a
// newline and placeholders shown as words. Commands are never broken, so that
// they can be copied; they alone may be wider. It is false for an ID without a
// page.
func Render(id string, width int) (string, bool) {
	c, ok := Page(id)
	if !ok {
		return "", false
	}
	p := &printer{width: max(width, minWidth)}
	p.wrap("", c.ID+": "+c.Title)
	p.line("")
	p.wrap("", c.Meaning)
	p.items(confirmHeading, c.Confirm)
	p.items(fixHeading, c.Fix)
	p.heading("Easily mistaken for it")
	for _, id := range c.LookAlikes {
		if other, ok := Page(id); ok {
			p.wrap("  ", id+": "+other.Title)
		}
	}
	p.heading("Sources")
	for _, s := range c.Sources {
		p.wrap("  ", s)
	}
	return p.b.String(), true
}

// printer writes lines. It counts a rune as one column.
type printer struct {
	b     strings.Builder
	width int
}

func (p *printer) line(s string) {
	p.b.WriteString(s)
	p.b.WriteByte('\n')
}

func (p *printer) heading(s string) {
	p.line("")
	p.line(s)
}

func (p *printer) items(heading string, items []Item) {
	if len(items) == 0 {
		return
	}
	p.heading(heading)
	for _, it := range items {
		it = it.Fill(Vars{})
		p.wrap("  ", it.place()+it.Text)
		if it.Command != "" {
			p.line("      " + it.Command)
		}
	}
}

// place says where to do it, as the beginning of a line.
func (it Item) place() string {
	var at string
	switch it.Where {
	case "client":
		at = "here"
	case "host":
		at = "on the host"
	case "both":
		at = "on both ends"
	}
	if it.OS != "linux" {
		at = strings.TrimSpace(at + " (" + it.OS + ")")
	}
	if at == "" {
		return ""
	}
	return at + ": "
}

// wrap writes s in lines of at most width columns, broken at spaces. In an
// indented block the lines after the first are indented twice.
func (p *printer) wrap(indent, s string) {
	line, empty, hanging := indent, true, indent+indent
	for w := range strings.FieldsSeq(s) {
		switch {
		case empty:
			line += w
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(w) <= p.width:
			line += " " + w
		default:
			p.line(line)
			line = hanging + w
		}
		empty = false
	}
	p.line(line)
}
