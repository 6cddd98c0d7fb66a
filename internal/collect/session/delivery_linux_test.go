package session

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// backlog is a server that accepts nothing; buffer is its SO_RCVBUF unless 0.
func backlog(t *testing.T, buffer int) *server {
	t.Helper()
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		raw.Control(func(fd uintptr) {
			if buffer > 0 {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
			}
		})
		return err
	}}
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &server{TCPAddr: l.Addr().(*net.TCPAddr)}
}

func TestNobodyReads(t *testing.T) {
	nettest.LeakCheck(t)
	const reply = time.Second // window probes come after 200 and 600 ms
	for name, c := range map[string]struct {
		server *server
		opts   Options
		zero   bool
		large  *bool
	}{
		"not accepted, http":     {backlog(t, 0), Options{Scheme: "http"}, false, new(true)},
		"not accepted, ssh":      {backlog(t, 0), Options{Scheme: "ssh"}, false, new(true)},
		"not accepted, tls":      {backlog(t, 0), Options{Scheme: "https"}, false, new(true)},
		"silent":                 {serve(t, speak("")), Options{Scheme: "http"}, false, new(true)},
		"silent, stall":          {serve(t, speak("")), Options{Stall: true}, false, nil},
		"not accepted, stall":    {backlog(t, 0), Options{Stall: true}, true, nil},
		"small buffer, unread":   {backlog(t, 1), Options{Scheme: "http"}, true, nil},
		"8 KiB buffer, unread":   {backlog(t, 8<<10), Options{Scheme: "http"}, true, nil},
		"small buffer, unknown":  {backlog(t, 1), Options{MTU: true}, true, nil},
		"silent, unknown, large": {serve(t, speak("")), Options{MTU: true}, false, new(true)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.opts.Reply = reply
			s := run(t, c.server, c.opts)
			if s.WindowZero != c.zero || s.Received != 0 || s.End != "" {
				t.Errorf("%+v", s)
			}
			if c.opts.Scheme != "" && (s.Acked == nil || !*s.Acked) {
				t.Errorf("the hello was taken by TCP: %+v", s)
			}
			if (s.MTU == nil) != (c.large == nil) || s.MTU != nil && s.MTU.LargeAcked != *c.large {
				t.Errorf("MTU %+v", s.MTU)
			}
			if s.MTU != nil && (!s.MTU.SmallAcked || s.MTU.LargeBytes < 2000 || s.MTU.MSSTried != 0) {
				t.Errorf("MTU %+v", s.MTU)
			}
		})
	}
}

func TestWindowWatch(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	for name, c := range map[string]struct {
		base tcpState // then one segment goes out or comes in
		out  uint32
		in   uint32
		want bool
	}{
		"answered":            {tcpState{queued: 9}, 1, 1, true},
		"not answered":        {tcpState{queued: 9}, 1, 0, false},
		"nothing asked":       {tcpState{queued: 9}, 0, 1, false},
		"open":                {tcpState{queued: 9, window: 1}, 1, 1, false},
		"nothing queued":      {tcpState{}, 1, 1, false},
		"older kernel":        {tcpState{queued: 9, window: -1, probing: true}, 1, 1, true},
		"older kernel, stuck": {tcpState{queued: 9, window: -1, probing: true, unacked: 1}, 1, 1, false},
		"older kernel, busy":  {tcpState{queued: 9, window: -1}, 1, 1, false},
	} {
		var w windowWatch
		w.see(at(0), c.base)
		w.see(at(1), c.base)
		later := c.base
		later.segsOut += c.out
		later.segsIn += c.in
		w.see(at(300), later)
		if got := w.answered(later); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		// What was under way when the window closed is no answer.
		w = windowWatch{}
		w.see(at(0), c.base)
		w.see(at(1), later)
		w.see(at(300), later)
		if w.answered(later) {
			t.Errorf("%s: segments under way count as probes", name)
		}
	}
}

// Large data passes to servers that answer.
func TestLargeAnswered(t *testing.T) {
	nettest.LeakCheck(t)
	for _, scheme := range []string{"http", "redis", "https", "ssh"} {
		s := run(t, serve(t, answer("HTTP/1.1 200 OK\r\n\r\n")), Options{Scheme: scheme, MTU: true})
		if s.MTU == nil || !s.MTU.LargeAcked {
			t.Errorf("%s: %+v, %+v", scheme, s.MTU, s)
		}
	}
}

