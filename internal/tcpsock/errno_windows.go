package tcpsock

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// errnoName gives the errors of Winsock the names that POSIX has for them.
func errnoName(e syscall.Errno) string {
	switch e {
	case windows.WSAEACCES:
		return "EACCES"
	case windows.WSAEADDRINUSE:
		return "EADDRINUSE"
	case windows.WSAEADDRNOTAVAIL:
		return "EADDRNOTAVAIL"
	case windows.WSAEAFNOSUPPORT:
		return "EAFNOSUPPORT"
	case windows.WSAECONNABORTED:
		return "ECONNABORTED"
	case windows.WSAECONNREFUSED, windows.ERROR_CONNECTION_REFUSED:
		return "ECONNREFUSED"
	case windows.WSAECONNRESET:
		return "ECONNRESET"
	case windows.WSAEHOSTUNREACH, windows.ERROR_HOST_UNREACHABLE:
		return "EHOSTUNREACH"
	case windows.WSAEINVAL:
		return "EINVAL"
	case windows.WSAEMFILE:
		return "EMFILE"
	case windows.WSAENETUNREACH, windows.ERROR_NETWORK_UNREACHABLE:
		return "ENETUNREACH"
	case windows.WSAENOBUFS:
		return "ENOBUFS"
	case windows.WSAETIMEDOUT, windows.ERROR_SEM_TIMEOUT:
		return "ETIMEDOUT"
	}
	return ""
}
