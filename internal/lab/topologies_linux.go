package lab

import "slices"

// OwnLink is a client and a server on one link.
func OwnLink() Topology {
	return Topology{
		Name:  "own-link",
		Hosts: []string{Client, Server},
		Links: []Link{{A: end(Client, "eth0", 1, 2), B: end(Server, "eth0", 1, 3)}},
	}
}

// ownSwitch is OwnLink with a switch between the two.
func ownSwitch() Topology {
	t := SharedLink()
	t.Name = OwnLink().Name
	t.Hosts = []string{Client, Switch, Server}
	t.Links = t.Links[:2]
	t.Bridges[0].Ports = t.Bridges[0].Ports[:2]
	return t
}

// SharedLink is a switch that connects client, server and a third host.
func SharedLink() Topology {
	return Topology{
		Name:  "shared-link",
		Hosts: []string{Client, Switch, Server, Other},
		Links: []Link{
			{A: end(Client, "eth0", 1, 2), B: plug(Switch, "eth0")},
			{A: end(Server, "eth0", 1, 3), B: plug(Switch, "eth1")},
			{A: end(Other, "eth0", 1, 4), B: plug(Switch, "eth2")},
		},
		Bridges: []Bridge{{plug(Switch, "br0"), []string{"eth0", "eth1", "eth2"}}},
	}
}

// TwoRouters is client - r1 - r2 - server.
func TwoRouters() Topology {
	return Topology{
		Name:    "two-routers",
		Hosts:   []string{Client, R1, R2, Server},
		Routers: []string{R1, R2},
		Links: []Link{
			{A: end(Client, "eth0", 1, 2), B: end(R1, "eth0", 1, 1)},
			{A: end(R1, "eth1", 2, 1), B: end(R2, "eth0", 2, 2)},
			{A: end(R2, "eth1", 3, 1), B: end(Server, "eth0", 3, 2)},
		},
		Routes: slices.Concat(
			fallback(Client, 1, 1),
			route(R1, 3, gateway{2, 2}),
			route(R2, 1, gateway{2, 1}),
			fallback(Server, 3, 1),
		),
	}
}

// overCable is TwoRouters with such a cable between the routers.
func overCable(c Cable) Topology {
	t := TwoRouters()
	t.Name = "two-routers-far-apart"
	t.Links[1].Cable = c
	return t
}

// BehindSwitch is TwoRouters with a switch between r2 and the server.
func BehindSwitch() Topology {
	t := TwoRouters()
	t.Name = "behind-switch"
	t.Hosts = []string{Client, R1, R2, Switch, Server}
	t.Links = append(t.Links[:2],
		Link{A: end(R2, "eth1", 3, 1), B: plug(Switch, "eth0")},
		Link{A: end(Server, "eth0", 3, 2), B: plug(Switch, "eth1")})
	t.Bridges = []Bridge{{plug(Switch, "br0"), []string{"eth0", "eth1"}}}
	return t
}

// NATGateway is TwoRouters in which r1 hides the client behind its own address:
// r2 knows no way to the client's network.
func NATGateway() Topology {
	t := TwoRouters()
	t.Name = "nat-gateway"
	t.Masquerades = []End{plug(R1, "eth1")}
	t.Routes = slices.DeleteFunc(t.Routes, func(r Route) bool { return r.Host == R2 })
	return t
}

// ForwardingGateway is TwoRouters in which r2 hides the server behind its own
// address: r1 knows no way to the server's network.
func ForwardingGateway() Topology {
	t := TwoRouters()
	t.Name = "forwarding-gateway"
	t.Masquerades = []End{plug(R2, "eth0")}
	t.Routes = slices.DeleteFunc(t.Routes, func(r Route) bool { return r.Host == R1 })
	return t
}

// FiveHops is client - r1 - r2 - r3 - r4 - server.
func FiveHops() Topology {
	return Topology{
		Name:    "five-hops",
		Hosts:   []string{Client, R1, R2, R3, R4, Server},
		Routers: []string{R1, R2, R3, R4},
		Links: []Link{
			{A: end(Client, "eth0", 1, 2), B: end(R1, "eth0", 1, 1)},
			{A: end(R1, "eth1", 2, 1), B: end(R2, "eth0", 2, 2)},
			{A: end(R2, "eth1", 4, 1), B: end(R3, "eth0", 4, 2)},
			{A: end(R3, "eth1", 5, 1), B: end(R4, "eth0", 5, 2)},
			{A: end(R4, "eth1", 3, 1), B: end(Server, "eth0", 3, 2)},
		},
		// What is not there is towards the server, and back towards the client.
		Routes: slices.Concat(
			fallback(Client, 1, 1),
			fallback(R1, 2, 2),
			fallback(R2, 4, 2), route(R2, 1, gateway{2, 1}),
			fallback(R3, 5, 2), route(R3, 1, gateway{4, 1}), route(R3, 2, gateway{4, 1}),
			fallback(R4, 5, 1),
			fallback(Server, 3, 1),
		),
	}
}

