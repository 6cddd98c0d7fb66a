package capture

import "iter"

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

func (l *list[T]) add(v T) *T {
	if l.n&(listRun-1) == 0 {
		l.runs = append(l.runs, make([]T, 0, listRun))
	}
	run := &l.runs[l.n>>listBits]
	*run = append(*run, v)
	l.n++
	return &(*run)[len(*run)-1]
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
