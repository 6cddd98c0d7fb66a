package listener

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// socket says how to make a listening socket.
type socket struct {
	v6     bool // of AF_INET6
	addr   string
	v6only bool
	device string
}

func (s socket) String() string {
	return fmt.Sprintf("%s v6only=%v dev=%q", s.addr, s.v6only, s.device)
}

// open listens on the port; every socket shares it by SO_REUSEPORT, so that any
// two can be there at once.
func (s socket) open(port uint16) (int, error) {
	domain := unix.AF_INET
	if s.v6 {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
	)
	if s.v6 {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, toInt(s.v6only)))
	}
	if s.device != "" {
		err = errors.Join(err, unix.BindToDevice(fd, s.device))
	}
	a := netip.MustParseAddr(s.addr)
	if err := errors.Join(err, unix.Bind(fd, sockaddr(a, port, s.v6)), unix.Listen(fd, 8)); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("%v: %w", s, err)
	}
	return fd, nil
}

func sockaddr(a netip.Addr, port uint16, v6 bool) unix.Sockaddr {
	if !v6 {
		return &unix.SockaddrInet4{Port: int(port), Addr: a.As4()}
	}
	sa := &unix.SockaddrInet6{Port: int(port), Addr: a.As16()}
	if z := a.Zone(); z != "" {
		fmt.Sscan(z, &sa.ZoneId)
	}
	return sa
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// connect makes a connection from a client bound to a device, and says which
// of the listeners got it, or -1.
func connect(fds []int, to netip.AddrPort, device string) (int, error) {
	domain, v6 := unix.AF_INET, to.Addr().Is6()
	if v6 {
		domain = unix.AF_INET6
	}
	c, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(c)
	// RST on close, or the ports run out in TIME_WAIT.
	if err := unix.SetsockoptLinger(c, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return -1, err
	}
	if err := unix.SetsockoptTimeval(c, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return -1, err
	}
	if device != "" {
		if err := unix.BindToDevice(c, device); err != nil {
			return -1, err
		}
	}
	switch err := unix.Connect(c, sockaddr(to.Addr(), to.Port(), v6)); {
	case errors.Is(err, unix.ECONNREFUSED):
		return -1, nil
	case err != nil:
		return -1, err
	}
	for i, fd := range fds {
		if s, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC); err == nil {
			return i, unix.Close(s)
		}
	}
	return -1, errors.New("connected, but to none of the listeners")
}

// TestServes makes every pair of listeners that differ in family, address,
// IPV6_V6ONLY or interface, connects to every address of the namespace, and
// holds what the kernel does against what Serves says.
func TestServes(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		nettest.NeedProgram(t, "ip")
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if err := ns.Do(func() error { return matrix(t) }); err != nil {
			t.Fatal(err)
		}
	})
}

const twoLinks = `link set lo up
link add v0 index 10 type veth peer name v1
link set v0 up
link set v1 up
link add w0 index 20 type veth peer name w1
link set w0 up
link set w1 up
addr add 10.77.1.1/24 dev v0
addr add 10.77.2.1/24 dev w0
addr add fd77:1::1/64 dev v0 nodad
addr add fd77:2::1/64 dev w0 nodad
addr add fe80::77/64 dev v0 nodad
`

// ip runs each line of a script with ip(8) in the current namespace.
func ip(script string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip -batch: %w\n%s", err, out)
	}
	return nil
}

