package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// The hosts. Not every topology has all of them.
const (
	Client    = "client"
	R1        = "router1"
	R2        = "router2"
	R3        = "router3"
	R4        = "router4"
	R5        = "router5"
	Server    = "server"
	Other     = "other"    // a third host on a shared link
	Switch    = "switch"   // a bridge without an address
	Balancer  = "balancer" // spreads a service's connections among the backends
	Backend1  = "backend1" // that the balancer names first
	Backend2  = "backend2"
	Backend3  = "backend3"
	Container = "container" // inside the server, on a bridge of it
)

// Topology is hosts, what connects them, and routes, as data.
type Topology struct {
	Name    string
	Hosts   []string
	Routers []string // those of the hosts that forward
	Links   []Link
	Bridges []Bridge
	Routes  []Route
	// Masquerades lists interfaces at which a router puts its own address in
	// place of the senders'; the End's addresses do not count.
	Masquerades []End
}

// Link is a cable between two interfaces.
type Link struct {
	A, B  End
	Cable Cable
}

// Cable is how a link carries frames; the zero value at once and in order.
// Address resolution always takes no time: a long way is one through routers.
type Cable struct {
	Delay     time.Duration // of each frame, one way
	LateEvery int           // if not 0, one frame in so many
	LateBy    time.Duration // is late by this, so that others overtake it
}

// End is an interface of a host and its addresses.
type End struct {
	Host, Interface string
	Addrs           []netip.Prefix
}

// Bridge is an interface of a host that connects other interfaces of it, as a
// switch does. With addresses it is also the host's own.
type Bridge struct {
	End
	Ports []string
}

// Route is a route of a host through a gateway. With several it spreads
// connections among them by address and port.
type Route struct {
	Host string
	Dst  netip.Prefix
	Via  []netip.Addr
}

// ends are the interfaces of a host that have addresses.
func (t Topology) ends(host string) []End {
	var list []End
	for _, link := range t.Links {
		list = append(list, link.A, link.B)
	}
	for _, b := range t.Bridges {
		list = append(list, b.End)
	}
	return slices.DeleteFunc(list, func(e End) bool { return e.Host != host || len(e.Addrs) == 0 })
}

// Networks have a number, and hosts one in each of theirs: host 2 of network 3
// is 10.77.3.2 and fd77:3::2.

// ip is the address of a host in a network.
func ip(f Family, network, host int) netip.Addr {
	if f == V6 {
		return netip.MustParseAddr(fmt.Sprintf("fd77:%d::%d", network, host))
	}
	return netip.AddrFrom4([4]byte{10, 77, byte(network), byte(host)})
}

// subnet is the prefix of a network.
func subnet(f Family, network int) netip.Prefix {
	return netip.PrefixFrom(ip(f, network, 0), map[Family]int{V4: 24, V6: 64}[f])
}

// end is an interface with its addresses in a network.
func end(host, iface string, network, number int) End {
	e := End{Host: host, Interface: iface}
	for _, f := range []Family{V4, V6} {
		e.Addrs = append(e.Addrs, netip.PrefixFrom(ip(f, network, number), subnet(f, network).Bits()))
	}
	return e
}

// plug is an interface without addresses: one that belongs to a bridge.
func plug(host, iface string) End { return End{Host: host, Interface: iface} }

// gateway is a host in a network.
type gateway struct{ network, number int }

// route is a host's way to a network, for both families.
func route(host string, network int, via ...gateway) []Route {
	return routes(host, subnet(V4, network), subnet(V6, network), via...)
}

// fallback is a host's default route, for both families.
func fallback(host string, network, number int) []Route {
	return routes(host, netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"), gateway{network, number})
}

func routes(host string, dst4, dst6 netip.Prefix, via ...gateway) []Route {
	list := []Route{{Host: host, Dst: dst4}, {Host: host, Dst: dst6}}
	for _, g := range via {
		list[0].Via = append(list[0].Via, ip(V4, g.network, g.number))
		list[1].Via = append(list[1].Via, ip(V6, g.network, g.number))
	}
	return list
}
