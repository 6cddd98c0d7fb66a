package resolve

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

const (
	tryOnce = 200 * time.Millisecond // for servers that stay silent
	zoneA   = "db.example. 60 IN A 192.0.2.1"
	zone6   = "db.example. 30 IN AAAA 2001:db8::1"
)

// want is the outcome of a whole resolution.
type want struct {
	full, from string
	addrs      []netip.Addr
	queries    string // as brief shows them
	err        string // part of it
}

func check(t *testing.T, got *evidence.Name, w want) {
	t.Helper()
	if got.FullName != w.full || got.AddrsFrom != w.from || !slices.Equal(got.Addrs, w.addrs) {
		t.Errorf("got %q from %q: %v\nwant %q from %q: %v", got.FullName, got.AddrsFrom, got.Addrs, w.full, w.from, w.addrs)
	}
	if diff := cmp.Diff(strings.Split(w.queries, "\n"), strings.Split(brief(got.Queries), "\n")); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
	if (w.err == "") != (got.Err == "") || !strings.Contains(got.Err, w.err) {
		t.Errorf("Err %q, want %q", got.Err, w.err)
	}
	if got.Took <= 0 {
		t.Errorf("took %v", got.Took)
	}
	for _, q := range got.Queries {
		if q.Took <= 0 || q.At < got.At {
			t.Errorf("query %v at %v took %v", q.Server, q.At, q.Took)
		}
	}
}

func TestAnswers(t *testing.T) {
	tests := []struct {
		name    string
		handler dns.HandlerFunc
		opts    Options
		want    want
	}{
		{"both families", zone(zoneA, zone6), Options{}, want{"db.example", "dns", addrs("192.0.2.1", "2001:db8::1"), `
127.53.0.1 udp db.example A: NOERROR [192.0.2.1]
127.53.0.1 udp db.example AAAA: NOERROR [2001:db8::1]`, ""}},
		{"IPv4 only", zone(zoneA, zone6), Options{Families: IPv4}, want{"db.example", "dns", addrs("192.0.2.1"), `
127.53.0.1 udp db.example A: NOERROR [192.0.2.1]`, ""}},
		{"IPv6 only", zone(zoneA, zone6), Options{Families: IPv6}, want{"db.example", "dns", addrs("2001:db8::1"), `
127.53.0.1 udp db.example AAAA: NOERROR [2001:db8::1]`, ""}},
		{"TCP forced", zone(zoneA), Options{ForceTCP: true}, want{"db.example", "dns", addrs("192.0.2.1"), `
127.53.0.1 tcp db.example A: NOERROR [192.0.2.1]
127.53.0.1 tcp db.example AAAA: NOERROR`, ""}},
		{"no such name", zone("other.example. A 192.0.2.1"), Options{}, want{queries: `
127.53.0.1 udp db.example A: NXDOMAIN
127.53.0.1 udp db.example AAAA: NXDOMAIN`}},
		{"no address", zone("db.example. TXT x"), Options{}, want{queries: `
127.53.0.1 udp db.example A: NOERROR
127.53.0.1 udp db.example AAAA: NOERROR`}},
		{"server failure", rcode(dns.RcodeServerFailure, &dns.EDNS0_EDE{InfoCode: 22, ExtraText: "at\x1b[m x"}), Options{}, want{queries: `
127.53.0.1 udp db.example A: SERVFAIL ede 22 (No Reachable Authority): at\x1b[m x
127.53.0.1 udp db.example AAAA: SERVFAIL ede 22 (No Reachable Authority): at\x1b[m x`}},
		{"refused", rcode(dns.RcodeRefused), Options{}, want{queries: `
127.53.0.1 udp db.example A: REFUSED
127.53.0.1 udp db.example AAAA: REFUSED`}},
		{"refused by a bare header", func(w dns.ResponseWriter, q *dns.Msg) {
			w.WriteMsg(&dns.Msg{MsgHdr: dns.MsgHdr{Id: q.Id, Response: true, Rcode: dns.RcodeRefused}})
		}, Options{Families: IPv4}, want{queries: `
127.53.0.1 udp db.example A: REFUSED`}},
		{"unknown code", rcode(3000), Options{Families: IPv4}, want{queries: `
127.53.0.1 udp db.example A: RCODE3000`}},
		{"alias", zone("db.example. 9 CNAME a.example.", "A.example. CNAME b.example.", "b.example. A 192.0.2.2", "x.example. A 192.0.2.9"), Options{Families: IPv4},
			want{"db.example", "dns", addrs("192.0.2.2"), `
127.53.0.1 udp db.example A: NOERROR via a.example,b.example [192.0.2.2]`, ""}},
		{"alias loop", zone("db.example. CNAME a.example.", "a.example. CNAME DB.example."), Options{Families: IPv4}, want{queries: `
127.53.0.1 udp db.example A: NOERROR via a.example,DB.example loop`}},
		{"alias to nothing", zone("db.example. CNAME gone.example."), Options{Families: IPv4}, want{queries: `
127.53.0.1 udp db.example A: NOERROR via gone.example`}},
		{"old server refuses EDNS", func(w dns.ResponseWriter, q *dns.Msg) {
			if q.IsEdns0() != nil {
				w.WriteMsg(&dns.Msg{MsgHdr: dns.MsgHdr{Id: q.Id, Response: true, Rcode: dns.RcodeFormatError}})
				return
			}
			zone(zoneA)(w, q)
		}, Options{Families: IPv4}, want{"db.example", "dns", addrs("192.0.2.1"), `
127.53.0.1 udp db.example A: NOERROR [192.0.2.1] tries 2`, ""}},
		{"old server refuses EDNS over TCP", func(w dns.ResponseWriter, q *dns.Msg) {
			if q.IsEdns0() != nil {
				rcode(dns.RcodeNotImplemented)(w, q)
				return
			}
			zone(zoneA)(w, q)
		}, Options{Families: IPv4, ForceTCP: true}, want{"db.example", "dns", addrs("192.0.2.1"), `
127.53.0.1 tcp db.example A: NOERROR [192.0.2.1]`, ""}},
		{"middlebox drops EDNS", func(w dns.ResponseWriter, q *dns.Msg) {
			if q.IsEdns0() == nil {
				zone(zoneA)(w, q)
			}
		}, Options{Families: IPv4, Timeout: tryOnce}, want{"db.example", "dns", addrs("192.0.2.1"), `
127.53.0.1 udp db.example A: NOERROR [192.0.2.1] tries 2`, ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNetwork(t)
			n.serve(ns1, tt.handler)
			n.opts.Families, n.opts.ForceTCP = tt.opts.Families, tt.opts.ForceTCP
			if tt.opts.Timeout != 0 {
				n.opts.Timeout = tt.opts.Timeout
			}
			tt.want.queries = strings.TrimPrefix(tt.want.queries, "\n") + "\n"
			check(t, n.collect("db.example"), tt.want)
		})
	}
}

