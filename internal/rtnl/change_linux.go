package rtnl

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Changer changes links, addresses, routes and neighbours of one network
// namespace; rtnetlink(7). Only the lab uses it: the program itself reads. It
// needs CAP_NET_ADMIN over the namespace.
type Changer struct{ h *netlink.Handle }

// NewChanger opens a Changer for the namespace that the descriptor refers to.
func NewChanger(ns int) (*Changer, error) {
	h, err := netlink.NewHandleAt(netns.NsHandle(ns), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("rtnl: open in namespace: %w", err)
	}
	return &Changer{h}, nil
}

// Close closes the netlink socket.
func (c *Changer) Close() { c.h.Close() }

// AddVeth makes a pair of connected interfaces: name here, peer in the
// namespace that the descriptor refers to. Both are down.
func (c *Changer) AddVeth(name, peer string, peerNS int) error {
	return changeErr(c.h.LinkAdd(&netlink.Veth{
		LinkAttrs:     linkAttrs(name),
		PeerName:      peer,
		PeerNamespace: netlink.NsFd(peerNS),
	}), "add veth %s with peer %s", name, peer)
}

// AddBridge makes a bridge, down, with the named interfaces as its ports.
func (c *Changer) AddBridge(name string, ports ...string) error {
	bridge := &netlink.Bridge{LinkAttrs: linkAttrs(name)}
	if err := c.h.LinkAdd(bridge); err != nil {
		return changeErr(err, "add bridge %s", name)
	}
	for _, p := range ports {
		if err := c.change(p, func(l netlink.Link) error { return c.h.LinkSetMaster(l, bridge) }); err != nil {
			return changeErr(err, "put %s into bridge %s", p, name)
		}
	}
	return nil
}

// SetUp sets the interface administratively up.
func (c *Changer) SetUp(link string) error {
	return changeErr(c.change(link, c.h.LinkSetUp), "set %s up", link)
}

// SetDown sets the interface administratively down; its routes go.
func (c *Changer) SetDown(link string) error {
	return changeErr(c.change(link, c.h.LinkSetDown), "set %s down", link)
}

// SetMTU sets the largest packet in bytes, link header excluded. IPv6 needs
// 1280 at least.
func (c *Changer) SetMTU(link string, mtu int) error {
	return changeErr(c.change(link, func(l netlink.Link) error { return c.h.LinkSetMTU(l, mtu) }), "set MTU of %s to %d", link, mtu)
}

// WaitCarrier waits until the kernel has taken notice that the interface has a
// carrier, or has none. It does so a moment after the other end changed, and
// drops what is sent before.
func (c *Changer) WaitCarrier(ctx context.Context, link string, carrier bool) error {
	return changeErr(c.wait(ctx, link, func(l netlink.Link) (bool, error) {
		return (l.Attrs().OperState == netlink.OperUp) == carrier, nil
	}), "wait for carrier %v of %s", carrier, link)
}

// WaitIPv6 waits until the interface, which must have a carrier, can use its
// IPv6 addresses. The kernel completes them later, in a work queue; until then it
// neither answers for them nor, without a link-local one, asks for neighbours.
func (c *Changer) WaitIPv6(ctx context.Context, link string) error {
	return changeErr(c.wait(ctx, link, func(l netlink.Link) (bool, error) {
		addrs, err := c.h.AddrList(l, netlink.FAMILY_V6)
		if err != nil {
			return false, err
		}
		linkLocal := false
		for _, a := range addrs {
			if a.Flags&unix.IFA_F_TENTATIVE != 0 {
				return false, nil
			}
			if a.IP.IsLinkLocalUnicast() {
				linkLocal = true
				continue
			}
			// The last step is the route by which the kernel knows it as its own.
			routes, err := c.h.RouteGet(a.IP)
			if err != nil || len(routes) == 0 || routes[0].Type != unix.RTN_LOCAL {
				return false, nil
			}
		}
		return linkLocal, nil
	}), "wait for the IPv6 addresses of %s", link)
}

