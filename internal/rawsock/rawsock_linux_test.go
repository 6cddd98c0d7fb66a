package rawsock_test

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/rawsock"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock/routertest"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// A segment built and sent by hand must arrive whole: a bare ACK to a closed
// port is answered by RST with the number it acknowledged.
func TestSend(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		n := routertest.New(t)
		for _, f := range []int{4, 6} {
			to := netip.AddrPortFrom(routertest.Addr(f, 3, 2), 81)
			n.Client.Do(func() {
				local, err := rawsock.Source(to, "")
				if err != nil || local != routertest.Addr(f, 1, 2) {
					t.Errorf("source %v, %v", local, err)
				}
				c, err := rawsock.Open(f == 6, "e0")
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				answers := listen(t, f)
				defer unix.Close(answers)
				s := wire.Segment{Src: netip.AddrPortFrom(local, 40000), Dst: to, TTL: 64, Ack: 77, Flags: wire.ACK}
				if err := c.Send(s.Append(nil), to.Addr()); err != nil {
					t.Error(err)
					return
				}
				buf := make([]byte, 100)
				size, _, err := unix.Recvfrom(answers, buf, 0)
				b := buf[:max(size, 0)]
				if f == 4 && size > 20 {
					b = b[20:] // raw(7): only IPv4 comes with its header
				}
				var tcp wire.TCP
				if err != nil || tcp.Decode(b) != nil || tcp.Flags != wire.RST || tcp.Seq != 77 || tcp.DstPort != 40000 {
					t.Errorf("answer %+v, %v", tcp, err)
				}
			})
		}
	})
}

// listen opens a raw socket that gets TCP segments.
func listen(t *testing.T, family int) int {
	domain := map[int]int{4: unix.AF_INET, 6: unix.AF_INET6}[family]
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		t.Error(err)
		return -1
	}
	patience := unix.NsecToTimeval(nettest.Patience.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		t.Error(err)
	}
	return fd
}

func TestSendErrors(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		n := routertest.New(t)
		n.Client.Filter("output", "tcp dport 82 drop")
		for _, f := range []int{4, 6} {
			server, away := routertest.Addr(f, 3, 2), routertest.Addr(f, 7, 7)
			n.Client.RouteType(f, netip.PrefixFrom(away, away.BitLen()).String(), unix.RTN_UNREACHABLE)
			n.Client.Do(func() {
				c, err := rawsock.Open(f == 6, "")
				if err != nil {
					t.Error(err)
					return
				}
				for to, want := range map[netip.AddrPort]error{
					netip.AddrPortFrom(server, 81): nil,
					netip.AddrPortFrom(server, 82): unix.EPERM,
					netip.AddrPortFrom(away, 81):   unix.EHOSTUNREACH,
				} {
					s := wire.Segment{Src: netip.AddrPortFrom(routertest.Addr(f, 1, 2), 40000), Dst: to, TTL: 1, Flags: wire.SYN}
					if err := c.Send(s.Append(nil), to.Addr()); !errors.Is(err, want) {
						t.Errorf("to %v: %v, want %v", to, err, want)
					}
				}
				c.Close()
				if err := c.Send(nil, server); err == nil {
					t.Error("a closed socket sends")
				}
				if _, err := rawsock.Source(netip.AddrPortFrom(away, 81), ""); !errors.Is(err, unix.EHOSTUNREACH) {
					t.Errorf("source to %v: %v", away, err)
				}
				if _, err := rawsock.Source(netip.MustParseAddrPort("[fe80::1%nosuch]:81"), ""); err == nil {
					t.Error("a zone that does not exist")
				}
				if _, err := rawsock.Open(f == 6, "nosuch"); !errors.Is(err, unix.ENODEV) {
					t.Errorf("through an interface that does not exist: %v", err)
				}
			})
		}
	})
}

func TestReserve(t *testing.T) {
	nettest.LeakCheck(t)
	for _, local := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} {
		p, err := rawsock.Reserve(local, 0, "")
		if errors.Is(err, unix.EADDRNOTAVAIL) {
			nettest.Unsupported(t, "address "+local.String())
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Number < 32768 || p.Number > 60999 {
			t.Errorf("port %d", p.Number)
		}
		addr := netip.AddrPortFrom(local, p.Number)
		if l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr)); err == nil {
			l.Close()
			t.Errorf("%v was to be had by another", addr)
		}
		if _, err := rawsock.Reserve(local, p.Number, ""); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("a second time: %v", err)
		}
		if c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(addr)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("a connect to it: %v, %v", c, err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		again, err := rawsock.Reserve(local, p.Number, "")
		if err != nil || again.Number != p.Number {
			t.Fatalf("after Close: %v, %v", again, err)
		}
		again.Close()
	}
	if _, err := rawsock.Reserve(netip.MustParseAddr("192.0.2.99"), 0, ""); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("on an address of another host: %v", err)
	}
}

func TestPermission(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		routertest.AsUser(t, func() {
			for _, v6 := range []bool{false, true} {
				_, err := rawsock.Open(v6, "")
				var denied *rawsock.PermissionError
				if !errors.As(err, &denied) || !errors.Is(err, fs.ErrPermission) {
					t.Errorf("without CAP_NET_RAW: %v", err)
				}
			}
		})
	})
}