func TestMetadata(t *testing.T) {
	n := newNetwork(t)
	n.serve(ns1, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Authoritative = true
		for _, s := range []string{"db.example. 60 CNAME a.example.", "a.example. 20 A 192.0.2.1", "a.example. 40 A 192.0.2.2", "z.example. 1 A 192.0.2.3"} {
			rr, _ := dns.NewRR(s)
			m.Answer = append(m.Answer, rr)
		}
		w.WriteMsg(m)
	})
	n.resolvConf("nameserver 127.53.0.1\nsearch a.example b.example\noptions ndots:2")
	n.nsswitch("hosts: files mymachines mdns4_minimal [NOTFOUND=return] dns myhostname")
	got := n.collect("db.example.")
	q := got.Queries[0]
	if !q.Authoritative || q.MinTTL != 20 || q.Server != netip.AddrPortFrom(ns1, n.port) || q.Tries != 1 {
		t.Errorf("query %+v", q)
	}
	if got.NDots != 2 || !slices.Equal(got.Search, []string{"a.example", "b.example"}) || got.FullName != "db.example." ||
		!slices.Equal(got.Servers, []netip.AddrPort{netip.AddrPortFrom(ns1, n.port)}) ||
		!slices.Equal(got.Order, []string{"files", "mymachines", "mdns4_minimal", "dns", "myhostname"}) {
		t.Errorf("got %+v", got)
	}
	if len(got.NotChecked) != 1 || !strings.Contains(got.NotChecked[0].Check, "mymachines of") {
		t.Errorf("not checked: %+v", got.NotChecked)
	}
	if got.System != nil {
		t.Error("the system's resolver was asked, though it cannot read these files")
	}
}

func TestSilence(t *testing.T) {
	n := newNetwork(t)
	n.raw(ns1, silent)
	n.opts.Timeout = tryOnce
	n.resolvConf("nameserver 127.53.0.1\nsearch a.example")
	check(t, n.collect("db.example"), want{queries: "127.53.0.1 udp db.example A:  timeout tries 2\n127.53.0.1 udp db.example AAAA:  timeout tries 2\n"})
	n.resolvConf("nameserver 127.53.0.1\noptions attempts:1")
	n.opts.Families = IPv6
	check(t, n.collect("db.example"), want{queries: "127.53.0.1 udp db.example AAAA:  timeout\n"})
}

func TestClosedPort(t *testing.T) {
	n := newNetwork(t)
	check(t, n.collect("db.example"), want{queries: "127.53.0.1 udp db.example A:  ECONNREFUSED\n127.53.0.1 udp db.example AAAA:  ECONNREFUSED\n"})
	n.opts.ForceTCP = true
	check(t, n.collect("db.example"), want{queries: "127.53.0.1 tcp db.example A:  ECONNREFUSED\n127.53.0.1 tcp db.example AAAA:  ECONNREFUSED\n"})
}

