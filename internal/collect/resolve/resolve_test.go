package resolve

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tcpwhy/tcpwhy/internal/collect"
)

func TestSeveralServers(t *testing.T) {
	const three = "nameserver 127.53.0.1\nnameserver 127.53.0.2\nnameserver 127.53.0.3\nnameserver 127.53.0.4"
	t.Run("a slow one is not waited for", func(t *testing.T) {
		n := newNetwork(t)
		n.opts.Families, n.opts.Patience = IPv4, time.Millisecond
		n.resolvConf("nameserver 127.53.0.1\nnameserver 127.53.0.2")
		n.raw(ns1, silent)
		n.serve(ns2, zone(zoneA))
		check(t, n.collect("db.example"), want{"db.example", "dns", addrs("192.0.2.1"), `127.53.0.1 udp db.example A:  not waited for
127.53.0.2 udp db.example A: NOERROR [192.0.2.1]
`, ""})
	})
	t.Run("they disagree and the first counts", func(t *testing.T) {
		n := newNetwork(t)
		n.opts.Families = IPv4
		n.resolvConf(three)
		n.serve(ns1, zone(zoneA))
		n.serve(ns2, zone("db.example. A 192.0.2.2"))
		n.serve(ns3, rcode(dns.RcodeNameError))
		check(t, n.collect("db.example"), want{"db.example", "dns", addrs("192.0.2.1"), `127.53.0.1 udp db.example A: NOERROR [192.0.2.1]
127.53.0.2 udp db.example A: NOERROR [192.0.2.2]
127.53.0.3 udp db.example A: NXDOMAIN
`, ""})
	})
	t.Run("a failing one is passed over", func(t *testing.T) {
		n := newNetwork(t)
		n.opts.Families = IPv4
		n.resolvConf(three)
		n.serve(ns1, rcode(dns.RcodeServerFailure))
		n.serve(ns2, rcode(dns.RcodeRefused))
		n.serve(ns3, zone(zoneA))
		check(t, n.collect("db.example"), want{"db.example", "dns", addrs("192.0.2.1"), `127.53.0.1 udp db.example A: SERVFAIL
127.53.0.2 udp db.example A: REFUSED
127.53.0.3 udp db.example A: NOERROR [192.0.2.1]
`, ""})
	})
}

func TestSearch(t *testing.T) {
	tests := []struct {
		name, conf, host string
		handler          dns.HandlerFunc
		full             string
		asked            string
	}{
		{"suffix before the bare name", "search a.example b.example", "db", zone("db.b.example. A 192.0.2.1"), "db.b.example", "db.a.example db.b.example"},
		{"dots before suffixes", "search a.example", "db.x", zone("db.x. A 192.0.2.1"), "db.x", "db.x"},
		{"suffix after dots", "search a.example", "db.x", zone("db.x.a.example. A 192.0.2.1"), "db.x.a.example", "db.x db.x.a.example"},
		{"ndots", "search a.example\noptions ndots:2", "db.x", zone("db.x.a.example. A 192.0.2.1"), "db.x.a.example", "db.x.a.example"},
		{"absolute", "search a.example\noptions ndots:2", "db.x.", zone("db.x.a.example. A 192.0.2.1"), "", "db.x"},
		{"bare name last", "search a.example", "db", zone("db. A 192.0.2.1"), "db", "db.a.example db"},
		{"domain", "domain a.example b.example", "db", zone("db.b.example. A 192.0.2.1"), "", "db.a.example db"},
		{"last line wins", "domain b.example\nsearch a.example", "db", zone("db.a.example. A 192.0.2.1"), "db.a.example", "db.a.example"},
		{"root on the list", "search . a.example", "db", zone("db.a.example. A 192.0.2.1"), "db.a.example", "db db.a.example"},
		{"no data goes on", "search a.example b.example", "db", zone("db.a.example. TXT x", "db.b.example. A 192.0.2.1"), "db.b.example", "db.a.example db.b.example"},
		{"failure goes on", "search a.example b.example", "db", func(w dns.ResponseWriter, q *dns.Msg) {
			if q.Question[0].Name == "db.a.example." {
				rcode(dns.RcodeServerFailure)(w, q)
				return
			}
			zone("db.b.example. A 192.0.2.1")(w, q)
		}, "db.b.example", "db.a.example db.b.example"},
		{"refusal ends the list", "search a.example b.example", "db", func(w dns.ResponseWriter, q *dns.Msg) {
			if q.Question[0].Name == "db.a.example." {
				rcode(dns.RcodeRefused)(w, q)
				return
			}
			zone("db.b.example. A 192.0.2.1", "db. A 192.0.2.2")(w, q)
		}, "db", "db.a.example db"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNetwork(t)
			n.opts.Families = IPv4
			n.resolvConf("nameserver 127.53.0.1\n" + tt.conf)
			n.serve(ns1, tt.handler)
			got := n.collect(tt.host)
			var asked []string
			for _, q := range got.Queries {
				asked = append(asked, q.Name)
			}
			if got.FullName != tt.full || strings.Join(asked, " ") != tt.asked {
				t.Errorf("%q by asking %q, want %q by asking %q", got.FullName, asked, tt.full, tt.asked)
			}
		})
	}
}

