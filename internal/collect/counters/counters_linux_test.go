package counters

import (
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// inside runs f in a new network namespace with lo up and these settings of
// net.ipv4.
func inside(t *testing.T, settings map[string]string, f func() error) {
	t.Helper()
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if err := ns.Do(func() error {
			if err := loUp(); err != nil {
				return err
			}
			for name, value := range settings {
				if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
					return err
				}
			}
			return f()
		}); err != nil {
			t.Fatal(err)
		}
	})
}

func loUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

func TestCollect(t *testing.T) {
	inside(t, map[string]string{"ip_local_port_range": "40000 40099", "tcp_syn_retries": "3"}, func() error {
		before, err := Snapshot()
		if err != nil {
			return err
		}
		closed := netip.MustParseAddrPort("127.0.0.1:9")
		if c, err := net.Dial("tcp", closed.String()); err == nil {
			c.Close()
			t.Error("port 9 is open")
		}
		got, missed := Collect(collect.Env{}, before, closed)
		for name, want := range map[string]int64{"Tcp.ActiveOpens": 1, "Tcp.AttemptFails": 1, "Tcp.OutRsts": 1} {
			if got.Delta[name] != want {
				t.Errorf("%s rose by %d, want %d; all: %v", name, got.Delta[name], want, got.Delta)
			}
		}
		if _, ok := got.Delta["Tcp.PassiveOpens"]; ok {
			t.Error("a counter that did not change is in the delta")
		}
		for name, want := range map[string]string{
			"net.ipv4.ip_local_port_range": "40000 40099", "net.ipv4.tcp_syn_retries": "3", "net.ipv4.ip_default_ttl": "64",
		} {
			if got.Sysctl[name] != want {
				t.Errorf("%s is %q, want %q", name, got.Sysctl[name], want)
			}
		}
		for _, name := range []string{"net.ipv4.tcp_ecn", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range"} {
			if got.Sysctl[name] == "" {
				t.Errorf("%s is missing", name)
			}
		}
		if got.PortsTotal != 100 || got.PortsUsed != 0 {
			t.Errorf("ports: %d of %d", got.PortsUsed, got.PortsTotal)
		}
		if got.FilesUsed < 3 || got.FilesLimit < got.FilesUsed {
			t.Errorf("descriptors: %d of %d", got.FilesUsed, got.FilesLimit)
		}
		if (got.ConntrackCount < 0) != (got.ConntrackMax < 0) {
			t.Errorf("connection table: %d of %d", got.ConntrackCount, got.ConntrackMax)
		}
		if len(missed) > 0 {
			t.Errorf("not checked: %v", missed)
		}
		return nil
	})
}

// TestSnapshotFollowsTheThread counts in a namespace in which nothing else runs.
func TestSnapshotFollowsTheThread(t *testing.T) {
	inside(t, nil, func() error {
		s, err := Snapshot()
		if err != nil {
			return err
		}
		if v, ok := s.values["Tcp.ActiveOpens"]; !ok || v != 0 {
			t.Errorf("Tcp.ActiveOpens of a new namespace: %d, %v", v, ok)
		}
		if v, ok := s.values["Ip6.InReceives"]; !ok && v == 0 {
			if _, err := os.Stat("/proc/thread-self/net/snmp6"); err == nil {
				t.Error("Ip6.InReceives is missing")
			}
		}
		return nil
	})
}

// TestPorts takes ports in every way that keeps connect() from choosing them.
func TestPorts(t *testing.T) {
	settings := map[string]string{"ip_local_port_range": "40000 40099", "ip_local_reserved_ports": "40090-40092,50000"}
	inside(t, settings, func() error {
		other, err := net.Listen("tcp", "127.0.0.1:7000")
		if err != nil {
			return err
		}
		defer other.Close()
		l, err := net.Listen("tcp", "[::]:7001")
		if err != nil {
			return err
		}
		defer l.Close()
		target := netip.MustParseAddrPort("127.0.0.1:7001")
		used := func(what string, env collect.Env, to netip.AddrPort, want int) {
			t.Helper()
			got, missed := Collect(env, Snap{}, to)
			if got.PortsUsed != want || got.PortsTotal != 100 || len(missed) > 0 {
				t.Errorf("%s: %d of %d ports, want %d; not checked: %v", what, got.PortsUsed, got.PortsTotal, want, missed)
			}
		}
		var open []net.Conn
		defer func() {
			for _, c := range open {
				c.Close()
			}
		}()
		dial := func(local, to string) error {
			c, err := (&net.Dialer{LocalAddr: tcpAddr(local), Timeout: time.Second}).Dial("tcp", to)
			if err == nil {
				open = append(open, c)
			}
			return err
		}
		used("reserved", collect.Env{}, target, 3)

		// Three connections to the target, one of them from another address,
		// one from a port below the range.
		if err := dial("127.0.0.1:40010", "127.0.0.1:7001"); err != nil {
			return err
		}
		if err := dial("127.0.0.5:40050", "127.0.0.1:7001"); err != nil {
			return err
		}
		if err := dial("127.0.0.1:39999", "127.0.0.1:7001"); err != nil {
			return err
		}
		used("connections", collect.Env{}, target, 5)
		used("connections from the source", collect.Env{Source: netip.MustParseAddr("127.0.0.5")}, target, 4)
		used("mapped target", collect.Env{}, netip.MustParseAddrPort("[::ffff:127.0.0.1]:7001"), 5)
		used("unspecified target", collect.Env{}, netip.MustParseAddrPort("0.0.0.0:7001"), 5)

		// To other addresses and ports: these ports can be shared.
		if err := dial("", "127.0.0.2:7001"); err != nil {
			return err
		}
		if err := dial("", "127.0.0.1:7000"); err != nil {
			return err
		}
		used("connections elsewhere", collect.Env{}, target, 5)
		used("IPv6 target", collect.Env{}, netip.MustParseAddrPort("[::1]:7001"), 3)

		bound, err := net.Listen("tcp", "127.0.0.3:40060")
		if err != nil {
			return err
		}
		defer bound.Close()
		used("a listener in the range", collect.Env{}, target, 6)
		return nil
	})
}

