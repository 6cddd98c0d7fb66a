package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// zone is what a name server says. A name it has no records for does not exist,
// unless Rcode says something else about every name.
type zone struct {
	addrs  map[string][]string // addresses by name, "*.example." being a wildcard
	cname  map[string]string   // aliases
	rcode  int                 // the same answer for all, if not 0
	silent bool                // reads and never answers
}

// nameServer is the host that has the name server: the first router, or the
// server where there is none.
func (l *Lab) nameServer() string {
	if _, ok := l.machines[R1]; ok {
		return R1
	}
	return Server
}

// resolver is the address of the name server that the client is given, whether
// one runs there or not.
func (l *Lab) resolver() netip.Addr { return l.Addr(l.nameServer()) }

// resolve serves a zone at the resolver, over UDP and TCP, in place of the one
// that was served before.
func (l *Lab) resolve(z zone) {
	if l.zone.Swap(&z) != nil {
		return
	}
	host, at := l.nameServer(), netip.AddrPortFrom(l.resolver(), 53)
	l.serveAt(host, at, l.answerTCP)
	if l.err != nil {
		return
	}
	err := l.Do(host, func() (err error) {
		l.names, err = new(net.ListenConfig).ListenPacket(l.ctx, "udp", at.String())
		return err
	})
	if err != nil {
		l.fail(fmt.Errorf("name server: %w", err))
		return
	}
	l.closers = append(l.closers, l.names)
	l.serving.Go(l.answerUDP)
}

// unresolve ends the name server.
func (l *Lab) unresolve() {
	l.stop(l.nameServer(), 53)
	if err := l.names.Close(); err != nil {
		l.fail(err)
	}
}

func (l *Lab) answerUDP() {
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, from, err := l.names.ReadFrom(buf)
		if err != nil {
			return // closed with the lab
		}
		if b := l.zone.Load().answer(buf[:n]); b != nil {
			l.names.WriteTo(b, from)
		}
	}
}

func (l *Lab) answerTCP(c net.Conn) {
	for conn := (&dns.Conn{Conn: c}); ; {
		q, err := conn.ReadMsgHeader(nil)
		if err != nil {
			return
		}
		if b := l.zone.Load().answer(q); b != nil {
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	}
}

// answer makes the answer to a query, nil for none.
func (z *zone) answer(query []byte) []byte {
	var q dns.Msg
	if z.silent || q.Unpack(query) != nil || len(q.Question) != 1 {
		return nil
	}
	r := new(dns.Msg).SetReply(&q)
	r.RecursionAvailable = true
	if r.Rcode = z.rcode; r.Rcode == dns.RcodeSuccess {
		z.fill(r, q.Question[0])
	}
	b, err := r.Pack()
	if err != nil {
		return nil
	}
	return b
}

func (z *zone) fill(r *dns.Msg, q dns.Question) {
	header := func(name string, rrtype uint16) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: 60}
	}
	name := q.Name
	// A loop of aliases is cut, as resolvers do.
	for range 8 {
		to, ok := z.cname[strings.ToLower(name)]
		if !ok {
			break
		}
		r.Answer = append(r.Answer, &dns.CNAME{Hdr: header(name, dns.TypeCNAME), Target: to})
		name = to
	}
	addrs, ok := z.lookup(strings.ToLower(name))
	if !ok {
		r.Rcode = dns.RcodeNameError
	}
	for _, s := range addrs {
		switch a := netip.MustParseAddr(s); {
		case a.Is4() && q.Qtype == dns.TypeA:
			r.Answer = append(r.Answer, &dns.A{Hdr: header(name, dns.TypeA), A: a.AsSlice()})
		case a.Is6() && q.Qtype == dns.TypeAAAA:
			r.Answer = append(r.Answer, &dns.AAAA{Hdr: header(name, dns.TypeAAAA), AAAA: a.AsSlice()})
		}
	}
}

func (z *zone) lookup(name string) ([]string, bool) {
	if a, ok := z.addrs[name]; ok {
		return a, true
	}
	for pattern, a := range z.addrs {
		if suffix, ok := strings.CutPrefix(pattern, "*"); ok && strings.HasSuffix(name, suffix) {
			return a, true
		}
	}
	return nil, false
}

// ask asks the resolver for a name from where the user sits, with so much
// patience for the answer.
func (l *Lab) ask(ctx context.Context, name string, patience time.Duration) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(name, pick(l, dns.TypeA, dns.TypeAAAA))
	var answer *dns.Msg
	err := l.Do(l.Scenario.From, func() error {
		var d net.Dialer
		c, err := d.DialContext(ctx, "udp", netip.AddrPortFrom(l.resolver(), 53).String())
		if err != nil {
			return err
		}
		defer c.Close()
		client := dns.Client{Timeout: patience}
		answer, _, err = client.ExchangeWithConnContext(ctx, q, &dns.Conn{Conn: c})
		return err
	})
	return answer, err
}
