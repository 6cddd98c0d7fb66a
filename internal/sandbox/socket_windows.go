package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/windows"
)

// errnoName gives no name: Windows has numbers and texts.
func errnoName(error) string { return "" }

// isReset says whether the peer's RST is the reason of err.
func isReset(err error) bool { return errors.Is(err, windows.WSAECONNRESET) }

// setReceiveBuffer sets SO_RCVBUF, in bytes.
func setReceiveBuffer(fd uintptr, n int) error {
	return os.NewSyscallError("setsockopt", windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_RCVBUF, n))
}

// setBacklog fails: a second listen() on a socket changes nothing here.
func setBacklog(*net.TCPListener, int) error {
	return fmt.Errorf("the backlog of a listening socket cannot be set on Windows: %w", errors.ErrUnsupported)
}

// pending would wait for connections without accepting them.
type pending struct{}

func newPending(*net.TCPListener) (pending, error) {
	return pending{}, fmt.Errorf("accept() cannot be delayed on Windows: %w", errors.ErrUnsupported)
}

func (pending) wait() error  { return errors.ErrUnsupported }
func (pending) Close() error { return nil }
