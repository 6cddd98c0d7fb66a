package bind

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

func try(t *testing.T, addr string) evidence.BindTrial {
	t.Helper()
	got, err := Try(t.Context(), collect.Env{}, netip.MustParseAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// within runs the test in a namespace of its own with its loopback up, as root
// of it.
func within(t *testing.T, script string, f func(t *testing.T)) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		nettest.NeedProgram(t, "ip")
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if err := ns.Do(func() error {
			ip(t, "link set lo up\n"+script)
			f(t)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

func ip(t *testing.T, script string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ip: %v\n%s", err, out)
	}
}

// socket is one that may be in the way.
type socket struct {
	addr                                string
	v6only, reuse, reuseport, listening bool
	device                              string
}

func (s socket) open(t *testing.T) int {
	t.Helper()
	a := netip.MustParseAddrPort(s.addr)
	domain, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()})
	if a.Addr().Is4() {
		domain, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	set := func(on bool, level, option int) {
		if on {
			if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	set(s.reuse, unix.SOL_SOCKET, unix.SO_REUSEADDR)
	set(s.reuseport, unix.SOL_SOCKET, unix.SO_REUSEPORT)
	set(s.v6only, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	if s.device != "" {
		err = unix.BindToDevice(fd, s.device)
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err == nil && s.listening {
		err = unix.Listen(fd, 4)
	}
	if err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	return fd
}

// TestMatrix holds what Try and its list of holders say for every address
// against every kind of socket in the way, as the kernel has it: an address is
// in use exactly when a holder is found.
func TestMatrix(t *testing.T) {
	within(t, "addr add 192.0.2.1/32 dev lo\naddr add 2001:db8::1/128 dev lo nodad\n", func(t *testing.T) {
		var socks []socket
		for _, addr := range []string{
			"0.0.0.0:7100", "127.0.0.1:7100", "192.0.2.1:7100", "[::]:7100", "[::1]:7100", "[2001:db8::1]:7100",
			"[::ffff:127.0.0.1]:7100", "[::ffff:0.0.0.0]:7100",
		} {
			for _, listening := range []bool{true, false} {
				for _, reuse := range []bool{true, false} {
					s := socket{addr: addr, listening: listening, reuse: reuse}
					socks = append(socks, s)
					if addr[0] == '[' && !strings.Contains(addr, "ffff") {
						s.v6only = true
						socks = append(socks, s)
					}
				}
			}
		}
		socks = append(socks, socket{addr: "0.0.0.0:7100", listening: true, device: "lo"})
		busy := 0
		for _, s := range socks {
			fd := s.open(t)
			for _, addr := range []string{"0.0.0.0:7100", "127.0.0.1:7100", "127.0.0.2:7100", "192.0.2.1:7100", "[::]:7100", "[::1]:7100", "[2001:db8::1]:7100", "127.0.0.1:7101"} {
				got := try(t, addr)
				p, err := newPlace(collect.Env{}, netip.MustParseAddrPort(addr))
				if err != nil {
					t.Fatal(err)
				}
				list, _, err := p.holders(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if (got.Errno == "EADDRINUSE") != (len(list) == 1) || got.Errno != "" && got.Syscall != "bind" {
					t.Errorf("%+v, then %s: %q, holders %+v", s, addr, got.Errno, list)
				}
				if got.Errno == "" {
					continue
				}
				busy++
				if want := s.listening || !s.reuse; (got.WithReuse == "EADDRINUSE") != want {
					t.Errorf("%+v, then %s: %q with SO_REUSEADDR", s, addr, got.WithReuse)
				}
				if len(got.Holders) != 1 || got.Holders[0].PID != os.Getpid() || (got.Holders[0].State == "") != s.listening || len(got.Findings) == 0 || len(got.Fix) == 0 {
					t.Errorf("%+v, then %s: %+v", s, addr, got)
				}
			}
			unix.Close(fd)
		}
		if busy < 50 {
			t.Errorf("only %d were in use", busy)
		}
	})
}

func contains(list []string, part string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, part) })
}

// expect compares what findings and fixes say with parts of it.
func expect(t *testing.T, got evidence.BindTrial, errno, withReuse string, parts ...string) {
	t.Helper()
	if got.Errno != errno || got.WithReuse != withReuse || (errno == "") != (got.Syscall == "") {
		t.Errorf("%v: %q by %s, with SO_REUSEADDR %q; want %q and %q", got.Addr, got.Errno, got.Syscall, got.WithReuse, errno, withReuse)
	}
	all := append(slices.Clone(got.Findings), got.Fix...)
	for _, part := range parts {
		if !contains(all, part) {
			t.Errorf("%v: %q is not said:\n%s", got.Addr, part, strings.Join(all, "\n"))
		}
	}
	if errno == "" && len(all)+len(got.Holders) > 0 {
		t.Errorf("%v is free: %+v", got.Addr, got)
	}
}

// TestFree: an address that is free stays so, and nobody can connect to it.
func TestFree(t *testing.T) {
	nettest.LeakCheck(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	for range 2 {
		expect(t, try(t, addr), "", "")
	}
}

func TestWords(t *testing.T) {
	within(t, "", func(t *testing.T) {
		me := fmt.Sprintf("(PID %d)", os.Getpid())
		for _, c := range []struct {
			s     socket
			addr  string
			reuse string
			words []string
		}{
			{socket{addr: "0.0.0.0:443", listening: true}, "127.0.0.1:443", "EADDRINUSE", []string{me + " listens on 0.0.0.0:443, which takes in every address.", "ps -fp"}},
			{socket{addr: "127.0.0.1:443", listening: true}, "0.0.0.0:443", "EADDRINUSE", []string{"listens on 127.0.0.1:443, which 0.0.0.0:443 would take in."}},
			{socket{addr: "127.0.0.1:443", listening: true}, "127.0.0.1:443", "EADDRINUSE", []string{"listens on 127.0.0.1:443."}},
			{socket{addr: "[::]:443", listening: true}, "127.0.0.1:443", "EADDRINUSE", []string{"listens on [::]:443, which without IPV6_V6ONLY takes in IPv4."}},
			{socket{addr: "127.0.0.1:443", listening: true}, "[::]:443", "EADDRINUSE", []string{"Only IPv4 is in the way", "ipv6only=on"}},
			{socket{addr: "0.0.0.0:443", listening: true, device: "lo"}, "127.0.0.1:443", "EADDRINUSE", []string{"listens on 0.0.0.0:443 on interface lo"}},
			{socket{addr: "127.0.0.1:443", reuse: true}, "127.0.0.1:443", "", []string{"is bound to 127.0.0.1:443, and does not listen.", "A server that sets SO_REUSEADDR, as nearly all do, can bind"}},
			{socket{addr: "[::]:443", listening: true, v6only: true}, "0.0.0.0:443", "", nil},
		} {
			fd := c.s.open(t)
			errno := "EADDRINUSE"
			if c.words == nil {
				errno = ""
			}
			expect(t, try(t, c.addr), errno, c.reuse, c.words...)
			unix.Close(fd)
		}
	})
}

// TestConnections: what is left of connections keeps an address in use.
func TestConnections(t *testing.T) {
	within(t, "", func(t *testing.T) {
		open := func() (l net.Listener, client, server *net.TCPConn) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			s, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			return l, c.(*net.TCPConn), s.(*net.TCPConn)
		}
		// shut closes first one end, then the other, and waits for TIME_WAIT.
		shut := func(first, second *net.TCPConn) {
			addr := first.LocalAddr().String()
			first.Close()
			second.Read(make([]byte, 1))
			second.Close()
			nettest.Eventually(t, "no TIME_WAIT", func() bool { return try(t, addr).TimeWait == 1 })
		}

		l, client, server := open()
		addr := client.LocalAddr().String()
		got := try(t, addr)
		expect(t, got, "EADDRINUSE", "EADDRINUSE", "has a connection from "+addr+" to "+l.Addr().String()+" (ESTABLISHED).", "ip_local_reserved_ports")
		if len(got.Holders) != 1 || got.Holders[0].State != "ESTABLISHED" || got.Holders[0].Remote.String() != l.Addr().String() {
			t.Errorf("%+v", got.Holders)
		}
		// The listener stands for its connections.
		if got := try(t, l.Addr().String()); len(got.Holders) != 1 || got.Holders[0].State != "" {
			t.Errorf("%+v", got.Holders)
		}
		l.Close()
		expect(t, try(t, l.Addr().String()), "EADDRINUSE", "", "(ESTABLISHED).")
		shut(server, client)
		expect(t, try(t, l.Addr().String()), "EADDRINUSE", "", "Connections in TIME_WAIT on the port: 1.", "A server that sets SO_REUSEADDR")

		l, client, server = open()
		defer l.Close()
		addr = client.LocalAddr().String()
		shut(client, server)
		expect(t, try(t, addr), "EADDRINUSE", "EADDRINUSE", "SO_REUSEADDR does not help where those had not set it")
	})
}

// TestProcess: the holder is another program.
func TestProcess(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), nettest.NeedProgram(t, "python3"), "-c",
		`import socket, sys; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True); sys.stdin.read()`, "--password=hunter2")
	got := try(t, "127.0.0.1:"+nettest.Start(t, cmd))
	expect(t, got, "EADDRINUSE", "EADDRINUSE", fmt.Sprintf("(PID %d", cmd.Process.Pid), fmt.Sprintf("Look at PID %[1]d: ps -fp %[1]d", cmd.Process.Pid))
	if len(got.Holders) != 1 || !strings.HasPrefix(got.Holders[0].Process, "python3") || !strings.HasSuffix(got.Holders[0].Command, "--password=***") {
		t.Errorf("%+v", got.Holders)
	}
}

// TestDenied takes the capability from the thread that tries.
func TestDenied(t *testing.T) {
	within(t, "", func(t *testing.T) {
		fd := socket{addr: "127.0.0.1:443", listening: true}.open(t)
		defer unix.Close(fd)
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			t.Fatal(err)
		}
		data[0].Effective &^= 1 << unix.CAP_NET_BIND_SERVICE
		if err := unix.Capset(&header, &data[0]); err != nil { // of this thread, which ends
			t.Fatal(err)
		}
		got := try(t, "127.0.0.1:443")
		expect(t, got, "EACCES", "EACCES", "Port 443 is below net.ipv4.ip_unprivileged_port_start (1024)", "does not have it", "setcap cap_net_bind_service=+ep",
			"AmbientCapabilities", "ip_unprivileged_port_start=443", "With the privilege", "listens on 127.0.0.1:443")
		if got.PortStart != 1024 || len(got.Holders) != 1 {
			t.Errorf("%+v", got)
		}
		expect(t, try(t, "127.0.0.1:1024"), "", "")
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("80"), 0); err != nil {
			t.Fatal(err)
		}
		if got := try(t, "127.0.0.1:80"); got.Errno != "" || got.PortStart != 80 {
			t.Errorf("%+v", got)
		}
	})
}

