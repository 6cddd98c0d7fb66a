package sandbox

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Lie is what is wrong with the answers about a name.
type Lie string

const (
	NXDomain  Lie = "nxdomain"   // the name does not exist
	ServFail  Lie = "servfail"   // SERVFAIL
	Refuse    Lie = "refuse"     // REFUSED
	NoAnswer  Lie = "silent"     // no answer at all
	Truncate  Lie = "truncate"   // over UDP an empty answer with the TC bit
	Wrong     Lie = "wrong"      // another address
	CNAMELoop Lie = "cname-loop" // an alias that leads back to itself
	Slow      Lie = "slow"       // the answer comes late; goes with every other but silent
)

// AnyName stands for every name that has no fault of its own.
const AnyName = "*"

const (
	maxAliases = 8       // that one answer follows
	loopPrefix = "loop." // of the second name in a loop of aliases
)

// Fault is a lie about a name.
type Fault struct {
	// Name is fully qualified in lower case, or AnyName.
	Name  string
	Lie   Lie
	Addr  netip.Addr    // for Wrong
	Delay time.Duration // for Slow
}

// Zone is what a [NameServer] knows. It has authority over all names: one that
// it has no records for does not exist.
type Zone struct {
	Records []dns.RR
	Faults  []Fault
}

// ParseRecord reads a resource record as in a zone file (RFC 1035 section 5.1)
// with all names taken as fully qualified; TTL (60 s) and class may be left out.
func ParseRecord(s string) (dns.RR, error) {
	switch {
	case strings.ContainsAny(s, "\r\n"):
		return nil, errors.New("it has more than one line")
	case strings.HasPrefix(strings.TrimSpace(s), "$"): // $GENERATE makes many
		return nil, errors.New("it is a directive and no record")
	}
	z := dns.NewZoneParser(strings.NewReader(s+"\n"), ".", "")
	z.SetDefaultTTL(60)
	rr, ok := z.Next()
	switch err := z.Err(); {
	case err != nil:
		return nil, errors.New(strings.TrimPrefix(err.Error(), "dns: "))
	case !ok:
		return nil, errors.New("it has no record")
	case rr.Header().Class != dns.ClassINET:
		return nil, errors.New("its class is not IN")
	case data(rr) == "": // as in a dynamic update, RFC 2136
		return nil, errors.New("it has no data")
	}
	if _, err := dns.PackRR(rr, make([]byte, dns.MaxMsgSize), 0, nil, false); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "dns: "))
	}
	rr.Header().Name = dns.CanonicalName(rr.Header().Name)
	return rr, nil
}

// ParseName gives a name as a [Fault] has it.
func ParseName(s string) (string, error) {
	if s == AnyName {
		return s, nil
	}
	if _, ok := dns.IsDomainName(s); !ok || s == "" {
		return "", errors.New("it is no domain name")
	}
	return dns.CanonicalName(s), nil
}

// fault finds what is wrong with the answers about a name, nil for nothing.
func (z *Zone) fault(name string, slow bool) *Fault {
	var found *Fault
	for i, f := range z.Faults {
		if (f.Lie == Slow) != slow {
			continue
		}
		own := f.Name == name || f.Lie == CNAMELoop && loopPrefix+f.Name == name
		if own || f.Name == AnyName && found == nil {
			found = &z.Faults[i]
		}
		if own {
			break
		}
	}
	return found
}

// delay is how late the answer about a name comes.
func (z *Zone) delay(name string) time.Duration {
	if f := z.fault(dns.CanonicalName(name), true); f != nil {
		return f.Delay
	}
	return 0
}

// answer makes the answer to a query, nil for none. It does not fit it to a
// size.
func (z *Zone) answer(q *dns.Msg, udp bool) *dns.Msg {
	r := new(dns.Msg).SetReply(q)
	if opt := q.IsEdns0(); opt != nil {
		r.SetEdns0(udpSize, false)
		if opt.Version() != 0 { // RFC 6891 section 6.1.3
			r.Rcode = dns.RcodeBadVers
			return r
		}
	}
	if len(q.Question) != 1 {
		r.Rcode = dns.RcodeFormatError
		return r
	}
	question := q.Question[0]
	if question.Qclass != dns.ClassINET && question.Qclass != dns.ClassANY {
		r.Rcode = dns.RcodeRefused
		return r
	}
	r.Authoritative = true
	name := dns.CanonicalName(question.Name)
	f := z.fault(name, false)
	if f == nil {
		z.truth(r, question)
		return r
	}
	switch f.Lie {
	case NXDomain:
		r.Rcode = dns.RcodeNameError
		z.negative(r, name)
	case ServFail:
		r.Rcode, r.Authoritative = dns.RcodeServerFailure, false
	case Refuse:
		r.Rcode, r.Authoritative = dns.RcodeRefused, false
	case NoAnswer:
		return nil
	case Truncate:
		if r.Truncated = udp; !udp {
			z.truth(r, question)
		}
	case Wrong:
		if rr := address(question.Name, f.Addr); asked(rr, question.Qtype) {
			r.Answer = append(r.Answer, rr)
		}
	case CNAMELoop:
		r.Answer = append(r.Answer, alias(question.Name, other(name)))
		if other(name) != name {
			r.Answer = append(r.Answer, alias(other(name), name))
		}
	}
	return r
}

