package pcapfilter

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/bpf"
)

const (
	// maxFilter bounds the text, maxDepth the nesting.
	maxFilter = 8192
	maxDepth  = 64
)

type word struct {
	text string
	off  int
}

type parser struct {
	text    string
	words   []word
	at      int
	resolve Resolver
	last    *qualifiers // of the primitive before
}

// qualifiers say what a value means.
type qualifiers struct {
	proto string
	side  side
	kind  string // host, net, port, portrange
}

// split makes words of the text.
func (p *parser) split() error {
	if len(p.text) > maxFilter {
		return &Error{Filter: p.text[:32], Len: 32, Problem: fmt.Sprintf("the filter has more than %d bytes", maxFilter)}
	}
	for i := 0; i < len(p.text); {
		c := p.text[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n':
			i++
			continue
		case strings.HasPrefix(p.text[i:], "&&"), strings.HasPrefix(p.text[i:], "||"), strings.HasPrefix(p.text[i:], "!="), strings.HasPrefix(p.text[i:], "=="):
			p.words = append(p.words, word{p.text[i : i+2], i})
			i += 2
			continue
		case strings.IndexByte("()[]&|!=<>", c) >= 0:
			p.words = append(p.words, word{p.text[i : i+1], i})
			i++
			continue
		}
		n := i
		for n < len(p.text) && strings.IndexByte(" \t\n()[]&|!=<>", p.text[n]) < 0 {
			if c := p.text[n]; c < 0x20 || c >= 0x7f {
				return &Error{p.text, n, 1, "only printable ASCII may be in a filter"}
			}
			n++
		}
		p.words = append(p.words, word{p.text[i:n], i})
		i = n
	}
	return nil
}

// peek gives the next word, "" at the end.
func (p *parser) peek() string {
	if p.at < len(p.words) {
		return p.words[p.at].text
	}
	return ""
}

func (p *parser) take(words ...string) bool {
	for _, w := range words {
		if p.peek() == w {
			p.at++
			return true
		}
	}
	return false
}

// wrong says what is wrong with a word.
func (p *parser) wrong(i int, problem string) error {
	if i >= len(p.words) {
		return &Error{p.text, len(p.text), 0, problem}
	}
	return &Error{p.text, p.words[i].off, len(p.words[i].text), problem}
}

// expression reads conditions with "and" and "or" between them, which bind
// alike.
func (p *parser) expression(depth int) (node, error) {
	n, err := p.factor(depth)
	for err == nil {
		var m node
		switch {
		case p.take("and", "&&"):
			if m, err = p.factor(depth); err == nil {
				n = and{n, m}
			}
		case p.take("or", "||"):
			if m, err = p.factor(depth); err == nil {
				n = or{n, m}
			}
		default:
			return n, nil
		}
	}
	return nil, err
}

func (p *parser) factor(depth int) (node, error) {
	if depth > maxDepth {
		return nil, p.wrong(p.at, "nested too deeply")
	}
	switch {
	case p.take("not", "!"):
		n, err := p.factor(depth + 1)
		return not{n}, err
	case p.take("("):
		open := p.at - 1
		n, err := p.expression(depth + 1)
		if err == nil && !p.take(")") {
			if p.at < len(p.words) {
				return nil, p.wrong(p.at, "expected \"and\", \"or\" or \")\" before it")
			}
			err = p.wrong(open, "it is not closed by \")\"")
		}
		return n, err
	}
	return p.primitive()
}

var protocols = map[string]func() node{
	"ip":    func() node { return etherType(etherIPv4) },
	"ip6":   func() node { return etherType(etherIPv6) },
	"arp":   func() node { return etherType(etherARP) },
	"tcp":   func() node { return protocol(protoTCP) },
	"udp":   func() node { return protocol(protoUDP) },
	"icmp":  func() node { return protocol4(protoICMP) },
	"icmp6": func() node { return protocol6(protoICMPv6) },
}

var kinds = map[string]bool{"host": true, "net": true, "port": true, "portrange": true}

const expects = "expected a condition such as \"tcp\", \"host 192.0.2.7\" or \"port 443\""

// primitive reads one condition.
func (p *parser) primitive() (node, error) {
	begin := p.at
	var q qualifiers
	if protocols[p.peek()] != nil {
		q.proto = p.peek()
		p.at++
		if p.peek() == "[" {
			return p.byteTest(q.proto)
		}
	}
	given := p.side(&q)
	if kinds[p.peek()] {
		q.kind = p.peek()
		p.at++
	}
	switch {
	case q.proto != "" && !given && q.kind == "":
		if next := p.peek(); next != "" && next != ")" && next != "and" && next != "or" && next != "&&" && next != "||" {
			return nil, p.wrong(p.at, "expected \"host\", \"net\", \"port\", \"and\" or \"or\" before it")
		}
		p.last = nil
		return protocols[q.proto](), nil
	case q.kind == "" && given:
		q.kind = "host"
	case q.kind == "" && p.last != nil:
		q = *p.last // a value alone
	case q.kind == "":
		return nil, p.wrong(begin, expects)
	}
	if p.at >= len(p.words) || strings.ContainsAny(p.peek(), "()[]&|!=<>") {
		return nil, p.wrong(p.at, "expected "+values[q.kind])
	}
	n, err := p.value(q, p.words[p.at].text)
	if err != nil {
		return nil, p.wrong(p.at, err.Error())
	}
	p.at++
	p.last = &q
	return n, nil
}