// ParallelPaths is client - r1 = r2 or r3 = r4 - server: r1 spreads connections
// between r2 and r3; all answers take r2.
func ParallelPaths() Topology {
	return Topology{
		Name:    "parallel-paths",
		Hosts:   []string{Client, R1, R2, R3, R4, Server},
		Routers: []string{R1, R2, R3, R4},
		Links: []Link{
			{A: end(Client, "eth0", 1, 2), B: end(R1, "eth0", 1, 1)},
			{A: end(R1, "eth1", 2, 1), B: end(R2, "eth0", 2, 2)},
			{A: end(R1, "eth2", 4, 1), B: end(R3, "eth0", 4, 2)},
			{A: end(R2, "eth1", 5, 1), B: end(R4, "eth0", 5, 2)},
			{A: end(R3, "eth1", 6, 1), B: end(R4, "eth2", 6, 2)},
			{A: end(R4, "eth1", 3, 1), B: end(Server, "eth0", 3, 2)},
		},
		Routes: slices.Concat(
			fallback(Client, 1, 1),
			route(R1, 3, gateway{2, 2}, gateway{4, 2}),
			fallback(R2, 5, 2), route(R2, 1, gateway{2, 1}),
			fallback(R3, 6, 2), route(R3, 1, gateway{4, 1}),
			fallback(R4, 5, 1),
			fallback(Server, 3, 1),
		),
	}
}

// UnevenPaths is ParallelPaths with one more router, r5, behind r3.
func UnevenPaths() Topology {
	t := ParallelPaths()
	t.Name = "uneven-paths"
	t.Hosts = []string{Client, R1, R2, R3, R5, R4, Server}
	t.Routers = append(t.Routers, R5)
	t.Links[4] = Link{A: end(R3, "eth1", 6, 1), B: end(R5, "eth0", 6, 2)}
	t.Links = append(t.Links, Link{A: end(R5, "eth1", 7, 1), B: end(R4, "eth2", 7, 2)})
	t.Routes = slices.Concat(t.Routes, fallback(R5, 7, 2), route(R5, 1, gateway{6, 1}))
	return t
}

// UnevenReturn is UnevenPaths the other way round: packets to the server all take
// r2, and r4 spreads the answers between r2 and the longer way by r5 and r3.
func UnevenReturn() Topology {
	t := UnevenPaths()
	t.Name = "uneven-return"
	t.Routes = slices.DeleteFunc(t.Routes, func(r Route) bool { return r.Host == R1 })
	t.Routes = slices.Concat(t.Routes, route(R1, 3, gateway{2, 2}), route(R4, 1, gateway{5, 1}, gateway{7, 1}))
	return t
}

// LoadBalancer is client - r1 - balancer, and behind that three backends, each
// on a link of its own. The service has the balancer's address.
func LoadBalancer() Topology {
	return Topology{
		Name:    "load-balancer",
		Hosts:   []string{Client, R1, Balancer, Backend1, Backend2, Backend3},
		Routers: []string{R1, Balancer},
		Links: []Link{
			{A: end(Client, "eth0", 1, 2), B: end(R1, "eth0", 1, 1)},
			{A: end(R1, "eth1", 2, 1), B: end(Balancer, "eth0", 2, 2)},
			{A: end(Balancer, "eth1", 11, 1), B: end(Backend1, "eth0", 11, 2)},
			{A: end(Balancer, "eth2", 12, 1), B: end(Backend2, "eth0", 12, 2)},
			{A: end(Balancer, "eth3", 13, 1), B: end(Backend3, "eth0", 13, 2)},
		},
		Routes: slices.Concat(
			fallback(Client, 1, 1),
			fallback(Balancer, 2, 1),
			fallback(Backend1, 11, 1), fallback(Backend2, 12, 1), fallback(Backend3, 13, 1),
		),
	}
}

// Containers is TwoRouters with a container inside the server: a host on a
// bridge of it, as container engines make them. Nobody outside knows its network.
func Containers() Topology {
	t := TwoRouters()
	t.Name = "containers"
	t.Hosts = append(t.Hosts, Container)
	t.Routers = append(t.Routers, Server)
	t.Links = append(t.Links, Link{A: plug(Server, "veth0"), B: end(Container, "eth0", 50, 2)})
	t.Bridges = []Bridge{{end(Server, "br0", 50, 1), []string{"veth0"}}}
	t.Routes = append(t.Routes, fallback(Container, 50, 1)...)
	t.Masquerades = []End{plug(Server, "eth0")}
	return t
}

// twoLinksToServer is TwoRouters with a second link between r2 and the server,
// which the server's answers take.
func twoLinksToServer() Topology {
	t := TwoRouters()
	t.Name = "two-links"
	t.Links = append(t.Links, Link{A: end(R2, "eth2", 4, 1), B: end(Server, "eth1", 4, 2)})
	t.Routes = append(t.Routes, route(Server, 1, gateway{4, 1})...)
	return t
}
