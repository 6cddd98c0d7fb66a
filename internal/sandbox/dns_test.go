package sandbox

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// lies is a zone with every fault.
func lies(t testing.TB) Zone {
	t.Helper()
	var z Zone
	for _, s := range []string{
		"example SOA ns.example. admin.example. 1 2 3 4 5",
		"app.example A 192.0.2.7",
		"App.Example 300 IN AAAA 2001:db8::7",
		"www.example CNAME app.example",
		"out.example CNAME elsewhere.test",
		"deep.sub.example TXT \"one  two\" \"a\\\"b\"",
		"*.wild.example MX 10 mail.wild.example",
		"_x._tcp.example SRV 1 2 8080 app.example",
		"big.example TXT " + strings.Repeat(`"`+strings.Repeat("x", 200)+`" `, 10),
		"tc.example A 192.0.2.8",
		"slow.example A 192.0.2.9",
	} {
		rr, err := ParseRecord(s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		z.Records = append(z.Records, rr)
	}
	z.Faults = []Fault{
		{Name: "nx.example.", Lie: NXDomain},
		{Name: "sf.example.", Lie: ServFail},
		{Name: "rf.example.", Lie: Refuse},
		{Name: "si.example.", Lie: NoAnswer},
		{Name: "tc.example.", Lie: Truncate},
		{Name: "wrong.example.", Lie: Wrong, Addr: netip.MustParseAddr("192.0.2.99")},
		{Name: "loopy.example.", Lie: CNAMELoop},
		{Name: "slow.example.", Lie: Slow, Delay: 300 * time.Millisecond},
	}
	return z
}

// questions are what is asked of lies, and what comes back over UDP: the
// response code, "tc", and the records, as far as they are seen.
var questions = []struct{ question, want string }{
	{"app.example A", "NOERROR app.example. 60 IN A 192.0.2.7"},
	{"app.example AAAA", "NOERROR app.example. 300 IN AAAA 2001:db8::7"},
	{"app.example ANY", "NOERROR app.example. 60 IN A 192.0.2.7|app.example. 300 IN AAAA 2001:db8::7"},
	{"app.example MX", "NOERROR"},
	{"APP.example A", "NOERROR APP.example. 60 IN A 192.0.2.7"},
	{"www.example A", "NOERROR www.example. 60 IN CNAME app.example.|app.example. 60 IN A 192.0.2.7"},
	{"www.example CNAME", "NOERROR www.example. 60 IN CNAME app.example."},
	{"out.example A", "NXDOMAIN out.example. 60 IN CNAME elsewhere.test."},
	{"deep.sub.example TXT", `NOERROR deep.sub.example. 60 IN TXT "one  two" "a\"b"`},
	{"sub.example A", "NOERROR"}, // empty non-terminal
	{"a.b.wild.example MX", "NOERROR a.b.wild.example. 60 IN MX 10 mail.wild.example."},
	{"wild.example MX", "NOERROR"},
	{"_x._tcp.example SRV", "NOERROR _x._tcp.example. 60 IN SRV 1 2 8080 app.example."},
	{"none.example A", "NXDOMAIN"},
	{"com NS", "NXDOMAIN"},
	{"nx.example A", "NXDOMAIN"},
	{"sf.example A", "SERVFAIL"},
	{"rf.example A", "REFUSED"},
	{"tc.example A", "NOERROR tc"},
	{"wrong.example A", "NOERROR wrong.example. 60 IN A 192.0.2.99"},
	{"wrong.example AAAA", "NOERROR"},
	{"loopy.example A", "NOERROR loopy.example. 60 IN CNAME loop.loopy.example.|loop.loopy.example. 60 IN CNAME loopy.example."},
	{"loop.loopy.example A", "NOERROR loop.loopy.example. 60 IN CNAME loopy.example.|loopy.example. 60 IN CNAME loop.loopy.example."},
	{"slow.example A", "NOERROR slow.example. 60 IN A 192.0.2.9"},
	{"big.example TXT", "NOERROR tc"},
}

func ask(t *testing.T, server, question string, tcp bool) (*tape, error) {
	t.Helper()
	name, typ, _ := strings.Cut(question, " ")
	q := Question{Server: server, TCP: tcp, Timeout: nettest.Patience}
	var err error
	if q.Type, err = ParseType(typ); err != nil {
		t.Fatal(err)
	}
	if q.Name, err = QuestionName(name, q.Type); err != nil {
		t.Fatal(err)
	}
	p := &tape{}
	return p, q.Ask(t.Context(), p.record)
}

// told puts an answer into the words of questions.
func told(p *tape) string {
	var head string
	var records []string
	for _, e := range p.all() {
		switch e.Kind {
		case Response:
			head = e.Rcode
			if e.Truncated {
				head += " tc"
			}
		case Record:
			records = append(records, e.Text)
		default:
			head = string(e.Kind) + " " + e.Text
		}
	}
	return strings.TrimSpace(head + " " + strings.Join(records, "|"))
}

func TestAsked(t *testing.T) {
	nettest.LeakCheck(t)
	loopbacks(t, func(t *testing.T, addr string) {
		s := play(t, NameServer{Addr: addr, Zone: lies(t)}.Run)
		for _, q := range questions {
			p, err := ask(t, s.addr, q.question, false)
			if got := told(p); got != q.want {
				t.Errorf("%s: %s\nwant %s", q.question, got, q.want)
			}
			// A record that answers is what the exit code tells of.
			if has := strings.Contains(q.want, " IN ") && strings.HasPrefix(q.want, "NOERROR"); (err == nil) != has {
				t.Errorf("%s: %v", q.question, err)
			}
		}
		for q, want := range map[string]string{
			"tc.example A":    "NOERROR tc.example. 60 IN A 192.0.2.8",
			"big.example TXT": "NOERROR big.example. 60 IN TXT",
		} {
			p, err := ask(t, s.addr, q, true)
			if got := told(p); !strings.HasPrefix(got, want) || err != nil {
				t.Errorf("%s over TCP: %v: %s", q, err, got)
			}
		}
		e := s.awaitOne(t, "the last query", func(e Event) bool { return e.Kind == Query && strings.HasPrefix(e.Text, "slow.example. A from ") })
		if !strings.HasSuffix(e.Text, " over UDP: NOERROR, A 192.0.2.9 after 300.0 ms") {
			t.Error(e.Text)
		}
		s.end()
		if e := s.await(t, Summary); e.Number != len(questions)+2 {
			t.Error(e.Text)
		}
	})
}

func TestSilence(t *testing.T) {
	nettest.LeakCheck(t)
	s := play(t, NameServer{Addr: "127.0.0.1:0", Zone: lies(t)}.Run)
	p := &tape{}
	err := Question{Name: "si.example.", Type: dns.TypeA, Server: s.addr, Timeout: 100 * time.Millisecond}.Ask(t.Context(), p.record)
	if e := p.await(t, Failed); err != ErrNoAnswer || !strings.Contains(e.Error, "i/o timeout") {
		t.Errorf("%v: %s", err, e.Text)
	}
	if e := s.await(t, Query); !strings.HasSuffix(e.Text, ": no answer") {
		t.Error(e.Text)
	}
}

func TestNoTCP(t *testing.T) {
	nettest.LeakCheck(t)
	s := play(t, NameServer{Addr: "127.0.0.1:0", NoTCP: true}.Run)
	c, err := net.Dial("tcp", s.addr)
	if err == nil {
		c.Close()
		t.Error("it listens on TCP")
	}
}

// A lie about every name leaves alone those with one of their own.
func TestAnyName(t *testing.T) {
	z := Zone{Faults: []Fault{{Name: AnyName, Lie: CNAMELoop}, {Name: "a.example.", Lie: ServFail}, {Name: AnyName, Lie: Slow, Delay: time.Minute}}}
	long := strings.Repeat(strings.Repeat("x", 62)+".", 4)
	for name, want := range map[string]string{
		"a.example.":      "SERVFAIL",
		"b.example.":      "NOERROR CNAME loop.b.example. CNAME b.example.",
		"loop.b.example.": "NOERROR CNAME b.example. CNAME loop.b.example.",
		".":               "NOERROR CNAME .",
		long:              "NOERROR CNAME " + long,
	} {
		r := z.answer(new(dns.Msg).SetQuestion(name, dns.TypeA), true)
		got := rcodeName(r.Rcode)
		for _, rr := range r.Answer {
			got += " CNAME " + rr.(*dns.CNAME).Target
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if _, err := r.Pack(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if z.delay(name) != time.Minute {
			t.Errorf("%s is not slow", name)
		}
	}
}

func TestNegative(t *testing.T) {
	z := lies(t)
	for name, soa := range map[string]int{"none.example.": 1, "app.example.": 1, "com.": 0} {
		r := z.answer(new(dns.Msg).SetQuestion(name, dns.TypeMX), true)
		if len(r.Ns) != soa || !r.Authoritative {
			t.Errorf("%s: %v", name, r)
		}
		if soa == 1 && r.Ns[0].Header().Ttl != 5 {
			t.Errorf("the TTL of a negative answer is %d, want the SOA's minimum", r.Ns[0].Header().Ttl)
		}
	}
}

func TestDig(t *testing.T) {
	dig := nettest.NeedProgram(t, "dig")
	nettest.LeakCheck(t)
	s := play(t, NameServer{Addr: "127.0.0.1:0", Zone: lies(t)}.Run)
	_, port, _ := net.SplitHostPort(s.addr)
	for _, c := range []struct{ args, want string }{
		{"+short www.example A", "app.example.\n192.0.2.7\n"},
		{"nx.example A", "status: NXDOMAIN"},
		{"sf.example A", "status: SERVFAIL"},
		{"rf.example A", "status: REFUSED"},
		{"+ignore tc.example A", "flags: qr aa tc"},
		{"+short tc.example A", "192.0.2.8\n"}, // asks again over TCP
		{"+short wrong.example A", "192.0.2.99\n"},
		{"+short loopy.example A", "loop.loopy.example.\nloopy.example.\n"},
		{"+bufsize=512 +ignore big.example TXT", "flags: qr aa tc"},
		{"slow.example A", "192.0.2.9"},
		{"+time=1 si.example A", "timed out"},
		{"+edns=1 +noednsneg app.example A", "status: BADVERS"},
		{"-c CH -t TXT version.bind", "status: REFUSED"},
		{"+opcode=status app.example", "status: NOTIMP"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"@127.0.0.1", "-p", port, "+norecurse", "+tries=1"}, strings.Fields(c.args)...)
			out, _ := exec.CommandContext(t.Context(), dig, args...).CombinedOutput()
			if !strings.Contains(string(out), c.want) {
				t.Errorf("%s\nwant %s", out, c.want)
			}
		})
	}
}

