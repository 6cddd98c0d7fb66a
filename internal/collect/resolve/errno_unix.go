//go:build unix

package resolve

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// errnoName is the kernel's name of the error, such as "ECONNREFUSED", or ""
// if it is none. ETIMEDOUT is a timeout like our own.
func errnoName(err error) string {
	var no syscall.Errno
	if !errors.As(err, &no) || no == syscall.ETIMEDOUT {
		return ""
	}
	return unix.ErrnoName(no)
}
