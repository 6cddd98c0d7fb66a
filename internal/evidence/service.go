package evidence

import (
	"net/netip"
	"time"
)

// Service is what the host's service manager, containers and logs say about who
// should listen on the port.
type Service struct {
	At         time.Duration `json:"at"`
	Units      []Unit        `json:"units,omitempty"`
	Containers []Container   `json:"containers,omitempty"`
	// Log are the last lines that have to do with the port or its service,
	// oldest first.
	Log []LogLine `json:"log,omitempty"`
}

// Unit is a unit of systemd, org.freedesktop.systemd1(5).
type Unit struct {
	Name string `json:"name"`
	// Why says how the unit is known to belong to the port: "owns the listener",
	// "usual for port 5432", "its log names the port", "asked for".
	Why    string `json:"why"`
	Active string `json:"active"`           // ActiveState: "active", "failed", "activating", …
	Sub    string `json:"sub"`              // SubState: "running", "auto-restart", …
	Result string `json:"result,omitempty"` // "success", "exit-code", "signal", "oom-kill", …
	// ExitCode is how the main process ended last ("exited", "killed", "dumped",
	// "" while it never did), ExitStatus its status or signal number.
	ExitCode   string    `json:"exit_code,omitempty"`
	ExitStatus int       `json:"exit_status,omitempty"`
	Restarts   int       `json:"restarts"` // NRestarts
	MainPID    int       `json:"main_pid,omitempty"`
	Since      time.Time `json:"since,omitzero"` // StateChangeTimestamp
	// Listens are the addresses of a socket unit.
	Listens []string `json:"listens,omitempty"`
}

// Container is a container as its engine tells it.
type Container struct {
	Engine string `json:"engine"` // "docker", "podman", "containerd"
	ID     string `json:"id"`     // first 12 digits
	Name   string `json:"name"`
	Image  string `json:"image,omitempty"`
	State  string `json:"state"` // "running", "exited", "restarting", …
	// ExitCode of a container that ended; OOMKilled says how.
	ExitCode  int  `json:"exit_code,omitempty"`
	OOMKilled bool `json:"oom_killed,omitempty"`
	Restarts  int  `json:"restarts,omitempty"`
	PID       int  `json:"pid,omitempty"` // of its first process, on the host
	// Published are the addresses of the host that lead into the container, with
	// the container's port.
	Published []Published `json:"published,omitempty"`
	// Exposed are TCP ports that the image names, published or not.
	Exposed []uint16 `json:"exposed,omitempty"`
}

// Published is one port of a container that the host forwards.
type Published struct {
	Host netip.AddrPort `json:"host"`
	Port uint16         `json:"port"`
}

// LogLine is one line of a log, escaped and bounded.
type LogLine struct {
	Time    time.Time `json:"time"`
	Unit    string    `json:"unit,omitempty"`
	Process string    `json:"process,omitempty"`
	PID     int       `json:"pid,omitempty"`
	Text    string    `json:"text"`
	// Asked says that the line is of a log that the caller named as the service's.
	Asked bool `json:"asked,omitempty"`
	// Kind says what the line is known to mean; "" where it is not.
	Kind LogKind `json:"kind,omitempty"`
	// Addr is the address that a bind error names, if it does.
	Addr netip.AddrPort `json:"addr,omitzero"`
}

// LogKind is the meaning of a log line.
type LogKind string

// The meanings.
const (
	LogBindInUse     LogKind = "bind-in-use"        // EADDRINUSE
	LogBindDenied    LogKind = "bind-not-permitted" // EACCES
	LogBindNoAddress LogKind = "bind-no-address"    // EADDRNOTAVAIL
	LogPanic         LogKind = "panic"
	LogOOM           LogKind = "oom"
	LogExit          LogKind = "exit" // the manager says that the service ended
)
