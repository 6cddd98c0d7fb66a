package diagnose

import (
	"cmp"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// CheckID names a check that gives facts.
type CheckID string

// The checks that the client can make by itself.
const (
	CheckPath      CheckID = "path"
	CheckOtherPort CheckID = "other-port"
	CheckEcho      CheckID = "echo"
	CheckACK       CheckID = "ack"
	CheckFIN       CheckID = "fin"
	CheckTTL255    CheckID = "ttl-255"
	CheckECN       CheckID = "ecn"
	CheckSources   CheckID = "source-ports"
	CheckOwners    CheckID = "owners"
	CheckRules     CheckID = "own-rules"
)

// checkHost is the look from the other side, which stands beside the commands that
// need no program of ours there.
const checkHost CheckID = "host"

// Check is something that can be looked at: by the program (Packets sent, at
// what privilege) or by a person (Command).
type Check struct {
	ID   CheckID
	What string
	Keys []evidence.Key
	// Where is "client", "host" or "both".
	Where string
	// Auto says that the program can do it itself.
	Auto bool
	// Raw says that it needs CAP_NET_RAW.
	Raw bool
	// Packets it costs of the budget of control probes (path traces are free).
	Packets int
	// Silent means that it is made only while nothing has answered the SYN.
	Silent bool
	// Mixed says that it is made only where SYNs to the port fared differently.
	Mixed bool
	// Quiet says that it sends nothing.
	Quiet bool
	// Grounds are causes whose grounds it shows, so that it is made even where
	// nothing else is left.
	Grounds []verdict.CauseID
	// Late says that it is made only when no other check is left, for it may
	// change what they would see: whoever answers it enters the neighbour table.
	Late bool
	// Ease makes a person's check come earlier or later; 0 is 1.
	Ease float64
	// Command for a person; placeholders as in package manual.
	Command string
}

var checks = []Check{
	{ID: CheckPath, What: "trace the path with the port itself", Auto: true, Where: "client",
		Keys: []evidence.Key{evidence.PathEnd, evidence.AnswerFrom, evidence.SynLeft, evidence.ProbeLoss, evidence.ConnectRepeat}},
	{ID: CheckOtherPort, What: "trace the path with a port that is surely closed", Auto: true, Where: "client",
		Keys: []evidence.Key{evidence.HostAnswers, evidence.PathEnd, evidence.AnswerFrom, evidence.EveryPort}},
	{ID: CheckEcho, What: "ask the host for an ICMP echo", Auto: true, Packets: 1, Where: "client",
		Keys: []evidence.Key{evidence.HostAnswers, evidence.AnswerFrom}},
	{ID: CheckACK, What: "send a bare ACK to the port", Auto: true, Raw: true, Packets: 10, Silent: true, Where: "client",
		Keys: []evidence.Key{evidence.ProbeACK, evidence.SynLeft}},
	{ID: CheckFIN, What: "send a bare FIN to the port", Auto: true, Raw: true, Packets: 1, Silent: true, Where: "client",
		Keys: []evidence.Key{evidence.ProbeFIN}},
	{ID: CheckTTL255, What: "send a SYN with TTL 255", Auto: true, Packets: 5, Silent: true, Where: "client",
		Keys: []evidence.Key{evidence.ProbeTTL255}},
	{ID: CheckECN, What: "send a SYN without ECN", Auto: true, Raw: true, Packets: 10, Silent: true, Where: "client",
		Keys: []evidence.Key{evidence.ProbeECN}},
	{ID: CheckRules, What: "read this host's own firewall rules", Auto: true, Quiet: true, Where: "client",
		Keys: []evidence.Key{evidence.LocalRule, evidence.LocalBack, evidence.NATHere}, Grounds: []verdict.CauseID{"local-firewall-drop", "local-firewall-reject"}},
	{ID: CheckOwners, What: "ask the link who has the address", Auto: true, Raw: true, Packets: 1, Late: true, Where: "client",
		Keys: []evidence.Key{evidence.NeighOwners, evidence.NeighState}},
	{ID: CheckSources, What: "connect from other source ports, twice from each", Auto: true, Packets: 6, Mixed: true, Where: "client",
		Keys: []evidence.Key{evidence.ProbeSources, evidence.ConnectRepeat, evidence.ProbeLoss}},

	{ID: "packets-sudo", Ease: 2, What: "run it with the packets in view", Where: "client",
		Keys:    []evidence.Key{evidence.SynLeft, evidence.LocalRule, evidence.LocalBack, evidence.AnswerFrom, evidence.AnswerVia, evidence.ICMPQuote, evidence.ProbeACK, evidence.ProbeFIN, evidence.SessionTTL},
		Command: "sudo tcpwhy {{.Host}}:{{.Port}}"},
	{ID: checkHost, Ease: 1.3, What: "ask {{.Addr}} itself, as root there", Where: "host",
		Keys: []evidence.Key{evidence.HostSockets, evidence.HostQueue, evidence.HostSYNQueue, evidence.HostService, evidence.HostRule, evidence.HostNAT, evidence.HostOwns,
			evidence.HostBack, evidence.HostRPFilter, evidence.HostPrograms},
		Command: "sudo tcpwhy host :{{.Port}} --from {{.Client}}"},
	{ID: "sockets", Ease: 1.2, What: "list the listening sockets on {{.Addr}}", Where: "host",
		Keys: []evidence.Key{evidence.HostSockets, evidence.HostQueue}, Command: "ss -ltnp 'sport = :{{.Port}}'"},
	{ID: "console", What: "see on the console of {{.Addr}} whether it is up and has the address", Where: "host",
		Keys: []evidence.Key{evidence.HostUp}, Command: "ip addr"},
	{ID: "syn-arrives", Ease: 1.5, What: "see on {{.Addr}} whether the SYN arrives and a SYN-ACK leaves", Where: "host",
		Keys:    []evidence.Key{evidence.HostSYN, evidence.HostSYNACK},
		Command: "sudo tcpdump -nni any 'host {{.Client}} and tcp port {{.Port}}'"},
	{ID: "rules", What: "list the firewall rules on {{.Addr}}", Where: "host",
		Keys: []evidence.Key{evidence.HostRule}, Command: "sudo nft list ruleset"},
	{ID: "router-rules", Ease: 0.6, What: "list the firewall rules on the router {{.Router}}", // a third machine: Where is empty
		Keys: []evidence.Key{evidence.PathRule}, Command: "sudo nft list ruleset"},
	{ID: "service", Ease: 0.8, What: "look at the state of the service on {{.Addr}}", Where: "host",
		Keys: []evidence.Key{evidence.HostService}, Command: "systemctl status {{.Service}}"},
	{ID: "drop-reason", Ease: 0.4, What: "read the kernel's drop counters on {{.Addr}} before and after an attempt", Where: "host",
		Keys: []evidence.Key{evidence.HostDrop, evidence.HostQueue, evidence.HostSYNQueue}, Command: "nstat -az | grep -E 'Drop|Overflow|RPFilter|MD5|Listen'"},
	{ID: "accepted", What: "see on {{.Addr}} whether connections wait to be accepted", Where: "host",
		Keys: []evidence.Key{evidence.HostAccepted, evidence.HostQueue}, Command: "ss -ltn 'sport = :{{.Port}}'"},
}

// allowed unites what the open ways of a candidate allow for a key; says is
// false when one of them allows anything.
func (l *left) allowed(k evidence.Key) (vs []evidence.Value, says bool) {
	c := cause.Cause{Ways: l.ways}
	return c.Allowed(k)
}

// split estimates which share of the likelihood a key would strike out on
// average, by what the candidates predict for it: 0 when it tells nothing.
func (d *Differential) split(k evidence.Key) float64 {
	if d.known(k) {
		return 0
	}
	info, ok := evidence.Lookup(k)
	if !ok || info.Scope != d.scope {
		return 0
	}
	total := 0.0
	for _, l := range d.left {
		total += l.weight
	}
	gain := 0.0
	for _, v := range info.Values {
		chance, stays := 0.0, 0.0
		for i := range d.left {
			l := &d.left[i]
			vs, says := l.allowed(k)
			if !says {
				vs = info.Values
			}
			if slices.Contains(vs, v) {
				chance += l.weight / float64(len(vs))
				stays += l.weight
			}
		}
		gain += chance / total * (1 - stays/total)
	}
	return gain
}

func (d *Differential) gain(c *Check) float64 {
	best := 0.0
	for _, k := range c.Keys {
		best = max(best, d.split(k))
	}
	return best
}

// worth is the least share of likelihood that a check must promise to strike
// out to be made.
const worth = 0.002

// Plan returns the checks, best first, that can split what is left, out of
// those the program can make itself and that done does not name. Raw checks
// are left out without raw, those that cost packets beyond budget too; while
// traces can still split, none that costs packets is planned, and late ones only
// when nothing else is. Where one cause is left there may be a check that shows its
// grounds.
func (d *Differential) Plan(done []CheckID, raw bool, budget int) []Check {
	if d.Settled() {
		return d.grounds(done)
	}
	type scored struct {
		c    Check
		gain float64
	}
	// Without the packets' hop limits an echo tells nothing about who answered.
	answered := d.is(evidence.Answer, evidence.AnswerRST) || d.is(evidence.Answer, evidence.AnswerSYNACK)
	silent, mixed := d.is(evidence.Answer, evidence.AnswerNone), d.is(evidence.ProbeLoss, evidence.LossSome) || d.is(evidence.ConnectRepeat, evidence.RepeatMixed)
	var list []scored
	for _, c := range checks {
		if !c.Auto || slices.Contains(done, c.ID) || c.Raw && !raw || c.Silent && !silent || c.Mixed && !mixed || c.ID == CheckEcho && !raw && answered {
			continue
		}
		if g := d.gain(&c); g > worth {
			list = append(list, scored{c, g / float64(1+c.Packets)})
		}
	}
	slices.SortStableFunc(list, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.gain, a.gain), cmp.Compare(a.c.ID, b.c.ID))
	})
	if slices.ContainsFunc(list, func(s scored) bool { return !s.c.Late }) {
		list = slices.DeleteFunc(list, func(s scored) bool { return s.c.Late })
	}
	free := slices.ContainsFunc(list, func(s scored) bool { return s.c.Packets == 0 })
	var plan []Check
	for _, s := range list {
		if s.c.Packets <= budget && !(free && s.c.Packets > 0) {
			budget -= s.c.Packets
			plan = append(plan, s.c)
		}
	}
	return plan
}

