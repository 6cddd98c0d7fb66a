package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tcpwhy/tcpwhy/internal/judge"
	"github.com/tcpwhy/tcpwhy/internal/lab"
)

// labsAtOnce is how many labs run at a time on two processors: they wait most of
// the time. Verdicts are the same with 16 and with 6.
const labsAtOnce = 12

// matrixFlags are those of lab matrix.
type matrixFlags struct {
	labFlags
	talk
	stage    string
	parallel int
}

func (l *labs) matrix() *cobra.Command {
	f := &matrixFlags{}
	cmd := &cobra.Command{
		Use:   "matrix [NAME...]",
		Short: "Judge tcpwhy on all faults, families and privileges",
		Long: `Make every fault for IPv4 and IPv6, diagnose it as an ordinary user and as root,
and hold each answer against the truth. An answer is sound if the truth is among
what it leaves, and a certain one is the truth. It is sharp if no more is left
than the best possible answer leaves.

It exits with 1 if an answer is not sound, or there is none.`,
		Example: `  tcpwhy lab matrix
  tcpwhy lab matrix --stage listener -4
  tcpwhy lab matrix no-listener host-down -o json`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeLab(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			cases, err := f.cases(args)
			if err != nil {
				return err
			}
			return l.isolated(cmd, args, nil, func(ctx context.Context) error { return l.judgeAll(ctx, f, cases) })
		},
	}
	f.common(cmd.Flags())
	f.bothSides(cmd.Flags())
	stageFlag(cmd, &f.stage)
	cmd.Flags().IntVar(&f.parallel, "parallel", labsAtOnce, "make `N` labs at a time")
	f.talk.flags(cmd, "")
	return cmd
}

// cases are those that the flags and names leave.
func (f *matrixFlags) cases(args []string) ([]judge.Case, error) {
	if err := errors.Join(f.labFlags.check(), f.talk.check()); err != nil {
		return nil, err
	}
	if f.parallel < 1 || f.parallel > 64 {
		return nil, &usageError{"--parallel must be between 1 and 64", fmt.Sprintf("For example: --parallel %d", labsAtOnce)}
	}
	scenarios, err := atStage(f.stage)
	if err != nil {
		return nil, err
	}
	if len(args) > 0 {
		var named []lab.Scenario
		for _, arg := range args {
			s, others, err := choose(arg)
			if err != nil {
				return nil, err
			}
			named = append(named, s)
			if s.Cause == arg { // all of a cause
				for _, n := range others {
					if o, ok := lab.Find(n); ok {
						named = append(named, o)
					}
				}
			}
		}
		if f.stage != "" {
			named = slices.DeleteFunc(named, func(s lab.Scenario) bool { return s.Stage != f.stage })
		}
		scenarios = named
	}
	vantages := judge.Vantages
	if v := f.vantage(""); v != "" {
		vantages = []judge.Vantage{v}
	}
	cases := slices.DeleteFunc(judge.Cases(scenarios, vantages...), func(c judge.Case) bool {
		return f.ipv4 && c.Family != lab.V4 || f.ipv6 && c.Family != lab.V6
	})
	if len(cases) == 0 {
		return nil, &usageError{"no case is left by these names and flags", "Leave one of them out. What there is is listed by: tcpwhy lab list"}
	}
	return cases, nil
}

// matrixDocument is the JSON of lab matrix.
type matrixDocument struct {
	Schema      string                        `json:"schema"`
	Interrupted bool                          `json:"interrupted,omitempty"`
	Scores      map[judge.Vantage]judge.Score `json:"scores"`
	Results     []judge.Result                `json:"results"`
}

