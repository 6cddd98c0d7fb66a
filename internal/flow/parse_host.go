package flow

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Limits of a name in text form, RFC 1035 section 2.3.4, without the last dot.
const (
	maxName  = 253
	maxLabel = 63
	maxScope = 32
)

// parseHost gives the canonical form of the host, and the address if it is a
// literal. A name is lower case, in A-labels (RFC 5891), and keeps its last
// dot, which makes it absolute.
func (a authority) parseHost() (string, netip.Addr, *TargetError) {
	switch {
	case a.bracketed || strings.Contains(a.host, ":"):
		return a.parseIPv6()
	case a.host == "":
		return "", netip.Addr{}, problem("put a name or an address before the port; for this machine, localhost", "the host is empty")
	}
	if addr, scope, ok := strings.Cut(a.host, "%"); ok {
		if _, err := netip.ParseAddr(addr); err == nil {
			return "", netip.Addr{}, meaningless(scope, addr)
		}
	}
	name := strings.ToLower(a.host)
	if len(name) > 4*maxName { // longer than any name in UTF-8: spare IDNA its quadratic time
		return "", netip.Addr{}, tooLong(len(name))
	}
	if !ascii(name) {
		var err error
		if name, err = idna.Lookup.ToASCII(a.host); err != nil {
			return "", netip.Addr{}, problem("check its spelling", "%s is no valid international name", quote(a.host))
		}
	}
	if numeric(name) {
		addr, err := netip.ParseAddr(name)
		if err != nil {
			return "", netip.Addr{}, problem("write four numbers from 0 to 255 without leading zeros, as in 192.0.2.1",
				"%s ends in a number and is no IPv4 address", quote(a.host))
		}
		return name, addr, oneHost(addr)
	}
	if err := checkName(name); err != nil {
		return "", netip.Addr{}, err
	}
	return name, netip.Addr{}, nil
}

// parseIPv6 reads a literal with its scope ID, RFC 4007 section 11.
func (a authority) parseIPv6() (string, netip.Addr, *TargetError) {
	text, scope, scoped := strings.Cut(a.host, "%")
	if a.inURL && len(scope) > len("25") {
		scope = strings.TrimPrefix(scope, "25")
	}
	addr, err := netip.ParseAddr(text)
	switch {
	case text == "":
		return "", netip.Addr{}, problem("write [ADDRESS]:PORT", "the address in the brackets is empty")
	case err != nil && strings.Contains(text, ":"):
		return "", netip.Addr{}, problem("check its groups and colons, as in [2001:db8::1]:443", "%s is no IPv6 address", quote(text))
	case err != nil || addr.Is4():
		return "", netip.Addr{}, problem("write "+shorten(text)+" without brackets", "brackets are for IPv6 addresses only")
	}
	addr = addr.Unmap()
	local := addr.IsLinkLocalUnicast() || addr.IsLinkLocalMulticast() || addr.IsInterfaceLocalMulticast()
	switch {
	case addr.Is4() && !scoped:
	case scoped && (addr.Is4() || !local):
		return "", netip.Addr{}, meaningless(scope, text)
	case scoped && !validScope(scope):
		return "", netip.Addr{}, problem("name the interface: ["+text+"%eth0]", "the scope ID %s names no interface", quote(scope))
	case local && !scoped:
		return "", netip.Addr{}, problem("add it, as in ["+text+"%eth0]", "the link-local address %s needs the interface to use", text)
	}
	return addr.String(), addr.WithZone(scope), oneHost(addr)
}

// oneHost says what is wrong with an address that is not that of one host: a TCP
// connection has one other end (RFC 9293, section 3.9.2.3).
func oneHost(addr netip.Addr) *TargetError {
	switch {
	case addr.IsMulticast():
		return problem("give the address of one host", "%v is a multicast address, and TCP has one other end", addr)
	case addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return problem("give the address of one host", "%v is the broadcast address, and TCP has one other end", addr)
	}
	return nil
}

func meaningless(scope, addr string) *TargetError {
	return problem("leave the scope out: "+addr, "the scope ID %s means nothing on %s: only link-local IPv6 addresses have one", quote(scope), addr)
}

func validScope(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || strings.IndexByte("/%[]@", s[i]) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= maxScope
}

// checkName holds a name to what resolvers take: labels of letters, digits,
// hyphens and underscores, as res_hnok(3) of the C library does.
func checkName(name string) *TargetError {
	rel := strings.TrimSuffix(name, ".")
	if len(rel) > maxName {
		return tooLong(len(rel))
	}
	if rel != "" && rel[0] == '-' {
		return problem("remove the hyphen", "the name %s starts with a hyphen", quote(name))
	}
	for label := range strings.SplitSeq(rel, ".") {
		switch {
		case rel == "":
			return problem("put a name or an address before the port", "the host is only a dot")
		case label == "":
			return problem("write one dot between two labels and none in front", "the name %s has an empty label", quote(name))
		case len(label) > maxLabel:
			return problem("check the dots", "the label %s has %d bytes, more than the %d that DNS allows", quote(label), len(label), maxLabel)
		}
		for i := range len(label) {
			if !nameByte(label[i]) {
				return problem("use letters, digits, hyphens and dots", "the name %s contains %q", quote(name), label[i])
			}
		}
	}
	return nil
}

func tooLong(n int) *TargetError {
	return problem("check for text that was pasted by mistake", "the name has %d bytes, more than the %d that DNS allows", n, maxName)
}

func nameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// numeric says whether the last label is a decimal or hexadecimal number. No
// top-level domain is (RFC 3696 section 2), so it is meant as an IPv4 address.
func numeric(name string) bool {
	last := strings.TrimSuffix(name, ".")
	last = last[strings.LastIndexByte(last, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return digits(last)
}

func isIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6()
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] > '~' {
			return false
		}
	}
	return true
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
