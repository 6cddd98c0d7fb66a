package errtext

import (
	"net/netip"
	"strconv"
	"strings"
)

// maxHost bounds a host: 253 bytes is the longest DNS name (RFC 1035 section
// 2.3.4, as text).
const maxHost = 253

// around reads the host and the port at a colon, and where they begin and end.
func around(line string, colon int) (t Target, start, end int) {
	port, n := portAt(line[colon+1:])
	if n == 0 {
		return Target{}, 0, 0
	}
	end = colon + 1 + n
	if end < len(line) {
		switch c := line[end]; {
		case wordByte(c), c == '-', c == '@', c == '%',
			(c == ':' || c == '.') && end+1 < len(line) && wordByte(line[end+1]):
			return Target{}, 0, 0
		}
	}
	start = colon
	if line[colon-min(colon, 1)] == ']' {
		return bracketed(line, colon, port, end)
	}
	least := max(0, colon-maxHost-1) // a longer one is no host
	for start > least && (wordByte(line[start-1]) || line[start-1] == '.' || line[start-1] == '-') && line[start-1] < 0x80 {
		start--
	}
	if start > 0 && line[start-1] == ':' && !strings.HasSuffix(line[:start], "ipv4:") {
		return ipv6Before(line, colon, port, end)
	}
	t, ok := host(line[start:colon])
	if !ok || file(t.Host) || notHosts[strings.ToLower(t.Host)] {
		return Target{}, 0, 0
	}
	t.Port = port
	if start == 0 {
		return t, start, end
	}
	switch c := line[start-1]; {
	case c == '/' && t.Addr.IsValid() && !strings.HasSuffix(line[:start], "//"):
		// Java: name/192.0.2.7:80, or /192.0.2.7:80 without a name.
		first := start - 1
		for first > least && (wordByte(line[first-1]) || line[first-1] == '.' || line[first-1] == '-') {
			first--
		}
		if name, ok := host(line[first : start-1]); ok {
			t.Host = name.Host
		}
		return t, first, end
	case c == '/' && !strings.HasSuffix(line[:start], "//"), c == '$', c == '\\', c == '%':
		return Target{}, 0, 0 // a path, a variable
	}
	return t, start, end
}

// bracketed is [2001:db8::1]:80, [::1]:80, and name[192.0.2.7]:25 of Postfix.
func bracketed(line string, colon int, port uint16, end int) (Target, int, int) {
	least := max(0, colon-2*maxHost)
	open := least + strings.LastIndexByte(line[least:colon], '[')
	if open < least {
		return Target{}, 0, 0
	}
	inside := line[open+1 : colon-1]
	a, ok := address(inside)
	if !ok {
		// librdkafka writes [name]:9092
		if t, ok := host(inside); ok && !strings.Contains(inside, "%") && strings.Trim(inside, "0123456789") != "" {
			t.Port = port
			return t, open, end
		}
		return Target{}, 0, 0
	}
	t := Target{Host: a.String(), Addr: a, Port: port}
	first := open
	for first > least && (wordByte(line[first-1]) || line[first-1] == '.' || line[first-1] == '-') {
		first--
	}
	if name, ok := host(line[first:open]); ok && first < open {
		t.Host = name.Host
	}
	return t, first, end
}

// ipv6Before is an IPv6 address without brackets before a port, as Node.js
// prints it: connect ECONNREFUSED ::1:27017.
func ipv6Before(line string, colon int, port uint16, end int) (Target, int, int) {
	start := colon
	for start > 0 && strings.IndexByte("0123456789abcdefABCDEF:.", line[start-1]) >= 0 {
		start--
	}
	a, ok := address(line[start:colon])
	if !ok || !a.Is6() || start > 0 && line[start-1] != ' ' {
		return Target{}, 0, 0
	}
	return Target{Host: a.String(), Addr: a, Port: port}, start, end
}

// hostAt reads a host at the beginning of s, quoted or not, and a port behind a
// colon.
func hostAt(s string) (Target, bool) {
	s = strings.TrimLeft(s, " '\"`‘“")
	if t, n := endpointAt(s); n > 0 {
		return t, true
	}
	end := strings.IndexFunc(s, func(c rune) bool { return c >= 0x80 || !wordByte(byte(c)) && c != '.' && c != '-' })
	if end < 0 {
		end = len(s)
	}
	return host(strings.TrimRight(s[:end], ".-"))
}

