package rtnl

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// FixNeighbour sets the link-layer address of a neighbour for good: whatever it
// says itself does not change that.
func (c *Changer) FixNeighbour(link string, addr netip.Addr, mac net.HardwareAddr) error {
	return changeErr(c.change(link, func(l netlink.Link) error {
		return c.h.NeighSet(&netlink.Neigh{
			LinkIndex:    l.Attrs().Index,
			State:        netlink.NUD_PERMANENT,
			IP:           addr.AsSlice(),
			HardwareAddr: mac,
		})
	}), "fix neighbour %v on %s", addr, link)
}
