//go:build linux && (amd64 || arm64)

package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock/routertest"
)

// trace starts one, or ends the test where the kernel cannot be traced.
func trace(t *testing.T, f Filter) *Tracer {
	t.Helper()
	tr, err := Trace(f)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		nettest.Unsupported(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// network is one of namespaces in which attempts are traced.
func network(t *testing.T) *routertest.Net {
	t.Helper()
	trace(t, Filter{Port: 1}).Close()
	return routertest.New(t)
}

// until reads events until one fits, and returns all of them.
func until(t *testing.T, tr *Tracer, what string, fits func(e *Event) bool) []Event {
	t.Helper()
	var all []Event
	for end := time.Now().Add(nettest.Patience); time.Now().Before(end); {
		tr.SetDeadline(time.Now().Add(10 * time.Millisecond))
		for found := false; ; {
			var e Event
			err := tr.Read(&e)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				if found {
					return all
				}
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
			found = found || fits(&e)
		}
	}
	t.Fatalf("no event: %s; there are %s", what, show(all))
	return nil
}

func show(all []Event) string {
	var b strings.Builder
	for _, e := range all {
		fmt.Fprintf(&b, "\n\t%+v", e.KernelEvent)
	}
	return b.String()
}

func of(kind evidence.EventKind) func(*Event) bool {
	return func(e *Event) bool { return e.Kind == kind }
}

// dial tries a port, for a moment.
func dial(n *routertest.Node, to netip.AddrPort) (c net.Conn, err error) {
	n.Do(func() { c, err = net.DialTimeout("tcp", to.String(), 60*time.Millisecond) })
	return c, err
}

// inode of the network namespace of a node.
func inode(t *testing.T, n *routertest.Node) uint32 {
	t.Helper()
	var st unix.Stat_t
	n.Do(func() {
		if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
			t.Error(err)
		}
	})
	return uint32(st.Ino)
}

func TestReset(t *testing.T) {
	n := network(t)
	tr := trace(t, Filter{Port: 90, Namespace: inode(t, n.Server)})
	for _, f := range []int{4, 6} {
		t.Run(fmt.Sprintf("IPv%d", f), func(t *testing.T) {
			at := netip.AddrPortFrom(routertest.Addr(f, 3, 2), 90)
			if _, err := dial(n.Client, at); !errors.Is(err, unix.ECONNREFUSED) {
				t.Fatal(err)
			}
			e := until(t, tr, "reset", of(evidence.EventSendReset))[0]
			if e.Kind != evidence.EventSendReset || e.Flags != "SYN" || !e.FromServer || e.Server != at || e.Reason != "NO_SOCKET" || e.Namespace != inode(t, n.Server) || e.Interface != "e0" {
				t.Errorf("refused: %+v", e)
			}
			l := n.Server.Listen(at)
			for _, by := range []string{"client", "server"} {
				c, err := dial(n.Client, at)
				if err != nil {
					t.Fatal(err)
				}
				s, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				first, kind := c, evidence.EventReceiveReset
				if by == "server" {
					first, kind = s, evidence.EventSendReset
				}
				if err := first.(*net.TCPConn).SetLinger(0); err != nil {
					t.Fatal(err)
				}
				first.Close()
				all := until(t, tr, "reset by the "+by, of(kind))
				e := all[slices.IndexFunc(all, func(e Event) bool { return e.Kind == kind })]
				if e.Server != at || e.Client != c.LocalAddr().(*net.TCPAddr).AddrPort() || e.FromServer != (by == "server") || (e.Reason != "") != (by == "server") {
					t.Errorf("by the %s: %+v", by, e)
				}
				c.Close()
				s.Close()
			}
			l.Close()
		})
	}
}

// The life of a connection, from handshake to end, and of one that nobody takes.
func TestLife(t *testing.T) {
	n := network(t)
	tr := trace(t, Filter{Port: 91, Namespace: inode(t, n.Server), Accepts: true})
	for name, at := range map[string]netip.AddrPort{
		"IPv4":        netip.AddrPortFrom(routertest.Addr(4, 3, 2), 91),
		"IPv6":        netip.AddrPortFrom(routertest.Addr(6, 3, 2), 91),
		"IPv4-mapped": netip.MustParseAddrPort("[::]:91"),
	} {
		t.Run(name, func(t *testing.T) {
			l := n.Server.Listen(at)
			defer l.Close()
			if name == "IPv4-mapped" {
				at = netip.AddrPortFrom(routertest.Addr(4, 3, 2), 91)
			}
			c, err := dial(n.Client, at)
			if err != nil {
				t.Fatal(err)
			}
			client := c.LocalAddr().(*net.TCPAddr).AddrPort()
			until(t, tr, "established", of(evidence.EventEstablished))
			s, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			e := until(t, tr, "accepted", of(evidence.EventAccepted))[0]
			if e.Client != client || e.Server != at || e.PID != os.Getpid() || e.Comm == "" || e.Namespace != inode(t, n.Server) {
				t.Errorf("%+v", e)
			}
			c.Close()
			e = until(t, tr, "CLOSE_WAIT", of(evidence.EventState))[0]
			if e.State != "CLOSE_WAIT" || !e.Taken || e.Client != client {
				t.Errorf("%+v", e)
			}
			s.Close()
			until(t, tr, "CLOSE", func(e *Event) bool { return e.State == "CLOSE" && e.Client == client && e.Server == at })

			// Nobody accepts it before the client gives up.
			if c, err = dial(n.Client, at); err != nil {
				t.Fatal(err)
			}
			c.Close()
			for _, e := range until(t, tr, "CLOSE_WAIT", of(evidence.EventState)) {
				if e.Taken {
					t.Errorf("taken by nobody: %+v", e)
				}
			}
			l.Close()
			until(t, tr, "CLOSE", func(e *Event) bool { return e.State == "CLOSE" })
		})
	}
}

// Retransmissions come by the kernel's timers, a second apart.
func TestRetransmit(t *testing.T) {
	n := network(t)
	tr := trace(t, Filter{Port: 92, Namespace: inode(t, n.Server)})
	at := netip.AddrPortFrom(routertest.Addr(4, 3, 2), 92)
	l := n.Server.Listen(at)
	c, err := dial(n.Client, at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n.Client.Filter("input", "tcp sport 92 drop")
	if _, err := s.Write([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	if e, err := dial(n.Client, at); err == nil {
		e.Close()
		t.Fatal("connected")
	}
	seen := map[evidence.EventKind]bool{}
	for _, e := range until(t, tr, "both retransmissions", func(e *Event) bool {
		seen[e.Kind] = true
		return seen[evidence.EventRetransSYNACK] && seen[evidence.EventRetransmit]
	}) {
		if e.Server != at || e.Client.Addr() != routertest.Addr(4, 1, 2) {
			t.Errorf("%+v", e)
		}
	}
}

// What the filter leaves out does not come.
func TestFilter(t *testing.T) {
	n := network(t)
	here := netip.AddrPortFrom(routertest.Addr(4, 3, 2), 93)
	client, server, other := routertest.Addr(4, 1, 2), here.Addr(), routertest.Addr(6, 1, 2)
	// A second tracer is there to know that the event has happened.
	for _, c := range []struct {
		name   string
		filter Filter
		passes bool
	}{
		{"port", Filter{Port: 93}, true},
		{"other port", Filter{Port: 94}, false},
		{"no port", Filter{Client: client}, true},
		{"client", Filter{Port: 93, Client: client}, true},
		{"mapped client", Filter{Port: 93, Client: netip.AddrFrom16(client.As16())}, true},
		{"other client", Filter{Port: 93, Client: other}, false},
		{"server", Filter{Port: 93, Server: server}, true},
		{"ends exchanged", Filter{Port: 93, Server: client, Client: server}, false},
		{"other namespace", Filter{Port: 93, Namespace: inode(t, n.Client)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.filter.Namespace == 0 { // others are busy on this machine, too
				c.filter.Namespace = inode(t, n.Server)
			}
			tr := trace(t, c.filter)
			proof := trace(t, Filter{Port: 93, Namespace: inode(t, n.Server)})
			if _, err := dial(n.Client, here); !errors.Is(err, unix.ECONNREFUSED) {
				t.Fatal(err)
			}
			until(t, proof, "drop", of(evidence.EventDrop))
			tr.SetDeadline(time.Now())
			var e Event
			if err := tr.Read(&e); (err == nil) != c.passes {
				t.Errorf("%v, %+v", err, e)
			}
			if c.passes && e.Server != here {
				t.Errorf("%+v", e)
			}
		})
	}
}

// A reader that does not come is told how much it missed.
func TestLost(t *testing.T) {
	n := network(t)
	tr := trace(t, Filter{Port: 95, Namespace: inode(t, n.Server)})
	at := netip.AddrPortFrom(routertest.Addr(4, 3, 2), 95)
	room := int(tr.events.MaxEntries()) / (eventSize + 8)
	var syns int
	n.Server.Do(func() { syns = flood(t, at, room) }) // two events each
	got := 0
	tr.SetDeadline(time.Now())
	for {
		var e Event
		err := tr.Read(&e)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got++
	}
	lost := int(tr.Lost())
	if got+lost != 2*syns || lost == 0 {
		t.Errorf("%d events of %d refused attempts, and %d lost", got, syns, lost)
	}
	if err := tr.Close(); err != nil || int(tr.Lost()) != lost {
		t.Errorf("after Close %v, %d lost, before %d", err, tr.Lost(), lost)
	}
}

// flood refuses so many attempts over the loopback.
func flood(t *testing.T, at netip.AddrPort, n int) int {
	to := &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	for i := range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return i
		}
		if err := unix.Connect(fd, to); err != unix.ECONNREFUSED {
			t.Error(err)
		}
		unix.Close(fd)
	}
	return n
}

func TestCloseEndsRead(t *testing.T) {
	tr := trace(t, Filter{Port: 96})
	failed := make(chan error)
	go func() {
		var e Event
		failed <- tr.Read(&e)
	}()
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read = %v", err)
	}
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
}

func TestLeavesNothing(t *testing.T) {
	trace(t, Filter{Port: 97}).Close() // what the library keeps for good
	nettest.LeakCheck(t)
	for range 3 {
		trace(t, Filter{Port: 97, Accepts: true})
	}
}

func TestNotPermitted(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		routertest.AsUser(t, func() {
			_, err := Trace(Filter{Port: 98})
			var missing *Error
			if !errors.As(err, &missing) || !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "CAP_BPF and CAP_PERFMON") {
				t.Errorf("%v", err)
			}
		})
	})
}

