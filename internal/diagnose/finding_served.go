package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// served is the answer of a host about itself that found nothing in the way. What
// decides and could not be looked at is part of the sentence, so that nobody who
// shows it can leave that out.
func (v *hostView) served() string {
	who := "a client"
	if v.client.IsValid() {
		who = v.client.String()
	}
	if owns, known := v.h.Owns(v.addr); known && !owns {
		return fmt.Sprintf("%[1]s has no address %[2]v: %[3]s would be served there only if %[1]s leads it to somebody who serves it", v.name(), v.addr, who)
	}
	open := v.open()
	if len(open) == 0 {
		return fmt.Sprintf("%s would be served: nothing found on %s that keeps it from %v", who, v.name(), v.at())
	}
	return fmt.Sprintf("%s would be served if %s: nothing else found on %s that keeps it from %v", who, both(open), v.name(), v.at())
}

// unserved is the answer where what was not looked at is likelier to be in the way
// than not.
func (v *hostView) unserved() string {
	s := fmt.Sprintf("not everything could be looked at that would tell whether a client is served at %v", v.at())
	if open := v.open(); len(open) > 0 {
		s += ": it is if " + both(open)
	}
	return s
}

// open are the conditions of being served that are not known to be met, each with
// why not.
func (v *hostView) open() []string {
	o := &observer{}
	o.told(v)
	known := func(k evidence.Key) bool {
		return slices.ContainsFunc(o.facts, func(f evidence.Fact) bool { return f.Key == k })
	}
	var out []string
	if !known(evidence.HostOwns) {
		out = append(out, v.name()+" has the address"+v.how("not looked up", evidence.HostOwns))
	}
	if !known(evidence.HostSockets) {
		out = append(out, v.openSockets())
	}
	if !known(evidence.HostRule) {
		out = append(out, "the packet filter lets it pass"+v.how(v.openRules(), evidence.HostRule))
	}
	if !known(evidence.HostPrograms) {
		out = append(out, "no BPF program stops it"+v.how("not all looked at", evidence.HostPrograms))
	}
	// These are asked for one client only, and the second not of every packet.
	for _, c := range []struct {
		key  evidence.Key
		text string
	}{
		{evidence.HostBack, "a route leads back to it"},
		{evidence.HostRPFilter, "the reverse path filter lets it pass"},
	} {
		if !known(c.key) && v.missed(c.key) {
			out = append(out, c.text+v.how("not looked up", c.key))
		}
	}
	return out
}

func (v *hostView) openSockets() string {
	t := v.h.Sockets
	switch {
	case t == nil || v.h.Addresses == nil:
		return "something listens there" + v.how("the sockets were not read", evidence.HostSockets)
	case len(t.Diverted) > 0:
		return strings.Join(t.Diverted, " or ") + " has somebody who serves it"
	}
	for i := range t.Listeners {
		if l := &t.Listeners[i]; l.Device != "" && l.Addr.Port() == v.port && reaches(l, v.addr) {
			return fmt.Sprintf("it comes in by %s (the socket is bound to that)", l.Device)
		}
	}
	return "something serves it that is not in the table of sockets"
}

// openRules says why the rules do not decide.
func (v *hostView) openRules() string {
	f := v.h.Firewall
	if f == nil {
		return "its rules were not read"
	}
	if len(f.Unread) > 0 {
		var checks []string
		for _, n := range f.Unread {
			checks = append(checks, n.Check)
		}
		return strings.Join(checks, ", ") + " not read"
	}
	for _, packet := range []string{"syn", "syn-ack"} {
		for _, r := range v.verdicts(f.Verdicts, packet) {
			if r.Verdict == "depends" && len(r.Depends) > 0 {
				return "it depends on " + r.Depends[0]
			}
		}
	}
	return "not decided"
}

// how is in brackets why something is not known, and how it can be where that is.
func (v *hostView) how(why string, keys ...evidence.Key) string {
	lists := [][]evidence.NotChecked{v.h.NotChecked}
	if v.h.Firewall != nil && slices.Contains(keys, evidence.HostRule) {
		lists = append(lists, v.h.Firewall.Unread)
	}
	for i, list := range lists {
		for _, n := range list {
			if n.How != "" && (i > 0 || slices.ContainsFunc(n.Keys, func(k evidence.Key) bool { return slices.Contains(keys, k) })) {
				return fmt.Sprintf(" (%s: %s)", why, n.How)
			}
		}
	}
	return " (" + why + ")"
}

// missed says that a fact was wanted and could not be had.
func (v *hostView) missed(k evidence.Key) bool {
	return slices.ContainsFunc(v.h.NotChecked, func(n evidence.NotChecked) bool { return slices.Contains(n.Keys, k) })
}

// both joins conditions of which each must hold.
func both(conditions []string) string {
	last := len(conditions) - 1
	if last < 1 {
		return strings.Join(conditions, "")
	}
	return strings.Join(conditions[:last], ", ") + " and " + conditions[last]
}
