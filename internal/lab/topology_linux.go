package lab

import (
	"net/netip"
)

// The hosts.
const (
	Client = "client"
	R1     = "router1"
	R2     = "router2"
	Server = "server"
)

// Topology is hosts, links between them and routes, as data.
type Topology struct {
	Name    string
	Hosts   []string
	Routers []string // those of the hosts that forward
	Links   []Link
	Routes  []Route
}

// Link is a cable between two interfaces.
type Link struct{ A, B End }

// End is an interface of a host and its addresses.
type End struct {
	Host, Interface string
	Addrs           []netip.Prefix
}

// Route is a route of a host through a gateway.
type Route struct {
	Host string
	Dst  netip.Prefix
	Via  netip.Addr
}

// OwnLink is a client and a server on one link.
func OwnLink() Topology {
	return Topology{
		Name:  "own-link",
		Hosts: []string{Client, Server},
		Links: []Link{{end(Client, "eth0", "10.77.1.2", "fd77:1::2"), end(Server, "eth0", "10.77.1.3", "fd77:1::3")}},
	}
}

// TwoRouters is client - r1 - r2 - server.
func TwoRouters() Topology {
	return Topology{
		Name:    "two-routers",
		Hosts:   []string{Client, R1, R2, Server},
		Routers: []string{R1, R2},
		Links: []Link{
			{end(Client, "eth0", "10.77.1.2", "fd77:1::2"), end(R1, "eth0", "10.77.1.1", "fd77:1::1")},
			{end(R1, "eth1", "10.77.2.1", "fd77:2::1"), end(R2, "eth0", "10.77.2.2", "fd77:2::2")},
			{end(R2, "eth1", "10.77.3.1", "fd77:3::1"), end(Server, "eth0", "10.77.3.2", "fd77:3::2")},
		},
		Routes: []Route{
			route(Client, "0.0.0.0/0", "10.77.1.1"), route(Client, "::/0", "fd77:1::1"),
			route(R1, "10.77.3.0/24", "10.77.2.2"), route(R1, "fd77:3::/64", "fd77:2::2"),
			route(R2, "10.77.1.0/24", "10.77.2.1"), route(R2, "fd77:1::/64", "fd77:2::1"),
			route(Server, "0.0.0.0/0", "10.77.3.1"), route(Server, "::/0", "fd77:3::1"),
		},
	}
}

func end(host, iface, v4, v6 string) End {
	return End{host, iface, []netip.Prefix{netip.MustParsePrefix(v4 + "/24"), netip.MustParsePrefix(v6 + "/64")}}
}

func route(host, dst, via string) Route {
	return Route{host, netip.MustParsePrefix(dst), netip.MustParseAddr(via)}
}