func TestNotAvailable(t *testing.T) {
	within(t, "link add v0 type veth peer name v1\n", func(t *testing.T) {
		write := func(file, value string) {
			if err := os.WriteFile("/proc/sys/net/"+file, []byte(value), 0); err != nil {
				t.Fatal(err)
			}
		}
		// Duplicate address detection that takes longer than the test.
		write("ipv6/conf/v0/dad_transmits", "1000")
		ip(t, "addr add fe80::77/64 dev v1 nodad\naddr add 2001:db8::7/64 dev v0\nlink set v0 up\nlink set v1 up\n")
		expect(t, try(t, "192.0.2.9:80"), "EADDRNOTAVAIL", "EADDRNOTAVAIL", "No interface of this network namespace has 192.0.2.9.", "net.ipv4.ip_nonlocal_bind=1")
		expect(t, try(t, "[2001:db8::9]:80"), "EADDRNOTAVAIL", "EADDRNOTAVAIL", "No interface", "net.ipv6.ip_nonlocal_bind=1")
		expect(t, try(t, "[2001:db8::7]:80"), "EADDRNOTAVAIL", "EADDRNOTAVAIL", "2001:db8::7 is on v0, but tentative", "ip -6 addr show dev v0")
		expect(t, try(t, "[fe80::77]:80"), "EINVAL", "EINVAL", "[fe80::77%eth0]:80")
		nettest.Eventually(t, "fe80::77%v1 does not become usable", func() bool { return try(t, "[fe80::77%v1]:80").Errno == "" })
		expect(t, try(t, "[fe80::77%v0]:80"), "EADDRNOTAVAIL", "EADDRNOTAVAIL", "fe80::77 is on v1, and not on v0", "Bind [fe80::77%v1]:80.")
		write("ipv4/ip_nonlocal_bind", "1")
		expect(t, try(t, "192.0.2.9:80"), "", "")
		write("ipv6/conf/all/disable_ipv6", "1")
		expect(t, try(t, "[2001:db8::9]:80"), "EADDRNOTAVAIL", "EADDRNOTAVAIL", "IPv6 is switched off")
	})
}

