package procinfo

import (
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/visible"
)

const (
	maxUnit     = 256 // UNIT_NAME_MAX of systemd
	idDigits    = 12  // of a container's ID that are kept, as engines show it
	maxElements = 64  // of a path that are looked at
)

// Cgroup takes from /proc/PID/cgroup, cgroups(7), the systemd unit and the first
// twelve digits of the ID of the container that a process is in; each is "" if
// there is none.
//
// A unit of a user's own manager is given behind that manager's unit,
// "user@1000.service/web.service": the system's manager does not know it, and
// may have another of its name. A scope that an engine made for a container is
// no unit. Of LXC, whose containers have no ID, Container is the name.
func Cgroup(text string) (unit, container string) {
	for _, path := range paths(text) {
		u, c := parsePath(path)
		if unit == "" {
			unit = u
		}
		if container == "" {
			container = c
		}
	}
	return unit, container
}

// paths lists the paths in the order in which they are to be believed: that of
// cgroup v2, that of systemd's own hierarchy, and those of the controllers of
// v1, of which no unit is taken where one of the others tells it.
func paths(text string) []string {
	var v2, systemd, rest []string
	for line := range strings.SplitSeq(text, "\n") {
		id, line, _ := strings.Cut(line, ":")
		controllers, path, ok := strings.Cut(line, ":")
		switch {
		case !ok || !strings.HasPrefix(path, "/"):
		case id == "0" && controllers == "":
			v2 = append(v2, path)
		case controllers == "name=systemd":
			systemd = append(systemd, path)
		default:
			rest = append(rest, path)
		}
	}
	return append(append(v2, systemd...), rest...)
}

func parsePath(path string) (unit, container string) {
	parent := ""
	for i, e := range strings.Split(path, "/") {
		if i > maxElements {
			break
		}
		// "_" guards a name that the kernel uses (cg_escape of systemd).
		e = strings.TrimPrefix(e, "_")
		id := containerID(e, parent)
		switch {
		case id != "":
			container = id // the innermost
		case !isUnit(e):
		case unit == "":
			unit = visible.Text(e, maxUnit)
		case strings.HasPrefix(unit, "user@") && !strings.Contains(unit, "/"):
			unit += "/" + visible.Text(e, maxUnit)
		}
		parent = e
	}
	return unit, container
}

// isUnit says that an element of a path is a unit that holds processes; slices
// hold only other units.
func isUnit(e string) bool {
	for _, suffix := range []string{".service", ".scope", ".socket", ".mount", ".swap"} {
		if strings.HasSuffix(e, suffix) && len(e) > len(suffix) {
			return true
		}
	}
	return false
}

// containerID recognises the directory of a container:
//
//	docker-ID.scope, libpod-ID.scope, crio-ID.scope, cri-containerd-ID.scope
//	kubepods-…-podUID.slice:cri-containerd:ID
//	/docker/ID, /kubepods/…/podUID/ID
//	libpod-ID, libpod-payload-ID
//	lxc.payload.NAME, /lxc/NAME
//
// where ID has 64 hexadecimal digits.
func containerID(e, parent string) string {
	if name, ok := strings.CutPrefix(e, "lxc.payload."); ok {
		return visible.Text(name, maxName)
	}
	if parent == "lxc" {
		return visible.Text(e, maxName)
	}
	id := strings.TrimSuffix(e, ".scope")
	id = id[strings.LastIndexAny(id, "-:")+1:]
	if len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" || strings.HasPrefix(e, "libpod-conmon-") || strings.HasPrefix(e, "crio-conmon-") {
		return "" // conmon watches a container from outside
	}
	return id[:idDigits]
}
