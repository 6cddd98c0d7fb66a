package cli

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tcpwhy/tcpwhy"
	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/errtext"
	"github.com/tcpwhy/tcpwhy/internal/manual"
)

// page is text that is being laid out.
type page struct {
	strings.Builder
	width int
	bold  func(string) string
	plain bool // no sign beyond ASCII
}

// label is the column at which the text behind a label begins, as in the
// answers of the main job.
const label = 13

// field writes a label and wrapped text behind it.
func (p *page) field(name, text string) {
	p.WriteString(name + strings.Repeat(" ", max(1, label-len(name))))
	p.wrap(label, label, text)
}

// wrap writes words from a column on, and further lines from another one.
func (p *page) wrap(at, indent int, text string) {
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > p.width:
			p.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			p.WriteByte(' ')
			at++
		}
		p.WriteString(word)
		at += n
	}
	p.WriteByte('\n')
}

// visible bounds text to runes and makes what a terminal would obey readable.
func (a *app) visible(s string, most int) string {
	var b strings.Builder
	n := 0
	for i, r := range s {
		if n++; n > most {
			b.WriteString("...")
			break
		}
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !unicode.IsPrint(r):
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteRune(r)
		}
	}
	if !a.host.unicode() {
		return ascii(b.String())
	}
	return b.String()
}

// list writes every cause by stage, and the topics.
func (e *explaining) list(p *page) error {
	if e.output == "json" {
		for _, id := range append(manual.IDs(), manual.Topics()...) {
			if err := writeDocument(p, pageDocument(id, id, false)); err != nil {
				return err
			}
		}
		return nil
	}
	if e.output == "md" {
		for _, c := range cause.All() {
			fmt.Fprintf(p, "- `%s` (%s): %s\n", c.ID, c.Stage, c.Title)
		}
		return nil
	}
	p.causes()
	p.WriteByte('\n')
	p.heading("topics")
	for _, id := range manual.Topics() {
		if t, ok := manual.Topic(id); ok {
			p.entry(id, t.Title)
		}
	}
	p.WriteString("\nA page of the manual is shown by: tcpwhy explain CAUSE\n" +
		"An error text is explained by:    tcpwhy explain 'TEXT'\n")
	return nil
}

// list writes every cause by stage.
func list(w io.Writer, width int) {
	p := &page{width: width, bold: func(s string) string { return s }}
	p.causes()
	io.WriteString(w, p.String())
}

func (p *page) causes() {
	var stage cause.Stage
	for _, c := range cause.All() {
		if c.Stage != stage {
			if stage != "" {
				p.WriteByte('\n')
			}
			stage = c.Stage
			p.heading(string(stage))
		}
		p.entry(string(c.ID), c.Title)
	}
}

func (p *page) heading(s string) { p.WriteString(p.bold(strings.ToUpper(s)) + "\n") }

// entry is a name with its title, which may take several lines.
func (p *page) entry(id, title string) {
	const column = 29 // where titles begin
	fmt.Fprintf(p, "  %-*s", column-2, id)
	p.wrap(column, column, title)
}

// manualPage writes the page of a cause or topic.
func (e *explaining) manualPage(p *page, input, id string) error {
	v := manual.View{Width: p.width}
	var text string
	var ok bool
	switch e.output {
	case "json":
		return writeDocument(p, pageDocument(input, id, true))
	case "md":
		text, ok = v.Markdown(id)
	default:
		text, ok = v.Render(id)
	}
	if !ok {
		return fmt.Errorf("the manual has no page %s", id)
	}
	if p.plain {
		text = ascii(text)
	}
	p.WriteString(text)
	return nil
}

// found lists the pages that hold the words.
func (e *explaining) found(words string) error {
	hits := manual.Search(words)
	if len(hits) == 0 {
		return &usageError{"no page holds " + e.quote(words), "Try fewer or shorter words; all causes are listed by: tcpwhy explain"}
	}
	return e.paged(func(p *page) error {
		for _, h := range hits {
			if e.output == "json" {
				if err := writeDocument(p, pageDocument(words, h.ID, false)); err != nil {
					return err
				}
				continue
			}
			line := h.Line
			if p.plain {
				line = ascii(line)
			}
			if e.output == "md" {
				fmt.Fprintf(p, "- `%s`: %s\n", h.ID, h.Title)
				continue
			}
			p.WriteString(p.bold(h.ID) + ": ")
			p.wrap(len(h.ID)+2, 2, h.Title)
			if line != "" {
				p.WriteString("  ")
				p.wrap(2, 2, line)
			}
		}
		return nil
	})
}

