//go:build unix

package sandbox

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// errnoName is the name of the errno that err wraps, "" without one.
func errnoName(err error) string {
	var no syscall.Errno
	if !errors.As(err, &no) {
		return ""
	}
	return unix.ErrnoName(no)
}

// isReset says whether the peer's RST is the reason of err.
func isReset(err error) bool { return errors.Is(err, unix.ECONNRESET) }

// setReceiveBuffer sets SO_RCVBUF, in bytes. What accept(2) returns inherits it
// from the listening socket, and with it the window of the handshake.
func setReceiveBuffer(fd uintptr, n int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, n))
}

// setBacklog calls listen(2) once more, because package net always asks for the
// system's maximum.
func setBacklog(ln *net.TCPListener, n int) error {
	raw, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	var listen error
	if err := raw.Control(func(fd uintptr) { listen = unix.Listen(int(fd), n) }); err != nil {
		return err
	}
	return os.NewSyscallError("listen", listen)
}

// pending waits for connections without accepting them.
type pending struct{ f *os.File }

// newPending watches a listener by a descriptor of its own, to be closed.
func newPending(ln *net.TCPListener) (pending, error) {
	f, err := ln.File()
	return pending{f}, err
}

// wait returns when a connection can be accepted. Close ends it with an error.
func (p pending) wait() error {
	raw, err := p.f.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		// The runtime's poller tells of changes only: ask how it is now.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
}

// Close releases the descriptor.
func (p pending) Close() error { return p.f.Close() }
