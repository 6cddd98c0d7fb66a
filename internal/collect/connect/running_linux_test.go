package connect_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/collect/connect"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock/routertest"
)

// TestReset is a server that resets what it accepts: the connection was made,
// and the error is left to its reader.
func TestReset(t *testing.T) {
	nettest.LeakCheck(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := l.Addr().(*net.TCPAddr).AddrPort()
	r := connect.Start(collect.Env{Clock: collect.NewClock()}, to, connect.Options{})
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	<-r.Done()
	a, conn := r.Result()
	if !a.Connected || conn == nil || a.Errno != "" {
		t.Fatalf("%+v", a)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("reading gives %v", err)
	}
}

// TestStartAll runs attempts side by side, one of them without an end, and
// reads from the connection that was made.
func TestStartAll(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		n := routertest.New(t)
		server := routertest.Addr(4, 3, 2)
		l := n.Server.Listen(netip.AddrPortFrom(server, 80))
		n.Server.Filter("input", "tcp dport 86 drop")
		var addrs []netip.AddrPort
		for _, port := range []uint16{80, 9, 86, 86} {
			addrs = append(addrs, netip.AddrPortFrom(server, port))
		}
		env := collect.Env{Clock: collect.NewClock()}
		var runs []*connect.Running
		n.Client.AsUser(func() { runs = connect.StartAll(env, addrs, connect.Options{MSS: 600}) })

		<-runs[0].Done()
		a, c := runs[0].Result()
		if !a.Connected || a.MSS > 600 || a.MSS < 500 {
			t.Fatalf("open: %+v", a)
		}
		peer, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(peer, "hello")
		peer.Close()
		if b, err := io.ReadAll(c); string(b) != "hello" || err != nil {
			t.Errorf("read %q, %v", b, err)
		}
		c.Close()

		<-runs[1].Done()
		if a, _ := runs[1].Result(); describe(a) != "ECONNREFUSED" {
			t.Errorf("closed: %s", describe(a))
		}
		for _, r := range runs[2:] {
			select {
			case <-r.Done():
				a, _ := r.Result()
				t.Errorf("dropped: %s", describe(a))
			default:
			}
			r.Stop()
			r.Stop()
			if a, c := r.Result(); describe(a) != "pending in SYN_SENT" || c != nil {
				t.Errorf("stopped: %s", describe(a))
			}
		}
		runs[0].Stop() // long done
	})
}

// TestRetransmits waits for the kernel to send the SYN again.
func TestRetransmits(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		n := routertest.New(t)
		n.R1.Filter("forward", "tcp dport 80 drop")
		n.Client.AsUser(func() {
			a, _ := attempt(t, collect.Env{}, netip.AddrPortFrom(routertest.Addr(4, 3, 2), 80), 1500*time.Millisecond)
			if describe(a) != "pending in SYN_SENT" || a.Retransmits != 1 {
				t.Errorf("%s after %d retransmissions", describe(a), a.Retransmits)
			}
		})
	})
}

func TestZone(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		n := routertest.New(t)
		n.Client.Do(func() {
			a, _ := attempt(t, collect.Env{}, netip.MustParseAddrPort("[fe80::1%nowhere]:80"), long)
			if got, want := describe(a), `ENODEV from connect: zone "nowhere": no such device`; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			i, err := net.InterfaceByName("e0")
			if err != nil {
				t.Error(err)
				return
			}
			addrs, err := i.Addrs()
			if err != nil {
				t.Error(err)
				return
			}
			for _, own := range addrs {
				ip, _ := netip.AddrFromSlice(own.(*net.IPNet).IP)
				if !ip.IsLinkLocalUnicast() {
					continue
				}
				to := netip.AddrPortFrom(ip.WithZone("e0"), 9)
				a, _ := attempt(t, collect.Env{}, to, long)
				if describe(a) != "ECONNREFUSED" || a.Tuple.Local.Addr() != to.Addr() {
					t.Errorf("%v: %s from %v", to, describe(a), a.Tuple.Local)
				}
				return
			}
			t.Error("e0 has no link-local address")
		})
	})
}
