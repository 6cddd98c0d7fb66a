package listener

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

func table(t *testing.T, port uint16, addr netip.Addr) (evidence.HostTable, []evidence.NotChecked) {
	t.Helper()
	got, missing, err := Table(t.Context(), env(), port, addr)
	if err != nil {
		t.Fatal(err)
	}
	return got, missing
}

// hereOnly leaves out what other namespaces have on the same port.
func hereOnly(list []evidence.Listener) []evidence.Listener {
	return slices.DeleteFunc(slices.Clone(list), func(l evidence.Listener) bool { return l.Namespace != 0 })
}

func TestTable(t *testing.T) {
	nettest.LeakCheck(t)
	l, other := listen(t, "127.0.0.1:0"), listen(t, "[::1]:0")
	addr := addrOf(l.Addr())
	accepted := dial(t, addr)
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	dial(t, addr)
	dial(t, addr)
	var got evidence.HostTable
	nettest.Eventually(t, "the connections are not there", func() bool {
		got, _ = table(t, addr.Port(), addr.Addr())
		return got.States["ESTABLISHED"] == 3
	})
	if got.Unaccepted != 2 || got.Total < 2 || got.Namespaces < 1 || got.Omitted != 0 || got.At == 0 {
		t.Errorf("%+v", got)
	}
	on := hereOnly(got.Listeners)
	if len(on) != 1 {
		t.Fatalf("listeners %+v", on)
	}
	s := on[0]
	if s.Addr != addr || !s.Serves || s.Queue != 2 || s.PID != os.Getpid() || s.UID != uint32(os.Geteuid()) || s.Shared ||
		!strings.HasPrefix(s.Command, os.Args[0]) || time.Since(s.Started) > time.Hour || s.Started.After(time.Now().Add(time.Second)) {
		t.Errorf("%+v", s)
	}
	// Another listener of the same process has to do with the port.
	if !slices.ContainsFunc(got.Others, func(s evidence.Listener) bool {
		return s.Addr == addrOf(other.Addr()) && s.PID == os.Getpid()
	}) {
		t.Errorf("others %+v", got.Others)
	}

	got, _ = table(t, addr.Port(), netip.MustParseAddr("127.0.0.2"))
	if on := hereOnly(got.Listeners); len(on) != 1 || on[0].Serves {
		t.Errorf("for another address: %+v", on)
	}
	got, _ = table(t, 0, netip.Addr{})
	if got.States != nil || len(got.Others) != 0 || len(hereOnly(got.Listeners)) != got.Total || got.Total < 2 {
		t.Errorf("all ports: %+v", got)
	}
	server.Close()
	accepted.Close()
}

func TestTableNothing(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	port := addrOf(l.Addr()).Port()
	l.Close()
	if got, _ := table(t, port, netip.Addr{}); len(hereOnly(got.Listeners)) != 0 || got.Unaccepted != 0 {
		t.Errorf("%+v", got)
	}
}

// TestTableServes: listeners on one port compete for a SYN, those on others do
// not, and SO_REUSEPORT shows.
func TestTableServes(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		within(t, func() error {
			var fds []int
			defer func() { closeAll(fds...) }()
			for port, socks := range map[uint16][]socket{
				7003: {{addr: "0.0.0.0"}, {addr: "127.0.0.1"}, {addr: "127.0.0.1"}},
				7004: {{addr: "0.0.0.0"}, {v6: true, addr: "::", v6only: true}, {addr: "0.0.0.0", device: "lo"}},
			} {
				for _, s := range socks {
					fd, err := s.open(port)
					if err != nil {
						return err
					}
					fds = append(fds, fd)
				}
			}
			got, _ := table(t, 0, netip.MustParseAddr("127.0.0.1"))
			var lines []string
			for _, l := range hereOnly(got.Listeners) {
				lines = append(lines, fmt.Sprintf("%v dev=%q serves=%v shared=%v", l.Addr, l.Device, l.Serves, l.Shared))
			}
			slices.Sort(lines)
			want := []string{
				`0.0.0.0:7003 dev="" serves=false shared=false`,
				`0.0.0.0:7004 dev="" serves=true shared=false`,
				`0.0.0.0:7004 dev="lo" serves=true shared=false`,
				`127.0.0.1:7003 dev="" serves=true shared=true`,
				`127.0.0.1:7003 dev="" serves=true shared=true`,
				`[::]:7004 dev="" serves=false shared=false`,
			}
			if !slices.Equal(lines, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
			}
			return nil
		})
	})
}

// within runs f in a new namespace with its loopback up.
func within(t *testing.T, f func() error) {
	t.Helper()
	nettest.NeedProgram(t, "ip")
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := ns.Do(func() error {
		if err := ip("link set lo up"); err != nil {
			return err
		}
		return f()
	}); err != nil {
		t.Fatal(err)
	}
}

