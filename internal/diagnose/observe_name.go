package diagnose

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// observeName derives the facts about the name as a whole.
func observeName(s *evidence.Set) []evidence.Fact {
	o := &observer{}
	if n := s.Name; n != nil {
		o.nameResult(n)
		o.system(n)
		if len(n.Addrs) > 0 && n.AddrsFrom != "literal" {
			o.nameOddities(s, n)
		}
	}
	o.outcomes(s)
	return o.facts
}

func (o *observer) nameResult(n *evidence.Name) {
	switch {
	case n.AddrsFrom == "literal":
		o.add(evidence.NameResult, evidence.NameLiteral, "resolve", n.At, "%s is an address, no name had to be resolved", n.Host)
		return
	case len(n.Addrs) > 0:
		o.add(evidence.NameResult, evidence.NameResolved, "resolve", n.At, "%s has %s: %s (from %s)", n.Host, plural(len(n.Addrs), "address", "addresses"), addrList(n.Addrs), orWord(n.AddrsFrom, "DNS"))
		return
	case n.Err != "":
		o.add(evidence.NameResult, evidence.NameNoServer, "resolve", n.At, "%s", n.Err)
		return
	}
	result, q := worst(n.Queries)
	if q == nil {
		return
	}
	at := q.At + q.Took
	switch result {
	case evidence.NameNXDomain:
		o.add(evidence.NameResult, result, "resolve", at, "name server %v says NXDOMAIN for %s after %s", q.Server, q.Name, ms(q.Took))
	case evidence.NameNoData:
		o.add(evidence.NameResult, result, "resolve", at, "name server %v knows %s but gives no address", q.Server, q.Name)
	case evidence.NameServFail:
		o.add(evidence.NameResult, result, "resolve", at, "name server %v says %s for %s after %s%s", q.Server, orWord(q.Rcode, "SERVFAIL"), q.Name, ms(q.Took), extended(q))
	case evidence.NameRefused:
		o.add(evidence.NameResult, result, "resolve", at, "name server %v says REFUSED for %s%s", q.Server, q.Name, extended(q))
	case evidence.NameTimeout:
		o.add(evidence.NameResult, result, "resolve", at, "no name server answered: %s, %s each", servers(n.Queries), plural(q.Tries, "try", "tries"))
	case evidence.NameUnreachable:
		o.add(evidence.NameResult, result, "resolve", at, "name server %v cannot be reached: %s", q.Server, orWord(q.Errno, q.Err))
	case evidence.NameTCPBlocked:
		o.add(evidence.NameResult, result, "resolve", at, "the answer of %v does not fit into a UDP datagram, and over TCP it fails: %s", q.Server, orWord(q.Errno, orWord(q.Err, "no answer")))
	case evidence.NameBrokenAlias:
		what := "leads to nothing"
		if q.CNAMELoop {
			what = "runs in a circle"
		}
		o.add(evidence.NameResult, result, "resolve", at, "%s is an alias that %s: %s", q.Name, what, strings.Join(q.CNAMEs[:min(len(q.CNAMEs), 4)], " -> "))
	}
}

// firstDead returns a query to the first configured server if that one gave no
// answer to any, though each was asked twice.
func firstDead(n *evidence.Name) (dead *evidence.Query) {
	for i := range n.Queries {
		q := &n.Queries[i]
		switch {
		case n.AddrsFrom != "dns" || q.Server != n.Servers[0]:
		case q.Rcode != "" || q.Errno != "" || !q.Timeout && q.Took < time.Second:
			return nil
		default:
			dead = q
		}
	}
	return dead
}

// system compares the system's own resolver with what was asked here. That it
// was not waited for tells nothing.
func (o *observer) system(n *evidence.Name) {
	s := n.System
	if s == nil || n.AddrsFrom == "literal" || len(s.Addrs) == 0 && s.Err != "not found" {
		return
	}
	switch {
	case n.AddrsFrom == "system":
		o.add(evidence.NameSystem, evidence.SystemOnly, "resolve", n.At, "the system's own resolver gives %s, the name servers give nothing", addrList(s.Addrs))
	case len(s.Addrs) == 0 && len(n.Addrs) > 0:
		o.add(evidence.NameSystem, evidence.SystemFails, "resolve", n.At, "the system's own resolver finds nothing, though %s", addrList(n.Addrs)+" is there")
	case len(s.Addrs) == 0 || overlap(s.Addrs, n.Addrs):
		o.add(evidence.NameSystem, evidence.SystemAgrees, "resolve", n.At, "the system's own resolver says the same")
	default:
		o.add(evidence.NameSystem, evidence.SystemDiffers, "resolve", n.At, "the system's own resolver gives %s instead", addrList(s.Addrs))
	}
}

func extended(q *evidence.Query) string {
	if q.ExtendedError == "" {
		return ""
	}
	return " (" + q.ExtendedError + ")"
}

