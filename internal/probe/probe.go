// Package probe makes one run against one target: it asks the collectors in
// the order that the differential wants, and stops when nothing more can be
// split. It decides nothing about causes itself.
//
// It may import everything below layer 4.
package probe

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/collect/counters"
	"github.com/tcpwhy/tcpwhy/internal/collect/packets"
	"github.com/tcpwhy/tcpwhy/internal/collect/resolve"
	"github.com/tcpwhy/tcpwhy/internal/diagnose"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// Family restricts the addresses of a name.
type Family uint8

// The families.
const (
	AnyFamily Family = iota
	IPv4
	IPv6
)

// Defaults of Options.
const (
	DefaultConnectTimeout = 3 * time.Second
	DefaultPatience       = 500 * time.Millisecond
)

const (
	// maxAddresses bounds the addresses of a name that are tried.
	maxAddresses = 16
	// maxDeep bounds the addresses of a name that get more than a connect.
	maxDeep = 4
	// grace lets the ICMP error of a failed address resolution, which comes
	// about 3.07 s after the SYN, still be heard with the default timeout.
	grace = 200 * time.Millisecond
)

// Options of a run. The zero value is what a user gets without flags.
type Options struct {
	Family         Family
	Source         netip.Addr
	SourcePort     uint16
	Interface      string
	ConnectTimeout time.Duration
	// Patience is how long silence must last to count where the host is
	// known to answer other things.
	Patience time.Duration
	// Count is how many times to connect; 0 is 1.
	Count int
	// Gentle sends nothing but the connects, and says nothing on them.
	Gentle bool
	// Idle is the longest idle time to try on an open connection; 0 is none.
	Idle time.Duration
	// DNSOverTCP asks the name servers over TCP only.
	DNSOverTCP bool
	// Capture gets the packets of the attempts as a pcapng file, if not nil.
	Capture io.Writer
	// Host is what the machine that should answer tells of itself, if not nil. Its
	// first piece must be there.
	Host *Feed
	// Progress is told what is being done, if not nil. It must be safe for
	// concurrent use.
	Progress func(step string)
}

// run is one run.
type run struct {
	opts    Options
	env     collect.Env
	set     *evidence.Set
	before  counters.Snap
	counted bool // before is valid
	netRaw  bool
	limits  limits
	// filed is the capture that writes to Options.Capture, nil if none does.
	filed *packets.Capture
}

// Run makes one run. It returns what was found out when ctx is done, with
// Set.Interrupted set; it never fails as such.
func Run(ctx context.Context, target flow.Target, opts Options) *verdict.Diagnosis {
	if opts.ConnectTimeout <= 0 {
		opts.ConnectTimeout = DefaultConnectTimeout
	}
	if opts.Patience <= 0 {
		opts.Patience = DefaultPatience
	}
	opts.Count = max(opts.Count, 1)
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	clock := collect.NewClock()
	r := &run{
		opts:   opts,
		env:    collect.Env{Clock: clock, Source: opts.Source, SourcePort: opts.SourcePort, Interface: opts.Interface},
		netRaw: MayCapture(),
		set: &evidence.Set{
			Target: target, Started: clock.Start(),
			Options: evidence.Options{Source: opts.Source, SourcePort: opts.SourcePort, Interface: opts.Interface,
				ConnectTimeout: opts.ConnectTimeout, Gentle: opts.Gentle},
		},
	}
	r.set.Options.Privileged = r.netRaw
	r.limits = newLimits()
	if !r.netRaw {
		r.set.NotChecked = append(r.set.NotChecked, evidence.NotChecked{
			Check: "packets of the attempt, raw probes", Reason: "needs CAP_NET_RAW",
			How:  "sudo tcpwhy …, or sudo setcap cap_net_raw+ep on the program",
			Keys: []evidence.Key{evidence.SynLeft, evidence.AnswerVia, evidence.ProbeACK, evidence.ProbeFIN, evidence.SessionTTL},
		})
	}
	if opts.Gentle {
		r.set.NotChecked = append(r.set.NotChecked, evidence.NotChecked{
			Check: "path and control probes", Reason: "left out by --gentle", How: "run without --gentle"})
	}
	if snap, err := counters.Snapshot(); err == nil {
		r.before, r.counted = snap, true
	}
	addrs := r.resolve(ctx)
	r.connectAll(ctx, addrs)
	r.hearAll(ctx)
	r.set.Interrupted = ctx.Err() != nil
	r.set.Elapsed = clock.Now()
	d := diagnose.Diagnose(r.set)
	if r.filed != nil {
		// A file that cannot be finished can still be read; who writes it notices.
		_ = r.filed.Conclude(fmt.Sprintf("%s: %s (%s)", d.Outcome, d.Verdict.Finding, d.Verdict.Certainty))
	}
	return d
}

