// Package collect holds what every collector is given: the clock of the run
// and the parts of the request that bear on how packets are sent. The
// collectors themselves are the packages below it, one question each; they may
// import this package, evidence, flow and the mechanics, and not each other.
package collect

import (
	"net/netip"
	"time"
)

// Clock gives times as offsets from the start of a run.
type Clock struct{ start time.Time }

// NewClock starts a clock.
func NewClock() Clock { return Clock{time.Now()} }

// Start is the moment the clock was started.
func (c Clock) Start() time.Time { return c.start }

// Now is the time since the start.
func (c Clock) Now() time.Duration { return time.Since(c.start) }

// Since is the offset of a moment from the start, by the monotonic clock where
// t has one.
func (c Clock) Since(t time.Time) time.Duration { return t.Sub(c.start) }

// Env is what every collector gets.
type Env struct {
	Clock Clock
	// Source and SourcePort bind the client's side; zero lets the kernel choose.
	Source     netip.Addr
	SourcePort uint16
	// Interface binds to a network interface (SO_BINDTODEVICE); "" is any.
	Interface string
}
