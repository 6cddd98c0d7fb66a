package capture

import (
	"bytes"
	"io"
	"iter"
	"sync"
)

// Connections gives the connections that are selected with their facts and
// verdicts, in the order of the capture. Several goroutines prepare them. What
// the verdicts hold is shared between them and must not be changed.
func (r *Result) Connections(f Filter, which Select) iter.Seq[*Connection] {
	prepare := func(run []int) (out []*Connection) {
		for _, i := range run {
			out = append(out, r.connection(i))
		}
		return out
	}
	return func(yield func(*Connection) bool) {
		for run := range ordered(r.workers, r.runs(f, which), prepare) {
			for _, c := range run {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// Render writes the connections that are selected, in the order of the capture.
// Several goroutines at a time call one, which writes a connection. It ends with
// the first error, behind all that comes before that connection.
func (r *Result) Render(w io.Writer, f Filter, which Select, one func(io.Writer, *Connection) error) error {
	type text struct {
		bytes.Buffer
		err error
	}
	used := sync.Pool{New: func() any { return &text{} }}
	write := func(run []int) *text {
		t := used.Get().(*text)
		t.Reset()
		for _, i := range run {
			if t.err = one(t, r.connection(i)); t.err != nil {
				break
			}
		}
		return t
	}
	for t := range ordered(r.workers, r.runs(f, which), write) {
		if _, err := t.WriteTo(w); err != nil {
			return err
		}
		if t.err != nil {
			return t.err
		}
		used.Put(t)
	}
	return nil
}

// runs gives the places in book.kept of the connections that are selected, in
// order, some at a time.
func (r *Result) runs(f Filter, which Select) iter.Seq[[]int] {
	const most = 64
	m := r.matcher(f)
	return func(yield func([]int) bool) {
		var run []int
		for i := range r.book.kept {
			if !r.selects(m, which, i) {
				continue
			}
			if run = append(run, i); len(run) == most {
				if !yield(run) {
					return
				}
				run = nil
			}
		}
		if len(run) > 0 {
			yield(run)
		}
	}
}

// ordered gives what do makes of each run, in the order of the runs, though
// several goroutines do it. They are a few runs ahead of who takes the results,
// and over when it returns.
func ordered[T any](workers int, runs iter.Seq[[]int], do func([]int) T) iter.Seq[T] {
	type job struct {
		run  []int
		done chan T
	}
	return func(yield func(T) bool) {
		workers := max(workers, 1)
		jobs, results, stop := make(chan job), make(chan chan T, 2*workers), make(chan struct{})
		var wg sync.WaitGroup
		defer wg.Wait()
		defer close(stop)
		for range workers {
			wg.Go(func() {
				for j := range jobs {
					j.done <- do(j.run)
				}
			})
		}
		wg.Go(func() {
			defer close(results)
			defer close(jobs)
			for run := range runs {
				j := job{run, make(chan T, 1)} // whoever makes it never waits
				select {
				case results <- j.done:
				case <-stop:
					return
				}
				select {
				case jobs <- j:
				case <-stop:
					return
				}
			}
		})
		for done := range results {
			if !yield(<-done) {
				return
			}
		}
	}
}
