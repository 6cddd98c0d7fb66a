package rtnl

import (
	"errors"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
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

// ForgetNeighbour ends the resolution of an address, by ARP or ND on whatever link,
// that is under way: the next packet to it begins another one. It is no error if
// there is none.
func (c *Changer) ForgetNeighbour(addr netip.Addr) error {
	return changeErr(func() error {
		entries, err := c.h.NeighList(0, family(addr.Is6()))
		if err != nil {
			return err
		}
		for _, n := range entries {
			a, _ := netip.AddrFromSlice(n.IP)
			if a.Unmap() != addr || n.State != netlink.NUD_INCOMPLETE {
				continue
			}
			if err := c.h.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
		return nil
	}(), "forget neighbour %v", addr)
}
