package resolve

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// reportICMP makes every ICMP error that comes for the socket the result of
// its next call, ip(7) IP_RECVERR: without it Linux keeps "host unreachable"
// and its like from a UDP socket.
func reportICMP(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "udp") {
		return nil
	}
	level, option := unix.IPPROTO_IP, unix.IP_RECVERR
	if network == "udp6" {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	var err error
	if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) }); e != nil {
		return e
	}
	return err
}