// worst picks the query that explains why there are no addresses: a clear
// answer counts more than silence, and the plain name more than one with a
// search suffix.
func worst(qs []evidence.Query) (evidence.Value, *evidence.Query) {
	rank := []evidence.Value{evidence.NameTCPBlocked, evidence.NameBrokenAlias, evidence.NameNoData, evidence.NameNXDomain,
		evidence.NameServFail, evidence.NameRefused, evidence.NameUnreachable, evidence.NameTimeout}
	best, at := len(rank), -1
	for i := range qs {
		if r := slices.Index(rank, queryResult(qs, i)); r >= 0 && (r < best || r == best && len(qs[i].Name) < len(qs[at].Name)) {
			best, at = r, i
		}
	}
	if at < 0 {
		return "", nil
	}
	return rank[best], &qs[at]
}

func queryResult(qs []evidence.Query, i int) evidence.Value {
	q := &qs[i]
	switch {
	case q.Net == "tcp" && q.Rcode == "" && slices.ContainsFunc(qs, func(u evidence.Query) bool {
		return u.Net == "udp" && u.Truncated && u.Server == q.Server && u.Name == q.Name && u.Type == q.Type
	}):
		return evidence.NameTCPBlocked
	case q.Truncated:
		return ""
	case q.CNAMELoop, len(q.CNAMEs) > 0 && len(q.Addrs) == 0 && q.Rcode == "NXDOMAIN":
		return evidence.NameBrokenAlias
	case q.Rcode == "NOERROR" && len(q.Addrs) == 0 && len(q.CNAMEs) > 0 && !otherFamily(qs, q):
		return evidence.NameBrokenAlias
	case q.Rcode == "NOERROR" && len(q.Addrs) == 0 && !otherFamily(qs, q):
		return evidence.NameNoData
	case q.Rcode == "NXDOMAIN":
		return evidence.NameNXDomain
	case q.Rcode == "REFUSED":
		return evidence.NameRefused
	case q.Rcode != "" && q.Rcode != "NOERROR":
		return evidence.NameServFail
	case q.Errno != "":
		return evidence.NameUnreachable
	case q.Timeout:
		return evidence.NameTimeout
	}
	return ""
}

func otherFamily(qs []evidence.Query, q *evidence.Query) bool {
	return slices.ContainsFunc(qs, func(o evidence.Query) bool { return o.Name == q.Name && len(o.Addrs) > 0 })
}

