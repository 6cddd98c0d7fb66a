package cli

import (
	"bufio"
	"fmt"
	"io"

	"github.com/tcpwhy/tcpwhy/internal/capture"
	"github.com/tcpwhy/tcpwhy/internal/report"
)

// pcapOutput writes what captures hold.
type pcapOutput struct {
	app     *app
	flags   *pcapFlags
	out     *bufio.Writer
	options report.Options
	filter  capture.Filter
	table   *report.CaptureCSV
	err     error // of writing while the capture is read
}

// result writes the whole answer, and sets the exit code.
func (p *pcapOutput) result(r *capture.Result) error {
	var err error
	if p.filter, err = p.flags.filter(r.Total.First); err != nil {
		return err
	}
	s := r.Summarize(p.filter, report.MaxGroups)
	switch {
	case s.Failed == 0:
		p.app.code = exitWorks
	case s.Explained:
		p.app.code = exitFails
	default:
		p.app.code = exitNotSure
	}
	if p.err != nil {
		return p.err
	}
	which := capture.OnlyFailed
	if p.flags.all {
		which = capture.Everything
	}
	switch p.flags.output {
	case "json":
		return p.json(r, s, which)
	case "csv":
		return p.csv(r, which)
	}
	return p.text(r, s, which)
}

func (p *pcapOutput) text(r *capture.Result, s *capture.Summary, which capture.Select) error {
	if p.flags.follow {
		fmt.Fprintln(p.out)
	}
	lines := (p.flags.failed || p.flags.all) && !p.options.Quiet
	write := report.CaptureText
	if lines {
		write = report.CaptureSummary
	}
	if err := write(p.out, r, s, p.options); err != nil || !lines {
		return err
	}
	io.WriteString(p.out, "\n")
	for b := range r.Briefs(p.filter, which) {
		if err := report.CaptureLine(p.out, &b, p.options); err != nil {
			return err
		}
	}
	return nil
}

func (p *pcapOutput) json(r *capture.Result, s *capture.Summary, which capture.Select) error {
	if err := report.CaptureSummaryJSON(p.out, r, s); err != nil || p.flags.quiet || p.flags.follow {
		return err
	}
	return r.Render(p.out, p.filter, which, report.CaptureJSON)
}

func (p *pcapOutput) csv(r *capture.Result, which capture.Select) error {
	if p.flags.follow {
		return nil // each was written when it was settled
	}
	table := report.NewCaptureCSV(p.out)
	for b := range r.Briefs(p.filter, which) {
		if err := table.Write(&b); err != nil {
			return err
		}
	}
	return table.Flush()
}

// settled writes a failed connection of a capture that grows.
func (p *pcapOutput) settled(c *capture.Connection, r *capture.Result) {
	if p.err != nil {
		return
	}
	f, err := p.flags.filter(r.Began())
	if err == nil && !r.Selects(f, c) || p.flags.quiet {
		return
	}
	b := c.Brief()
	switch p.flags.output {
	case "json":
		p.err = report.CaptureJSON(p.out, c)
	case "csv":
		if p.table == nil {
			p.table = report.NewCaptureCSV(p.out)
		}
		if p.err = p.table.Write(&b); p.err == nil {
			p.err = p.table.Flush()
		}
	default:
		p.err = report.CaptureLine(p.out, &b, p.options)
	}
	if p.err == nil {
		p.err = p.out.Flush()
	}
}
