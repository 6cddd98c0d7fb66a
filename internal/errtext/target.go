package errtext

import (
	"net/netip"
	"strings"
)

// target finds whom the line is about.
func (r *reader) target(m Match) Target {
	line := string(r.line)
	if m.Kind == NoBackend {
		return Target{} // what is named is the group of servers
	}
	if m.Program == "HAProxy" && isHAProxyLog(r, hit{end: m.End}) {
		return Target{} // the address is the client's
	}
	if m.Op == OpLookup {
		if t, ok := r.lookedUp(line); ok {
			return t
		}
	}
	for _, form := range forms {
		if t, ok := form(line, r.lower, m); ok {
			return t
		}
	}
	return Target{}
}

// forms are the ways in which a line names a target, the surest first.
var forms = []func(line, lower string, m Match) (Target, bool){
	arrow, upstream, wordPort, wgetAddress, bashDevice, pythonPair, bracketPort, gitAddress, nearest, behindWord, firstURL,
}

// arrow is Go's "read tcp local->remote".
func arrow(line, _ string, _ Match) (Target, bool) {
	_, rest, ok := strings.Cut(line, "->")
	if !ok {
		return Target{}, false
	}
	t, n := endpointAt(rest)
	return t, n > 0
}

// upstream is nginx's: upstream: "http://host:port/path".
func upstream(line, lower string, _ Match) (Target, bool) {
	const word = `upstream: "`
	i := strings.Index(lower, word)
	if i < 0 {
		return Target{}, false
	}
	rest := line[i+len(word):]
	if t, ok := urlAt(rest); ok {
		return t, true
	}
	t, n := endpointAt(rest)
	return t, n > 0
}

// wordPort is "host port 5432", with commas, quotes, brackets, or an address in
// brackets between: curl, ssh, nc, psql, Ruby, and Python's host='…', port=80.
func wordPort(line, lower string, _ Match) (Target, bool) {
	for from := 0; ; {
		i := strings.Index(lower[from:], "port")
		if i < 0 {
			return Target{}, false
		}
		i += from
		from = i + 4
		if i == 0 || wordByte(line[i-1]) || from >= len(line) || line[from] != ' ' && line[from] != '=' {
			continue
		}
		port, n := portAt(line[from+1:])
		if n == 0 {
			continue
		}
		if t, ok := hostBefore(line[:i]); ok {
			t.Port = port
			return t, true
		}
	}
}

// hostBefore reads a host at the end of s: name, 'name', "name" (address),
// name (address).
func hostBefore(s string) (Target, bool) {
	s = strings.TrimRight(s, " ,(")
	var addr netip.Addr
	if strings.HasSuffix(s, ")") {
		if i := strings.LastIndexByte(s, '('); i >= 0 {
			a, ok := address(s[i+1 : len(s)-1])
			if !ok {
				return Target{}, false
			}
			addr, s = a, strings.TrimRight(s[:i], " ,")
		}
	}
	s = strings.TrimRight(s, `'"`)
	i := strings.LastIndexAny(s, " '\"=(,")
	t, ok := host(s[i+1:])
	if !ok {
		if addr.IsValid() {
			return Target{Host: addr.String(), Addr: addr}, true
		}
		return Target{}, false
	}
	if addr.IsValid() {
		t.Addr = addr
	}
	return t, true
}

// wgetAddress is "Connecting to name (name)|address|:80".
func wgetAddress(line, lower string, _ Match) (Target, bool) {
	const word = "connecting to "
	i := strings.Index(lower, word)
	if i < 0 {
		return Target{}, false
	}
	rest := line[i+len(word):]
	name, rest, ok := strings.Cut(rest, "|")
	if !ok {
		return Target{}, false
	}
	literal, rest, _ := strings.Cut(rest, "|:")
	port, n := portAt(rest)
	name, _, _ = strings.Cut(name, " ")
	t, named := host(name)
	a, ok := address(literal)
	if !named || !ok || n == 0 {
		return Target{}, false
	}
	t.Addr, t.Port = a, port
	return t, true
}

// bashDevice is "/dev/tcp/host/port" of bash.
func bashDevice(line, lower string, _ Match) (Target, bool) {
	const word = "/dev/tcp/"
	i := strings.Index(lower, word)
	if i < 0 {
		return Target{}, false
	}
	name, rest, _ := strings.Cut(line[i+len(word):], "/")
	return hostAndPort(name, rest)
}

// hostAndPort is a target whose port is what rest begins with.
func hostAndPort(name, rest string) (Target, bool) {
	t, ok := host(name)
	port, n := portAt(rest)
	if !ok || n == 0 {
		return Target{}, false
	}
	t.Port = port
	return t, true
}

// gitAddress is "name[0: 192.0.2.7]: errno=" of git's own protocol.
func gitAddress(line, lower string, _ Match) (Target, bool) {
	before, _, ok := strings.Cut(lower, "]: errno=")
	open := strings.LastIndexByte(before, '[')
	if !ok || open < 0 {
		return Target{}, false
	}
	_, literal, _ := strings.Cut(before[open:], ": ")
	a, ok := address(literal)
	if !ok {
		return Target{}, false
	}
	t := Target{Host: a.String(), Addr: a}
	if name, ok := hostBefore(line[:open]); ok {
		t.Host = name.Host
	}
	return t, true
}

// pythonPair is ('192.0.2.7', 80), as Python prints the address of a socket.
func pythonPair(line, _ string, _ Match) (Target, bool) {
	_, rest, ok := strings.Cut(line, "('")
	if !ok {
		return Target{}, false
	}
	name, rest, _ := strings.Cut(rest, "', ")
	return hostAndPort(name, rest)
}