func TestSearchEnvironment(t *testing.T) {
	n := newNetwork(t)
	t.Setenv("LOCALDOMAIN", "env.example")
	t.Setenv("RES_OPTIONS", "ndots:3 use-vc no-aaaa")
	n.serve(ns1, zone("a.b.c.env.example. A 192.0.2.1"))
	check(t, n.collect("a.b.c"), want{"a.b.c.env.example", "dns", addrs("192.0.2.1"), "127.53.0.1 tcp a.b.c.env.example A: NOERROR [192.0.2.1]\n", ""})
}

func TestNoServer(t *testing.T) {
	n := newNetwork(t)
	n.opts.Families = IPv4
	n.opts.ResolvConf += ".missing"
	refused := "127.0.0.1 udp db.example A:  ECONNREFUSED\n"
	check(t, n.collect("db.example."), want{queries: refused, err: "no usable server configured: open "})
	n.resolvConf("nameserver fritz.box")
	check(t, n.collect("db.example"), want{queries: refused, err: `has no nameserver line with an address, but "fritz.box", and nothing answers at 127.0.0.1:`})
	n.resolvConf("options ndots:1")
	check(t, n.collect("db.example"), want{queries: refused, err: "has no nameserver line"})
	n.serve(netip.MustParseAddr("127.0.0.1"), zone(zoneA))
	check(t, n.collect("db.example"), want{"db.example", "dns", addrs("192.0.2.1"), "127.0.0.1 udp db.example A: NOERROR [192.0.2.1]\n", ""})
}

func TestHostsFile(t *testing.T) {
	const (
		hosts = "192.0.2.8 x # db.example\n192.0.2.9\tDB.example alias\n2001:db8::9 db.example\nbad db.example\n"
		asked = "127.53.0.1 udp db.example A: NOERROR [192.0.2.1]\n"
	)
	four := addrs("192.0.2.9")
	tests := []struct {
		name, nsswitch, host string
		fam                  Families
		want                 want
	}{
		{"overrides", "hosts: files dns", "db.example", IPv4, want{"db.example", "files", four, asked, ""}},
		{"alias", "hosts: files dns", "ALIAS", Both, want{"ALIAS", "files", four, "127.53.0.1 udp ALIAS A: NXDOMAIN\n127.53.0.1 udp ALIAS AAAA: NXDOMAIN\n", ""}},
		{"both families", "hosts: files", "db.example", Both, want{"db.example", "files", addrs("192.0.2.9", "2001:db8::9"), "", ""}},
		{"without DNS", "hosts: files", "other.example", Both, want{err: `"hosts: files" in `}},
		{"stops before DNS", "hosts: files [NOTFOUND=return] dns", "other.example", Both, want{err: "does not lead to DNS"}},
		{"after DNS", "hosts: dns files", "db.example", IPv4, want{"db.example", "dns", addrs("192.0.2.1"), asked, ""}},
		{"after failing DNS", "hosts: dns [!UNAVAIL=return] files", "alias", IPv4, want{queries: "127.53.0.1 udp alias A: NXDOMAIN\n"}},
		{"after missing DNS", "hosts: dns files", "alias", IPv4, want{"alias", "files", four, "127.53.0.1 udp alias A: NXDOMAIN\n", ""}},
		{"no line", "passwd: files", "db.example", IPv4, want{"db.example", "files", four, asked, ""}},
		{"resolved stands for DNS", "hosts: files resolve [!UNAVAIL=return]", "db.example", IPv4, want{"db.example", "files", four, asked, ""}},
		{"absolute", "hosts: files dns", "db.example.", IPv4, want{"db.example.", "dns", addrs("192.0.2.1"), asked, ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNetwork(t)
			n.opts.Families = tt.fam
			n.hosts(hosts)
			n.nsswitch(tt.nsswitch)
			n.serve(ns1, zone(zoneA))
			check(t, n.collect(tt.host), tt.want)
		})
	}
	t.Run("DNS silent", func(t *testing.T) {
		n := newNetwork(t)
		n.opts.Families = IPv4
		n.hosts(hosts)
		n.raw(ns1, silent)
		check(t, n.collect("db.example"), want{"db.example", "files", four, "127.53.0.1 udp db.example A:  not waited for\n", ""})
	})
}

