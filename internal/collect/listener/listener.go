// Package listener looks at the socket table of this host: who listens on a
// port, whether a SYN to an address reaches one of them, and whether a
// connection to a server here was ever accepted.
//
// It imports sockdiag, netns, rtnl, tcpsock, procinfo, collect, evidence and flow.
package listener

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/sockdiag"
)

const (
	// maxOnPort bounds the listeners on one port; SO_REUSEPORT makes many.
	maxOnPort = 1024

	// ownerTime bounds the search for the processes, which is worth less than
	// a quick answer on a host with very many of them.
	ownerTime = 50 * time.Millisecond
)

// Collect lists the listening sockets on the target's port, and says which a
// SYN that this host sends to the target would reach. The target is meant to be
// an address of this host; for any other, Serves says what would be if it were.
func Collect(ctx context.Context, env collect.Env, target netip.AddrPort) (evidence.Listeners, error) {
	out := evidence.Listeners{At: env.Clock.Now()}
	socks, err := listening(ctx, &out, target.Port())
	if err != nil {
		return out, fmt.Errorf("listeners on port %d: %w", target.Port(), err)
	}
	var (
		in    int // matters to sockets bound to an interface only
		names map[int]string
	)
	if onDevice(socks) {
		if in, names, err = arrival(env, target.Addr()); err != nil {
			return out, fmt.Errorf("listeners on port %d: %w", target.Port(), err)
		}
	}
	serves := serving(socks, target.Addr(), in)

	ctx, cancel := context.WithTimeout(ctx, ownerTime)
	defer cancel()
	inodes := make([]uint64, len(socks))
	for i, s := range socks {
		inodes[i] = s.Inode
	}
	owners := sockdiag.Owners(ctx, nil, inodes...)
	for i, s := range socks {
		o := owners[s.Inode]
		l := toListener(s, names)
		l.PID, l.Process, l.Serves = o.PID, o.Name, serves[i]
		out.OnPort = append(out.OnPort, l)
	}
	return out, nil
}

// listening counts all listening sockets and returns those on the port.
func listening(ctx context.Context, out *evidence.Listeners, port uint16) ([]sockdiag.Socket, error) {
	all, err := listeners(ctx)
	if err != nil {
		return nil, err
	}
	out.Total = len(all)
	var socks []sockdiag.Socket
	for _, s := range all {
		if s.Local.Port() == port && len(socks) < maxOnPort {
			socks = append(socks, s)
		}
	}
	return socks, nil
}

// listeners are those of the namespace of the calling thread.
func listeners(ctx context.Context) (socks []sockdiag.Socket, err error) {
	conn, err := sockdiag.Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	for s, err := range conn.Sockets(sockdiag.Query{States: sockdiag.Of(sockdiag.Listen), V4: true, V6: true}) {
		if err != nil {
			return nil, err
		}
		socks = append(socks, s)
	}
	return socks, nil
}

// toListener makes evidence of a socket; names are those of the interfaces, and
// matter only where the socket is bound to one.
func toListener(s sockdiag.Socket, names map[int]string) evidence.Listener {
	return evidence.Listener{
		Addr: s.Local, V6Only: s.V6Only, Device: names[s.Device],
		Queue: int(s.RecvQ), Backlog: int(s.SendQ),
		UID: s.UID, Inode: s.Inode,
	}
}

// onDevice says that one of the sockets is bound to an interface.
func onDevice(socks []sockdiag.Socket) bool {
	return slices.ContainsFunc(socks, func(s sockdiag.Socket) bool { return s.Device != 0 })
}

// Queued says, for a server on this host, whether the connection with this
// tuple (as the client sees it) is still waiting to be accepted: the server's
// socket belongs to no process. It is nil when the server's side is not in the
// socket table of this network namespace.
func Queued(ctx context.Context, env collect.Env, tuple flow.Tuple) (*bool, error) {
	conn, err := sockdiag.Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("server's socket of %s: %w", tuple.Local, err)
	}
	defer conn.Close()
	local, remote := plain(tuple.Remote), plain(tuple.Local)
	q := sockdiag.Query{
		States:    sockdiag.Connections,
		LocalPort: local.Port(), RemotePort: remote.Port(),
		V4: local.Addr().Is4(), V6: true,
	}
	for s, err := range conn.Sockets(q) {
		if err != nil {
			return nil, fmt.Errorf("server's socket of %s: %w", tuple.Local, err)
		}
		if plain(s.Local) == local && plain(s.Remote) == remote {
			queued := waiting(s)
			return &queued, nil
		}
	}
	return nil, nil
}

// waiting says that no process has accepted the socket yet. A socket that was
// accepted and closed belongs to nobody either, but that puts it in a state in
// which no waiting one can be.
func waiting(s sockdiag.Socket) bool {
	return s.Inode == 0 &&
		sockdiag.Of(sockdiag.SynRecv, sockdiag.Established, sockdiag.CloseWait).Has(s.State)
}

// plain is the address without the zone and without the IPv4-mapped form.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
