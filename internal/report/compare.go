package report

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/capdiff"
	"github.com/tcpwhy/tcpwhy/internal/capture"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// MaxCompared is how many connections Comparison can show.
const MaxCompared = 200

// maxComparedPackets is how many packets of one are kept to be drawn.
const maxComparedPackets = 400

// Compared is a connection as two captures show it, with the verdict.
type Compared struct {
	pair capdiff.Pair
	conn *capture.Connection
	left int // packets that are not kept
}

// NewCompared keeps what is to be shown of a pair.
func NewCompared(p *capdiff.Pair, c *capture.Connection) Compared {
	out := Compared{pair: *p, conn: c, left: max(len(p.Packets)-maxComparedPackets, 0)}
	out.pair.Packets = slices.Clone(p.Packets[:min(len(p.Packets), maxComparedPackets)])
	return out
}

// Notable says that something happened to packets of a connection on the way,
// beyond what routers do to all.
func Notable(p *capdiff.Pair) bool {
	for i := range p.Dir {
		if d := &p.Dir[i]; d.Lost+d.MadeUp > 0 || len(d.Changes) > 0 {
			return true
		}
	}
	return p.Translated || p.Renumbered
}

// ComparedCounts sums up connections that were compared.
type ComparedCounts struct {
	Connections, Failed, Undecided int
	// Certain counts the failed ones with one cause.
	Certain int
	// Explained says that a cause was named for some.
	Explained bool
	// Dir sums up the packets by their sender.
	Dir [2]capdiff.Direction
}

// Add counts a connection.
func (n *ComparedCounts) Add(p *capdiff.Pair, c *capture.Connection) {
	n.Connections++
	switch c.State {
	case capture.Failed:
		n.Failed++
		n.Explained = n.Explained || explained(&c.Verdict)
		if c.Verdict.Certainty == verdict.Certain {
			n.Certain++
		}
	case capture.Undecided:
		n.Undecided++
	}
	if p.Flow[tcpflow.Server] == nil && !p.Whole {
		return
	}
	for i := range p.Dir {
		d, s := &n.Dir[i], &p.Dir[i]
		d.Sent += s.Sent
		d.Arrived += s.Arrived
		d.Lost += s.Lost
		d.LostBytes += s.LostBytes
		d.MadeUp += s.MadeUp
		d.Again += s.Again
		d.Unwatched += s.Unwatched
	}
}

// Comparison writes for people what two captures show together: the summary,
// and connections of a list that leaves some untold.
func Comparison(w io.Writer, r *capdiff.Result, n *ComparedCounts, list []Compared, untold int, o Options) error {
	p := newPage(o)
	answer := comparisonAnswer(r, n)
	color := sgrGreen
	if n.Failed > 0 {
		color = sgrRed
	}
	if o.Quiet {
		p.raw(p.paint(color, p.clean(answer)))
	} else {
		p.prose(0, indent, color, answer)
		p.comparison(r, n)
		few := p.limit(6, len(list))
		told := set[string]{}
		for i := range list[:few] {
			p.compared(r, &list[i], told)
		}
		if rest := len(list) - few + untold; rest > 0 {
			p.blank()
			p.prose(0, indent, "", p.moreText(rest)+" connections that failed, or whose packets were lost or changed")
		}
	}
	_, err := w.Write(append(bytes.TrimRight(p.buf.Bytes(), "\n"), '\n'))
	return err
}

func comparisonAnswer(r *capdiff.Result, n *ComparedCounts) string {
	files := r.Files[0].Name + " and " + r.Files[1].Name + ": "
	if n.Connections == 0 {
		return files + "no TCP connection to compare"
	}
	return files + howMany(n.Connections, n.Failed, n.Undecided)
}

