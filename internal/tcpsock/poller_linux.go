package tcpsock

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// wakeID is the ID of the poller's own event.
const wakeID = -1

// Poller waits for many sockets in the calling goroutine: an epoll instance,
// which the Go runtime in turn watches, so that waiting holds no thread.
type Poller struct {
	epfd int
	file *os.File // owns epfd
	raw  syscall.RawConn
	wake *os.File // an eventfd
}

// NewPoller makes a poller; it takes two descriptors until Close.
func NewPoller() (*Poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("tcpsock: epoll_create: %w", err)
	}
	// The runtime watches only descriptors that are non-blocking, though this
	// one never blocks in read().
	if err := unix.SetNonblock(epfd, true); err != nil {
		unix.Close(epfd)
		return nil, fmt.Errorf("tcpsock: epoll: %w", err)
	}
	p := &Poller{epfd: epfd, file: os.NewFile(uintptr(epfd), "epoll")}
	if err := p.init(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Poller) init() error {
	var err error
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return fmt.Errorf("tcpsock: epoll: %w", err)
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("tcpsock: eventfd: %w", err)
	}
	p.wake = os.NewFile(uintptr(fd), "eventfd")
	return p.add(fd, wakeID, unix.EPOLLIN)
}

func (p *Poller) add(fd, id int, events uint32) error {
	// Edge-triggered: every change of state wakes once, so a condition that
	// lasts cannot make the waiting goroutine spin, and the eventfd need not be
	// read.
	event := unix.EpollEvent{Events: events | unix.EPOLLET, Fd: int32(id)}
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("tcpsock: epoll_ctl: %w", err)
	}
	return nil
}

// Add watches a socket, which Wait then reports as id, a number from 0 up. What
// has already happened to it is reported too. Closing the socket ends it.
func (p *Poller) Add(s *Socket, id int) error { return p.add(s.fd, id, unix.EPOLLOUT) }

// Remove ends watching a socket that lives on.
func (p *Poller) Remove(s *Socket) error {
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, s.fd, nil); err != nil {
		return fmt.Errorf("tcpsock: epoll_ctl: %w", err)
	}
	return nil
}

// Wait appends to ids those of sockets with news, to be had by Check. It waits
// until there is one, Wake is called, or the deadline has passed; the latter two
// append nothing and are no error. A zero deadline is none.
func (p *Poller) Wait(ids []int, deadline time.Time) ([]int, error) {
	var events [64]unix.EpollEvent
	n, err := epollWait(p.epfd, events[:])
	if n == 0 && err == nil && (deadline.IsZero() || time.Now().Before(deadline)) {
		if err := p.file.SetReadDeadline(deadline); err != nil {
			return ids, fmt.Errorf("tcpsock: epoll: %w", err)
		}
		rerr := p.raw.Read(func(fd uintptr) bool {
			n, err = epollWait(int(fd), events[:])
			return n > 0 || err != nil
		})
		if rerr != nil && !errors.Is(rerr, os.ErrDeadlineExceeded) {
			err = rerr
		}
	}
	if err != nil {
		return ids, fmt.Errorf("tcpsock: epoll_wait: %w", err)
	}
	for _, e := range events[:n] {
		if e.Fd != wakeID {
			ids = append(ids, int(e.Fd))
		}
	}
	return ids, nil
}

func epollWait(epfd int, events []unix.EpollEvent) (int, error) {
	for {
		n, err := unix.EpollWait(epfd, events, 0)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// Wake makes a Wait, the present one or else the next, return. It may be called
// from any goroutine at any time, after Close too.
func (p *Poller) Wake() {
	var one [8]byte
	one[0] = 1                  // in whatever byte order, the counter is not 0
	_, _ = p.wake.Write(one[:]) // fails only when full or closed: nobody to wake
}

// Close frees the poller; the sockets stay open.
func (p *Poller) Close() error {
	if p.wake == nil {
		return p.file.Close()
	}
	return errors.Join(p.wake.Close(), p.file.Close())
}