func TestParseRecord(t *testing.T) {
	for _, s := range []string{"", "app.example", "app.example A", "app.example A 2001:db8::7", "app.example A 192.0.2.7\nb A 192.0.2.8",
		"$INCLUDE /etc/passwd", "$GENERATE 1-9 h$ A 192.0.2.$", "app.example CH TXT x", "app.example NOTYPE x", "; a comment"} {
		if rr, err := ParseRecord(s); err == nil {
			t.Errorf("%q is %v", s, rr)
		} else if strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%q: %q", s, err)
		}
	}
}

func TestParseType(t *testing.T) {
	for s, want := range map[string]uint16{"a": 1, "AAAA": 28, "any": 255, "TYPE65": 65, "type4711": 4711, "SRV": 33,
		"": 0, "AXFR": 0, "IXFR": 0, "OPT": 0, "TYPE252": 0, "TYPE0": 0, "TYPE65536": 0, "NOPE": 0, "None": 0} {
		if got, err := ParseType(s); got != want || (err == nil) != (want != 0) {
			t.Errorf("%s: %d, %v", s, got, err)
		}
	}
}

func TestQuestionName(t *testing.T) {
	type is struct {
		Name string
		OK   bool
	}
	for s, want := range map[string]is{
		"192.0.2.7 PTR": {"7.2.0.192.in-addr.arpa.", true}, "app.example PTR": {"app.example.", true}, ". NS": {".", true},
		"192.0.2.7 A": {"192.0.2.7.", true}, " A": {}, strings.Repeat("x", 64) + " A": {}, "a..b A": {},
	} {
		i := strings.LastIndexByte(s, ' ')
		got, err := QuestionName(s[:i], dns.StringToType[s[i+1:]])
		if d := cmp.Diff(want, is{got, err == nil}); d != "" {
			t.Errorf("%s: %s", s, d)
		}
	}
}

