package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// DiffSchemaID is the value of "schema" in every object about what changed
// between two runs. Within a version fields are only ever added.
const DiffSchemaID = "tcpwhy.diff/1"

//go:embed schema/tcpwhy.diff-1.schema.json
var diffSchema string

// DiffSchema returns the JSON Schema (draft 2020-12) of the lines that
// ChangesJSON writes.
func DiffSchema() string { return diffSchema }

type jsonDiff struct {
	Schema   string           `json:"schema"`
	Target   jsonTarget       `json:"target"`
	Status   string           `json:"status"`
	Redacted bool             `json:"redacted,omitempty"`
	Before   *jsonRun         `json:"before,omitempty"`
	After    *jsonRun         `json:"after,omitempty"`
	Changes  []jsonDifference `json:"changes"`
}

// jsonRun is the answer of one of the two runs.
type jsonRun struct {
	Started   string            `json:"started"`
	Elapsed   millis            `json:"elapsed_ms"`
	Outcome   verdict.Outcome   `json:"outcome"`
	Certainty verdict.Certainty `json:"certainty"`
	Cause     verdict.CauseID   `json:"cause"`
	Where     netip.Addr        `json:"where,omitzero"`
}

type jsonDifference struct {
	Kind   ChangeKind   `json:"kind"`
	Addr   netip.Addr   `json:"addr,omitzero"`
	Key    evidence.Key `json:"fact,omitempty"`
	What   string       `json:"what"`
	Before string       `json:"before"`
	After  string       `json:"after"`
}

// ChangesJSON writes a comparison as one line a target, by the schema that
// DiffSchema returns; strings are as in JSON.
func ChangesJSON(w io.Writer, list []TargetChange) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i := range list {
		if err := enc.Encode(newJSONDiff(&list[i])); err != nil {
			return fmt.Errorf("report: encoding what changed: %w", err)
		}
	}
	_, err := w.Write(escapeUnprintable(b.Bytes()))
	return err
}

func newJSONDiff(c *TargetChange) jsonDiff {
	out := jsonDiff{Schema: DiffSchemaID, Status: "same", Before: newJSONRun(c.Before), After: newJSONRun(c.After), Changes: []jsonDifference{}}
	d := c.After
	switch {
	case c.After == nil:
		out.Status, d = "only-before", c.Before
	case c.Before == nil:
		out.Status = "only-after"
	case len(c.Items) > 0:
		out.Status = "changed"
	}
	out.Target = jsonTarget{d.Set.Target.Input, d.Set.Target.Host, d.Set.Target.Port}
	out.Redacted = anyRedacted([]TargetChange{*c})
	for _, item := range c.Items {
		out.Changes = append(out.Changes, jsonDifference(item))
	}
	return out
}

func newJSONRun(d *verdict.Diagnosis) *jsonRun {
	if d == nil {
		return nil
	}
	return &jsonRun{
		Started: jsonTime(d.Set.Started), Elapsed: millis(d.Set.Elapsed),
		Outcome: d.Outcome, Certainty: d.Verdict.Certainty, Cause: d.Verdict.Cause, Where: d.Verdict.Where,
	}
}