// In a user namespace root has the capabilities, and they are not enough.
func TestNotPermittedInUserNS(t *testing.T) {
	if os.Getenv("TCPWHY_TEST_IN_USERNS") == "" {
		nettest.NeedUserNS(t)
		cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.SysProcAttr = netns.UserNS()
		cmd.Env = append(os.Environ(), "TCPWHY_TEST_IN_USERNS=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS: "+t.Name()) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	_, err := Trace(Filter{Port: 98})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "initial user namespace") {
		t.Errorf("%v", err)
	}
}

// Whatever ends the process, its programs end with it.
func TestKilled(t *testing.T) {
	if os.Getenv("TCPWHY_TEST_TRACE") != "" {
		trace(t, Filter{Port: 99, Accepts: true})
		fmt.Println("tracing")
		select {}
	}
	trace(t, Filter{Port: 99})
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "TCPWHY_TEST_TRACE=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	ids := programs(t, cmd.Process.Pid)
	if len(ids) != len(tracepoints) || !ids.all(exists) {
		t.Fatalf("programs of the child: %v", ids)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	nettest.Eventually(t, "programs outlive the process", func() bool {
		return !slices.ContainsFunc(ids, exists)
	})
}

type programIDs []int

func (ids programIDs) all(is func(int) bool) bool {
	return !slices.ContainsFunc(ids, func(id int) bool { return !is(id) })
}

func exists(id int) bool {
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if err != nil {
		return false
	}
	p.Close()
	return true
}

// programs are those that the descriptors of a process hold.
func programs(t *testing.T, pid int) (ids programIDs) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, _ := os.ReadFile(f)
		if m := regexp.MustCompile(`(?m)^prog_id:\s*(\d+)$`).FindSubmatch(b); m != nil {
			id, err := strconv.Atoi(string(m[1]))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
