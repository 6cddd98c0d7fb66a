package manual

import (
	"strings"
	"unicode/utf8"
)

const minWidth = 24

// Render lays the page of a cause or topic out as plain text, every line ended
// by a newline. Commands, output and pictures are never broken, so that they can
// be copied; they alone, and tables of long words, may be wider than the view. It
// is false for an ID without a page.
func (v View) Render(id string) (string, bool) {
	p := &printer{view: v, width: max(v.Width, minWidth)}
	if c, ok := Page(id); ok {
		p.cause(c)
	} else if t, ok := Topic(id); ok {
		p.topic(t)
	} else {
		return "", false
	}
	return p.b.String(), true
}

// printer writes lines. It counts a rune as one column.
type printer struct {
	b     strings.Builder
	view  View
	width int
}

func (p *printer) cause(c *Cause) {
	p.wrap("", "", c.ID+": "+c.Title)
	p.line("")
	p.wrap("", "", p.view.Vars.fill(c.Meaning, noShell))
	if c.Ladder != "" {
		p.line("")
		p.verbatim("  ", c.Ladder)
	}
	if texts := p.view.texts(c.Texts()); len(texts) > 0 {
		p.heading(showsHeading)
		for _, s := range texts {
			p.wrap("  ", "      ", s.Program+": "+s.Text)
		}
	}
	for _, s := range c.sections() {
		p.items(s.heading, p.view.items(s.items))
	}
	p.list("Easily mistaken for it", c.LookAlikes)
	p.list("Read more", c.Topics)
	p.sources(c.Sources)
}

func (p *printer) topic(t *Subject) {
	p.wrap("", "", t.ID+": "+t.Title)
	for i, b := range t.Blocks {
		b = p.view.fillBlock(b)
		if b.Kind != Bullet || i > 0 && t.Blocks[i-1].Kind != Bullet && t.Blocks[i-1].Kind != Heading {
			if i == 0 || t.Blocks[i-1].Kind != Heading {
				p.line("")
			}
		}
		switch b.Kind {
		case Heading, Paragraph:
			p.wrap("", "", inline(b.Text))
		case Bullet:
			p.wrap("- ", "  ", inline(b.Text))
		case Code:
			p.verbatim("    ", b.Text)
		case Table:
			p.table(b.Rows)
		}
	}
	p.list("Read more", t.See)
	p.sources(t.Sources)
}

// inline takes the marks off code inside a sentence.
func inline(s string) string { return strings.ReplaceAll(s, "`", "") }

func (p *printer) line(s string) {
	p.b.WriteString(strings.TrimRight(s, " "))
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
		p.wrap("  ", "    ", it.place()+it.Text)
		if it.Command != "" {
			p.line("      " + it.Command)
		}
		for _, part := range []struct{ name, text string }{{"healthy", it.Healthy}, {"sick", it.Sick}, {"changes", it.Changes}} {
			if part.text != "" {
				p.wrap("    ", "      ", part.name+": "+part.text)
			}
		}
		switch {
		case it.Undo == "" && it.UndoCommand != "":
			p.line("    undo: " + it.UndoCommand)
		case it.Undo != "":
			p.wrap("    ", "      ", "undo: "+it.Undo)
			if it.UndoCommand != "" {
				p.line("      " + it.UndoCommand)
			}
		}
	}
}

// list names pages with their titles.
func (p *printer) list(heading string, ids []string) {
	if len(ids) == 0 {
		return
	}
	p.heading(heading)
	for _, id := range ids {
		if t := title(id); t != "" { // a test sees that every ID is known
			p.wrap("  ", "    ", id+": "+t)
		}
	}
}

func (p *printer) sources(all []string) {
	p.heading("Sources")
	p.wrap("  ", "  ", strings.Join(all, "; "))
}

// verbatim writes lines as they are.
func (p *printer) verbatim(indent, lines string) {
	for line := range strings.SplitSeq(lines, "\n") {
		p.line(indent + line)
	}
}

// systemNames are what a page calls a system where it must.
var systemNames = map[string]string{"macos": "macOS", "windows": "Windows", "docker": "Docker", "kubernetes": "Kubernetes",
	"aws": "AWS", "azure": "Azure", "gcp": "Google Cloud"}

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
	if name := systemNames[it.OS]; name != "" && at != "" {
		at += " (" + name + ")"
	} else if name != "" {
		at = name
	}
	if at == "" {
		return ""
	}
	return at + ": "
}

// wrap writes s in lines of at most width columns, broken at spaces; lines
// after the first begin with hanging.
func (p *printer) wrap(indent, hanging, s string) {
	line, empty := indent, true
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
