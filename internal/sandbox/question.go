package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// ResolvConf is where the system's name servers are listed, resolv.conf(5).
const ResolvConf = "/etc/resolv.conf"

// maxRecords is how many records of an answer are shown.
const maxRecords = 100

// Question is one DNS question to one server.
type Question struct {
	// Name is asked as it is: no search list is applied.
	Name string
	// Type is a record type, such as dns.TypeA.
	Type uint16
	// Server is the name server's address and port.
	Server string
	// TCP asks over TCP instead of UDP.
	TCP     bool
	Timeout time.Duration
}

// ErrNoAnswer is what Ask returns when no record came. The events have said why.
var ErrNoAnswer = errors.New("the question was not answered with a record")

// ParseType reads the name of a record type, in any case, or TYPE123 (RFC 3597).
// Types that no plain question can have are refused.
func ParseType(s string) (uint16, error) {
	s = strings.ToUpper(s)
	t, ok := dns.StringToType[s]
	if number, is := strings.CutPrefix(s, "TYPE"); !ok && is {
		n, err := strconv.ParseUint(number, 10, 16)
		t, ok = uint16(n), err == nil && n > 0
	}
	switch {
	case !ok:
		return 0, errors.New("there is no such record type")
	case slices.Contains([]uint16{dns.TypeNone, dns.TypeReserved, dns.TypeOPT, dns.TypeTKEY, dns.TypeTSIG, dns.TypeIXFR, dns.TypeAXFR}, t):
		return 0, errors.New("no plain question can have this type")
	}
	return t, nil
}

// QuestionName gives the name to ask for: with type PTR an address stands for
// its name below in-addr.arpa or ip6.arpa.
func QuestionName(s string, qtype uint16) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil && qtype == dns.TypePTR {
		return dns.ReverseAddr(a.WithZone("").String())
	}
	if _, ok := dns.IsDomainName(s); !ok || s == "" {
		return "", errors.New("it is no domain name")
	}
	return dns.Fqdn(s), nil
}

// DefaultServer is the first name server of a resolv.conf(5) file.
func DefaultServer(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	conf, err := dns.ClientConfigFromReader(io.LimitReader(f, 64<<10))
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	for _, s := range conf.Servers {
		if _, err := netip.ParseAddr(s); err == nil {
			return net.JoinHostPort(s, conf.Port), nil
		}
	}
	return "", fmt.Errorf("%s has no nameserver line with an address", path)
}

// Ask asks and tells the answer by on. It returns nil if a record came and
// [ErrNoAnswer] otherwise.
func (q Question) Ask(ctx context.Context, on func(Event)) error {
	l := log(on)
	client := dns.Client{Net: "udp", Timeout: q.Timeout, UDPSize: udpSize}
	over := "UDP"
	if q.TCP {
		client.Net, over = "tcp", "TCP"
	}
	m := new(dns.Msg).SetQuestion(q.Name, q.Type)
	m.SetEdns0(udpSize, false)
	what := fmt.Sprintf("%s %s asked of %s over %s", printable(q.Name), typeName(q.Type), clean(q.Server), over)
	start := time.Now()
	r, err := q.exchange(ctx, &client, m)
	long := time.Since(start)
	e := Event{Kind: Response, Peer: q.Server, Name: printable(q.Name), TookMS: milliseconds(long)}
	if err == nil && !echoes(r, m.Question[0]) {
		err = errors.New("the reply is to another question")
	}
	switch {
	case err != nil && ctx.Err() != nil:
		l.say(Event{Kind: Summary}, "%s: ended by the user after %s", what, took(long))
		return ErrNoAnswer
	case err != nil:
		e.Kind = Failed
		l.fail(e, err, "%s: no answer after %s", what, took(long))
		return ErrNoAnswer
	}
	e.Rcode, e.Truncated, e.Number = rcodeName(r.Rcode), r.Truncated, len(r.Answer)
	more := ""
	if r.Truncated {
		more = "; truncated"
		if !q.TCP {
			more += ": the whole of it is to be had over TCP (--tcp)"
		}
	}
	l.say(e, "%s: %s in %s, flags %s, %s%s", what, e.Rcode, took(long), flags(r), count(len(r.Answer), "record"), more)
	for i, rr := range r.Answer {
		if i == maxRecords {
			l.say(Event{Kind: Record}, "and %d more", len(r.Answer)-i)
			break
		}
		h := rr.Header()
		l.say(Event{Kind: Record, Name: printable(h.Name)}, "%s %s", printable(strings.Join(strings.Fields(h.String()), " ")), data(rr))
	}
	if r.Rcode != dns.RcodeSuccess || len(r.Answer) == 0 {
		return ErrNoAnswer
	}
	return nil
}

// exchange sends the question and waits for the reply, or for the end of ctx.
func (q Question) exchange(ctx context.Context, client *dns.Client, m *dns.Msg) (*dns.Msg, error) {
	c, err := client.DialContext(ctx, q.Server)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	r, _, err := client.ExchangeWithConnContext(ctx, m, c)
	return r, err
}

// echoes says whether a reply is to the question. Errors may leave it out.
func echoes(r *dns.Msg, q dns.Question) bool {
	if len(r.Question) == 0 {
		return r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError
	}
	got := r.Question[0]
	return r.Response && got.Qtype == q.Qtype && got.Qclass == q.Qclass && strings.EqualFold(got.Name, q.Name)
}

// data is what a record says of its owner, in the form of zone files.
func data(rr dns.RR) string { return printable(strings.TrimPrefix(rr.String(), rr.Header().String())) }

// flags names the flags of a message as dig(1) does.
func flags(m *dns.Msg) string {
	var on []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"qr", m.Response}, {"aa", m.Authoritative}, {"tc", m.Truncated}, {"rd", m.RecursionDesired},
		{"ra", m.RecursionAvailable}, {"ad", m.AuthenticatedData}, {"cd", m.CheckingDisabled},
	} {
		if f.set {
			on = append(on, f.name)
		}
	}
	return cmp.Or(strings.Join(on, " "), "none")
}