// other is the second name of a loop of aliases.
func other(name string) string {
	if first, ok := strings.CutPrefix(name, loopPrefix); ok && first != "" {
		return first
	}
	if _, ok := dns.IsDomainName(loopPrefix + name); !ok || name == "." {
		return name // as long as names can be: a loop of one
	}
	return loopPrefix + name
}

func alias(name, target string) dns.RR {
	return &dns.CNAME{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 60}, Target: target}
}

func address(name string, a netip.Addr) dns.RR {
	h := dns.RR_Header{Name: name, Class: dns.ClassINET, Ttl: 60}
	if a.Is4() {
		h.Rrtype = dns.TypeA
		return &dns.A{Hdr: h, A: a.AsSlice()}
	}
	h.Rrtype = dns.TypeAAAA
	return &dns.AAAA{Hdr: h, AAAA: a.AsSlice()}
}

// asked says whether a record is of the type that a question asks for.
func asked(rr dns.RR, qtype uint16) bool {
	return qtype == dns.TypeANY || rr.Header().Rrtype == qtype
}

// truth fills in what the records say, RFC 1034 section 4.3.2.
func (z *Zone) truth(r *dns.Msg, q dns.Question) {
	name := q.Name
	for range maxAliases {
		records, exists := z.lookup(dns.CanonicalName(name))
		var next string
		n := len(r.Answer)
		for _, rr := range records {
			cname, isAlias := rr.(*dns.CNAME)
			if !asked(rr, q.Qtype) && !isAlias {
				continue
			}
			rr = dns.Copy(rr)
			rr.Header().Name = name // as it was asked for, and not a wildcard
			r.Answer = append(r.Answer, rr)
			if isAlias && !asked(cname, q.Qtype) {
				next = cname.Target
			}
		}
		switch {
		case next != "":
			name = next
			continue
		case !exists:
			r.Rcode = dns.RcodeNameError
		}
		if n == len(r.Answer) {
			z.negative(r, dns.CanonicalName(name))
		}
		return
	}
}

// lookup finds the records of a name, or of the wildcard that covers it (RFC
// 4592), and says whether there is such a name.
func (z *Zone) lookup(name string) (records []dns.RR, exists bool) {
	if records, exists = z.at(name); exists {
		return records, true
	}
	for i, end := dns.NextLabel(name, 0); ; i, end = dns.NextLabel(name, i) {
		parent := name[i:]
		if end {
			parent = "."
		}
		wild := "*." + strings.TrimPrefix(parent, ".")
		if records, exists = z.at(wild); exists {
			return records, true
		}
		// The closest name that exists is where wildcards end.
		if _, exists = z.at(parent); exists || end {
			return nil, false
		}
	}
}

// at finds the records that a name itself has, and says whether it exists: a
// name exists, too, when one below it does.
func (z *Zone) at(name string) (records []dns.RR, exists bool) {
	for _, rr := range z.Records {
		switch owner := rr.Header().Name; {
		case owner == name:
			records, exists = append(records, rr), true
		case dns.IsSubDomain(name, owner):
			exists = true
		}
	}
	return records, exists
}

// negative puts the SOA record above a name, if there is one, into a negative
// answer, RFC 2308 section 3.
func (z *Zone) negative(r *dns.Msg, name string) {
	var best *dns.SOA
	for _, rr := range z.Records {
		soa, ok := rr.(*dns.SOA)
		if ok && dns.IsSubDomain(soa.Hdr.Name, name) && (best == nil || dns.CountLabel(soa.Hdr.Name) > dns.CountLabel(best.Hdr.Name)) {
			best = soa
		}
	}
	if best != nil {
		soa := *best
		soa.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
		r.Ns = append(r.Ns, &soa)
	}
}
