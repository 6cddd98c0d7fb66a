package report

import (
	"cmp"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// know takes in a name. Text is searched for all of it, and for its labels
// where those say something by themselves; all of a name that was typed says
// something.
func (p *places) know(name string, typed bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, err := netip.ParseAddr(name); err == nil || public(name) {
		return
	}
	p.known[name] = true
	if strings.Trim(token().ReplaceAllString(name, ""), " ") != "" {
		// No run of characters that names are made of: as it is, and as others show it.
		for _, form := range []string{name, escape(name, false, maxCommand), escape(name, true, maxCommand)} {
			p.knowPhrase("host", form)
		}
	}
	labels := strings.Split(name, ".")
	if len(labels) == 1 {
		if typed {
			p.words[name] = true
		}
		return
	}
	for _, l := range labels[:len(labels)-1] {
		if len(l) >= 4 && !common[l] {
			p.words[l] = true
		}
	}
}

// common are labels that are words of these reports, too.
var common = func() map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(`mail smtp imap pop3 http https port host server client name names service
		proxy router gateway firewall internal local example default cluster connect address network test
		https ldap ldaps nginx apache httpd postgres postgresql mysql mysqld mariadb redis redis-server mongod
		mongodb sshd kafka rabbitmq memcached elasticsearch grafana prometheus haproxy envoy docker kubernetes
		root data time home corp intranet public private this that with from what which none open closed`) {
		m[w] = true
	}
	return m
}()

var homes = pattern(`(?:/home/|/Users/|\\Users\\)([^\s/\\'":;,<>]+)`)

// knowUser takes in the user of a URL.
func (p *places) knowUser(input string) {
	if _, rest, ok := strings.Cut(input, "://"); ok {
		authority, _, _ := strings.Cut(rest, "/")
		if i := strings.LastIndexByte(authority, '@'); i > 0 {
			user, _, _ := strings.Cut(authority[:i], ":")
			p.users[user] = true
		}
	}
}

func (p *places) knowInterface(s string) {
	if s != "" && !usual().MatchString(s) {
		p.interfaces[s] = true
	}
}

// knowPhrase takes in text that names something as a whole, such as the issuer
// of a certificate.
func (p *places) knowPhrase(kind, s string) {
	if f := (phrase{kind, s}); s != "" && !p.phrases[f] {
		p.phrases[f], p.replace = true, nil
	}
}

// replacer replaces every phrase, a longer one before one that it begins with.
func (p *places) replacer() *strings.Replacer {
	if p.replace == nil {
		list := slices.SortedFunc(maps.Keys(p.phrases), func(a, b phrase) int {
			return cmp.Or(len(b.text)-len(a.text), strings.Compare(a.text, b.text), strings.Compare(a.kind, b.kind))
		})
		var pairs []string
		for _, f := range list {
			pairs = append(pairs, f.text, p.label(f.kind, f.text))
		}
		p.replace = strings.NewReplacer(pairs...)
	}
	return p.replace
}

// host redacts what is an address or a name and nothing else.
func (p *places) host(s string) string {
	if a, err := netip.ParseAddr(s); err == nil {
		return p.addr(a).String()
	}
	if strings.Trim(s, ".-_*abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == "" {
		return p.name(s)
	}
	return p.text(s)
}

// input redacts a target as it was typed. Of a URL only scheme, host and port
// are kept: path and query may hold secrets.
func (p *places) input(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return p.text(s)
	}
	end := strings.IndexAny(rest, "/?#")
	tail := ""
	if end >= 0 {
		rest, tail = rest[:end], "/"
	}
	return p.text(scheme) + "://" + p.text(rest[strings.LastIndexByte(rest, '@')+1:]) + tail
}

// pattern compiles one when it is first asked for: most runs redact nothing, and
// all would wait for it.
func pattern(s string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(s) })
}

// token is a run of characters that addresses and names are made of.
var token = pattern(`[\pL\pM\pN_.:%*-]+`)

