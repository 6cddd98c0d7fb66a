package report

import (
	_ "embed"
	"io"
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/capdiff"
	"github.com/tcpwhy/tcpwhy/internal/capture"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// CompareSchemaID is the value of "schema" in every object about two captures.
// Within a version fields are only ever added.
const CompareSchemaID = "tcpwhy.compare/1"

//go:embed schema/tcpwhy.compare-1.schema.json
var compareSchema string

// CompareSchema returns the JSON Schema (draft 2020-12) of the lines that
// ComparedJSON and ComparisonJSON write.
func CompareSchema() string { return compareSchema }

type jsonComparison struct {
	Schema      string            `json:"schema"`
	Kind        string            `json:"kind"` // "summary"
	Files       []jsonFile        `json:"files"`
	ServerFirst bool              `json:"server_first"`
	OrderKnown  bool              `json:"order_known"`
	Clock       *jsonClock        `json:"clock,omitempty"`
	Connections jsonComparedCount `json:"connections"`
	Directions  [2]jsonDirection  `json:"directions"`
}

type jsonClock struct {
	Known    bool    `json:"known"`
	OffsetMS millis  `json:"offset_ms"`
	ErrorMS  millis  `json:"error_ms"`
	DriftPPM float64 `json:"drift_ppm"`
	DriftErr float64 `json:"drift_error_ppm"`
	Stepped  bool    `json:"stepped"`
	Samples  [2]int  `json:"samples"`
}

type jsonComparedCount struct {
	All         int `json:"all"`
	Failed      int `json:"failed"`
	Undecided   int `json:"undecided"`
	Certain     int `json:"certain"`
	Matched     int `json:"matched"`
	ClientOnly  int `json:"client_only"`
	ServerOnly  int `json:"server_only"`
	Whole       int `json:"whole"`
	NotCompared int `json:"not_compared"`
}

type jsonDirection struct {
	From      string       `json:"from"`
	Sent      int          `json:"sent"`
	Arrived   int          `json:"arrived"`
	Lost      int          `json:"lost"`
	LostBytes uint64       `json:"lost_bytes"`
	MadeUp    int          `json:"made_up"`
	Again     int          `json:"again"`
	Unwatched int          `json:"unwatched"`
	Hops      []int        `json:"hops,omitempty"`
	DelayMS   []millis     `json:"delay_ms,omitempty"`
	Changes   []jsonChange `json:"changes"`
}

type jsonChange struct {
	What    string `json:"what"`
	From    string `json:"from"`
	To      string `json:"to"`
	Packets int    `json:"packets"`
}

type jsonCompared struct {
	Schema     string           `json:"schema"`
	Kind       string           `json:"kind"` // "connection"
	Client     jsonSide         `json:"client"`
	Server     *jsonSide        `json:"server,omitempty"`
	Name       string           `json:"name,omitempty"`
	First      string           `json:"first"`
	Last       string           `json:"last"`
	MatchedBy  string           `json:"matched_by,omitempty"`
	Translated bool             `json:"translated"`
	Renumbered bool             `json:"renumbered"`
	Whole      bool             `json:"whole"`
	Why        string           `json:"why,omitempty"`
	State      string           `json:"state"`
	Outcome    verdict.Outcome  `json:"outcome,omitempty"`
	Directions [2]jsonDirection `json:"directions"`
	Packets    []jsonSentPacket `json:"packets"`
	LeftOut    int              `json:"packets_left_out"`
	Verdict    jsonVerdict      `json:"verdict"`
	Evidence   []jsonFact       `json:"evidence"`
}

type jsonSide struct {
	File   int            `json:"file"`
	Packet uint64         `json:"packet"`
	Client netip.AddrPort `json:"client"`
	Server netip.AddrPort `json:"server"`
}

type jsonSentPacket struct {
	AtMS    millis        `json:"at_ms"`
	From    string        `json:"from"`
	Fate    string        `json:"fate"`
	Packets [2]uint64     `json:"packets"`
	Flags   string        `json:"flags,omitempty"`
	Seq     uint32        `json:"seq"`
	Ack     uint32        `json:"ack"`
	Length  uint32        `json:"length"`
	TTL     [2]uint8      `json:"ttl"`
	DelayMS *millis       `json:"delay_ms,omitempty"`
	ICMP    *jsonSentICMP `json:"icmp,omitempty"`
}

type jsonSentICMP struct {
	Sender netip.Addr `json:"sender"`
	Type   uint8      `json:"type"`
	Code   uint8      `json:"code"`
}

// ComparedJSON writes a connection as a line; its packets with packets only.
func ComparedJSON(w io.Writer, p *capdiff.Pair, c *capture.Connection, packets bool) error {
	out := jsonCompared{
		Schema: CompareSchemaID, Kind: "connection", Client: *newJSONSide(p, tcpflow.Client), Server: newJSONSide(p, tcpflow.Server),
		Name: c.Name, First: timestamp(c.First), Last: timestamp(c.Last), MatchedBy: p.By.String(), Translated: p.Translated,
		Renumbered: p.Renumbered, Whole: p.Whole, Why: p.Why, State: c.State.String(), Outcome: c.Outcome,
		Directions: newJSONDirections(&p.Dir), Packets: []jsonSentPacket{}, Verdict: newVerdict(&c.Verdict), Evidence: []jsonFact{},
	}
	if packets {
		n := min(len(p.Packets), maxComparedPackets)
		out.LeftOut = len(p.Packets) - n
		for i := range p.Packets[:n] {
			out.Packets = append(out.Packets, newJSONSentPacket(&p.Packets[i]))
		}
	} else {
		out.LeftOut = len(p.Packets)
	}
	for _, f := range c.Facts {
		out.Evidence = append(out.Evidence, jsonFact{f.ID, f.Key, f.Value, f.Source, millis(f.At), f.Addr.Addr(), f.Text})
	}
	return jsonLine(w, &out)
}

func newJSONSide(p *capdiff.Pair, s tcpflow.Side) *jsonSide {
	f := p.Flow[s]
	if f == nil {
		return nil
	}
	return &jsonSide{p.File[s], f.Number, f.Client, f.Server}
}

func newJSONSentPacket(k *capdiff.Packet) jsonSentPacket {
	out := jsonSentPacket{
		AtMS: millis(k.At), From: k.From.String(), Fate: k.Fate.String(), Packets: k.Number, Flags: k.Flags.String(),
		Seq: k.Seq, Ack: k.Ack, Length: k.Length, TTL: k.TTL,
	}
	if k.Fate == capdiff.Arrived {
		ms := millis(k.Delay)
		out.DelayMS = &ms
	}
	if k.ICMP != nil {
		out.ICMP = &jsonSentICMP{k.ICMP.Sender, k.ICMP.Type, k.ICMP.Code}
		out.Flags, out.DelayMS = "", nil
	}
	return out
}

func newJSONDirections(dir *[2]capdiff.Direction) (out [2]jsonDirection) {
	for i := range dir {
		d := &dir[i]
		j := jsonDirection{
			From: tcpflow.Side(i).String(), Sent: d.Sent, Arrived: d.Arrived, Lost: d.Lost, LostBytes: d.LostBytes,
			MadeUp: d.MadeUp, Again: d.Again, Unwatched: d.Unwatched, Changes: []jsonChange{},
		}
		if d.HopsKnown {
			j.Hops = d.Hops[:]
		}
		if d.Timed {
			for _, t := range d.Delay {
				j.DelayMS = append(j.DelayMS, millis(t))
			}
		}
		for _, c := range d.Changes {
			j.Changes = append(j.Changes, jsonChange(c))
		}
		out[i] = j
	}
	return out
}

// ComparisonJSON writes the last line: what holds for all connections.
func ComparisonJSON(w io.Writer, r *capdiff.Result, n *ComparedCounts) error {
	out := jsonComparison{
		Schema: CompareSchemaID, Kind: "summary", Files: []jsonFile{}, ServerFirst: r.ServerFirst, OrderKnown: r.OrderKnown,
		Connections: jsonComparedCount{
			n.Connections, n.Failed, n.Undecided, n.Certain, r.Matched, r.ClientOnly, r.ServerOnly, r.Whole, r.NotCompared,
		},
		Directions: newJSONDirections(&n.Dir),
	}
	for i := range r.Files {
		f := &r.Files[i]
		j := jsonFile{Name: f.Name, Links: []string{}, Packets: f.Packets, First: timestamp(f.First), Last: timestamp(f.Last)}
		if f.Damage != nil {
			j.Damaged = &jsonDamage{f.Damage.Offset, f.Damage.What}
		}
		out.Files = append(out.Files, j)
	}
	if k := r.Clock; k.Samples != [2]int{} {
		out.Clock = &jsonClock{k.Known, millis(k.Offset), millis(k.Error), k.Drift, k.DriftError, k.Stepped, k.Samples}
	}
	return jsonLine(w, &out)
}
