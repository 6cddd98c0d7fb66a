package resolve

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// errNotWaited is the cause with which queries are given up when the answer is
// known without them.
var errNotWaited = errors.New("not waited for")

// slower limits the wait for the other servers: up to so many times as long as
// the first usable answer took, or Options.Patience if that is longer, both
// counted from the start.
const slower = 3

// firstServer is how long the first server may stay silent, counted from the
// start: programs ask it before the others, so that it is dead is worth
// knowing. Its second try, after the default timeout, is in it.
const firstServer = defaultTimeout + 200*time.Millisecond

// asker holds what all queries of a run share.
type asker struct {
	clock    collect.Clock
	servers  []netip.AddrPort
	types    []uint16
	timeout  time.Duration
	patience time.Duration
	tries    int
	tcp      bool
}

// answer is what DNS as a whole said.
type answer struct {
	queries []evidence.Query
	status  status
	name    string       // the full name that has the addresses
	addrs   []netip.Addr // at most maxAddrs, IPv4 first
	more    int          // addresses beyond
	at      time.Duration
}

// heard says whether any server gave any answer.
func (a answer) heard() bool {
	return slices.ContainsFunc(a.queries, func(q evidence.Query) bool { return q.Rcode != "" })
}

// servFailed says whether a server failed on the name, which the C library
// takes as a reason to go on with the search list.
func (a answer) servFailed() bool {
	return slices.ContainsFunc(a.queries, func(q evidence.Query) bool { return q.Rcode == "SERVFAIL" })
}

// lookup asks for the candidates of the name one after the other, as the C
// library does.
func (r *resolver) lookup(ctx context.Context, conf resolvConf) answer {
	a := asker{clock: r.clock, servers: r.name.Servers, types: r.opts.Families.types(), tcp: r.opts.ForceTCP || conf.tcp,
		timeout: r.opts.Timeout, patience: r.opts.Patience, tries: r.opts.Tries}
	if a.timeout <= 0 {
		a.timeout = min(defaultTimeout, conf.timeout)
	}
	if a.tries <= 0 {
		a.tries = min(defaultTries, conf.attempts)
	}
	if conf.noAAAA && r.opts.Families == Both {
		a.types = IPv4.types()
	}
	var total answer
	stop := false
	for _, c := range conf.candidates(r.name.Host) {
		if stop && c.suffixed {
			continue
		}
		got := a.ask(ctx, c.name)
		heard := got.heard()
		stop = c.suffixed && got.status == tryAgain && !got.servFailed()
		if got.status != success {
			got.status = max(got.status, total.status) // the worst failure stands
		}
		got.queries = append(total.queries, got.queries...)
		total = got
		if total.status == success || !heard || ctx.Err() != nil {
			break
		}
	}
	return total
}

// ask puts one name to all servers at once and waits for all of them, but not
// long for the rest once there is a usable answer to every question.
func (a *asker) ask(ctx context.Context, name string) answer {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type result struct {
		i       int
		replies []reply
	}
	n := len(a.servers) * len(a.types)
	all := make([][]reply, n)
	done := make(chan result, n)
	start := time.Now()
	for i := range n {
		q := question{a.servers[i/len(a.types)], dns.Fqdn(name), a.types[i%len(a.types)]}
		go func() { done <- result{i, a.exchange(ctx, q)} }()
	}
	ans := answer{name: name}
	var enough <-chan time.Time
	for left := n; left > 0; {
		select {
		case <-enough:
			cancel(errNotWaited)
			enough = nil
		case res := <-done:
			left--
			all[res.i] = res.replies
			if ans.at != 0 && res.i < len(a.types) {
				enough = time.After(max(a.patience, slower*time.Since(start)) - time.Since(start)) // the first is alive
			}
			if ans.at == 0 && a.usable(all) {
				ans.at = a.clock.Now()
				wait := max(a.patience, slower*time.Since(start))
				if !slices.ContainsFunc(all[:len(a.types)], func(r []reply) bool { return len(r) > 0 }) {
					wait = max(wait, firstServer)
				}
				enough = time.After(wait - time.Since(start))
			}
		}
	}
	if ans.at == 0 {
		ans.at = a.clock.Now()
	}
	a.judge(all, &ans)
	return ans
}

// usable says whether every question has a usable answer from some server.
func (a *asker) usable(all [][]reply) bool {
	for t := range a.types {
		if a.first(all, t) == nil {
			return false
		}
	}
	return true
}

// first returns the usable answer to question t of the first server that gave
// one, or nil.
func (a *asker) first(all [][]reply, t int) *reply {
	for i := t; i < len(all); i += len(a.types) {
		if last := len(all[i]) - 1; last >= 0 && all[i][last].usable() {
			return &all[i][last]
		}
	}
	return nil
}

// judge fills in queries, status and addresses.
func (a *asker) judge(all [][]reply, ans *answer) {
	for _, replies := range all {
		for _, r := range replies {
			ans.queries = append(ans.queries, r.Query)
		}
	}
	ans.status = notFound
	var families [2][]netip.Addr
	for t, qtype := range a.types {
		r := a.first(all, t)
		if r == nil {
			ans.status = tryAgain
			continue
		}
		ans.more += r.more
		f := &families[0]
		if qtype == dns.TypeAAAA {
			f = &families[1]
		}
		*f = r.Addrs
	}
	// Each family may have what the other leaves, but at least half.
	n4 := min(len(families[0]), max(maxAddrs/2, maxAddrs-len(families[1])))
	n6 := min(len(families[1]), maxAddrs-n4)
	ans.more += len(families[0]) - n4 + len(families[1]) - n6
	ans.addrs = slices.Concat(families[0][:n4], families[1][:n6])
	switch {
	case len(ans.addrs) > 0:
		ans.status = success
	case !ans.heard():
		ans.status = unavailable
	}
}
