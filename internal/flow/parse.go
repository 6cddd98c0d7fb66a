package flow

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// ParseTargets reads the arguments of a command line. Each is a target by
// itself, as [ParseTarget] takes it, or the host of a pair "host port" whose
// second word is a bare port number or service name. A wrong argument gives a
// [*TargetError], and no targets.
func ParseTargets(args []string) ([]Target, error) {
	if len(args) == 0 {
		return nil, &TargetError{Problem: "no target given", Hint: "give one, such as db.example:5432"}
	}
	targets := make([]Target, 0, len(args))
	for i := 0; i < len(args); i++ {
		s := args[i]
		if i+1 < len(args) && lacksPort(s) && isWord(args[i+1]) {
			i++
			s += " " + args[i]
		}
		t, err := ParseTarget(s)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// ParseTarget reads one target: host:port, "host port", host:service,
// [v6]:port, [v6%scope]:port, or a URL whose scheme or port gives the port.
// User names, passwords and queries are dropped, and masked in Input. The
// error is a [*TargetError].
func ParseTarget(s string) (Target, error) {
	s = strings.TrimSpace(s)
	t, err := parse(s)
	if err != nil {
		err.Input = display(maskAll(s))
		return Target{}, err
	}
	t.Input = display(mask(s))
	return t, nil
}

func parse(s string) (Target, *TargetError) {
	if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
		r, _ := utf8.DecodeRuneInString(s[i:])
		return Target{}, problem("type the target without it", "it contains the control character %q", r)
	}
	if !utf8.ValidString(s) {
		return Target{}, problem("type the target in UTF-8", "it contains bytes that are no UTF-8 text")
	}
	if strings.Contains(s, "://") {
		return parseURL(s)
	}
	s = s[strings.LastIndexByte(s, '@')+1:]
	if f := strings.Fields(s); len(f) == 2 && lacksPort(f[0]) && isWord(f[1]) {
		return parsePair(f[0], f[1])
	}
	a, err := splitAuthority(s)
	if err != nil {
		return Target{}, err
	}
	if !a.hasPort {
		return Target{}, missingPort(s, a)
	}
	return a.target("", 0)
}

// missingPort is the error for a host that came alone; a bad host is told
// first.
func missingPort(s string, a authority) *TargetError {
	if digits(s) {
		return problem("put the host before it: HOST:"+shorten(s), "it is a number without a host")
	}
	if _, err := a.target("", 1); err != nil {
		return err
	}
	return problem("add one, such as "+shorten(s)+":443, or a service, such as "+shorten(s)+":https", "it has no port")
}

// lacksPort says whether s can be the first word of a pair.
func lacksPort(s string) bool {
	s = s[strings.LastIndexByte(s, '@')+1:]
	switch {
	case s == "" || strings.Contains(s, "://"):
		return false
	case s[0] == '[':
		return s[len(s)-1] == ']'
	default:
		return !strings.Contains(s, ":") || isIPv6(s)
	}
}

// isWord says whether s looks like the second word of a pair: a number, a
// service, or what may be a mistyped one, and not a host or target of its own.
func isWord(s string) bool {
	return s != "" && !strings.ContainsAny(s, ".:/@[ \t")
}

func parsePair(host, port string) (Target, *TargetError) {
	a := authority{host: host, port: port, hasPort: true}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		a.host, a.bracketed = strings.TrimSuffix(inner, "]"), true
	}
	return a.target("", 0)
}

// parseURL takes scheme and authority of a URL, RFC 3986 section 3; the rest
// does not matter for a connection. It is stricter than net/url where leniency
// would hide a mistake, and takes the plain scope IDs that net/url refuses.
func parseURL(s string) (Target, *TargetError) {
	scheme, rest, _ := strings.Cut(s, "://")
	scheme = strings.ToLower(scheme)
	if !validScheme(scheme) {
		return Target{}, problem("write SCHEME://HOST:PORT or HOST:PORT", "what comes before :// is no URL scheme")
	}
	auth, tail := cutAuthority(rest)
	t, err := parseAuthority(scheme, auth[strings.LastIndexByte(auth, '@')+1:])
	if err != nil && strings.Contains(tail, "@") {
		// Likely a password with a slash. To quote the port would show it.
		return Target{}, problem("write / as %2F, ? as %3F and # as %23 in user name and password, or leave them out",
			"the host part of the URL ends before the last @")
	}
	return t, err
}

