package packets

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock/routertest"
)

// nft runs a script in a node's namespace.
func nft(t *testing.T, n *routertest.Node, script string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), nettest.NeedProgram(t, "nft"), "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	n.Do(func() {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("nft: %v\n%s%s", err, script, out)
		}
	})
}

// offload switches the completion of checksums by a node's interface: off, the
// kernel completes them itself, as real interfaces do on the wire.
func offload(t *testing.T, n *routertest.Node, iface string, on uint32) {
	t.Helper()
	const ethtoolSetTXChecksum = 0x17
	n.Do(func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		value := struct{ cmd, data uint32 }{ethtoolSetTXChecksum, on}
		req := struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}{data: unsafe.Pointer(&value)}
		copy(req.name[:], iface)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
			nettest.Unsupported(t, fmt.Sprintf("ethtool of veth: %v", errno))
		}
	})
}

// capture starts a capture of a node.
func capture(t *testing.T, n *routertest.Node, target, gateway netip.Addr, o Options) *Capture {
	t.Helper()
	var c *Capture
	var err error
	n.Do(func() {
		c, err = Start(context.Background(), collect.Env{Clock: collect.NewClock()}, target, gateway, o)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	return c
}

// dial makes one attempt from a node and gives its error.
func dial(t *testing.T, n *routertest.Node, to netip.AddrPort) error {
	t.Helper()
	var err error
	n.Do(func() {
		var fd int
		if fd, err = unix.Socket(family(to.Addr()), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(fd)
		// One SYN, then give up: a drop must not hold the test up.
		_ = unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_SYNCNT, 1)
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Usec: 100_000})
		err = unix.Connect(fd, sockaddr(to))
	})
	return err
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// until waits for a packet that ok likes and returns it.
func until(t *testing.T, c *Capture, what string, ok func(evidence.Packet) bool) evidence.Packet {
	t.Helper()
	var found evidence.Packet
	nettest.Eventually(t, "no "+what+" was captured", func() bool {
		for _, p := range c.Snapshot() {
			if ok(p) {
				found = p
				return true
			}
		}
		return false
	})
	return found
}
