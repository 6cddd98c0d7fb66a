package sockdiag

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// all reads the sockets that fit.
func all(t *testing.T, q Query) (socks []Socket) {
	t.Helper()
	c, err := Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for s, err := range c.Sockets(q) {
		if err != nil {
			t.Fatal(err)
		}
		socks = append(socks, s)
	}
	return socks
}

// listen makes a listening socket with a small queue, which the net package
// cannot, and gives its address and inode.
func listen(t *testing.T, sa unix.Sockaddr, backlog int, options ...int) (netip.AddrPort, uint64) {
	t.Helper()
	domain := unix.AF_INET
	if _, ok := sa.(*unix.SockaddrInet6); ok {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	for i := 0; i+2 < len(options); i += 3 {
		if err := unix.SetsockoptInt(fd, options[i], options[i+1], options[i+2]); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Bind(fd, sa); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), st.Ino
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), st.Ino
	}
	t.Fatalf("address %T", name)
	return netip.AddrPort{}, 0
}

func dial(t *testing.T, to netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestListeners(t *testing.T) {
	nettest.LeakCheck(t)
	any6 := &unix.SockaddrInet6{}
	for _, c := range []struct {
		name    string
		sa      unix.Sockaddr
		options []int
		v6only  bool
	}{
		{name: "IPv4", sa: &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}},
		{name: "dual stack", sa: any6, options: []int{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0}},
		{name: "IPv6 only", sa: any6, options: []int{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1}, v6only: true},
		{name: "mapped", sa: &unix.SockaddrInet6{Addr: netip.MustParseAddr("::ffff:127.0.0.1").As16()}},
	} {
		addr, inode := listen(t, c.sa, 3, c.options...)
		want := Socket{
			Local: addr, State: Listen, SendQ: 3, UID: uint32(os.Geteuid()), Inode: inode, V6Only: c.v6only,
			Remote: netip.AddrPortFrom(netip.IPv4Unspecified(), 0),
		}
		if addr.Addr().Is6() {
			want.Remote = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
		}
		got := all(t, Query{States: Of(Listen), LocalPort: addr.Port(), V4: true, V6: true})
		if len(got) == 1 {
			want.Cgroup = got[0].Cgroup // a test of its own
		}
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s: got  %+v\nwant %+v", c.name, got, want)
		}
		if o := Owners(t.Context(), nil, inode)[inode]; o.PID != os.Getpid() || !strings.Contains(os.Args[0], o.Name) || o.Name == "" {
			t.Errorf("%s: owner %+v, want this process", c.name, o)
		}
	}
}

func TestFamilies(t *testing.T) {
	v4, _ := listen(t, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, 1)
	v6, _ := listen(t, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}, 1)
	for _, c := range []struct {
		port   uint16
		v4, v6 bool
		want   int
	}{
		{v4.Port(), true, false, 1}, {v4.Port(), false, true, 0},
		{v6.Port(), true, false, 0}, {v6.Port(), false, true, 1},
		{v6.Port(), false, false, 0},
	} {
		if got := all(t, Query{States: Of(Listen), LocalPort: c.port, V4: c.v4, V6: c.v6}); len(got) != c.want {
			t.Errorf("%+v: got %+v", c, got)
		}
	}
}

func TestFullAcceptQueue(t *testing.T) {
	addr, _ := listen(t, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, 1)
	dial(t, addr)
	dial(t, addr) // the kernel takes one more than the backlog
	q := Query{States: Of(Listen), LocalPort: addr.Port(), V4: true}
	nettest.Eventually(t, "accept queue does not show Recv-Q 2 above Send-Q 1", func() bool {
		s := all(t, q)
		return len(s) == 1 && s[0].RecvQ == 2 && s[0].SendQ == 1
	})
}

func TestConnections(t *testing.T) {
	addr, _ := listen(t, &unix.SockaddrInet6{}, 2, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), addr.Port())
	local := dial(t, to).LocalAddr().(*net.TCPAddr).AddrPort()

	client := all(t, Query{States: Connections, LocalPort: local.Port(), RemotePort: to.Port(), V4: true, V6: true})
	if len(client) != 1 || client[0].Local != local || client[0].Remote != to ||
		client[0].State != Established || client[0].Inode == 0 {
		t.Errorf("client's socket: %+v", client)
	}
	server := all(t, Query{States: Connections, LocalPort: to.Port(), RemotePort: local.Port(), V4: true, V6: true})
	if len(server) != 1 || !server[0].Local.Addr().Is4In6() || server[0].Remote.Addr().Unmap() != local.Addr() ||
		server[0].State != Established || server[0].Inode != 0 {
		t.Errorf("server's socket, not accepted: %+v", server)
	}
}

// TestBound looks for a socket that is bound and does nothing else.
func TestBound(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	port := uint16(name.(*unix.SockaddrInet4).Port)
	got := all(t, Query{States: Of(BoundInactive), LocalPort: port, V4: true, V6: true})
	if len(got) == 0 {
		nettest.Unsupported(t, "bound sockets in sock_diag (Linux 6.8)")
	}
	if len(got) != 1 || got[0].State != BoundInactive || got[0].Local.Port() != port || got[0].Inode != st.Ino {
		t.Errorf("%+v, want inode %d", got, st.Ino)
	}
	if got := all(t, Query{States: Of(BoundInactive), LocalPort: port ^ 1, V4: true, V6: true}); len(got) != 0 && got[0].Inode == st.Ino {
		t.Errorf("asked for another port: %+v", got)
	}
}

