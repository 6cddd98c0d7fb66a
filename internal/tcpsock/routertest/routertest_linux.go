package routertest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// Node is one of the machines.
type Node struct {
	t  testing.TB
	ns *netns.NS
	nl *netlink.Handle
}

// Net is the internet.
type Net struct{ Client, R1, R2, Server *Node }

// Addr is the address of a host in one of the networks: Addr(6, 3, 2) is the
// server's fd77:3::2.
func Addr(family, network, host int) netip.Addr {
	if family == 6 {
		return netip.MustParseAddr(fmt.Sprintf("fd77:%d::%d", network, host))
	}
	return netip.MustParseAddr(fmt.Sprintf("10.77.%d.%d", network, host))
}

// New builds it; it goes away with the test. Routers send ICMP errors without
// limit of rate.
func New(t testing.TB) *Net {
	t.Helper()
	nettest.NeedRoot(t)
	n := &Net{node(t), node(t), node(t), node(t)}
	n.link(1, "e0", n.Client, "e0", n.R1)
	n.link(2, "e1", n.R1, "e0", n.R2)
	n.link(3, "e1", n.R2, "e0", n.Server)
	for _, r := range []*Node{n.R1, n.R2} {
		r.Sysctl("net/ipv4/ip_forward", "1")
		r.Sysctl("net/ipv6/conf/all/forwarding", "1")
		r.Sysctl("net/ipv4/icmp_ratemask", "0")
		r.Sysctl("net/ipv6/icmp/ratelimit", "0")
	}
	for _, f := range []int{4, 6} {
		n.Client.Route(f, "", Addr(f, 1, 1))
		n.R1.Route(f, "", Addr(f, 2, 2))
		n.R2.Route(f, "", Addr(f, 2, 1))
		n.Server.Route(f, "", Addr(f, 3, 1))
	}
	return n
}

func node(t testing.TB) *Node {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	nl, err := netlink.NewHandleAt(vnetns.NsHandle(ns.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nl.Close)
	n := &Node{t, ns, nl}
	lo, err := nl.LinkByName("lo")
	n.must(err)
	n.must(nl.LinkSetUp(lo))
	n.Sysctl("net/ipv6/conf/default/accept_dad", "0")
	return n
}

// link joins a, which is host 2 of the network, or r1 in network 2, and b.
func (n *Net) link(network int, aName string, a *Node, bName string, b *Node) {
	a.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = aName
	// Linkwatch reports a carrier at once only where the two ends differ in
	// index (linkwatch_urgent_event), and else up to a second later.
	attrs.Index = 100 + network
	a.must(a.nl.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: bName, PeerNamespace: netlink.NsFd(b.ns.Fd())}))
	for _, end := range []struct {
		node *Node
		name string
		host int
	}{{a, aName, 1 + b2i(a == n.Client)}, {b, bName, 1 + b2i(a != n.Client)}} {
		l, err := end.node.nl.LinkByName(end.name)
		a.must(err)
		for _, f := range []int{4, 6} {
			bits := 24
			if f == 6 {
				bits = 64
			}
			p := netip.PrefixFrom(Addr(f, network, end.host), bits)
			a.must(end.node.nl.AddrAdd(l, &netlink.Addr{IPNet: ipnet(p), Flags: unix.IFA_F_NODAD}))
		}
		a.must(end.node.nl.LinkSetUp(l))
	}
	nettest.Eventually(a.t, "a link is not ready", func() bool {
		return a.ready(aName) && b.ready(bName)
	})
}

