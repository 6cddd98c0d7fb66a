package report

import (
	"io"
	"strings"
	"sync"
	"time"
)

// Progress is a line on a terminal that shows what is being done and for how
// long. It is written over in place and leaves nothing behind. Its methods may
// be called from several goroutines.
type Progress struct {
	mu     sync.Mutex // for step alone: nobody who works waits for the terminal
	step   string
	screen sync.Mutex // for w and shown
	w      io.Writer
	width  int
	shown  int // columns on the screen
	start  time.Time
	stop   chan struct{}
	ended  chan struct{}
	once   sync.Once
}

// refresh is the time between two versions of the line. A run that is over
// before the first never shows it.
const refresh = 100 * time.Millisecond

// Live begins a progress line on w, which must be a terminal of width columns
// (0 means 80). Done must be called to end it.
func Live(w io.Writer, width int) *Progress {
	if width <= 0 {
		width = defaultWidth
	}
	p := &Progress{w: w, width: width, start: time.Now(), stop: make(chan struct{}), ended: make(chan struct{})}
	go p.run()
	return p
}

// Step says what is being done now.
func (p *Progress) Step(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step = escape(text, true, maxText)
}

// Aside calls f, which may write to the same terminal, while the line is off the
// screen. It does so without a line, too: p may be nil. f must not call Done.
func (p *Progress) Aside(f func() error) error {
	if p == nil {
		return f()
	}
	p.screen.Lock()
	defer p.screen.Unlock()
	p.show("")
	return f()
}

// Done erases the line and ends it: when it returns, nothing more is written.
// Further calls do nothing.
func (p *Progress) Done() {
	p.once.Do(func() { close(p.stop) })
	<-p.ended
}

func (p *Progress) run() {
	defer close(p.ended)
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			p.screen.Lock()
			p.show("")
			p.screen.Unlock()
			return
		case <-tick.C:
			p.mu.Lock()
			step := p.step
			p.mu.Unlock()
			// A line as long as the terminal is wide would wrap.
			p.screen.Lock()
			p.show(cut(duration(time.Since(p.start).Truncate(refresh))+"  "+step, p.width-1))
			p.screen.Unlock()
		}
	}
}

// show replaces the line; screen is held. An error in writing progress is of no concern.
func (p *Progress) show(line string) {
	n := cells(line)
	if p.shown == 0 && n == 0 {
		return
	}
	blank := strings.Repeat(" ", max(0, p.shown-n))
	text := "\r" + line + blank
	if n == 0 {
		text += "\r"
	}
	_, _ = io.WriteString(p.w, text)
	p.shown = n
}
