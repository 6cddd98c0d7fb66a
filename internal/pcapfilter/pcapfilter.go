// Package pcapfilter compiles a subset of the filter language of tcpdump and
// Wireshark's captures, pcap-filter(7), to classic BPF for cooked packet sockets
// (packet(7)), whose packets begin with the network header.
//
//	[ip|ip6|tcp|udp|icmp|icmp6|arp] [src|dst] host|net|port|portrange VALUE
//	ip, ip6, tcp, udp, icmp, icmp6, arp
//	tcp[tcpflags] & (tcp-syn|tcp-rst) != 0
//	and, or, not, &&, ||, !, ( )
//
// As there, "and" and "or" bind alike, from the left; "not" binds more; and a
// value alone is of the kind of the one before it: port 80 or 443. Unlike there,
// tcp[...] also tests packets of IPv6.
//
// It imports no other package of ours.
package pcapfilter

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/bpf"
)

// Error says which word of a filter is wrong.
type Error struct {
	Filter string
	// Offset and Len are the place of the word in Filter, in bytes; Len is 0 at
	// its end.
	Offset, Len int
	Problem     string
}

// Error names the word and what is wrong with it.
func (e *Error) Error() string {
	if e.Len == 0 {
		return "the filter ends too early: " + e.Problem
	}
	return fmt.Sprintf("%q at column %d: %s", e.Filter[e.Offset:e.Offset+e.Len], e.Offset+1, e.Problem)
}

// Mark gives the filter with a line below it that points at the word. What
// cannot be printed appears as a dot.
func (e *Error) Mark() string {
	plain := []byte(e.Filter)
	for i, c := range plain {
		if c < 0x20 || c >= 0x7f {
			plain[i] = '.'
		}
	}
	return string(plain) + "\n" + strings.Repeat(" ", e.Offset) + strings.Repeat("^", max(e.Len, 1))
}

// Filter is a condition on packets.
type Filter struct{ node node }

// Resolver gives the addresses of a name in a filter.
type Resolver func(name string) ([]netip.Addr, error)

// Parse reads a filter. Names of hosts are resolved once, here; with a nil
// resolver they are errors. The error is an *Error.
func Parse(filter string, resolve Resolver) (*Filter, error) {
	p := &parser{text: filter, resolve: resolve}
	if err := p.split(); err != nil {
		return nil, err
	}
	n, err := p.expression(0)
	if err == nil && p.at < len(p.words) {
		err = p.wrong(p.at, "expected \"and\" or \"or\" before it")
	}
	if err != nil {
		return nil, err
	}
	return &Filter{n}, nil
}

// Target selects what belongs to connections to a port of some addresses: TCP
// of both directions, and ICMP errors that quote packets to or from the
// addresses; port 0 is every port.
func Target(addrs []netip.Addr, port uint16) *Filter {
	var all or
	for _, a := range addrs {
		a = a.Unmap().WithZone("")
		tcp := and{protocol(protoTCP), host(a, either)}
		if port != 0 {
			tcp = append(tcp, ports(protoTCP, either, port, port))
		}
		all = append(all, tcp, quoting(a))
	}
	return &Filter{all}
}

// Or selects what either selects.
func (f *Filter) Or(g *Filter) *Filter { return &Filter{or{f.node, g.node}} }

// maxInstructions is the kernel's BPF_MAXINSNS.
const maxInstructions = 4096

// Program is the filter as BPF that cuts what it accepts to snaplen bytes from
// the network header on.
func (f *Filter) Program(snaplen int) ([]bpf.RawInstruction, error) {
	var c code
	yes, no := c.label(), c.label()
	f.node.gen(&c, yes, no)
	c.place(yes)
	c.add(bpf.RetConstant{Val: uint32(snaplen)})
	c.place(no)
	c.add(bpf.RetConstant{Val: 0})
	if len(c.ops) > maxInstructions {
		return nil, fmt.Errorf("the filter is too long: %d instructions, and the kernel takes %d", len(c.ops), maxInstructions)
	}
	return bpf.Assemble(c.linked())
}
