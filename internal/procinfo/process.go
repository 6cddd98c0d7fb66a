package procinfo

import (
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
