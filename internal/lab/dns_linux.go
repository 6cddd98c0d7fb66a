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

// resolver is the address of the name server that the client is given: on r1,
// or nowhere where there is none.
func (l *Lab) resolver() netip.Addr {
	if _, ok := l.machines[R1]; ok {
		return l.Addr(R1)
	}
	return l.Addr(Server)
}

// resolve serves a zone at the resolver, over UDP and TCP.
func (l *Lab) resolve(z zone) {
	at := netip.AddrPortFrom(l.resolver(), 53)
	ln := l.listen(R1, at)
	if ln == nil {
		return
	}
	var pc net.PacketConn
	err := l.Do(R1, func() (err error) {
		pc, err = new(net.ListenConfig).ListenPacket(l.ctx, "udp", at.String())
		return err
	})
	if err != nil {
		l.fail(fmt.Errorf("name server: %w", err))
		return
	}
	l.closers = append(l.closers, pc)
	l.serving.Go(func() {
		buf := make([]byte, dns.MaxMsgSize)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return // closed with the lab
			}
			if b := z.answer(buf[:n]); b != nil {
				pc.WriteTo(b, from)
			}
		}
	})
	l.accept(ln, func(c net.Conn) {
		for conn := (&dns.Conn{Conn: c}); ; {
			q, err := conn.ReadMsgHeader(nil)
			if err != nil {
				return
			}
			if b := z.answer(q); b != nil {
				if _, err := conn.Write(b); err != nil {
					return
				}
			}
		}
	})
}

// answer makes the answer to a query, nil for none.
func (z zone) answer(query []byte) []byte {
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

func (z zone) fill(r *dns.Msg, q dns.Question) {
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

func (z zone) lookup(name string) ([]string, bool) {
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