// text redacts free text: every address and hardware address, every name that
// is known or looks like one, users, known interfaces.
func (p *places) text(s string) string {
	s = p.replacer().Replace(s)
	for _, m := range homes().FindAllStringSubmatch(s, -1) {
		if m[1] != "user" {
			p.users[m[1]] = true
		}
	}
	var b strings.Builder
	at := 0
	for _, m := range token().FindAllStringIndex(s, -1) {
		b.WriteString(s[at:m[0]])
		at = m[1]
		t := s[m[0]:m[1]]
		behind := m[0] > 0 && s[m[0]-1] == '@' // a host, whatever it looks like
		switch {
		case strings.HasPrefix(s[at:], "…") && (behind || strings.ContainsAny(t, ".:")):
			// The rest of a name or an address: nobody can say of whose.
		case p.users[t] && t != "root", at < len(s) && s[at] == '@' && t != "root":
			b.WriteString(p.label("user", t))
		case behind && !strings.ContainsAny(t, ".:") && t != "localhost":
			b.WriteString(p.name(t))
		default:
			b.WriteString(p.token(t))
		}
	}
	b.WriteString(s[at:])
	return b.String()
}

const edge = ".:-%*" // what may stand around an address or name without being of it

// token redacts one token, and what punctuation surrounds leaves as it is.
func (p *places) token(t string) string {
	if a, err := netip.ParseAddr(t); err == nil { // "fe80::1%eth0", "::"
		return p.addr(a).String()
	}
	head := len(t) - len(strings.TrimLeft(t, ".-%"))
	tail := len(strings.TrimRight(t, edge))
	if head >= tail {
		return t
	}
	for _, end := range []int{tail, min(tail+2, len(t))} { // "2001:db8::" ends in colons
		if a, err := netip.ParseAddr(t[head:end]); err == nil {
			return t[:head] + p.addr(a).String() + t[end:]
		}
	}
	return t[:head] + p.core(t[head:tail]) + t[tail:]
}

var (
	macForm    = pattern(`^[0-9A-Fa-f]{1,2}([:-])[0-9A-Fa-f]{1,2}(?:[:-][0-9A-Fa-f]{1,2}){4,18}$|^[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}$`)
	dashedForm = pattern(`\d{1,3}[-_]\d{1,3}[-_]\d{1,3}[-_]\d{1,3}`)
	dottedForm = pattern(`\d{1,3}(?:\.\d{1,3}){3}`)
	hexForm    = pattern(`^(?:0[xX])?[0-9A-Fa-f]{8}$`)
)

// core redacts a token without punctuation around it.
func (p *places) core(t string) string {
	if macForm().MatchString(t) {
		return p.mac(t)
	}
	if a, err := netip.ParseAddr(t); err == nil {
		return p.addr(a).String()
	}
	if i := strings.LastIndexAny(t, ".:"); i > 0 { // 192.0.2.1:80, and as tcpdump writes it 192.0.2.1.80
		if a, err := netip.ParseAddr(t[:i]); err == nil && isNumber(t[i+1:]) {
			return p.addr(a).String() + t[i:]
		}
	}
	if i := strings.IndexByte(t, '%'); i > 0 {
		return p.core(t[:i]) + "%" + p.core(t[i+1:])
	}
	for i, c := range t { // "via:2001:db8::1", "via:02:00:00:00:00:01"
		if c == ':' && isLink(t[i+1:]) {
			return p.core(t[:i]) + ":" + p.core(t[i+1:])
		}
	}
	if parts := strings.Split(t, "-"); slices.ContainsFunc(parts, isLink) { // "2001:db8::1-2001:db8::9"
		for i := range parts {
			parts[i] = p.core(parts[i])
		}
		return strings.Join(parts, "-")
	}
	if strings.Contains(t, ":") {
		parts := strings.Split(t, ":")
		for i := range parts {
			parts[i] = p.word(parts[i])
		}
		return strings.Join(parts, ":")
	}
	return p.word(t)
}

