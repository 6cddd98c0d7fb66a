package report

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/tcpwhy/tcpwhy/internal/capture"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// CaptureSchemaID is the value of "schema" in every object that is written
// about captures. Within a version fields are only ever added.
const CaptureSchemaID = "tcpwhy.capture/1"

//go:embed schema/tcpwhy.capture-1.schema.json
var captureSchema string

// CaptureSchema returns the JSON Schema (draft 2020-12) of the lines that
// CaptureSummaryJSON and CaptureJSON write.
func CaptureSchema() string { return captureSchema }

type jsonCapture struct {
	Schema      string                  `json:"schema"`
	Kind        string                  `json:"kind"` // "summary"
	Files       []jsonFile              `json:"files"`
	FileSet     bool                    `json:"file_set,omitempty"`
	Missing     []jsonMissing           `json:"missing,omitempty"`
	First       string                  `json:"first,omitempty"`
	Last        string                  `json:"last,omitempty"`
	Packets     jsonPackets             `json:"packets"`
	Connections jsonConnections         `json:"connections"`
	Outcomes    map[verdict.Outcome]int `json:"outcomes"`
	Odd         map[string]int          `json:"odd"`
	Targets     []jsonTargetCount       `json:"targets"`
	TargetCount int                     `json:"target_count"`
	Causes      []jsonCauseCount        `json:"causes"`
	LetGo       uint64                  `json:"let_go"`
	NotKept     uint64                  `json:"not_kept"`
}

type jsonFile struct {
	Name    string      `json:"name"`
	Links   []string    `json:"links"`
	Packets uint64      `json:"packets"`
	First   string      `json:"first,omitempty"`
	Last    string      `json:"last,omitempty"`
	Damaged *jsonDamage `json:"damaged,omitempty"`
}

type jsonMissing struct {
	After  int      `json:"after"`
	Before int      `json:"before"`
	Names  []string `json:"names"`
	Count  int      `json:"count"`
}

type jsonDamage struct {
	Offset int64  `json:"offset"`
	What   string `json:"what"`
}

type jsonPackets struct {
	All         uint64 `json:"all"`
	TCP         uint64 `json:"tcp"`
	ICMP        uint64 `json:"icmp"`
	DNS         uint64 `json:"dns"`
	Other       uint64 `json:"other"`
	Malformed   uint64 `json:"malformed"`
	Snapped     uint64 `json:"snapped"`
	CutData     uint64 `json:"cut_data"`
	Fragments   uint64 `json:"fragments"`
	UnknownLink uint64 `json:"unknown_link"`
	Backwards   uint64 `json:"backwards"`
	// KernelDrops are no part of All.
	KernelDrops *uint64 `json:"kernel_drops,omitempty"`
}

type jsonConnections struct {
	All       int `json:"all"`
	Attempts  int `json:"attempts"`
	Older     int `json:"older"`
	Fine      int `json:"fine"`
	Impaired  int `json:"impaired"`
	Failed    int `json:"failed"`
	Undecided int `json:"undecided"`
}

type jsonTargetCount struct {
	Server   netip.AddrPort `json:"server"`
	Name     string         `json:"name,omitempty"`
	Failed   int            `json:"failed"`
	Attempts int            `json:"attempts"`
}

type jsonCauseCount struct {
	Cause   verdict.CauseID `json:"cause"`
	Failed  int             `json:"failed"`
	Certain int             `json:"certain"`
}

type jsonConnection struct {
	Schema    string          `json:"schema"`
	Kind      string          `json:"kind"` // "connection"
	File      int             `json:"file"`
	Packet    uint64          `json:"packet"`
	Client    netip.AddrPort  `json:"client"`
	Server    netip.AddrPort  `json:"server"`
	Name      string          `json:"name,omitempty"`
	First     string          `json:"first"`
	Last      string          `json:"last"`
	Place     string          `json:"place,omitempty"`
	Wire      tcpflow.Outcome `json:"wire"`
	State     string          `json:"state"`
	Outcome   verdict.Outcome `json:"outcome,omitempty"`
	Odd       []string        `json:"odd"`
	SYNs      int             `json:"syns"`
	Handshake *millis         `json:"handshake_ms,omitempty"`
	Verdict   jsonVerdict     `json:"verdict"`
	Evidence  []jsonFact      `json:"evidence"`
}

