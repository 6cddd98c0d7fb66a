package report

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// The views are a diagnosis in the order and the words in which pages show it,
// for HTML and Markdown alike. Control characters in their strings are escaped;
// markup is not.

type targetView struct {
	ID                string // of its section, "target-1"
	Name, Input       string
	Experience, State string // "is refused"; "refused"
	Class             string // bad, good, part
	Answer            string
	Finding           string
	Cause, CauseTitle string
	Where             string
	Started, Elapsed  string
	Stopped           string
	Addresses         []addressView
	SkippedAddresses  string
	Blocks            []blockView
	MoreBlocks        int
	Next, Fix         []stepView
	NextTitle         string
	RuledOut          []ruledOutView
	Facts             []factView
	MoreFacts         int
	NotChecked        []notCheckedView
	Manual            *manualView
}

type addressView struct{ Addr, Outcome, Short string }

// blockView is what a verdict rests on: that of an address, or of the whole.
type blockView struct {
	Title, Finding string
	Candidates     []candidateView
	MoreCandidates int
	Behind         bool // the candidates explain a certain cause further
	Ladders        []template.HTML
	Paths          []template.HTML
	PathHead       string
	Steps, Hops    []packetView
	Why            []factView
	MoreWhy        int

	address *evidence.Address // what the pictures show; nil if none
}

type candidateView struct {
	Share, ID, Title, Words string
	Below                   bool
}

type packetView struct{ When, What string }

type stepView struct{ Text, Command, Where string }

type ruledOutView struct {
	ID, Fact string
	Causes   []causeView
}

type causeView struct{ ID, Title string }

type factView struct {
	ID, About, Question, Value, Text, Source, At string
	Cited                                        bool
}

type notCheckedView struct {
	Checks, Reason, How string
	Command             bool
}

func newTargetView(d *verdict.Diagnosis, number int, o Options) targetView {
	p := newPage(o)
	v := &d.Verdict
	out := targetView{
		ID: fmt.Sprintf("target-%d", number), Name: p.clean(target(d.Set.Target)), Input: p.clean(d.Set.Target.Input),
		Experience: experience(d.Outcome), State: outcomeWord(d.Outcome), Class: outcomeClass(d.Outcome),
		Started: d.Set.Started.UTC().Format("2006-01-02 15:04:05 UTC"), Elapsed: duration(d.Set.Elapsed),
	}
	out.Answer = p.clean(headline(p, d))
	if explained(v) && v.Certainty == verdict.Certain {
		out.Cause, out.CauseTitle = p.clean(string(v.Cause)), p.clean(p.title(v.Cause))
		if v.Where.IsValid() {
			out.Where = v.Where.String()
		}
	} else if d.Outcome != verdict.Open || explained(v) {
		out.Finding = p.clean(v.Finding)
	}
	if d.Set.Interrupted {
		out.Stopped = "stopped early: this is what was known after " + duration(d.Set.Elapsed)
	}
	blocks := alike(d)
	own := !slices.ContainsFunc(blocks, func(b block) bool { return b.v.Verdict.Cause == v.Cause })
	out.addresses(p, d)
	out.blocks(p, d, blocks, own)
	out.advice(p, d, blocks)
	out.ruledOut(p, d, blocks, own)
	out.facts(p, d)
	out.notChecked(p, d.NotChecked)
	out.Manual = newManualView(p, d)
	return out
}

func outcomeClass(o verdict.Outcome) string {
	switch o {
	case verdict.Open:
		return "good"
	case verdict.Degraded:
		return "part"
	default:
		return "bad"
	}
}

func (t *targetView) addresses(p *page, d *verdict.Diagnosis) {
	if len(d.Addresses) < 2 {
		return
	}
	for i := range d.Addresses[:min(len(d.Addresses), mostRows)] {
		a := &d.Addresses[i]
		t.Addresses = append(t.Addresses, addressView{a.Addr.Addr().String(), outcomeWord(a.Outcome), p.clean(p.inShort(d, a))})
	}
	if n := len(d.Addresses) - len(t.Addresses) + d.Set.AddressesSkipped; n > 0 {
		t.SkippedAddresses = count(n, "more address", "more addresses")
	}
}