func parseAuthority(scheme, text string) (Target, *TargetError) {
	switch {
	case text == "" || text[0] == ':':
		return Target{}, problem("write "+scheme+"://HOST:PORT", "the URL has no host")
	case strings.Contains(text, ","):
		return Target{}, problem("give each as a target of its own", "the URL names several hosts")
	case scheme == "mongodb+srv":
		return Target{}, problem("look up the SRV record _mongodb._tcp."+shorten(text)+" and give the hosts it names",
			"the hosts behind a mongodb+srv URL are in DNS")
	}
	a, err := splitAuthority(text)
	if err != nil {
		return Target{}, err
	}
	a.inURL = true
	a.hasPort = a.port != "" // RFC 3986 section 3.2.3: an empty port is the default one
	protocol, port := schemePort(scheme)
	if !a.hasPort && port == 0 {
		return Target{}, problem("add the port: "+scheme+"://"+shorten(text)+":PORT", "the URL scheme %q says no port", scheme)
	}
	return a.target(protocol, port)
}

// cutAuthority splits what follows "://" into the authority and the rest.
func cutAuthority(s string) (auth, tail string) {
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

func validScheme(s string) bool {
	for i, r := range s {
		switch {
		case 'a' <= r && r <= 'z':
		case i > 0 && ('0' <= r && r <= '9' || strings.ContainsRune("+-.", r)):
		default:
			return false
		}
	}
	return s != "" && len(s) <= 32
}

// authority is host and port as text.
type authority struct {
	host, port string
	hasPort    bool
	bracketed  bool
	inURL      bool // a scope ID may be written %25eth0, RFC 6874
}

// splitAuthority separates host and port, and explains colons that do neither.
func splitAuthority(s string) (authority, *TargetError) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		host, after, ok := strings.Cut(inner, "]")
		port, colon := strings.CutPrefix(after, ":")
		switch {
		case !ok:
			return authority{}, problem("write [ADDRESS]:PORT", "the bracket [ is not closed")
		case after != "" && !colon:
			return authority{}, problem("write [ADDRESS]:PORT", "after ] comes %s instead of a colon and a port", quote(after))
		}
		return authority{host: host, port: port, hasPort: colon, bracketed: true}, nil
	}
	switch strings.Count(s, ":") {
	case 0:
		return authority{host: s}, nil
	case 1:
		host, port, _ := strings.Cut(s, ":")
		return authority{host: host, port: port, hasPort: true}, nil
	}
	return authority{}, tooManyColons(s)
}

// tooManyColons tells how text with several colons and no brackets can be read.
func tooManyColons(s string) *TargetError {
	i := strings.LastIndexByte(s, ':')
	host, port := s[:i], s[i+1:]
	_, _, bad := parsePort(port)
	split, whole := bad == nil && isIPv6(host), isIPv6(s) && !strings.Contains(s, "%")
	switch {
	case split && whole:
		return problem("write ["+shorten(host)+"]:"+port+" or ["+s+"]:PORT",
			"an IPv6 address needs brackets before a port: it may be %s port %s, or the address %s without a port", host, port, s)
	case split:
		return problem("write ["+shorten(host)+"]:"+port, "an IPv6 address needs brackets before a port")
	case isIPv6(s):
		return problem("write ["+shorten(s)+"]:PORT", "it is an IPv6 address without brackets and port")
	}
	return problem("write HOST:PORT, or [ADDRESS]:PORT for IPv6", "it has several colons and is no IPv6 address")
}

// target reads both parts; scheme and port are the defaults that a URL gives.
func (a authority) target(scheme string, port uint16) (Target, *TargetError) {
	host, addr, err := a.parseHost()
	if err != nil {
		return Target{}, err
	}
	t := Target{Host: host, Addr: addr, Port: port, Scheme: scheme}
	if !a.hasPort {
		return t, nil
	}
	number, service, err := parsePort(a.port)
	if err != nil {
		return Target{}, err
	}
	t.Port = number
	if scheme == "" {
		t.Scheme = service
	}
	return t, nil
}
