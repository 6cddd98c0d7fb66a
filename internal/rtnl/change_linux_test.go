package rtnl_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

type place struct {
	*netns.NS
	*rtnl.Changer
}

func newPlace(t *testing.T) place {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	c, err := rtnl.NewChanger(ns.Fd())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return place{ns, c}
}

func (p place) dial(t *testing.T, to netip.AddrPort) error {
	t.Helper()
	return p.Do(func() error {
		d := net.Dialer{Timeout: nettest.Patience}
		c, err := d.DialContext(t.Context(), "tcp", to.String())
		if err == nil {
			c.Close()
		}
		return err
	})
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// Two hosts on a bridge: what is set shows in how connections fare.
func TestChanger(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		middle, a, b := newPlace(t), newPlace(t), newPlace(t)
		must(t,
			middle.AddVeth("pa", "eth0", a.Fd()), middle.AddVeth("pb", "eth0", b.Fd()),
			middle.AddBridge("br0", "pa", "pb"),
			middle.SetUp("br0"), middle.SetUp("pa"), middle.SetUp("pb"))
		for p, addrs := range map[place][2]string{a: {"10.77.1.2/24", "fd77:1::2/64"}, b: {"10.77.1.3/24", "fd77:1::3/64"}} {
			must(t, p.SetUp("eth0"),
				p.AddAddress("eth0", netip.MustParsePrefix(addrs[0])), p.AddAddress("eth0", netip.MustParsePrefix(addrs[1])))
		}
		must(t, middle.WaitCarrier(t.Context(), "br0", true))
		for _, p := range []place{a, b} {
			must(t, p.WaitCarrier(t.Context(), "eth0", true), p.WaitIPv6(t.Context(), "eth0"))
		}

		var mac net.HardwareAddr
		must(t, b.Do(func() error {
			eth0, err := net.InterfaceByName("eth0")
			if err != nil {
				return err
			}
			mac = eth0.HardwareAddr
			return nil
		}))

		for _, to := range []netip.AddrPort{netip.MustParseAddrPort("10.77.1.3:8080"), netip.MustParseAddrPort("[fd77:1::3]:8080")} {
			var listener net.Listener
			must(t, b.Do(func() (err error) {
				listener, err = net.Listen("tcp", to.String())
				return err
			}))
			defer listener.Close()
			if err := a.dial(t, to); err != nil {
				t.Errorf("over the bridge: %v", err)
			}
			only := netip.PrefixFrom(to.Addr(), to.Addr().BitLen())
			for kind, want := range map[rtnl.RouteType]error{
				rtnl.Blackhole: syscall.EINVAL, rtnl.Unreachable: syscall.EHOSTUNREACH, rtnl.Prohibit: syscall.EACCES,
			} {
				must(t, a.AddRoute(rtnl.RouteSpec{Dst: only, Type: kind}))
				if err := a.dial(t, to); !errors.Is(err, want) {
					t.Errorf("route of type %d to %v: %v, want %v", kind, to, err, want)
				}
				must(t, a.DelRoute(rtnl.RouteSpec{Dst: only, Type: kind}))
			}
			if err := a.dial(t, to); err != nil {
				t.Errorf("after the routes were deleted: %v", err)
			}
			must(t, a.SetNeighbour("eth0", to.Addr(), mac))
			if err := a.dial(t, to); err != nil {
				t.Errorf("with the right neighbour known: %v", err)
			}
		}

		must(t, a.SetMTU("eth0", 1300))
		must(t, a.Do(func() error {
			eth0, err := net.InterfaceByName("eth0")
			if err == nil && eth0.MTU != 1300 {
				t.Errorf("MTU = %d, want 1300", eth0.MTU)
			}
			return err
		}))
		must(t, a.DelAddress("eth0", netip.MustParsePrefix("10.77.1.2/24")))
		if err := a.dial(t, netip.MustParseAddrPort("10.77.1.3:8080")); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("without an address: %v, want ENETUNREACH", err)
		}
		must(t, b.SetDown("eth0"), middle.WaitCarrier(t.Context(), "pb", false))
	})
}

