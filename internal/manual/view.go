package manual

import "slices"

// View is how a page is shown, and to whom. The zero View shows all of it, in
// the least width, with words for the placeholders.
type View struct {
	Width int // columns, for Render
	Vars  Vars
	// OS is linux, macos or windows: what is for another of the three is left
	// out. Empty shows all.
	OS string
	// Where is client or host: what is to be done at the other end is left out.
	// Empty shows all.
	Where string
}

// Render lays a page out as plain text in width columns with words for the
// placeholders; see View.Render.
func Render(id string, width int) (string, bool) { return View{Width: width}.Render(id) }

// Markdown returns a page as Markdown with all that it points to and words for
// the placeholders. It is false for an ID without a page.
func Markdown(id string) (string, bool) { return View{}.Markdown(id) }

// items returns those that the view shows, filled.
func (v View) items(items []Item) []Item {
	var shown []Item
	for _, it := range items {
		system := !slices.Contains([]string{"linux", "macos", "windows"}, it.OS) || v.OS == "" || v.OS == it.OS
		at := it.Where == "" || it.Where == "both" || v.Where == "" || v.Where == it.Where
		if system && at {
			shown = append(shown, it.Fill(v.Vars))
		}
	}
	return shown
}

// texts returns what shows, filled.
func (v View) texts(all []Shown) []Shown {
	filled := make([]Shown, len(all))
	for i, s := range all {
		filled[i] = s.Fill(v.Vars)
	}
	return filled
}

// fillBlock fills a block of a topic: what its system's shell runs is quoted.
func (v View) fillBlock(b Block) Block {
	sh := noShell
	if b.OS != "" {
		sh = shellOf(b.OS)
	}
	b.Text = v.Vars.fill(b.Text, sh)
	rows := make([][]string, len(b.Rows))
	for i, row := range b.Rows {
		rows[i] = slices.Clone(row)
		for j := range row {
			rows[i][j] = v.Vars.fill(row[j], noShell)
		}
	}
	b.Rows = rows
	return b
}

// title returns the title of a cause or topic, empty for an unknown ID.
func title(id string) string {
	if c, ok := Page(id); ok {
		return c.Title
	}
	if t, ok := Topic(id); ok {
		return t.Title
	}
	return ""
}

// section is a heading with the items below it.
type section struct {
	heading string
	items   []Item
}

func (c *Cause) sections() []section {
	return []section{{confirmHeading, c.Confirm}, {fixHeading, c.Fix}, {verifyHeading, c.Verify}, {preventHeading, c.Prevent}}
}
