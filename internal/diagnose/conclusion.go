package diagnose

import (
	"sync"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/manual"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// conclusion is the part of a verdict that follows from the keys and values of
// the facts alone, whatever addresses and numbers they tell of. It may be shared
// and does not change.
type conclusion struct {
	d          *Differential
	certainty  verdict.Certainty
	cause      verdict.CauseID
	first      *left // the likeliest; nil where no cause fits
	candidates []verdict.Candidate
	because    []evidence.ID
	// checks are what a person can look at, each with the candidates that it
	// separates from the first; confirm and fix are of the manual.
	checks       []Check
	separates    [][]verdict.CauseID
	confirm, fix []manual.Item
}

const (
	mostConfirms = 2
	mostFixes    = 3
)

// conclude says what the differential leaves; privileged says of the run that
// made the facts that no privilege would show more.
func (d *Differential) conclude(privileged bool) *conclusion {
	c := &conclusion{d: d, candidates: d.Candidates()}
	roots, first := d.roots()
	switch {
	case len(d.facts) == 0 || roots == 0:
		c.certainty, c.cause, c.candidates = verdict.Unknown, verdict.Undetermined, []verdict.Candidate{}
		for _, f := range d.facts {
			if f.Key == evidence.Connect || f.Key == evidence.Answer {
				c.because = append(c.because, f.ID)
			}
		}
	case roots == 1:
		c.certainty, c.first = verdict.Certain, d.refined(first)
	default:
		c.certainty, c.first = verdict.Narrowed, first
	}
	if c.first != nil {
		c.cause = c.first.cause.ID
		c.because = d.because(c.first)
		moveFirst(c.candidates, c.cause)
	}
	c.because = nonNil(c.because)
	if c.cause == verdict.None {
		return c
	}
	if c.certainty == verdict.Narrowed {
		c.checks = d.next(privileged)
		for i := range c.checks {
			c.separates = append(c.separates, d.separates(&c.checks[i]))
		}
	}
	if page, ok := manual.Page(string(c.cause)); ok {
		if c.certainty == verdict.Certain {
			c.confirm = forLinux(page.Confirm, mostConfirms)
		}
		c.fix = forLinux(page.Fix, mostFixes)
	}
	return c
}

// verdict says it about one address.
func (c *conclusion) verdict(v *view) verdict.Verdict {
	out := verdict.Verdict{
		Certainty: c.certainty, Cause: c.cause, Candidates: c.candidates, RuledOut: nonNil(c.d.ruled), Because: c.because,
	}
	switch {
	case len(c.d.facts) == 0:
		out.Finding = "nothing was seen that could be judged"
	case c.certainty == verdict.Unknown:
		out.Finding = "no known cause fits what was seen"
	case c.certainty == verdict.Certain:
		out.Finding = v.finding(c.first.cause)
	default:
		out.Finding = v.narrowed(c.d, c.first)
	}
	out.Where = v.where(out.Cause, out.Certainty)
	out.Next, out.Fix = c.advice(v, &out)
	return out
}

// Memo remembers conclusions: a capture holds many connections whose facts have
// equal keys and values, and to conclude takes longer than all the rest. The
// zero value is ready; several goroutines may use one. What it gives is shared
// and must not be changed.
type Memo struct {
	mu    sync.RWMutex
	known map[string]*conclusion
}

// mostKnown bounds the memory of a memo, to some 10 MiB; captures have shown a
// few dozen kinds.
const mostKnown = 1000

// conclusion gives that of facts that are numbered from e1 on.
func (m *Memo) conclusion(facts []evidence.Fact) *conclusion {
	var room [1024]byte
	key := room[:0]
	for i := range facts {
		f := &facts[i]
		key = append(append(key, f.Key...), '=')
		key = append(append(key, f.Value...), ' ')
	}
	m.mu.RLock()
	c := m.known[string(key)]
	m.mu.RUnlock()
	if c != nil {
		return c
	}
	c = Differ(evidence.ScopeAddress, facts).conclude(false)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[string]*conclusion{}
	}
	if len(m.known) < mostKnown {
		m.known[string(key)] = c
	}
	return c
}
