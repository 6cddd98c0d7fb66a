//go:build unix

package bind

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/collect"
)

// place is what a socket is bound to.
type place struct {
	addr   netip.AddrPort
	device string // name of an interface, "" for any
	index  int    // of that interface
	scope  uint32 // index of the interface that the zone names
}

func newPlace(env collect.Env, addr netip.AddrPort) (place, error) {
	p := place{addr: addr, device: env.Interface}
	if p.device != "" {
		i, err := indexOf(p.device)
		if err != nil {
			return p, fmt.Errorf("%v: %w", addr, err)
		}
		p.index = i
	}
	if zone := addr.Addr().Zone(); zone != "" {
		i, err := indexOf(zone)
		if err != nil {
			return p, fmt.Errorf("%v: %w", addr, err)
		}
		p.scope = uint32(i)
	}
	return p, nil
}

func indexOf(link string) (int, error) {
	i, err := net.InterfaceByName(link)
	if err != nil {
		return 0, fmt.Errorf("no interface %q: name one of those that ip link shows", link)
	}
	return i.Index, nil
}

// attempt makes a socket and binds it, and names the call that failed and the
// error; both are "" if none did.
func (p place) attempt(o options) (syscall, errno string) {
	a := p.addr.Addr()
	domain := unix.AF_INET
	var sa unix.Sockaddr
	if a.Is4() {
		sa = &unix.SockaddrInet4{Port: int(p.addr.Port()), Addr: a.As4()}
	} else {
		domain = unix.AF_INET6
		sa = &unix.SockaddrInet6{Port: int(p.addr.Port()), Addr: a.As16(), ZoneId: p.scope}
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM, 0)
	if err != nil {
		return "socket", errnoName(err)
	}
	defer unix.Close(fd)
	unix.CloseOnExec(fd)
	if o.reuse {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if domain == unix.AF_INET6 && err == nil {
		only := 0
		if o.v6only {
			only = 1
		}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	if p.device != "" && err == nil {
		err = bindToDevice(fd, p.device)
	}
	if err != nil {
		return "setsockopt", errnoName(err)
	}
	if err := unix.Bind(fd, sa); err != nil {
		return "bind", errnoName(err)
	}
	return "", ""
}

func errnoName(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		if name := unix.ErrnoName(errno); name != "" {
			return name
		}
	}
	return err.Error()
}
