// Package bind finds out whether a server could bind an address of this host,
// and who or what is in the way if not. It really tries.
//
// It imports sockdiag, rtnl, tcpsock, procinfo, collect and evidence.
package bind

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

const (
	maxHolders = 32 // sockets that are listed

	// ownerTime bounds the search for the processes that hold them.
	ownerTime = 500 * time.Millisecond
)

// Try binds a TCP socket to the address and closes it at once, first without
// SO_REUSEADDR and then with it, and looks for what is in the way where that
// fails. [::] means IPv4 as well, as for most servers. The answer is for the
// user who asks: the privileges of another may make a difference, and findings
// say where. With env.Interface the socket is bound to that interface first.
//
// It never listens. A socket that listens, if only for a moment, takes the
// connections of clients that come just then, and breaks them. Nor is there a
// need to: what listen() checks once more (inet_csk_listen_start in
// net/ipv4/inet_connection_sock.c) is whether a socket came to listen since
// bind(), which has the same rules. While the socket is bound, some
// microseconds, a server that starts without SO_REUSEADDR could find the address
// in use.
//
// The error means that there was no trial: the address is not one to bind, or
// names an interface that is not there.
func Try(ctx context.Context, env collect.Env, addr netip.AddrPort) (evidence.BindTrial, error) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	trial := evidence.BindTrial{Addr: addr, PortStart: -1}
	switch a := addr.Addr(); {
	case !a.IsValid():
		return trial, fmt.Errorf("no address to bind: give one such as 0.0.0.0:443 or [::]:443")
	case addr.Port() == 0:
		return trial, fmt.Errorf("%v: with port 0 the system chooses a port: give one from 1 to 65535", addr)
	case a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return trial, fmt.Errorf("%v: a TCP server cannot have a multicast or broadcast address: give one of this host", addr)
	}
	p, err := newPlace(env, addr)
	if err != nil {
		return trial, err
	}
	trial.PortStart = portStart()
	trial.Syscall, trial.Errno = p.attempt(options{})
	_, trial.WithReuse = p.attempt(options{reuse: true})
	if trial.Errno == "" {
		return trial, nil
	}
	judge(ctx, &trial, p)
	return trial, nil
}

// options are those of the socket.
type options struct {
	reuse  bool // SO_REUSEADDR
	v6only bool // IPV6_V6ONLY
}