func TestDevice(t *testing.T) {
	within(t, "link add v0 type veth peer name v1\nlink set v0 up\nlink set v1 up\n", func(t *testing.T) {
		for _, device := range []string{"v0", "v1"} {
			fd := socket{addr: "0.0.0.0:7100", listening: true, device: device}.open(t)
			defer unix.Close(fd)
		}
		for device, want := range map[string][]string{"": {"v0", "v1"}, "v0": {"v0"}, "v1": {"v1"}, "lo": nil} {
			got, err := Try(t.Context(), collect.Env{Interface: device}, netip.MustParseAddrPort("0.0.0.0:7100"))
			var holders []string
			for _, h := range got.Holders {
				holders = append(holders, h.Device)
			}
			slices.Sort(holders)
			if err != nil || (got.Errno == "") != (want == nil) || !slices.Equal(holders, want) {
				t.Errorf("on %q: %+v, %v, want holders on %q", device, got, err, want)
			}
		}
	})
}

func TestNotTried(t *testing.T) {
	for _, addr := range []netip.AddrPort{
		{},
		netip.MustParseAddrPort("127.0.0.1:0"),
		netip.MustParseAddrPort("224.0.0.1:80"),
		netip.MustParseAddrPort("255.255.255.255:80"),
		netip.MustParseAddrPort("[ff02::1]:80"),
		netip.MustParseAddrPort("[fe80::1%nosuchlink]:80"),
	} {
		if got, err := Try(t.Context(), collect.Env{}, addr); err == nil {
			t.Errorf("%v: %+v", addr, got)
		}
	}
}
