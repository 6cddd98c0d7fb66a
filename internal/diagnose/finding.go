package diagnose

import (
	"fmt"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// finding is the answer in one sentence for a cause that is certain.
func (v *view) finding(c *cause.Cause) string {
	if c.Stage == cause.StageName {
		return v.nameFinding(c)
	}
	if text := v.hostFinding(c); text != "" {
		return text
	}
	if v.main == nil {
		return c.Title
	}
	addr, port := v.addr(), v.a.Addr.Port()
	router := "a router"
	if v.icmp != nil && v.icmp.From.IsValid() {
		router = v.icmp.From.String()
	}
	last := "this host"
	if h, ok := hopAt(v.a.Path, lastHop(v.a.Path)); ok {
		last = h.Addr.String()
	}
	switch c.ID {
	case verdict.None:
		return v.works()
	case "no-listener":
		return fmt.Sprintf("nothing listens on port %d of %v", port, addr)
	case "listens-on-loopback", "listens-elsewhere":
		if l := v.a.Listeners; l != nil && len(l.OnPort) > 0 {
			return fmt.Sprintf("port %d is listened on at %v only, not at %v%s", port, l.OnPort[0].Addr.Addr(), addr, by(&l.OnPort[0]))
		}
	case "no-route":
		return fmt.Sprintf("this host has no route to %v", addr)
	case "route-rejects":
		if r := v.a.Route; r != nil && r.RejectedBy != "" {
			return fmt.Sprintf("a policy routing rule here rejects packets to %v: %s", v.a.Addr, r.RejectedBy)
		} else if r != nil && (r.Type == "unicast" || r.Type == "local") {
			return fmt.Sprintf("a policy routing rule here rejects packets to %v (%s)", v.a.Addr, v.main.Errno)
		} else if r != nil {
			return fmt.Sprintf("a route of type %s here rejects packets to %v (%s)", r.Type, addr, orWord(r.Prefix, v.main.Errno))
		}
	case "neighbour-unreachable":
		return fmt.Sprintf("%v is on the own link and answers no ARP or ND request", addr)
	case "gateway-unreachable":
		if r := v.a.Route; r != nil {
			return fmt.Sprintf("the gateway %v answers no ARP or ND request", r.Gateway)
		}
	case "ports-exhausted":
		return fmt.Sprintf("all ephemeral ports of this host are in use towards %v", v.a.Addr)
	case "source-address-missing":
		return fmt.Sprintf("the source address %v asked for is not on this host", v.set.Options.Source)
	case "source-port-busy":
		return fmt.Sprintf("source port %d is already in use on this host", v.set.Options.SourcePort)
	case "too-many-open-files":
		return fmt.Sprintf("no socket could be made: the limit of open descriptors is reached (%s)", v.main.Errno)
	case "local-firewall-drop", "local-firewall-reject":
		return v.ownFinding(c)
	case "path-no-route":
		return fmt.Sprintf("router %s has no route to %v", router, addr)
	case "path-prohibited":
		return fmt.Sprintf("router %s refuses by rule (ICMP administratively prohibited)", router)
	case "path-firewall-reject":
		return fmt.Sprintf("a firewall at %s rejects connections to port %d", router, port)
	case "path-firewall-reset":
		return fmt.Sprintf("a firewall on the way resets connections to port %d in the place of %v", port, addr)
	case "path-firewall-drop":
		switch {
		case v.main.Connected:
			return fmt.Sprintf("a firewall lets the SYN to port %d of %v pass and drops what follows", port, addr)
		case v.a.Path == nil:
			return fmt.Sprintf("a firewall drops SYNs to port %d before %v", port, addr)
		}
		return fmt.Sprintf("a firewall drops SYNs to port %d behind %s, before %v", port, last, addr)
	case "routing-loop":
		return fmt.Sprintf("packets to %v circle: %s", addr, loopText(v.a.Path))
	case "host-down":
		return fmt.Sprintf("nobody has the address %v: %s got no answer for it on its link", addr, router)
	case "host-firewall-reject":
		return fmt.Sprintf("%v itself rejects connections to port %d by a firewall rule (ICMP)", addr, port)
	case "nat-dead-backend":
		if r := v.translates(); r != nil {
			return fmt.Sprintf("a rule of this host leads port %d of %v to %v, which does not serve%s", port, addr, r.NAT, ruleText(r.NATRule))
		}
		return fmt.Sprintf("port %d of %v is forwarded (NAT) to a backend that does not serve", port, addr)
	case "accept-queue-full":
		return fmt.Sprintf("the accept queue of port %d is full: the application does not accept fast enough", port)
	case "syn-proxy-dead-backend":
		return fmt.Sprintf("something in front of %v completes the handshake on port %d, the backend behind it then resets", addr, port)
	case "mtu-blackhole":
		return fmt.Sprintf("the handshake with %v works, but full-size segments vanish on the way", v.a.Addr)
	case "reset-on-accept":
		return fmt.Sprintf("%v accepts connections and resets them at once", v.a.Addr)
	case "closed-on-accept":
		return fmt.Sprintf("%v accepts connections and closes them at once without a byte", v.a.Addr)
	case "tls-failed":
		if t := v.tls(); t != nil {
			return fmt.Sprintf("the TLS handshake with %v fails: %s", v.a.Addr, orWord(t.Detail, t.Problem))
		}
	case "wrong-protocol":
		if s := v.a.Session; s != nil {
			return fmt.Sprintf("%v speaks %s where %s was expected", v.a.Addr, orWord(protocol(s.Got), "another protocol"), orWord(protocol(s.Expect), "TLS"))
		}
	case "http-gateway-error":
		if s := v.a.Session; s != nil && s.HTTP != nil {
			return fmt.Sprintf("the proxy at %v answers, but cannot reach what is behind it (HTTP status %d)", v.a.Addr, s.HTTP.Status)
		}
	}
	return fmt.Sprintf("%s (%v)", c.Title, v.a.Addr)
}

func (v *view) tls() *evidence.TLS {
	if v.a.Session == nil {
		return nil
	}
	return v.a.Session.TLS
}

// works says what was seen to work, and no more.
func (v *view) works() string {
	text := v.worked()
	if n := len(v.a.Attempts); n > 1 {
		text += fmt.Sprintf("; all of %d connects succeed", n)
	}
	if s := v.a.Session; s != nil && s.Idle != nil {
		text += fmt.Sprintf("; a connection idle for %s survives", ms(s.Idle.Survived))
	}
	return text
}

func (v *view) worked() string {
	took := ms(v.main.Took)
	s := v.a.Session
	switch {
	case s == nil && v.set.Interrupted:
		return fmt.Sprintf("the TCP handshake took %s; then the run was stopped", took)
	case s == nil:
		return fmt.Sprintf("the TCP handshake took %s; the application was not asked", took)
	case s.Again == "answered" && s.End == "rst":
		return fmt.Sprintf("the TCP handshake took %s; the first connection was reset, a second one answered", took)
	case s.Again == "answered":
		return fmt.Sprintf("the TCP handshake took %s; the first connection was not served, a second one was", took)
	case s.Received > 0 && s.TLS != nil && s.TLS.OK:
		return fmt.Sprintf("TCP in %s, %s, and the application answers", took, orWord(s.TLS.Version, "TLS"))
	case s.Received > 0:
		return fmt.Sprintf("TCP in %s, and %s answers", took, orWord(protocol(s.Got), "the application"))
	}
	return fmt.Sprintf("the TCP handshake took %s; what the application does was not asked", took)
}

// narrowed is the answer in one sentence when several causes are left: what
// was seen, without choosing.
func (v *view) narrowed(d *Differential, first *left) string {
	if v.main == nil && v.a.Host != nil {
		return v.hostNarrowed(d, first)
	}
	if first.cause.ID == verdict.None {
		return v.works()
	}
	if first.cause.Stage == cause.StageName {
		return v.nameFinding(first.cause)
	}
	if v.main == nil {
		return first.cause.Title
	}
	addr, port := v.addr(), v.a.Addr.Port()
	seen := func(k evidence.Key) evidence.Value {
		for _, f := range d.facts {
			if f.Key == k {
				return f.Value
			}
		}
		return ""
	}
	switch {
	case v.kind == evidence.AnswerRST && seen(evidence.AnswerFrom) == evidence.DistanceNearer:
		return fmt.Sprintf("a RST that does not come from as far away as %v refuses port %d", addr, port)
	case v.kind == evidence.AnswerRST:
		return fmt.Sprintf("a RST refuses port %d of %v: nothing accepts there, or a firewall says so in its place", port, addr)
	case v.kind == evidence.AnswerICMP && seen(evidence.ICMPFrom) == evidence.FromHere:
		return fmt.Sprintf("this host itself gave up on %v", addr)
	case v.kind == evidence.AnswerICMP:
		return fmt.Sprintf("%v answers with ICMP %s", v.icmp.From, icmpWords[seen(evidence.ICMPCode)])
	case v.kind == evidence.AnswerSYNACK:
		return fmt.Sprintf("%v completes the handshake, but the session fails", v.a.Addr)
	case v.inCall():
		return fmt.Sprintf("%s() to %v fails on this host with %s", v.main.Syscall, v.a.Addr, v.main.Errno)
	case seen(evidence.SynLeft) == evidence.No:
		return fmt.Sprintf("SYNs to port %d never leave this host", port)
	case seen(evidence.ProbeACK) == evidence.ProbeRST:
		return fmt.Sprintf("SYNs to port %d of %v go unanswered, though other segments to it are answered", port, addr)
	case seen(evidence.HostAnswers) == evidence.Yes:
		return fmt.Sprintf("SYNs to port %d go unanswered, though %v answers otherwise", port, addr)
	case seen(evidence.HostAnswers) == evidence.ResetsOnly:
		return fmt.Sprintf("SYNs to port %d of %v go unanswered, though a RST comes back for a closed port", port, addr)
	case seen(evidence.HostAnswers) == evidence.No:
		return fmt.Sprintf("nothing that was sent to %v was answered%s", addr, v.lastText())
	}
	return fmt.Sprintf("SYNs to port %d of %v go unanswered", port, addr)
}

func (v *view) lastText() string {
	n := lastHop(v.a.Path)
	if n == 0 {
		return ""
	}
	h, _ := hopAt(v.a.Path, n)
	return fmt.Sprintf("; the last router heard is %v, %s away", h.Addr, plural(n, "hop", "hops"))
}

// nameFinding is the answer for a cause of stage name.
func (v *view) nameFinding(c *cause.Cause) string {
	n := v.set.Name
	host := v.set.Target.Host
	if n == nil {
		return c.Title
	}
	_, q := worst(n.Queries)
	server := "the name server"
	if q != nil {
		server = "name server " + q.Server.Addr().String()
	}
	switch c.ID {
	case "name-not-found":
		return fmt.Sprintf("the name %s does not exist, says %s", host, server)
	case "name-no-address":
		return fmt.Sprintf("the name %s exists but has no address, says %s", host, server)
	case "dns-server-failure":
		return fmt.Sprintf("%s fails to answer for %s (SERVFAIL)", server, host)
	case "dns-query-refused":
		return fmt.Sprintf("%s refuses to answer for %s (REFUSED)", server, host)
	case "dns-timeout":
		return fmt.Sprintf("no name server answers (%s)", servers(n.Queries))
	case "dns-unreachable":
		return fmt.Sprintf("%s cannot be reached on port 53 (%s)", server, errnoOf(q))
	case "dns-no-server":
		return "no usable name server is configured"
	case "dns-cname-broken":
		return fmt.Sprintf("the name %s is an alias that loops or leads to nothing", host)
	case "hosts-file-override":
		return fmt.Sprintf("the hosts file sends %s to %s, DNS says %s", host, addrList(n.Addrs), addrList(answered(n)))
	case "dns-search-suffix":
		return fmt.Sprintf("the answer is for %s, not for %s", n.FullName, host)
	case "name-points-to-self":
		return fmt.Sprintf("%s resolves to %s, this host itself", host, addrList(n.Addrs))
	case "dns-slow":
		if q := firstDead(n); q != nil {
			return fmt.Sprintf("name server %v, which programs ask first, does not answer: each lookup waits for it", q.Server.Addr())
		}
		return fmt.Sprintf("resolving %s took %s", host, ms(n.Took))
	case "dns-stale-address":
		return fmt.Sprintf("the name servers disagree about the address of %s", host)
	}
	return c.Title + ": " + host
}

func errnoOf(q *evidence.Query) string {
	if q == nil {
		return "no answer"
	}
	return orWord(q.Errno, orWord(q.Err, "no answer"))
}

// mixed is the answer when addresses of the name fare differently.
func (v *view) mixed(d *verdict.Diagnosis, nv verdict.Verdict) string {
	var works, fails []string
	for _, a := range d.Addresses {
		if a.Outcome == verdict.Open {
			works = append(works, a.Addr.Addr().String())
		} else {
			why := string(a.Outcome)
			if a.Verdict.Certainty == verdict.Certain {
				why = string(a.Verdict.Cause)
			}
			fails = append(fails, fmt.Sprintf("%v (%s)", a.Addr.Addr(), why))
		}
	}
	short := func(s []string) string {
		const most = 3
		if len(s) > most {
			return strings.Join(s[:most], ", ") + fmt.Sprintf(" and %d more", len(s)-most)
		}
		return strings.Join(s, ", ")
	}
	what := "some addresses of " + v.set.Target.Host + " fail"
	if nv.Cause == "address-family-broken" {
		what = "one address family of " + v.set.Target.Host + " fails"
	}
	return fmt.Sprintf("%s: %s; %s", what, short(fails), plural(len(works), "address works", "addresses work")+": "+short(works))
}