// side reads src, dst, "src or dst" and "src and dst".
func (p *parser) side(q *qualifiers) bool {
	switch {
	case p.take("src"):
		q.side = source
	case p.take("dst"):
		q.side = destination
		return true
	default:
		return false
	}
	if p.at+1 < len(p.words) && p.words[p.at+1].text == "dst" {
		switch {
		case p.take("or", "||"):
			q.side = either
			p.at++
		case p.take("and", "&&"):
			q.side = both
			p.at++
		}
	}
	return true
}

var values = map[string]string{
	"host": "an address or a name", "net": "a network such as 192.0.2.0/24", "port": "a port between 1 and 65535", "portrange": "a range such as 8000-8080",
}

// value reads what a kind wants.
func (p *parser) value(q qualifiers, text string) (node, error) {
	switch q.kind {
	case "port", "portrange":
		return p.portValue(q, text)
	case "net":
		if i := strings.IndexByte(text, '/'); i < 0 {
			return nil, fmt.Errorf("it is not %s", values[q.kind])
		}
		n, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("it is not %s", values[q.kind])
		}
		if n != n.Masked() {
			return nil, fmt.Errorf("it has bits behind the prefix; %v is meant, perhaps", n.Masked())
		}
		return within4or6(q, network(n, q.side))
	}
	addrs, err := p.addresses(text)
	if err != nil {
		return nil, err
	}
	var all or
	for _, a := range addrs {
		all = append(all, host(a.Unmap().WithZone(""), q.side))
	}
	return within4or6(q, all)
}

// within4or6 adds the protocol before host or net.
func within4or6(q qualifiers, n node) (node, error) {
	if q.proto == "" {
		return n, nil
	}
	return and{protocols[q.proto](), n}, nil
}

func (p *parser) addresses(text string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return []netip.Addr{a}, nil
	}
	if strings.IndexByte(text, '/') >= 0 {
		return nil, fmt.Errorf("it is not an address; say \"net\" before a network")
	}
	if p.resolve == nil {
		return nil, fmt.Errorf("it is not an address")
	}
	addrs, err := p.resolve(text)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("the name has no address")
	}
	return addrs, nil
}

func (p *parser) portValue(q qualifiers, text string) (node, error) {
	var proto uint32
	network := "tcp"
	switch q.proto {
	case "":
	case "tcp":
		proto = protoTCP
	case "udp":
		proto, network = protoUDP, "udp"
	default:
		return nil, fmt.Errorf("%s has no ports", q.proto)
	}
	one := func(s string) (uint16, error) {
		if n, err := strconv.ParseUint(s, 10, 16); err == nil {
			return uint16(n), nil
		}
		if n, err := net.LookupPort(network, s); err == nil && s != "" && (s[0] < '0' || s[0] > '9') {
			return uint16(n), nil
		}
		return 0, fmt.Errorf("it is not %s", values[q.kind])
	}
	if q.kind == "port" {
		n, err := one(text)
		return ports(proto, q.side, n, n), err
	}
	a, b, ok := strings.Cut(text, "-")
	from, err1 := one(a)
	to, err2 := one(b)
	if !ok || err1 != nil || err2 != nil || to < from {
		return nil, fmt.Errorf("it is not %s", values[q.kind])
	}
	return ports(proto, q.side, from, to), nil
}

// flagNames are those of pcap-filter(7).
var flagNames = map[string]uint32{
	"tcp-fin": 1, "tcp-syn": 2, "tcp-rst": 4, "tcp-push": 8, "tcp-ack": 16, "tcp-urg": 32, "tcp-ece": 64, "tcp-cwr": 128,
}

// byteTest reads tcp[tcpflags] & MASK == VALUE and the like.
func (p *parser) byteTest(proto string) (node, error) {
	if proto != "tcp" {
		return nil, p.wrong(p.at, "only tcp[...] may be tested; for others name the protocol, a port or an address")
	}
	p.last = nil
	p.at++
	off := uint32(13)
	if !p.take("tcpflags") {
		n, err := strconv.ParseUint(p.peek(), 10, 8)
		if err != nil || n > 19 {
			return nil, p.wrong(p.at, "expected \"tcpflags\" or the number of a byte of the TCP header, at most 19")
		}
		off = uint32(n)
		p.at++
	}
	if !p.take("]") {
		return nil, p.wrong(p.at, "expected \"]\" before it")
	}
	var mask uint32
	if p.take("&") {
		var err error
		if mask, err = p.flags(); err != nil {
			return nil, err
		}
		if mask == 0 {
			return nil, p.wrong(p.at-1, "a mask of 0 leaves nothing to test")
		}
	}
	var cond bpf.JumpTest
	switch {
	case p.take("=", "=="):
		cond = bpf.JumpEqual
	case p.take("!="):
		cond = bpf.JumpNotEqual
	default:
		return nil, p.wrong(p.at, "expected \"==\" or \"!=\"")
	}
	val, err := p.flags()
	if err != nil {
		return nil, err
	}
	return tcpByte(off, mask, cond, val), nil
}

// flags reads numbers and names of flags with | between them, in parentheses or
// not.
func (p *parser) flags() (uint32, error) {
	inside := p.take("(")
	var v uint32
	for {
		if f, ok := flagNames[p.peek()]; ok {
			v |= f
		} else if n, err := strconv.ParseUint(p.peek(), 0, 8); err == nil {
			v |= uint32(n)
		} else {
			return 0, p.wrong(p.at, "expected a flag such as tcp-syn, or a number below 256")
		}
		p.at++
		if !inside || !p.take("|") {
			break
		}
	}
	if inside && !p.take(")") {
		return 0, p.wrong(p.at, "expected \"|\" or \")\"")
	}
	return v, nil
}