// bracketPort is "name [192.0.2.7] 80 (http)" of the older netcat.
func bracketPort(line, _ string, _ Match) (Target, bool) {
	open := strings.IndexByte(line, '[')
	end := strings.Index(line, "] ")
	if open < 0 || end < open {
		return Target{}, false
	}
	a, ok := address(line[open+1 : end])
	if !ok {
		return Target{}, false
	}
	port, n := portAt(line[end+2:])
	if n == 0 || !strings.HasPrefix(line[end+2+n:], " (") {
		return Target{}, false
	}
	t := Target{Host: a.String(), Addr: a, Port: port}
	if name, ok := host(strings.TrimRight(line[:open], " ")); ok {
		t.Host = name.Host
	}
	return t, true
}

// nearest is the host:port that stands next before the words of the error, or
// else the first behind them. Sources, clients and name servers do not count.
func nearest(line, lower string, m Match) (Target, bool) {
	var before, behind Target
	for i := 0; i < len(line); i++ {
		if line[i] != ':' {
			continue
		}
		t, start, end := around(line, i)
		if t.IsZero() || notTheTarget(lower[:start]) {
			continue
		}
		if start < m.End {
			before = t
		} else if behind.IsZero() {
			behind = t
		}
		i = end - 1
	}
	if !before.IsZero() {
		return before, true
	}
	return behind, !behind.IsZero()
}

// notTheTarget says that an endpoint behind these words is another machine.
func notTheTarget(before string) bool {
	for _, w := range []string{" from ", "client: ", "client ", "peer ", " on ", "local address ", "source ", "proxy: ", "haproxy[", "]: "} {
		if strings.HasSuffix(before, w) && w != "]: " {
			return true
		}
		// The client of an HAProxy log: the first endpoint behind the program.
		if w == "]: " && strings.HasSuffix(before, w) && strings.Contains(before, "haproxy[") {
			return true
		}
	}
	return false
}

// behindWord is an address without a port behind the word for a connection.
func behindWord(line, lower string, _ Match) (Target, bool) {
	for _, w := range []string{"server on '", "server on \"", "connect to server at '", "connect to mysql server on ", "couldn't connect to host '", "backend: ", "connect (`", "connecting to ", "connect to ", "server at ", "connected to ", "connect fail for "} {
		i := strings.Index(lower, w)
		if i < 0 {
			continue
		}
		rest := line[i+len(w):]
		t, ok := hostAt(rest)
		if !ok {
			continue
		}
		// rsync writes "name (192.0.2.7)".
		if _, rest, ok := strings.Cut(rest, t.Host+" ("); ok {
			literal, _, _ := strings.Cut(rest, ")")
			if a, ok := address(literal); ok {
				t.Addr = a
			}
		}
		if t.Addr.IsValid() || strings.ContainsAny(w, "'\"`") || w == "backend: " || strings.Contains(t.Host, ".") {
			return t, true
		}
	}
	return Target{}, false
}

// firstURL is the first URL of the line.
func firstURL(line, _ string, _ Match) (Target, bool) {
	for from := 0; ; {
		i := strings.Index(line[from:], "://")
		if i < 0 {
			return Target{}, false
		}
		i += from
		start := i
		for start > 0 && (wordByte(line[start-1]) || line[start-1] == '+') {
			start--
		}
		if t, ok := urlAt(line[start:]); ok {
			return t, true
		}
		from = i + 3
	}
}

// names are the words before a name that could not be resolved.
var names = []string{
	"server lookup failure: ", "lookup ", "resolving ", `getaddrinfo("`, "rsync: getaddrinfo: ", "couldn't get address for ", "getaddrinfo enotfound ", "getaddrinfo eai_again ", "enotfound ", "could not resolve host: ", "couldn't resolve host: ", "couldn't resolve host ", "could not resolve hostname ",
	"could not resolve proxy: ", "unable to resolve host address ", "could not translate host name ", "unknownhostexception: ", "unknown mysql server host ", "unknown server host ", "getaddrinfo for host ", "getaddrinfo for ",
	"host not found in upstream ", "failed to resolve ", "bad hostname ", "name service error for name=", "couldn't resolve server ", "dns lookup failure for: ", "resolve host ",
	"no such host is known. (", "name or service not known (", "unable to look up ", "server at ", "gethostbyname ", "host '", ") for ", "can't connect to ", "connect to redis at ", "open tcp connection to ",
}

// lookedUp finds the name that was not resolved, and the port where it stands
// beside it.
func (r *reader) lookedUp(line string) (Target, bool) {
	if i := strings.Index(r.lower, " could not be resolved"); i >= 0 {
		if t, ok := hostBefore(line[:i]); ok {
			return t, true
		}
	}
	if t, ok := wordPort(line, r.lower, Match{}); ok && !t.Addr.IsValid() {
		return t, true
	}
	for _, w := range names {
		for from := 0; ; {
			i := strings.Index(r.lower[from:], w)
			if i < 0 {
				break
			}
			from += i + len(w)
			if t, ok := hostAt(line[from:]); ok && !t.Addr.IsValid() && !notHosts[strings.ToLower(t.Host)] {
				return t, true
			}
		}
	}
	// Java's older texts: "UnknownHostException: name: Name or service not known".
	for _, w := range []string{": name or service not known", ": temporary failure in name resolution", ": no address associated with hostname"} {
		if i := strings.Index(r.lower, w); i >= 0 {
			if t, ok := hostBefore(line[:i]); ok && strings.Contains(t.Host, ".") {
				return t, true
			}
		}
	}
	return Target{}, false
}
