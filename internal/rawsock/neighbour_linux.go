package rawsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// Ask sends one ARP request, or one neighbour solicitation, to everybody on the
// link of an interface: who has the target? Whoever answers, answers to src,
// which must be an address of the interface. Unlike the kernel it asks for an
// address that is in the neighbour table already. Errors are a *PermissionError
// without CAP_NET_RAW, errors.ErrUnsupported on a link without Ethernet
// addresses, or a *os.SyscallError.
func Ask(iface string, src, target netip.Addr) error {
	link, err := net.InterfaceByName(iface)
	if err != nil {
		return err
	}
	if len(link.HardwareAddr) != 6 || link.Flags&net.FlagLoopback != 0 {
		return fmt.Errorf("ask for neighbours on %s: %w", iface, errors.ErrUnsupported)
	}
	src, target = src.Unmap(), target.Unmap()
	mac := wire.MAC(link.HardwareAddr)
	to := unix.SockaddrLinklayer{Ifindex: link.Index, Halen: 6}
	var packet []byte
	if target.Is4() {
		packet = wire.AppendARPRequest(nil, mac, src, target)
		to.Protocol = networkOrder(unix.ETH_P_ARP)
		copy(to.Addr[:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	} else {
		packet = wire.AppendSolicitation(nil, mac, src, target)
		to.Protocol = networkOrder(unix.ETH_P_IPV6)
		a := target.As16()
		copy(to.Addr[:], []byte{0x33, 0x33, 0xff, a[13], a[14], a[15]}) // RFC 2464 section 7
	}
	fd, err := socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0, "") // protocol 0 receives nothing
	if err != nil {
		if os.IsPermission(err) {
			return &PermissionError{err}
		}
		return err
	}
	defer unix.Close(fd)
	return os.NewSyscallError("sendto", unix.Sendto(fd, packet, 0, &to))
}

// networkOrder is htons(3).
func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}
