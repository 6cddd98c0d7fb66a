//go:build !linux

package tcpsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"time"
)

// Socket is one connection attempt. Its methods may not be called from several
// goroutines at once.
type Socket struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when conn and err are set
	conn   *net.TCPConn
	err    error
}

// Connect starts to connect, without waiting. An option that only Linux has
// gives an *Error that wraps errors.ErrUnsupported; every other error comes
// from Check. The socket must be closed.
func Connect(remote netip.AddrPort, o Options) (*Socket, error) {
	if o.TTL != 0 || o.MSS != 0 || o.Interface != "" || o.HalfOpen {
		return nil, &Error{"socket", fmt.Errorf("TTL, MSS, interface or half-open connects on %s: %w",
			runtime.GOOS, errors.ErrUnsupported)}
	}
	d := net.Dialer{KeepAlive: -1}
	if o.Source.IsValid() || o.SourcePort != 0 {
		a := &net.TCPAddr{Port: int(o.SourcePort)}
		if o.Source.IsValid() {
			a.IP, a.Zone = o.Source.AsSlice(), o.Source.Zone()
		}
		d.LocalAddr = a
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Socket{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		c, err := d.DialContext(ctx, "tcp", remote.String())
		if err != nil {
			s.err = classify(err)
			return
		}
		s.conn = c.(*net.TCPConn)
	}()
	return s, nil
}

// classify tells errors from before any packet from later ones, as far as the
// errno can: the system call is "connect" for both.
func classify(err error) error {
	call, cause := "connect", err
	if sys := (*os.SyscallError)(nil); errors.As(err, &sys) {
		cause = sys.Err
		if sys.Syscall == "socket" || sys.Syscall == "bind" {
			return &Error{sys.Syscall, cause}
		}
	}
	var errno syscall.Errno
	if !errors.As(cause, &errno) {
		return cause
	}
	switch errnoName(errno) {
	case "EACCES", "EADDRINUSE", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EINVAL", "ENETUNREACH", "ENOBUFS", "EPERM":
		return &Error{call, cause}
	}
	return cause
}

// Local is the socket's own end, zero until it is connected.
func (s *Socket) Local() netip.AddrPort {
	if s.Check().Phase != Connected || s.conn == nil {
		return netip.AddrPort{}
	}
	a := s.conn.LocalAddr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Check says where the attempt stands.
func (s *Socket) Check() Status {
	select {
	case <-s.done:
	default:
		return Status{}
	}
	if s.err != nil {
		return Status{Phase: Failed, Err: s.err}
	}
	return Status{Phase: Connected}
}

// Info tells nothing on this system.
func (s *Socket) Info() (Info, error) {
	return Info{}, fmt.Errorf("tcpsock: TCP_INFO on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

// TCPConn returns the connection of a connected socket and gives up the socket.
func (s *Socket) TCPConn() (*net.TCPConn, error) {
	s.cancel()
	<-s.done
	c := s.conn
	s.conn = nil
	if c == nil {
		return nil, fmt.Errorf("tcpsock: not connected: %w", errors.Join(s.err, net.ErrClosed))
	}
	return c, nil
}

// Abort closes the socket and, if it is connected, resets the connection.
func (s *Socket) Abort() error {
	s.cancel()
	<-s.done
	if s.conn != nil {
		_ = s.conn.SetLinger(0) // without it, it is an ordinary close
	}
	return s.Close()
}

// Close closes the socket. It may be called again.
func (s *Socket) Close() error {
	s.cancel()
	<-s.done
	if s.conn == nil {
		return nil
	}
	c := s.conn
	s.conn = nil
	return c.Close()
}

// Poller waits for many sockets in the calling goroutine.
type Poller struct {
	ready chan int
	wake  chan struct{}
	quit  chan struct{}
}

// NewPoller makes a poller.
func NewPoller() (*Poller, error) {
	return &Poller{make(chan int), make(chan struct{}, 1), make(chan struct{})}, nil
}

// Add watches a socket, which Wait then reports as id, a number from 0 up. What
// has already happened to it is reported too.
func (p *Poller) Add(s *Socket, id int) error {
	go func() {
		select {
		case <-s.done:
		case <-p.quit:
			return
		}
		select {
		case p.ready <- id:
		case <-p.quit:
		}
	}()
	return nil
}

// Remove ends watching a socket that lives on.
func (p *Poller) Remove(*Socket) error { return nil }

// Wait appends to ids those of sockets with news, to be had by Check. It waits
// until there is one, Wake is called, or the deadline has passed; the latter two
// append nothing and are no error. A zero deadline is none.
func (p *Poller) Wait(ids []int, deadline time.Time) ([]int, error) {
	var late <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		late = t.C
	}
	select {
	case id := <-p.ready:
		ids = append(ids, id)
	case <-p.wake:
	case <-late:
	}
	return ids, nil
}

// Wake makes a Wait, the present one or else the next, return. It may be called
// from any goroutine at any time, after Close too.
func (p *Poller) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Close frees the poller; the sockets stay open. It is called once.
func (p *Poller) Close() error {
	close(p.quit)
	return nil
}
