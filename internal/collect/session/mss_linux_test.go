package session

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// withMSS sets TCP_MAXSEG before the SYN; 0 leaves it alone.
func withMSS(mss int) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) (err error) {
		if mss == 0 {
			return nil
		}
		ctlErr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, mss)
		})
		if ctlErr != nil {
			return ctlErr
		}
		return err
	}
}