// word redacts a token without colons.
func (p *places) word(t string) string {
	lower := strings.ToLower(t)
	switch {
	case t == "":
		return t
	case p.interfaces[t]:
		return p.iface(t)
	case p.known[strings.TrimSuffix(lower, ".")], looksLikeName(lower):
		return p.name(t)
	case p.words[lower]:
		return p.label("host", t)
	case hexForm().MatchString(t):
		return p.hex(t)
	}
	if a, err := netip.ParseAddr(strings.NewReplacer("-", ":", "_", ":").Replace(t)); err == nil && strings.Count(t, "-")+strings.Count(t, "_") > 1 {
		return strings.ReplaceAll(p.addr(a).String(), ":", "-")
	}
	t = dottedForm().ReplaceAllStringFunc(t, func(s string) string { // "192.0.2.1-192.0.2.9"
		a, err := netip.ParseAddr(s)
		if err != nil {
			return s
		}
		return p.addr(a).String()
	})
	return dashedForm().ReplaceAllStringFunc(t, func(s string) string {
		sep := strings.Trim(s, "0123456789")[:1]
		a, err := netip.ParseAddr(strings.NewReplacer("-", ".", "_", ".").Replace(s))
		if err != nil {
			return s
		}
		return strings.ReplaceAll(p.addr(a).String(), ".", sep)
	})
}

// hex redacts an IPv4 address as a packet holds it, if the address is known.
func (p *places) hex(t string) string {
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(t), "0x"), 16, 32)
	if err != nil {
		return t
	}
	a := netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	if out, ok := p.addrs[a]; ok {
		b := out.As4()
		return t[:len(t)-8] + strconv.FormatUint(1<<32|uint64(b[0])<<24|uint64(b[1])<<16|uint64(b[2])<<8|uint64(b[3]), 16)[1:]
	}
	return t
}

// isLink says whether s is an address with colons in it.
func isLink(s string) bool {
	_, err := netip.ParseAddr(s)
	return strings.Contains(s, ":") && (err == nil || macForm().MatchString(s))
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// files are the last labels of what looks like a name and is a file or a unit;
// none of them is a top-level domain.
var files = map[string]bool{
	"conf": true, "service": true, "socket": true, "log": true, "pem": true, "crt": true, "json": true, "pcap": true,
	"pcapng": true, "txt": true, "nft": true, "timer": true, "slice": true, "cfg": true, "yaml": true, "yml": true,
	"ini": true, "exe": true, "dll": true, "html": true,
}

// looksLikeName says whether a token is a host name with dots. Files, sysctl
// keys and counters are none.
func looksLikeName(t string) bool {
	t = strings.TrimSuffix(t, ".")
	i := strings.LastIndexByte(t, '.')
	if i < 1 || public(t) {
		return false
	}
	end := t[i+1:]
	if strings.HasPrefix(end, "xn--") {
		return true
	}
	for _, prefix := range []string{"net.ipv4.", "net.ipv6.", "net.core.", "net.netfilter.", "tcpext.", "ipext."} {
		if strings.HasPrefix(t, prefix) {
			return false
		}
	}
	return !files[end] && len([]rune(end)) >= 2 && !strings.ContainsAny(end, "0123456789_-*%") && t != "fs.file-max"
}

// reverse redacts the name under which an address is looked up: RFC 1035
// section 3.5, RFC 3596 section 2.5.
func (p *places) reverse(s string) (string, bool) {
	lower := strings.ToLower(strings.TrimSuffix(s, "."))
	var a netip.Addr
	var err error
	if digits, ok := strings.CutSuffix(lower, ".in-addr.arpa"); ok {
		parts := strings.Split(digits, ".")
		slices.Reverse(parts)
		a, err = netip.ParseAddr(strings.Join(parts, "."))
	} else if digits, ok := strings.CutSuffix(lower, ".ip6.arpa"); ok {
		parts := strings.Split(digits, ".")
		slices.Reverse(parts)
		var b strings.Builder
		for i, d := range parts {
			if i > 0 && i%4 == 0 {
				b.WriteByte(':')
			}
			b.WriteString(d)
		}
		a, err = netip.ParseAddr(b.String())
	} else {
		return "", false
	}
	if err != nil {
		return "", false
	}
	out := reverseName(p.addr(a))
	if strings.HasSuffix(s, ".") {
		out += "."
	}
	return out, true
}

func reverseName(a netip.Addr) string {
	b := a.AsSlice()
	slices.Reverse(b)
	var parts []string
	for _, n := range b {
		if a.Is4() {
			parts = append(parts, strconv.Itoa(int(n)))
		} else {
			parts = append(parts, strconv.FormatUint(uint64(n&15), 16), strconv.FormatUint(uint64(n>>4), 16))
		}
	}
	if a.Is4() {
		return strings.Join(parts, ".") + ".in-addr.arpa"
	}
	return strings.Join(parts, ".") + ".ip6.arpa"
}
