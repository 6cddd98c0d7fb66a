package afpacket_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/afpacket"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock/routertest"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// cable is a namespace with nothing in it but the two ends of a veth, "a" and
// "b", which have no addresses, so that only the test itself sends.
type cable struct {
	ns   *netns.NS
	a, b int // indexes
	fd   int // packet socket to send frames from a
}

func newCable(t *testing.T) *cable {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	c := &cable{ns: ns}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(ns.Do(func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0o644) }))
	nl, err := netlink.NewHandleAt(vnetns.NsHandle(ns.Fd()))
	must(err)
	defer nl.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "a"
	must(nl.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "b"}))
	for name, index := range map[string]*int{"a": &c.a, "b": &c.b} {
		l, err := nl.LinkByName(name)
		must(err)
		must(nl.LinkSetUp(l))
		*index = l.Attrs().Index
	}
	must(ns.Do(func() (err error) {
		c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	t.Cleanup(func() { unix.Close(c.fd) })
	// The kernel takes a moment to notice that the cable is plugged in.
	conn := c.open(t, afpacket.Filter{Target: target4}, c.b)
	nettest.Eventually(t, "the veth carries nothing", func() bool {
		c.send(t, afpacket.EtherTypeIPv4, syn(us4, target4))
		var p afpacket.Packet
		ok, err := conn.Next(&p)
		must(err)
		return ok
	})
	must(conn.Close())
	return c
}

// send puts a frame on the cable at end a, with an Ethernet broadcast header.
func (c *cable) send(t *testing.T, etherType uint16, packet []byte) {
	t.Helper()
	frame := append(bytes.Repeat([]byte{0xff}, 6), 2, 0, 0, 0, 0, 1, byte(etherType>>8), byte(etherType))
	to := &unix.SockaddrLinklayer{Ifindex: c.a, Halen: 6}
	if err := unix.Sendto(c.fd, append(frame, packet...), 0, to); err != nil {
		t.Fatal(err)
	}
}

// open starts a capture in the cable's namespace.
func (c *cable) open(t *testing.T, f afpacket.Filter, ifindex int) *afpacket.Conn {
	t.Helper()
	code, err := f.Program()
	if err != nil {
		t.Fatal(err)
	}
	var conn *afpacket.Conn
	if err := c.ns.Do(func() error { conn, err = afpacket.Open(code, ifindex); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// next waits for one packet.
func next(t *testing.T, c *afpacket.Conn) afpacket.Packet {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(nettest.Patience)); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	var p afpacket.Packet
	if ok, err := c.Next(&p); !ok {
		t.Fatalf("no packet after Wait: %v", err)
	}
	return p
}

var (
	us4, target4, gateway4, other4 = addr("192.0.2.1"), addr("198.51.100.7"), addr("192.0.2.254"), addr("203.0.113.9")
	us6, target6, gateway6, other6 = addr("2001:db8::1"), addr("2001:db8:1::7"), addr("2001:db8::fe"), addr("2001:db8:2::9")
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func syn(src, dst netip.Addr) []byte {
	s := wire.Segment{Src: netip.AddrPortFrom(src, 40000), Dst: netip.AddrPortFrom(dst, 443), TTL: 64, Flags: wire.SYN}
	return s.Append(nil)
}

// in makes the IP packet of another protocol out of a SYN between the same
// addresses.
func in(src, dst netip.Addr, proto byte, payload ...byte) []byte {
	b := syn(src, dst)
	if src.Is4() {
		b[9] = proto
		b = append(b[:20], payload...)
		b[2], b[3] = 0, byte(len(b))
		return b
	}
	b[6], b[5] = proto, byte(len(payload))
	return append(b[:40], payload...)
}

func icmpError(src netip.Addr, kind byte, quoted []byte) []byte {
	us, proto := us4, byte(wire.ProtoICMP)
	if src.Is6() {
		us, proto = us6, wire.ProtoICMPv6
	}
	return in(src, us, proto, append([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, quoted...)...)
}

// withOptions gives an IPv4 packet a header of 24 bytes.
func withOptions(b []byte) []byte {
	b = append(append(bytes.Clone(b[:20]), 1, 1, 1, 1), b[20:]...)
	b[0], b[3] = 0x46, byte(len(b))
	return b
}

func fragment(b []byte, offset byte) []byte {
	b = bytes.Clone(b)
	b[6], b[7] = 0x20, offset
	return b
}

func arp(sender, target netip.Addr) []byte {
	b := append([]byte{0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1}, sender.AsSlice()...)
	return append(append(b, 0, 0, 0, 0, 0, 0), target.AsSlice()...)
}

func nd(kind byte, about netip.Addr) []byte {
	return in(us6, gateway6, 58, append([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, about.AsSlice()...)...)
}

func TestFilter(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		const ip4, ip6, arpType = afpacket.EtherTypeIPv4, afpacket.EtherTypeIPv6, afpacket.EtherTypeARP
		hop := append([]byte{6, 0, 1, 4, 0, 0, 0, 0}, syn(us6, target6)[40:]...)
		type packet struct {
			name string
			kind uint16
			data []byte
			pass bool
		}
		for name, c := range map[string]struct {
			filter  afpacket.Filter
			packets []packet
		}{
			"IPv4": {afpacket.Filter{Target: target4, Gateway: gateway4}, []packet{
				{"to the target", ip4, syn(us4, target4), true},
				{"from the target", ip4, syn(target4, us4), true},
				{"to the target with IP options", ip4, withOptions(syn(us4, target4)), true},
				{"to another host", ip4, syn(us4, other4), false},
				{"from another host", ip4, syn(other4, us4), false},
				{"first fragment", ip4, fragment(syn(us4, target4), 0), true},
				{"second fragment", ip4, fragment(syn(us4, target4), 9), false},
				{"UDP", ip4, in(us4, target4, 17, make([]byte, 20)...), false},
				{"unreachable", ip4, icmpError(other4, 3, syn(us4, target4)), true},
				{"time exceeded", ip4, icmpError(other4, 11, syn(us4, target4)), true},
				{"time exceeded with IP options", ip4, withOptions(icmpError(other4, 11, syn(us4, target4))), true},
				{"parameter problem", ip4, icmpError(other4, 12, syn(us4, target4)), true},
				{"time exceeded about another", ip4, icmpError(target4, 11, syn(us4, other4)), false},
				{"time exceeded without quote", ip4, icmpError(other4, 11, nil), false},
				{"echo reply", ip4, in(target4, us4, 1, make([]byte, 8)...), true},
				{"echo reply of another", ip4, in(other4, us4, 1, make([]byte, 8)...), false},
				{"echo request", ip4, in(us4, target4, 1, 8, 0, 0, 0, 0, 0, 0, 0), false},
				{"ARP for the target", arpType, arp(us4, target4), true},
				{"ARP by the target", arpType, arp(target4, us4), true},
				{"ARP for the gateway", arpType, arp(us4, gateway4), true},
				{"ARP for another", arpType, arp(us4, other4), false},
				{"ARP header only", arpType, arp(us4, target4)[:8], false},
				{"IPv6", ip6, syn(us6, target6), false},
				{"nothing", ip4, nil, false},
			}},
			"IPv6": {afpacket.Filter{Target: target6, Gateway: gateway6}, []packet{
				{"to the target", ip6, syn(us6, target6), true},
				{"from the target", ip6, syn(target6, us6), true},
				{"with extension header", ip6, in(us6, target6, 0, hop...), true},
				{"with extension header to another", ip6, in(us6, other6, 0, hop...), false},
				{"to another host", ip6, syn(us6, other6), false},
				{"UDP", ip6, in(us6, target6, 17, make([]byte, 20)...), false},
				{"unreachable", ip6, icmpError(other6, 1, syn(us6, target6)), true},
				{"too big", ip6, icmpError(other6, 2, syn(us6, target6)), true},
				{"time exceeded", ip6, icmpError(other6, 3, syn(us6, target6)), true},
				{"time exceeded about another", ip6, icmpError(target6, 3, syn(us6, other6)), false},
				{"echo reply", ip6, in(target6, us6, 58, 129, 0, 0, 0, 0, 0, 0, 0), true},
				{"echo reply of another", ip6, in(other6, us6, 58, 129, 0, 0, 0, 0, 0, 0, 0), false},
				{"solicitation", ip6, nd(135, target6), true},
				{"advertisement of the gateway", ip6, nd(136, gateway6), true},
				{"advertisement of another", ip6, nd(136, other6), false},
				{"router advertisement", ip6, nd(134, target6), false},
				{"IPv4", ip4, syn(us4, target4), false},
				{"ARP", arpType, arp(us4, target4), false},
			}},
		} {
			t.Run(name, func(t *testing.T) {
				cable := newCable(t)
				conn := cable.open(t, c.filter, cable.b)
				// A packet that always passes follows each, to know that the
				// one before has been dealt with.
				mark := syn(c.filter.Target, c.filter.Target)
				kind := uint16(ip4)
				if c.filter.Target.Is6() {
					kind = ip6
				}
				for _, p := range c.packets {
					cable.send(t, p.kind, p.data)
					cable.send(t, kind, mark)
					got := next(t, conn)
					// A frame that is short has been padded on the way.
					if passed := !bytes.Equal(got.Data, mark); passed != p.pass {
						t.Errorf("%s: passed %v, want %v", p.name, passed, p.pass)
					} else if passed {
						if !bytes.HasPrefix(got.Data, p.data) {
							t.Errorf("%s: got %x, want %x", p.name, got.Data, p.data)
						}
						next(t, conn)
					}
				}
			})
		}
	})
}

func TestPacket(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		cable := newCable(t)
		conn := cable.open(t, afpacket.Filter{Target: target4}, 0)
		packet := syn(target4, us4)
		before := time.Now()
		cable.send(t, afpacket.EtherTypeIPv4, packet)
		out := next(t, conn)
		if out.Direction != afpacket.Outgoing || conn.InterfaceName(out.Interface) != "a" {
			t.Errorf("%+v on %q", out, conn.InterfaceName(out.Interface))
		}
		got := next(t, conn)
		if got.Direction != afpacket.ToBroadcast || conn.InterfaceName(got.Interface) != "b" ||
			got.EtherType != afpacket.EtherTypeIPv4 || got.VLAN != -1 || got.Len != len(packet) ||
			got.HardwareType != unix.ARPHRD_ETHER || !bytes.Equal(got.HardwareAddr[:got.HardwareAddrLen], []byte{2, 0, 0, 0, 0, 1}) {
			t.Errorf("%+v on %q", got, conn.InterfaceName(got.Interface))
		}
		if got.Time.Before(before.Round(0)) || got.Time.After(time.Now()) {
			t.Errorf("captured at %v, not between %v and now", got.Time, before)
		}
		if name := conn.InterfaceName(1 << 20); name != "" {
			t.Errorf("an interface that does not exist is called %q", name)
		}

		// Behind a VLAN tag; end b has the kernel take it off.
		cable.send(t, unix.ETH_P_8021Q, append([]byte{0, 42, 8, 0}, packet...))
		if p := next(t, conn); p.VLAN != 42 || p.EtherType != afpacket.EtherTypeIPv4 || !bytes.Equal(p.Data, packet) {
			t.Errorf("with VLAN tag: %+v", p)
		}
		if s, err := conn.Stats(); err != nil || s.Received < 3 || s.Dropped != 0 {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// What does not fit in the socket's buffer is counted.
func TestDropped(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		cable := newCable(t)
		conn := cable.open(t, afpacket.Filter{Target: target4}, cable.b)
		packet := append(syn(target4, us4), make([]byte, 1400)...)
		for range 20_000 {
			cable.send(t, afpacket.EtherTypeIPv4, packet)
		}
		kept := 0
		var p afpacket.Packet
		for ok := true; ok; kept++ {
			var err error
			if ok, err = conn.Next(&p); err != nil {
				t.Fatal(err)
			}
		}
		s, err := conn.Stats()
		if err != nil || s.Dropped == 0 || s.Dropped != s.Received-(kept-1) {
			t.Errorf("%+v, %v; kept %d", s, err, kept-1)
		}
	})
}

func TestWait(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		cable := newCable(t)
		conn := cable.open(t, afpacket.Filter{Target: target4}, cable.b)
		if err := conn.SetDeadline(time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		if err := conn.Wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Wait past the deadline: %v", err)
		}
		cable.send(t, afpacket.EtherTypeIPv4, syn(target4, us4))
		var p afpacket.Packet
		if ok, err := conn.Next(&p); !ok || err != nil {
			t.Errorf("Next past the deadline: %v, %v", ok, err)
		}
		if ok, err := conn.Next(&p); ok || err != nil {
			t.Errorf("Next without a packet: %v, %v", ok, err)
		}
		if err := conn.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		waited := make(chan error)
		go func() { waited <- conn.Wait() }()
		conn.Close()
		if err := <-waited; !errors.Is(err, os.ErrClosed) {
			t.Errorf("Wait while closed: %v", err)
		}
		if _, err := conn.Next(&p); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Next after Close: %v", err)
		}
	})
}

func TestOpenErrors(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		all := []bpf.RawInstruction{{Op: unix.BPF_RET, K: 1}}
		routertest.AsUser(t, func() {
			_, err := afpacket.Open(all, 0)
			var denied *afpacket.PermissionError
			if !errors.As(err, &denied) || !errors.Is(err, fs.ErrPermission) {
				t.Errorf("without CAP_NET_RAW: %v", err)
			}
		})
		if _, err := afpacket.Open(nil, 0); err == nil {
			t.Error("a capture without filter")
		}
		if _, err := afpacket.Open(all, 1<<20); !errors.Is(err, unix.ENODEV) {
			t.Errorf("on an interface that does not exist: %v", err)
		}
		if _, err := afpacket.Open([]bpf.RawInstruction{{Op: 0xffff}}, 0); !errors.Is(err, unix.EINVAL) {
			t.Errorf("with an impossible filter: %v", err)
		}
	})
}
