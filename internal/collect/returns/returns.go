// Package returns tells how this host would answer a client, and whether the
// kernel lets the client's packets in: the route back, the reverse path filter,
// forwarding. It asks the kernel and sends nothing.
//
// It imports collect/route, rtnl, collect and evidence.
package returns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/collect/route"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// Collect tells of the way from local, an address of this host or one behind
// it, to the client, and of packets from the client that come in by the
// interface arrives. Without arrives it takes the interface that has the local
// address, or the loopback where the client is this host itself. The caller
// sets Seen. What could not be looked at is in Route.NotChecked.
//
// PassesRP is nil where it turns on more than addresses: policy rules that look
// at marks (with src_valid_mark) or ports, VRF, IPsec, whose packets are not
// filtered, and an address that no packet from outside can have.
//
// An error means that the kernel could not be asked, and wraps
// errors.ErrUnsupported where it never can.
func Collect(ctx context.Context, env collect.Env, local, client netip.Addr, arrives string) (evidence.Return, error) {
	local, client = local.Unmap(), client.Unmap()
	out := evidence.Return{At: env.Clock.Now(), Local: local, Client: client, Arrives: arrives}
	if !local.IsValid() || !client.IsValid() || local.Is4() != client.Is4() {
		return out, fmt.Errorf("way back from %s to %s: two addresses of one family are needed", local, client)
	}
	if client.Is6() && client.IsLinkLocalUnicast() && client.Zone() == "" && arrives != "" {
		client = client.WithZone(arrives) // it is answered where it came from
	}
	env.Source = local
	var err error
	if out.Route, err = route.Collect(ctx, env, netip.AddrPortFrom(client, 0)); err != nil {
		return out, fmt.Errorf("way back: %w", err)
	}
	mine := out.Route.SourceIsLocal
	out.IsLocal = mine != nil && *mine && !local.IsUnspecified()
	miss := func(check string, err error) {
		out.Route.NotChecked = append(out.Route.NotChecked, evidence.NotChecked{Check: check, Reason: err.Error()})
	}
	r, err := rtnl.NewReader()
	if err != nil {
		return out, fmt.Errorf("way back: %w", err)
	}
	defer r.Close()
	in, err := arrival(r, out)
	if err != nil {
		miss("interface by which the client's packets come in", err)
		return out, nil
	}
	if in == nil {
		return out, nil
	}
	out.Arrives = rtnl.Printable(in.Name)
	if err := inbound(r, &out, *in); err != nil {
		miss("what is let in by "+out.Arrives, err)
	}
	return out, nil
}

// arrival is the link at which the IP layer sees the client's packets: the
// bridge for its port. It is nil when not known.
func arrival(r *rtnl.Reader, out evidence.Return) (*rtnl.Interface, error) {
	links, err := r.Interfaces()
	if err != nil {
		return nil, err
	}
	find := func(f func(l rtnl.Interface) bool) *rtnl.Interface {
		if i := slices.IndexFunc(links, f); i >= 0 {
			return &links[i]
		}
		return nil
	}
	var in *rtnl.Interface
	switch {
	case out.Arrives != "":
		in = find(func(l rtnl.Interface) bool { return l.Name == out.Arrives || rtnl.Printable(l.Name) == out.Arrives })
		if in == nil {
			return nil, fmt.Errorf("there is no interface %s", rtnl.Printable(out.Arrives))
		}
	case out.Route.Local:
		return find(func(l rtnl.Interface) bool { return l.Loopback }), nil
	default:
		addrs, err := r.Addrs(out.Local.Is6())
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(addrs, func(a rtnl.LocalAddr) bool { return a.Addr == out.Local.WithZone("") })
		if i < 0 {
			return nil, nil
		}
		in = find(func(l rtnl.Interface) bool { return l.Index == addrs[i].Link })
	}
	for range links { // a bond can be the port of a bridge
		if in == nil || in.Master == 0 {
			break
		}
		master := find(func(l rtnl.Interface) bool { return l.Index == in.Master })
		if master == nil || master.Kind == "vrf" {
			break
		}
		in = master
	}
	return in, nil
}

// Routes lists the routes of type local of the calling thread's network namespace by
// which it takes packets for more than its own addresses, of which some are given.
func Routes(ctx context.Context, own []evidence.HostAddress) ([]evidence.LocalRoute, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r, err := rtnl.NewReader()
	if err != nil {
		return nil, fmt.Errorf("routes of type local: %w", err)
	}
	defer r.Close()
	var out []evidence.LocalRoute
	for _, v6 := range []bool{false, true} {
		routes, err := r.LocalRoutes(v6)
		if err != nil {
			return nil, fmt.Errorf("routes of type local: %w", err)
		}
		for _, rt := range routes {
			a := rt.Prefix.Addr()
			if a.IsLoopback() || rt.Prefix.IsSingleIP() && slices.ContainsFunc(own, func(h evidence.HostAddress) bool { return h.Prefix.Addr() == a }) {
				continue
			}
			out = append(out, evidence.LocalRoute{Prefix: rt.Prefix, Table: rt.Table})
		}
	}
	return out, nil
}

// Addresses lists the addresses of the calling thread's network namespace.
func Addresses(ctx context.Context) ([]evidence.HostAddress, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r, err := rtnl.NewReader()
	if err != nil {
		return nil, fmt.Errorf("addresses: %w", err)
	}
	defer r.Close()
	links, err := r.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("addresses: %w", err)
	}
	var out []evidence.HostAddress
	for _, v6 := range []bool{false, true} {
		addrs, err := r.Addrs(v6)
		if err != nil {
			return out, fmt.Errorf("addresses: %w", err)
		}
		for _, a := range addrs {
			h := evidence.HostAddress{Prefix: netip.PrefixFrom(a.Addr, a.Bits), Tentative: !a.Usable}
			if i := slices.IndexFunc(links, func(l rtnl.Interface) bool { return l.Index == a.Link }); i >= 0 {
				h.Interface, h.Up = rtnl.Printable(links[i].Name), links[i].Up && links[i].Carrier
			}
			out = append(out, h)
		}
	}
	return out, nil
}
