// Package report shows a diagnosis: as text for people (Text), as a page to
// pass on (HTML, Markdown), as one line of JSON for programs (JSON), and, while
// it is being made, as one line that changes (Live). It reads back what JSON
// wrote (Read), says what changed between two runs (Compare), and replaces what
// must not be passed on (Redactor). It decides how things look and never what
// they mean: every statement comes from the verdict and the facts, and the
// wording claims no more than the verdict's certainty.
//
// All text that may come from outside is escaped here, whatever was done
// before: no control character reaches a terminal, no text becomes markup. It
// imports verdict, evidence and flow, the manual's pages, and htmlstyle.
package report

import (
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// Options say how Text shows a diagnosis. The zero value is ASCII without
// colour at 80 columns.
type Options struct {
	// Width is the number of columns that no line exceeds but for commands,
	// which are never broken. 0 means 80; less than 40 counts as 40.
	Width int
	// Color allows SGR sequences (ECMA-48 section 8.3.117).
	Color bool
	// Unicode allows characters beyond ASCII: lines of the drawing, and
	// letters of names, which are escaped otherwise.
	Unicode bool
	// Verbose shows everything: all candidates and contradictions, all facts,
	// the table of causes against facts, hops, name servers.
	Verbose bool
	// Quiet shows the answer alone, as one line that is not wrapped.
	Quiet bool
	// Titles gives a cause's title in the catalogue, "" when it has none. It
	// may be nil.
	Titles func(verdict.CauseID) string
	// Predicts gives the values of a fact that a cause allows; any means that
	// it allows all. It is for Verbose and may be nil: then the table of
	// causes against facts is left out.
	Predicts func(verdict.CauseID, evidence.Key) (allowed []evidence.Value, any bool)
}

// The exit codes that a diagnosis can lead to; DESIGN.md section 5 has all.
const (
	exitWorks     = 0
	exitExplained = 1
	exitUnknown   = 3
)

// ExitCode is the exit status of a run: 0 when the connection works, 1 when it
// fails and the report says why, be it certain or narrowed, 3 when it fails
// and the cause could not be narrowed. Degraded counts as failing.
func ExitCode(d *verdict.Diagnosis) int {
	switch {
	case d.Set.Interrupted && d.Verdict.Certainty != verdict.Certain:
		return exitUnknown // neither that it works nor why not
	case d.Outcome == verdict.Open:
		return exitWorks
	case explained(&d.Verdict):
		return exitExplained
	default:
		return exitUnknown
	}
}

// explained says whether a verdict names a cause or causes.
func explained(v *verdict.Verdict) bool {
	named := v.Cause != "" && v.Cause != verdict.None && v.Cause != verdict.Undetermined
	return named && (v.Certainty == verdict.Certain || v.Certainty == verdict.Narrowed)
}
