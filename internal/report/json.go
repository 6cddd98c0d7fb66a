package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"time"
	"unicode"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// SchemaID is the value of "schema" in every diagnosis written as JSON. Within
// a version fields are only ever added.
const SchemaID = "tcpwhy.diagnosis/1"

// maxPackets bounds the packets of one address in JSON.
const maxPackets = 500

// JSON writes a diagnosis as one line, by the contract of docs/json.md and the
// schema that Schema returns. No array is null, times are in milliseconds,
// strings are valid UTF-8, and unprintable characters are escaped so that the
// line is safe on a terminal.
func JSON(w io.Writer, d *verdict.Diagnosis) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(newDocument(d)); err != nil {
		return fmt.Errorf("report: encoding the diagnosis: %w", err)
	}
	_, err := w.Write(escapeUnprintable(b.Bytes()))
	return err
}

// escapeUnprintable writes characters that encoding/json leaves as they are
// and that terminals may obey (DEL, C1, bidirectional controls) as \u escapes.
// Beyond ASCII a JSON text has characters in strings only.
func escapeUnprintable(line []byte) []byte {
	if !slices.ContainsFunc(line, func(b byte) bool { return b >= 0x7f }) {
		return line
	}
	out := make([]byte, 0, len(line))
	for _, r := range string(line) {
		switch {
		case r < 0x7f || unicode.IsPrint(r):
			out = append(out, string(r)...)
		case r > 0xffff:
			hi, lo := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// millis is a time in milliseconds, to the microsecond.
type millis time.Duration

func (m millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, math.Round(float64(m)/1e3)/1e3, 'f', -1, 64), nil
}

func jsonTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// The types below are the contract, field by field; docs/json.md explains them.

type document struct {
	Schema      string           `json:"schema"`
	Target      jsonTarget       `json:"target"`
	Started     string           `json:"started"`
	Elapsed     millis           `json:"elapsed_ms"`
	Interrupted bool             `json:"interrupted,omitempty"`
	Redacted    bool             `json:"redacted,omitempty"`
	Outcome     verdict.Outcome  `json:"outcome"`
	Verdict     jsonVerdict      `json:"verdict"`
	Addresses   []jsonAddress    `json:"addresses"`
	Skipped     int              `json:"addresses_skipped,omitempty"`
	Evidence    []jsonFact       `json:"evidence"`
	NotChecked  []jsonNotChecked `json:"not_checked"`
}

type jsonTarget struct {
	Input string `json:"input"`
	Host  string `json:"host"`
	Port  uint16 `json:"port"`
}

type jsonVerdict struct {
	Certainty  verdict.Certainty   `json:"certainty"`
	Cause      verdict.CauseID     `json:"cause"`
	Candidates []verdict.Candidate `json:"candidates"`
	Finding    string              `json:"finding"`
	Where      netip.Addr          `json:"where,omitzero"`
	Because    []evidence.ID       `json:"because"`
	RuledOut   []verdict.RuledOut  `json:"ruled_out"`
	Next       []verdict.Step      `json:"next"`
	Fix        []verdict.Fix       `json:"fix"`
}

type jsonAddress struct {
	Addr    netip.Addr      `json:"addr"`
	Outcome verdict.Outcome `json:"outcome"`
	Verdict jsonVerdict     `json:"verdict"`
	Attempt *jsonAttempt    `json:"attempt,omitempty"`
	Packets []jsonPacket    `json:"packets"`
	Path    *jsonPath       `json:"path,omitempty"`
	Rules   []jsonOwnRule   `json:"own_rules,omitempty"`
}

// jsonAttempt is the attempt that the packets are of.
type jsonAttempt struct {
	Client    string `json:"client,omitempty"`
	Number    int    `json:"number"`
	Of        int    `json:"of"`
	At        millis `json:"at_ms"`
	Took      millis `json:"took_ms"`
	Connected bool   `json:"connected,omitempty"`
	Pending   bool   `json:"pending,omitempty"`
	Syscall   string `json:"syscall,omitempty"`
	Errno     string `json:"errno,omitempty"`
}

type jsonPacket struct {
	At       *millis        `json:"at_ms,omitempty"` // nil when the socket only counted it
	Source   string         `json:"source"`          // "capture" or "socket"
	Kind     string         `json:"kind"`
	Outgoing bool           `json:"outgoing"`
	Count    int            `json:"count"`
	Iface    string         `json:"interface,omitempty"`
	Src      string         `json:"src,omitempty"`
	Dst      string         `json:"dst,omitempty"`
	TTL      int            `json:"ttl,omitempty"`
	Flags    string         `json:"flags,omitempty"`
	Seq      uint32         `json:"seq,omitempty"`
	Ack      uint32         `json:"ack,omitempty"`
	Window   *int           `json:"window,omitempty"`
	Options  string         `json:"options,omitempty"`
	Payload  int            `json:"payload_bytes,omitempty"`
	Type     *int           `json:"type,omitempty"`
	Code     *int           `json:"code,omitempty"`
	MTU      int            `json:"mtu,omitempty"`
	Quote    evidence.Quote `json:"quote,omitempty"`
	Op       string         `json:"op,omitempty"`
	About    netip.Addr     `json:"about,omitzero"`
	MAC      string         `json:"mac,omitempty"`
}

type jsonPath struct {
	Port       uint16    `json:"port"`
	Method     string    `json:"method"`
	Took       millis    `json:"took_ms"`
	Hops       []jsonHop `json:"hops"`
	AnswerTTL  int       `json:"answer_ttl,omitempty"`
	Answer     string    `json:"answer,omitempty"`
	Unanswered int       `json:"unanswered"`
}

type jsonHop struct {
	TTL   int        `json:"ttl"`
	Kind  string     `json:"kind"`
	Addr  netip.Addr `json:"addr,omitzero"`
	RTT   *millis    `json:"rtt_ms,omitempty"`
	Type  *int       `json:"type,omitempty"`
	Code  *int       `json:"code,omitempty"`
	Errno string     `json:"errno,omitempty"`
}

type jsonFact struct {
	ID     evidence.ID    `json:"id"`
	Kind   evidence.Key   `json:"kind"`
	Value  evidence.Value `json:"value"`
	Source string         `json:"source"`
	At     millis         `json:"at_ms"`
	Addr   netip.Addr     `json:"addr,omitzero"`
	Text   string         `json:"text"`
}

type jsonNotChecked struct {
	Check  string `json:"check"`
	Reason string `json:"reason"`
	How    string `json:"how,omitempty"`
}

func newDocument(d *verdict.Diagnosis) document {
	t := d.Set.Target
	doc := document{
		Schema:      SchemaID,
		Target:      jsonTarget{t.Input, t.Host, t.Port},
		Started:     jsonTime(d.Set.Started),
		Elapsed:     millis(d.Set.Elapsed),
		Interrupted: d.Set.Interrupted,
		Redacted:    d.Redacted,
		Skipped:     d.Set.AddressesSkipped,
		Outcome:     d.Outcome,
		Verdict:     newVerdict(&d.Verdict),
		Addresses:   []jsonAddress{},
		Evidence:    []jsonFact{},
		NotChecked:  []jsonNotChecked{},
	}
	for i := range d.Addresses {
		a := &d.Addresses[i]
		out := jsonAddress{Addr: a.Addr.Addr(), Outcome: a.Outcome, Verdict: newVerdict(&a.Verdict), Packets: []jsonPacket{}}
		if e := evidenceOf(d, a); e != nil {
			out.Attempt = newAttempt(e)
			out.Packets = newPackets(events(e))
			out.Path = newPath(e.Path)
			out.Rules = newOwnRules(e.Own)
		}
		doc.Addresses = append(doc.Addresses, out)
	}
	for _, f := range d.Facts {
		doc.Evidence = append(doc.Evidence, jsonFact{f.ID, f.Key, f.Value, f.Source, millis(f.At), f.Addr.Addr(), f.Text})
	}
	for _, n := range d.NotChecked {
		doc.NotChecked = append(doc.NotChecked, jsonNotChecked{n.Check, n.Reason, n.How})
	}
	return doc
}

func newVerdict(v *verdict.Verdict) jsonVerdict {
	out := jsonVerdict{
		Certainty: v.Certainty, Cause: v.Cause, Finding: v.Finding, Where: v.Where,
		Candidates: orEmpty(v.Candidates), Because: orEmpty(v.Because),
		RuledOut: orEmpty(v.RuledOut),
		Next:     orEmpty(v.Next), Fix: orEmpty(v.Fix),
	}
	if slices.ContainsFunc(v.RuledOut, func(r verdict.RuledOut) bool { return r.Because == nil }) {
		out.RuledOut = slices.Clone(v.RuledOut)
		for i := range out.RuledOut {
			out.RuledOut[i].Because = orEmpty(out.RuledOut[i].Because)
		}
	}
	return out
}

// orEmpty makes a nil slice an empty one, which JSON writes as [].
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func newAttempt(a *evidence.Address) *jsonAttempt {
	att, number := shown(a)
	if att == nil {
		return nil
	}
	return &jsonAttempt{
		Client: endpoint(att.Tuple.Local), Number: number, Of: len(a.Attempts),
		At: millis(att.At), Took: millis(att.Took),
		Connected: att.Connected, Pending: att.Pending, Syscall: att.Syscall, Errno: att.Errno,
	}
}

func newPackets(ev []event) []jsonPacket {
	out := []jsonPacket{}
	for i := range ev {
		e := &ev[i]
		if e.note != "" || len(out) == maxPackets {
			continue
		}
		p := jsonPacket{
			Source: "socket", Kind: e.Kind, Outgoing: e.Outgoing, Count: max(1, e.again),
			Iface: e.Interface, Src: endpoint(e.Src), Dst: endpoint(e.Dst), TTL: e.TTL, Flags: e.Flags,
			Seq: e.Seq, Ack: e.Ack, Options: e.Options, Payload: e.PayloadLen, MTU: e.MTU, Quote: e.Quote,
			Op: e.Op, About: e.About, MAC: e.MAC,
		}
		if at := millis(e.At); !e.untimed {
			p.At = &at
		}
		if e.captured {
			p.Source = "capture"
			if e.Kind == "tcp" {
				p.Window = &e.Window
			}
		}
		if e.Kind == "icmp" {
			p.Type, p.Code = &e.Type, &e.Code
		}
		out = append(out, p)
	}
	return out
}

func newPath(p *evidence.Path) *jsonPath {
	if p == nil {
		return nil
	}
	out := &jsonPath{
		Port: p.Port, Method: p.Method, Took: millis(p.Took), Hops: []jsonHop{},
		AnswerTTL: p.AnswerTTL, Answer: p.Answer, Unanswered: p.Unanswered,
	}
	for i := range p.Hops {
		h := &p.Hops[i]
		j := jsonHop{TTL: h.TTL, Kind: h.Kind, Addr: h.Addr, Errno: h.Errno}
		if h.Kind != "silent" && h.Kind != "error" {
			rtt := millis(h.RTT)
			j.RTT = &rtt
		}
		if h.Kind == "icmp" || h.Kind == "time-exceeded" {
			j.Type, j.Code = &h.Type, &h.Code
		}
		out.Hops = append(out.Hops, j)
	}
	return out
}
