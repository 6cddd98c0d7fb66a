package resolve

import (
	"slices"
	"strings"
)

const nsswitchPath = "/etc/nsswitch.conf"

// status is how a module of nsswitch.conf(5) ended.
type status uint8

const (
	success status = 1 << iota
	notFound
	unavailable
	tryAgain
)

// source is one module of the order, with the statuses at which it ends the
// search.
type source struct {
	module  string
	dns     bool   // stands for DNS
	returns status // set of statuses
	action  string // as written, "[NOTFOUND=return]"
}

func (s source) String() string { return strings.TrimSpace(s.module + " " + s.action) }

func (r *resolver) readOrder() []source {
	// Without the file, or where it cannot be read, the default holds.
	data, _, _ := readBounded(r.path(r.opts.NSSwitch, nsswitchPath))
	return parseNSSwitch(string(data))
}

const maxModules = 16

// parseNSSwitch reads the "hosts" line of nsswitch.conf(5); without one the
// order is "files dns".
func parseNSSwitch(data string) []source {
	order := []source{{module: "files"}, {module: "dns"}}
	for line := range strings.Lines(data) {
		line, _, _ = strings.Cut(line, "#")
		db, rest, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(db) == "hosts" {
			order = parseSources(rest)
		}
	}
	// systemd-resolved answers from DNS; where it is the only way to DNS, its
	// servers in resolv.conf stand for it.
	way := "dns"
	if !slices.ContainsFunc(order, func(s source) bool { return s.module == way }) {
		way = "resolve"
	}
	for i := range order {
		s := &order[i]
		s.dns = s.module == way
		s.returns |= success
	}
	return order
}

// parseSources reads modules, each followed by at most one [action].
func parseSources(s string) []source {
	var order []source
	for s = strings.TrimSpace(s); s != "" && len(order) < maxModules; s = strings.TrimSpace(s) {
		if s[0] != '[' {
			end := strings.IndexAny(s, " \t[")
			if end < 0 {
				end = len(s)
			}
			order = append(order, source{module: clean(s[:end])})
			s = s[end:]
			continue
		}
		action, rest, _ := strings.Cut(s[1:], "]")
		if len(order) > 0 {
			last := &order[len(order)-1]
			last.returns |= parseAction(action)
			last.action = clean("[" + action + "]")
		}
		s = rest
	}
	return order
}

// parseAction returns the statuses, success aside, that an action such as
// "NOTFOUND=return" or "!UNAVAIL=return" ends the search at.
func parseAction(s string) (returns status) {
	names := map[string]status{"success": success, "notfound": notFound, "unavail": unavailable, "tryagain": tryAgain}
	for _, term := range strings.Fields(strings.ToLower(s)) {
		name, action, _ := strings.Cut(term, "=")
		name, negated := strings.CutPrefix(name, "!")
		st, ok := names[name]
		if !ok || action != "return" {
			continue
		}
		if negated {
			st = ^st & (success | notFound | unavailable | tryAgain)
		}
		returns |= st
	}
	return returns
}

// decide walks the order with what the hosts file and DNS gave. It returns who
// decided, FromFiles, FromDNS or "", and the modules passed on the way that
// only the C library can ask.
func decide(order []source, inFiles bool, dns status) (winner string, passed []string) {
	for _, s := range order {
		var got status
		switch {
		case s.dns:
			winner, got = FromDNS, dns
		case s.module == "files" && inFiles:
			winner, got = FromFiles, success
		case s.module == "files":
			got = notFound
		default:
			passed = append(passed, s.module)
			continue
		}
		if got == success {
			return winner, passed
		}
		if s.returns&got != 0 {
			return "", passed
		}
	}
	return "", passed
}

// concerns says whether a module can have an answer for the name at all.
func concerns(module, name string) bool {
	switch module {
	case "mdns_minimal", "mdns4_minimal", "mdns6_minimal": // nss-mdns: only .local
		return strings.HasSuffix(strings.ToLower(strings.TrimSuffix(name, ".")), ".local")
	case "myhostname": // nss-myhostname(8)
		return name == "_gateway" || name == "_outbound" || strings.EqualFold(name, ownHostname())
	}
	return true
}
