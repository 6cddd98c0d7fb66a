package manual

import "strings"

// Markdown returns the page of a cause or topic as CommonMark (tables as GitHub
// has them), with the tables of texts that it points to. Values and words that
// stand for missing ones cannot become markup. It is false for an ID without a
// page.
func (v View) Markdown(id string) (string, bool) {
	m := &marker{view: v}
	if c, ok := Page(id); ok {
		m.cause(c)
	} else if t, ok := Topic(id); ok {
		m.topic(t)
	} else {
		return "", false
	}
	return m.b.String(), true
}

type marker struct {
	b    strings.Builder
	view View
}

func (m *marker) line(parts ...string) {
	for _, s := range parts {
		m.b.WriteString(s)
	}
	m.b.WriteByte('\n')
}

func (m *marker) cause(c *Cause) {
	m.line("# ", c.ID, ": ", escape(c.Title))
	m.line("\n", escape(m.view.Vars.fill(c.Meaning, noShell)))
	if c.Ladder != "" {
		m.code("\n", c.Ladder)
	}
	if texts := m.view.texts(c.Texts()); len(texts) > 0 {
		m.line("\n## ", showsHeading, "\n")
		for _, s := range texts {
			m.line("- ", escape(s.Program), ": ", span(s.Text))
		}
	}
	for _, s := range c.sections() {
		m.items(s.heading, m.view.items(s.items))
	}
	m.list("Easily mistaken for it", c.LookAlikes)
	m.list("Read more", c.Topics)
	m.sources(c.Sources)
}

func (m *marker) items(heading string, items []Item) {
	if len(items) == 0 {
		return
	}
	m.line("\n## ", heading, "\n")
	for _, it := range items {
		m.line("- ", it.place(), escape(it.Text))
		if it.Command != "" {
			m.line("  ", span(it.Command))
		}
		for _, part := range []struct{ name, text string }{{"healthy", it.Healthy}, {"sick", it.Sick}, {"changes", it.Changes}, {"undo", it.Undo}} {
			if part.text != "" {
				m.line("  - ", part.name, ": ", escape(part.text))
			}
		}
		if it.UndoCommand != "" {
			m.line("  - undo: ", span(it.UndoCommand))
		}
	}
}

func (m *marker) topic(t *Subject) {
	m.line("# ", escape(t.Title))
	for i, b := range t.Blocks {
		b = m.view.fillBlock(b)
		if b.Kind != Bullet || i > 0 && t.Blocks[i-1].Kind != Bullet {
			m.line()
		}
		switch b.Kind {
		case Heading:
			m.line("## ", escapeInline(b.Text))
		case Paragraph:
			m.line(escapeInline(b.Text))
		case Bullet:
			m.line("- ", escapeInline(b.Text))
		case Code:
			m.code("", b.Text)
		case Table:
			m.table(b.Rows)
		}
	}
	m.list("Read more", t.See)
	m.sources(t.Sources)
}

func (m *marker) table(rows [][]string) {
	for i, row := range rows {
		for _, cell := range row {
			m.b.WriteString("| " + escapeInline(cell) + " ")
		}
		m.line("|")
		if i == 0 {
			m.line(strings.Repeat("| --- ", len(row)), "|")
		}
	}
}

// code writes a fenced block; the fence is longer than any run of backticks in it.
func (m *marker) code(before, text string) {
	fence := strings.Repeat("`", max(3, longestRun(text)+1))
	m.line(before, fence, "\n", text, "\n", fence)
}

func (m *marker) list(heading string, ids []string) {
	if len(ids) == 0 {
		return
	}
	m.line("\n## ", heading, "\n")
	for _, id := range ids {
		m.line("- `", id, "`: ", escape(title(id)))
	}
}

func (m *marker) sources(all []string) {
	m.line("\n## Sources\n")
	for _, s := range all {
		m.line("- ", escape(s))
	}
}

// escape makes text of anything: no character of it is markup.
func escape(s string) string { return markup.Replace(s) }

var markup = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`,
	"<", "&lt;", ">", "&gt;", "&", "&amp;", "#", `\#`, "|", `\|`, "~", `\~`)

// escapeInline escapes all but code in backticks.
func escapeInline(s string) string {
	parts := strings.Split(s, "`")
	for i := range parts {
		if i%2 == 0 || i == len(parts)-1 {
			parts[i] = escape(parts[i])
		}
	}
	return strings.Join(parts, "`")
}

// span is s as code inside a line, whatever backticks are in it.
func span(s string) string {
	n := longestRun(s)
	if n == 0 {
		return "`" + s + "`"
	}
	fence := strings.Repeat("`", n+1)
	return fence + " " + s + " " + fence
}

// longestRun is the length of the longest run of backticks.
func longestRun(s string) (longest int) {
	run := 0
	for i := range len(s) {
		if s[i] != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}
