package diagnose

import (
	"slices"
	"strconv"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/manual"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// vars are what the evidence knows for the commands of the manual.
func (v *view) vars() manual.Vars {
	t := v.set.Target
	vars := manual.Vars{Host: t.Host, Port: strconv.Itoa(int(t.Port))}
	if t.Addr.IsValid() {
		vars.Host = t.Addr.String() // with its zone
	}
	if v.a.Addr.IsValid() {
		vars.Addr = v.addr().String()
	}
	if v.main != nil && v.main.Tuple.Local.IsValid() && !v.main.Tuple.Local.Addr().IsUnspecified() {
		vars.Client = v.main.Tuple.Local.Addr().WithZone("").String() // for use elsewhere
	}
	if r := v.a.Route; r != nil {
		vars.Interface = r.Interface
		if r.Gateway.IsValid() {
			vars.Gateway = r.Gateway.String()
		}
	}
	if v.icmp != nil {
		vars.Router = v.icmp.From.String()
	} else if h, ok := hopAt(v.a.Path, lastHop(v.a.Path)); ok {
		vars.Router = h.Addr.String()
	}
	if l := v.a.Listeners; l != nil && len(l.OnPort) > 0 && l.OnPort[0].Process != "" {
		vars.Service = l.OnPort[0].Process
	}
	if h := v.a.Host; h != nil {
		if vars.Client == "" && h.Client.IsValid() {
			vars.Client = h.Client.String()
		}
		if h.Service != nil && len(h.Service.Units) > 0 {
			vars.Service = h.Service.Units[0].Name
		} else if h.Sockets != nil && len(h.Sockets.Listeners) > 0 && h.Sockets.Listeners[0].Process != "" {
			vars.Service = h.Sockets.Listeners[0].Process
		}
	}
	if n := v.set.Name; n != nil {
		if _, q := worst(n.Queries); q != nil {
			vars.Server = q.Server.Addr().String() // the one that the finding names
		} else if len(n.Servers) > 0 {
			vars.Server = n.Servers[0].Addr().String()
		}
	}
	return vars
}

// advice is what to do next and what would fix it, for the addresses and names
// of the evidence.
func (c *conclusion) advice(v *view, out *verdict.Verdict) (next []verdict.Step, fix []verdict.Fix) {
	next, fix = make([]verdict.Step, 0, len(c.checks)+len(c.confirm)), make([]verdict.Fix, 0, len(c.fix))
	vars := v.vars()
	fill := func(text, command string) (string, string) {
		i := manual.Item{Text: text, Command: command}.Fill(vars)
		return i.Text, i.Command
	}
	for i := range c.checks {
		k := &c.checks[i]
		text, command := fill(k.What, k.Command)
		next = append(next, verdict.Step{Check: text, Command: command, Where: k.Where, Separates: c.separates[i]})
	}
	for _, i := range c.confirm {
		text, command := fill(i.Text, i.Command)
		next = append(next, verdict.Step{Check: text, Command: command, Where: i.Where})
	}
	if out.Cause == verdict.None || v.set.Interrupted && out.Certainty == verdict.Unknown {
		return next, fix // a run that was stopped is no mistake to report
	}
	fix = append(append(fix, v.hostFix(out)...), v.ownFix(out)...)
	for _, i := range c.fix[:min(max(mostFixes-len(fix), 0), len(c.fix))] {
		text, command := fill(i.Text, i.Command)
		fix = append(fix, verdict.Fix{OS: i.OS, Text: text, Command: command})
	}
	return next, fix
}

// forLinux returns the first items for Linux, or for any system, in the order of
// the page: the likeliest first.
func forLinux(items []manual.Item, most int) []manual.Item {
	items = slices.DeleteFunc(slices.Clone(items), func(i manual.Item) bool { return i.OS != "linux" && i.OS != "any" })
	return items[:max(0, min(len(items), most))]
}

// Predicts tells what a cause allows for a key, for the table of causes
// against facts; any means that it allows every answer.
func Predicts(id verdict.CauseID, k evidence.Key) (allowed []evidence.Value, any bool) {
	c, ok := cause.Get(id)
	if !ok {
		return nil, true
	}
	allowed, says := c.Allowed(k)
	return allowed, !says
}
