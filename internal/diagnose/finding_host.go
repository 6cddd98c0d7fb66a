package diagnose

import (
	"fmt"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// hostFinding is the answer in one sentence where the host's own evidence says
// more than the client's; "" where it does not.
func (v *view) hostFinding(c *cause.Cause) string {
	if v.a.Host == nil {
		return ""
	}
	h := v.hosted()
	if v.main == nil {
		h.client = v.a.Host.Client
	}
	r, port := h.rule(), v.a.Addr.Port()
	switch c.ID {
	case "host-firewall-drop", "host-firewall-reset", "host-firewall-reject":
		if r == nil || r.Rule == nil {
			return ""
		}
		does := map[string]string{"drop": "drops", "reset": "resets", "reject": "rejects"}[r.Verdict]
		if does == "" {
			return ""
		}
		what := "connections to"
		if r.Packet == "syn-ack" {
			what = "the answers of"
		}
		return fmt.Sprintf("a rule of %s %s %s port %d: %s", h.name(), does, what, port, ruleName(r.Rule))
	case "nat-dead-backend":
		o := &observer{addr: v.a.Addr}
		o.told(h)
		for _, f := range o.facts {
			if f.Key == evidence.HostSYN && f.Value == evidence.OtherPort {
				return f.Text
			}
		}
		if n := h.nat(); n != nil {
			return fmt.Sprintf("a rule of %s leads port %d to %v, which does not serve%s", h.name(), port, n.NAT, ruleText(n.NATRule))
		}
	case "listens-on-loopback", "listens-elsewhere", "listens-on-other-port", "listens-in-other-namespace",
		"service-down", "service-restarting", "bind-address-in-use", "bind-not-permitted", "bind-address-missing":
		o := &observer{addr: v.a.Addr}
		o.told(h)
		for _, f := range o.facts {
			if f.Key == evidence.HostService || c.Refines == "" && f.Key == evidence.HostSockets {
				return f.Text
			}
		}
	case "host-no-return-route", "host-reverse-path-filter", "host-address-missing", "host-packet-filter":
		key := map[verdict.CauseID]evidence.Key{"host-no-return-route": evidence.HostBack, "host-reverse-path-filter": evidence.HostRPFilter,
			"host-address-missing": evidence.HostOwns, "host-packet-filter": evidence.HostPrograms}[c.ID]
		o := &observer{addr: v.a.Addr}
		o.told(h)
		for _, f := range o.facts {
			if f.Key == key && f.Value != evidence.Yes || f.Key == key && c.ID == "host-packet-filter" {
				return f.Text
			}
		}
	case verdict.None:
		if v.main == nil {
			return h.served()
		}
	}
	return ""
}

// hostNarrowed is the answer of a host about itself when several causes are left.
func (v *view) hostNarrowed(d *Differential, first *left) string {
	if first.cause.ID == verdict.None {
		return v.hostFinding(first.cause)
	}
	for _, well := range []struct {
		key   evidence.Key
		value evidence.Value
	}{
		{evidence.HostOwns, evidence.Yes}, {evidence.HostRule, evidence.RuleNone}, {evidence.HostSockets, evidence.SocketsServe}, {evidence.HostBack, evidence.Yes},
	} {
		for _, f := range d.facts {
			if f.Key == well.key && f.Value != well.value {
				return f.Text
			}
		}
	}
	h := v.hosted()
	h.client = v.a.Host.Client
	return h.unserved()
}

// hostFix is what would fix it by the very rule that the host named.
func (v *view) hostFix(out *verdict.Verdict) []verdict.Fix {
	if v.a.Host == nil || out.Certainty != verdict.Certain {
		return nil
	}
	switch out.Cause {
	case "host-firewall-drop", "host-firewall-reset", "host-firewall-reject":
	default:
		return nil
	}
	h := v.hosted()
	if v.main == nil {
		h.client = v.a.Host.Client
	}
	r := h.rule()
	if r == nil || r.Rule == nil {
		return nil
	}
	return ruleFixes(r.Rule)
}

// ruleFixes let what a rule stops pass.
func ruleFixes(r *evidence.Rule) []verdict.Fix {
	var fixes []verdict.Fix
	if r.Allow != "" {
		fixes = append(fixes, verdict.Fix{OS: "linux", Text: "let the port pass", Command: r.Allow})
	}
	if r.Handle != 0 && !r.Policy && plainName(r.Table) && plainName(r.Chain) {
		fixes = append(fixes, verdict.Fix{OS: "linux", Text: "or delete the rule", Command: fmt.Sprintf("nft delete rule %s %s %s handle %d", r.Family, r.Table, r.Chain, r.Handle)})
	}
	return fixes
}

// plainName says that a name can stand in a command as it is.
func plainName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r > '~' || !(r == '_' || r == '-' || r == '.' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z')
	})
}