// comparison writes what holds for all connections.
func (p *page) comparison(r *capdiff.Result, n *ComparedCounts) {
	p.blank()
	p.section("sides")
	switch {
	case r.ServerFirst:
		p.item("", "the first file was made at the server's side, the second at the client's: their order was changed")
	case r.OrderKnown:
		p.item("", "the first file was made at the client's side")
	default:
		p.item("", "nothing in the files tells which was made at the client's side; the first is taken for it")
	}
	p.section("clocks")
	p.item("", clocks(r))
	p.section("matched")
	p.item("", fmt.Sprintf("%d in both files, %d at the client's side only, %d at the server's only", r.Matched, r.ClientOnly, r.ServerOnly))
	if r.NotCompared > 0 {
		p.item("", count(r.NotCompared, "connection", "connections")+" not compared packet by packet, for want of room; select some with --target or --between")
	}
	for i := range r.Files {
		if k := r.Files[i].NotKept; k > 0 {
			p.item("", fmt.Sprintf("%s: %d connections left out, for want of room", r.Files[i].Name, k))
		}
	}
	p.section("packets")
	p.item("", "client to server: "+fared(&n.Dir[tcpflow.Client]))
	p.item("", "server to client: "+fared(&n.Dir[tcpflow.Server]))
	if n.Dir[0].Lost+n.Dir[1].Lost+n.Dir[0].MadeUp+n.Dir[1].MadeUp > 0 {
		p.item("", "this holds if no filter kept packets out of a capture")
	}
	p.section("")
}

// clocks says how they differ.
func clocks(r *capdiff.Result) string {
	k := &r.Clock
	second, first := "server's", "client's"
	if r.ServerFirst {
		second, first = first, second
	}
	switch {
	case k.Samples == [2]int{}:
		return "no packet is in both files: how the clocks differ is not known"
	case !k.Known:
		return fmt.Sprintf("the %s is about %s; packets were matched in one direction only, so this is off by the time they take", second, ahead(k.Offset, "the "+first))
	}
	out := fmt.Sprintf("the %s is %s, within %s", second, ahead(k.Offset, "the "+first), fine(k.Error))
	switch {
	case k.Stepped:
		out += "; one was set meanwhile, or does not run evenly"
	case k.Drift > 0:
		out += fmt.Sprintf(", and gains %s ppm, within %s", ppm(k.Drift), ppm(k.DriftError))
	case k.Drift < 0:
		out += fmt.Sprintf(", and loses %s ppm, within %s", ppm(-k.Drift), ppm(k.DriftError))
	case k.DriftError < 500:
		out += fmt.Sprintf("; no drift beyond %s ppm", ppm(k.DriftError))
	}
	return out
}

func ppm(f float64) string { return strconv.FormatFloat(max(math.Ceil(f*10)/10, 0), 'f', -1, 64) }

func ahead(d time.Duration, of string) string {
	if d < 0 {
		return fine(-d) + " behind " + of
	}
	return fine(d) + " ahead of " + of
}

// fine writes a duration with more digits than a reader of latencies needs.
func fine(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return strconv.FormatInt((d+time.Microsecond-1).Microseconds(), 10) + " us"
	case d < time.Second:
		return strconv.FormatFloat(float64(d)/1e6, 'f', 3, 64) + " ms"
	case d < time.Hour:
		return strconv.FormatFloat(d.Seconds(), 'f', 6, 64) + " s"
	}
	return d.Round(time.Millisecond).String()
}

// fared sums up one direction.
func fared(d *capdiff.Direction) string {
	if d.Sent+d.MadeUp == 0 {
		return "no packet"
	}
	out := fmt.Sprintf("%d sent, %d arrived", d.Sent, d.Arrived)
	if d.Lost > 0 {
		out += fmt.Sprintf(", %d lost (%s)", d.Lost, percent(float64(d.Lost)/float64(max(d.Sent, 1))))
	}
	if d.Unwatched > 0 {
		out += fmt.Sprintf(", %d while the other capture may not have run", d.Unwatched)
	}
	if d.Again > 0 {
		out += fmt.Sprintf(", %d more copies", d.Again)
	}
	if d.MadeUp > 0 {
		out += fmt.Sprintf("; %d made up by something in between", d.MadeUp)
	}
	return out
}