func (l *labs) judgeAll(ctx context.Context, f *matrixFlags, cases []judge.Case) error {
	doc := matrixDocument{Schema: "tcpwhy.lab-matrix/1", Scores: map[judge.Vantage]judge.Score{}, Results: []judge.Result{}}
	board := newScoreboard(l.host.Stderr, cases, l.host.Live)
	err := judge.Matrix(ctx, cases, f.parallel, program, func(r judge.Result) {
		s := doc.Scores[r.Vantage]
		s.Add(r)
		doc.Scores[r.Vantage] = s
		doc.Results = append(doc.Results, r)
		board.add(r)
	})
	board.done()
	doc.Interrupted = err != nil
	out := bufio.NewWriter(l.host.Stdout)
	if f.output == "json" {
		if err := json.NewEncoder(out).Encode(doc); err != nil {
			return err
		}
	} else {
		matrixText(out, l.host.width(), &doc)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for _, s := range doc.Scores {
		if s.Failed > 0 || s.Sound < s.Judged() {
			l.code = exitFails
		}
	}
	if doc.Interrupted {
		return l.interrupted()
	}
	return nil
}

// matrixText prints the scores, and each answer that is not what it should be.
func matrixText(out *bufio.Writer, width int, doc *matrixDocument) {
	fmt.Fprintf(out, "%-10s%7s%16s%16s%10s%8s\n", "vantage", "cases", "sound", "sharp", "not made", "failed")
	for _, v := range []judge.Vantage{judge.Ordinary, judge.Root, judge.WithHost} {
		if s, ok := doc.Scores[v]; ok {
			fmt.Fprintf(out, "%-10s%7d%16s%16s%10d%8d\n", v, s.Cases, share(s.Sound, s.Judged()), share(s.Sharp, s.Judged()), s.Unsupported, s.Failed)
		}
	}
	for _, group := range []struct {
		head string
		why  func(judge.Result) string
	}{
		{"FAILED: there was no answer to judge", func(r judge.Result) string { return r.Error }},
		{"UNSOUND", func(r judge.Result) string {
			if !judgedResult(r) || r.Sound {
				return ""
			}
			return r.Certainty + ": " + strings.Join(r.Left, ", ") + "; " + r.Finding
		}},
		{"NOT SHARP: left beyond the best possible answer", func(r judge.Result) string {
			if !judgedResult(r) || r.Sharp {
				return ""
			}
			if r.Why != "" {
				return strings.Join(r.Extra, ", ") + ": " + r.Why
			}
			return strings.Join(r.Extra, ", ")
		}},
		{"NOT MADE: this kernel or user cannot", func(r judge.Result) string { return r.Unsupported }},
	} {
		head := group.head
		for _, r := range doc.Results {
			if why := group.why(r); why != "" {
				if head != "" {
					fmt.Fprintf(out, "\n%s\n", head)
					head = ""
				}
				fmt.Fprintf(out, "  %s\n", caseName(r))
				fmt.Fprintf(out, "    %s\n", strings.Join(wrap(why, width-4), "\n    "))
			}
		}
	}
}

func judgedResult(r judge.Result) bool { return r.Error == "" && r.Unsupported == "" }

func caseName(r judge.Result) string {
	return fmt.Sprintf("%s/%v/%s", r.Scenario, lab.Family(r.Family), r.Vantage)
}

// share is "12 (100 %)". It never says 100 % of less than all.
func share(n, of int) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%d (%d %%)", n, n*100/of)
}

// scoreboard shows how far the matrix is: as a table that changes in place on a
// terminal, else with a line for each case.
type scoreboard struct {
	w      io.Writer
	live   bool
	stages []string
	total  map[string]int
	scores map[string]judge.Score
	all    judge.Score
	cases  int
	shown  int // lines on the screen
}

func newScoreboard(w io.Writer, cases []judge.Case, live bool) *scoreboard {
	b := &scoreboard{w: w, live: live, total: map[string]int{}, scores: map[string]judge.Score{}, cases: len(cases)}
	for _, c := range cases {
		if !slices.Contains(b.stages, c.Scenario.Stage) {
			b.stages = append(b.stages, c.Scenario.Stage)
		}
		b.total[c.Scenario.Stage]++
	}
	if live {
		b.show(judge.Result{})
	}
	return b
}

func (b *scoreboard) add(r judge.Result) {
	s := b.scores[r.Stage]
	s.Add(r)
	b.scores[r.Stage] = s
	b.all.Add(r)
	if b.live {
		b.show(r)
		return
	}
	word := "sharp"
	switch {
	case r.Error != "":
		word = "failed"
	case r.Unsupported != "":
		word = "not made"
	case !r.Sound:
		word = "UNSOUND"
	case !r.Sharp:
		word = "sound"
	}
	fmt.Fprintf(b.w, "%4d/%d %-9s%s\n", b.all.Cases, b.cases, word, caseName(r))
}

// show writes the table over the one before. Lines fit 80 columns, and names are
// ours: nothing wraps, and nothing needs to be escaped.
func (b *scoreboard) show(last judge.Result) {
	var t strings.Builder
	if b.shown > 0 {
		fmt.Fprintf(&t, "\r\x1b[%dA", b.shown)
	}
	b.shown = 0
	put := func(format string, args ...any) {
		fmt.Fprintf(&t, "\x1b[2K"+format+"\n", args...)
		b.shown++
	}
	put("%-10s%10s%8s%8s%10s%8s", "stage", "done", "sound", "sharp", "not made", "failed")
	row := func(name string, s judge.Score, total int) {
		put("%-10s%10s%8d%8d%10d%8d", name, fmt.Sprintf("%d/%d", s.Cases, total), s.Sound, s.Sharp, s.Unsupported, s.Failed)
	}
	for _, stage := range b.stages {
		row(stage, b.scores[stage], b.total[stage])
	}
	row("all", b.all, b.cases)
	if last.Scenario != "" {
		put("%.78s", caseName(last))
	} else {
		put("")
	}
	io.WriteString(b.w, t.String()) // an error of progress is of no concern
}

// done removes the table: the answer says more.
func (b *scoreboard) done() {
	if b.live && b.shown > 0 {
		fmt.Fprintf(b.w, "\r\x1b[%dA\x1b[J", b.shown) // a Ctrl-C leaves its ^C before the cursor
	}
}
