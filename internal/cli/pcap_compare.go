package cli

import (
	"bufio"
	"context"
	"fmt"

	"github.com/tcpwhy/tcpwhy/internal/capdiff"
	"github.com/tcpwhy/tcpwhy/internal/capture"
	"github.com/tcpwhy/tcpwhy/internal/report"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// checkCompare says what is wrong with the flags of a comparison.
func (f *pcapFlags) checkCompare(args []string) error {
	switch {
	case f.complete && !f.compare:
		return &usageError{"--complete is about two captures that are compared", "Add --compare, and name two files."}
	case !f.compare:
		return nil
	case f.fileSet:
		return &usageError{"--compare takes one capture of each side, and --file-set makes one of all", "Join the files of each side first: mergecap -w client.pcapng client.pcap*"}
	case len(args) != 2:
		return &usageError{fmt.Sprintf("--compare takes two captures, and %d given", len(args)), "Name that of the client's side first: tcpwhy pcap client.pcapng server.pcapng --compare"}
	case args[0] == "-" || args[1] == "-":
		return &usageError{"--compare reads each capture more than once, which standard input cannot be", "Write it to a file first."}
	case sameFile(args[0], args[1]):
		return &usageError{"--compare is given one capture twice", "Name that of the client's side and that of the server's."}
	case f.follow || f.write != "":
		return &usageError{"--compare excludes --follow and --write", "Leave them out."}
	case f.output == "csv":
		return &usageError{"--compare has no CSV output", "Formats are: text, json."}
	}
	return nil
}

// compareCaptures does the work of --compare.
func (a *app) compareCaptures(ctx context.Context, f *pcapFlags, args []string) (err error) {
	sources, err := a.sources(ctx, args, false)
	if err != nil {
		return err
	}
	var results [2]*capture.Result
	for i := range sources {
		o := capture.Options{Parallelism: f.parallel, MaxConnections: f.most, All: true}
		if results[i], err = capture.Analyze(ctx, sources[i:i+1], o); err != nil {
			return a.unreadable(err)
		}
		a.warn(ctx, results[i])
	}
	c := &comparing{app: a, flags: f, sides: capture.NewSides(results[0], results[1])}
	chosen, err := f.selection(results)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(a.host.Stdout, 1<<16)
	defer func() { err = flush(out, err) }()
	c.out = out
	r, err := capdiff.Compare(ctx, [2]capdiff.Source{
		{Name: sources[0].Name, Open: sources[0].Open}, {Name: sources[1].Name, Open: sources[1].Open},
	}, capdiff.Options{Parallelism: f.parallel, MaxConnections: f.most, Complete: f.complete, Select: chosen, Pair: c.pair})
	if err != nil {
		return a.unreadable(err)
	}
	return c.finish(r)
}

// selection is what the flags select, by the client's view of a connection.
func (f *pcapFlags) selection(results [2]*capture.Result) (func(*capdiff.Pair) bool, error) {
	by, err := f.filter(results[0].Total.First)
	if err != nil {
		return nil, err
	}
	by.Cause = "" // known later
	return func(p *capdiff.Pair) bool {
		x := p.Flow[tcpflow.Client]
		if x == nil {
			x = p.Flow[tcpflow.Server]
		}
		c := &capture.Connection{Client: x.Client, Server: x.Server, First: x.First}
		return results[0].Selects(by, c) || results[1].Selects(by, c) // either may hold the lookup
	}, nil
}

// comparing is one comparison and its output.
type comparing struct {
	*app
	flags *pcapFlags
	sides *capture.Sides
	out   *bufio.Writer
	// told are the comparisons that are shown, bounded; counts those of all.
	told   []report.Compared
	untold int
	counts report.ComparedCounts
}

// pair judges a connection, and keeps it if it is to be shown.
func (c *comparing) pair(p *capdiff.Pair) error {
	brief := c.sides.Brief(p)
	if brief == nil {
		return nil
	}
	if id := verdict.CauseID(c.flags.cause); id != "" && brief.Verdict.Cause != id {
		return nil
	}
	c.counts.Add(p, brief)
	failed := brief.State == capture.Failed || brief.State == capture.Impaired
	show := c.flags.all || failed || !c.flags.failed && report.Notable(p)
	switch {
	case !show:
	case c.flags.output == "json":
		return report.ComparedJSON(c.out, p, c.sides.Connection(p), c.flags.verbose || failed)
	case len(c.told) < report.MaxCompared:
		c.told = append(c.told, report.NewCompared(p, c.sides.Connection(p)))
	default:
		c.untold++
	}
	return nil
}

// finish writes the summary, in JSON behind the connections, and sets the exit
// code.
func (c *comparing) finish(r *capdiff.Result) error {
	switch n := &c.counts; {
	case n.Failed == 0:
		c.code = exitWorks
	case n.Explained:
		c.code = exitFails
	default:
		c.code = exitNotSure
	}
	if c.flags.output == "json" {
		return report.ComparisonJSON(c.out, r, &c.counts)
	}
	return report.Comparison(c.out, r, &c.counts, c.told, c.untold, c.options(c.flags.verbose, c.flags.quiet))
}
