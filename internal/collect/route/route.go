// Package route tells how this host would send to an address: the route, the
// interface, the next hop and whether it is known, this host's own addresses
// and the interfaces that are down. It asks the kernel and sends nothing.
//
// It imports rtnl, collect and evidence.
package route

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// Collect looks up the route to a TCP port of an address, or with port 0 to the
// address alone. The requested source and interface bear on it as they would on
// a socket; a source that this host does not have is left out of the lookup,
// since no socket could be bound to it. An error means that the kernel could not
// be asked, and wraps errors.ErrUnsupported where it never can; that there is no
// route is an answer.
func Collect(ctx context.Context, env collect.Env, to netip.AddrPort) (evidence.Route, error) {
	out := evidence.Route{At: env.Clock.Now()}
	addr := to.Addr().Unmap()
	if !addr.IsValid() {
		return out, fmt.Errorf("route: no address to look up")
	}
	r, err := rtnl.NewReader()
	if err != nil {
		return out, fmt.Errorf("route to %s: %w", addr, err)
	}
	defer r.Close()

	links, err := r.Interfaces()
	if err != nil {
		return out, fmt.Errorf("route to %s: %w", addr, err)
	}
	addrs, err := r.Addrs(addr.Is6())
	if err != nil {
		return out, fmt.Errorf("route to %s: %w", addr, err)
	}
	for _, a := range addrs {
		if a.Usable && a.Addr.IsGlobalUnicast() {
			out.FamilyAddrs = append(out.FamilyAddrs, a.Addr)
		}
	}
	slices.SortFunc(out.FamilyAddrs, netip.Addr.Compare)
	out.FamilyAddrs = slices.Compact(out.FamilyAddrs)
	out.DownLinks = downLinks(links, addrs, addr.Is6())

	query := rtnl.Lookup{To: addr, Port: to.Port()}
	if env.Source.IsValid() {
		mine, err := isLocal(r, env.Source)
		if err != nil {
			return out, err
		}
		out.SourceIsLocal = &mine
		if mine {
			query.From = env.Source
		}
	}
	if bound := boundTo(env, addr); bound != "" {
		i := slices.IndexFunc(links, func(l rtnl.Interface) bool { return isNamed(l, bound) })
		if i < 0 { // what SO_BINDTODEVICE would say
			out.Errno, out.Interface = "ENODEV", rtnl.Printable(bound)
			return out, nil
		}
		query.Link = links[i].Index
	}
	if err := ctx.Err(); err != nil {
		return out, fmt.Errorf("route to %s: %w", addr, err)
	}
	found, err := lookup(r, query)
	if err != nil {
		return out, err
	}
	fill(&out, found, query.Link, links, addr.Is6())
	out.Local = found.Type == "local" ||
		slices.ContainsFunc(addrs, func(a rtnl.LocalAddr) bool { return a.Addr == addr.WithZone("") })
	if out.Neighbour, err = nextHop(r, &out, addr); err != nil {
		out.NotChecked = append(out.NotChecked, notChecked("neighbour entry of the next hop", err, evidence.NeighState))
	}
	criteria, err := r.RulesLookAt(addr.Is6())
	if out.Exact = err == nil && !criteria.Mark && !criteria.Unnamed && (out.Port != 0 || !criteria.Packet); err == nil {
		out.Rules, err = r.Rules(addr.Is6())
	}
	if err != nil {
		out.NotChecked = append(out.NotChecked, notChecked("policy routing rules", err, evidence.RouteRules))
	}
	return out, nil
}

// lookup asks as connect() does: with IPv4 once more from the source that was
// chosen for it, ip_route_connect in include/net/route.h.
func lookup(r *rtnl.Reader, q rtnl.Lookup) (rtnl.Found, error) {
	f, err := r.Route(q)
	if err != nil || f.Errno != "" || q.From.IsValid() || !f.Source.Is4() {
		return f, err
	}
	q.From = f.Source
	return r.Route(q)
}

// After looks again at the entry of the next hop towards addr, once the
// attempts to connect have made the kernel resolve it.
func After(ctx context.Context, env collect.Env, addr netip.Addr, route *evidence.Route) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("neighbour of %s: %w", addr, err)
	}
	r, err := rtnl.NewReader()
	if err != nil {
		return fmt.Errorf("neighbour of %s: %w", addr, err)
	}
	defer r.Close()
	route.NeighbourAfter, err = nextHop(r, route, addr)
	return err
}

// fill copies what the lookup found, and the link it leads to: where it leads
// to none, the one the user asked for.
func fill(out *evidence.Route, f rtnl.Found, asked int, links []rtnl.Interface, v6 bool) {
	out.Type, out.Errno, out.Table = f.Type, f.Errno, f.Table
	out.Gateway, out.Source, out.MTU = f.Gateway, f.Source, f.MTU
	out.Port, out.RejectedBy = f.Port, f.Rule
	switch {
	case !f.Prefix.IsValid():
	case f.Prefix.Bits() == 0:
		out.Prefix = "default"
	default:
		out.Prefix = f.Prefix.String()
	}
	index := f.Link
	if index == 0 {
		index = asked
	}
	for _, l := range links {
		if l.Index != index {
			continue
		}
		link := shown(l)
		out.Link, out.Interface = &link, link.Name
		if out.MTU == 0 && f.Link != 0 {
			out.MTU = l.MTU
		}
	}
}

// nextHop is the neighbour entry that a packet to addr depends on, nil when
// there is none or none is needed.
func nextHop(r *rtnl.Reader, route *evidence.Route, addr netip.Addr) (*evidence.Neighbour, error) {
	if route.Type != "unicast" || route.Link == nil {
		return nil, nil
	}
	hop := route.Gateway
	if !hop.IsValid() {
		hop = addr
	}
	return r.Neighbour(route.Link.Index, hop)
}

// isLocal says whether a socket can be bound to the address: it is routed to
// this host, as all of 127.0.0.0/8 is. The unspecified address always can.
func isLocal(r *rtnl.Reader, a netip.Addr) (bool, error) {
	if a.IsUnspecified() {
		return true, nil
	}
	f, err := r.Route(rtnl.Lookup{To: a})
	return f.Type == "local", err
}

// boundTo is the interface the packets must leave by: the one asked for, or
// the zone of a link-local address.
func boundTo(env collect.Env, addr netip.Addr) string {
	if env.Interface != "" {
		return env.Interface
	}
	return addr.Zone()
}

// isNamed matches an interface by name or, as zones may, by index.
func isNamed(l rtnl.Interface, name string) bool {
	return l.Name == name || strconv.Itoa(l.Index) == name
}

// shown is the link with a name that is safe to print.
func shown(l rtnl.Interface) evidence.Link {
	l.Name = rtnl.Printable(l.Name)
	return l.Link
}

func notChecked(check string, err error, keys ...evidence.Key) evidence.NotChecked {
	return evidence.NotChecked{Check: check, Reason: err.Error(), Keys: keys}
}