func tcpAddr(s string) net.Addr {
	if s == "" {
		return nil
	}
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s))
}

// TestPortsExhausted uses a small range up, half of it in TIME_WAIT, and sees
// connect() fail exactly when all are said to be used.
func TestPortsExhausted(t *testing.T) {
	settings := map[string]string{"ip_local_port_range": "40000 40007", "tcp_tw_reuse": "0"}
	inside(t, settings, func() error {
		l, err := net.Listen("tcp", "127.0.0.1:7000")
		if err != nil {
			return err
		}
		defer l.Close()
		target := netip.MustParseAddrPort("127.0.0.1:7000")
		for i := range 9 {
			got, missed := Collect(collect.Env{}, Snap{}, target)
			if got.PortsUsed != i || got.PortsTotal != 8 || len(missed) > 0 {
				t.Errorf("after %d connects: %d of %d ports used, not checked: %v", i, got.PortsUsed, got.PortsTotal, missed)
			}
			c, err := net.Dial("tcp", target.String())
			if (err == nil) != (i < 8) {
				t.Errorf("connect %d of 8 ports: %v", i+1, err)
			}
			if err != nil {
				break
			}
			defer c.Close()
			s, err := l.Accept()
			if err != nil {
				return err
			}
			defer s.Close()
			if i%2 == 0 { // the client closes first, and ends in TIME_WAIT
				c.Close()
				if err := s.SetDeadline(time.Now().Add(nettest.Patience)); err != nil {
					return err
				}
				if _, err := s.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("no end of the connection: %v", err)
				}
				s.Close()
			}
		}
		return nil
	})
}

// TestPortsBound needs the kernel to tell of sockets that are only bound.
func TestPortsBound(t *testing.T) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	if !sinceRelease(unix.ByteSliceToString(u.Release[:]), 6, 8) {
		nettest.Unsupported(t, "sock_diag of sockets that are only bound (Linux 6.8)")
	}
	inside(t, map[string]string{"ip_local_port_range": "40000 40007"}, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: 40003, Addr: [4]byte{127, 0, 0, 9}}); err != nil {
			return err
		}
		got, _ := Collect(collect.Env{}, Snap{}, netip.MustParseAddrPort("127.0.0.1:80"))
		if got.PortsUsed != 1 {
			t.Errorf("%d ports used, want the one that is bound", got.PortsUsed)
		}
		return nil
	})
}

func sinceRelease(release string, major, minor int) bool {
	var v [2]int
	for i := range v {
		n := 0
		for n < len(release) && release[n] >= '0' && release[n] <= '9' {
			n++
		}
		v[i], _ = strconv.Atoi(release[:n])
		release = release[min(n+1, len(release)):]
	}
	return v[0] > major || v[0] == major && v[1] >= minor
}

// TestNoProc hides /proc from a thread and expects every check by name in the
// list, and no value that could be taken for an answer.
func TestNoProc(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if err := ns.Do(func() error {
			if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
				return err
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return err
			}
			if err := unix.Mount("none", "/proc", "tmpfs", 0, ""); err != nil {
				return err
			}
			before, err := Snapshot()
			if err == nil {
				t.Error("a snapshot without /proc has no error")
			}
			got, missed := Collect(collect.Env{}, before, netip.MustParseAddrPort("127.0.0.1:80"))
			if got.Delta != nil || got.PortsTotal != 0 || got.FilesLimit != 0 || len(got.Sysctl) != 0 ||
				got.ConntrackCount != -1 || got.ConntrackMax != -1 {
				t.Errorf("%+v", got)
			}
			keys := make(map[evidence.Key]bool)
			for _, m := range missed {
				if m.Check == "" || m.Reason == "" {
					t.Errorf("%+v", m)
				}
				for _, k := range m.Keys {
					keys[k] = true
				}
			}
			for _, k := range []evidence.Key{evidence.PortsHere, evidence.TrackHere, evidence.FilesHere} {
				if !keys[k] {
					t.Errorf("%s is not said to be unchecked: %v", k, missed)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkCollect(b *testing.B) {
	before, err := Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		Collect(collect.Env{}, before, netip.MustParseAddrPort("127.0.0.1:80"))
	}
}