// endpointAt reads host:port at the beginning of s and says how long it is.
func endpointAt(s string) (Target, int) {
	var colon int
	if strings.HasPrefix(s, "[") {
		colon = strings.Index(s, "]:") + 1
	} else {
		colon = strings.IndexByte(s, ':')
	}
	if colon <= 0 {
		return Target{}, 0
	}
	t, start, end := around(s, colon)
	if t.IsZero() || start != 0 {
		return Target{}, 0
	}
	return t, end
}

// urlAt reads the host and port of a URL at the beginning of s.
func urlAt(s string) (Target, bool) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || scheme == "" || strings.ContainsFunc(scheme, func(c rune) bool { return c >= 0x80 || !wordByte(byte(c)) && c != '+' }) {
		return Target{}, false
	}
	if i := strings.IndexAny(rest, "/?#\" '`),;<>"); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	rest = strings.TrimRight(rest, ":.")
	if t, n := endpointAt(rest); n > 0 {
		return t, true
	}
	t, ok := host(strings.Trim(rest, "[]"))
	t.Port = schemePorts[strings.ToLower(scheme)]
	return t, ok
}

// schemePorts are the ports of the schemes that logs show.
var schemePorts = map[string]uint16{
	"http": 80, "https": 443, "ws": 80, "wss": 443, "postgres": 5432, "postgresql": 5432, "mysql": 3306, "redis": 6379, "rediss": 6379,
	"amqp": 5672, "amqps": 5671, "mongodb": 27017, "ldap": 389, "ldaps": 636, "ssh": 22, "nats": 4222, "mqtt": 1883, "ftp": 21, "smtp": 25,
}

// portAt reads a port, 1 to 65535, at the beginning of s and says how long it is.
func portAt(s string) (uint16, int) {
	n := 0
	for n < len(s) && n < 6 && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	p, err := strconv.ParseUint(s[:n], 10, 16)
	if err != nil || p == 0 {
		return 0, 0
	}
	return uint16(p), n
}

// host checks an address or a name.
func host(s string) (Target, bool) {
	if a, ok := address(s); ok {
		return Target{Host: a.String(), Addr: a}, true
	}
	if len(s) == 0 || len(s) > maxHost || s[0] == '-' || s[0] == '.' || strings.Contains(s, "..") {
		return Target{}, false
	}
	letters := false
	for i := range len(s) {
		c := s[i]
		if !wordByte(c) && c != '.' && c != '-' || c >= 0x80 {
			return Target{}, false
		}
		letters = letters || 'a' <= c|0x20 && c|0x20 <= 'z'
	}
	return Target{Host: s}, letters
}

// address is netip.ParseAddr for text that is not trusted: a zone may hold
// nearly anything, and only one like an interface's name counts.
func address(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || strings.ContainsFunc(a.Zone(), func(c rune) bool { return c >= 0x80 || !wordByte(byte(c)) && c != '.' && c != '-' }) {
		return netip.Addr{}, false
	}
	return a, true
}

// file says that what looks like a name is that of a file with source code,
// as it stands before a line number.
func file(s string) bool {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return false
	}
	switch strings.ToLower(s[i+1:]) {
	case "go", "c", "cc", "cpp", "h", "java", "kt", "scala", "js", "ts", "mjs", "cjs", "py", "rb", "rs", "php", "pl", "pm", "cs", "ex", "erl", "sh", "lua", "jsx", "tsx", "vue", "log", "conf", "yaml", "yml", "json":
		return true
	}
	return false
}

// notHosts are words that stand before a colon and a number.
var notHosts = map[string]bool{
	"error": true, "errno": true, "code": true, "line": true, "status": true, "pid": true, "exit": true, "err": true, "col": true, "column": true, "retry": true, "attempt": true, "after": true, "timeout": true,
	"size": true, "count": true, "level": true, "id": true, "at": true, "port": true, "in": true, "the": true, "a": true, "to": true, "failed": true, "on": true, "connection": true,
	"duration": true, "elapsed": true, "took": true, "retries": true, "backoff": true, "reason": true, "sqlstate": true, "errorcode": true, "exitcode": true, "statuscode": true, "http": true, "https": true,
	"response_code": true, "address": true, "thread": true, "for": true, "fd": true,
}

// IsHost says whether s can be a host by its characters: a DNS name, as loose
// as names in logs are, or an address.
func IsHost(s string) bool {
	_, ok := host(s)
	return ok
}