func TestDefaultServer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	for conf, want := range map[string]string{
		"nameserver 192.0.2.53\nnameserver 192.0.2.54\n": "192.0.2.53:53",
		"search a.example\nnameserver fe80::1%eth0\n":    "[fe80::1%eth0]:53",
		"nameserver nonsense\nnameserver 2001:db8::53\n": "[2001:db8::53]:53",
		"": "", "nameserver\n": "", "nameserver \x1b[31m\n": "",
	} {
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := DefaultServer(file); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %s, %v", conf, got, err)
		}
	}
	if _, err := DefaultServer(file + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// FuzzZone gives the name server's heart a query of any kind.
func FuzzZone(f *testing.F) {
	for _, q := range questions {
		name, typ, _ := strings.Cut(q.question, " ")
		b, err := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.StringToType[typ]).Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, false)
	}
	z := lies(f)
	loop := Zone{Faults: []Fault{{Name: AnyName, Lie: CNAMELoop}}}
	f.Fuzz(func(t *testing.T, query []byte, loops bool) {
		var q dns.Msg
		if q.Unpack(query) != nil {
			return
		}
		z := z
		if loops {
			z = loop
		}
		r := z.answer(&q, true)
		if r == nil {
			return
		}
		r.Truncate(dns.MinMsgSize)
		b, err := r.Pack()
		if err != nil {
			t.Fatalf("%v\n%v\n%v", err, q.String(), r)
		}
		if len(q.Question) == 1 && len(q.Question[0].Name) < 200 && len(b) > dns.MinMsgSize {
			t.Errorf("%d bytes\n%v", len(b), r)
		}
		if s := brief(r); s != printable(s) && len(s) < maxText {
			t.Errorf("%q", s)
		}
	})
}

// FuzzRecord reads records as a person may type them.
func FuzzRecord(f *testing.F) {
	f.Add("app.example A 192.0.2.7")
	f.Add("app.example 300 IN SRV 1 2 3 x")
	f.Add("$INCLUDE /etc/passwd")
	f.Fuzz(func(t *testing.T, s string) {
		rr, err := ParseRecord(s)
		if err != nil {
			return
		}
		z := Zone{Records: []dns.RR{rr}}
		z.answer(new(dns.Msg).SetQuestion(rr.Header().Name, dns.TypeANY), true)
	})
}