func closeAll(fds ...int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

func matrix(t *testing.T) error {
	if err := ip(twoLinks); err != nil {
		return err
	}
	sockets := []socket{
		{addr: "0.0.0.0"}, {addr: "127.0.0.1"}, {addr: "10.77.1.1"}, {addr: "10.77.2.1"},
		{v6: true, addr: "::"}, {v6: true, addr: "::", v6only: true},
		{v6: true, addr: "::1"}, {v6: true, addr: "fd77:1::1"}, {v6: true, addr: "fe80::77%10"},
		{v6: true, addr: "::ffff:10.77.1.1"}, {v6: true, addr: "::ffff:0.0.0.0"},
		{addr: "0.0.0.0", device: "lo"}, {addr: "0.0.0.0", device: "v0"}, {addr: "10.77.2.1", device: "w0"},
		{v6: true, addr: "::", device: "v0"}, {v6: true, addr: "::", device: "w0", v6only: true},
		{v6: true, addr: "fd77:2::1", device: "w0"},
	}
	targets := []struct{ addr, device string }{
		{"127.0.0.1", ""}, {"127.0.0.2", ""}, {"127.0.0.1", "lo"}, {"0.0.0.0", ""}, {"::", ""}, {"::1", ""},
		{"10.77.1.1", ""}, {"10.77.1.1", "v0"}, {"10.77.2.1", ""}, {"10.77.2.1", "w0"},
		{"::ffff:10.77.1.1", ""}, {"fd77:1::1", ""}, {"fd77:1::1", "v0"}, {"fd77:2::1", ""}, {"fe80::77%10", ""},
	}
	arrivals := make(map[string]int)
	for _, to := range targets {
		in, err := arriving(t, to.addr, to.device)
		if err != nil {
			return err
		}
		arrivals[to.addr+to.device] = in
	}
	for i, a := range sockets {
		for _, b := range sockets[i:] { // a pair of equals shares the port
			for _, to := range targets {
				ab, err := reached(t, a, b, to.addr, to.device, arrivals[to.addr+to.device])
				if err != nil {
					return err
				}
				ba, err := reached(t, b, a, to.addr, to.device, arrivals[to.addr+to.device])
				if err != nil {
					return err
				}
				// Where only the order of making decides, either is reached once.
				got := [2]bool{ab.got[0] || ba.got[1], ab.got[1] || ba.got[0]}
				if a == b {
					got = [2]bool{got[0] || got[1], got[0] || got[1]}
				}
				want := [2]bool{ab.serves[0], ab.serves[1]}
				if got != want || ba.serves[1] != want[0] || ba.serves[0] != want[1] {
					t.Errorf("[%v] and [%v], connect to %v: reached %v, Serves says %v and %v", a, b, to, got, ab.serves, ba.serves)
				}
			}
		}
	}
	return nil
}

// outcome is which of two listeners was reached, and which Serves says can be.
type outcome struct{ got, serves [2]bool }

// reached makes two listeners and connects to them.
func reached(t *testing.T, a, b socket, addr, device string, in int) (o outcome, err error) {
	const port = 7000
	var fds []int
	defer func() { closeAll(fds...) }()
	for _, s := range []socket{a, b} {
		fd, err := s.open(port)
		if err != nil {
			return o, err
		}
		fds = append(fds, fd)
	}
	target := netip.AddrPortFrom(netip.MustParseAddr(addr), port)
	i, err := connect(fds, target, device)
	if err != nil {
		return o, fmt.Errorf("to %v: %w", addr, err)
	}
	if i >= 0 {
		o.got[i] = true
	}
	serves, err := predict(t, fds, target, in)
	copy(o.serves[:], serves)
	return o, err
}

// arriving is the interface that arrival gives, once the kernel has made the
// local route of the address: for IPv6 that is a moment after it was added.
func arriving(t *testing.T, addr, device string) (int, error) {
	a := netip.MustParseAddr(addr)
	var in int
	var err error
	nettest.Eventually(t, addr+" did not become local", func() bool {
		r, e := rtnl.NewReader()
		if e != nil {
			return false
		}
		defer r.Close()
		zone, _ := strconv.Atoi(a.Zone())
		f, e := r.Route(rtnl.Lookup{To: a, Link: zone})
		in, _, err = arrival(collect.Env{Interface: device}, a)
		return e == nil && f.Type == "local"
	})
	return in, err
}

// predict says what Serves is for each of the sockets.
func predict(t *testing.T, fds []int, target netip.AddrPort, in int) ([]bool, error) {
	socks, err := listening(t.Context(), new(evidence.Listeners), target.Port())
	if err != nil {
		return nil, err
	}
	serves := serving(socks, target.Addr(), in)
	out := make([]bool, len(fds))
	for i, fd := range fds {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return nil, err
		}
		for j, s := range socks {
			if s.Inode == st.Ino {
				out[i] = serves[j]
			}
		}
	}
	return out, nil
}
