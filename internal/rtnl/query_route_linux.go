package rtnl

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

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
	q.To, q.From = Destination(q.To).WithZone(""), q.From.Unmap()
	if q.From.Is4() != q.To.Is4() || q.From.IsUnspecified() {
		q.From = netip.Addr{}
	}
	rt, err := r.lookup(q, false)
	if errors.Is(err, unix.EINVAL) && q.Port != 0 {
		if rule, _ := r.rejectedBy(q); rule == nil {
			// A blackhole route, or a kernel that does not take the attributes.
			less := q
			less.Port = 0
			if without, again := r.lookup(less, false); !errors.Is(again, unix.EINVAL) {
				q, rt, err = less, without, again
			}
		}
	}
	var errno unix.Errno
	switch {
	case errors.As(err, &errno) && isAnswer(errno):
		return r.refused(q, errno)
	case err != nil:
		return Found{}, fmt.Errorf("route to %s: %w", q.To, err)
	}
	f := Found{
		Type: typeName(rt.kind), Table: rt.table, Link: rt.link, MTU: rt.mtu,
		Gateway: rt.gateway, Source: rt.source, Port: q.Port,
	}
	if !f.Source.IsValid() {
		f.Source = q.From // the answer does not repeat it
	}
	for _, t := range rejects {
		if t.kind == rt.kind {
			f.Errno, f.Link = unix.ErrnoName(t.errno), 0 // the link is lo, which means nothing here
		}
	}
	// The answer is about the one address. The route it came from needs a
	// second question, which old kernels (before 4.13) do not know.
	if rt, err := r.lookup(q, true); err == nil {
		f.Prefix, f.Table, f.Carrier = rt.dst, rt.table, rt.link
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

// refused finds what answered with the errno: a policy rule, or the longest
// matching route of that type in any table, which is looked at before that rule.
func (r *Reader) refused(q Lookup, errno unix.Errno) (Found, error) {
	if errno == unix.EOPNOTSUPP { // a kernel without the family; connect() has another word for it
		errno = unix.EAFNOSUPPORT
	}
	f := Found{Errno: unix.ErrnoName(errno), Port: q.Port}
	rule, before := r.rejectedBy(q)
	if kind, ok := ruleErrno[errno]; ok && rule != nil {
		f.Type, f.Rule = typeName(kind), strings.Replace(ruleText(*rule), anyRejecting, typeName(kind), 1)
	}
	for _, t := range rejects {
		if t.errno != errno {
			continue
		}
		best, err := r.longest(q.To, t.kind)
		if err != nil {
			return f, err
		}
		if best.Prefix.IsValid() && (f.Rule == "" || slices.Contains(before, best.Table)) {
			f.Type, f.Prefix, f.Table, f.Rule = typeName(t.kind), best.Prefix, best.Table, ""
		}
	}
	return f, nil
}

// ruleErrno are the errno of rules that refuse, which are not all those of
// routes: fib4_rule_action in net/ipv4/fib_rules.c.
var ruleErrno = map[unix.Errno]int{
	unix.EINVAL: unix.RTN_BLACKHOLE, unix.ENETUNREACH: unix.RTN_UNREACHABLE, unix.EACCES: unix.RTN_PROHIBIT,
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