// resolve finds the addresses to try.
func (r *run) resolve(ctx context.Context) []netip.AddrPort {
	t := r.set.Target
	if t.Addr.IsValid() {
		r.set.Name = &evidence.Name{Host: t.Host, Addrs: []netip.Addr{t.Addr}, AddrsFrom: "literal"}
		return []netip.AddrPort{netip.AddrPortFrom(t.Addr, t.Port)}
	}
	r.opts.Progress("resolving " + t.Host)
	families := resolve.Both
	switch r.opts.Family {
	case IPv4:
		families = resolve.IPv4
	case IPv6:
		families = resolve.IPv6
	}
	name, err := resolve.Collect(ctx, r.env, t.Host, resolve.Options{Families: families, ForceTCP: r.opts.DNSOverTCP})
	if err != nil {
		r.set.NotChecked = append(r.set.NotChecked, evidence.NotChecked{Check: "name resolution", Reason: err.Error()})
	}
	r.set.Name = name
	if name == nil {
		return nil
	}
	if s := name.System; len(name.Addrs) == 0 && s != nil && len(s.Addrs) > 0 {
		// A module of nsswitch.conf that we cannot ask (mDNS, a directory) knows it.
		name.Addrs, name.AddrsFrom = s.Addrs, "system"
	}
	var addrs []netip.AddrPort
	most := min(maxAddresses, 4*cap(r.limits.addresses))
	if r.opts.SourcePort != 0 {
		most = 1 // one port, one connection at a time
	}
	for _, a := range name.Addrs {
		if len(addrs) == most {
			r.set.AddressesSkipped = len(name.Addrs) - most
			r.set.NotChecked = append(r.set.NotChecked, evidence.NotChecked{
				Check:  fmt.Sprintf("%d more addresses of the name", r.set.AddressesSkipped),
				Reason: fmt.Sprintf("a run tries the first %d", most), How: "name the address as the target"})
			break
		}
		addrs = append(addrs, netip.AddrPortFrom(a.Unmap(), t.Port))
	}
	return addrs
}

// connectAll looks at every address at the same time.
func (r *run) connectAll(ctx context.Context, addrs []netip.AddrPort) {
	r.set.Addresses = make([]evidence.Address, len(addrs))
	var wg group
	later := make([]bytes.Buffer, len(addrs))
	for i, a := range addrs {
		r.set.Addresses[i].Addr = a
	}
	if r.opts.Host != nil {
		if h, err := r.opts.Host.First(ctx); err == nil {
			r.hear(h, false)
		}
	}
	for i := range addrs {
		// The first address writes its packets as they come; each other one is
		// a section of the file of its own, behind it.
		var w io.Writer
		if r.opts.Capture != nil {
			if w = r.opts.Capture; i > 0 {
				w = &later[i]
			}
		}
		r.limits.addresses <- struct{}{}
		wg.Go(func() {
			defer func() { <-r.limits.addresses }()
			r.address(ctx, &r.set.Addresses[i], i < maxDeep, w)
		})
	}
	wg.Wait()
	for i := range later {
		if r.opts.Capture != nil && later[i].Len() > 0 {
			if _, err := later[i].WriteTo(r.opts.Capture); err != nil {
				notChecked(&r.set.Addresses[i], "packets in the file", err, "")
			}
		}
	}
}

func notChecked(a *evidence.Address, check string, err error, how string, keys ...evidence.Key) {
	n := evidence.NotChecked{Check: check, Reason: err.Error(), How: how, Keys: keys}
	if !slices.ContainsFunc(a.NotChecked, func(o evidence.NotChecked) bool { return o.Check == n.Check }) {
		a.NotChecked = append(a.NotChecked, n)
	}
}