func (t *targetView) blocks(p *page, d *verdict.Diagnosis, blocks []block, own bool) {
	if own || len(blocks) == 0 {
		var a *evidence.Address
		if len(blocks) == 0 && len(d.Set.Addresses) > 0 {
			a = &d.Set.Addresses[0] // it works
		}
		t.Blocks = append(t.Blocks, newBlockView(p, d, without(&d.Verdict, blocks), a))
	}
	for i, b := range blocks {
		if i == mostBlocks {
			t.MoreBlocks = len(blocks) - i
			break
		}
		out := newBlockView(p, d, &b.v.Verdict, evidenceOf(d, b.v))
		if own || len(blocks) > 1 {
			subject := b.v.Addr.Addr().String()
			if b.others > 0 {
				subject += " (and " + count(b.others, "other", "others") + ")"
			}
			out.Title = p.clean(p.answer(subject, b.v.Outcome, &b.v.Verdict))
			if b.v.Verdict.Certainty != verdict.Certain {
				out.Finding = p.clean(b.v.Verdict.Finding)
			}
		}
		t.Blocks = append(t.Blocks, out)
	}
}

func newBlockView(p *page, d *verdict.Diagnosis, v *verdict.Verdict, a *evidence.Address) blockView {
	var out blockView
	if len(v.Candidates) > 1 {
		out.Behind = v.Certainty == verdict.Certain
		for _, g := range groups(v) {
			out.candidate(p, g.Candidate, g.sum, false, !out.Behind)
			for _, c := range g.refined {
				out.candidate(p, c, c.Likelihood, true, false)
			}
		}
	}
	if out.address = a; a != nil {
		if s := newSteps(p, a); s != nil {
			out.Ladders = []template.HTML{s.draw(wideDrawing), s.draw(slimDrawing)}
			out.Steps = s.table()
		}
		if a.Path != nil && len(a.Path.Hops) > 0 {
			out.PathHead = p.clean(pathHead(a))
			out.Hops = pathTable(p, a.Path)
			out.Paths = []template.HTML{drawPath(p, a, wideDrawing), drawPath(p, a, slimDrawing)}
		}
	}
	for i, id := range v.Because {
		if i == 12 {
			out.MoreWhy = len(v.Because) - i
			break
		}
		f := factView{ID: p.clean(string(id))}
		if k := factIndex(d, id); k >= 0 {
			f.Text = p.clean(d.Facts[k].Text)
		}
		out.Why = append(out.Why, f)
	}
	return out
}

func (b *blockView) candidate(p *page, c verdict.Candidate, share float64, below, words bool) {
	if len(b.Candidates) == 20 {
		b.MoreCandidates++
		return
	}
	h := candidateView{Share: percent(share), ID: p.clean(string(c.Cause)), Title: p.clean(p.title(c.Cause)), Below: below}
	if words {
		h.Words = inWords(share)
	}
	b.Candidates = append(b.Candidates, h)
}

func factIndex(d *verdict.Diagnosis, id evidence.ID) int {
	return slices.IndexFunc(d.Facts, func(f evidence.Fact) bool { return f.ID == id })
}

func (t *targetView) advice(p *page, d *verdict.Diagnosis, blocks []block) {
	t.NextTitle = "Do next"
	if d.Verdict.Certainty == verdict.Certain {
		t.NextTitle = "To confirm"
	}
	verdicts := []*verdict.Verdict{&d.Verdict}
	for _, b := range blocks[:min(len(blocks), mostBlocks)] {
		verdicts = append(verdicts, &b.v.Verdict)
	}
	steps, fixes := set[[2]string]{}, set[verdict.Fix]{}
	for _, v := range verdicts {
		for _, s := range v.Next[:min(len(v.Next), 20)] {
			if steps.add([2]string{s.Check, s.Command}) {
				t.Next = append(t.Next, stepView{p.clean(s.Check), command(s.Command), place(s.Where)})
			}
		}
		for _, f := range v.Fix[:min(len(v.Fix), 20)] {
			if !fixes.add(f) {
				continue
			}
			h := stepView{Text: p.clean(f.Text), Command: command(f.Command)}
			if v.Certainty != verdict.Certain {
				h.Text = "if " + p.clean(string(v.Cause)) + ": " + h.Text
			}
			if f.OS != "linux" && f.OS != "any" {
				h.Where = p.clean(f.OS)
			}
			t.Fix = append(t.Fix, h)
		}
	}
}