// compared writes one connection. What a verdict rests on is told for the first
// of those that are alike.
func (p *page) compared(r *capdiff.Result, x *Compared, told set[string]) {
	c, pair := x.conn, &x.pair
	p.blank()
	subject := named(c.Server.String(), c.Name)
	switch c.State {
	case capture.Undecided:
		p.prose(0, indent, "", subject+" was not decided: "+c.Verdict.Finding)
	case capture.Fine:
		p.prose(0, indent, "", subject+" works")
	default:
		p.prose(0, indent, "", p.answer(subject, c.Outcome, &c.Verdict))
		p.subtitle(&c.Verdict)
	}
	p.prose(indent, 0, "", "from "+c.Client.String()+" at "+moment(c.First)+" UTC; "+whereIn(r, pair))
	if pair.Why != "" {
		p.prose(indent, 0, "", "judged by the client's capture alone: "+pair.Why)
	}
	p.twoSides(x)
	p.blank()
	if pair.Compared && (pair.Flow[tcpflow.Server] != nil || pair.Whole) {
		p.section("packets")
		p.item("", "client to server: "+p.journey(&pair.Dir[tcpflow.Client]))
		p.item("", "server to client: "+p.journey(&pair.Dir[tcpflow.Server]))
		p.changed(pair)
	}
	if c.State == capture.Fine || c.State == capture.Undecided {
		return
	}
	if !told.add(alikeKey(c)) {
		return
	}
	d := &verdict.Diagnosis{Outcome: c.Outcome, Verdict: c.Verdict, Facts: c.Facts}
	p.candidates(&c.Verdict)
	p.blank()
	p.cause(&c.Verdict)
	p.behind(&c.Verdict)
	p.why(d, &c.Verdict)
	p.advice(d, nil)
	if p.Verbose {
		p.ruledOut(c.Verdict.RuledOut)
	}
}

// alikeKey is equal for connections to one service with the same verdict.
func alikeKey(c *capture.Connection) string {
	key := fmt.Sprint(c.Server, c.Outcome, c.Verdict.Certainty)
	for _, x := range c.Verdict.Candidates {
		key += " " + string(x.Cause)
	}
	return key
}

// whereIn names a connection's first packet in each file, and its addresses at
// the server's side if they are others.
func whereIn(r *capdiff.Result, pair *capdiff.Pair) string {
	var parts []string
	for s, f := range pair.Flow {
		if f != nil {
			parts = append(parts, fmt.Sprintf("packet %d of %s", f.Number, r.Files[pair.File[s]].Name))
		}
	}
	out := strings.Join(parts, ", ")
	if f := pair.Flow[tcpflow.Server]; f != nil && pair.Translated {
		out += fmt.Sprintf("; at the server's side %v to %v", f.Client, f.Server)
	}
	return out
}

// journey says how the packets of one side fared, and how long they took.
func (p *page) journey(d *capdiff.Direction) string {
	out := fared(d)
	if d.HopsKnown {
		hops := strconv.Itoa(d.Hops[0])
		if d.Hops[1] != d.Hops[0] {
			hops += " to " + strconv.Itoa(d.Hops[1])
		}
		out += "; " + hops + " routers"
	}
	if d.Timed {
		out += fmt.Sprintf("; %s to %s, median %s", signed(d.Delay[0]), signed(d.Delay[2]), signed(d.Delay[1]))
	}
	return out
}

func signed(d time.Duration) string {
	if d < 0 {
		return "-" + fine(-d)
	}
	return fine(d)
}

var changeWords = map[string]string{
	"source": "the source address", "destination": "the destination address", "sequence-numbers": "sequence numbers", "mss": "the MSS",
	"options": "TCP options", "window-scale": "the window scale", "window": "the window", "timestamps": "TCP timestamps",
	"flags": "TCP flags", "ecn": "the ECN bits", "dscp": "the DSCP", "ttl": "the TTL, upwards", "payload": "the payload", "checksum": "the checksum",
}

// changed says what was changed on the way.
func (p *page) changed(pair *capdiff.Pair) {
	p.section("changed")
	for s, to := range [2]string{"to the server", "to the client"} {
		for _, c := range pair.Dir[s].Changes {
			p.item("", fmt.Sprintf("on the way %s: %s, %s to %s, in %s", to, changeWords[c.What], c.From, c.To, count(c.Packets, "packet", "packets")))
		}
	}
	p.section("")
}
