package resolve

import (
	"net/netip"
	"strings"
	"testing"
	"unicode"

	"github.com/miekg/dns"
)

func printable(t *testing.T, what, s string) {
	t.Helper()
	if len(s) > 5*maxText || strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
		t.Errorf("%s is not bounded printable text: %q", what, s)
	}
}

func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 192.0.2.1\nnameserver fe80::1%eth0\nsearch a.example b.example.\noptions ndots:2 timeout:1 attempts:3 use-vc no-aaaa\n", "db")
	f.Add("; c\n# c\ndomain .\nnameserver x\nsearch\noptions ndots:99 ndots:-1 timeout:0 attempts:x\r\n", "a.b.")
	f.Add("nameserver\t192.0.2.1 # one\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4", "a.b.c")
	f.Fuzz(func(t *testing.T, data, host string) {
		c := parseResolvConf(data)
		if n := len(c.servers); n < 1 || n > maxServers || len(c.search) > maxSearch || c.ndots < 0 || c.ndots > maxNDots ||
			c.attempts < 1 || c.attempts > maxAttempts || c.timeout <= 0 {
			t.Errorf("%q gives %+v", data, c)
		}
		if !validName(host) {
			return
		}
		bare := 0
		for _, k := range c.candidates(host) {
			if !validName(k.name) || !strings.HasPrefix(k.name, host) || k.suffixed == (k.name == host) {
				t.Errorf("candidate %+v for %q", k, host)
			}
			if !k.suffixed {
				bare++
			}
		}
		if bare != 1 {
			t.Errorf("%q is asked for as it is %d times: %+v", host, bare, c)
		}
	})
}

func FuzzHosts(f *testing.F) {
	f.Add("127.0.0.1 localhost\n::1 localhost ip6-localhost # x\n192.0.2.1\tDB.example db\n", "db.example", uint8(0))
	f.Add("fe80::1%lo db\r\n::ffff:192.0.2.1 db\nx db\ndb\n\n#", "db", uint8(1))
	f.Fuzz(func(t *testing.T, data, name string, fam uint8) {
		got, more := parseHosts(data, name, Families(fam%3))
		if len(got) > maxAddrs || more < 0 || more > 0 && len(got) != maxAddrs {
			t.Errorf("%d addresses and %d more", len(got), more)
		}
		seen := map[netip.Addr]bool{}
		for _, a := range got {
			if !a.IsValid() || !Families(fam%3).has(a) || seen[a] {
				t.Errorf("address %v of %v", a, got)
			}
			seen[a] = true
		}
	})
}

func FuzzNSSwitch(f *testing.F) {
	f.Add("hosts: files mdns4_minimal [NOTFOUND=return] dns\n", true)
	f.Add("passwd: x\nhosts:\tmymachines resolve [!UNAVAIL=return SUCCESS=continue] files myhostname # c", false)
	f.Add("hosts: [a] x[b", false)
	f.Fuzz(func(t *testing.T, data string, inFiles bool) {
		order := parseNSSwitch(data)
		if len(order) > maxModules {
			t.Errorf("%d modules", len(order))
		}
		dns := 0
		for _, s := range order {
			printable(t, "source", s.String())
			if s.dns {
				dns++
			}
		}
		for _, st := range []status{success, notFound, unavailable, tryAgain} {
			winner, passed := decide(order, inFiles, st)
			if winner == FromFiles && !inFiles || winner == FromDNS && (st != success || dns == 0) || len(passed) > len(order) {
				t.Errorf("%q with %v, %v: %q, %q", data, inFiles, st, winner, passed)
			}
		}
	})
}

func FuzzDigest(f *testing.F) {
	q := question{name: "db.example.", qtype: dns.TypeA}
	const id = 0x1234
	seed := func(change func(*dns.Msg), records ...string) {
		m := &dns.Msg{MsgHdr: dns.MsgHdr{Id: id, Response: true}, Compress: true, Question: []dns.Question{{Name: q.name, Qtype: q.qtype, Qclass: dns.ClassINET}}}
		for _, s := range records {
			rr, err := dns.NewRR(s)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		change(m)
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)*3/4])
	}
	seed(func(*dns.Msg) {}, "db.example. 60 A 192.0.2.1", "db.example. 30 A 192.0.2.2", "db.example. AAAA 2001:db8::1")
	seed(func(*dns.Msg) {}, "db.example. CNAME a.example.", "a.example. CNAME DB.example.")
	seed(func(m *dns.Msg) { m.Truncated = true }, "db.example. 60 A 192.0.2.1")
	seed(func(m *dns.Msg) { m.Question, m.Rcode = nil, dns.RcodeRefused })
	seed(func(m *dns.Msg) {
		m.SetEdns0(1232, false)
		m.Rcode = dns.RcodeServerFailure
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: 9, ExtraText: "no\x00key\xff"}}
	})
	f.Fuzz(func(t *testing.T, msg []byte) {
		var r reply
		if !digest(msg, id, q, &r) {
			if r.Rcode != "" || len(r.Addrs)+len(r.CNAMEs) > 0 {
				t.Errorf("no answer, but %+v", r)
			}
			return
		}
		if r.Rcode == "" || len(r.Addrs) > maxAddrs || len(r.CNAMEs) > maxChain || r.Truncated && len(r.Addrs) > 0 {
			t.Errorf("got %+v", r)
		}
		for _, a := range r.Addrs {
			if !a.Is4() {
				t.Errorf("address %v for A", a)
			}
		}
		for _, s := range append(r.CNAMEs, r.ExtendedError, r.Err) {
			printable(t, "text", s)
		}
	})
}
