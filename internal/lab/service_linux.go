package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// services are programs that should listen and do not. What they met they write
// to their log on the server; from the client they are all alike.
func services() []Scenario {
	return []Scenario{
		failing("service-down", "service-down", "panic: ", func(l *Lab) { l.log("panic: cannot read configuration") }).
			showing("Connection refused: the service has ended with an error."),
		// A client's connection may have the port, which is one of the ephemeral ones.
		failing("bind-address-in-use", "bind-address-in-use", "address already in use", func(l *Lab) {
			l.occupy(Server, l.dst)
			l.startService(l.dst)
		}).showing("Connection refused: the service cannot bind its port, a connection of another program has it."),
		failing("bind-address-in-use-loopback", "bind-address-in-use", "address already in use", func(l *Lab) {
			l.serveAt(Server, loopback(l, l.dst.Port()), silent)
			l.startService(pick(l, netip.AddrPortFrom(netip.IPv4Unspecified(), l.dst.Port()), netip.AddrPortFrom(netip.IPv6Unspecified(), l.dst.Port())))
		}).showing("Connection refused: the service cannot bind its port, another program has it on localhost."),
		failing("bind-address-in-use-time-wait", "bind-address-in-use", "address already in use", func(l *Lab) {
			l.leaveWaiting(l.dst)
			l.startService(l.dst)
		}).showing("Connection refused: the service cannot bind its port again so soon after its end."),
		failing("bind-not-permitted", "bind-not-permitted", "permission denied", func(l *Lab) {
			l.sysctl(Server, "net.ipv4.ip_unprivileged_port_start", "32768")
			l.startService(l.dst)
		}).showing("Connection refused: the service is not allowed to bind its port."),
		failing("bind-address-missing", "bind-address-missing", "cannot assign requested address", func(l *Lab) {
			l.startService(l.nobody())
		}).showing("Connection refused: the service is told to bind an address that the server does not have."),
	}
}

// failing is a service of the server that ends, and says why in its log.
func failing(name, cause, reason string, fault func(*Lab)) Scenario {
	s := refusing(name, func(l *Lab) {
		l.stop(Server, l.dst.Port())
		fault(l)
	}).refining(cause)
	s.prove = func(_ context.Context, l *Lab) error {
		b, err := os.ReadFile(l.logFile())
		if err != nil || !strings.Contains(string(b), reason) {
			return fmt.Errorf("the service's log says %q, which is not about %q (%v)", b, reason, err)
		}
		return nil
	}
	return s
}

func (l *Lab) logFile() string { return filepath.Join(l.dir, "app.log") }

// Log is the log of the service, "" where it writes none.
func (l *Lab) Log() string {
	if _, err := os.Stat(l.logFile()); err != nil {
		return ""
	}
	return l.logFile()
}

// log adds a line to the log of the service.
func (l *Lab) log(line string) {
	f, err := os.OpenFile(l.logFile(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = fmt.Fprintln(f, line)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		l.fail(err)
	}
}

// startService starts the service as a program without privilege does: without
// CAP_NET_BIND_SERVICE, and without SO_REUSEADDR, as many forget it. If it cannot
// bind, that is in the log.
func (l *Lab) startService(at netip.AddrPort) {
	if l.err != nil {
		return
	}
	err := l.Do(Server, func() error {
		if err := dropCapability(unix.CAP_NET_BIND_SERVICE); err != nil {
			return err
		}
		fd, err := l.socket()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		var errno syscall.Errno
		if err := unix.Bind(fd, sockaddr(at)); errors.As(err, &errno) {
			l.log(fmt.Sprintf("fatal: listen tcp %v: bind: %v", at, errno))
			return nil
		} else if err != nil {
			return err
		}
		return fmt.Errorf("nothing kept the service from binding %v", at)
	})
	if err != nil {
		l.fail(fmt.Errorf("start the service: %w", err))
	}
}

// dropCapability gives up a capability for the calling thread; capabilities(7).
func dropCapability(which uint) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return err
	}
	sets[which/32].Effective &^= 1 << (which % 32)
	return unix.Capset(&header, &sets[0])
}

// leaveWaiting leaves a connection of the server's port in TIME_WAIT, which is
// on the side that closes first.
func (l *Lab) leaveWaiting(at netip.AddrPort) {
	l.serveAt(Server, at, closing)
	if l.err != nil {
		return
	}
	err := l.Do(Client, func() error {
		c, err := dial(l.ctx, at)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, c)
		return errors.Join(err, c.Close())
	})
	if err != nil {
		l.fail(fmt.Errorf("visit the service: %w", err))
	}
	l.stop(Server, at.Port())
	if !l.eventually(func() bool { return l.count(Server, timeWait) > 0 }) {
		l.fail(errors.New("no connection of the server is in TIME_WAIT"))
	}
}
