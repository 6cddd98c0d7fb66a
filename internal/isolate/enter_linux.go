package isolate

import (
	"context"
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Enter is called by the program inside, once. The context that it returns ends
// when the program outside calls End or dies; guests are the connections that
// come in, until then.
func Enter(ctx context.Context) (_ context.Context, guests <-chan *net.UnixConn, err error) {
	if kind, err := unix.GetsockoptInt(controlFd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_SEQPACKET {
		return nil, nil, errors.New("isolate: only for a program that isolates itself")
	}
	unix.CloseOnExec(controlFd)
	control, err := unixConn(os.NewFile(controlFd, "control"))
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	c := make(chan *net.UnixConn)
	go func() {
		defer cancel()
		defer close(c)
		for {
			_, files, err := receive(control)
			if err != nil {
				return
			}
			for i, f := range files {
				conn, err := unixConn(f)
				if i > 0 || err != nil {
					continue
				}
				select {
				case c <- conn:
				case <-ctx.Done():
					conn.Close()
				}
			}
		}
	}()
	return ctx, c, nil
}