// routed is a client and a server with a router between them.
type routed struct {
	t                      *testing.T
	client, router, server *netns.NS
}

func newRouted(t *testing.T) *routed {
	t.Helper()
	nettest.NeedRoot(t)
	nettest.NeedProgram(t, "ip")
	nettest.NeedProgram(t, "nft")
	r := &routed{t: t}
	for _, ns := range []**netns.NS{&r.client, &r.router, &r.server} {
		var err error
		if *ns, err = netns.New(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { (*ns).Close() })
	}
	// Names of interfaces are of their namespaces: c and s, r and q.
	r.run(r.router, "", "ip", "link", "add", "r", "type", "veth", "peer", "name", "c", "netns", r.path(r.client))
	r.run(r.router, "", "ip", "link", "add", "q", "type", "veth", "peer", "name", "s", "netns", r.path(r.server))
	for _, i := range []struct {
		ns        *netns.NS
		dev, addr string
	}{{r.client, "c", "10.77.1.2/24"}, {r.router, "r", "10.77.1.1/24"}, {r.router, "q", "10.77.2.1/24"}, {r.server, "s", "10.77.2.2/24"}} {
		r.run(i.ns, "", "ip", "addr", "add", i.addr, "dev", i.dev)
		r.run(i.ns, "", "ip", "link", "set", i.dev, "up")
	}
	r.run(r.client, "", "ip", "route", "add", "default", "via", "10.77.1.1")
	r.run(r.server, "", "ip", "route", "add", "default", "via", "10.77.2.1")
	r.sysctl("net/ipv4/ip_forward", "1")
	return r
}

func (r *routed) path(ns *netns.NS) string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd())
}

func (r *routed) run(ns *netns.NS, stdin, name string, args ...string) {
	r.t.Helper()
	err := ns.Do(func() error {
		cmd := exec.Command(nettest.NeedProgram(r.t, name), args...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// sysctl sets one on the router.
func (r *routed) sysctl(name, value string) {
	r.t.Helper()
	if err := r.router.Do(func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0) }); err != nil {
		r.t.Fatal(err)
	}
}

// nft loads rules on the router.
func (r *routed) nft(rules string) {
	r.t.Helper()
	r.run(r.router, rules, "nft", "-f", "-")
}

// serve runs handle for each connection on the server.
func (r *routed) serve(port int, handle func(net.Conn)) {
	r.t.Helper()
	err := r.server.Do(func() error {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(10, 77, 2, 2), Port: port})
		if err != nil {
			return err
		}
		r.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				r.t.Cleanup(func() { c.Close() })
				go handle(c)
			}
		}()
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// probe probes a port of the server from the client.
func (r *routed) probe(port int, o Options) evidence.Session {
	r.t.Helper()
	o.Host, o.Port = "10.77.2.2", uint16(port)
	o.Redial = func(ctx context.Context, mss int) (c *net.TCPConn, err error) {
		err = r.client.Do(func() error {
			d := net.Dialer{Timeout: nettest.Patience, Control: withMSS(mss)}
			conn, err := d.DialContext(ctx, "tcp4", net.JoinHostPort(o.Host, fmt.Sprint(port)))
			if err == nil {
				c = conn.(*net.TCPConn)
			}
			return err
		})
		return c, err
	}
	c, err := o.Redial(r.t.Context(), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return Probe(r.t.Context(), collect.Env{Clock: collect.NewClock()}, c, o)
}

const loseTooBig = `table ip t { chain c { type filter hook output priority 0; icmp type destination-unreachable drop; }; }`

func TestMTUBlackHole(t *testing.T) { nettest.InUserNS(t, testMTUBlackHole) }

func testMTUBlackHole(t *testing.T) {
	r := newRouted(t)
	r.nft(loseTooBig)
	r.serve(80, func(c net.Conn) { io.Copy(io.Discard, c) })
	reply := strings.Repeat("\x16\x03\x03\x0f\xa0"+strings.Repeat("x", 4000), 1)
	r.serve(443, func(c net.Conn) {
		if _, err := c.Read(make([]byte, 4096)); err == nil {
			io.WriteString(c, reply)
			io.Copy(io.Discard, c)
		}
	})
	clean := r.probe(80, Options{MTU: true, Scheme: "http"})
	if clean.MTU == nil || !clean.MTU.LargeAcked {
		t.Fatalf("before the hole: %+v", clean.MTU)
	}

	t.Run("forward", func(t *testing.T) {
		r.run(r.router, "", "ip", "link", "set", "q", "mtu", "1280")
		defer r.run(r.router, "", "ip", "link", "set", "q", "mtu", "1500")
		for name, o := range map[string]Options{"auto": {Scheme: "http"}, "asked": {MTU: true}} {
			s := r.probe(80, o)
			want := evidence.MTUCheck{SmallAcked: true, MSSTried: 536, MSSAcked: true, MSS: 1448}
			if s.MTU == nil {
				t.Fatalf("%s: %+v", name, s)
			}
			if want.LargeBytes = s.MTU.LargeBytes; *s.MTU != want || s.MTU.LargeBytes < 4*1448 {
				t.Errorf("%s: %+v", name, s.MTU)
			}
		}
	})
	t.Run("back", func(t *testing.T) {
		r.run(r.router, "", "ip", "link", "set", "r", "mtu", "1280")
		defer r.run(r.router, "", "ip", "link", "set", "r", "mtu", "1500")
		s := r.probe(443, Options{Scheme: "https"})
		if s.Acked == nil || !*s.Acked || s.Received != 0 || s.MTU == nil {
			t.Fatalf("%+v", s)
		}
		if m := *s.MTU; !m.SmallAcked || m.LargeAcked || m.MSSTried != 536 || !m.MSSAcked || m.LargeBytes <= 536 {
			t.Errorf("%+v", m)
		}
	})
	t.Run("everything lost", func(t *testing.T) {
		c := r.dialThenLose(80)
		s := Probe(t.Context(), collect.Env{}, c, Options{Scheme: "http", Host: "10.77.2.2", Port: 80})
		if s.Acked == nil || *s.Acked || s.MTU != nil || s.WindowZero {
			t.Errorf("%+v, %+v", s, s.MTU)
		}
	})
}

// dialThenLose gives a connection whose path then loses everything.
func (r *routed) dialThenLose(port int) *net.TCPConn {
	r.t.Helper()
	var c *net.TCPConn
	if err := r.client.Do(func() (err error) {
		c, err = net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.IPv4(10, 77, 2, 2), Port: port})
		return err
	}); err != nil {
		r.t.Fatal(err)
	}
	r.nft(`table ip d { chain c { type filter hook forward priority 0; policy drop; }; }`)
	return c
}

