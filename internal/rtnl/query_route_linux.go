package rtnl

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// rejects are the route types that refuse, with the errno that the kernel
// gives for each (fib_props in net/ipv4/fib_semantics.c; the same in IPv6).
var rejects = [...]struct {
	kind  int
	errno unix.Errno
}{
	{unix.RTN_BLACKHOLE, unix.EINVAL},
	{unix.RTN_UNREACHABLE, unix.EHOSTUNREACH},
	{unix.RTN_PROHIBIT, unix.EACCES},
}

// Route asks the kernel how it would send. That there is no route, or one
// that refuses, is an answer and no error.
//
// The kernel answers for a refusing route by its errno alone (some versions of
// IPv6 give the route), so the route is then looked for in the tables.
func (r *Reader) Route(q Lookup) (Found, error) {
	to := Destination(q.To).WithZone("")
	opt := &netlink.RouteGetOptions{OifIndex: q.Link}
	if from := q.From.Unmap(); from.IsValid() && from.Is4() == to.Is4() && !from.IsUnspecified() {
		opt.SrcAddr = from.AsSlice()
	}
	routes, err := r.h.RouteGetWithOptions(to.AsSlice(), opt)
	var errno unix.Errno
	switch {
	case errors.As(err, &errno) && isAnswer(errno):
		return r.refused(to, errno)
	case err != nil:
		return Found{}, fmt.Errorf("route to %s: %w", to, err)
	case len(routes) == 0:
		return Found{}, fmt.Errorf("route to %s: empty answer", to)
	}
	rt := routes[0]
	f := Found{
		Type: typeName(rt.Type), Table: rt.Table, Link: rt.LinkIndex, MTU: rt.MTU,
		Gateway: toAddr(rt.Gw), Source: toAddr(rt.Src),
	}
	if via, ok := rt.Via.(*netlink.Via); ok {
		f.Gateway = toAddr(via.Addr)
	}
	if !f.Source.IsValid() {
		f.Source = toAddr(opt.SrcAddr) // the answer does not repeat it
	}
	for _, t := range rejects {
		if t.kind == rt.Type {
			f.Errno, f.Link = unix.ErrnoName(t.errno), 0 // the link is lo, which means nothing here
		}
	}
	// The answer is about the one address. The route it came from needs a
	// second question, which old kernels (before 4.13) do not know.
	opt.FIBMatch = true
	if routes, err := r.h.RouteGetWithOptions(to.AsSlice(), opt); err == nil && len(routes) > 0 {
		f.Prefix, f.Table, f.Carrier = toPrefix(routes[0].Dst), routes[0].Table, routes[0].LinkIndex
	}
	return f, nil
}

// isAnswer tells an errno of the lookup from one of the socket.
func isAnswer(e unix.Errno) bool {
	switch e {
	case unix.EINVAL, unix.EHOSTUNREACH, unix.EACCES, unix.ENETUNREACH, unix.ENETDOWN,
		unix.ENODEV, unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT, unix.EOPNOTSUPP:
		return true
	}
	return false
}

// refused finds what answered with the errno: the longest matching route of
// that type in any table, or else a policy rule.
func (r *Reader) refused(to netip.Addr, errno unix.Errno) (Found, error) {
	if errno == unix.EOPNOTSUPP { // a kernel without the family; connect() has another word for it
		errno = unix.EAFNOSUPPORT
	}
	f := Found{Errno: unix.ErrnoName(errno)}
	for _, t := range rejects {
		if t.errno != errno {
			continue
		}
		best, err := r.longest(to, t.kind)
		if err != nil {
			return f, err
		}
		if best.Prefix.IsValid() || r.ruleRejects(to.Is6()) {
			f.Type, f.Prefix, f.Table = typeName(t.kind), best.Prefix, best.Table
		}
	}
	return f, nil
}

// longest is the route of a type with the longest prefix that contains to.
func (r *Reader) longest(to netip.Addr, kind int) (best Found, err error) {
	all := &netlink.Route{Table: unix.RT_TABLE_UNSPEC, Type: kind}
	err = r.h.RouteListFilteredIter(family(to.Is6()), all, netlink.RT_FILTER_TABLE, func(rt netlink.Route) bool {
		p := toPrefix(rt.Dst)
		if rt.Type == kind && p.Contains(to) && (!best.Prefix.IsValid() || p.Bits() > best.Prefix.Bits()) {
			best.Prefix, best.Table = p, rt.Table
		}
		return true
	})
	if err := broken(err); err != nil {
		return Found{}, fmt.Errorf("list routes: %w", err)
	}
	return best, nil
}

// typeName words an RTN_ value as ip-route(8) does.
func typeName(t int) string {
	switch t {
	case unix.RTN_UNICAST:
		return "unicast"
	case unix.RTN_LOCAL:
		return "local"
	case unix.RTN_BROADCAST:
		return "broadcast"
	case unix.RTN_ANYCAST:
		return "anycast"
	case unix.RTN_MULTICAST:
		return "multicast"
	case unix.RTN_BLACKHOLE:
		return "blackhole"
	case unix.RTN_UNREACHABLE:
		return "unreachable"
	case unix.RTN_PROHIBIT:
		return "prohibit"
	}
	return fmt.Sprintf("type %d", t)
}
