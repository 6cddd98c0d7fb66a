package report

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// Text writes a diagnosis for people. The first line is the answer. What
// proves it and what to do about it follow, so that all of it is on the first
// screen; then what was ruled out and what was not looked at.
func Text(w io.Writer, d *verdict.Diagnosis, o Options) error {
	p := newPage(o)
	answer := headline(p, d)
	if o.Quiet {
		p.raw(p.paint(answerColor(d.Outcome), p.clean(answer)))
	} else {
		p.prose(0, indent, answerColor(d.Outcome), answer)
		if d.Redacted {
			p.prose(indent, 0, "", redactedNote)
		}
		p.body(d)
	}
	_, err := w.Write(append(bytes.TrimRight(p.buf.Bytes(), "\n"), '\n'))
	return err
}

// headline is the answer in one line.
func headline(p *page, d *verdict.Diagnosis) string {
	if d.Set.Interrupted && !explained(&d.Verdict) && d.Outcome != verdict.Open {
		return target(d.Set.Target) + " was not decided: stopped after " + duration(d.Set.Elapsed)
	}
	return p.answer(target(d.Set.Target), d.Outcome, &d.Verdict)
}

func answerColor(o verdict.Outcome) string {
	switch o {
	case verdict.Open:
		return sgrGreen
	case verdict.Degraded:
		return sgrYellow
	default:
		return sgrRed
	}
}

// answer is the first line: what happens, and as much of why as the verdict
// claims.
func (p *page) answer(subject string, o verdict.Outcome, v *verdict.Verdict) string {
	s := subject + " " + experience(o)
	finding := strings.TrimRight(strings.TrimSpace(v.Finding), ".")
	if finding == "" {
		finding = p.named(v.Cause)
	}
	switch {
	case o == verdict.Open && !explained(v):
		if v.Finding != "" {
			s += ": " + finding
		}
	case !explained(v):
		s += ", and the cause could not be narrowed"
	case v.Certainty == verdict.Certain:
		s += ": " + finding + " (certain)"
	default:
		s += ": " + choice(v)
	}
	return s
}

// choice says what a narrowed verdict leaves, counting general causes only.
func choice(v *verdict.Verdict) string {
	if n := len(groups(v)); n > 1 {
		return fmt.Sprintf("one of %d causes, likeliest %s", n, v.Cause)
	}
	if len(v.Candidates) > 1 {
		return string(v.Candidates[0].Cause) + ", though what is behind it is open"
	}
	return "probably " + string(v.Cause)
}

// named is a cause with its title: "no-listener: nothing listens on the port".
func (p *page) named(c verdict.CauseID) string {
	if t := p.title(c); t != "" {
		return string(c) + ": " + t
	}
	return string(c)
}

func (p *page) title(c verdict.CauseID) string {
	if p.Titles == nil {
		return ""
	}
	return p.Titles(c)
}

// body writes all but the first line.
func (p *page) body(d *verdict.Diagnosis) {
	if d.Set.Interrupted && (explained(&d.Verdict) || d.Outcome == verdict.Open) {
		p.prose(indent, 0, "", "stopped early: this is what was known after "+duration(d.Set.Elapsed))
	}
	blocks := alike(d)
	// The whole has a verdict of its own unless it is that of an address.
	own := !slices.ContainsFunc(blocks, func(b block) bool { return b.v.Verdict.Cause == d.Verdict.Cause })
	switch {
	case d.Outcome == verdict.Open && !explained(&d.Verdict):
		p.works(d)
	case len(blocks) == 1 && !own:
		p.subtitle(&d.Verdict)
		p.addresses(d)
		p.proof(d, &d.Verdict, evidenceOf(d, blocks[0].v))
	default:
		if own {
			p.subtitle(&d.Verdict)
		}
		p.addresses(d)
		if own {
			p.proof(d, without(&d.Verdict, blocks), nil)
		}
		p.blocks(d, blocks)
	}
	p.advice(d, blocks)
	if d.Outcome != verdict.Open || p.Verbose {
		if own || len(blocks) == 1 {
			p.ruledOut(d.Verdict.RuledOut)
		}
		p.notChecked(d.NotChecked)
	}
	if p.Verbose {
		p.raws(d, blocks, own)
	}
}

// subtitle gives the finding where the first line had no room to claim it.
func (p *page) subtitle(v *verdict.Verdict) {
	if v.Certainty != verdict.Certain && v.Finding != "" {
		p.prose(indent, 0, "", v.Finding)
	}
}

// proof writes what led to a verdict.
func (p *page) proof(d *verdict.Diagnosis, v *verdict.Verdict, a *evidence.Address) {
	p.candidates(v)
	if a != nil {
		p.ladder(a)
	}
	p.blank()
	p.cause(v)
	p.behind(v)
	p.why(d, v)
}

// without leaves out of the verdict of the whole the facts that the verdicts
// of its addresses cite: they are shown there.
func without(v *verdict.Verdict, blocks []block) *verdict.Verdict {
	out := *v
	out.Because = slices.DeleteFunc(slices.Clone(v.Because), func(id evidence.ID) bool {
		return slices.ContainsFunc(blocks, func(b block) bool { return slices.Contains(b.v.Verdict.Because, id) })
	})
	return &out
}

// block is a failing address, and others whose verdict is the same.
type block struct {
	v      *verdict.AddressVerdict
	others int
}

// alike joins failing addresses whose verdicts say the same.
func alike(d *verdict.Diagnosis) []block {
	var blocks []block
	index := map[string]int{}
	for i := range d.Addresses {
		a := &d.Addresses[i]
		if a.Outcome == verdict.Open && !explained(&a.Verdict) {
			continue
		}
		key := likeness(a)
		if k, ok := index[key]; ok {
			blocks[k].others++
			continue
		}
		index[key] = len(blocks)
		blocks = append(blocks, block{v: a})
	}
	return blocks
}

// likeness is equal for two addresses that fare alike for the same causes.
func likeness(a *verdict.AddressVerdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s|%s|%s", a.Outcome, a.Verdict.Certainty, a.Verdict.Cause)
	for _, c := range a.Verdict.Candidates {
		fmt.Fprintf(&b, "|%s", c.Cause)
	}
	return b.String()
}

// blocks writes the verdicts of addresses, each after a line like the first.
func (p *page) blocks(d *verdict.Diagnosis, blocks []block) {
	if len(blocks) == 0 {
		return
	}
	n := p.limit(3, len(blocks))
	for _, b := range blocks[:n] {
		subject := b.v.Addr.Addr().String()
		if b.others > 0 {
			subject += " (and " + count(b.others, "other", "others") + ")"
		}
		p.blank()
		p.prose(0, indent, "", p.answer(subject, b.v.Outcome, &b.v.Verdict))
		p.subtitle(&b.v.Verdict)
		p.proof(d, &b.v.Verdict, evidenceOf(d, b.v))
		p.ruledOut(b.v.Verdict.RuledOut)
	}
	p.blank()
	if n < len(blocks) {
		p.prose(0, indent, "", p.moreText(len(blocks)-n)+", with other causes")
		p.blank()
	}
}

func evidenceOf(d *verdict.Diagnosis, v *verdict.AddressVerdict) *evidence.Address {
	i := slices.IndexFunc(d.Set.Addresses, func(a evidence.Address) bool { return a.Addr == v.Addr })
	if i < 0 {
		return nil
	}
	return &d.Set.Addresses[i]
}
