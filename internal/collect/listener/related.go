package listener

import (
	"path"
	"slices"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/procinfo"
)

// family is what makes listeners on other ports have to do with a port.
type family struct {
	pids                        map[int]bool
	programs, units, containers map[string]bool
	unitPatterns                []string
}

// relatives are the processes, programs, units and containers of the listeners
// on a port. With nobody on it in this namespace, the programs and units that
// usually serve it belong to them.
func relatives(on []evidence.Listener, port uint16) family {
	f := family{map[int]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, nil}
	for _, l := range on {
		if l.Container != "" {
			f.containers[l.Container] = true
		}
		if holdsForOthers(l.Process) {
			continue
		}
		if l.PID != 0 {
			f.pids[l.PID] = true
		}
		if l.Process != "" && !runsPrograms(l.Process) {
			f.programs[l.Process] = true
		}
		if isService(l.Unit) {
			f.units[l.Unit] = true
		}
	}
	if !slices.ContainsFunc(on, func(l evidence.Listener) bool { return l.Namespace == 0 }) {
		for _, p := range procinfo.UsualPrograms(port) {
			f.programs[p] = true
		}
		f.unitPatterns = procinfo.UsualUnits(port)
	}
	return f
}

func (f family) has(l evidence.Listener) bool {
	return f.pids[l.PID] || f.programs[l.Process] || f.units[l.Unit] || f.containers[l.Container] ||
		slices.ContainsFunc(f.unitPatterns, func(p string) bool {
			ok, _ := path.Match(p, l.Unit)
			return ok
		})
}

// holdsForOthers says that a program has sockets open for services that have
// nothing to do with each other.
func holdsForOthers(program string) bool {
	switch program {
	case "systemd", "launchd", "inetd", "xinetd", "svchost.exe",
		"docker-proxy", "rootlessport", "slirp4netns", "pasta", "conmon":
		return true
	}
	return false
}

// runsPrograms says that a program's name does not tell which service it is.
func runsPrograms(program string) bool {
	switch strings.TrimRight(strings.TrimSuffix(program, ".exe"), "0123456789.") {
	case "java", "node", "nodejs", "python", "pypy", "ruby", "perl", "php", "php-fpm", "dotnet", "mono", "beam.smp",
		"deno", "bun", "lua", "sh", "bash", "dash", "zsh", "busybox", "socat", "nc", "ncat":
		return true
	}
	return false
}

// isService says that a unit is that of one service. A session of a user, a
// user's manager and the engine of containers are not.
func isService(unit string) bool {
	switch unit {
	case "", "init.scope", "docker.service", "containerd.service", "podman.service":
		return false
	}
	if manager, below, ok := strings.Cut(unit, "/"); ok || strings.HasPrefix(manager, "user@") {
		return ok && below != "init.scope"
	}
	return !strings.HasPrefix(unit, "session-")
}
