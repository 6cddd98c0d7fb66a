package tcpflow

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// maxAnswerAddrs bounds the addresses kept of an answer.
const maxAnswerAddrs = 16

// resolver gathers the DNS lookups of a capture.
type resolver struct {
	lookups []Lookup
	open    map[question]int // without an answer, by place in lookups
	lost    uint64
}

type question struct {
	client, server netip.AddrPort
	id, typ        uint16
	name           string
}

// dnsHeader is the length of the header, RFC 1035 section 4.1.1.
const dnsHeader = 12

func (r *resolver) apply(b *batch) {
	for _, i := range b.dns {
		d, data := b.segment(&packet{number: i})
		if d.Payload >= d.End {
			continue
		}
		message := data[d.Payload:d.End]
		if d.Payload-d.L4 >= 20 { // TCP, where each message has its length before it
			if len(message) < 2 {
				continue
			}
			n := int(binary.BigEndian.Uint16(message))
			message = message[2:]
			message = message[:min(n, len(message))]
		}
		// One question: that of a stream on this port, in the middle, says other.
		if len(message) < dnsHeader || binary.BigEndian.Uint16(message[4:]) != 1 {
			continue
		}
		src, dst := d.Addrs(data)
		sp, dp := d.Ports(data)
		r.message(Time(b.Records[i].Time), netip.AddrPortFrom(src, sp), netip.AddrPortFrom(dst, dp), message)
	}
}

// message takes a question or an answer.
func (r *resolver) message(at Time, src, dst netip.AddrPort, b []byte) {
	var m dns.Msg
	// What is cut in the answers has its questions yet.
	err := m.Unpack(b)
	if len(m.Question) != 1 {
		return
	}
	q := m.Question[0]
	key := question{client: src, server: dst, id: m.Id, typ: q.Qtype, name: strings.ToLower(q.Name)}
	if !m.Response {
		if src.Port() == 53 && dst.Port() != 53 {
			return
		}
		if i, ok := r.open[key]; ok {
			r.lookups[i].Tries++
			return
		}
		if l := r.add(key, q.Name); l != nil {
			l.Asked, l.Tries = at, 1
			r.open[key] = len(r.lookups) - 1
		}
		return
	}
	key.client, key.server = dst, src
	var l *Lookup
	if i, ok := r.open[key]; ok {
		l = &r.lookups[i]
		delete(r.open, key)
	} else if l = r.add(key, q.Name); l == nil {
		return
	}
	l.Answered, l.RCode, l.Truncated = at, m.Rcode, m.Truncated || err != nil
	for _, rr := range m.Answer {
		if len(l.Addrs) == maxAnswerAddrs {
			break
		}
		switch rr := rr.(type) {
		case *dns.A:
			if a, ok := netip.AddrFromSlice(rr.A.To4()); ok {
				l.Addrs = append(l.Addrs, a)
			}
		case *dns.AAAA:
			if a, ok := netip.AddrFromSlice(rr.AAAA.To16()); ok {
				l.Addrs = append(l.Addrs, a)
			}
		}
	}
}

// add begins a lookup; nil when there are too many.
func (r *resolver) add(q question, name string) *Lookup {
	if len(r.lookups) == MaxLookups {
		r.lost++
		return nil
	}
	if r.open == nil {
		r.open = map[question]int{}
	}
	r.lookups = append(r.lookups, Lookup{Client: q.client, Server: q.server, Name: visible(name), Type: q.typ})
	return &r.lookups[len(r.lookups)-1]
}

// visible escapes what is not printable ASCII. The DNS library has done so for
// most of it.
func visible(name string) string {
	name = strings.TrimSuffix(name, ".")
	if strings.IndexFunc(name, func(c rune) bool { return c < ' ' || c > '~' }) < 0 {
		return name
	}
	quoted := strconv.QuoteToASCII(name)
	return quoted[1 : len(quoted)-1]
}
