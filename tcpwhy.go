// Package tcpwhy says why a TCP connection fails, for Go programs:
//
//   - [Explain] takes an error that net.Dial, net/http, a database driver or
//     crypto/tls returned, and [ExplainText] a line of a log of any program. They
//     say what the error proves, what it leaves open, and which causes remain.
//     Nothing is sent.
//   - [Diagnose] looks for itself, as the program tcpwhy does, and says which
//     cause it is, how sure that is, and what to do.
//   - [Dialer] and [Transport] do that for a dial that failed, when asked to,
//     and add the verdict to its error. A dial that works costs nothing more.
//
// The package sits on the top layer: it wires the services for other programs
// as the command line does for people, and may import everything below.
package tcpwhy

import (
	"bytes"
	"context"
	"net/netip"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/probe"
	"github.com/tcpwhy/tcpwhy/internal/report"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// Cause is an entry of the catalogue of causes that may be behind a failure.
type Cause struct {
	// ID is stable, such as "no-listener". The manual has a page for it:
	// tcpwhy explain no-listener.
	ID    string
	Title string // what is wrong
	Stage string // name, local, path, host, listener or session
	// Likelihood is in 0..1; those of a list sum to 1. It orders the causes and
	// is no measured frequency.
	Likelihood float64
	// Refines is the ID of a more general cause of the list that this one would
	// explain further.
	Refines string
}

// Outcome is what a program that connects would experience.
type Outcome string

// The outcomes of a diagnosis.
const (
	Open        Outcome = "open"
	Refused     Outcome = "refused"
	Timeout     Outcome = "timeout"
	Unreachable Outcome = "unreachable"
	Reset       Outcome = "reset"
	LocalError  Outcome = "local-error"
	NameError   Outcome = "name-error"
	Degraded    Outcome = "degraded"
)

// Certainty says how much a diagnosis claims.
type Certainty string

// The certainties: one cause left, several left, none that fits.
const (
	Certain  Certainty = "certain"
	Narrowed Certainty = "narrowed"
	Unknown  Certainty = "unknown"
)

// Step is something to do: a check or a fix.
type Step struct {
	Text    string
	Command string // a line for a shell; may be empty
	OS      string // of a fix: the operating system that it is for
}

// Diagnosis is what Diagnose found out.
type Diagnosis struct {
	Target    string // as asked for, without password
	Outcome   Outcome
	Certainty Certainty
	// Cause is the cause, or the likeliest of the Candidates: "none" if the
	// connection works, "undetermined" if nothing known fits.
	Cause      string
	Finding    string     // the answer in one sentence
	Where      netip.Addr // the machine at which it fails, if known
	Candidates []Cause    // what no fact contradicts, the likeliest first
	Next       []Step     // checks that would tell more
	Fix        []Step     // what would remove the cause
	// NotChecked lists what was not looked at, with the reason.
	NotChecked []string
	Elapsed    time.Duration

	json []byte
}

// MarshalJSON gives the whole diagnosis with its evidence, in the form that the
// schema tcpwhy.diagnosis/1 fixes: what tcpwhy -o json prints.
func (d *Diagnosis) MarshalJSON() ([]byte, error) { return bytes.TrimSpace(d.json), nil }

// String is the outcome and the finding in one line.
func (d *Diagnosis) String() string {
	return d.Target + ": " + string(d.Outcome) + ": " + d.Finding + " (" + string(d.Certainty) + ")"
}

// Option changes how Diagnose works.
type Option func(*probe.Options)

// ConnectTimeout is how long a connect may take. The default is 3 s.
func ConnectTimeout(d time.Duration) Option {
	return func(o *probe.Options) { o.ConnectTimeout = d }
}

// Patience is how long silence must last to count, where the host answers other
// things. The default is 0.5 s; slow paths need more.
func Patience(d time.Duration) Option {
	return func(o *probe.Options) { o.Patience = d }
}

// Gentle sends nothing but the connects: no path trace, no further probes, no
// greeting on a connection that opens.
func Gentle() Option { return func(o *probe.Options) { o.Gentle = true } }

// Source connects from an address of this host.
func Source(a netip.Addr) Option { return func(o *probe.Options) { o.Source = a } }

// Diagnose connects to a target and looks for the reason if that fails. A
// target is host:port, host:service or a URL, as for the command. Packets go to
// the target, the configured name servers and the routers on the way only.
//
// When ctx is done it returns what is known by then, which may be little. The
// error is not nil if the target is none, or if ctx was done before the start.
func Diagnose(ctx context.Context, target string, opts ...Option) (*Diagnosis, error) {
	t, err := flow.ParseTarget(target)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var o probe.Options
	for _, set := range opts {
		set(&o)
	}
	return publish(probe.Run(ctx, t, o))
}

// publish makes of a diagnosis what the package promises to keep stable.
func publish(d *verdict.Diagnosis) (*Diagnosis, error) {
	v := &d.Verdict
	out := &Diagnosis{
		Target: d.Set.Target.Input, Outcome: Outcome(d.Outcome), Certainty: Certainty(v.Certainty), Cause: string(v.Cause),
		Finding: v.Finding, Where: v.Where, Elapsed: d.Set.Elapsed,
	}
	for _, c := range v.Candidates {
		out.Candidates = append(out.Candidates, named(c))
	}
	for _, s := range v.Next {
		out.Next = append(out.Next, Step{Text: s.Check, Command: s.Command})
	}
	for _, f := range v.Fix {
		out.Fix = append(out.Fix, Step{Text: f.Text, Command: f.Command, OS: f.OS})
	}
	for _, n := range d.NotChecked {
		out.NotChecked = append(out.NotChecked, n.Check+": "+n.Reason)
	}
	var b bytes.Buffer
	if err := report.JSON(&b, d); err != nil {
		return nil, err
	}
	out.json = b.Bytes()
	return out, nil
}

// named adds what the catalogue says to a candidate.
func named(c verdict.Candidate) Cause {
	out := Cause{ID: string(c.Cause), Title: cause.Title(c.Cause), Likelihood: c.Likelihood, Refines: string(c.Refines)}
	if e, ok := cause.Get(c.Cause); ok {
		out.Stage = string(e.Stage)
	}
	return out
}
