package rawsock_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/rawsock"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock/routertest"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// The owner of an address answers, and again when everybody knows it already.
func TestAsk(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		n := routertest.New(t)
		for _, f := range []int{4, 6} {
			n.Client.Do(func() {
				all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
				fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, int(all))
				if err != nil {
					t.Error(err)
					return
				}
				defer unix.Close(fd)
				patience := unix.NsecToTimeval(int64(nettest.Patience / time.Nanosecond))
				if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
					t.Error(err)
				}
				for range 2 {
					if err := rawsock.Ask("e0", routertest.Addr(f, 1, 2), routertest.Addr(f, 1, 1)); err != nil {
						t.Error(err)
						return
					}
					for !announces(t, fd, f) && !t.Failed() {
					}
				}
				if err := rawsock.Ask("lo", routertest.Addr(f, 1, 2), routertest.Addr(f, 1, 1)); !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("on loopback: %v", err)
				}
			})
		}
	})
}

// announces reads a packet and says whether it tells who the router is.
func announces(t *testing.T, fd, family int) bool {
	t.Helper()
	buf := make([]byte, 200)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		t.Error(err)
		return false
	}
	var (
		arp  wire.ARP
		ip   wire.IP
		icmp wire.ICMP
		nd   wire.ND
	)
	if family == 4 {
		return arp.Decode(buf[:n]) == nil && arp.Reply && arp.Sender == routertest.Addr(4, 1, 1)
	}
	return ip.Decode(buf[:n]) == nil && icmp.Decode(&ip) == nil && nd.Decode(&icmp) == nil && nd.Advert && nd.Target == routertest.Addr(6, 1, 1)
}
