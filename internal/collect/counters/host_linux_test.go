package counters

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// TestHost overflows an accept queue and has a connection tracked.
func TestHost(t *testing.T) {
	ip, nft := nettest.NeedProgram(t, "ip"), nettest.NeedProgram(t, "nft")
	inside(t, nil, func() error {
		if err := feed("link add v0 type veth peer name v1\nlink set v0 up\nlink set v1 up", ip, "-batch", "-"); err != nil {
			return err
		}
		before, err := Host(t.Context())
		if err != nil {
			return err
		}
		if v, ok := before.Now["softnet.dropped"]; !ok || v < 0 {
			t.Errorf("softnet.dropped: %d, %v", v, ok)
		}
		for _, name := range []string{"v0.rx_dropped", "v0.rx_missed", "v0.tx_dropped", "lo.rx_dropped", "TcpExt.ListenOverflows", "Ip.InReceives"} {
			if _, ok := before.Now[name]; !ok {
				t.Errorf("%s is missing", name)
			}
		}
		if err := overflow(); err != nil {
			return err
		}
		nettest.Eventually(t, "the accept queue does not overflow", func() bool {
			after, err := Host(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := Since(before, after)
			return got.Delta["TcpExt.ListenOverflows"] > 0 && got.Now["TcpExt.ListenOverflows"] == got.Delta["TcpExt.ListenOverflows"]
		})

		if _, err := os.Stat("/proc/sys/net/netfilter/nf_conntrack_count"); err != nil {
			return nil // no tracking of connections in this kernel
		}
		if err := feed("table inet t { chain in { type filter hook input priority 0; ct state new accept; }; }", nft, "-f", "-"); err != nil {
			return err
		}
		c, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		if err := sendInvalid(); err != nil {
			return err
		}
		after, err := Host(t.Context())
		if err != nil {
			return err
		}
		if after.ConntrackCount < 1 || after.ConntrackMax < after.ConntrackCount {
			t.Errorf("%d of %d connections tracked", after.ConntrackCount, after.ConntrackMax)
		}
		// The file and netlink say the same. A packet may still be on its way.
		nettest.NeedFile(t, "/proc/thread-self/net/stat/nf_conntrack")
		nettest.Eventually(t, "netlink differs from the file", func() bool {
			stats, err := rtnl.TrackStats()
			host, hostErr := Host(t.Context())
			if err = errors.Join(err, hostErr); err != nil || len(stats) < 8 {
				t.Fatalf("%v, %v", stats, err)
			}
			for name, v := range stats {
				if got, ok := host.Now["conntrack."+name]; ok && got != v {
					return false
				}
			}
			return stats["invalid"] > 0 && host.Now["conntrack.invalid"] > 0
		})
		return nil
	})
}

// overflow fills the queue of a listener that takes nothing.
func overflow() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 7000}); err != nil {
		return err
	}
	if err := unix.Listen(fd, 0); err != nil {
		return err
	}
	for range 4 {
		if c, err := net.DialTimeout("tcp", "127.0.0.1:7000", 20*time.Millisecond); err == nil {
			defer c.Close()
		}
	}
	return nil
}

// sendInvalid sends a TCP segment with flags that no segment has.
func sendInvalid() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	segment := [20]byte{1: 9, 3: 9, 12: 0x50, 13: 0x03} // SYN,FIN
	return unix.Sendto(fd, segment[:], 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
}

func feed(input, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return nil
}

func TestHostCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Host(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func BenchmarkHost(b *testing.B) {
	for b.Loop() {
		if _, err := Host(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
