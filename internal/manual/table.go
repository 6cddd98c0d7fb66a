package manual

import (
	"strings"
	"unicode/utf8"
)

const columnGap = 2

// table lays rows out in columns; where they are wider than the view, cells of
// the widest columns go on below, words unbroken.
func (p *printer) table(rows [][]string) {
	wide := make([]int, len(rows[0]))  // of the whole column
	least := make([]int, len(rows[0])) // of its longest word
	for _, row := range rows {
		for i, cell := range row {
			wide[i] = max(wide[i], utf8.RuneCountInString(inline(cell)))
			for w := range strings.FieldsSeq(inline(cell)) {
				least[i] = max(least[i], utf8.RuneCountInString(w))
			}
		}
	}
	fit(wide, least, p.width-columnGap*len(wide))
	for _, row := range rows {
		cells := make([][]string, len(row))
		height := 1
		for i, cell := range row {
			cells[i] = lines(inline(cell), wide[i])
			height = max(height, len(cells[i]))
		}
		for n := range height {
			var line strings.Builder
			for i, c := range cells {
				text := ""
				if n < len(c) {
					text = c[n]
				}
				line.WriteString(strings.Repeat(" ", columnGap) + text + strings.Repeat(" ", max(0, wide[i]-utf8.RuneCountInString(text))))
			}
			p.line(line.String())
		}
	}
}

// fit takes columns off the widest until the sum is at most total, none below
// its least.
func fit(wide, least []int, total int) {
	for {
		sum, widest := 0, -1
		for i, w := range wide {
			sum += w
			if w > least[i] && (widest < 0 || w > wide[widest]) {
				widest = i
			}
		}
		if sum <= total || widest < 0 {
			return
		}
		wide[widest]--
	}
}

// lines breaks a text at spaces into lines of at most width columns, a longer
// word alone in its line.
func lines(s string, width int) []string {
	var all []string
	for w := range strings.FieldsSeq(s) {
		if n := len(all); n > 0 && utf8.RuneCountInString(all[n-1])+1+utf8.RuneCountInString(w) <= width {
			all[n-1] += " " + w
		} else {
			all = append(all, w)
		}
	}
	return all
}
