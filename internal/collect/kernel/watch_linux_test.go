package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/afpacket"
	"github.com/tcpwhy/tcpwhy/internal/bpf"
	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock/routertest"
)

// watch starts one on the server, and ends the test where the kernel cannot be
// traced.
func watch(t *testing.T, n *routertest.Net, o Options) *Watch {
	t.Helper()
	var w *Watch
	var err error
	n.Server.Do(func() { w, err = Start(t.Context(), collect.Env{Clock: collect.NewClock()}, o) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Stop()
		if err := w.Err(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// inode of the network namespace of a node.
func inode(n *routertest.Node) uint32 {
	var st unix.Stat_t
	n.Do(func() { _ = unix.Stat("/proc/thread-self/ns/net", &st) })
	return uint32(st.Ino)
}

func needTracing(t *testing.T) {
	t.Helper()
	w, err := Start(t.Context(), collect.Env{Clock: collect.NewClock()}, Options{Port: 1})
	if err == nil {
		w.Stop()
		for _, n := range w.NotChecked() {
			err = errors.Join(err, errors.New(n.Check+": "+n.Reason))
		}
	}
	if err != nil {
		nettest.Unsupported(t, err.Error())
	}
}

// dial tries a port for a moment, from a port, 0 being any.
func dial(n *routertest.Node, from uint16, to netip.AddrPort) (c net.Conn, err error) {
	d := net.Dialer{Timeout: 60 * time.Millisecond, LocalAddr: &net.TCPAddr{Port: int(from)}}
	n.Do(func() { c, err = d.Dial("tcp", to.String()) })
	return c, err
}

// settled waits until the attempt from a port has a fate.
func settled(t *testing.T, w *Watch, from uint16, fate Fate) (a Attempt) {
	t.Helper()
	var all []Attempt
	for end := time.Now().Add(nettest.Patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		all = w.Attempts()
		if i := slices.IndexFunc(all, func(a Attempt) bool { return a.Client.Port() == from }); i >= 0 && all[i].Fate == fate {
			return all[i]
		}
	}
	t.Fatalf("no attempt from port %d is %s: %+v", from, fate, all)
	return Attempt{}
}

// filtered is a host with a rule in which the port is to be filled in.
func filtered(n *routertest.Node, hook, rule string, server *routertest.Node) func(*testing.T, netip.AddrPort) net.Listener {
	return func(_ *testing.T, to netip.AddrPort) net.Listener {
		n.Filter(hook, fmt.Sprintf(rule, to.Port()))
		return server.Listen(to)
	}
}

// small is a listener whose queue has room for two.
func small(t *testing.T, n *routertest.Node, at netip.AddrPort) net.Listener {
	t.Helper()
	l := n.Listen(at)
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 1) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return l
}

// A host with each fault, and what is said of the one attempt to reach it.
func TestFates(t *testing.T) {
	needTracing(t)
	n := routertest.New(t)
	var held []net.Conn
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	for i, c := range []struct {
		name  string
		host  func(t *testing.T, to netip.AddrPort) net.Listener
		fate  Fate
		check func(a *Attempt) bool
	}{
		{"nothing listens", func(*testing.T, netip.AddrPort) net.Listener { return nil }, FateRefused, func(a *Attempt) bool {
			return a.Reset.Reason == "NO_SOCKET" && a.Drop.Reason == "NO_SOCKET" && a.SYNs == 1 && a.Interface == "e0" && a.Final()
		}},
		{"rules drop", filtered(n.Server, "input", "tcp dport %d drop", n.Server), FateDropped, func(a *Attempt) bool {
			return a.Drop.Reason == "NETFILTER_DROP" && a.Drop.Interface == "e0" && a.Drop.Location != "" && a.Drop.Flags == "SYN" && !a.Drop.FromServer && a.Namespace == inode(n.Server)
		}},
		{"rules reject", filtered(n.Server, "input", "tcp dport %d reject with icmpx admin-prohibited", n.Server), FateRejected, func(a *Attempt) bool {
			return (a.ICMP == "3/13" || a.ICMP == "1/1") && a.Drop.Reason == "NETFILTER_DROP"
		}},
		{"rules reset", filtered(n.Server, "input", "tcp dport %d reject with tcp reset", n.Server), FateRefused, func(a *Attempt) bool {
			return a.Reset == Act{} && a.Drop.Reason == "NETFILTER_DROP" && a.Final()
		}},
		{"rules drop the answer", filtered(n.Server, "output", "tcp sport %d drop", n.Server), FateDropped, func(a *Attempt) bool {
			return a.Drop.FromServer && a.Drop.Flags == "SYN,ACK" && a.Answered == 0 && a.Namespace == inode(n.Server)
		}},
		{"the answer is lost on the way", filtered(n.R2, "forward", "tcp sport %d drop", n.Server), FateUnanswered, func(a *Attempt) bool {
			return a.Answered > a.At && a.Resent > 0
		}},
		{"accepted", func(t *testing.T, to netip.AddrPort) net.Listener {
			l := n.Server.Listen(to)
			go func() {
				if c, err := l.Accept(); err == nil {
					defer c.Close()
					c.Read(make([]byte, 1))
				}
			}()
			return l
		}, FateAccepted, func(a *Attempt) bool {
			waited, ok := a.Waited()
			return a.Handshake() > 0 && ok && waited > 0 && a.PID == os.Getpid() && a.Process != "" && a.Answered > 0
		}},
		{"not accepted", func(t *testing.T, to netip.AddrPort) net.Listener { return n.Server.Listen(to) }, FateComplete, func(a *Attempt) bool {
			return a.Handshake() > 0 && a.AcceptedAt == 0 && !a.Final()
		}},
		{"accept queue full", func(t *testing.T, to netip.AddrPort) net.Listener {
			l := small(t, n.Server, to)
			for range 8 {
				c, err := dial(n.Client, 0, to)
				if err != nil {
					return l
				}
				held = append(held, c)
			}
			t.Error("the queue does not fill")
			return l
		}, FateIgnored, func(a *Attempt) bool { return a.Drops == 0 && a.Answered == 0 }},
	} {
		for _, f := range []int{4, 6} {
			t.Run(fmt.Sprintf("%s IPv%d", c.name, f), func(t *testing.T) {
				to := netip.AddrPortFrom(routertest.Addr(f, 3, 2), uint16(5000+10*i+f))
				l := c.host(t, to)
				if l != nil {
					defer l.Close()
				}
				var told []Fate // read after Stop
				// The same port may be in use in other namespaces of the machine.
				o := Options{Port: to.Port(), Namespace: inode(n.Server), Changed: func(a Attempt) {
					if a.Client.Port() == 20000+to.Port() {
						told = append(told, a.Fate)
					}
				}}
				w := watch(t, n, o)
				from := 20000 + to.Port()
				if conn, err := dial(n.Client, from, to); err == nil {
					defer conn.Close()
				}
				a := settled(t, w, from, c.fate)
				if a.Server != to || a.Client != netip.AddrPortFrom(routertest.Addr(f, 1, 2), from) || a.Incomplete || !c.check(&a) {
					t.Errorf("%+v", a)
				}
				got := w.Stop()
				if !got.Traced || got.Lost != 0 || got.Capture == nil || len(got.Packets) == 0 || got.Capture.Received != len(got.Packets) || got.Until <= got.From {
					t.Errorf("%+v", got)
				}
				if !slices.IsSortedFunc(got.Events, func(a, b evidence.KernelEvent) int { return int(a.At - b.At) }) ||
					!slices.IsSortedFunc(got.Packets, func(a, b evidence.Packet) int { return int(a.At - b.At) }) {
					t.Errorf("not in order of time: %+v", got)
				}
				if !slices.Contains(told, c.fate) {
					t.Errorf("told of %v", told)
				}
			})
		}
	}
}

// as runs f on the server with no capabilities but these.
func as(t *testing.T, n *routertest.Net, f func(), caps ...int) {
	t.Helper()
	n.Server.Do(func() { // on a thread that ends
		var data [2]unix.CapUserData
		for _, c := range caps {
			data[c/32].Effective |= 1 << (c % 32)
			data[c/32].Permitted |= 1 << (c % 32)
		}
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]); err != nil {
			t.Error(err)
			return
		}
		f()
	})
}

// With CAP_NET_RAW alone, which user namespaces give, packets tell what they can.
func TestPacketsOnly(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		n := routertest.New(t)
		for i, c := range []struct {
			rule string
			fate Fate
		}{
			{"", FateAnswered},
			{"tcp dport %d drop", FateArrived},
			{"tcp dport %d reject with tcp reset", FateRefused},
			{"tcp dport %d reject", FateRejected},
		} {
			t.Run(string(c.fate), func(t *testing.T) {
				to := netip.AddrPortFrom(routertest.Addr(4, 3, 2), uint16(6000+i))
				defer n.Server.Listen(to).Close()
				if c.rule != "" {
					n.Server.Filter("input", fmt.Sprintf(c.rule, to.Port()))
				}
				var w *Watch
				var err error
				as(t, n, func() {
					w, err = Start(t.Context(), collect.Env{Clock: collect.NewClock()}, Options{Port: to.Port()})
				}, unix.CAP_NET_RAW)
				if err != nil {
					t.Fatal(err)
				}
				defer w.Stop()
				if conn, err := dial(n.Client, 20001, to); err == nil {
					defer conn.Close()
				}
				settled(t, w, 20001, c.fate)
				got, absent := w.Stop(), w.NotChecked()
				if got.Traced || len(got.Events) != 0 || len(got.Packets) == 0 || len(absent) != 1 || absent[0].Reason == "" || absent[0].How == "" {
					t.Errorf("%+v, not checked: %+v", got, absent)
				}
			})
		}
	})
}

