package diagnose

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// recent is how old a log line or the end of a service may be to explain why
// nobody listens now.
const recent = 24 * time.Hour

// reason is one explanation of why nobody listens, with its text.
type reason struct {
	val  evidence.Value
	at   time.Duration
	text string
}

// service: why does nobody listen on the port? Where what was found explains it in
// two ways, no fact comes of it.
func (o *observer) service(v *hostView) {
	t := v.h.Sockets
	if t == nil || slices.ContainsFunc(t.Listeners, func(l evidence.Listener) bool {
		return l.Namespace == 0 && l.Addr.Port() == v.port && reaches(&l, v.addr)
	}) {
		return
	}
	var found []reason
	add := func(val evidence.Value, at time.Duration, text string, args ...any) {
		if !slices.ContainsFunc(found, func(r reason) bool { return r.val == val }) {
			found = append(found, reason{val, at, fmt.Sprintf(text, args...)})
		}
	}
	here := slices.IndexFunc(t.Listeners, func(l evidence.Listener) bool { return l.Namespace == 0 && l.Addr.Port() == v.port })
	if s := v.h.Service; s != nil {
		v.bindErrors(s, add)
		if len(found) == 0 && here < 0 { // a service that cannot bind ends, and is perhaps started again
			v.units(s, add)
			v.containers(s, add)
			if len(found) == 0 {
				v.exits(s, add)
			}
		}
	}
	if here >= 0 {
		// Somewhere else than where it was looked for. Who could not bind says so.
		if len(found) == 0 {
			add(evidence.ServiceRunning, t.At, "port %d is taken on %s%s", v.port, v.name(), owner(&t.Listeners[here]))
		}
		o.add(evidence.HostService, found[0].val, "host", found[0].at, "%s", found[0].text)
		return
	}
	for i := range t.Listeners {
		// Any other program there may have a port of that number.
		if l := &t.Listeners[i]; l.Namespace != 0 && l.Addr.Port() == v.port && l.Usual {
			add(evidence.ServiceOtherNS, t.At, "port %d is listened on%s in another network namespace of %s%s", v.port, owner(l), v.name(), container(l.Container))
		}
	}
	if len(found) == 0 {
		for i := range t.Others {
			l := &t.Others[i]
			if l.Namespace != 0 || !l.Usual {
				continue // it has something to do with the port, but is not its program
			}
			add(evidence.ServiceOtherPort, t.At, "on %s the program that usually has port %d listens at %v%s", v.name(), v.port, l.Addr, owner(l))
		}
	}
	if len(found) == 1 {
		o.add(evidence.HostService, found[0].val, "host", found[0].at, "%s", found[0].text)
	}
}

func container(id string) string {
	if id == "" {
		return ""
	}
	return " (container " + id + ")"
}

// bindErrors: the service says itself that it could not bind the port.
func (v *hostView) bindErrors(s *evidence.Service, add func(evidence.Value, time.Duration, string, ...any)) {
	kinds := map[evidence.LogKind]evidence.Value{
		evidence.LogBindInUse: evidence.ServiceBindInUse, evidence.LogBindDenied: evidence.ServiceBindPerm, evidence.LogBindNoAddress: evidence.ServiceBindAddr}
	// The last one counts: what came before may be mended.
	for _, l := range slices.Backward(s.Log) {
		val, ok := kinds[l.Kind]
		if !ok || v.old(l.Time) || l.Addr.Port() != 0 && l.Addr.Port() != v.port || l.Addr.Port() == 0 && !l.Asked && !namesPort(l.Text, v.port) && len(s.Units) != 1 {
			continue
		}
		add(val, s.At, "the log of %s says: %s", orWord(l.Unit, orWord(l.Process, "the service")), l.Text)
		return
	}
}

// namesPort says that a text has the port as a number of its own.
func namesPort(text string, port uint16) bool {
	return slices.Contains(strings.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' }), strconv.Itoa(int(port)))
}

// old says that something is too long ago to explain the present; no time says
// nothing.
func (v *hostView) old(t time.Time) bool { return !t.IsZero() && v.h.Started.Sub(t) > recent }

// units: what does the service manager say? Units that are merely usual for the
// port count where no other is known to belong to it: several may be installed.
func (v *hostView) units(s *evidence.Service, add func(evidence.Value, time.Duration, string, ...any)) {
	usual := func(u evidence.Unit) bool { return strings.HasPrefix(u.Why, "usual") }
	known := slices.ContainsFunc(s.Units, func(u evidence.Unit) bool { return !usual(u) })
	for i := range s.Units {
		u := &s.Units[i]
		if known && usual(*u) {
			continue
		}
		how := ""
		if u.ExitCode != "" {
			how = fmt.Sprintf(", its process %s with status %d", u.ExitCode, u.ExitStatus)
		}
		switch {
		case u.Sub == "auto-restart" || u.Active == "activating" && u.Restarts > 1:
			add(evidence.ServiceFlapping, s.At, "unit %s starts and ends again and again: %s%s", u.Name, plural(u.Restarts, "restart", "restarts"), how)
		case u.Active == "failed" || u.Active == "inactive" && !strings.HasSuffix(u.Name, ".socket"):
			add(evidence.ServiceStopped, s.At, "unit %s is not running: %s (%s)%s", u.Name, u.Active, orWord(u.Result, u.Sub), how)
		}
	}
}

func (v *hostView) containers(s *evidence.Service, add func(evidence.Value, time.Duration, string, ...any)) {
	for i := range s.Containers {
		c := &s.Containers[i]
		how := fmt.Sprintf("exit code %d", c.ExitCode)
		if c.OOMKilled {
			how = "killed for want of memory"
		}
		switch c.State {
		case "restarting":
			add(evidence.ServiceFlapping, s.At, "container %s starts and ends again and again (%s)", c.Name, how)
		case "exited", "dead", "created":
			add(evidence.ServiceStopped, s.At, "container %s is not running: %s, %s", c.Name, c.State, how)
		}
	}
}

// exits: its log ends with its end.
func (v *hostView) exits(s *evidence.Service, add func(evidence.Value, time.Duration, string, ...any)) {
	if len(s.Log) == 0 || len(s.Units) > 0 || len(s.Containers) > 0 {
		return
	}
	if l := s.Log[len(s.Log)-1]; !v.old(l.Time) && (l.Kind == evidence.LogExit || l.Kind == evidence.LogPanic || l.Kind == evidence.LogOOM) {
		add(evidence.ServiceStopped, s.At, "the log of %s ends with: %s", orWord(l.Unit, orWord(l.Process, "the service")), l.Text)
	}
}
