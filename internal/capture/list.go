package capture

import (
	"iter"
	"slices"
)

const (
	listBits = 13
	listRun  = 1 << listBits
)

// list grows without moving what it holds: a slice of this size that grows
// leaves several times as much garbage.
type list[T any] struct {
	runs [][]T
	n    int
}

func (l *list[T]) add(v T) {
	if l.n&(listRun-1) == 0 {
		l.runs = append(l.runs, make([]T, 0, listRun))
	}
	run := &l.runs[l.n>>listBits]
	*run = append(*run, v)
	l.n++
}

func (l *list[T]) at(i int) *T { return &l.runs[i>>listBits][i&(listRun-1)] }

// all gives what the list holds, in order.
func (l *list[T]) all() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for _, run := range l.runs {
			for i := range run {
				if !yield(&run[i]) {
					return
				}
			}
		}
	}
}

// take gives all as one slice, and empties the list.
func (l *list[T]) take() []T {
	out := slices.Concat(l.runs...)
	*l = list[T]{}
	return out
}
