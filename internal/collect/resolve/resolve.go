// Package resolve finds out what a host name resolves to, and from where: the
// hosts file, every configured name server by itself, and the system's own
// resolver beside them, in the order of nsswitch.conf(5).
//
// It follows the rules of the C library's stub resolver, but asks all servers
// at once and keeps every answer, because a difference between them is a fact.
// It sends nothing but DNS queries to the configured servers. It imports
// collect and evidence, and github.com/miekg/dns for messages.
package resolve

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// Families says which addresses are asked for.
type Families uint8

// The zero value asks for both.
const (
	Both Families = iota
	IPv4
	IPv6
)

func (f Families) has(a netip.Addr) bool {
	return f == Both || (f == IPv4) == a.Is4()
}

func (f Families) types() []uint16 {
	switch f {
	case IPv4:
		return []uint16{dns.TypeA}
	case IPv6:
		return []uint16{dns.TypeAAAA}
	}
	return []uint16{dns.TypeA, dns.TypeAAAA}
}

// network is the name that package net has for the families.
func (f Families) network() string {
	return [...]string{Both: "ip", IPv4: "ip4", IPv6: "ip6"}[f]
}

// Options bound and direct the search. The zero value does what the system
// does, within 2 s for a name that no server answers for.
type Options struct {
	Families Families
	// Timeout is for one try; 0 is 1 s.
	Timeout time.Duration
	// Tries counts queries over UDP to one server; 0 is 2, or 1 if
	// resolv.conf says attempts:1.
	Tries int
	// Patience is how long stragglers are waited for once the answer is there:
	// other servers, and the system's own resolver; 0 is 50 ms.
	Patience time.Duration
	// ForceTCP asks over TCP only.
	ForceTCP bool
	// Port of the name servers; 0 is 53.
	Port uint16
	// HostsFile, ResolvConf and NSSwitch are paths; "" is the system's file.
	// Where one is set, the system's own resolver, which cannot be made to
	// read it, is asked only if SystemDial is set too.
	HostsFile, ResolvConf, NSSwitch string
	// SystemDial makes the connections of the system's own resolver, where
	// that is the one of Go; nil is net.Dialer's.
	SystemDial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Bounds of what is waited for and kept.
const (
	defaultTimeout  = time.Second
	defaultTries    = 2
	defaultPatience = 50 * time.Millisecond
	// compareTime bounds the DNS queries for a name that the hosts file decides.
	compareTime = 300 * time.Millisecond
	maxAddrs    = 256
)

// AddrsFrom values; FromLocalhost is that of the names which RFC 6761 section
// 6.3 binds to the loopback addresses, where the hosts file has no entry.
const (
	FromLiteral   = "literal"
	FromFiles     = "files"
	FromDNS       = "dns"
	FromLocalhost = "localhost"
)

// Collect resolves host, which is an address or an ASCII name; a last dot
// keeps search suffixes off. Whatever goes wrong on the way is in the result;
// the error is for a host that is neither. If ctx ends early the result is
// what was known by then.
func Collect(ctx context.Context, env collect.Env, host string, opts Options) (*evidence.Name, error) {
	if opts.Patience <= 0 {
		opts.Patience = defaultPatience
	}
	r := &resolver{clock: env.Clock, opts: opts, name: &evidence.Name{Host: host, At: env.Clock.Now()}}
	if addr, err := netip.ParseAddr(host); err == nil {
		r.literal(addr)
		return r.name, nil
	}
	if _, ok := dns.IsDomainName(host); !ok || !validName(host) {
		return nil, fmt.Errorf("resolve %s: neither an address nor a host name", clean(host))
	}
	r.resolve(ctx)
	return r.name, nil
}

// resolver is one run of Collect.
type resolver struct {
	clock collect.Clock
	opts  Options
	name  *evidence.Name
}

func (r *resolver) literal(addr netip.Addr) {
	r.name.FullName, r.name.AddrsFrom = r.name.Host, FromLiteral
	if r.opts.Families.has(addr) {
		r.name.Addrs = []netip.Addr{addr}
	} else {
		r.name.Err = "the address is not of the family asked for"
	}
	r.took()
}

func (r *resolver) took() { r.name.Took = r.clock.Now() - r.name.At }

func (r *resolver) resolve(ctx context.Context) {
	n := r.name
	order := r.readOrder()
	for _, s := range order {
		n.Order = append(n.Order, s.module)
	}
	inFiles, hostsMore := r.readHosts()
	n.HostsFile = inFiles
	conf := r.readConf()
	n.Search, n.NDots = conf.search, conf.ndots
	for _, s := range conf.servers {
		n.Servers = append(n.Servers, netip.AddrPortFrom(s, r.port()))
	}

	if isLocalhost(n.Host) {
		r.localhost()
		return
	}
	waitSystem := r.startSystem(ctx)
	defer waitSystem()

	// Who would decide if DNS answered?
	winner, _ := decide(order, len(inFiles) > 0, success)
	usesDNS := slices.ContainsFunc(order, func(s source) bool { return s.dns })
	var ans answer
	switch {
	case winner == FromDNS:
		ans = r.lookup(ctx, conf)
	case winner == FromFiles && usesDNS && !loopbackAlias(n.Host):
		r.took()
		cmp, cancel := context.WithTimeoutCause(ctx, compareTime, errNotWaited)
		ans = r.lookup(cmp, conf)
		cancel()
	default:
		ans.status = unavailable
	}
	n.Queries = ans.queries

	winner, passed := decide(order, len(inFiles) > 0, ans.status)
	r.notePassed(passed)
	switch winner {
	case FromFiles:
		n.FullName, n.Addrs, n.AddrsFrom = n.Host, inFiles, FromFiles
		r.noteMore(hostsMore)
		if n.Took == 0 {
			r.took()
		}
	case FromDNS:
		n.FullName, n.Addrs, n.AddrsFrom = ans.name, ans.addrs, FromDNS
		r.noteMore(ans.more)
		n.Took = ans.at - n.At
	default:
		r.took()
		n.Err = r.nothingToAsk(order, conf, ans)
	}
}

// nothingToAsk names the part of the configuration that left no one to ask,
// or returns "" if someone was asked and answered or should have.
func (r *resolver) nothingToAsk(order []source, conf resolvConf, ans answer) string {
	switch {
	case len(ans.queries) == 0:
		var modules []string
		for _, s := range order {
			modules = append(modules, s.String())
		}
		return clean(fmt.Sprintf("%q in %s does not lead to DNS, and the hosts file has no entry",
			"hosts: "+strings.Join(modules, " "), r.path(r.opts.NSSwitch, nsswitchPath)))
	case conf.noServer != "" && !slices.ContainsFunc(ans.queries, func(q evidence.Query) bool { return !q.Timeout && q.Errno == "" }):
		return clean(fmt.Sprintf("no usable server configured: %s, and nothing answers at %s, the default",
			conf.noServer, r.name.Servers[0]))
	}
	return ""
}

// localhost answers without asking, RFC 6761 section 6.3.
func (r *resolver) localhost() {
	n := r.name
	n.FullName, n.Addrs, n.AddrsFrom = n.Host, n.HostsFile, FromFiles
	if len(n.Addrs) == 0 {
		n.AddrsFrom = FromLocalhost
		for _, a := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
			if r.opts.Families.has(a) {
				n.Addrs = append(n.Addrs, a)
			}
		}
	}
	r.took()
}

