package firewall

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
	"github.com/tcpwhy/tcpwhy/internal/xtables"
)

// Read reads the rules in the network namespace of the calling thread and says
// what they do with the packet of each query, in the order of the queries. Where
// the rules of a system could not be read there is no verdict for the packets
// that they could decide, but a NotChecked with the reason; it also stands in
// Unread. The error is about everything else: the context, or rtnetlink.
func Read(ctx context.Context, env collect.Env, in []Query) (evidence.Firewall, []evidence.NotChecked, error) {
	out := evidence.Firewall{At: env.Clock.Now()}
	var (
		missing []evidence.NotChecked
		blind   [2]bool // for IPv4 and IPv6
	)
	rules, err := nft.Read(ctx, 0)
	if err != nil && !errors.Is(err, nft.ErrUnsupported) {
		missing, blind = append(missing, unread("nftables rules", err)), [2]bool{true, true}
	}
	var tables []*xtables.Table
	for i, f := range []xtables.Family{xtables.IPv4, xtables.IPv6} {
		t, err := xtables.Read(ctx, f)
		if err != nil {
			missing, blind[i] = append(missing, unread(string(f)+" rules", err)), true
		}
		tables = append(tables, t...)
	}
	if ctx.Err() != nil {
		return out, missing, fmt.Errorf("read firewall rules: %w", ctx.Err())
	}
	out.Systems, out.Managers = summary(rules, tables)
	missing = append(missing, unfollowed(rules)...)
	out.Unread = slices.Clone(missing)

	r, err := rtnl.NewReader()
	if err != nil {
		return out, missing, fmt.Errorf("read firewall rules: %w", err)
	}
	defer r.Close()
	var programs [2]*program
	for _, q := range in {
		i := 0
		if q.v6() {
			i = 1
		}
		if blind[i] {
			continue
		}
		if programs[i] == nil {
			programs[i] = compile(i == 1, rules, tables)
		}
		v, err := judge(programs[i], r, q)
		if err != nil {
			return out, missing, fmt.Errorf("read firewall rules: %w", err)
		}
		out.Verdicts = append(out.Verdicts, v)
	}
	return out, missing, nil
}

func unread(what string, err error) evidence.NotChecked {
	if errors.Is(err, fs.ErrPermission) {
		return evidence.NotChecked{Check: what, Reason: "needs CAP_NET_ADMIN", How: "run as root"}
	}
	return evidence.NotChecked{Check: what, Reason: err.Error()}
}

// unfollowed are rules that were read and are none of those that are followed.
func unfollowed(rules *nft.Ruleset) []evidence.NotChecked {
	if rules == nil {
		return nil
	}
	bridged := func(t *nft.Table) bool {
		return t.Family == nft.FamilyBridge && slices.ContainsFunc(t.Chains, func(c *nft.TableChain) bool { return c.Hook != "" })
	}
	if slices.ContainsFunc(rules.Tables, bridged) {
		return []evidence.NotChecked{{Check: "rules of nftables bridge tables", Reason: "what a bridge passes on or takes in is not followed"}}
	}
	return nil
}
