package report

import "strings"

// place finds the column at which routers stand, so that all rows that name
// one fit.
func (l *ladder) place(rows []row) int {
	text, name := 0, 0
	for _, r := range rows {
		if r.shape == shapeOutPart || r.shape == shapeInPart {
			text, name = max(text, cells(r.text)), max(name, cells(r.name))
		}
	}
	at := max(l.inner*55/100, text+7)
	return max(12, min(at, l.inner-name-1))
}

// draw lays out the arrow and the words of a row, at most l.inner columns.
func (l *ladder) draw(r row) string {
	switch r.shape {
	case shapeNote:
		return cut("   "+r.text, l.inner)
	case shapeOut:
		return l.arrowOut(r.text, l.inner)
	case shapeIn:
		return l.arrowIn(r.text, l.inner)
	case shapeOutPart:
		return l.arrowOut(r.text, l.middle) + cut(" "+r.name, l.inner-l.middle)
	case shapeInPart:
		return l.arrowIn(r.text, l.middle) + cut(" "+r.name, l.inner-l.middle)
	default:
		return l.vanishing(r)
	}
}

// arrowOut is an arrow to the right of n columns.
func (l *ladder) arrowOut(text string, n int) string {
	text = cut(text, n-6)
	return l.dashes(2) + " " + text + " " + l.dashes(n-5-cells(text)) + ">"
}

// arrowIn is an arrow to the left of n columns.
func (l *ladder) arrowIn(text string, n int) string {
	text = cut(text, n-6)
	return "<" + l.dashes(n-4-cells(text)) + " " + text + " " + l.dashes(1)
}

// vanishing is an arrow that ends in a question mark.
func (l *ladder) vanishing(r row) string {
	text := cut(r.text, l.inner-8)
	end := min(l.inner, max(l.inner*3/4, cells(text)+8))
	s := l.dashes(2) + " " + text + " "
	if r.name == "" {
		return s + l.dashes(end-cells(s)-2) + " ?"
	}
	name := " " + r.name + " " + l.dashes(4) + " ?"
	if cells(s)+2+cells(name) > l.inner {
		return s + l.dashes(end-cells(s)-2) + " ?"
	}
	return s + l.dashes(max(2, end-cells(s)-cells(name))) + name
}

func (l *ladder) dashes(n int) string { return strings.Repeat(l.dash, max(0, n)) }
