package listener

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

func env() collect.Env { return collect.Env{Clock: collect.NewClock()} }

func listen(t *testing.T, addr string) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

func dial(t *testing.T, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func addrOf(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

func TestCollect(t *testing.T) {
	nettest.LeakCheck(t)
	addr := addrOf(listen(t, "127.0.0.1:0").Addr())
	got, err := Collect(t.Context(), env(), addr)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.OnPort) != 1 || got.Total < 1 || got.At == 0 {
		t.Fatalf("%+v", got)
	}
	l := got.OnPort[0]
	if l.Addr != addr || !l.Serves || l.Queue != 0 || l.Backlog < 1 || l.Inode == 0 || l.V6Only || l.Device != "" ||
		l.UID != uint32(os.Geteuid()) || l.PID != os.Getpid() || !strings.Contains(os.Args[0], l.Process) {
		t.Errorf("%+v", l)
	}
	// The same listener, asked for another address: it is there and does not serve.
	got, err = Collect(t.Context(), env(), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), addr.Port()))
	if err != nil || len(got.OnPort) != 1 || got.OnPort[0].Serves {
		t.Errorf("other address: %+v, %v", got, err)
	}
}

func TestCollectNone(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	addr := addrOf(l.Addr())
	l.Close()
	if got, err := Collect(t.Context(), env(), addr); err != nil || len(got.OnPort) != 0 {
		t.Errorf("closed port: %+v, %v", got, err)
	}
}

func TestCollectDevice(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if err := ns.Do(func() error {
			if err := ip(twoLinks); err != nil {
				return err
			}
			fd, err := socket{v6: true, addr: "::", v6only: true, device: "v0"}.open(7001)
			if err != nil {
				return err
			}
			defer closeAll(fd)
			if _, err := arriving(t, "fd77:1::1", ""); err != nil {
				return err
			}
			got, err := Collect(t.Context(), env(), netip.MustParseAddrPort("[fd77:1::1]:7001"))
			if err != nil {
				return err
			}
			if len(got.OnPort) != 1 {
				t.Fatalf("%+v", got)
			}
			if l := got.OnPort[0]; l.Device != "v0" || !l.V6Only || !l.Serves || l.Backlog != 8 {
				t.Errorf("%+v", l)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestQueueFull(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if err := ns.Do(func() error {
			if err := ip("link set lo up"); err != nil {
				return err
			}
			if err := os.WriteFile("/proc/sys/net/core/somaxconn", []byte("2"), 0); err != nil {
				return err
			}
			fd, err := socket{addr: "127.0.0.1"}.open(7002)
			if err != nil {
				return err
			}
			defer closeAll(fd)
			target := netip.MustParseAddrPort("127.0.0.1:7002")
			for range 3 { // the kernel takes one more than the limit
				dial(t, target)
			}
			var l evidence.Listener
			nettest.Eventually(t, "the accept queue did not fill", func() bool {
				got, err := Collect(t.Context(), env(), target)
				if err != nil || len(got.OnPort) != 1 {
					return false
				}
				l = got.OnPort[0]
				return l.Queue == 3
			})
			if l.Backlog != 2 || l.Queue <= l.Backlog || !l.Serves {
				t.Errorf("%+v", l)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestQueued(t *testing.T) {
	nettest.LeakCheck(t)
	for _, listenOn := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} {
		t.Run(listenOn, func(t *testing.T) {
			l := listen(t, listenOn)
			to := addrOf(l.Addr())
			if to.Addr().IsUnspecified() { // a socket of IPv6 that serves IPv4 too
				to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), to.Port())
			}
			client := dial(t, to)
			tuple := flow.Tuple{Local: addrOf(client.LocalAddr()), Remote: to}
			expect := func(when string, want bool) {
				t.Helper()
				var got *bool
				nettest.Eventually(t, when, func() (ok bool) {
					var err error
					if got, err = Queued(t.Context(), env(), tuple); err != nil {
						t.Fatal(err)
					}
					return got != nil && *got == want
				})
			}
			expect("not accepted yet, and not queued", true)
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			expect("accepted, and still queued", false)
			server.Close() // to FIN_WAIT2: no inode again
			expect("closed by the server, and queued", false)

			gone := dial(t, to)
			tuple.Local = addrOf(gone.LocalAddr())
			if err := gone.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			expect("not accepted and the client is gone, and not queued", true)

			tuple.Local = netip.AddrPortFrom(tuple.Local.Addr(), 1)
			if got, err := Queued(t.Context(), env(), tuple); got != nil || err != nil {
				t.Errorf("no such connection: %v, %v", got, err)
			}
		})
	}
}

func BenchmarkCollect(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for b.Loop() {
		if _, err := Collect(b.Context(), env(), addrOf(l.Addr())); err != nil {
			b.Fatal(err)
		}
	}
}
