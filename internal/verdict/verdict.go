// Package verdict holds what may be said after the differential: the cause or
// the causes left, the facts that say so, what was ruled out, and what to do
// next. It is a value; package diagnose makes it, package report shows it.
package verdict

import (
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// CauseID is an ID of the catalogue, such as "no-listener".
type CauseID string

const (
	// None is the cause of a connection that works.
	None CauseID = "none"
	// Undetermined is said when facts contradict every cause.
	Undetermined CauseID = "undetermined"
)

// Certainty says how much a verdict claims.
type Certainty string

const (
	// Certain means that every other cause is contradicted by a fact.
	Certain Certainty = "certain"
	// Narrowed means that the candidates are left and nothing else.
	Narrowed Certainty = "narrowed"
	// Unknown means that no cause fits the facts, or there are no facts.
	Unknown Certainty = "unknown"
)

// Outcome is what a program that connects would experience.
type Outcome string

const (
	Open        Outcome = "open"
	Refused     Outcome = "refused"
	Timeout     Outcome = "timeout"
	Unreachable Outcome = "unreachable"
	Reset       Outcome = "reset"
	LocalError  Outcome = "local-error"
	NameError   Outcome = "name-error"
	// Degraded means that it connects, but what follows does not work, or
	// that some addresses work and others do not.
	Degraded Outcome = "degraded"
)

// Candidate is a cause that no fact contradicts.
type Candidate struct {
	Cause CauseID `json:"cause"`
	// Likelihood is in 0..1; the candidates of a verdict sum to 1. It orders
	// them; it is no measured frequency.
	Likelihood float64 `json:"likelihood"`
	// Refines names a more general candidate that this one would explain
	// further ("service-down" refines "no-listener").
	Refines CauseID `json:"refines,omitempty"`
}

// RuledOut is a cause and the facts that contradict it.
type RuledOut struct {
	Cause   CauseID       `json:"cause"`
	Because []evidence.ID `json:"because"`
}

// Step is a check to make next.
type Step struct {
	Check   string `json:"check"`
	Command string `json:"command,omitempty"`
	// Where is "client", "host" or "both".
	Where string `json:"where,omitempty"`
	// Separates lists the candidates that the check tells from the first.
	Separates []CauseID `json:"separates,omitempty"`
}

// Fix is something that would remove the cause.
type Fix struct {
	OS      string `json:"os"`
	Text    string `json:"text"`
	Command string `json:"command,omitempty"`
}

// Verdict is what may be said about one address, or about the name as a whole.
type Verdict struct {
	Certainty  Certainty   `json:"certainty"`
	Cause      CauseID     `json:"cause"` // the first candidate
	Candidates []Candidate `json:"candidates"`
	// Finding is the answer in one sentence. It claims no more than Certainty.
	Finding string `json:"finding"`
	// Where is the address of the machine at which it fails, if known.
	Where    netip.Addr    `json:"where,omitzero"`
	Because  []evidence.ID `json:"because"`
	RuledOut []RuledOut    `json:"ruled_out"`
	Next     []Step        `json:"next"`
	Fix      []Fix         `json:"fix"`
}

// AddressVerdict is the verdict about one address.
type AddressVerdict struct {
	Addr    netip.AddrPort `json:"addr"`
	Outcome Outcome        `json:"outcome"`
	Verdict Verdict        `json:"verdict"`
}

// Diagnosis is the whole result of one run against one target.
type Diagnosis struct {
	Set       evidence.Set // the raw evidence it rests on
	Facts     []evidence.Fact
	Outcome   Outcome
	Verdict   Verdict
	Addresses []AddressVerdict
	// NotChecked gathers what was not checked anywhere, without repetition.
	NotChecked []evidence.NotChecked
	// Redacted says that addresses, names and users were replaced by
	// placeholders; every form of the report must say so.
	Redacted bool
}
