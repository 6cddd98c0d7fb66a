package report

import (
	"fmt"
	"html/template"
	"strings"
)

// svg is a picture under way: elements with classes, coloured by the style
// sheet. All text goes through esc.
type svg struct{ b strings.Builder }

func (s *svg) esc(text string) string { return template.HTMLEscapeString(text) }

// begin opens a picture; name is what is read out for it.
func (s *svg) begin(d drawing, height int, name string) {
	fmt.Fprintf(&s.b, `<svg class="%s" viewBox="0 0 %d %d" role="img" aria-label="%s">`, d.class, d.width, height, s.esc(name))
}

// end closes the picture around what body holds.
func (s *svg) end(body *svg) template.HTML {
	return template.HTML(s.b.String() + body.b.String() + "</svg>")
}

// open begins a group with a hover text.
func (s *svg) open(class, title string) {
	fmt.Fprintf(&s.b, `<g class="%s"><title>%s</title>`, class, s.esc(title))
}

func (s *svg) close() { s.b.WriteString("</g>") }

// text writes words whose start, middle or end is at x.
func (s *svg) text(x, y int, class, anchor, words string) {
	fmt.Fprintf(&s.b, `<text x="%d" y="%d" class="%s" text-anchor="%s">%s</text>`, x, y, class, anchor, s.esc(words))
}

func (s *svg) line(class string, x1, y1, x2, y2 int) {
	fmt.Fprintf(&s.b, `<line class="%s" x1="%d" y1="%d" x2="%d" y2="%d"/>`, class, x1, y1, x2, y2)
}

// arrow is a line with its head at x2. A wide line that nobody sees makes the
// hover text easy to hit.
func (s *svg) arrow(x1, x2, y int) {
	back := 8
	if x2 < x1 {
		back = -8
	}
	s.line("arrow", x1, y, x2-back, y)
	fmt.Fprintf(&s.b, `<path class="head" d="M%d %dl%d -5v10z"/>`, x2, y, -back*9/8)
}

func (s *svg) spot(x, y int) {
	fmt.Fprintf(&s.b, `<circle class="spot" cx="%d" cy="%d" r="5"/>`, x, y)
}

func (s *svg) bar(x, y, width int) {
	fmt.Fprintf(&s.b, `<rect class="bar" x="%d" y="%d" width="%d" height="9" rx="2"/>`, x, y, width)
}
