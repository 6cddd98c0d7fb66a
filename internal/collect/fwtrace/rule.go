package fwtrace

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nfttrace"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// ruleBook tells what rules are, and remembers it as long as they stay.
type ruleBook struct {
	lookup func(e nfttrace.Event, base nfttrace.Chain) (nfttrace.Rule, error)
	text   func(family, table, chain string, handle uint64) *evidence.Rule

	generation uint32
	known      map[ruleKey]known
}

type ruleKey struct {
	chain, base nfttrace.Chain
	handle      uint64
	verdict     nfttrace.Verdict
	v6          bool
}

// known is a rule, or a policy.
type known struct {
	rule   *evidence.Rule
	reject string
	nat    bool
	err    error // why it is not known what else the rule does
}

// outcome is what a rule that drops does.
type outcome struct {
	verdict, with string
	rule          *evidence.Rule
	depends       []string
}

// rule is the rule or the policy of an event.
func (b *ruleBook) rule(e nfttrace.Event, base nfttrace.Chain) known {
	if b.known == nil || b.generation != e.Generation || len(b.known) > maxPackets {
		b.generation, b.known = e.Generation, make(map[ruleKey]known)
	}
	if e.Kind == nfttrace.KindPolicy {
		e.Handle = 0
	}
	key := ruleKey{e.Chain, base, e.Handle, e.Verdict, e.V6}
	k, ok := b.known[key]
	if ok {
		return k
	}
	k = b.learn(e, base)
	if k.err == nil {
		b.known[key] = k
	}
	return k
}

func (b *ruleBook) learn(e nfttrace.Event, base nfttrace.Chain) (k known) {
	var found *evidence.Rule
	policy := e.Kind == nfttrace.KindPolicy
	if b.text != nil && !policy {
		found = b.text(e.Chain.Family, e.Chain.Table, e.Chain.Name, e.Handle)
	}
	// Asked after the text: when the rules are still the ones now, they were then.
	rule, err := b.lookup(e, base)
	r := evidence.Rule{System: "nftables"}
	if found != nil && err == nil {
		r = *found
	}
	r.Family, r.Handle, r.Policy = e.Chain.Family, e.Handle, policy
	r.Table, r.Chain = rtnl.Printable(e.Chain.Table), rtnl.Printable(e.Chain.Name)
	if policy {
		r.Text = "policy " + string(e.Verdict)
	}
	if err == nil {
		r.Hook, r.Priority = rule.Hook, rule.Priority
	}
	return known{rule: &r, reject: rule.Reject, nat: rule.NAT, err: err}
}

// drop is what a rule or policy that drops does: a rule that rejects drops, too.
func (b *ruleBook) drop(e nfttrace.Event, base nfttrace.Chain) outcome {
	k := b.rule(e, base)
	o := outcome{verdict: "drop", rule: k.rule}
	switch {
	case k.rule.Policy: // which answers nobody
	case k.err != nil:
		o.verdict = "depends"
		why := k.err.Error()
		if errors.Is(k.err, nfttrace.ErrChanged) {
			why = "the rules have changed since"
		}
		o.depends = []string{fmt.Sprintf("dropped; whether the rule rejects is not known: %s (%s)", why, place(e))}
	case strings.HasPrefix(k.reject, "tcp "):
		o.verdict, o.with = "reset", k.reject
	case k.reject != "":
		o.verdict, o.with = "reject", k.reject
	}
	return o
}

// place names a rule as in RuleVerdict.Depends: "inet filter input handle 7".
func place(e nfttrace.Event) string {
	return fmt.Sprintf("%s %s %s handle %d", e.Chain.Family, rtnl.Printable(e.Chain.Table), rtnl.Printable(e.Chain.Name), e.Handle)
}
