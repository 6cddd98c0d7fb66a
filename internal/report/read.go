package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// Limits of what Read takes.
const (
	MaxSaved     = 64 << 20 // bytes of one file
	maxDiagnoses = 10_000
	maxMillis    = 1e12 // 30 years
)

// ReadError is what is wrong with saved JSON.
type ReadError struct {
	Name    string // of the file, as it was called
	Line    int    // from 1; 0 when it is about the file as a whole
	Problem string
	Hint    string // what to do
}

func (e *ReadError) Error() string {
	if e.Line == 0 {
		return e.Name + ": " + e.Problem
	}
	return fmt.Sprintf("%s:%d: %s", e.Name, e.Line, e.Problem)
}

const remake = "Save it anew: tcpwhy -o json TARGET > FILE"

// Read reads what JSON wrote, one diagnosis or several; name is what errors
// call the file. Fields that it does not know are skipped, as docs/json.md asks
// of a reader. What comes back has what JSON holds: Text with Verbose has no
// name server queries to show.
//
// Any error but one of r itself is a *ReadError.
func Read(r io.Reader, name string) ([]*verdict.Diagnosis, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSaved+1))
	if err != nil {
		if path := (*fs.PathError)(nil); errors.As(err, &path) {
			return nil, err // it names the file
		}
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > MaxSaved {
		return nil, &ReadError{name, 0, fmt.Sprintf("it is larger than %d MiB", MaxSaved>>20), "Split it: it holds one diagnosis a line."}
	}
	var out []*verdict.Diagnosis
	dec := json.NewDecoder(bytes.NewReader(data))
	for {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			at := dec.InputOffset()
			var syntax *json.SyntaxError
			if errors.As(err, &syntax) {
				at = syntax.Offset
			} else if errors.Is(err, io.ErrUnexpectedEOF) {
				at = int64(len(data))
			}
			return nil, &ReadError{name, lineAt(data, at), "not JSON: " + plainError(err), remake}
		}
		start := dec.InputOffset() - int64(len(raw))
		if len(out) == maxDiagnoses {
			return nil, &ReadError{name, lineAt(data, start), fmt.Sprintf("more than %d diagnoses", maxDiagnoses), "Split it: it holds one diagnosis a line."}
		}
		d, at, err := readOne(raw)
		if err != nil {
			e := &ReadError{name, lineAt(data, start+at), err.Error(), remake}
			var version *versionError
			if errors.As(err, &version) {
				e.Hint = version.hint
			}
			return nil, e
		}
		out = append(out, d)
	}
	if len(out) == 0 {
		return nil, &ReadError{name, 0, "there is no diagnosis in it", remake}
	}
	return out, nil
}

// lineAt is the number of the line that a byte is on.
func lineAt(data []byte, at int64) int {
	return 1 + bytes.Count(data[:max(0, min(at, int64(len(data))))], []byte("\n"))
}

// plainError says an error of encoding/json in words, escaped: it may quote
// what was read.
func plainError(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "it ends in the middle"
	}
	return escape(strings.TrimPrefix(err.Error(), "json: "), true, maxText)
}

// versionError is JSON that is no diagnosis of the version that Read knows.
type versionError struct{ problem, hint string }

func (e *versionError) Error() string { return e.problem }

