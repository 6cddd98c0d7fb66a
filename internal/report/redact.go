package report

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// Redactor replaces addresses, host names, hardware addresses, users and named
// interfaces by placeholders, the same original always by the same one: all
// that one Redactor was given can be compared. Its zero value is not ready; it
// is not safe for use by several goroutines.
//
// Placeholders are what documentation uses, and keep what a reader of a report
// needs: addresses of one /24 (IPv6: /64) stay in one network, names keep their
// labels. Loopback, unspecified, broadcast and multicast addresses, link-local
// prefixes, "localhost" and the kernel's own interface names stay.
//
// What a server says in words of its own may hold anything and is replaced only
// where it can be recognised.
type Redactor struct {
	names places
	// originals are what was met so far; none of them becomes a placeholder.
	originals map[string]bool
}

// redactedNote says in every form of a report that it was redacted.
const redactedNote = "redacted: addresses, names and users are placeholders, the same one for the same original"

// NewRedactor returns a Redactor that has met nothing.
func NewRedactor() *Redactor {
	return &Redactor{names: newPlaces(nil), originals: map[string]bool{}}
}

// Redact returns a copy of a diagnosis with placeholders, which says so.
func (r *Redactor) Redact(d *verdict.Diagnosis) *verdict.Diagnosis {
	// Once to meet everything, so that no placeholder is somebody's original.
	trial := &Redactor{names: newPlaces(nil), originals: map[string]bool{}}
	trial.copyOf(d)
	for _, s := range trial.names.met() {
		r.originals[s] = true
	}
	r.names.taken = r.originals
	out := r.copyOf(d)
	out.Redacted = true
	return out
}

func (r *Redactor) copyOf(d *verdict.Diagnosis) *verdict.Diagnosis {
	r.learn(&d.Set)
	// What a host told of itself is left out: no report shows more of it than the
	// facts, and it holds much that is nobody's business.
	from := *d
	from.Set.Addresses = slices.Clone(from.Set.Addresses)
	for i := range from.Set.Addresses {
		from.Set.Addresses[i].Host = nil
	}
	out := &verdict.Diagnosis{}
	r.walk(reflect.ValueOf(out).Elem(), reflect.ValueOf(&from).Elem(), "")
	return out
}

// learn takes in the names that the evidence holds as such: free text is then
// searched for them.
func (r *Redactor) learn(set *evidence.Set) {
	n := &r.names
	n.know(set.Target.Host, true)
	n.knowUser(set.Target.Input)
	if name := set.Name; name != nil {
		n.know(name.Host, true)
		n.know(name.FullName, false)
		for _, s := range name.Search {
			n.know(s, false)
		}
		for _, q := range name.Queries {
			n.know(q.Name, false)
			for _, c := range q.CNAMEs {
				n.know(c, false)
			}
		}
	}
	n.knowInterface(set.Options.Interface)
	for i := range set.Addresses {
		a := &set.Addresses[i]
		if s := a.Session; s != nil && s.TLS != nil {
			for _, c := range s.TLS.Names {
				n.know(c, false)
			}
			n.knowPhrase("issuer", s.TLS.Issuer)
		}
		for _, p := range a.Packets {
			n.knowInterface(p.Interface)
		}
		if a.Host != nil {
			r.learnHost(a.Host)
		}
		if a.Own != nil {
			r.learnRules(&a.Own.Firewall)
		}
		if a.Route != nil {
			n.knowInterface(a.Route.Interface)
			for _, l := range a.Route.DownLinks {
				n.knowInterface(l.Name)
			}
		}
	}
}

// learnHost takes in what the facts may quote of a host.
func (r *Redactor) learnHost(h *evidence.Host) {
	n := &r.names
	n.know(h.Name, true)
	for _, a := range h.Addresses {
		n.knowInterface(a.Interface)
	}
	if h.Watched != nil {
		for _, p := range h.Watched.Packets {
			n.knowInterface(p.Interface)
		}
	}
	if h.Service != nil {
		for _, l := range h.Service.Log {
			n.knowPhrase("log line", l.Text)
		}
	}
	if h.Firewall != nil {
		r.learnRules(h.Firewall)
	}
}

// learnRules takes in what people wrote into rules.
func (r *Redactor) learnRules(f *evidence.Firewall) {
	for _, list := range [][]evidence.RuleVerdict{f.Verdicts, f.Traces} {
		for _, v := range list {
			for _, rule := range []*evidence.Rule{v.Rule, v.NATRule} {
				if rule != nil {
					r.names.knowPhrase("comment", rule.Comment)
				}
			}
		}
	}
}

// wordFields hold a word out of few; every other string is searched, those that
// are added one day, too. Types of their own (evidence.Value, verdict.CauseID)
// hold such words as well.
var wordFields = map[string]bool{
	"Scheme": true, "Order": true, "AddrsFrom": true, "Net": true, "Type": true, "Rcode": true,
	"Errno": true, "Syscall": true, "State": true, "Method": true, "Answer": true, "Kind": true, "Flags": true,
	"Op": true, "Expect": true, "Got": true, "End": true, "Hello": true, "Version": true, "Problem": true,
	"Source": true, "OS": true, "Where": true,
}

// walk copies from into to, which is its zero value, with placeholders. The
// field is the name of the struct field that holds it.
func (r *Redactor) walk(to, from reflect.Value, field string) {
	switch v := from.Interface().(type) {
	case netip.Addr:
		to.Set(reflect.ValueOf(r.names.addr(v)))
		return
	case netip.AddrPort:
		to.Set(reflect.ValueOf(netip.AddrPortFrom(r.names.addr(v.Addr()), v.Port())))
		return
	case time.Time:
		to.Set(from)
		return
	case flow.Target:
		v.Input, v.Host, v.Addr = r.names.input(v.Input), r.names.host(v.Host), r.names.addr(v.Addr)
		to.Set(reflect.ValueOf(v))
		return
	case string:
		to.SetString(r.field(field, v))
		return
	}
	switch from.Kind() {
	case reflect.Struct:
		for i := range from.NumField() {
			r.walk(to.Field(i), from.Field(i), from.Type().Field(i).Name)
		}
	case reflect.Slice:
		if from.IsNil() {
			return
		}
		to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
		for i := range from.Len() {
			r.walk(to.Index(i), from.Index(i), field)
		}
	case reflect.Map:
		if from.IsNil() {
			return
		}
		to.Set(reflect.MakeMapWithSize(from.Type(), from.Len()))
		for it := from.MapRange(); it.Next(); {
			value := reflect.New(from.Type().Elem()).Elem()
			r.walk(value, it.Value(), field)
			to.SetMapIndex(it.Key(), value)
		}
	case reflect.Pointer:
		if from.IsNil() {
			return
		}
		to.Set(reflect.New(from.Type().Elem()))
		r.walk(to.Elem(), from.Elem(), field)
	default:
		to.Set(from)
	}
}

// field redacts the string of a struct field.
func (r *Redactor) field(name, s string) string {
	switch {
	case wordFields[name] && isWord(strings.ReplaceAll(strings.ReplaceAll(s, ",", ""), " ", "")) && !strings.Contains(s, "."):
		return s
	case name == "MAC":
		return r.names.mac(s)
	case name == "Interface" || name == "Interfaces" || name == "Device":
		return r.names.iface(s)
	case name == "Host" || name == "FullName" || name == "Search" || name == "CNAMEs" || name == "Names":
		return r.names.host(s)
	case name == "Name":
		if r.names.interfaces[s] {
			return r.names.iface(s)
		}
		return r.names.host(s)
	}
	return r.names.text(s)
}
