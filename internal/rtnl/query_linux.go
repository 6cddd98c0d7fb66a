package rtnl

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// patience bounds each wait for the kernel, which answers at once.
const patience = time.Second

// Reader reads the routing state of one network namespace over its own sockets.
// It is safe for use by several goroutines. Every method that lists gives what
// it got when the kernel says that the table changed meanwhile.
type Reader struct {
	h *netlink.Handle
	// lookups is the socket of questions that the library has no words for.
	lookups map[int]*nl.SocketHandle
}

// NewReader opens a reader on the network namespace of the calling thread. It
// needs no privilege.
func NewReader() (*Reader, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("rtnetlink socket: %w", err)
	}
	if err := h.SetSocketTimeout(patience); err != nil {
		h.Close()
		return nil, fmt.Errorf("rtnetlink socket: %w", err)
	}
	lookups, err := lookupSocket()
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("rtnetlink socket: %w", err)
	}
	return &Reader{h, map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: lookups}}}, nil
}

// Close releases the sockets.
func (r *Reader) Close() {
	r.h.Close()
	r.lookups[unix.NETLINK_ROUTE].Close()
}

// Interfaces lists the links, loopback included.
func (r *Reader) Interfaces() ([]Interface, error) {
	links, err := r.h.LinkList()
	if err := broken(err); err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	out := make([]Interface, len(links))
	for i, l := range links {
		out[i] = toInterface(l)
	}
	return out, nil
}

func toInterface(l netlink.Link) Interface {
	a, kind := l.Attrs(), l.Type()
	if kind == "device" { // the library's word for a link without IFLA_INFO_KIND
		kind = ""
	}
	return Interface{
		Link: evidence.Link{
			Index: a.Index, Name: a.Name, Kind: kind, MTU: a.MTU, MAC: a.HardwareAddr.String(),
			Up:      a.RawFlags&unix.IFF_UP != 0,
			Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0,
		},
		Loopback: a.RawFlags&unix.IFF_LOOPBACK != 0,
		Ethernet: a.EncapType == "ether",
		Master:   a.MasterIndex,
		XDP:      toXDP(a.Xdp),
	}
}

// Addrs lists this host's addresses of a family on all interfaces.
func (r *Reader) Addrs(v6 bool) ([]LocalAddr, error) {
	addrs, err := r.h.AddrList(nil, family(v6))
	if err := broken(err); err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	out := make([]LocalAddr, 0, len(addrs))
	for _, a := range addrs {
		unusable := a.Flags&unix.IFA_F_DADFAILED != 0 ||
			a.Flags&unix.IFA_F_TENTATIVE != 0 && a.Flags&unix.IFA_F_OPTIMISTIC == 0
		if a.IPNet != nil {
			ones, _ := a.Mask.Size()
			out = append(out, LocalAddr{toAddr(a.IP), a.LinkIndex, ones, !unusable})
		}
	}
	return out, nil
}

// LocalRoutes lists the routes of type local of a family, in all tables.
func (r *Reader) LocalRoutes(v6 bool) (out []LocalRoute, err error) {
	all := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	err = r.h.RouteListFilteredIter(family(v6), all, netlink.RT_FILTER_TABLE, func(rt netlink.Route) bool {
		if rt.Type == unix.RTN_LOCAL {
			p := toPrefix(rt.Dst)
			switch {
			case p.IsValid():
			case v6:
				p = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
			default:
				p = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
			}
			out = append(out, LocalRoute{p, rt.Table})
		}
		return true
	})
	if err := broken(err); err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return out, nil
}

// Neighbour returns the entry for an address in the ARP or ND table of a link,
// nil when there is none.
func (r *Reader) Neighbour(link int, addr netip.Addr) (*evidence.Neighbour, error) {
	addr = addr.Unmap().WithZone("")
	entries, err := r.h.NeighList(link, family(addr.Is6()))
	if err := broken(err); err != nil {
		return nil, fmt.Errorf("list neighbours: %w", err)
	}
	for _, n := range entries {
		if toAddr(n.IP) == addr {
			return &evidence.Neighbour{Addr: addr, State: neighbourState(n.State), MAC: n.HardwareAddr.String()}, nil
		}
	}
	return nil, nil
}

// neighbourState words an NUD_ value as ip-neighbour(8) does.
func neighbourState(s int) string {
	switch s {
	case netlink.NUD_NONE:
		return "NONE"
	case netlink.NUD_INCOMPLETE:
		return "INCOMPLETE"
	case netlink.NUD_REACHABLE:
		return "REACHABLE"
	case netlink.NUD_STALE:
		return "STALE"
	case netlink.NUD_DELAY:
		return "DELAY"
	case netlink.NUD_PROBE:
		return "PROBE"
	case netlink.NUD_FAILED:
		return "FAILED"
	case netlink.NUD_NOARP:
		return "NOARP"
	case netlink.NUD_PERMANENT:
		return "PERMANENT"
	}
	return fmt.Sprintf("0x%02x", s)
}

// broken is err unless it only says that a dump raced with a change.
func broken(err error) error {
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil
	}
	return err
}

func family(v6 bool) int {
	if v6 {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

func toAddr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

func toPrefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(toAddr(n.IP), ones)
}
