package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// sweep makes n connections to the target, as sweepTo does.
func (l *Lab) sweep(ctx context.Context, n int, wait time.Duration) (map[Outcome]int, error) {
	return l.sweepTo(ctx, l.dst, n, wait)
}

// sweepTo makes n connections at once from where the user sits, each from a port
// of its own, and counts how they end within the time; those that have not are
// TimesOut.
func (l *Lab) sweepTo(ctx context.Context, to netip.AddrPort, n int, wait time.Duration) (map[Outcome]int, error) {
	got := make(map[Outcome]int)
	err := l.Do(l.Scenario.From, func() error {
		if err := l.confine(); err != nil {
			return err
		}
		open := make([]unix.PollFd, 0, n)
		defer func() {
			for _, p := range open {
				unix.Close(int(p.Fd))
			}
		}()
		for range n {
			fd, err := begin(to)
			if fd >= 0 {
				open = append(open, unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT})
			}
			if err != nil {
				return fmt.Errorf("connect to %v: %w", to, err)
			}
		}
		left := n
		for end := time.Now().Add(wait); left > 0; {
			pause := min(time.Until(end), 10*time.Millisecond) // to look at ctx
			if pause <= 0 {
				break
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if _, err := unix.Poll(open, int(pause.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
			for i := range open {
				if p := &open[i]; p.Revents != 0 && p.Events != 0 {
					errno, err := unix.GetsockoptInt(int(p.Fd), unix.SOL_SOCKET, unix.SO_ERROR)
					if err != nil {
						return err
					}
					got[ended(errno)]++
					left--
					unix.Close(int(p.Fd))
					*p = unix.PollFd{Fd: -1} // poll(2) leaves it out
				}
			}
		}
		if left > 0 {
			got[TimesOut] = left
		}
		return nil
	})
	return got, err
}

// begin starts a connection from the namespace of the calling thread.
func begin(to netip.AddrPort) (fd int, err error) {
	family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
	if to.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, sa); !errors.Is(err, unix.EINPROGRESS) {
		return fd, err
	}
	return fd, nil
}

func ended(errno int) Outcome {
	if errno == 0 {
		return Opens
	}
	return outcome(unix.Errno(errno))
}
