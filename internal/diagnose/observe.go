package diagnose

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// observer gathers facts about one scope.
type observer struct {
	facts []evidence.Fact
	addr  netip.AddrPort
}

func (o *observer) add(k evidence.Key, v evidence.Value, source string, at time.Duration, text string, args ...any) {
	if v == "" {
		return
	}
	o.facts = append(o.facts, evidence.Fact{Key: k, Value: v, Source: source, At: at, Addr: o.addr, Text: fmt.Sprintf(text, args...)})
}

func yesNo(b bool) evidence.Value {
	if b {
		return evidence.Yes
	}
	return evidence.No
}

// Observe derives the facts of a set, numbered e1, e2, … in a fixed order.
// Facts about the name come first.
func Observe(s *evidence.Set) []evidence.Fact {
	facts := observeName(s)
	for i := range s.Addresses {
		facts = append(facts, ObserveAddress(s, &s.Addresses[i])...)
	}
	for i := range facts {
		facts[i].ID = evidence.ID(fmt.Sprintf("e%d", i+1))
	}
	return facts
}

// ObserveAddress derives the facts about one address. They are numbered for
// use on their own; Observe numbers all facts of a set anew.
func ObserveAddress(s *evidence.Set, a *evidence.Address) []evidence.Fact {
	o := &observer{addr: a.Addr}
	v := newView(s, a)
	o.local(v)
	o.connect(v)
	o.icmp(v)
	o.distance(v)
	o.path(v)
	o.probes(v)
	o.session(v)
	o.host(v)
	if a.Host != nil {
		o.told(v.hosted())
	}
	o.unreached(v)
	o.lostHere(v)
	for i := range o.facts {
		o.facts[i].ID = evidence.ID(fmt.Sprintf("e%d", i+1))
	}
	return o.facts
}

// ms prints a duration as a person would.
func ms(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.0f ms", float64(d)/1e6)
	default:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