// grounds are the checks that show why it is the cause that is left.
func (d *Differential) grounds(done []CheckID) []Check {
	var plan []Check
	for _, c := range checks {
		if !slices.Contains(done, c.ID) && slices.ContainsFunc(c.Grounds, d.has) {
			plan = append(plan, c)
		}
	}
	return plan
}

// next picks up to three checks for a person, each the best splitter of what
// the ones before leave.
func (d *Differential) next(raw bool) []Check {
	var out []Check
	var seen []evidence.Key
	for len(out) < 3 {
		var best *Check
		top := worth
		for i := range checks {
			c := &checks[i]
			if c.Auto || c.ID == "packets-sudo" && raw || slices.ContainsFunc(out, func(o Check) bool { return o.ID == c.ID }) {
				continue
			}
			g := 0.0
			for _, k := range c.Keys {
				if !slices.Contains(seen, k) {
					g = max(g, d.split(k))
				}
			}
			if c.Ease > 0 {
				g *= c.Ease
			}
			if g > top+1e-9 {
				best, top = c, g
			}
		}
		if best == nil {
			return out
		}
		out = append(out, *best)
		if best.ID != checkHost {
			seen = append(seen, best.Keys...)
		}
	}
	return out
}

// separates lists the candidates that the check tells from the first one.
func (d *Differential) separates(c *Check) []verdict.CauseID {
	var ids []verdict.CauseID
	if len(d.left) == 0 {
		return nil
	}
	for i := range d.left[1:] {
		l := &d.left[1+i]
		if slices.ContainsFunc(c.Keys, func(k evidence.Key) bool {
			a, okA := d.left[0].allowed(k)
			b, okB := l.allowed(k)
			return okA && okB && !slices.ContainsFunc(a, func(v evidence.Value) bool { return slices.Contains(b, v) })
		}) {
			ids = append(ids, l.cause.ID)
		}
	}
	return ids
}
