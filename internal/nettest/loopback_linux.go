package nettest

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/netns"
)

// Loopback makes a network namespace with nothing but its loopback, which is up. It
// ends with the test.
func Loopback(t testing.TB) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	err = ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		lo, err := unix.NewIfreq("lo")
		if err != nil {
			return err
		}
		lo.SetUint16(unix.IFF_UP | unix.IFF_LOOPBACK)
		return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
	})
	if err != nil {
		t.Fatal(err)
	}
	return ns
}