// A firewall that forgets idle connections after 2 s.
func TestIdle(t *testing.T) { nettest.InUserNS(t, testIdle) }

func testIdle(t *testing.T) {
	r := newRouted(t)
	r.nft(`table ip t { chain c { type filter hook forward priority 0; ct state invalid drop; }; }`)
	r.sysctl("net/netfilter/nf_conntrack_tcp_loose", "0")
	r.sysctl("net/netfilter/nf_conntrack_tcp_timeout_established", "2")
	r.serve(80, func(c net.Conn) { io.Copy(io.Discard, c) })
	const longest = 4 * time.Second
	s := r.probe(80, Options{Idle: longest})
	if s.Idle == nil {
		t.Fatalf("%+v", s)
	}
	if s.Idle.Survived < longest/4 || s.Idle.Died <= s.Idle.Survived || s.Idle.Died > longest*3/4 ||
		s.Idle.KeepaliveHeld == nil || !*s.Idle.KeepaliveHeld {
		t.Errorf("%+v", s.Idle)
	}
}

func TestIdleSurvives(t *testing.T) {
	nettest.LeakCheck(t)
	s := run(t, serve(t, speak("")), Options{Scheme: "redis", Idle: 80 * time.Millisecond, Reply: 50 * time.Millisecond})
	if s.Idle == nil || *s.Idle != (evidence.IdleCheck{Survived: 80 * time.Millisecond}) {
		t.Errorf("%+v", s.Idle)
	}
	// A server that closes idle connections says so, which is no loss.
	s = run(t, serve(t, func(*net.TCPConn) { time.Sleep(30 * time.Millisecond) }), Options{Idle: 80 * time.Millisecond})
	if s.Idle == nil || s.Idle.Died != 0 || s.Idle.Survived == 0 || len(s.NotChecked) == 0 {
		t.Errorf("%+v, %+v", s.Idle, s.NotChecked)
	}
}
