package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sockets are faults of the user's own sockets and of what the host lets a
// process have.
func sockets() []Scenario {
	missing := func(l *Lab) netip.AddrPort {
		return pick(l, netip.MustParseAddrPort("192.0.2.1:0"), netip.MustParseAddrPort("[2001:db8::1]:0"))
	}
	taken := func(l *Lab) netip.AddrPort { return l.at(Client, busyPort) }
	return []Scenario{
		{
			Name: "source-address-missing", prove: proveFrom(missing, NoAddress),
			Shows: "Cannot assign requested address, at once: the source that was asked for is not on this host.",
			Args:  []string{"--source", "192.0.2.1"}, Args6: []string{"--source", "2001:db8::1"},
		},
		{
			Name: "source-port-busy", prove: proveFrom(taken, "EADDRINUSE"),
			Shows: "Address already in use, at once: another program has the source port that was asked for.",
			Args:  []string{"--source", "10.77.1.2:4000"}, Args6: []string{"--source", "[fd77:1::2]:4000"},
			fault: func(l *Lab) { l.serveAt(Client, l.at(Client, busyPort), silent) },
		},
		{
			Name: "ports-exhausted", Connect: NoAddress,
			Shows: "Cannot assign requested address, at once: connections to the server have all local ports.",
			fault: func(l *Lab) {
				l.fewPorts()
				for range fewPorts {
					l.hold(Client, l.dst)
				}
			},
		},
		{
			Name: "ports-exhausted-time-wait", Cause: "ports-exhausted", Connect: NoAddress,
			Shows: "Cannot assign requested address, at once: closed connections still have all local ports.",
			fault: func(l *Lab) {
				l.fewPorts()
				for range fewPorts {
					l.visit(Client, l.dst)
				}
			},
		},
		{
			Name: "ports-exhausted-bound", Cause: "ports-exhausted", Connect: NoAddress,
			Shows: "Cannot assign requested address, at once: other programs are bound to all local ports.",
			fault: func(l *Lab) {
				l.fewPorts()
				for i := range uint16(fewPorts) {
					l.occupy(Client, l.at(Client, firstPort+i))
				}
			},
		},
		{
			Name: "ports-exhausted-reserved", Cause: "ports-exhausted", Connect: NoAddress,
			Shows: "Cannot assign requested address, at once: all local ports are reserved.",
			fault: func(l *Lab) {
				l.fewPorts()
				l.sysctl(Client, "net.ipv4.ip_local_reserved_ports", fmt.Sprintf("%d-%d", firstPort, firstPort+fewPorts-1))
			},
		},
		{
			Name: "too-many-open-files", prove: proveLimit,
			Shows: "Too many open files, at once: the process has no descriptor left for a socket.",
			fault: func(l *Lab) { l.descriptors = 8 },
		},
		{
			Name: "local-policy-denies", Connect: "EPERM",
			Shows: "Operation not permitted, at once: a seccomp filter on the process.",
			fault: func(l *Lab) { l.denied = syscall.EPERM },
		},
		{
			Name: "local-policy-denies-eacces", Cause: "local-policy-denies", Connect: Denied,
			Shows: "Permission denied, at once: a seccomp filter on the process.",
			fault: func(l *Lab) { l.denied = syscall.EACCES },
		},
		{
			// RFC 9293 allows both ends to open at once; with the only port that is
			// left both ends are one socket.
			Name: "self-connection", prove: proveSelf,
			Shows: "It connects, though nothing listens, and what is sent comes back.",
			setup: func(l *Lab) { l.dst = loopback(l, firstPort) },
			fault: func(l *Lab) {
				l.sysctl(Client, "net.ipv4.ip_local_port_range", fmt.Sprintf("%d %d", firstPort, firstPort))
			},
		},
	}
}

const (
	busyPort  = 4000  // of the client
	firstPort = 40000 // of the few that fewPorts leaves
	fewPorts  = 4
)

// fewPorts leaves the client few ports to connect from.
func (l *Lab) fewPorts() {
	l.sysctl(Client, "net.ipv4.ip_local_port_range", fmt.Sprintf("%d %d", firstPort, firstPort+fewPorts-1))
}

// visit connects from a host and closes the connection, which leaves a socket
// in TIME_WAIT there.
func (l *Lab) visit(host string, to netip.AddrPort) {
	if l.err != nil {
		return
	}
	err := l.Do(host, func() error {
		c, err := dial(l.ctx, to)
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err != nil {
		l.fail(fmt.Errorf("connect from %s: %w", host, err))
	}
}

// occupy binds a socket of a host to an address and does nothing with it until
// the lab ends.
func (l *Lab) occupy(host string, at netip.AddrPort) {
	if l.err != nil {
		return
	}
	err := l.Do(host, func() error {
		fd, err := l.socket()
		if err != nil {
			return err
		}
		l.closers = append(l.closers, descriptor(fd))
		// What listened there before is bound until a process that is just being
		// started has dropped its copy.
		ctx, cancel := context.WithTimeout(l.ctx, Patience)
		defer cancel()
		for err = unix.Bind(fd, sockaddr(at)); err == unix.EADDRINUSE && ctx.Err() == nil; err = unix.Bind(fd, sockaddr(at)) {
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
		return err
	})
	if err != nil {
		l.fail(fmt.Errorf("bind on %s to %v: %w", host, at, err))
	}
}

// descriptor closes a file descriptor that Go knows nothing about.
type descriptor int

func (d descriptor) Close() error { return unix.Close(int(d)) }

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// proveLimit checks that the user's programs get the limit.
func proveLimit(_ context.Context, l *Lab) error {
	out, err := l.Command(l.Scenario.From, true, "/bin/sh", "-c", "ulimit -n").Output()
	if want := fmt.Sprint(l.descriptors); err != nil || strings.TrimSpace(string(out)) != want {
		return fmt.Errorf("a program's limit of descriptors is %q, want %s (%v)", out, want, err)
	}
	return nil
}

// proveSelf checks that a connection is one with itself. It takes a socket of its
// own, because package net hides such a connection from its users, and ends it
// by a RST: the port must be free for the next.
func proveSelf(_ context.Context, l *Lab) error {
	return l.Do(l.Scenario.From, func() error {
		fd, err := l.socket()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			return err
		}
		if err := unix.Connect(fd, sockaddr(l.dst)); err != nil {
			return fmt.Errorf("connect to %v: %w", l.dst, err)
		}
		local, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(local, sockaddr(l.dst)) {
			return fmt.Errorf("connected from %v to %v, which are not the same", local, l.dst)
		}
		return nil
	})
}

// socket opens a TCP socket of the lab's family in the namespace of the calling
// thread, without what package net does to one.
func (l *Lab) socket() (int, error) {
	return unix.Socket(pick(l, unix.AF_INET, unix.AF_INET6), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}

// States of TCP sockets in /proc/net/tcp, from net/tcp_states.h.
const (
	synRecv  = "03"
	timeWait = "06"
)

// count counts a host's TCP sockets in a state.
func (l *Lab) count(host, state string) int {
	n := 0
	err := l.Do(host, func() error {
		// One that a socket of IPv6 takes over IPv4 is in the list of its family.
		b4, err4 := os.ReadFile("/proc/thread-self/net/tcp")
		b6, err6 := os.ReadFile("/proc/thread-self/net/tcp6")
		for line := range strings.Lines(string(b4) + string(b6)) {
			if f := strings.Fields(line); len(f) > 3 && f[3] == state {
				n++
			}
		}
		return errors.Join(err4, err6)
	})
	if err != nil {
		l.fail(err)
	}
	return n
}
