package listener

import (
	"cmp"
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
	"github.com/tcpwhy/tcpwhy/internal/sockdiag"
)

// serving tells for each listener whether a SYN to addr that comes in by the
// interface with index in can reach it. As in the kernel, a listener on the
// very address goes before one on the wildcard, and then for an IPv4 address a
// socket of IPv4 before one of IPv6. Listeners that are equal in this share the
// port by SO_REUSEPORT, the only way they can be there together; which of them
// gets a SYN follows the order in which they were made and a hash of the
// four-tuple, so each counts.
//
// The rules are those of __inet_lookup_listener and compute_score in
// net/ipv4/inet_hashtables.c, and of the same in net/ipv6/inet6_hashtables.c.
func serving(socks []sockdiag.Socket, addr netip.Addr, in int) []bool {
	addr = rtnl.Destination(addr).WithZone("")
	ranks, best := make([]int, len(socks)), 1
	for i, s := range socks {
		ranks[i] = rank(s, addr, in)
		best = max(best, ranks[i])
	}
	serves := make([]bool, len(socks))
	for i := range socks {
		serves[i] = ranks[i] == best
	}
	return serves
}

// rank is 0 for a listener that the SYN cannot reach, else the higher the
// sooner it is taken.
func rank(s sockdiag.Socket, addr netip.Addr, in int) int {
	bound, r := s.Local.Addr(), 1
	switch {
	case addr.Is4() && s.V6Only, addr.Is6() && (bound.Is4() || bound.Is4In6()):
		return 0 // the other family
	case s.Device != 0 && s.Device != in:
		return 0
	case bound.Unmap() == addr:
		r += 2
	case !bound.Unmap().IsUnspecified():
		return 0
	}
	if addr.Is4() && bound.Is4() {
		r++
	}
	return r
}

// arrival is the index of the interface by which the kernel takes a SYN from
// this host to one of its addresses to come in, and the names of all
// interfaces. It is the interface the client is bound to, or else the one that
// carries the address, although the packet itself passes the loopback: see
// orig_oif in ip_route_output_key_hash_rcu (net/ipv4/route.c) and ipv6_rcv.
func arrival(env collect.Env, addr netip.Addr) (int, map[int]string, error) {
	r, err := rtnl.NewReader()
	if err != nil {
		return 0, nil, err
	}
	defer r.Close()
	links, names, err := interfaces(r)
	if err != nil {
		return 0, nil, err
	}
	bound := 0
	for _, l := range links {
		if l.Name == cmp.Or(env.Interface, addr.Zone()) {
			bound = l.Index
		}
	}
	if bound != 0 {
		return bound, names, nil
	}
	f, err := r.Route(rtnl.Lookup{To: addr, From: env.Source})
	return cmp.Or(f.Carrier, f.Link), names, err
}

// interfaces lists the interfaces, and their names by index, safe to print.
func interfaces(r *rtnl.Reader) ([]rtnl.Interface, map[int]string, error) {
	links, err := r.Interfaces()
	if err != nil {
		return nil, nil, err
	}
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Index] = rtnl.Printable(l.Name)
	}
	return links, names, nil
}