// readOne reads one object. The offset is where an error is, within raw.
func readOne(raw []byte) (d *verdict.Diagnosis, at int64, err error) {
	var head struct {
		Schema json.RawMessage `json:"schema"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, 0, errors.New("not an object of JSON, as a diagnosis is")
	}
	var schema string
	_ = json.Unmarshal(head.Schema, &schema) // "" for what is no string
	if schema != SchemaID {
		return nil, 0, wrongSchema(schema)
	}
	var doc document
	if err := json.Unmarshal(raw, &doc); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return nil, wrong.Offset, fmt.Errorf("%s is no %s but a %s", quoted(wrong.Field), wrong.Type, wrong.Value)
		}
		return nil, 0, errors.New(plainError(err))
	}
	d, err = doc.diagnosis()
	return d, 0, err
}

func wrongSchema(schema string) error {
	const kind = "tcpwhy.diagnosis/"
	version, ok := strings.CutPrefix(schema, kind)
	switch {
	case schema == "":
		return &versionError{`no diagnosis of tcpwhy: it has no "schema"`, remake}
	case ok:
		return &versionError{
			"version " + quoted(version) + " of the format; this tcpwhy reads version " + strings.TrimPrefix(SchemaID, kind),
			"Read it with the tcpwhy that wrote it, or a newer one.",
		}
	default:
		return &versionError{"it is " + quoted(schema) + ", not " + SchemaID, remake}
	}
}

func quoted(s string) string { return strconv.Quote(escape(s, true, 60)) }

func (m *millis) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.Abs(f) > maxMillis {
		return fmt.Errorf("%s is no time in milliseconds", escape(string(b), true, 40))
	}
	*m = millis(time.Duration(math.Round(f*1e3)) * time.Microsecond)
	return nil
}

// diagnosis makes of the contract's fields what reports are made of.
func (doc *document) diagnosis() (*verdict.Diagnosis, error) {
	started, err := time.Parse(time.RFC3339Nano, doc.Started)
	if err != nil {
		return nil, fmt.Errorf("started %s is no time", quoted(doc.Started))
	}
	if doc.Target.Port == 0 || doc.Target.Host == "" {
		return nil, errors.New("the target has no host or no port")
	}
	if err := doc.words(); err != nil {
		return nil, err
	}
	d := &verdict.Diagnosis{
		Outcome: doc.Outcome, Verdict: doc.Verdict.verdict(), Redacted: doc.Redacted,
		Set: evidence.Set{
			Target: doc.Target.target(), Started: started, Elapsed: time.Duration(doc.Elapsed),
			Interrupted: doc.Interrupted, AddressesSkipped: max(0, doc.Skipped),
		},
	}
	port := doc.Target.Port
	for i := range doc.Addresses {
		a := &doc.Addresses[i]
		if !a.Addr.IsValid() {
			return nil, fmt.Errorf("address %d has no addr", i+1)
		}
		at := netip.AddrPortFrom(a.Addr, port)
		d.Addresses = append(d.Addresses, verdict.AddressVerdict{Addr: at, Outcome: a.Outcome, Verdict: a.Verdict.verdict()})
		e, err := a.evidence(at)
		if err != nil {
			return nil, fmt.Errorf("address %v: %w", a.Addr, err)
		}
		d.Set.Addresses = append(d.Set.Addresses, e)
	}
	for _, f := range doc.Evidence {
		fact := evidence.Fact{ID: f.ID, Key: f.Kind, Value: f.Value, Source: f.Source, At: time.Duration(f.At), Text: f.Text}
		if f.Addr.IsValid() {
			fact.Addr = netip.AddrPortFrom(f.Addr, port)
		}
		d.Facts = append(d.Facts, fact)
	}
	for _, n := range doc.NotChecked {
		d.NotChecked = append(d.NotChecked, evidence.NotChecked{Check: n.Check, Reason: n.Reason, How: n.How})
	}
	return d, nil
}

// words checks the fields whose values are words of the contract: reports
// decide by them, and redaction leaves them as they are.
func (doc *document) words() error {
	verdicts := []*jsonVerdict{&doc.Verdict}
	outcomes := []verdict.Outcome{doc.Outcome}
	for i := range doc.Addresses {
		verdicts = append(verdicts, &doc.Addresses[i].Verdict)
		outcomes = append(outcomes, doc.Addresses[i].Outcome)
	}
	for _, o := range outcomes {
		if experience(o) == experience("") {
			return fmt.Errorf("outcome %s is none of this version", quoted(string(o)))
		}
	}
	for _, v := range verdicts {
		switch v.Certainty {
		case verdict.Certain, verdict.Narrowed, verdict.Unknown:
		default:
			return fmt.Errorf("certainty %s is none of this version", quoted(string(v.Certainty)))
		}
		ids := []verdict.CauseID{v.Cause}
		for _, c := range v.Candidates {
			if c.Likelihood < 0 || c.Likelihood > 1 {
				return fmt.Errorf("a likelihood of %v is not between 0 and 1", c.Likelihood)
			}
			ids = append(ids, c.Cause, c.Refines)
		}
		for _, r := range v.RuledOut {
			ids = append(ids, r.Cause)
		}
		for _, s := range v.Next {
			ids = append(ids, s.Separates...)
		}
		for _, id := range ids {
			if !isWord(string(id)) {
				return fmt.Errorf("cause %s is no ID", quoted(string(id)))
			}
		}
	}
	for _, f := range doc.Evidence {
		if !isWord(string(f.Kind)) || !isWord(string(f.Value)) || !isWord(f.Source) || !isWord(string(f.ID)) {
			return fmt.Errorf("evidence %s has a kind, value or source that is no word", quoted(string(f.ID)))
		}
	}
	return nil
}

// isWord says whether s can be an ID or a key: "no-listener", "host.up", "e3".
func isWord(s string) bool {
	return len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == ""
}

// target finds again what the input said beyond host and port: scheme, zone.
func (t *jsonTarget) target() flow.Target {
	if list, err := flow.ParseTargets(strings.Fields(t.Input)); err == nil && len(list) == 1 && list[0].Host == t.Host && list[0].Port == t.Port {
		list[0].Input = t.Input
		return list[0]
	}
	return flow.Target{Input: t.Input, Host: t.Host, Port: t.Port}
}

func (v *jsonVerdict) verdict() verdict.Verdict {
	return verdict.Verdict{
		Certainty: v.Certainty, Cause: v.Cause, Candidates: v.Candidates, Finding: v.Finding, Where: v.Where,
		Because: v.Because, RuledOut: v.RuledOut, Next: v.Next, Fix: v.Fix,
	}
}
