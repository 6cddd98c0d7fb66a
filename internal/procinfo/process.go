package procinfo

import (
	"strconv"
	"strings"
	"time"
)

// Process is one process. What could not be read is zero.
type Process struct {
	PID int
	// Name is the command name, at most 64 characters, Command the command line
	// as Command gives it; both are safe to print.
	Name, Command string
	Started       time.Time
	// Unit and Container are as Cgroup gives them.
	Unit, Container string
}

const (
	maxName    = 64  // characters of a name
	maxCommand = 512 // characters of a command line
	maxRead    = 8 << 10
)

// visible makes printable ASCII of s and cuts it to limit characters: control
// characters, backslashes and what is not ASCII become escapes as in Go.
func visible(s string, limit int) string {
	q := strconv.QuoteToASCII(s[:min(len(s), 4*limit)])
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	if len(q) > limit {
		q = q[:limit-3] + "..."
	}
	return q
}