// truncating answers over UDP with the TC bit and a part of the answer.
func truncating(h dns.HandlerFunc) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		if w.LocalAddr().Network() != "udp" {
			h(w, q)
			return
		}
		m := new(dns.Msg).SetReply(q)
		m.Truncated = true
		rr, _ := dns.NewRR("db.example. A 192.0.2.99")
		m.Answer = []dns.RR{rr, rr}
		raw, _ := m.Pack()
		w.Write(raw[:len(raw)-5]) // cut in the middle of a record
	}
}

func TestTruncation(t *testing.T) {
	n := newNetwork(t)
	n.opts.Families = IPv4
	n.serve(ns1, truncating(zone(zoneA)))
	check(t, n.collect("db.example"), want{"db.example", "dns", addrs("192.0.2.1"),
		"127.53.0.1 udp db.example A: NOERROR truncated\n127.53.0.1 tcp db.example A: NOERROR [192.0.2.1]\n", ""})
}

func TestTruncationWithoutTCP(t *testing.T) {
	n := newNetwork(t)
	n.opts.Families = IPv4
	n.serveOn("udp", ns1, truncating(nil))
	check(t, n.collect("db.example"), want{
		queries: "127.53.0.1 udp db.example A: NOERROR truncated\n127.53.0.1 tcp db.example A:  ECONNREFUSED\n"})
}

// TestTCPFaults has a TCP side that accepts and then misbehaves.
func TestTCPFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		serve func(net.Conn)
		want  string
	}{
		"closes":  {func(net.Conn) {}, " the server closed the connection without an answer"},
		"half":    {func(c net.Conn) { c.Write([]byte{1, 0, 7}) }, " the server closed the connection without an answer"},
		"garbage": {func(c net.Conn) { c.Write([]byte("\x00\x03abc\x00\x00")) }, " the server closed the connection without an answer ignored 2"},
		"silent":  {func(c net.Conn) { c.Read(make([]byte, 1)) }, " timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t)
			n.opts.Families, n.opts.ForceTCP = IPv4, true
			if name == "silent" {
				n.opts.Timeout = tryOnce
			}
			l, err := net.Listen("tcp", netip.AddrPortFrom(ns1, n.port).String())
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			t.Cleanup(func() { l.Close(); <-done })
			go func() {
				defer close(done)
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				c.Read(make([]byte, 512)) // the query
				tt.serve(c)
			}()
			check(t, n.collect("db.example"), want{queries: "127.53.0.1 tcp db.example A: " + tt.want + "\n"})
		})
	}
}

func TestGarbageBeforeTheAnswer(t *testing.T) {
	n := newNetwork(t)
	n.opts.Families = IPv4
	n.raw(ns1, func(c *net.UDPConn, from netip.AddrPort, query []byte) {
		var q dns.Msg
		if err := q.Unpack(query); err != nil {
			t.Error(err)
			return
		}
		good := new(dns.Msg).SetReply(&q)
		rr, _ := dns.NewRR(zoneA)
		good.Answer = []dns.RR{rr}
		send := func(change func(*dns.Msg)) {
			m := good.Copy()
			change(m)
			b, err := m.Pack()
			if err != nil {
				t.Error(err)
			}
			c.WriteToUDPAddrPort(b, from)
		}
		c.WriteToUDPAddrPort(nil, from)
		c.WriteToUDPAddrPort([]byte("HTTP/1.0 400 Bad Request\r\n\r\n"), from)
		c.WriteToUDPAddrPort(query, from) // our own query
		send(func(m *dns.Msg) { m.Id++ })
		send(func(m *dns.Msg) { m.Question[0].Name = "evil.example." })
		send(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA })
		send(func(m *dns.Msg) { m.Question = nil })
		send(func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus })
		b, _ := good.Pack()
		c.WriteToUDPAddrPort(b[:len(b)-2], from)
		// From another source, with everything right: the kernel drops it.
		other, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ns2, 0)))
		if err != nil {
			t.Error(err)
			return
		}
		defer other.Close()
		evil, _ := dns.NewRR("db.example. A 192.0.2.66")
		m := good.Copy()
		m.Answer = []dns.RR{evil}
		b, _ = m.Pack()
		other.WriteToUDPAddrPort(b, from)
		send(func(*dns.Msg) {})
	})
	check(t, n.collect("db.example"), want{"db.example", "dns", addrs("192.0.2.1"), "127.53.0.1 udp db.example A: NOERROR [192.0.2.1] ignored 9\n", ""})
}

func TestLateAnswerCounts(t *testing.T) {
	n := newNetwork(t)
	n.opts.Families, n.opts.Timeout = IPv4, tryOnce
	var first dns.Msg
	n.raw(ns1, func(c *net.UDPConn, from netip.AddrPort, query []byte) {
		if len(first.Question) == 0 {
			first.Unpack(query)
			return
		}
		m := new(dns.Msg).SetReply(&first)
		rr, _ := dns.NewRR(zoneA)
		m.Answer = []dns.RR{rr}
		b, _ := m.Pack()
		c.WriteToUDPAddrPort(b, from)
	})
	check(t, n.collect("db.example"), want{"db.example", "dns", addrs("192.0.2.1"), "127.53.0.1 udp db.example A: NOERROR [192.0.2.1] tries 2\n", ""})
}
