package rawsock

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

type conn struct {
	file *os.File
	raw  syscall.RawConn
}

// Open makes a socket to send IPv4 packets, or IPv6 packets if v6, in the
// network namespace of the calling thread, and through the interface named
// unless that is "". A process without CAP_NET_RAW gets a *PermissionError.
func Open(v6 bool, iface string) (*Conn, error) {
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	// IPPROTO_RAW implies that packets bring their IP header, for both
	// families, and that nothing is ever received.
	fd, err := socket(family, unix.SOCK_RAW|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW, iface)
	switch {
	case errors.Is(err, os.ErrPermission):
		return nil, &PermissionError{err}
	case err != nil:
		return nil, fmt.Errorf("send raw packets: %w", err)
	}
	c := &Conn{conn{file: os.NewFile(uintptr(fd), "raw socket")}}
	if c.raw, err = c.file.SyscallConn(); err != nil {
		c.file.Close()
		return nil, fmt.Errorf("send raw packets: %w", err)
	}
	return c, nil
}

// Send sends a packet that starts with its IP header to dst, which is the
// header's destination with its zone, if any. The error is a
// *os.SyscallError whose Errno tells what the host has against it: EPERM is an
// output rule that drops it, ENETUNREACH, EHOSTUNREACH, EACCES and EINVAL are
// routes.
func (c *Conn) Send(packet []byte, dst netip.Addr) (err error) {
	to, err := sockaddr(netip.AddrPortFrom(dst, 0))
	if err != nil {
		return err
	}
	cerr := c.raw.Write(func(fd uintptr) bool {
		for err = unix.EINTR; err == unix.EINTR; {
			err = unix.Sendto(int(fd), packet, 0, to)
		}
		return err != unix.EAGAIN
	})
	if cerr != nil {
		return cerr
	}
	return os.NewSyscallError("sendto", err)
}

// Close closes the socket.
func (c *Conn) Close() error { return c.file.Close() }

// Source is the address that the kernel would send from to dst, by asking a
// UDP socket; nothing is sent. The error is a *os.SyscallError as of connect.
func Source(dst netip.AddrPort, iface string) (netip.Addr, error) {
	fd, err := socket(family(dst.Addr()), unix.SOCK_DGRAM, 0, iface)
	if err != nil {
		return netip.Addr{}, err
	}
	defer unix.Close(fd)
	to, err := sockaddr(dst)
	if err != nil {
		return netip.Addr{}, err
	}
	if err := unix.Connect(fd, to); err != nil {
		return netip.Addr{}, os.NewSyscallError("connect", err)
	}
	local, err := localAddr(fd)
	return local.Addr(), err
}

type port struct{ fd int }

// Reserve takes a TCP port on a local address, so that no other program gets
// it until Close: the one asked for, or a random one of the usual range if
// number is 0. Nobody listens there, so the kernel answers what comes with RST.
func Reserve(local netip.Addr, number uint16, iface string) (*Port, error) {
	fd, err := socket(family(local), unix.SOCK_STREAM, 0, iface)
	if err != nil {
		return nil, err
	}
	const tries = 32
	for i := range tries {
		n := number
		if n == 0 && i < tries-1 { // the last try leaves the choice to the kernel
			n = uint16(firstPort + rand.IntN(lastPort-firstPort+1))
		}
		to, err := sockaddr(netip.AddrPortFrom(local, n))
		if err != nil {
			unix.Close(fd)
			return nil, err
		}
		err = unix.Bind(fd, to)
		if err == unix.EADDRINUSE && number == 0 && i < tries-1 {
			continue
		}
		if err != nil {
			unix.Close(fd)
			return nil, os.NewSyscallError("bind", err)
		}
		break
	}
	bound, err := localAddr(fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &Port{Number: bound.Port(), port: port{fd}}, nil
}

// Close gives the port back.
func (p *Port) Close() error { return os.NewSyscallError("close", unix.Close(p.fd)) }

// socket makes a socket bound to an interface, unless that is "".
func socket(family, kind, proto int, iface string) (int, error) {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if iface == "" {
		return fd, nil
	}
	if err := unix.BindToDevice(fd, iface); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("setsockopt SO_BINDTODEVICE", err)
	}
	return fd, nil
}

func family(a netip.Addr) int {
	if a.Unmap().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// sockaddr converts an address; a zone is an interface's name or index.
func sockaddr(a netip.AddrPort) (unix.Sockaddr, error) {
	ip := a.Addr().Unmap()
	if ip.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}, nil
	}
	sa := &unix.SockaddrInet6{Port: int(a.Port()), Addr: ip.As16()}
	if zone := ip.Zone(); zone != "" {
		n, err := strconv.ParseUint(zone, 10, 32)
		if err != nil {
			ifi, err := net.InterfaceByName(zone)
			if err != nil {
				return nil, fmt.Errorf("zone of %v: %w", ip, err)
			}
			n = uint64(ifi.Index)
		}
		sa.ZoneId = uint32(n)
	}
	return sa, nil
}

func localAddr(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), nil
	case *unix.SockaddrInet6:
		a := netip.AddrFrom16(sa.Addr)
		if sa.ZoneId != 0 {
			a = a.WithZone(strconv.Itoa(int(sa.ZoneId)))
		}
		return netip.AddrPortFrom(a, uint16(sa.Port)), nil
	}
	return netip.AddrPort{}, fmt.Errorf("getsockname: unexpected family %T", sa)
}