// CaptureSummaryJSON writes the first line: what the captures hold.
func CaptureSummaryJSON(w io.Writer, r *capture.Result, s *capture.Summary) error {
	t := &r.Total
	out := jsonCapture{
		Schema: CaptureSchemaID, Kind: "summary", Files: []jsonFile{}, FileSet: r.FileSet(), First: timestamp(t.First), Last: timestamp(t.Last),
		Packets: jsonPackets{
			All: t.Packets, TCP: t.TCP, ICMP: t.ICMP, DNS: t.DNS, Other: t.NotTCP, Malformed: t.Malformed, Snapped: t.Snapped,
			CutData: t.CutData, Fragments: t.Fragments, UnknownLink: t.UnknownLink, Backwards: t.Backwards, KernelDrops: r.KernelDrops,
		},
		Connections: jsonConnections{s.Connections, s.Attempts, s.Older, s.Fine, s.Impaired, s.Failed, s.Undecided},
		Outcomes:    s.Outcomes, Odd: map[string]int{}, Targets: []jsonTargetCount{}, TargetCount: s.TargetCount,
		Causes: []jsonCauseCount{}, LetGo: t.LetGo, NotKept: r.NotKept,
	}
	for i := range r.Files {
		f := &r.Files[i]
		j := jsonFile{Name: f.Name, Links: orEmpty(f.Links), Packets: f.Packets, First: timestamp(f.First), Last: timestamp(f.Last)}
		if f.Damage != nil {
			j.Damaged = &jsonDamage{f.Damage.Offset, f.Damage.What}
		}
		out.Files = append(out.Files, j)
	}
	for _, g := range r.Gaps {
		if g.Count > 0 {
			out.Missing = append(out.Missing, jsonMissing{g.After, g.Before, g.Missing, g.Count})
		}
	}
	for i, n := range s.Odd {
		out.Odd[capture.OddNames[i]] = n
	}
	for _, x := range s.Targets {
		out.Targets = append(out.Targets, jsonTargetCount(x))
	}
	for _, x := range s.Causes {
		out.Causes = append(out.Causes, jsonCauseCount(x))
	}
	return jsonLine(w, &out)
}

// CaptureJSON writes one connection as a line, with the verdict as in a
// diagnosis.
func CaptureJSON(w io.Writer, c *capture.Connection) error {
	out := jsonConnection{
		Schema: CaptureSchemaID, Kind: "connection", File: c.File, Packet: c.Number, Client: c.Client, Server: c.Server,
		Name: c.Name, First: timestamp(c.First), Last: timestamp(c.Last), Place: c.Recording.Place, Wire: c.Wire,
		State: c.State.String(), Outcome: c.Outcome, Odd: oddNames(c.Odd), SYNs: c.Recording.SYNCount,
		Verdict: newVerdict(&c.Verdict), Evidence: []jsonFact{},
	}
	if r := &c.Recording; r.Began && r.SYNCount == 1 && r.SYNACKCount > 0 {
		ms := millis(r.SYNACK)
		out.Handshake = &ms
	}
	for _, f := range c.Facts {
		out.Evidence = append(out.Evidence, jsonFact{f.ID, f.Key, f.Value, f.Source, millis(f.At), f.Addr.Addr(), f.Text})
	}
	return jsonLine(w, &out)
}

func oddNames(o capture.Odd) []string {
	out := []string{}
	for i, name := range capture.OddNames {
		if o&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

// jsonLines are buffers that are used anew: a capture has many lines.
var jsonLines = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// jsonLine writes a value as one line that is safe on a terminal.
func jsonLine(w io.Writer, v any) error {
	b := jsonLines.Get().(*bytes.Buffer)
	defer jsonLines.Put(b)
	b.Reset()
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("report: encoding a capture: %w", err)
	}
	_, err := w.Write(escapeUnprintable(b.Bytes()))
	return err
}

// CaptureCSV writes connections as CSV (RFC 4180), one a record.
type CaptureCSV struct{ out *csv.Writer }

// NewCaptureCSV begins with the names of the columns.
func NewCaptureCSV(w io.Writer) *CaptureCSV {
	c := &CaptureCSV{csv.NewWriter(w)}
	c.out.Write([]string{
		"first", "last", "client", "client_port", "server", "server_port", "name", "wire", "state", "outcome", "cause", "certainty", "odd", "file", "packet",
	})
	return c
}

// Write writes a connection.
func (c *CaptureCSV) Write(b *capture.Brief) error {
	port := func(a netip.AddrPort) string { return strconv.Itoa(int(a.Port())) }
	return c.out.Write([]string{
		timestamp(b.First), timestamp(b.Last), b.Client.Addr().String(), port(b.Client), b.Server.Addr().String(), port(b.Server),
		cell(b.Name), b.Wire.String(), b.State.String(), string(b.Outcome), string(b.Cause), string(b.Certainty),
		strings.Join(oddNames(b.Odd), " "), strconv.Itoa(b.File), strconv.FormatUint(b.Number, 10),
	})
}

// Flush writes what is buffered, and tells of any error so far.
func (c *CaptureCSV) Flush() error {
	c.out.Flush()
	return c.out.Error()
}

// cell makes text from outside safe for a spreadsheet, which would take it for
// a formula, and for a terminal.
func cell(s string) string {
	s = escape(s, true, maxText)
	if s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		return "'" + s
	}
	return s
}
