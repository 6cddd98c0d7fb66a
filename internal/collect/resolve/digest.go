package resolve

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

const (
	maxChain  = 32 // aliases followed
	maxErrors = 3  // extended errors shown
)

// digest reads msg into r if it is the answer to the question, and says
// whether it is. It leaves r alone if not: the ID, the question or the form is
// wrong.
func digest(msg []byte, id uint16, q question, r *reply) bool {
	var m dns.Msg
	err := m.Unpack(msg)
	if len(msg) < 12 || m.Id != id || !m.Response || m.Opcode != dns.OpcodeQuery || !q.asked(&m) {
		return false
	}
	if err != nil && !m.Truncated { // a truncated one may end anywhere
		return false
	}
	r.rcode, r.Rcode = m.Rcode, rcodeName(m.Rcode)
	r.Authoritative, r.Truncated = m.Authoritative, m.Truncated
	r.ExtendedError = extendedError(&m)
	r.Addrs, r.more, r.MinTTL, r.CNAMEs, r.CNAMELoop = nil, 0, 0, nil, false
	if !m.Truncated { // RFC 2181 section 9: what is left is not to be used
		r.follow(m.Answer, q)
	}
	return true
}

// asked compares the question in the answer. Servers may leave it out of an
// error that they give without looking at it.
func (q question) asked(m *dns.Msg) bool {
	if len(m.Question) == 0 {
		switch m.Rcode {
		case dns.RcodeFormatError, dns.RcodeServerFailure, dns.RcodeNotImplemented, dns.RcodeRefused:
			return true
		}
		return false
	}
	got := m.Question[0]
	return len(m.Question) == 1 && got.Qtype == q.qtype && got.Qclass == dns.ClassINET && strings.EqualFold(got.Name, q.name)
}

// follow walks the alias chain through the answer and takes the addresses at
// its end; records of other owners are none of our business.
func (r *reply) follow(answer []dns.RR, q question) {
	name := q.name
	seen := map[string]bool{dns.CanonicalName(name): true}
	ttl := ^uint32(0)
	for {
		alias := aliasOf(answer, name)
		if alias == nil {
			break
		}
		name, ttl = alias.Target, min(ttl, alias.Hdr.Ttl)
		r.CNAMEs = append(r.CNAMEs, clean(trimDot(name)))
		switch key := dns.CanonicalName(name); {
		case seen[key]:
			r.CNAMELoop = true
			return
		case len(r.CNAMEs) == maxChain:
			r.Err = fmt.Sprintf("more than %d aliases", maxChain)
			return
		default:
			seen[key] = true
		}
	}
	for _, rr := range answer {
		addr, ok := addrOf(rr, q.qtype)
		if !ok || !strings.EqualFold(rr.Header().Name, name) {
			continue
		}
		ttl = min(ttl, rr.Header().Ttl)
		if len(r.Addrs) < maxAddrs {
			r.Addrs = append(r.Addrs, addr)
		} else {
			r.more++
		}
	}
	if len(r.Addrs)+len(r.CNAMEs) > 0 {
		r.MinTTL = ttl
	}
}

func aliasOf(answer []dns.RR, name string) *dns.CNAME {
	for _, rr := range answer {
		if c, ok := rr.(*dns.CNAME); ok && c.Hdr.Class == dns.ClassINET && strings.EqualFold(c.Hdr.Name, name) {
			return c
		}
	}
	return nil
}

func addrOf(rr dns.RR, qtype uint16) (addr netip.Addr, ok bool) {
	switch rr := rr.(type) {
	case *dns.A:
		if qtype == dns.TypeA && rr.Hdr.Class == dns.ClassINET {
			addr, ok = netip.AddrFromSlice(rr.A)
			return addr.Unmap(), ok
		}
	case *dns.AAAA:
		if qtype == dns.TypeAAAA && rr.Hdr.Class == dns.ClassINET {
			return netip.AddrFromSlice(rr.AAAA)
		}
	}
	return netip.Addr{}, false
}

func rcodeName(rcode int) string {
	if s, ok := dns.RcodeToString[rcode]; ok {
		return s
	}
	return fmt.Sprintf("RCODE%d", rcode)
}

// extendedError gives the RFC 8914 errors as "22 (No Reachable Authority): text".
func extendedError(m *dns.Msg) string {
	opt := m.IsEdns0()
	if opt == nil {
		return ""
	}
	var all []string
	for _, o := range opt.Option {
		e, ok := o.(*dns.EDNS0_EDE)
		if !ok || len(all) == maxErrors {
			continue
		}
		s := fmt.Sprint(e.InfoCode)
		if name, ok := dns.ExtendedErrorCodeToString[e.InfoCode]; ok {
			s += " (" + name + ")"
		}
		if e.ExtraText != "" {
			s += ": " + clean(e.ExtraText)
		}
		all = append(all, s)
	}
	return strings.Join(all, "; ")
}