func TestConcerns(t *testing.T) {
	for module, names := range map[string]string{"mdns_minimal": "printer.Local.", "mdns4_minimal": "a.local", "myhostname": "_gateway", "mymachines": "any", "mdns": "any"} {
		if !concerns(module, names) {
			t.Errorf("%s can answer for %s", module, names)
		}
	}
	for _, module := range []string{"mdns_minimal", "mdns4_minimal", "mdns6_minimal", "myhostname"} {
		if concerns(module, "db.example") {
			t.Errorf("%s has no answer for db.example", module)
		}
	}
}

func TestLocalhost(t *testing.T) {
	n := newNetwork(t) // any query would be refused, and show
	for _, host := range []string{"localhost", "LOCALHOST.", "a.localhost"} {
		check(t, n.collect(host), want{host, "localhost", addrs("127.0.0.1", "::1"), "", ""})
	}
	n.opts.Families = IPv6
	check(t, n.collect("localhost"), want{"localhost", "localhost", addrs("::1"), "", ""})
	n.hosts("2001:db8::7 localhost\n::1 ip6-localhost")
	check(t, n.collect("localhost"), want{"localhost", "files", addrs("2001:db8::7"), "", ""})
	check(t, n.collect("ip6-localhost"), want{"ip6-localhost", "files", addrs("::1"), "", ""})
}

func TestLiteral(t *testing.T) {
	n := newNetwork(t)
	check(t, n.collect("192.0.2.1"), want{"192.0.2.1", "literal", addrs("192.0.2.1"), "", ""})
	check(t, n.collect("fe80::1%eth0"), want{"fe80::1%eth0", "literal", addrs("fe80::1%eth0"), "", ""})
	n.opts.Families = IPv4
	check(t, n.collect("::1"), want{full: "::1", from: "literal", err: "family"})
}

func TestNoName(t *testing.T) {
	for _, host := range []string{"", ".", "a..b", "a b", "a\x1b", "-a", strings.Repeat("a.", 127) + "a", strings.Repeat("a", 64)} {
		if got, err := Collect(context.Background(), collect.Env{Clock: collect.NewClock()}, host, Options{}); err == nil {
			t.Errorf("Collect(%q) = %+v", host, got)
		}
	}
}

