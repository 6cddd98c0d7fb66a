// Package judge holds the diagnosis against the lab: it builds a scenario, runs
// the program where the user would sit, and compares what it says with the
// truth, which only the lab knows.
//
// It runs the program as a user does and reads its JSON, so it judges all of it,
// the command line included. It imports lab, afpacket and pcapfile, and nothing
// of the collectors or the diagnosis.
package judge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/lab"
)

// Vantage is where the evidence comes from.
type Vantage string

// The vantages.
const (
	Ordinary Vantage = "ordinary" // a user without privilege, at the client
	Root     Vantage = "root"     // root at the client
	// WithHost is Root, with what root of the host tells that should answer.
	WithHost Vantage = "host"
)

// Case is one diagnosis to judge.
type Case struct {
	Scenario lab.Scenario
	Family   lab.Family
	Vantage  Vantage
	Params   lab.Params
}

func (c Case) String() string {
	return fmt.Sprintf("%s/%v/%s", c.Scenario.Name, c.Family, c.Vantage)
}

// Vantages are those of the client alone.
var Vantages = []Vantage{Ordinary, Root}

// Cases are all cases of the scenarios from the vantages, ordered by scenario.
func Cases(scenarios []lab.Scenario, vantages ...Vantage) []Case {
	var all []Case
	for _, s := range scenarios {
		for _, f := range s.Families {
			for _, v := range vantages {
				all = append(all, Case{Scenario: s, Family: f, Vantage: v})
			}
		}
	}
	return all
}

// Ideal are the causes that the best verdict leaves.
func (c Case) Ideal() []string {
	ideal := c.Scenario.Ideal.Ordinary
	switch c.Vantage {
	case Root:
		ideal = c.Scenario.Ideal.Root
	case WithHost:
		ideal = c.Scenario.HostIdeal()
	}
	if ideal == nil {
		ideal = []string{c.Scenario.Cause}
	}
	return ideal
}

// Result is a case and what the program said.
type Result struct {
	Scenario string   `json:"scenario"`
	Stage    string   `json:"stage"`
	Truth    []string `json:"truth"` // one cause, or those of combined scenarios
	Family   int      `json:"family"`
	Vantage  Vantage  `json:"vantage"`

	Outcome   string   `json:"outcome,omitempty"`
	Certainty string   `json:"certainty,omitempty"`
	Verdict   string   `json:"verdict,omitempty"` // the first candidate
	Left      []string `json:"left,omitempty"`    // candidates, refinements left out
	Finding   string   `json:"finding,omitempty"`
	ElapsedMS float64  `json:"elapsed_ms,omitempty"`

	// Sound: the truth is among the candidates, and a verdict that is certain is
	// the truth. Sharp: no candidate is left that the ideal does not leave.
	Sound bool `json:"sound"`
	Sharp bool `json:"sharp"`
	// Extra are the candidates beyond the ideal, and Why says, where that is known,
	// what the program lacks to rule them out.
	Extra []string `json:"extra,omitempty"`
	Why   string   `json:"why,omitempty"`
	// Unsupported says what the kernel lacks to make the scenario, "" if nothing.
	Unsupported string `json:"unsupported,omitempty"`
	// Error says why there was nothing to judge: the lab or the program failed.
	Error string `json:"error,omitempty"`
}

// Result is the case with no verdict yet.
func (c Case) Result() Result {
	return Result{Scenario: c.Scenario.Name, Stage: c.Scenario.Stage, Truth: c.Scenario.Truth(), Family: int(c.Family), Vantage: c.Vantage}
}

// Try builds the case, proves that its fault is there, runs the program and
// judges what it says. Arguments of the program come before the target.
func Try(ctx context.Context, c Case, program string, args ...string) Result {
	l, err := Open(ctx, c)
	if err != nil {
		return c.failed(err)
	}
	r, _ := c.Ask(l, program, args...)
	if err := l.Close(); err != nil && r.Error == "" {
		r.Error = err.Error()
	}
	return r
}

