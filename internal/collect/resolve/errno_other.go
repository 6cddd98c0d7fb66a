//go:build !unix

package resolve

import (
	"errors"
	"fmt"
	"syscall"
)

// errnoName is the POSIX name of a Windows Sockets error, such as
// "ECONNREFUSED", or its number, or "" if it is none. WSAETIMEDOUT is a
// timeout like our own.
func errnoName(err error) string {
	var no syscall.Errno
	if !errors.As(err, &no) {
		return ""
	}
	switch no {
	case 10060:
		return ""
	case 10013:
		return "EACCES"
	case 10051:
		return "ENETUNREACH"
	case 10054, 10061: // a reset on a UDP socket is the port unreachable
		return "ECONNREFUSED"
	case 10065:
		return "EHOSTUNREACH"
	}
	return fmt.Sprintf("errno %d", uint(no))
}