// wait asks about a link until the answer is yes.
func (c *Changer) wait(ctx context.Context, link string, ready func(netlink.Link) (bool, error)) error {
	for {
		l, err := c.h.LinkByName(link)
		if err != nil {
			return err
		}
		if ok, err := ready(l); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// AddAddress gives the interface an address with its prefix length. For IPv6
// there is no duplicate address detection, but see WaitIPv6.
func (c *Changer) AddAddress(link string, addr netip.Prefix) error {
	a := &netlink.Addr{IPNet: ipNet(addr)}
	if addr.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return changeErr(c.change(link, func(l netlink.Link) error { return c.h.AddrAdd(l, a) }), "add %v to %s", addr, link)
}

// DelAddress takes an address from the interface.
func (c *Changer) DelAddress(link string, addr netip.Prefix) error {
	a := &netlink.Addr{IPNet: ipNet(addr)}
	return changeErr(c.change(link, func(l netlink.Link) error { return c.h.AddrDel(l, a) }), "delete %v from %s", addr, link)
}

// SetNeighbour makes the kernel take a neighbour to have just confirmed that
// link-layer address.
func (c *Changer) SetNeighbour(link string, addr netip.Addr, mac net.HardwareAddr) error {
	return changeErr(c.change(link, func(l netlink.Link) error {
		return c.h.NeighSet(&netlink.Neigh{
			LinkIndex:    l.Attrs().Index,
			State:        netlink.NUD_REACHABLE,
			IP:           addr.AsSlice(),
			HardwareAddr: mac,
		})
	}), "set neighbour %v on %s", addr, link)
}

// RouteSpec is a route to add or to remove. What is zero is left to the kernel.
type RouteSpec struct {
	Dst  netip.Prefix // 0.0.0.0/0 or ::/0 for the default route
	Via  netip.Addr   // gateway
	More []netip.Addr // further gateways, among which connections are spread
	Link string       // interface to send through
	Type RouteType    // what happens to packets; zero delivers them
}

// RouteType says what a route does, ip-route(8).
type RouteType int

// The types beside the usual one.
const (
	Unicast     RouteType = 0
	Blackhole   RouteType = unix.RTN_BLACKHOLE   // drops; EINVAL for own sockets
	Unreachable RouteType = unix.RTN_UNREACHABLE // answers host unreachable; EHOSTUNREACH
	Prohibit    RouteType = unix.RTN_PROHIBIT    // answers prohibited; EACCES
)

// AddRoute adds the route, or replaces the one to the same destination.
func (c *Changer) AddRoute(r RouteSpec) error {
	route, err := c.route(r)
	if err == nil {
		err = c.h.RouteReplace(route)
	}
	return changeErr(err, "add route %+v", r)
}

// DelRoute removes a route; only the fields that are set need to fit.
func (c *Changer) DelRoute(r RouteSpec) error {
	route, err := c.route(r)
	if err == nil {
		err = c.h.RouteDel(route)
	}
	return changeErr(err, "delete route %+v", r)
}

func (c *Changer) route(r RouteSpec) (*netlink.Route, error) {
	family := netlink.FAMILY_V4
	if r.Dst.Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	route := &netlink.Route{Family: family, Dst: ipNet(r.Dst), Type: int(r.Type)}
	switch {
	case len(r.More) > 0:
		for _, gw := range append([]netip.Addr{r.Via}, r.More...) {
			route.MultiPath = append(route.MultiPath, &netlink.NexthopInfo{Gw: gw.AsSlice()})
		}
	case r.Via.IsValid():
		route.Gw = r.Via.AsSlice()
	}
	if r.Link != "" {
		l, err := c.h.LinkByName(r.Link)
		if err != nil {
			return nil, err
		}
		route.LinkIndex = l.Attrs().Index
		if !r.Via.IsValid() {
			route.Scope = netlink.SCOPE_LINK
		}
	}
	return route, nil
}

func (c *Changer) change(link string, f func(netlink.Link) error) error {
	l, err := c.h.LinkByName(link)
	if err != nil {
		return err
	}
	return f(l)
}

func linkAttrs(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

// ipNet keeps the address as it is: for an interface it is more than a network.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func changeErr(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("rtnl: "+format+": %w", append(args, err)...)
}
