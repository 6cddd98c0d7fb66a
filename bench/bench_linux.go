package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/lab"
)

const (
	// slow is the time of a run from which on a tool gets only slowRuns of them.
	slow     = 5 * time.Second
	slowRuns = 3
)

// bench is one call of this program.
type bench struct {
	options
	dir      string
	log      io.Writer
	tcpwhy   string // its path
	launcher string
	size     int64 // of tcpwhy, bytes
	machine  computer
}

// measure measures every case: those that take processor time one after the
// other, then those that wait side by side, each in a lab of its own.
func (b *bench) measure(ctx context.Context) (*results, error) {
	r := &results{Machine: b.machine, Runs: b.runs, LeftOut: b.leftOut, BinaryBytes: b.size, Cases: make([]result, len(b.cases))}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	one := func(i int) {
		s := &b.cases[i]
		fmt.Fprintf(b.log, "%s: begins\n", s.label())
		res, err := b.scene(ctx, s)
		if err != nil {
			cancel(fmt.Errorf("%s: %w", s.label(), err))
			return
		}
		r.Cases[i] = *res
		fmt.Fprintf(b.log, "%s: done\n", s.label())
	}
	for i, s := range b.cases {
		if !s.waits && ctx.Err() == nil {
			one(i)
		}
	}
	var wg sync.WaitGroup
	for i, s := range b.cases {
		if s.waits && ctx.Err() == nil {
			wg.Go(func() { one(i) })
		}
	}
	wg.Wait()
	return r, context.Cause(ctx)
}

// scene builds the lab of a case and measures every tool in it, in turn, so
// that what changes on the machine meanwhile changes for all.
func (b *bench) scene(ctx context.Context, s *scene) (_ *result, err error) {
	made, ok := lab.Find(s.scenario)
	if !ok {
		return nil, fmt.Errorf("the lab has no scenario %s", s.scenario)
	}
	l, err := lab.Open(ctx, made, s.family, lab.Params{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := l.Verify(ctx); err != nil {
		return nil, err
	}
	res := &result{Name: s.Name, label: s.label(), limits: s.limits, LimitUserMS: ms(s.limits.User), LimitRootMS: ms(s.limits.Root)}
	if s.args == nil {
		res.Target = l.Target()
	}
	for _, t := range b.tools {
		if t.program != "" && s.args != nil {
			continue
		}
		if t.program == "" && s.outcome != "" {
			if err := b.check(ctx, l, s, t); err != nil {
				return nil, err
			}
		}
		res.Tools = append(res.Tools, measured{Tool: t.Name, tool: t})
	}
	for round := range b.runs {
		for i := range res.Tools {
			m := &res.Tools[(i+round)%len(res.Tools)] // each goes first at times
			if len(m.samples) >= slowRuns && m.samples[0].Elapsed > slow {
				continue
			}
			got, err := b.once(l, s, m.tool)
			if err != nil {
				return nil, fmt.Errorf("run %s: %w", m.Tool, err)
			}
			m.samples = append(m.samples, got)
			if err := pause(ctx, s.settle); err != nil {
				return nil, err
			}
		}
	}
	for i := range res.Tools {
		res.Tools[i].summarise(s.limits)
	}
	return res, nil
}

// check makes sure that tcpwhy finds the right outcome, and warms it up.
func (b *bench) check(ctx context.Context, l *lab.Lab, s *scene, t tool) error {
	out, err := l.Command(lab.Client, !t.root, b.tcpwhy, "-o", "json", l.Target()).Output()
	if len(out) == 0 {
		return fmt.Errorf("tcpwhy gave no answer: %w", err)
	}
	var a struct{ Outcome string }
	if err := json.Unmarshal(out, &a); err != nil {
		return fmt.Errorf("the answer of tcpwhy: %w", err)
	}
	if a.Outcome != s.outcome {
		return fmt.Errorf("tcpwhy says %q as %s, the outcome is %q: %s", a.Outcome, t.Name, s.outcome, out)
	}
	return pause(ctx, s.settle)
}

// once runs a tool in the lab.
func (b *bench) once(l *lab.Lab, s *scene, t tool) (got sample, err error) {
	program, args := b.tcpwhy, s.args
	switch {
	case t.program != "":
		if program, err = exec.LookPath(t.program); err != nil {
			return got, err
		}
		args = t.args(l.Dst())
	case args == nil:
		args = []string{l.Target()}
	}
	cmd := l.Command(lab.Client, !t.root, b.launcher, slices.Concat([]string{launchFlag, program}, args)...)
	// The launcher ends its program when this pipe closes, also because we are
	// no more.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return got, err
	}
	cmd.Cancel = stdin.Close
	out, err := cmd.Output()
	if err != nil {
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && len(exit.Stderr) > 0 {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return got, err
	}
	if err := json.Unmarshal(out, &got); err != nil {
		return got, err
	}
	if t.program == "" && !t.worked(got) {
		return got, fmt.Errorf("exit code %d", got.Exit)
	}
	return got, nil
}

func pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