func TestStop(t *testing.T) {
	nettest.LeakCheck(t)
	for range 3 {
		listen(t, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, 1)
	}
	c, err := Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	q := Query{States: Of(Listen), V4: true, V6: true}
	for range c.Sockets(q) {
		break
	}
	n := 0
	for _, err := range c.Sockets(q) {
		if n++; err != nil {
			t.Fatalf("after a query that was left early: %v", err)
		}
	}
	if n < 3 {
		t.Errorf("after a query that was left early: %d sockets", n)
	}
}

func TestCancelled(t *testing.T) {
	nettest.LeakCheck(t)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := Dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	nettest.Eventually(t, "a cancelled context does not stop the reading", func() bool {
		for _, err := range c.Sockets(Query{States: Of(Listen), V4: true}) {
			return errors.Is(err, os.ErrDeadlineExceeded)
		}
		return false
	})
	if got := Owners(ctx, nil, 1); len(got) != 0 {
		t.Errorf("owners after cancelling: %v", got)
	}
}

// TestOwner looks for the socket of another process with a name made to do
// harm, which its parent holds too.
func TestOwner(t *testing.T) {
	const name = "a\x1b]0;\xff\n\\"
	if os.Getenv("TCPWHY_TEST_NAME") != "" {
		if err := os.WriteFile("/proc/self/comm", []byte(name), 0); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("ready\n")
		os.Stdin.Read(make([]byte, 1))
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestOwner$")
	cmd.Env = append(os.Environ(), "TCPWHY_TEST_NAME=1")
	cmd.ExtraFiles = []*os.File{f}
	nettest.Start(t, cmd)
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	inode := all(t, Query{States: Of(Listen), LocalPort: port, V4: true})[0].Inode
	if o := Owners(t.Context(), nil, inode, 0)[inode]; o.PID != os.Getpid() {
		t.Errorf("owner of a shared socket: %+v, want the parent %d", o, os.Getpid())
	}
	if o := Owners(t.Context(), []int{1 << 30, cmd.Process.Pid}, inode)[inode]; o.PID != cmd.Process.Pid {
		t.Errorf("owner of a shared socket, the child being likely: %+v, want %d", o, cmd.Process.Pid)
	}
	l.Close()
	f.Close()
	want := Owner{cmd.Process.Pid, `a\x1b]0;\xff\x0a\x5c`}
	if o := Owners(t.Context(), nil, inode)[inode]; o != want {
		t.Errorf("owner %+v, want %+v", o, want)
	}
}

func TestEscape(t *testing.T) {
	for name, want := range map[string]string{
		"":                       "",
		"nginx":                  "nginx",
		"a b":                    "a b",
		strings.Repeat("é", 100): strings.Repeat(`\xc3\xa9`, 8),
	} {
		if got := escape(name); got != want || len(got) > 64 {
			t.Errorf("escape(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestSocketInode(t *testing.T) {
	for link, want := range map[string]uint64{
		"socket:[123]": 123, "socket:[]": 0, "pipe:[5]": 0, "/tmp/socket:[7]": 0, "socket:[-1]": 0,
	} {
		if got := socketInode([]byte(link)); got != want {
			t.Errorf("%s: %d, want %d", link, got, want)
		}
	}
}

// answer makes an inet_diag_msg with one attribute.
func answer(family byte, attr ...byte) []byte {
	b := make([]byte, socketLen, socketLen+8)
	b[0], b[1] = family, byte(Listen)
	binary.BigEndian.PutUint16(b[4:], 443)
	return append(b, attr...)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{})
	f.Add(answer(unix.AF_INET))
	f.Add(answer(unix.AF_INET6, 5, 0, attrV6Only, 0, 1, 0, 0, 0))
	f.Add(answer(unix.AF_INET6, 200, 0, attrV6Only, 0))
	f.Add(answer(unix.AF_INET, 12, 0, attrCgroup, 0, 1, 2, 3, 4, 5, 6, 7, 8))
	f.Add(answer(99))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parse(b)
		if err != nil {
			return
		}
		if !s.Local.IsValid() || !s.Remote.IsValid() {
			t.Errorf("parsed without addresses: %+v", s)
		}
		if (b[0] == unix.AF_INET) != s.Local.Addr().Is4() {
			t.Errorf("family %d gives %v", b[0], s.Local)
		}
	})
}

func TestParse(t *testing.T) {
	s, err := parse(answer(unix.AF_INET6, 5, 0, attrV6Only, 0, 1, 0, 0, 0))
	if err != nil || !s.V6Only || s.Local.Port() != 443 || s.State != Listen {
		t.Errorf("%+v, %v", s, err)
	}
	for name, b := range map[string][]byte{
		"short":  answer(unix.AF_INET)[:socketLen-1],
		"family": answer(99),
		"attr":   answer(unix.AF_INET, 200, 0, attrV6Only, 0),
		"cgroup": answer(unix.AF_INET, 8, 0, attrCgroup, 0, 1, 2, 3, 4),
		"empty":  answer(unix.AF_INET6, 4, 0, attrV6Only, 0),
	} {
		if s, err := parse(b); err == nil {
			t.Errorf("%s: accepted as %+v", name, s)
		}
	}
}
