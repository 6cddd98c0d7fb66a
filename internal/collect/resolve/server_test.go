package resolve

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// network is a set of name servers on loopback addresses with one port.
type network struct {
	t    testing.TB
	port uint16
	opts Options
}

// Addresses of the servers in tests.
var (
	ns1 = netip.MustParseAddr("127.53.0.1")
	ns2 = netip.MustParseAddr("127.53.0.2")
	ns3 = netip.MustParseAddr("127.53.0.3")
)

// newNetwork finds a free port and makes configuration files that name ns1 as
// the only server. At the end of the test every descriptor and goroutine has
// to be gone.
func newNetwork(t testing.TB) *network {
	t.Helper()
	checkLeaks(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n := &network{t: t, port: netip.MustParseAddrPort(l.Addr().String()).Port()}
	n.opts = Options{Port: n.port, Timeout: time.Minute, Patience: time.Minute} // the machine may be busy
	n.resolvConf("nameserver " + ns1.String())
	n.hosts("")
	n.nsswitch("hosts: files dns")
	return n
}

func (n *network) file(name, data string) string {
	path := filepath.Join(n.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		n.t.Fatal(err)
	}
	return path
}

// An empty search list keeps the domain of the test machine out.
func (n *network) resolvConf(s string) {
	n.opts.ResolvConf = n.file("resolv.conf", "search .\n"+s+"\n")
}
func (n *network) hosts(s string)    { n.opts.HostsFile = n.file("hosts", s+"\n") }
func (n *network) nsswitch(s string) { n.opts.NSSwitch = n.file("nsswitch.conf", s+"\n") }

// serve runs a DNS server over UDP and TCP until the end of the test.
func (n *network) serve(addr netip.Addr, h dns.HandlerFunc) {
	n.serveOn("udp", addr, h)
	n.serveOn("tcp", addr, h)
}

func (n *network) serveOn(proto string, addr netip.Addr, h dns.HandlerFunc) {
	n.t.Helper()
	ready := make(chan struct{})
	// ReusePort stays off, so that a taken port is an error.
	s := &dns.Server{Net: proto, Handler: h, NotifyStartedFunc: func() { close(ready) }}
	var err error
	if at := netip.AddrPortFrom(addr, n.port); proto == "udp" {
		s.PacketConn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	} else {
		s.Listener, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	}
	if err != nil {
		n.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.ActivateAndServe() }()
	<-ready
	n.t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			n.t.Error(err)
		}
		if err := <-done; err != nil {
			n.t.Error(err)
		}
	})
}

// raw runs a UDP server that answers with whatever datagrams answer makes.
func (n *network) raw(addr netip.Addr, answer func(c *net.UDPConn, from netip.AddrPort, query []byte)) {
	n.t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, n.port)))
	if err != nil {
		n.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			k, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			answer(c, from, buf[:k])
		}
	}()
	n.t.Cleanup(func() { c.Close(); <-done })
}

func silent(*net.UDPConn, netip.AddrPort, []byte) {}

func (n *network) collect(host string) *evidence.Name {
	n.t.Helper()
	return n.collectCtx(context.Background(), host)
}

func (n *network) collectCtx(ctx context.Context, host string) *evidence.Name {
	n.t.Helper()
	got, err := Collect(ctx, collect.Env{Clock: collect.NewClock()}, host, n.opts)
	if err != nil {
		n.t.Fatal(err)
	}
	return got
}

// zone answers from records in presentation form, with all records whose type
// was asked for and all aliases; no record of the name at all is NXDOMAIN.
func zone(records ...string) dns.HandlerFunc {
	var all []dns.RR
	for _, s := range records {
		rr, err := dns.NewRR(s)
		if err != nil {
			panic(err)
		}
		all = append(all, rr)
	}
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Rcode = dns.RcodeNameError
		for _, rr := range all {
			h := rr.Header()
			if strings.EqualFold(h.Name, q.Question[0].Name) {
				m.Rcode = dns.RcodeSuccess
			}
			if h.Rrtype == q.Question[0].Qtype || h.Rrtype == dns.TypeCNAME {
				m.Answer = append(m.Answer, rr)
			}
		}
		if m.Rcode == dns.RcodeNameError {
			m.Answer = nil
		}
		w.WriteMsg(m)
	}
}

func rcode(code int, ede ...*dns.EDNS0_EDE) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetRcode(q, code)
		if q.IsEdns0() != nil {
			m.SetEdns0(1232, false)
			for _, e := range ede {
				m.IsEdns0().Option = append(m.IsEdns0().Option, e)
			}
		}
		w.WriteMsg(m)
	}
}

// checkLeaks compares descriptors and goroutines at the end, after all later
// cleanups, with those of now.
func checkLeaks(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // the poller of the runtime opens its own on first use
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	gc := debug.SetGCPercent(-1) // it would close what we forget
	fds, routines := openFiles(t), runtime.NumGoroutine()
	t.Cleanup(func() {
		defer debug.SetGCPercent(gc)
		var f, g int
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); runtime.Gosched() {
			if f, g = openFiles(t), runtime.NumGoroutine(); f <= fds && g <= routines {
				return
			}
		}
		buf := make([]byte, 1<<16)
		t.Errorf("%d descriptors and %d goroutines, %d and %d before\n%s", f, g, fds, routines, buf[:runtime.Stack(buf, true)])
	})
}

// openFiles counts descriptors where /proc or /dev/fd shows them.
func openFiles(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/dev/fd")
	if err != nil {
		return 0
	}
	return len(all)
}

func addrs(s ...string) []netip.Addr {
	var all []netip.Addr
	for _, a := range s {
		all = append(all, netip.MustParseAddr(a))
	}
	return all
}

// brief shows the queries in a line each, without times and servers' ports.
func brief(qs []evidence.Query) string {
	var b strings.Builder
	for _, q := range qs {
		fmt.Fprintf(&b, "%v %s %s %s: %s", q.Server.Addr(), q.Net, q.Name, q.Type, q.Rcode)
		if len(q.CNAMEs) > 0 {
			fmt.Fprintf(&b, " via %s", strings.Join(q.CNAMEs, ","))
		}
		if len(q.Addrs) > 0 {
			fmt.Fprintf(&b, " %v", q.Addrs)
		}
		for _, f := range []struct {
			on   bool
			text string
		}{
			{q.CNAMELoop, "loop"}, {q.Truncated, "truncated"}, {q.Timeout, "timeout"}, {q.Errno != "", q.Errno},
			{q.Err != "", q.Err}, {q.ExtendedError != "", "ede " + q.ExtendedError}, {q.Ignored > 0, fmt.Sprint("ignored ", q.Ignored)},
			{q.Tries > 1, fmt.Sprint("tries ", q.Tries)},
		} {
			if f.on {
				b.WriteString(" " + f.text)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}
