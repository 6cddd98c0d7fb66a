package report

import (
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/htmlstyle"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// ChangesText writes a comparison for people: - is what was, + what is.
func ChangesText(w io.Writer, list []TargetChange, o Options) error {
	p := newPage(o)
	if !o.Quiet && anyRedacted(list) {
		p.prose(0, 0, "", redactedNote)
		p.blank()
	}
	for i := range list {
		c := &list[i]
		if o.Quiet {
			p.raw(p.paint(c.color(), p.clean(c.headline())))
			continue
		}
		p.blank()
		p.prose(0, indent, c.color(), c.headline())
		if c.Before != nil && c.After != nil {
			p.side(sgrDim, "-", started(c.Before))
			p.side(sgrDim, "+", started(c.After))
		}
		for _, item := range c.Items {
			p.blank()
			p.prose(0, indent, "", item.What)
			p.side(sgrRed, "-", item.Before)
			p.side(sgrGreen, "+", item.After)
		}
	}
	_, err := io.WriteString(w, strings.TrimRight(p.buf.String(), "\n")+"\n")
	return err
}

// side writes one side of a change.
func (p *page) side(sgr, mark, text string) {
	for i, l := range wrap(p.clean(text), p.Width-indent-2) {
		if i > 0 {
			mark = " "
		}
		p.raw(strings.Repeat(" ", indent) + p.paint(sgr, mark) + " " + l)
	}
}

func started(d *verdict.Diagnosis) string {
	return d.Set.Started.UTC().Format("2006-01-02 15:04:05 UTC")
}

func (c *TargetChange) color() string {
	if c.After == nil {
		return ""
	}
	return answerColor(c.After.Outcome)
}

func anyRedacted(list []TargetChange) bool {
	return slices.ContainsFunc(list, func(c TargetChange) bool {
		return c.Before != nil && c.Before.Redacted || c.After != nil && c.After.Redacted
	})
}

// ChangesMarkdown writes a comparison as Markdown; see Markdown.
func ChangesMarkdown(w io.Writer, list []TargetChange, o Options) error {
	m := &markdown{options: o}
	if anyRedacted(list) {
		m.line("*", redactedNote, "*")
		m.line()
	}
	p := newPage(Options{Unicode: true})
	for i := range list {
		c := &list[i]
		m.line("## ", mdText(p.clean(c.headline())))
		m.line()
		if c.Before != nil && c.After != nil {
			rows := [][]string{{"what", "before, " + started(c.Before), "after, " + started(c.After)}}
			for _, item := range c.Items {
				rows = append(rows, []string{mdText(p.clean(item.What)), mdText(p.clean(item.Before)), mdText(p.clean(item.After))})
			}
			m.table(rows)
			m.line()
		}
	}
	_, err := io.WriteString(w, strings.TrimRight(m.b.String(), "\n")+"\n")
	return err
}

// changesPage is a comparison for the template.
type changesPage struct {
	Title, Policy, Note string
	Style               template.CSS
	Targets             []changesView
}

type changesView struct {
	ID, Headline, Class, Before, After string
	Items                              []Change
}

// ChangesHTML writes a comparison as a page; see HTML.
func ChangesHTML(w io.Writer, list []TargetChange, _ Options) error {
	page := changesPage{
		Title: "tcpwhy: what changed at " + count(len(list), "target", "targets"),
		Style: template.CSS(htmlSheet), Policy: htmlstyle.Policy(htmlSheet, ""),
	}
	if anyRedacted(list) {
		page.Note = redactedNote
	}
	p := newPage(Options{Unicode: true})
	for i := range list {
		c := &list[i]
		v := changesView{Headline: p.clean(c.headline()), Class: "part"}
		if c.After != nil {
			v.Class, v.After = outcomeClass(c.After.Outcome), started(c.After)
		}
		if c.Before != nil {
			v.Before = started(c.Before)
		}
		for _, item := range c.Items {
			v.Items = append(v.Items, Change{What: p.clean(item.What), Before: p.clean(item.Before), After: p.clean(item.After)})
		}
		page.Targets = append(page.Targets, v)
	}
	return writePage(w, "changes", page)
}