// Open builds the case's lab and, unless the fault is to come later, proves that
// it is there.
func Open(ctx context.Context, c Case) (*lab.Lab, error) {
	l, err := lab.Open(ctx, c.Scenario, c.Family, c.Params)
	if err != nil || c.Params.Later {
		return l, err
	}
	if err := l.Verify(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// failed is the result where there is no lab.
func (c Case) failed(err error) Result {
	r := c.Result()
	if errors.Is(err, errors.ErrUnsupported) {
		r.Unsupported = err.Error()
	} else {
		r.Error = err.Error()
	}
	return r
}

// Ask runs the program in the case's lab and judges what it says. It returns
// the program's JSON, too.
func (c Case) Ask(l *lab.Lab, program string, args ...string) (Result, []byte) {
	r := c.Result()
	args = slices.Concat([]string{"-o", "json"}, args, c.Scenario.Arguments(c.Family))
	var told io.Reader
	if c.Vantage == WithHost && l.Answers() != c.Scenario.From { // else it looks at itself
		tell, end, err := tellOf(l, program)
		if err != nil {
			r.Error = "the host tells nothing: " + err.Error()
			return r, nil
		}
		defer end()
		told, args = tell, append(args, "--host-evidence", "-")
	}
	client := l.Command(c.Scenario.From, c.Vantage == Ordinary, program, append(args, l.Target())...)
	client.Stdin = told
	out, err := client.Output()
	if len(out) == 0 {
		r.Error = fmt.Sprintf("the program gave no answer: %v%s", err, stderr(err))
		return r, nil
	}
	if err := r.read(out); err != nil {
		r.Error = "the program's answer: " + err.Error()
		return r, nil
	}
	r.judge(c.Ideal())
	if !r.Sharp {
		r.Why = c.Scenario.Blunt
	}
	return r, out
}

// tellOf starts the program on the host that should answer, and returns what it
// tells until end is called.
func tellOf(l *lab.Lab, program string) (told io.Reader, end func(), err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	args := []string{"host", fmt.Sprintf(":%d", l.Dst().Port()), "--from", l.Addr(l.Scenario.From).String(), "--during", "1m", "-o", "json"}
	if log := l.Log(); log != "" {
		args = append(args, "--log", log)
	}
	host := l.Command(l.Answers(), false, program, args...)
	host.Stdout = w
	err = errors.Join(host.Start(), w.Close())
	if err != nil {
		return nil, nil, errors.Join(err, r.Close())
	}
	return r, func() {
		r.Close()
		host.Process.Kill()
		host.Wait()
	}, nil
}

func stderr(err error) string {
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return fmt.Sprintf(": %.400s", exit.Stderr)
	}
	return ""
}

// read takes from the program's JSON what is judged.
func (r *Result) read(out []byte) error {
	var a struct {
		Outcome   string
		ElapsedMS float64 `json:"elapsed_ms"`
		Verdict   struct {
			Certainty, Cause, Finding string
			Candidates                []struct{ Cause, Refines string }
		}
	}
	if err := json.Unmarshal(out, &a); err != nil {
		return err
	}
	v := a.Verdict
	r.Outcome, r.Certainty, r.Verdict, r.Finding, r.ElapsedMS = a.Outcome, v.Certainty, v.Cause, v.Finding, a.ElapsedMS
	for _, c := range v.Candidates {
		if c.Refines == "" {
			r.Left = append(r.Left, c.Cause)
		}
		r.Sound = r.Sound || slices.Contains(r.Truth, c.Cause)
	}
	return nil
}

func (r *Result) judge(ideal []string) {
	if r.Certainty == "certain" && !slices.Contains(r.Truth, r.Verdict) {
		r.Sound = false
	}
	for _, c := range r.Left {
		if !slices.Contains(ideal, c) {
			r.Extra = append(r.Extra, c)
		}
	}
	r.Sharp = len(r.Extra) == 0
}