// CAP_BPF and CAP_PERFMON are enough for the reasons.
func TestEventsOnly(t *testing.T) {
	needTracing(t)
	n := routertest.New(t)
	to := netip.AddrPortFrom(routertest.Addr(4, 3, 2), 6100)
	var w *Watch
	var err error
	as(t, n, func() {
		w, err = Start(t.Context(), collect.Env{Clock: collect.NewClock()}, Options{Port: to.Port(), Namespace: inode(n.Server)})
	}, unix.CAP_BPF, unix.CAP_PERFMON)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if _, err := dial(n.Client, 20001, to); !errors.Is(err, unix.ECONNREFUSED) {
		t.Fatal(err)
	}
	a := settled(t, w, 20001, FateRefused)
	got, absent := w.Stop(), w.NotChecked()
	if a.Reset.Reason != "NO_SOCKET" || a.SYNs != 0 || !got.Traced || got.Capture != nil || len(absent) != 1 || absent[0].Reason != "needs CAP_NET_RAW" {
		t.Errorf("%+v, %+v, not checked: %+v", a, got, absent)
	}
}

func TestNotPermitted(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		n := routertest.New(t)
		as(t, n, func() {
			_, err := Start(t.Context(), collect.Env{Clock: collect.NewClock()}, Options{Port: 80})
			var tracing *bpf.Error
			var capture *afpacket.PermissionError
			if !errors.As(err, &tracing) || !errors.As(err, &capture) || !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%v", err)
			}
		})
	})
}

