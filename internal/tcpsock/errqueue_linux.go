package tcpsock

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxErrors bounds what one Check takes from the error queue. The kernel
	// bounds the queue itself by the receive buffer.
	maxErrors = 16
	// maxHeader is the longest TCP header, RFC 9293 section 3.1.
	maxHeader = 60
)

// takeErrors empties the error queue and returns its first entries.
func (s *Socket) takeErrors() []ICMPError {
	var (
		errs    []ICMPError
		payload [maxHeader]byte
		control [256]byte
	)
	for {
		n, oobn, _, _, err := unix.Recvmsg(s.fd, payload[:], control[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if err != nil { // EAGAIN: empty
			return errs
		}
		if e, scope, ok := parseError(control[:oobn]); ok && len(errs) < maxErrors {
			e.At = time.Now()
			e.From = s.withZone(e.From, scope)
			e.Header = append([]byte(nil), payload[:n]...)
			errs = append(errs, e)
		}
	}
}

// parseError reads the control messages of an entry of the error queue: struct
// sock_extended_err of include/uapi/linux/errqueue.h, followed by the offender's
// address (whose scope is returned beside it), and the hop limit. It says false
// for anything that is no error of the network.
func parseError(control []byte) (e ICMPError, scope uint32, ok bool) {
	msgs, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return ICMPError{}, 0, false
	}
	for _, m := range msgs {
		switch level, typ := m.Header.Level, m.Header.Type; {
		case level == unix.IPPROTO_IP && typ == unix.IP_RECVERR,
			level == unix.IPPROTO_IPV6 && typ == unix.IPV6_RECVERR:
			ok = e.parseExtended(m.Data)
			if ok {
				e.From, scope = offender(m.Data[extendedErrSize:])
			}
		case level == unix.IPPROTO_IP && typ == unix.IP_TTL,
			level == unix.IPPROTO_IPV6 && typ == unix.IPV6_HOPLIMIT:
			if len(m.Data) >= 4 {
				e.TTL = int(binary.NativeEndian.Uint32(m.Data) & 0xff)
			}
		}
	}
	return e, scope, ok
}

// extendedErrSize is that of struct sock_extended_err: errno, origin, type,
// code, pad, info, data.
const extendedErrSize = 16

func (e *ICMPError) parseExtended(b []byte) bool {
	if len(b) < extendedErrSize {
		return false
	}
	origin, info := b[4], binary.NativeEndian.Uint32(b[8:])
	e.Errno = syscall.Errno(binary.NativeEndian.Uint32(b))
	e.Type, e.Code = int(b[5]), int(b[6])
	e.Local = origin == unix.SO_EE_ORIGIN_LOCAL
	switch {
	case origin == unix.SO_EE_ORIGIN_ICMP && e.Type == 3 && e.Code == 4,
		origin == unix.SO_EE_ORIGIN_ICMP6 && e.Type == 2:
		e.MTU = int(info)
	}
	// Other origins are timestamps and ends of zero-copy sends.
	return e.Errno != 0 && (e.Local || origin == unix.SO_EE_ORIGIN_ICMP || origin == unix.SO_EE_ORIGIN_ICMP6)
}

// offender reads a sockaddr_in or sockaddr_in6; any other family is no address.
func offender(b []byte) (netip.Addr, uint32) {
	if len(b) < 2 {
		return netip.Addr{}, 0
	}
	switch family := binary.NativeEndian.Uint16(b); {
	case family == unix.AF_INET && len(b) >= unix.SizeofSockaddrInet4:
		return netip.AddrFrom4([4]byte(b[4:8])), 0
	case family == unix.AF_INET6 && len(b) >= unix.SizeofSockaddrInet6:
		return netip.AddrFrom16([16]byte(b[8:24])).Unmap(), binary.NativeEndian.Uint32(b[24:])
	}
	return netip.Addr{}, 0
}
