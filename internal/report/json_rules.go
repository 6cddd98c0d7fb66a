package report

import (
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
)

// jsonOwnRule is what this host's own rules do with one packet of its attempt.
type jsonOwnRule struct {
	Packet  string         `json:"packet"`
	Verdict string         `json:"verdict"`
	With    string         `json:"with,omitempty"`
	Rule    *jsonRule      `json:"rule,omitempty"`
	NAT     netip.AddrPort `json:"nat,omitzero"`
	NATRule *jsonRule      `json:"nat_rule,omitempty"`
	Depends []string       `json:"depends,omitempty"`
}

type jsonRule struct {
	System  string `json:"system"`
	Family  string `json:"family,omitempty"`
	Table   string `json:"table"`
	Chain   string `json:"chain"`
	Hook    string `json:"hook,omitempty"`
	Handle  uint64 `json:"handle,omitempty"`
	Number  int    `json:"number,omitempty"`
	Text    string `json:"text"`
	Policy  bool   `json:"policy,omitempty"`
	Manager string `json:"manager,omitempty"`
	Allow   string `json:"allow,omitempty"`
}

func newOwnRules(own *evidence.Own) []jsonOwnRule {
	if own == nil {
		return nil
	}
	out := make([]jsonOwnRule, 0, len(own.Firewall.Verdicts))
	for i := range own.Firewall.Verdicts {
		v := &own.Firewall.Verdicts[i]
		out = append(out, jsonOwnRule{v.Packet, v.Verdict, v.With, newRule(v.Rule), v.NAT, newRule(v.NATRule), v.Depends})
	}
	return out
}

func newRule(r *evidence.Rule) *jsonRule {
	if r == nil {
		return nil
	}
	return &jsonRule{r.System, r.Family, r.Table, r.Chain, r.Hook, r.Handle, r.Number, r.Text, r.Policy, r.Manager, r.Allow}
}

// ownRules makes of the rules in JSON the evidence that they were, about the
// attempt of the tuple.
func ownRules(rules []jsonOwnRule, attempt flow.Tuple) *evidence.Own {
	if len(rules) == 0 {
		return nil
	}
	own := new(evidence.Own)
	for _, r := range rules {
		tuple := attempt
		if r.Packet == "syn-ack" {
			tuple.Local, tuple.Remote = tuple.Remote, tuple.Local
		}
		own.Firewall.Verdicts = append(own.Firewall.Verdicts, evidence.RuleVerdict{
			Packet: r.Packet, Tuple: tuple, Verdict: r.Verdict, With: r.With, Rule: r.Rule.rule(), NAT: r.NAT, NATRule: r.NATRule.rule(), Depends: r.Depends,
		})
	}
	return own
}

func (r *jsonRule) rule() *evidence.Rule {
	if r == nil {
		return nil
	}
	return &evidence.Rule{System: r.System, Family: r.Family, Table: r.Table, Chain: r.Chain, Hook: r.Hook, Handle: r.Handle, Number: r.Number, Text: r.Text, Policy: r.Policy, Manager: r.Manager, Allow: r.Allow}
}
