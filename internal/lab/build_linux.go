package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// build makes the hosts, then what connects them, then the routes.
func (l *Lab) build(t Topology) error {
	for _, h := range t.Hosts {
		if err := l.host(h, slices.Contains(t.Routers, h)); err != nil {
			return err
		}
	}
	var ends []End
	for i, link := range t.Links {
		ends = append(ends, link.A, link.B)
		if err := l.connect(link, fmt.Sprintf("cable%d", i)); err != nil {
			return err
		}
	}
	for _, b := range t.Bridges {
		ends = append(ends, b.End)
		m := l.machines[b.Host]
		if err := m.change.AddBridge(b.Interface, b.Ports...); err != nil {
			return err
		}
		if err := m.configure(b.End); err != nil {
			return err
		}
	}
	for _, e := range ends {
		if err := l.machines[e.Host].ready(l.ctx, e); err != nil {
			return err
		}
	}
	for _, r := range t.Routes {
		if err := l.machines[r.Host].route(r); err != nil {
			return err
		}
	}
	for _, e := range t.Masquerades {
		l.rules(e.Host, nft.SourceNAT, nft.If(nft.Out(e.Interface)).Masquerade())
	}
	return l.err
}

func (l *Lab) host(name string, router bool) error {
	m, err := newMachine(name, router)
	if err != nil {
		return err
	}
	l.machines[name] = m
	return nil
}

// connect makes a link. One whose cable takes time has a relay in the middle, a
// machine of that name.
func (l *Lab) connect(link Link, relay string) error {
	a, b := l.machines[link.A.Host], l.machines[link.B.Host]
	if link.Cable == (Cable{}) {
		if err := a.change.AddVeth(link.A.Interface, link.B.Interface, b.ns.Fd()); err != nil {
			return err
		}
	} else {
		if err := l.host(relay, false); err != nil {
			return err
		}
		r := l.machines[relay]
		for i, e := range []End{link.A, link.B} {
			if err := r.change.AddVeth(cableEnds[i], e.Interface, l.machines[e.Host].ns.Fd()); err != nil {
				return err
			}
		}
		if err := l.relay(r, link.Cable); err != nil {
			return err
		}
	}
	for _, e := range []End{link.A, link.B} {
		if err := l.machines[e.Host].configure(e); err != nil {
			return err
		}
	}
	return nil
}

// configure sets an interface up and gives it its addresses.
func (m *machine) configure(e End) error {
	if len(e.Addrs) == 0 {
		// Not even a link-local one: it sends nothing of its own.
		if err := m.sysctl("net.ipv6.conf."+e.Interface+".disable_ipv6", "1"); err != nil {
			return err
		}
	}
	if err := m.change.SetUp(e.Interface); err != nil {
		return err
	}
	for _, p := range e.Addrs {
		if err := m.change.AddAddress(e.Interface, p); err != nil {
			return err
		}
		m.addrs = append(m.addrs, p.Addr())
	}
	return nil
}

// route adds a route of the topology.
func (m *machine) route(r Route) error {
	if len(r.Via) > 1 {
		// By the fields of the header (policy 3), of which 0x37 are addresses,
		// protocol and ports. Policy 1 would take the hash that the client's socket
		// left on a packet, which changes with each retransmission.
		for _, f := range []string{"ipv4", "ipv6"} {
			for name, value := range map[string]string{"policy": "3", "fields": "55"} {
				err := m.sysctl("net."+f+".fib_multipath_hash_"+name, value)
				if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EINVAL) {
					err = fmt.Errorf("kernel without hashes by field for parallel routes: %w: %w", err, errors.ErrUnsupported)
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return m.change.AddRoute(rtnl.RouteSpec{Dst: r.Dst, Via: r.Via[0], More: r.Via[1:]})
}