// command escapes a command, which may have several lines.
func command(s string) string {
	lines := strings.Split(strings.TrimRight(s, " \r\n"), "\n")
	for i, l := range lines {
		lines[i] = escape(strings.TrimRight(l, " \r"), false, maxCommand)
	}
	return strings.Join(lines[:min(len(lines), 20)], "\n")
}

// place says where a step is to be made.
func place(where string) string {
	switch where {
	case "client":
		return "here"
	case "host":
		return "on the host"
	case "both":
		return "on both ends"
	}
	return ""
}

// ruledOut gathers the causes that facts contradict by the first of those facts.
func (t *targetView) ruledOut(p *page, d *verdict.Diagnosis, blocks []block, own bool) {
	lists := [][]verdict.RuledOut{}
	if own || len(blocks) <= 1 {
		lists = append(lists, d.Verdict.RuledOut)
	}
	if own || len(blocks) > 1 {
		for _, b := range blocks[:min(len(blocks), mostBlocks)] {
			lists = append(lists, b.v.Verdict.RuledOut)
		}
	}
	index := map[string]int{}
	seen := set[[2]string]{}
	for _, list := range lists {
		for _, r := range list[:min(len(list), mostRows)] {
			var id evidence.ID
			if len(r.Because) > 0 {
				id = r.Because[0]
			}
			i, ok := index[string(id)]
			if !ok {
				if i = len(t.RuledOut); i == mostRows {
					continue
				}
				index[string(id)] = i
				o := ruledOutView{ID: p.clean(string(id))}
				if k := factIndex(d, id); k >= 0 {
					o.Fact = p.clean(d.Facts[k].Text)
				}
				t.RuledOut = append(t.RuledOut, o)
			}
			if seen.add([2]string{string(id), string(r.Cause)}) {
				t.RuledOut[i].Causes = append(t.RuledOut[i].Causes, causeView{p.clean(string(r.Cause)), p.clean(p.title(r.Cause))})
			}
		}
	}
	slices.SortStableFunc(t.RuledOut, func(a, b ruledOutView) int { return len(b.Causes) - len(a.Causes) })
}

func (t *targetView) facts(p *page, d *verdict.Diagnosis) {
	cited := set[evidence.ID]{}
	for _, id := range d.Verdict.Because {
		cited.add(id)
	}
	several := len(d.Addresses) > 1
	for i, f := range d.Facts {
		if i == mostRows {
			t.MoreFacts = len(d.Facts) - i
			break
		}
		h := factView{
			ID: p.clean(string(f.ID)), Question: p.clean(string(f.Key)), Value: p.clean(string(f.Value)),
			Text: p.clean(f.Text), Source: p.clean(f.Source), At: duration(f.At),
		}
		if k, ok := evidence.Lookup(f.Key); ok {
			h.Question = k.Question + "?"
		}
		if several && f.Addr.IsValid() {
			h.About = f.Addr.Addr().String()
		}
		_, h.Cited = cited[f.ID]
		t.Facts = append(t.Facts, h)
	}
}

func (t *targetView) notChecked(p *page, list []evidence.NotChecked) {
	index := map[[2]string]int{}
	for _, c := range list[:min(len(list), mostRows)] {
		key := [2]string{c.Reason, c.How}
		i, ok := index[key]
		if !ok {
			index[key] = len(t.NotChecked)
			how := p.clean(c.How)
			if isCommand(c.How) {
				how = command(strings.ReplaceAll(c.How, "\n", " "))
			}
			t.NotChecked = append(t.NotChecked, notCheckedView{p.clean(c.Check), p.clean(c.Reason), how, isCommand(c.How)})
			continue
		}
		if n := &t.NotChecked[i]; !slices.Contains(strings.Split(n.Checks, ", "), p.clean(c.Check)) {
			n.Checks += ", " + p.clean(c.Check)
		}
	}
}
