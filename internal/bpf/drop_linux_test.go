//go:build linux && (amd64 || arm64)

package bpf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock/routertest"
)

// listen opens a listener and sets an option of it.
func listen(t *testing.T, n *routertest.Node, at netip.AddrPort, set func(fd int) error) {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		cerr := raw.Control(func(fd uintptr) { err = set(int(fd)) })
		return errors.Join(cerr, err)
	}}
	config.SetMultipathTCP(false) // it has none of these options
	n.Do(func() {
		l, err := config.Listen(t.Context(), "tcp", at.String())
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { l.Close() })
	})
}

// The reasons for which the kernel drops a SYN. Each case has a port of its own.
func TestDropReasons(t *testing.T) {
	n := network(t)
	for i, c := range []struct {
		reason   string
		families []int
		fault    func(t *testing.T, f int, at netip.AddrPort)
		location string // part of it; functions are named differently by kernels
	}{
		{"NO_SOCKET", []int{4, 6}, func(*testing.T, int, netip.AddrPort) {}, "rcv"},
		{"NETFILTER_DROP", []int{4, 6}, func(t *testing.T, f int, at netip.AddrPort) {
			n.Server.Filter("input", fmt.Sprintf("tcp dport %d drop", at.Port()))
		}, "nf"},
		{"TCP_MD5NOTFOUND", []int{4, 6}, func(t *testing.T, f int, at netip.AddrPort) {
			listen(t, n.Server, at, func(fd int) error { return md5(fd, routertest.Addr(f, 1, 2)) })
		}, "rcv"},
		{"TCP_MINTTL", []int{4, 6}, func(t *testing.T, f int, at netip.AddrPort) {
			listen(t, n.Server, at, func(fd int) error {
				if f == 4 {
					return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MINTTL, 255)
				}
				const ipv6MinHopCount = 73 // linux/in6.h
				return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, ipv6MinHopCount, 255)
			})
		}, "rcv"},
		{"SOCKET_FILTER", []int{4, 6}, func(t *testing.T, f int, at netip.AddrPort) {
			listen(t, n.Server, at, func(fd int) error {
				none := unix.SockFilter{Code: unix.BPF_RET}
				return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &none})
			})
		}, "rcv"},
		// A generic XDP program that drops gives no reason of its own.
		{"NOT_SPECIFIED", []int{4, 6}, func(t *testing.T, f int, at netip.AddrPort) { dropXDP(t, n.Server, f, at.Port()) }, "xdp"},
		{"TC_INGRESS", []int{4, 6}, func(t *testing.T, f int, at netip.AddrPort) { dropTC(t, n.Server, f, at.Port()) }, ""},
		{"IP_RPFILTER", []int{4}, func(t *testing.T, f int, at netip.AddrPort) {
			n.Server.Sysctl("net/ipv4/conf/e0/rp_filter", "1")
			n.Server.RouteType(f, "10.77.1.0/24", unix.RTN_BLACKHOLE) // the last case: nothing comes back from here
		}, "ip_rcv"},
	} {
		for _, f := range c.families {
			t.Run(fmt.Sprintf("%s IPv%d", c.reason, f), func(t *testing.T) {
				at := netip.AddrPortFrom(routertest.Addr(f, 3, 2), uint16(4000+10*i+f))
				c.fault(t, f, at)
				tr := trace(t, Filter{Port: at.Port(), Namespace: inode(t, n.Server)})
				if conn, err := dial(n.Client, at); err == nil {
					conn.Close()
					t.Fatal("connected")
				}
				all := until(t, tr, "drop of a SYN", of(evidence.EventDrop))
				i := slices.IndexFunc(all, func(e Event) bool { return e.Kind == evidence.EventDrop })
				e := all[i]
				if e.Reason != c.reason || e.Flags != "SYN" || e.FromServer || e.Server != at || e.Client.Addr() != routertest.Addr(f, 1, 2) ||
					e.Interface != "e0" || e.Namespace != inode(t, n.Server) {
					t.Errorf("%+v", e)
				}
				if !strings.Contains(e.Location, c.location) || e.Location == "" {
					t.Errorf("dropped in %q, want a function with %q in its name", e.Location, c.location)
				}
				if age := time.Since(e.Time); age < 0 || age > nettest.Patience {
					t.Errorf("it was %v ago", age)
				}
			})
		}
	}
}

// A SYN-ACK that the server's own rules drop, or the client's: the namespace says
// whose.
func TestDropOfAnswer(t *testing.T) {
	n := network(t)
	for _, f := range []int{4, 6} {
		for port, node := range map[uint16]*routertest.Node{81: n.Server, 82: n.Client} {
			t.Run(fmt.Sprintf("IPv%d port %d", f, port), func(t *testing.T) {
				at := netip.AddrPortFrom(routertest.Addr(f, 3, 2), port)
				n.Server.Listen(at)
				node.Filter(map[uint16]string{81: "output", 82: "input"}[port], fmt.Sprintf("tcp sport %d drop", port))
				tr := trace(t, Filter{Port: port, Namespace: inode(t, node)})
				if conn, err := dial(n.Client, at); err == nil {
					conn.Close()
					t.Fatal("connected")
				}
				all := until(t, tr, "drop", of(evidence.EventDrop))
				if e := all[len(all)-1]; e.Flags != "SYN,ACK" || !e.FromServer || e.Server != at || e.Reason != "NETFILTER_DROP" || e.Namespace != inode(t, node) || e.Interface != "e0" {
					t.Errorf("%+v", e)
				}
			})
		}
	}
}