// A resolution under way is ended, a known neighbour stays.
func TestForgetNeighbour(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		a, b := newPlace(t), newPlace(t)
		must(t, a.AddVeth("eth0", "eth0", b.Fd()), a.SetUp("eth0"), b.SetUp("eth0"),
			a.AddAddress("eth0", netip.MustParsePrefix("192.0.2.1/24")), a.WaitCarrier(t.Context(), "eth0", true))
		known, nobody := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
		must(t, a.FixNeighbour("eth0", known, net.HardwareAddr{2, 0, 0, 0, 0, 2}))
		must(t, a.Do(func() error {
			r, err := rtnl.NewReader()
			if err != nil {
				return err
			}
			defer r.Close()
			eth0, err := net.InterfaceByName("eth0")
			if err != nil {
				return err
			}
			state := func(addr netip.Addr) string {
				n, err := r.Neighbour(eth0.Index, addr)
				must(t, err)
				if n == nil {
					return ""
				}
				return n.State
			}
			c, err := net.Dial("udp", netip.AddrPortFrom(nobody, 9).String())
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write([]byte("x")); err != nil {
				return err
			}
			if got := state(nobody); got != "INCOMPLETE" {
				t.Errorf("before: %q", got)
			}
			must(t, a.ForgetNeighbour(nobody), a.ForgetNeighbour(known))
			if got := state(nobody) + state(known); got != "PERMANENT" {
				t.Errorf("afterwards: %q", got)
			}
			return nil
		}))
	})
}

// A route with several gateways, read back by ip(8).
func TestSeveralGateways(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		program := nettest.NeedProgram(t, "ip")
		nettest.LeakCheck(t)
		a, b := newPlace(t), newPlace(t)
		must(t, a.AddVeth("eth0", "eth0", b.Fd()), a.SetUp("eth0"), b.SetUp("eth0"))
		for _, p := range []string{"192.0.2.1/24", "2001:db8::1/64"} {
			must(t, a.AddAddress("eth0", netip.MustParsePrefix(p)))
		}
		for dst, via := range map[string][]string{"198.51.100.0/24": {"192.0.2.2", "192.0.2.3"}, "2001:db8:1::/64": {"2001:db8::2", "2001:db8::3"}} {
			must(t, a.AddRoute(rtnl.RouteSpec{Dst: netip.MustParsePrefix(dst), Via: netip.MustParseAddr(via[0]), More: []netip.Addr{netip.MustParseAddr(via[1])}}))
			var out strings.Builder
			cmd := exec.Command(program, "route", "show", dst)
			if strings.Contains(dst, ":") {
				cmd.Args = []string{program, "-6", "route", "show", dst}
			}
			cmd.Stdout = &out
			must(t, a.Start(cmd, nil), cmd.Wait())
			for _, gw := range via {
				if !strings.Contains(out.String(), "nexthop via "+gw+" ") {
					t.Errorf("the route to %s lacks the gateway %s: %s", dst, gw, &out)
				}
			}
			must(t, a.DelRoute(rtnl.RouteSpec{Dst: netip.MustParsePrefix(dst)}))
		}
	})
}

func TestChangerErrors(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		p := newPlace(t)
		for what, err := range map[string]error{
			"eth7":        p.SetUp("eth7"),
			"eth8":        p.AddRoute(rtnl.RouteSpec{Dst: netip.MustParsePrefix("192.0.2.0/24"), Link: "eth8"}),
			"192.0.2.1":   p.AddRoute(rtnl.RouteSpec{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1")}),
			"2001:db8::1": p.AddAddress("eth9", netip.MustParsePrefix("2001:db8::1/64")),
		} {
			if err == nil || !strings.Contains(err.Error(), what) {
				t.Errorf("error %v, want one that names %s", err, what)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := p.WaitCarrier(ctx, "lo", true); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WaitCarrier for a link that stays down: %v, want DeadlineExceeded", err)
		}
		if _, err := rtnl.NewChanger(-5); err == nil {
			t.Error("a descriptor that is no namespace was accepted")
		}
	})
}
