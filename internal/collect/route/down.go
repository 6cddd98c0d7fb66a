package route

import (
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// maxDown bounds the links listed.
const maxDown = 16

// downLinks are the interfaces whose being down, or being without carrier, can
// be what is missing: those that carry an address of the family, and for IPv6,
// whose addresses vanish with the link, Ethernet-like ones that are down. Left
// out are interfaces that never had a role: loopback, dummy, ifb, ports of a
// bridge or bond (the address is on the master), and a bridge without ports,
// such as that of a container engine without containers.
func downLinks(links []rtnl.Interface, addrs []rtnl.LocalAddr, v6 bool) []evidence.Link {
	var down []evidence.Link
	for _, l := range links {
		if l.Up && l.Carrier || l.Loopback || l.Kind == "dummy" || l.Kind == "ifb" ||
			isPort(l, links) || l.Up && isEmptyBridge(l, links) {
			continue
		}
		carries := slices.ContainsFunc(addrs, func(a rtnl.LocalAddr) bool {
			return a.Link == l.Index && !a.Addr.IsLinkLocalUnicast()
		})
		if (carries || v6 && !l.Up && isEthernetLike(l)) && len(down) < maxDown {
			down = append(down, shown(l))
		}
	}
	return down
}

// isPort says that the link is part of another one that has the addresses. A
// VRF is a master too, but its members keep theirs.
func isPort(l rtnl.Interface, links []rtnl.Interface) bool {
	return slices.ContainsFunc(links, func(m rtnl.Interface) bool {
		return m.Index == l.Master && (m.Kind == "bridge" || m.Kind == "bond" || m.Kind == "team")
	})
}

func isEmptyBridge(l rtnl.Interface, links []rtnl.Interface) bool {
	return l.Kind == "bridge" &&
		!slices.ContainsFunc(links, func(p rtnl.Interface) bool { return p.Master == l.Index })
}

// isEthernetLike leaves tunnels and their fallback devices out, some of which
// look like Ethernet.
func isEthernetLike(l rtnl.Interface) bool {
	switch l.Kind {
	case "", "veth", "bridge", "vlan", "bond", "team", "macvlan":
		return l.Ethernet
	}
	return false
}