func servers(qs []evidence.Query) string {
	var list []string
	for _, q := range qs {
		if s := q.Server.String(); !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return strings.Join(list, ", ")
}

func addrList(as []netip.Addr) string {
	const most = 4
	var b strings.Builder
	for i, a := range as {
		if i == most {
			b.WriteString(", …")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.String())
	}
	return b.String()
}

func (o *observer) nameOddities(s *evidence.Set, n *evidence.Name) {
	dns := answered(n)
	switch {
	case n.AddrsFrom != "files":
		o.add(evidence.NameHostsFile, evidence.HostsUnused, "resolve", n.At, "the hosts file has no say in it")
	case len(dns) == 0:
		o.add(evidence.NameHostsFile, evidence.HostsOnly, "resolve", n.At, "the hosts file gives the address, DNS gives none")
	case overlap(dns, n.Addrs):
		o.add(evidence.NameHostsFile, evidence.HostsAgrees, "resolve", n.At, "the hosts file decides and DNS says the same")
	default:
		o.add(evidence.NameHostsFile, evidence.HostsDiffers, "resolve", n.At, "the hosts file says %s, DNS says %s", addrList(n.Addrs), addrList(dns))
	}
	asked, full := strings.TrimSuffix(strings.ToLower(n.Host), "."), strings.TrimSuffix(strings.ToLower(n.FullName), ".")
	suffix := full != "" && full != asked && n.AddrsFrom == "dns"
	text := "the name was taken as typed"
	if suffix {
		text = "the answer is for " + full + ", not for " + asked
	}
	o.add(evidence.NameSuffix, yesNo(suffix), "resolve", n.At, "%s", text)
	o.serversAgree(n)
	self := slices.ContainsFunc(n.Addrs, func(a netip.Addr) bool { return a.IsLoopback() || a.IsUnspecified() }) || ownAll(s)
	if self && !localName(asked) {
		o.add(evidence.NamePointsTo, evidence.PointsSelf, "resolve", n.At, "%s resolves to %s, which is this host itself", n.Host, addrList(n.Addrs))
	} else {
		o.add(evidence.NamePointsTo, evidence.PointsElsewhere, "resolve", n.At, "the name does not lead back here by mistake")
	}
	if q := firstDead(n); q != nil {
		o.add(evidence.NameSpeed, evidence.SpeedSlow, "resolve", q.At+q.Took, "name server %v, which programs ask first, gave no answer in %s; another one did after %s", q.Server, ms(q.Took), ms(n.Took))
		return
	}
	const slow = 500 * time.Millisecond
	if n.Took >= slow && (s.Options.ConnectTimeout == 0 || n.Took*2 > s.Options.ConnectTimeout || n.Took > s.Elapsed/2) {
		o.add(evidence.NameSpeed, evidence.SpeedSlow, "resolve", n.At+n.Took, "resolving the name took %s", ms(n.Took))
	} else {
		o.add(evidence.NameSpeed, evidence.SpeedFast, "resolve", n.At+n.Took, "resolving the name took %s", ms(n.Took))
	}
}

// ownAll says that every address of the name is one of this host's.
func ownAll(s *evidence.Set) bool {
	return len(s.Addresses) > 0 && !slices.ContainsFunc(s.Addresses, func(a evidence.Address) bool { return a.Route == nil || !a.Route.Local })
}

func localName(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || name == "ip6-localhost" || name == "ip6-loopback"
}

// answered are the addresses that DNS gave, from whichever server.
func answered(n *evidence.Name) []netip.Addr {
	var as []netip.Addr
	for _, q := range n.Queries {
		for _, a := range q.Addrs {
			if !slices.Contains(as, a) {
				as = append(as, a)
			}
		}
	}
	return as
}

func overlap(a, b []netip.Addr) bool {
	return slices.ContainsFunc(a, func(x netip.Addr) bool { return slices.Contains(b, x) })
}

// serversAgree compares the address sets that the servers gave. Sets that
// overlap are load balancing, not disagreement.
func (o *observer) serversAgree(n *evidence.Name) {
	type key struct{ name, typ string }
	first := map[key]evidence.Query{}
	for _, q := range n.Queries {
		if len(q.Addrs) == 0 {
			continue
		}
		k := key{q.Name, q.Type}
		f, ok := first[k]
		if !ok {
			first[k] = q
			continue
		}
		if f.Server != q.Server && !overlap(f.Addrs, q.Addrs) {
			o.add(evidence.NameServers, evidence.No, "resolve", q.At, "name server %v says %s, %v says %s", f.Server, addrList(f.Addrs), q.Server, addrList(q.Addrs))
			return
		}
	}
	o.add(evidence.NameServers, evidence.Yes, "resolve", n.At, "no two name servers contradict each other")
}

// outcomes: do all addresses of the name fare alike?
func (o *observer) outcomes(s *evidence.Set) {
	var open, failed [2]int // IPv4, IPv6
	n, now := 0, 0
	for i := range s.Addresses {
		v := newView(s, &s.Addresses[i])
		if v.main == nil || v.noFamily() {
			continue // a program passes over a family that its host has not
		}
		n++
		f := 1
		if v.addr().Is4() || v.addr().Is4In6() {
			f = 0
		}
		switch {
		case !broken(v):
			open[f]++
		case v.varies():
			now++ // it may have failed by chance
		default:
			failed[f]++
		}
	}
	works, fails := open[0]+open[1], failed[0]+failed[1]
	if works == 0 {
		fails += now
	}
	switch {
	case n == 0:
	case n == 1 && fails == 1:
		o.add(evidence.NameOutcomes, evidence.OutcomesOne, "connect", 0, "there is one address to connect to")
	case fails == 0 && now > 0:
		o.add(evidence.NameOutcomes, evidence.OutcomesAllWork, "connect", 0, "of %d addresses none fails every time", n)
	case fails == 0:
		o.add(evidence.NameOutcomes, evidence.OutcomesAllWork, "connect", 0, "%s", plural(n, "address works", "addresses work"))
	case works == 0:
		o.add(evidence.NameOutcomes, evidence.OutcomesAllFail, "connect", 0, "all %d addresses fail", n)
	case open[0] > 0 && failed[0] == 0 && open[1] == 0:
		o.add(evidence.NameOutcomes, evidence.OutcomesFamilyFail, "connect", 0, "%s, %s", count(open[0], "IPv4", true), count(failed[1], "IPv6", false))
	case open[1] > 0 && failed[1] == 0 && open[0] == 0:
		o.add(evidence.NameOutcomes, evidence.OutcomesFamilyFail, "connect", 0, "%s, %s", count(open[1], "IPv6", true), count(failed[0], "IPv4", false))
	default:
		o.add(evidence.NameOutcomes, evidence.OutcomesSomeFail, "connect", 0, "of %d addresses, %d %s and %d %s", n, works, verb(works, "works", "work"), fails, verb(fails, "fails", "fail"))
	}
}

func count(n int, family string, works bool) string {
	s := "the " + family + " address"
	verb := " works"
	if !works {
		verb = " fails"
	}
	if n > 1 {
		s, verb = "all "+family+" addresses", strings.TrimSuffix(verb, "s")
	}
	return s + verb
}

// noFamily says that this host has no address of the target's family, so that
// programs do not try the address where there is another (RFC 6724, rule 1).
func (v *view) noFamily() bool {
	r := v.a.Route
	return v.inCall() && r != nil && r.Type == "" && len(r.FamilyAddrs) == 0 && !v.here
}

// broken says that a program would not be served at the address.
func broken(v *view) bool {
	return !v.main.Connected || v.a.Session != nil && v.a.Session.End != "" && v.a.Session.Received == 0
}