func isLocalhost(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// loopbackAlias says whether the name is one that distributions put into the
// hosts file for the loopback addresses, which DNS knows nothing about.
func loopbackAlias(name string) bool {
	switch strings.ToLower(name) {
	case "localhost.localdomain", "localhost4", "localhost4.localdomain4",
		"localhost6", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback":
		return true
	}
	return false
}

// noteMore says that addresses were left out, so that no one takes the list
// for complete.
func (r *resolver) noteMore(more int) {
	if more > 0 {
		r.note(fmt.Sprintf("%d more addresses of the name", more), fmt.Sprintf("only the first %d are kept", maxAddrs), "")
	}
}

// notePassed lists the nsswitch modules that would be asked before the one
// that decided.
func (r *resolver) notePassed(modules []string) {
	modules = slices.DeleteFunc(modules, func(m string) bool { return !concerns(m, r.name.Host) })
	if len(modules) > 0 {
		r.note("what "+strings.Join(modules, ", ")+" of nsswitch.conf say", "tcpwhy reads only the hosts file and DNS",
			"getent ahosts "+r.name.Host)
	}
}

func (r *resolver) note(check, reason, how string) {
	r.name.NotChecked = append(r.name.NotChecked, evidence.NotChecked{Check: check, Reason: reason, How: how})
}

func (r *resolver) port() uint16 {
	if r.opts.Port != 0 {
		return r.opts.Port
	}
	return 53
}

func (r *resolver) path(set, standard string) string {
	if set != "" {
		return set
	}
	return standard
}

// ownHostname is the name of this machine, or "".
func ownHostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