// errno explains the name or number of an error: what it is on each system, and
// what it then means.
func (e *explaining) errno(p *page, input string, ms []errtext.Meaning) error {
	var kinds []errtext.Kind
	for _, m := range ms {
		if m.Kind != "" && !slices.Contains(kinds, m.Kind) {
			kinds = append(kinds, m.Kind)
		}
	}
	var all []string
	for _, m := range ms {
		s := m.Name + " (" + strconv.Itoa(m.Number) + ") on " + m.System
		if m.Kind == "" {
			s += ", where it is no error of a connection"
		}
		all = append(all, s)
	}
	for i, k := range kinds {
		x, _ := tcpwhy.ExplainKind(string(k))
		if i > 0 && e.output != "json" {
			p.WriteByte('\n')
		}
		if err := e.explanation(p, document{Input: input, Meanings: meanings(ms), Explanation: x}, "number", strings.Join(all, "; ")); err != nil {
			return err
		}
	}
	return nil
}

// errorText explains a line.
func (e *explaining) errorText(p *page, line string, x tcpwhy.Explanation) error {
	var about []string
	if x.Errno != "" {
		about = append(about, x.Errno)
	}
	if x.Program != "" {
		about = append(about, "in the words of "+x.Program)
	}
	if x.Certainty != tcpwhy.Certain {
		about = append(about, "probably: other things are said so, too")
	}
	return e.explanation(p, document{Input: line, Explanation: x}, "read as", strings.Join(about, ", "))
}

// again writes an error of a kind that was explained before.
func (e *explaining) again(p *page, line string, x tcpwhy.Explanation) error {
	if e.output == "json" {
		return e.errorText(p, line, x)
	}
	if e.output == "md" {
		fmt.Fprintf(p, "## %s\n\n    %s\n\nAs above. ", x.Title, e.visible(line, 400))
		if c := x.Command(); c != "" {
			fmt.Fprintf(p, "What tells more: `%s`", c)
		}
		p.WriteByte('\n')
		return nil
	}
	p.WriteString(p.bold(x.Title) + ", as above\n  ")
	p.wrap(2, 4, e.visible(line, 400))
	if c := x.Command(); c != "" {
		p.field("find out", c)
	}
	return nil
}

// explanation writes what an error means. about stands behind the label name.
func (e *explaining) explanation(p *page, d document, name, about string) error {
	switch e.output {
	case "json":
		return writeDocument(p, d)
	case "md":
		e.markdown(p, d)
		return nil
	}
	x := d.Explanation
	p.WriteString(p.bold(x.Title) + "\n")
	if d.Input != "" {
		p.WriteString("  ")
		p.wrap(2, 4, e.visible(d.Input, 400))
	}
	p.WriteByte('\n')
	if about != "" {
		p.field(name, about)
	}
	p.field("it proves", x.Proves)
	p.field("not told", x.CannotTell)
	most := 8
	if e.verbose {
		most = len(x.Causes)
	}
	for i, c := range x.Causes[:min(most, len(x.Causes))] {
		name := ""
		if i == 0 {
			name = "remaining"
		}
		const column = label + 34
		p.WriteString(fmt.Sprintf("%-*s%-27s%3s %%  ", label, name, c.ID, percent(c.Likelihood)))
		p.wrap(column, column, c.Title)
	}
	if n := len(x.Causes) - most; n > 0 {
		p.field("", fmt.Sprintf("+%d more (-v)", n))
	}
	if len(x.Causes) == 0 {
		p.field("remaining", "no cause of the catalogue in particular")
	}
	next := x.Command()
	switch {
	case next != "":
		p.field("find out", next)
	case x.Op != string(errtext.OpListen):
		p.field("find out", "tcpwhy HOST:PORT")
	}
	if len(x.Causes) > 0 {
		p.field("likeliest", "tcpwhy explain "+x.Causes[0].ID)
	}
	return nil
}

// percent rounds a likelihood; what is below one percent says so.
func percent(l float64) string {
	if l < 0.01 {
		return "<1"
	}
	return strconv.Itoa(int(math.Round(l * 100)))
}

func (e *explaining) markdown(p *page, d document) {
	x := d.Explanation
	fmt.Fprintf(p, "## %s\n\n", x.Title)
	if d.Input != "" {
		fmt.Fprintf(p, "    %s\n\n", e.visible(d.Input, 400))
	}
	fmt.Fprintf(p, "**It proves:** %s\n\n**Not told:** %s\n\n", x.Proves, x.CannotTell)
	for _, c := range x.Causes {
		fmt.Fprintf(p, "- `%s` (%s %%): %s\n", c.ID, percent(c.Likelihood), c.Title)
	}
	if c := x.Command(); c != "" {
		fmt.Fprintf(p, "\nWhat tells more: `%s`\n", c)
	}
}
