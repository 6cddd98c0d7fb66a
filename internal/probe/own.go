package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/collect/firewall"
	"github.com/tcpwhy/tcpwhy/internal/collect/programs"
	"github.com/tcpwhy/tcpwhy/internal/collect/returns"
	"github.com/tcpwhy/tcpwhy/internal/diagnose"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// ownRules reads what this host's own rules do with the SYN of the attempt, and
// they and the reverse path filter with its answer.
func (v *investigation) ownRules(ctx context.Context) {
	const check = "this host's own firewall rules"
	client := v.failed()
	if client.Port() == 0 {
		return
	}
	own := &evidence.Own{Return: v.wayBack(ctx, client)}
	if !mayReadRules() {
		v.miss(check, errors.New("needs CAP_NET_ADMIN"), "sudo tcpwhy …", evidence.LocalRule, evidence.LocalBack)
		if own.Return != nil {
			v.keepOwn(own)
		}
		return
	}
	q := firewall.Query{Kind: firewall.SYNOut, Client: client, Server: v.a.Addr, In: v.arrivedBy(client)}
	if r := v.a.Route; r != nil {
		q.Out = r.Interface
	}
	queries := []firewall.Query{q}
	if !here(v.a) { // else what comes back is what this host sends
		q.Kind = firewall.SYNACKIn
		queries = append(queries, q)
	}
	f, missed, err := firewall.Read(ctx, v.env, queries)
	if err != nil {
		v.miss(check, err, "", evidence.LocalRule, evidence.LocalBack)
		return
	}
	own.Firewall = f
	if len(missed) > 0 {
		v.miss(check, fmt.Errorf("%s: %s", missed[0].Check, missed[0].Reason), missed[0].How, evidence.LocalRule, evidence.LocalBack)
	}
	if len(f.Verdicts) > 0 {
		ps, missed, err := programs.Collect(ctx, os.Getpid())
		own.Programs, own.ProgramsRead = ps, err == nil && len(missed) == 0
	}
	v.keepOwn(own)
}

func (v *investigation) keepOwn(own *evidence.Own) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.a.Own = own
}

// wayBack is the way to the target for what came from there, nil where nothing was
// seen to come or that is not known.
func (v *investigation) wayBack(ctx context.Context, client netip.AddrPort) *evidence.Return {
	in := v.arrivedBy(client)
	if in == "" || here(v.a) || v.a.Addr.Addr().Is6() { // IPv6 has no such filter
		return nil
	}
	r, err := returns.Collect(ctx, v.env, client.Addr(), v.a.Addr.Addr(), in)
	if err != nil {
		return nil
	}
	r.Seen = true
	return &r
}

// answered reads the rules anew where an answer came only after they were read: what
// becomes of it turns on the interface that it comes in by.
func (v *investigation) answered(ctx context.Context) {
	own := v.a.Own
	switch {
	case !slices.Contains(v.done, diagnose.CheckRules) || v.arrivedBy(v.failed()) == "":
	case own == nil, own.Return == nil && v.wayBack(ctx, v.failed()) != nil,
		slices.ContainsFunc(own.Firewall.Verdicts, func(r evidence.RuleVerdict) bool { return r.Packet == "syn-ack" && r.In == "" }):
		v.ownRules(ctx)
	}
}

// kept says that this host's own rules are what is left, so that waiting longer
// for an answer proves nothing.
func (v *investigation) kept() bool {
	d := diagnose.Differ(evidence.ScopeAddress, diagnose.ObserveAddress(v.set, v.a))
	left := d.Candidates()
	return v.a.Own != nil && len(left) == 1 && left[0].Cause == "local-firewall-drop"
}

// failed is the source of the attempt that is to be explained: the first that
// failed, or the first.
func (v *investigation) failed() netip.AddrPort {
	for _, t := range v.a.Attempts {
		if !t.Connected {
			return t.Tuple.Local
		}
	}
	if len(v.a.Attempts) == 0 {
		return netip.AddrPort{}
	}
	return v.a.Attempts[0].Tuple.Local
}

// arrivedBy is the interface by which an answer came in, "" where none was seen,
// or where it passed several, such as a VLAN and the one below it.
func (v *investigation) arrivedBy(client netip.AddrPort) string {
	name := ""
	for i := range v.a.Packets {
		p := &v.a.Packets[i]
		if p.Kind != "tcp" || p.Outgoing || p.Src != v.a.Addr || p.Dst != client {
			continue
		}
		if name != "" && p.Interface != name {
			return ""
		}
		name = p.Interface
	}
	return name
}