// ready says that a link has a carrier and that IPv6 has set up its own address.
func (n *Node) ready(name string) bool {
	n.t.Helper()
	l, err := n.nl.LinkByName(name)
	n.must(err)
	addrs, err := n.nl.AddrList(l, netlink.FAMILY_V6)
	n.must(err)
	own := false
	for _, a := range addrs {
		if a.Flags&unix.IFA_F_TENTATIVE != 0 {
			return false
		}
		own = own || a.IP.IsLinkLocalUnicast()
	}
	return own && l.Attrs().OperState == netlink.OperUp
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func (n *Node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// Route adds a route to a prefix, "" being the default.
func (n *Node) Route(family int, prefix string, via netip.Addr) {
	n.t.Helper()
	n.must(n.nl.RouteAdd(&netlink.Route{Dst: dst(family, prefix), Gw: via.AsSlice()}))
}

// RouteType adds a route of a type such as unix.RTN_BLACKHOLE.
func (n *Node) RouteType(family int, prefix string, typ int) {
	n.t.Helper()
	n.must(n.nl.RouteAdd(&netlink.Route{Dst: dst(family, prefix), Type: typ}))
}

func dst(family int, prefix string) *net.IPNet {
	switch {
	case prefix != "":
		return ipnet(netip.MustParsePrefix(prefix))
	case family == 6:
		return ipnet(netip.MustParsePrefix("::/0"))
	}
	return ipnet(netip.MustParsePrefix("0.0.0.0/0"))
}

// Do runs f in the node's namespace, as root.
func (n *Node) Do(f func()) {
	n.t.Helper()
	n.must(n.ns.Do(func() error { f(); return nil }))
}

// AsUser runs f in the node's namespace as an ordinary user: uid 65534 where
// that is mapped, and without any capability. What f opens belongs to that user.
func (n *Node) AsUser(f func()) {
	n.t.Helper()
	n.must(n.ns.Do(func() error {
		if err := dropPrivileges(); err != nil {
			return err
		}
		f()
		return nil
	}))
}

// AsUser runs f as an ordinary user where the test is.
func AsUser(t testing.TB, f func()) {
	t.Helper()
	nettest.NeedRoot(t)
	errc := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := dropPrivileges()
		if err == nil {
			f()
		}
		errc <- err
	}()
	if err := <-errc; err != nil {
		t.Fatal(err)
	}
}

// dropPrivileges makes the calling thread an ordinary user's. The system calls
// are raw because the wrappers of package syscall change every thread.
func dropPrivileges() error {
	const nobody = 65534
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 && errno != unix.EINVAL {
		return fmt.Errorf("setresuid: %w", errno)
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&hdr, &none[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return nil
}

// Sysctl sets a variable by its path below /proc/sys.
func (n *Node) Sysctl(name, value string) {
	n.t.Helper()
	n.must(n.ns.Do(func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0o644) }))
}

// Filter adds rules to a hook ("input", "forward"), with the nft program.
func (n *Node) Filter(hook string, rules ...string) {
	n.t.Helper()
	script := fmt.Sprintf("add table inet t\nadd chain inet t h_%s { type filter hook %[1]s priority 0; }\n", hook)
	for _, r := range rules {
		script += fmt.Sprintf("add rule inet t h_%s %s\n", hook, r)
	}
	cmd := exec.CommandContext(n.t.Context(), nettest.NeedProgram(n.t, "nft"), "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	var out []byte
	err := n.ns.Do(func() (err error) {
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		n.t.Fatalf("nft: %v\n%s%s", err, script, out)
	}
}

// Slow limits what leaves by an interface to rate bytes per second, so that
// packets arrive later than in the system call that sent them.
func (n *Node) Slow(name string, rate uint64) {
	n.t.Helper()
	const burst = 200 // bytes, one ICMPv6 error that quotes a SYN
	l, err := n.nl.LinkByName(name)
	n.must(err)
	n.must(n.nl.QdiscAdd(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       rate,
		Limit:      1 << 16,
		Buffer:     netlink.Xmittime(rate, burst),
	}))
}

// Listen opens a listener on an address of the node.
func (n *Node) Listen(a netip.AddrPort) *net.TCPListener {
	n.t.Helper()
	var l *net.TCPListener
	n.must(n.ns.Do(func() (err error) {
		l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(a))
		return err
	}))
	n.t.Cleanup(func() { l.Close() })
	return l
}
