package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"sync"

	"github.com/tcpwhy/tcpwhy/internal/htmlstyle"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

//go:embed html/report.css
var reportCSS string

//go:embed html/report.gohtml
var reportHTML string

var htmlSheet = htmlstyle.Sheet(reportCSS)

// htmlTemplate is parsed when it is first asked for: most reports are text.
var htmlTemplate = sync.OnceValue(func() *template.Template { return template.Must(template.New("report").Parse(reportHTML)) })

// What a page shows of anything at most; what is left out is counted.
const (
	mostTargets = 200
	mostBlocks  = 10
	mostRows    = 300
)

// HTML writes diagnoses as one page that is complete in itself: no script, no
// outside asset, and a policy that forbids both. The answer is on top; several
// targets begin with an overview. Of o it uses Titles.
func HTML(w io.Writer, list []*verdict.Diagnosis, o Options) error {
	o.Unicode, o.Verbose, o.Width = true, true, 0
	page := htmlPage{
		Style: template.CSS(htmlSheet), Policy: htmlstyle.Policy(htmlSheet, ""),
		Many: len(list) > 1,
	}
	for i, d := range list {
		if i == mostTargets {
			page.More = len(list) - i
			break
		}
		page.Targets = append(page.Targets, newTargetView(d, i+1, o))
		page.Redacted = page.Redacted || d.Redacted
	}
	page.Title = "tcpwhy: no target"
	switch len(list) {
	case 0:
	case 1:
		page.Title = "tcpwhy: " + page.Targets[0].Name + " " + page.Targets[0].Experience
	default:
		page.Title = "tcpwhy: " + count(len(list), "target", "targets")
	}
	if page.Redacted {
		page.Note = redactedNote
	}
	return writePage(w, "page", page)
}

// writePage writes a page of the template whole or not at all.
func writePage(w io.Writer, name string, data any) error {
	var b bytes.Buffer
	if err := htmlTemplate().ExecuteTemplate(&b, name, data); err != nil {
		return fmt.Errorf("report: making the page: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// htmlPage is what the template shows.
type htmlPage struct {
	Title, Policy, Note string
	Style               template.CSS
	Many, Redacted      bool
	Targets             []targetView
	More                int
}
