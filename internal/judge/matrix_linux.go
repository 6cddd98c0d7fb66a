package judge

import (
	"context"
	"sync"
)

// Score counts results of one vantage, or of all.
type Score struct {
	Cases       int `json:"cases"`
	Sound       int `json:"sound"`
	Sharp       int `json:"sharp"`
	Unsupported int `json:"unsupported"`
	Failed      int `json:"failed"` // the lab or the program failed
}

// Add counts a result.
func (s *Score) Add(r Result) {
	s.Cases++
	switch {
	case r.Unsupported != "":
		s.Unsupported++
		return
	case r.Error != "":
		s.Failed++
		return
	}
	if r.Sound {
		s.Sound++
	}
	if r.Sharp {
		s.Sharp++
	}
}

// Judged is how many cases there was a verdict for.
func (s Score) Judged() int { return s.Cases - s.Unsupported - s.Failed }

// Matrix judges the cases, some at a time, and hands each result to done, one
// after the other, as it comes. It ends early with ctx, whose error it returns.
func Matrix(ctx context.Context, cases []Case, parallel int, program string, done func(Result)) error {
	var (
		next = make(chan Case)
		out  = make(chan Result)
		wg   sync.WaitGroup
	)
	for range max(parallel, 1) {
		wg.Go(func() {
			for c := range next {
				out <- Try(ctx, c, program)
			}
		})
	}
	go func() {
		defer close(out)
		defer wg.Wait()
		defer close(next)
		for _, c := range cases {
			select {
			case next <- c:
			case <-ctx.Done():
				return
			}
		}
	}()
	for r := range out {
		if ctx.Err() == nil { // a run that was cut short says nothing
			done(r)
		}
	}
	return ctx.Err()
}
