package firewall

import (
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// destination is where NAT sends a packet.
type destination struct {
	addr     netip.Addr // not valid: not known
	port     int        // -1: not known
	keepPort bool
	self     bool // an address of this host, whichever
}

// router answers questions about routes and interfaces; *rtnl.Reader does.
type router interface {
	Route(rtnl.Lookup) (rtnl.Found, error)
	Interfaces() ([]rtnl.Interface, error)
	Addrs(v6 bool) ([]rtnl.LocalAddr, error)
}

// world is what the rules ask of the rest of the host. Answers are kept: rules
// ask the same again and again.
type world struct {
	router router
	links  []rtnl.Interface
	routes map[rtnl.Lookup]*rtnl.Found
	reply  track // how connection tracking sees the SYN-ACK
	// bound says that what is sent leaves by more than the destination alone, so
	// that nobody can tell how it leaves for another one.
	bound bool
}

func newWorld(r router) (*world, error) {
	links, err := r.Interfaces()
	if err != nil {
		return nil, err
	}
	return &world{router: r, links: links, routes: map[rtnl.Lookup]*rtnl.Found{}, reply: trackReply}, nil
}

// find looks up the route to an address, nil where that cannot be told.
func (w *world) find(a netip.Addr) *rtnl.Found {
	if !a.IsValid() || a.IsUnspecified() || a.Zone() != "" {
		return nil
	}
	q := rtnl.Lookup{To: a}
	if f, ok := w.routes[q]; ok {
		return f
	}
	var out *rtnl.Found
	if f, err := w.router.Route(q); err == nil {
		out = &f
	}
	w.routes[q] = out
	return out
}

func (w *world) link(name string) *rtnl.Interface {
	for i := range w.links {
		if w.links[i].Name == name {
			return &w.links[i]
		}
	}
	return nil
}

// stacked says that packets of the interface pass another interface, too: that
// of a port of a bridge, of a tunnel.
func (w *world) stacked(name string) bool {
	l := w.link(name)
	return l == nil || !l.Loopback && l.Kind != "" && l.Kind != "veth" && l.Kind != "dummy" && l.Kind != "tuntap"
}

func (w *world) name(index int) string {
	for _, l := range w.links {
		if l.Index == index {
			return l.Name
		}
	}
	return ""
}

// device is the interface by which a packet to an address leaves, "" where that
// is not known.
func (w *world) device(to netip.Addr) string {
	f := w.find(to)
	if f == nil || f.Errno != "" {
		return ""
	}
	return w.name(f.Link)
}

// isLocal says whether the address is one of this host.
func (w *world) isLocal(a netip.Addr) answer {
	f := w.find(a)
	if f == nil {
		return maybe
	}
	return answerOf(f.Type == "local")
}

// any is the unspecified address, which stands for an address of this host.
func (w *world) any(v6 bool) netip.Addr {
	if v6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// redirected is the address that a redirect of packets that come in by an
// interface sends them to: the first of the interface, nf_nat_redirect_ipv4 and
// _ipv6. It is not valid where that is not certain.
func (w *world) redirected(p packet) netip.Addr {
	if p.noIn { // made here
		if p.v6 {
			return netip.IPv6Loopback()
		}
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	l := w.link(p.in)
	addrs, err := w.router.Addrs(p.v6)
	if l == nil || err != nil {
		return netip.Addr{}
	}
	var found netip.Addr
	for _, a := range addrs {
		if a.Link != l.Index {
			continue
		}
		if found.IsValid() {
			return netip.Addr{} // which one comes first?
		}
		found = a.Addr
	}
	return found
}

// Types of routes, RTN_* of linux/rtnetlink.h.
const (
	rtnUnicast   = 1
	rtnLocal     = 2
	rtnBroadcast = 3
	rtnMulticast = 5
)

// addrType is the type of an address as "fib … type" and "-m addrtype" see it,
// and whether it is known. dev restricts it to addresses of that interface; "" is
// any.
func (w *world) addrType(a netip.Addr, restricted bool, dev string) (uint32, bool) {
	if a.IsValid() && a.IsMulticast() {
		return rtnMulticast, true
	}
	f := w.find(a)
	if f == nil {
		return 0, false
	}
	kind := uint32(rtnUnicast)
	switch f.Type {
	case "local":
		kind = rtnLocal
	case "broadcast":
		kind = rtnBroadcast
	case "unicast":
	default:
		if a.Is6() {
			return 0, false // unreachable and others are types of their own
		}
	}
	if restricted && kind != rtnUnicast {
		carrier := w.name(f.Carrier)
		if dev == "" || carrier == "" || carrier != dev {
			return 0, false
		}
	}
	return kind, true
}

func addrPort(a netip.Addr, port int) netip.AddrPort { return netip.AddrPortFrom(a, uint16(port)) }
