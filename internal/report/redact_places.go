package report

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// places gives every original its placeholder.
type places struct {
	taken map[string]bool // must not be given out: originals

	addrs  map[netip.Addr]netip.Addr
	nets   map[netip.Prefix]netip.Prefix
	used   map[netip.Prefix]uint32 // hosts given out in a network of placeholders
	v4, v6 int                     // networks given out
	macs   map[string]string
	labels map[string]string // of names, and users and interfaces behind a prefix
	count  map[string]int    // labels given out, by kind
	tops   map[string]string // top labels

	known      map[string]bool // whole names, lower case
	words      map[string]bool // labels to look for as words of their own
	users      map[string]bool
	interfaces map[string]bool
	phrases    map[phrase]bool
	replace    *strings.Replacer // of the phrases; nil when there are new ones
}

// phrase is text that stands for one thing and cannot be found word by word.
type phrase struct{ kind, text string }

func newPlaces(taken map[string]bool) places {
	return places{
		taken: taken, addrs: map[netip.Addr]netip.Addr{}, nets: map[netip.Prefix]netip.Prefix{},
		used: map[netip.Prefix]uint32{}, macs: map[string]string{}, labels: map[string]string{}, count: map[string]int{}, tops: map[string]string{},
		known: map[string]bool{}, words: map[string]bool{}, users: map[string]bool{},
		interfaces: map[string]bool{}, phrases: map[phrase]bool{},
	}
}

// met lists the originals as they would be written as placeholders.
func (p *places) met() []string {
	var out []string
	for a := range p.addrs {
		out = append(out, a.String())
	}
	for n := range p.nets {
		out = append(out, n.String())
	}
	for _, m := range []map[string]string{p.macs, p.labels, p.tops} {
		for s := range m {
			out = append(out, s[strings.IndexByte(s, '/')+1:])
		}
	}
	return out
}

// stays says whether an address tells nothing about anybody.
func stays(a netip.Addr) bool {
	return !a.IsValid() || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// addr is the placeholder of an address: documentation addresses (RFC 5737,
// RFC 3849), for the fourth network of IPv4 on those for benchmarks (RFC 2544).
func (p *places) addr(a netip.Addr) netip.Addr {
	if zone := a.Zone(); zone != "" {
		return p.addr(a.WithZone("")).WithZone(p.iface(zone))
	}
	if a.Is4In6() {
		return netip.AddrFrom16(p.addr(a.Unmap()).As16())
	}
	if stays(a) {
		return a
	}
	if out, ok := p.addrs[a]; ok {
		return out
	}
	bits := 64
	if a.Is4() {
		bits = 24
	}
	from, _ := a.Prefix(bits)
	to, ok := p.nets[from]
	for !ok || p.used[to] >= 253 && a.Is4() && last(a) != 0 && last(a) != 255 {
		for to, ok = p.network(from), true; p.taken[to.String()] && !a.IsLinkLocalUnicast(); {
			to = p.network(from)
		}
		p.nets[from] = to
	}
	out := p.hostIn(to, a)
	p.addrs[a] = out
	return out
}

// last is the last byte of an IPv4 address.
func last(a netip.Addr) byte { return a.As16()[15] }

// network gives out the next network.
func (p *places) network(from netip.Prefix) netip.Prefix {
	a := from.Addr()
	if a.Is6() {
		p.v6++
		b := netip.MustParseAddr("2001:db8::").As16()
		if a.IsLinkLocalUnicast() {
			b = netip.MustParseAddr("fe80::").As16() // its scope is told by it
		} else {
			binary.BigEndian.PutUint32(b[4:], uint32(p.v6))
		}
		return netip.PrefixFrom(netip.AddrFrom16(b), 64)
	}
	n := p.v4
	p.v4++
	docs := [][3]byte{{192, 0, 2}, {198, 51, 100}, {203, 0, 113}}
	b := [3]byte{}
	switch {
	case n < len(docs):
		b = docs[n]
	case n < 512:
		b = [3]byte{198, 18 + byte(n>>8), byte(n)}
	default: // class E, RFC 1112 section 4
		b = [3]byte{240 + byte(n>>16)%15, byte(n >> 8), byte(n)}
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{b[0], b[1], b[2], 0}), 24)
}

