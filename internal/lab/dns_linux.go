package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// zone is what a name server says. A name it has no records for does not exist,
// unless rcode says something else about every name.
type zone struct {
	addrs  map[string][]string // addresses by name, "*.example." being a wildcard
	cname  map[string]string   // aliases
	rcode  int                 // the same answer for all, if not 0
	why    *dns.EDNS0_EDE      // the reason for it, for who understands that
	silent bool                // reads and never answers
	late   time.Duration       // how long each answer takes
	cut    bool                // over UDP, only the part of an answer that has no records
}

// nameServer answers at one host, over UDP and TCP.
type nameServer struct {
	l    *Lab
	zone atomic.Pointer[zone]
	udp  net.PacketConn
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

// resolvers gives the user these name servers, in this order, and no other.
func (l *Lab) resolvers(at ...netip.Addr) {
	var lines strings.Builder
	for _, a := range at {
		fmt.Fprintf(&lines, "nameserver %v\n", a)
	}
	l.file("/etc/resolv.conf", lines.String())
}

// resolve serves a zone at the resolver, in place of the one that was served
// before.
func (l *Lab) resolve(z zone) { l.resolveAt(l.nameServer(), z) }

// resolveAt is resolve at another host.
func (l *Lab) resolveAt(host string, z zone) {
	if s := l.names[host]; s != nil {
		s.zone.Store(&z)
		return
	}
	s := &nameServer{l: l}
	s.zone.Store(&z)
	at := netip.AddrPortFrom(l.Addr(host), 53)
	l.serveAt(host, at, s.answerTCP)
	if l.err != nil {
		return
	}
	err := l.Do(host, func() (err error) {
		s.udp, err = new(net.ListenConfig).ListenPacket(l.ctx, "udp", at.String())
		return err
	})
	if err != nil {
		l.fail(fmt.Errorf("name server: %w", err))
		return
	}
	l.names[host] = s
	l.closers = append(l.closers, s.udp)
	l.serving.Go(s.answerUDP)
}

// unresolve ends the resolver.
func (l *Lab) unresolve() {
	host := l.nameServer()
	l.stop(host, 53)
	if s := l.names[host]; s != nil {
		delete(l.names, host)
		// A process that is just being started has a copy of the socket until it
		// executes its program. Connected elsewhere, no copy takes a question.
		if c, err := s.udp.(*net.UDPConn).SyscallConn(); err == nil {
			c.Control(func(fd uintptr) { unix.Connect(int(fd), sockaddr(loopback(l, 9))) })
		}
		if err := s.udp.Close(); err != nil {
			l.fail(err)
		}
	}
}

func (s *nameServer) answerUDP() {
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, from, err := s.udp.ReadFrom(buf)
		if err != nil {
			return // closed with the lab
		}
		if b, z := s.answer(buf[:n], true); b != nil {
			s.l.serving.Go(func() {
				if s.l.pause(z.late) {
					s.udp.WriteTo(b, from)
				}
			})
		}
	}
}

func (s *nameServer) answerTCP(c net.Conn) {
	for conn := (&dns.Conn{Conn: c}); ; {
		q, err := conn.ReadMsgHeader(nil)
		if err != nil {
			return
		}
		if b, z := s.answer(q, false); b != nil && s.l.pause(z.late) {
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	}
}

// pause waits; it is false when the lab ends before.
func (l *Lab) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-l.ctx.Done():
		return false
	}
}

// answer makes the answer to a query, nil for none, and says from which zone.
func (s *nameServer) answer(query []byte, udp bool) ([]byte, *zone) {
	z := s.zone.Load()
	var q dns.Msg
	if z.silent || q.Unpack(query) != nil || len(q.Question) != 1 {
		return nil, z
	}
	r := new(dns.Msg).SetReply(&q)
	r.RecursionAvailable = true
	switch {
	case z.cut && udp:
		r.Truncated = true
	case z.rcode != dns.RcodeSuccess:
		r.Rcode = z.rcode
	default:
		z.fill(r, q.Question[0])
	}
	if q.IsEdns0() != nil {
		r.SetEdns0(dns.DefaultMsgSize, false)
		if z.why != nil {
			r.IsEdns0().Option = append(r.IsEdns0().Option, z.why)
		}
	}
	b, err := r.Pack()
	if err != nil {
		return nil, z
	}
	return b, z
}

func (z *zone) fill(r *dns.Msg, q dns.Question) {
	header := func(name string, rrtype uint16) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: 60}
	}
	name := q.Name
	// A loop of aliases, or very many, are cut, as resolvers do.
	for range 8 {
		to, ok := z.cname[strings.ToLower(name)]
		if !ok {
			break
		}
		r.Answer = append(r.Answer, &dns.CNAME{Hdr: header(name, dns.TypeCNAME), Target: to})
		name = to
	}
	if _, more := z.cname[strings.ToLower(name)]; more {
		return
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

// ask asks a name server for a name from where the user sits, with so much
// patience for the answer. network is "udp" or "tcp".
func (l *Lab) ask(ctx context.Context, network string, server netip.Addr, name string, patience time.Duration) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(name, pick(l, dns.TypeA, dns.TypeAAAA)).SetEdns0(dns.DefaultMsgSize, false)
	var answer *dns.Msg
	err := l.Do(l.Scenario.From, func() error {
		d := net.Dialer{Timeout: patience}
		c, err := d.DialContext(ctx, network, netip.AddrPortFrom(server, 53).String())
		if err != nil {
			return err
		}
		defer c.Close()
		client := dns.Client{Net: network, Timeout: patience}
		answer, _, err = client.ExchangeWithConnContext(ctx, q, &dns.Conn{Conn: c})
		return err
	})
	return answer, err
}