// TestManyAddresses has as many addresses as a message can carry, and more in
// the hosts file.
func TestManyAddresses(t *testing.T) {
	n := newNetwork(t)
	n.serve(ns1, truncating(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Compress = true
		hdr := dns.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET, Ttl: 60}
		for i := range 4000 {
			if hdr.Rrtype == dns.TypeA {
				m.Answer = append(m.Answer, &dns.A{Hdr: hdr, A: net.IPv4(10, 77, byte(i>>8), byte(i))})
			} else if i < 2300 {
				m.Answer = append(m.Answer, &dns.AAAA{Hdr: hdr, AAAA: net.IP{0: 0xfd, 1: 0x77, 14: byte(i >> 8), 15: byte(i)}})
			}
		}
		w.WriteMsg(m)
	}))
	got := n.collect("db.example")
	if v4 := slices.IndexFunc(got.Addrs, netip.Addr.Is6); len(got.Addrs) != maxAddrs || v4 != maxAddrs/2 {
		t.Errorf("%d addresses, IPv6 from %d on", len(got.Addrs), v4)
	}
	if len(got.NotChecked) != 1 || !strings.HasPrefix(got.NotChecked[0].Check, fmt.Sprint(4000+2300-maxAddrs)) {
		t.Errorf("not checked: %+v", got.NotChecked)
	}
	for _, q := range got.Queries {
		if q.Net == "tcp" && len(q.Addrs) != maxAddrs {
			t.Errorf("%s keeps %d addresses", q.Type, len(q.Addrs))
		}
	}
	var b strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&b, "10.77.%d.%d many.example\n", i>>8, i&255)
	}
	n.hosts(b.String())
	n.nsswitch("hosts: files")
	got = n.collect("many.example")
	if len(got.Addrs) != maxAddrs || len(got.NotChecked) != 1 || !strings.HasPrefix(got.NotChecked[0].Check, fmt.Sprint(10_000-maxAddrs)) {
		t.Errorf("hosts file: %d addresses, not checked: %+v", len(got.Addrs), got.NotChecked)
	}
	n.hosts(strings.Repeat("192.0.2.1 other.example\n", maxFile/24) + "192.0.2.2 many.example")
	got = n.collect("many.example")
	if len(got.Addrs) != 0 || len(got.NotChecked) != 1 || !strings.Contains(got.NotChecked[0].Reason, "1 MiB") {
		t.Errorf("large hosts file: %v, not checked: %+v", got.Addrs, got.NotChecked)
	}
}

func TestCancel(t *testing.T) {
	n := newNetwork(t)
	n.opts.Families, n.opts.Timeout = IPv4, time.Hour
	n.resolvConf("") // with the default server, which must not be called unusable
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n.raw(netip.MustParseAddr("127.0.0.1"), func(*net.UDPConn, netip.AddrPort, []byte) { cancel() })
	stopped := want{queries: "127.0.0.1 udp db.example A:  stopped before an answer came\n"}
	check(t, n.collectCtx(ctx, "db.example"), stopped)
	check(t, n.collectCtx(ctx, "db.example"), stopped)
}

// dialTo sends the queries of Go's resolver to our server, whatever it reads
// in the files of the test machine.
func (n *network) dialTo(addr netip.Addr) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, netip.AddrPortFrom(addr, n.port).String())
	}
}

func TestSystem(t *testing.T) {
	n := newNetwork(t)
	n.serve(ns1, zone(zoneA))
	n.serve(ns2, zone("db.example. A 192.0.2.2"))
	n.raw(ns3, silent)
	n.opts.SystemDial = n.dialTo(ns2)
	got := n.collect("db.example.")
	if s := got.System; s == nil || !slices.Equal(s.Addrs, addrs("192.0.2.2")) || s.Err != "" || s.Took <= 0 {
		t.Errorf("system: %+v", s)
	}
	got = n.collect("no.example.")
	if s := got.System; s == nil || len(s.Addrs) != 0 || !strings.Contains(s.Err, "no such host") {
		t.Errorf("system: %+v", s)
	}
	// A silent server must not hold anything longer than allowed: checkLeaks
	// and the time limit of the test see to it.
	n.opts.SystemDial, n.opts.Patience = n.dialTo(ns3), tryOnce
	got = n.collect("db.example.")
	if s := got.System; s == nil || !strings.Contains(s.Err, "not waited for") || s.Took >= 5*time.Second {
		t.Errorf("system: %+v", s)
	}
}

func TestIPv6Server(t *testing.T) {
	n := newNetwork(t)
	l, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Skip("not supported: IPv6 on the loopback interface")
	}
	l.Close()
	n.opts.Families = IPv4
	n.resolvConf("nameserver ::1%lo\nnameserver ::1")
	n.serve(netip.IPv6Loopback(), zone(zoneA))
	got := n.collect("db.example")
	if !slices.Equal(got.Addrs, addrs("192.0.2.1")) {
		t.Errorf("got %+v", got)
	}
}

func BenchmarkCollect(b *testing.B) {
	n := newNetwork(b)
	n.serve(ns1, zone(zoneA, zone6))
	for b.Loop() {
		if got := n.collect("db.example"); len(got.Addrs) != 2 {
			b.Fatalf("got %+v", got)
		}
	}
}