// hostIn gives out the next address of a network of placeholders; what ends in
// zeros, or in 255 for IPv4, keeps doing so.
func (p *places) hostIn(to netip.Prefix, a netip.Addr) netip.Addr {
	own, _ := a.Prefix(to.Bits())
	b := to.Addr().As16()
	switch {
	case own.Addr() == a:
		return to.Addr()
	case a.Is4() && last(a) == 255:
		b[15] = 255
		return netip.AddrFrom16(b).Unmap()
	}
	for {
		p.used[to]++
		n := p.used[to]
		if a.Is4() {
			b[15] = byte(n)
		} else {
			binary.BigEndian.PutUint32(b[12:], n)
		}
		out := netip.AddrFrom16(b)
		if a.Is4() {
			out = out.Unmap()
		}
		if a.Is4() || !p.taken[out.String()] {
			return out // no original is in a network of IPv4 placeholders
		}
	}
}

// mac is the placeholder of a hardware address: the documentation range of RFC
// 7042 section 2.1.1, and locally administered ones after that.
func (p *places) mac(s string) string {
	key := strings.ToLower(strings.NewReplacer("-", "", ":", "", ".", "").Replace(s))
	if key == "" || strings.Trim(key, "0") == "" || strings.Trim(key, "f") == "" {
		return s
	}
	if out, ok := p.macs[key]; ok {
		return out
	}
	n := len(p.macs)
	out := fmt.Sprintf("00:00:5e:00:53:%02x", n)
	for n > 255 || p.taken[strings.ReplaceAll(out, ":", "")] {
		n++
		out = fmt.Sprintf("02:00:5e:%02x:%02x:%02x", byte(n>>16), byte(n>>8), byte(n))
		if !p.taken[strings.ReplaceAll(out, ":", "")] {
			break
		}
	}
	p.macs[key] = out
	return out
}

// usual are interface names that the kernel and systemd give by themselves:
// systemd.net-naming-scheme(7). One with a hardware address in it is none.
var usual = pattern(`^(lo|any|(eth|wlan|wwan|ib|bond|br|tun|tap|wg|utun|en|dummy|ifb|ppp|sit|vlan|team|docker|virbr|gif|stf|awdl|llw|ap|bridge|em|igb|ix|vtnet|re|bge|nfe)\d{0,4}|(en|wl|ww)(o\d{1,3}|(P\d{1,5})?[ps]\d{1,5}[a-z0-9]{0,9}))$`)

func (p *places) iface(s string) string {
	if s == "" || usual().MatchString(s) {
		return s
	}
	return p.label("if", s)
}

// label is the placeholder of one label of a name, a user or an interface.
func (p *places) label(kind, s string) string {
	key := kind + "/" + strings.ToLower(s)
	if out, ok := p.labels[key]; ok {
		return out
	}
	for {
		p.count[kind]++
		if out := fmt.Sprintf("%s-%d", kind, p.count[kind]); !p.taken[out] {
			p.labels[key] = out
			return out
		}
	}
}

// public are names that say nothing about anybody: RFC 6761, RFC 6762.
func public(name string) bool {
	switch strings.ToLower(strings.TrimSuffix(name, ".")) {
	case "", "localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "local", "arpa", "in-addr.arpa", "ip6.arpa":
		return true
	}
	return false
}

// name is the placeholder of a host or domain name, label by label, so that a
// suffix of several names stays one: RFC 2606 for the last label.
func (p *places) name(s string) string {
	if public(s) {
		return s
	}
	if out, ok := p.reverse(s); ok {
		return out
	}
	dot := ""
	if strings.HasSuffix(s, ".") {
		s, dot = s[:len(s)-1], "."
	}
	parts := strings.Split(s, ".")
	for i, l := range parts {
		switch {
		case l == "" || l == "*" || l == "_tcp" || l == "_udp":
		case i > 0 && i == len(parts)-1:
			parts[i] = p.top(l)
		default:
			parts[i] = p.label("host", l)
		}
	}
	return strings.Join(parts, ".") + dot
}

// top is the placeholder of a last label. "example" stays itself.
func (p *places) top(s string) string {
	s = strings.ToLower(s)
	out, ok := p.tops[s]
	if !ok {
		out = "example"
		for n := len(p.tops) + 1; s != "example" && (len(p.tops) > 0 || p.taken["example"]) && (out == "example" || p.taken[out]); n++ {
			out = fmt.Sprintf("top-%d.example", n)
		}
		p.tops[s] = out
	}
	return out
}
