package report

import (
	"slices"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// group is a candidate and those that refine it.
type group struct {
	verdict.Candidate
	sum     float64 // likelihood of it and its refinements together
	refined []verdict.Candidate
}

// groups puts refinements below the cause that they refine. The group of the
// verdict's own cause comes first, then the likeliest.
func groups(v *verdict.Verdict) []group {
	index := make(map[verdict.CauseID]int, len(v.Candidates))
	for i, c := range v.Candidates {
		index[c.Cause] = i
	}
	root := func(i int) int {
		at := i
		for range 8 {
			parent, ok := index[v.Candidates[at].Refines]
			if !ok || v.Candidates[at].Refines == "" {
				return at
			}
			at = parent
		}
		return i // causes that refine each other
	}
	var out []group
	place := map[int]int{}
	for i, c := range v.Candidates {
		r := root(i)
		k, ok := place[r]
		if !ok {
			k = len(out)
			place[r] = k
			out = append(out, group{Candidate: v.Candidates[r]})
		}
		out[k].sum += c.Likelihood
		if i != r {
			out[k].refined = append(out[k].refined, c)
		}
	}
	if len(out) > 1 {
		rest := out
		if first, ok := index[v.Cause]; ok {
			k := place[root(first)]
			g := out[k]
			copy(out[1:k+1], out[:k])
			out[0] = g
			rest = out[1:]
		}
		slices.SortStableFunc(rest, func(a, b group) int {
			switch {
			case a.sum > b.sum:
				return -1
			case a.sum < b.sum:
				return 1
			default:
				return 0
			}
		})
	}
	return out
}

// candidates writes the table of causes that are left, when there is more than
// one: general causes first get room, then what refines them. A certain cause
// with refinements has the table with Verbose only; see behind.
func (p *page) candidates(v *verdict.Verdict) {
	if len(v.Candidates) < 2 || v.Certainty == verdict.Certain && !p.Verbose {
		return
	}
	type line struct{ percent, words, in, cause string }
	gs := groups(v)
	limit := p.limit(5, len(v.Candidates))
	spare := max(0, limit-len(gs))
	var lines []line
	for _, g := range gs[:min(len(gs), limit)] {
		words := inWords(g.sum)
		if v.Certainty == verdict.Certain && len(gs) == 1 {
			words = "certain"
		}
		lines = append(lines, line{percent(g.sum), words, "", p.named(g.Cause)})
		n := min(spare, len(g.refined))
		spare -= n
		for _, c := range g.refined[:n] {
			lines = append(lines, line{percent(c.Likelihood), "", "  ", p.named(c.Cause)})
		}
	}
	words := 0
	for _, l := range lines {
		words = max(words, cells(l.words))
	}
	p.blank()
	for _, l := range lines {
		s := strings.Repeat(" ", indent) + padLeft(l.percent, 5) + "  " + pad(l.words, words) + "  " + l.in
		for i, t := range wrap(p.clean(l.cause), p.Width-cells(s)-indent) {
			if i == 1 {
				s = strings.Repeat(" ", cells(s)+indent)
			}
			p.raw(s + t)
		}
	}
	if n := len(v.Candidates) - len(lines); n > 0 {
		p.raw(strings.Repeat(" ", indent) + p.moreText(n))
	}
	p.blank()
}

// behind writes what may be behind a certain cause, on one line.
func (p *page) behind(v *verdict.Verdict) {
	if v.Certainty != verdict.Certain || len(v.Candidates) < 2 || p.Verbose {
		return
	}
	var names []string
	for _, c := range v.Candidates {
		if c.Cause != v.Cause {
			names = append(names, string(c.Cause)+" "+percent(c.Likelihood))
		}
	}
	p.section("behind it")
	p.item("", "perhaps "+p.fit(names, p.Width-p.margin-len("perhaps ")))
}
