package manual

import (
	"html/template"
	"slices"
	"strings"
)

// siteFrame is what every page of the site has.
type siteFrame struct {
	Style     template.CSS
	Policy    string
	Generator template.HTML
}

type siteIndex struct {
	siteFrame
	Script template.JS
	Groups []siteGroup
}

type siteGroup struct {
	Name, About string
	Pages       []sitePage
}

// sitePage is a page of a cause or a topic.
type sitePage struct {
	siteFrame
	ID, Title, Group string
	Cause            bool
	Aliases          []string
	Lead, Ladder     string
	Shows            []Shown
	Sections         []siteSection
	Blocks           []siteBlock
	Links            []siteLinks
	Sources          []string
}

// File is the name of the page's file.
func (p sitePage) File() string { return p.ID + ".html" }

type siteSection struct {
	Title string
	Items []siteItem
}

type siteItem struct {
	Item
	Place string
}

type siteLinks struct {
	Title string
	Pages []sitePage
}

// siteBlock is a block of a topic; bullets that follow each other are one.
type siteBlock struct {
	Kind    string // "p", "h2", "ul", "pre", "table"
	Text    string
	System  string
	Bullets []string
	Rows    [][]string
}

// sitePages lists all pages: causes by stage, then topics.
func sitePages() []sitePage {
	var out []sitePage
	for _, id := range ids {
		if c, ok := Page(id); ok {
			out = append(out, causePage(c))
		}
	}
	for _, id := range topicIDs {
		if t, ok := Topic(id); ok {
			out = append(out, topicPage(t))
		}
	}
	return out
}

func causePage(c *Cause) sitePage {
	var v View
	p := sitePage{
		ID: c.ID, Title: c.Title, Group: c.Stage, Cause: true, Aliases: c.Aliases,
		Lead: v.Vars.fill(c.Meaning, noShell), Ladder: c.Ladder, Shows: v.texts(c.Texts()), Sources: c.Sources,
	}
	for _, s := range c.sections() {
		if len(s.items) == 0 {
			continue
		}
		section := siteSection{Title: s.heading}
		for _, it := range v.items(s.items) {
			section.Items = append(section.Items, siteItem{it, sitePlace(it)})
		}
		p.Sections = append(p.Sections, section)
	}
	p.Links = links("Easily mistaken for it", c.LookAlikes, p.Links)
	p.Links = links("Read more", c.Topics, p.Links)
	return p
}

func topicPage(t *Subject) sitePage {
	var v View
	p := sitePage{ID: t.ID, Title: t.Title, Group: "topics", Aliases: t.Aliases, Sources: t.Sources}
	for _, b := range t.Blocks {
		b = v.fillBlock(b)
		n := len(p.Blocks)
		switch b.Kind {
		case Bullet:
			if n == 0 || p.Blocks[n-1].Kind != "ul" {
				p.Blocks = append(p.Blocks, siteBlock{Kind: "ul"})
				n++
			}
			p.Blocks[n-1].Bullets = append(p.Blocks[n-1].Bullets, b.Text)
		case Table:
			p.Blocks = append(p.Blocks, siteBlock{Kind: "table", Rows: b.Rows})
		default:
			kind := map[BlockKind]string{Paragraph: "p", Heading: "h2", Code: "pre"}[b.Kind]
			p.Blocks = append(p.Blocks, siteBlock{Kind: kind, Text: b.Text, System: systemName(b.OS)})
		}
	}
	p.Links = links("Read more", t.See, p.Links)
	return p
}

// links adds a list of pages to a page, if there are any.
func links(heading string, ids []string, to []siteLinks) []siteLinks {
	l := siteLinks{Title: heading}
	for _, id := range ids {
		if t := title(id); t != "" {
			l.Pages = append(l.Pages, sitePage{ID: id, Title: t})
		}
	}
	if len(l.Pages) == 0 {
		return to
	}
	return append(to, l)
}

// systemName is a system as its maker writes it; "" for any.
func systemName(os string) string {
	switch os {
	case "linux":
		return "Linux"
	case "macos":
		return "macOS"
	case "windows":
		return "Windows"
	case "docker":
		return "Docker"
	case "kubernetes":
		return "Kubernetes"
	case "aws":
		return "AWS"
	case "azure":
		return "Azure"
	case "gcp":
		return "Google Cloud"
	}
	return ""
}

// sitePlace says on which system and where an item is to be done.
func sitePlace(it Item) string {
	parts := []string{systemName(it.OS)}
	switch it.Where {
	case "client":
		parts = append(parts, "on the client")
	case "host":
		parts = append(parts, "on the host")
	case "both":
		parts = append(parts, "on both ends")
	}
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	return strings.Join(parts, ", ")
}

// inlineHTML sets code in backticks as such; the ID of a page becomes a link.
func inlineHTML(s string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(s, "`") {
		text := template.HTMLEscapeString(part)
		switch {
		case i%2 == 0:
			b.WriteString(text)
		case title(part) != "":
			b.WriteString(`<a href="` + text + `.html"><code>` + text + `</code></a>`)
		default:
			b.WriteString("<code>" + text + "</code>")
		}
	}
	return template.HTML(b.String())
}