// Keep bounds what is kept, and the rest is counted; the end of the context is the
// end of the watch.
func TestKeep(t *testing.T) {
	needTracing(t)
	n := routertest.New(t)
	nettest.LeakCheck(t)
	to := netip.AddrPortFrom(routertest.Addr(6, 3, 2), 6200)
	ctx, cancel := context.WithCancel(t.Context())
	var w *Watch
	var err error
	n.Server.Do(func() {
		w, err = Start(ctx, collect.Env{Clock: collect.NewClock()}, Options{Port: to.Port(), Namespace: inode(n.Server), Keep: 3, Attempts: 5})
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := dial(n.Client, 0, to); !errors.Is(err, unix.ECONNREFUSED) {
			t.Fatal(err)
		}
	}
	cancel()
	<-w.done
	got, s := w.Stop(), w.Summary()
	// Two events and two packets each.
	if len(got.Events) != 3 || len(got.Packets) != 3 || got.Omitted != 40-6 || s.Attempts != 10 || s.Fates[FateRefused] != 10 || s.Forgotten != 5 || s.Unfinished != 0 || s.Events != 20 || s.Packets != 20 {
		t.Errorf("%d events, %d packets, %d omitted; %+v", len(got.Events), len(got.Packets), got.Omitted, s)
	}
	if again := w.Stop(); len(again.Events) != 3 || w.Err() != nil || len(w.Attempts()) != 5 {
		t.Errorf("%+v, %v", again, w.Err())
	}
}
