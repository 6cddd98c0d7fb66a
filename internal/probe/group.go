package probe

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// group runs functions at the same time. A panic of one reaches who waits, with
// the stack of where it was, so that the program can end with a word about it.
type group struct {
	wait  sync.WaitGroup
	once  sync.Once
	panic string
}

func (g *group) Go(f func()) {
	g.wait.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				g.once.Do(func() { g.panic = fmt.Sprintf("%v\n%s", p, debug.Stack()) })
			}
		}()
		f()
	})
}

func (g *group) Wait() {
	g.wait.Wait()
	if g.panic != "" {
		panic(g.panic)
	}
}