// serve starts a server in a namespace, which prints a line when it listens, and
// gives its PID.
func serve(t *testing.T, ns *netns.NS, args ...string) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), nettest.NeedProgram(t, args[0]), args[1:]...)
	stdin, err := cmd.StdinPipe() // it ends with its input
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := ns.Start(cmd, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

const python = `
import socket, sys
for port in map(int, sys.argv[1].split(",")):
    s = socket.create_server(("0.0.0.0", port), backlog=3)
    globals()["s%d" % port] = s
print(s.getsockname()[1], flush=True)
sys.stdin.read()
`

// TestTableOtherNamespace finds a Python server in another namespace, by its
// process, from one in which nobody listens.
func TestTableOtherNamespace(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		there, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer there.Close()
		var st unix.Stat_t
		if err := unix.Fstat(there.Fd(), &st); err != nil {
			t.Fatal(err)
		}
		pid := serve(t, there, "python3", "-c", python, "7005,7006", "--token", "hunter2")
		within(t, func() error {
			got, _ := table(t, 7005, netip.MustParseAddr("127.0.0.1"))
			find := func(list []evidence.Listener) []evidence.Listener {
				return slices.DeleteFunc(slices.Clone(list), func(l evidence.Listener) bool { return l.Namespace != uint32(st.Ino) })
			}
			on, others := find(got.Listeners), find(got.Others)
			if len(on) != 1 || len(others) != 1 || got.Total != 0 || got.Namespaces < 2 {
				t.Fatalf("%+v", got)
			}
			l := on[0]
			if l.Addr.String() != "0.0.0.0:7005" || l.PID != pid || l.Serves || l.Backlog != 3 || l.Started.IsZero() ||
				!strings.HasSuffix(l.Command, "7005,7006 --token ***") {
				t.Errorf("%+v", l)
			}
			if o := others[0]; o.Addr.Port() != 7006 || o.PID != pid {
				t.Errorf("other %+v", o)
			}
			return nil
		})
	})
}

// TestTableUsual: nobody is on port 80, but nginx, which usually is, listens
// elsewhere. Of two ports of nginx each is the other's relative.
func TestTableUsual(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nginx := nettest.NeedProgram(t, "nginx")
		within(t, func() error {
			dir := t.TempDir()
			conf := filepath.Join(dir, "nginx.conf")
			if err := os.WriteFile(conf, fmt.Appendf(nil, `
user root; daemon off; master_process off; error_log stderr emerg; pid %[1]s/pid;
events {}
http {
	access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s;
	uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	server { listen 127.0.0.1:7080; }
	server { listen 127.0.0.1:7081; }
}`, dir), 0o600); err != nil {
				return err
			}
			cmd := exec.CommandContext(t.Context(), nginx, "-c", conf)
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				return err
			}
			defer func() { cmd.Process.Kill(); cmd.Wait() }()
			var got evidence.HostTable
			nettest.Eventually(t, "nginx does not listen", func() bool {
				got, _ = table(t, 80, netip.Addr{})
				return len(hereOnly(got.Others)) == 2
			})
			if len(hereOnly(got.Listeners)) != 0 {
				t.Errorf("somebody on port 80: %+v", got.Listeners)
			}
			for _, o := range hereOnly(got.Others) {
				if o.Process != "nginx" || o.PID != cmd.Process.Pid || o.Command != nginx+" -c "+conf {
					t.Errorf("%+v", o)
				}
			}
			got, _ = table(t, 7080, netip.Addr{})
			if on, others := hereOnly(got.Listeners), hereOnly(got.Others); len(on) != 1 || len(others) != 1 || others[0].Addr.Port() != 7081 {
				t.Errorf("%+v", got)
			}
			if got, _ := table(t, 5432, netip.Addr{}); len(hereOnly(got.Others)) != 0 {
				t.Errorf("nginx has to do with port 5432: %+v", got.Others)
			}
			return nil
		})
	})
}

// TestTableOrdinaryUser: what an ordinary user cannot see is listed.
func TestTableOrdinaryUser(t *testing.T) {
	_, missing := table(t, 1, netip.Addr{})
	isNamespaces := func(n evidence.NotChecked) bool { return n.Check == "listeners in other network namespaces" }
	if _, err := os.Readlink("/proc/1/ns/net"); err == nil {
		if slices.ContainsFunc(missing, isNamespaces) && netns.Privileged() {
			t.Errorf("with all privileges: %+v", missing)
		}
		return
	}
	if i := slices.IndexFunc(missing, isNamespaces); i < 0 || !strings.Contains(missing[i].Reason, "needs CAP_SYS_PTRACE") ||
		(os.Geteuid() != 0) != (missing[i].How == "sudo tcpwhy host :1") {
		t.Errorf("%+v", missing)
	}
}

// BenchmarkTable looks at a port with 5000 connections, both ends of which are
// on this host.
func BenchmarkTable(b *testing.B) {
	const connections = 5000
	limit := unix.Rlimit{Cur: 2*connections + 500, Max: 2*connections + 500}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		nettest.Unsupported(b, "descriptors: "+err.Error())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for range connections {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		s, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
	}
	for b.Loop() {
		if _, _, err := Table(b.Context(), env(), addrOf(l.Addr()).Port(), addrOf(l.Addr()).Addr()); err != nil {
			b.Fatal(err)
		}
	}
}
