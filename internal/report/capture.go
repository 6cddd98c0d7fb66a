package report

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/capture"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// MaxGroups is how many groups CaptureText can show; ask for so many.
const MaxGroups = 200

// CaptureText writes for people what captures hold: the summary, then the
// failed connections by target and cause.
func CaptureText(w io.Writer, r *capture.Result, s *capture.Summary, o Options) error {
	return captureText(w, r, s, o, true)
}

// CaptureSummary writes the summary alone.
func CaptureSummary(w io.Writer, r *capture.Result, s *capture.Summary, o Options) error {
	return captureText(w, r, s, o, false)
}

func captureText(w io.Writer, r *capture.Result, s *capture.Summary, o Options, groups bool) error {
	p := newPage(o)
	answer := captureAnswer(r, s)
	color := sgrGreen
	switch {
	case s.Failed > 0:
		color = sgrRed
	case s.Impaired+s.Undecided > 0:
		color = sgrYellow
	}
	if o.Quiet {
		p.raw(p.paint(color, p.clean(answer)))
	} else {
		p.prose(0, indent, color, answer)
		p.captured(r, s)
		if groups {
			p.groups(r, s)
		}
	}
	_, err := w.Write(append(bytes.TrimRight(p.buf.Bytes(), "\n"), '\n'))
	return err
}

func captureName(r *capture.Result) string {
	switch n := len(r.Files); n {
	case 0:
		return "nothing was read"
	case 1:
		if r.Files[0].Name == "-" {
			return "standard input"
		}
		return r.Files[0].Name
	default:
		if r.FileSet() {
			return "file set of " + count(n, "file", "files")
		}
		return count(n, "file", "files")
	}
}

// captureAnswer is the first line.
func captureAnswer(r *capture.Result, s *capture.Summary) string {
	if s.Connections == 0 {
		return captureName(r) + ": no TCP connection in it"
	}
	return captureName(r) + ": " + howMany(s.Connections, s.Failed, s.Undecided)
}

// howMany says how many connections failed.
func howMany(connections, failed, undecided int) string {
	out := "none"
	if failed > 0 {
		out = strconv.Itoa(failed)
	}
	out += " of " + count(connections, "connection", "connections") + " failed"
	if undecided > 0 {
		out += ", " + strconv.Itoa(undecided) + " undecided"
	}
	return out
}

// captured writes the summary.
func (p *page) captured(r *capture.Result, s *capture.Summary) {
	p.blank()
	t := &r.Total
	p.section("capture")
	if t.Packets > 0 {
		p.item("", moment(t.First)+" to "+clock(t.Last)+" UTC, "+duration(t.Last.Sub(t.First)))
	}
	p.item("", packetCounts(t))
	for i := range r.Files {
		f := &r.Files[i]
		var parts []string
		if len(r.Files) > 1 {
			parts = append(parts, f.Name, number(f.Packets)+" packets")
		}
		if len(f.Links) > 0 {
			parts = append(parts, strings.Join(f.Links, ", "))
		}
		p.item("", strings.Join(parts, ": "))
		if f.Damage != nil {
			p.item("", f.Damage.Error()+"; what comes before it was read")
		}
	}
	for i := range r.Gaps {
		if g := &r.Gaps[i]; g.Count > 0 {
			p.item("", MissingFiles(r, g))
		}
	}
	if r.InSequence() {
		p.item("", "each file was judged by itself; they follow each other in time: if one program wrote them, --file-set reads them as one capture")
	}
	if seen, lost := r.Lookups(); lost > 0 {
		p.item("", fmt.Sprintf("%d of %d DNS lookups are left out: there are too many", lost, seen))
	}
	if n := t.LetGoUnfinished; n > 0 {
		p.item("", number(n)+" connections were let go for want of room before they ended (--max-connections)")
	}
	if n := r.NotKept; n > 0 {
		p.item("", number(n)+" connections more are counted nowhere, for want of room (--max-connections)")
	}
	p.outcomes(s)
	p.tops(s)
}

// MissingFiles says which files of a set are missing.
func MissingFiles(r *capture.Result, g *capture.Gap) string {
	shown := g.Missing[:min(3, len(g.Missing))]
	names := strings.Join(shown, ", ")
	if more := g.Count - len(shown); more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	is := "is missing: by its number it belongs"
	if g.Count > 1 {
		is = "are missing: by their numbers they belong"
	}
	return fmt.Sprintf("%s %s between %s and %s", names, is, r.Files[g.After].Name, r.Files[g.Before].Name)
}

// packetCounts says what was read, and what could not be.
func packetCounts(t *tcpflow.Counts) string {
	out := number(t.Packets) + " packets, " + number(t.TCP) + " of TCP"
	for _, x := range []struct {
		n    uint64
		what string
	}{
		{t.Malformed, "malformed"}, {t.Snapped, "cut by the snap length before their ports"}, {t.CutData, "with data cut"},
		{t.UnknownLink, "of a link type that is not read"}, {t.Fragments, "IP fragments without ports"}, {t.Backwards, "earlier than the one before"},
	} {
		if x.n > 0 {
			out += "; " + number(x.n) + " " + x.what
		}
	}
	return out
}

func (p *page) outcomes(s *capture.Summary) {
	p.section("connections")
	text := fmt.Sprintf("%d opened in the capture, %d older than it", s.Attempts, s.Older)
	p.item("", text)
	parts := []string{fmt.Sprintf("%d fine", s.Fine)}
	for _, o := range []verdict.Outcome{verdict.Refused, verdict.Timeout, verdict.Unreachable, verdict.Reset, verdict.Degraded, verdict.LocalError} {
		if n := s.Outcomes[o]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, outcomeWords[o]))
		}
	}
	if s.Impaired > 0 {
		parts = append(parts, fmt.Sprintf("%d impaired", s.Impaired))
	}
	if s.Undecided > 0 {
		parts = append(parts, fmt.Sprintf("%d undecided", s.Undecided))
	}
	p.item("", strings.Join(parts, ", "))
	if s.OddOnes == 0 {
		return
	}
	parts = nil
	for i, n := range s.Odd {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, oddWords[i]))
		}
	}
	p.item("", fmt.Sprintf("odd are %d that did not fail: %s", s.OddOnes, strings.Join(parts, ", ")))
}

var outcomeWords = map[verdict.Outcome]string{
	verdict.Refused: "refused", verdict.Timeout: "timed out", verdict.Unreachable: "unreachable", verdict.Reset: "reset",
	verdict.Degraded: "opened and did not serve", verdict.LocalError: "failed on the client's host",
}

// oddWords go with the bits of capture.Odd.
var oddWords = [...]string{
	"with the SYN sent again", "with the SYN-ACK sent again", "ended by RST", "with a zero window", "half closed at the end",
	"with keepalives unanswered", "with data never acknowledged", "with packets that the capture misses",
}

// tops writes the targets that fail most, and the causes.
func (p *page) tops(s *capture.Summary) {
	n := p.limit(5, len(s.Targets))
	var marks []string
	for _, t := range s.Targets[:n] {
		marks = append(marks, fmt.Sprintf("%d of %d", t.Failed, t.Attempts))
	}
	p.section("targets", marks...)
	for i, t := range s.Targets[:n] {
		p.item(marks[i], named(t.Server.String(), t.Name))
	}
	p.more(s.TargetCount - n)
	n = p.limit(8, len(s.Causes))
	marks = nil
	for _, c := range s.Causes[:n] {
		marks = append(marks, strconv.Itoa(c.Failed))
	}
	p.section("causes", marks...)
	for i, c := range s.Causes[:n] {
		text := p.named(c.Cause)
		switch {
		case c.Cause == verdict.Undetermined:
			text = "no cause fits what the capture shows"
		case c.Certain == c.Failed:
			text += " (certain)"
		case c.Certain > 0:
			text += fmt.Sprintf(" (%d certain, else the likeliest of several)", c.Certain)
		default:
			text += " (the likeliest of several)"
		}
		p.item(marks[i], text)
	}
	p.more(len(s.Causes) - n)
}

// named is an address with the name that it was looked up by.
func named(addr, name string) string {
	if name == "" {
		return addr
	}
	return addr + " (" + name + ")"
}

// groups writes the failed connections, then the impaired and undecided ones.
func (p *page) groups(r *capture.Result, s *capture.Summary) {
	n := p.limit(6, len(s.Groups))
	for i := range s.Groups[:n] {
		p.group(r, &s.Groups[i], true)
	}
	if rest := s.GroupCount - n; rest > 0 {
		p.blank()
		p.prose(0, indent, "", p.moreText(rest)+" of failed connections by target and cause")
	}
	for _, list := range [][]capture.Group{s.ImpairedGroups, s.UndecidedGroups} {
		n := p.limit(2, len(list))
		for i := range list[:n] {
			p.group(r, &list[i], p.Verbose)
		}
		if rest := len(list) - n; rest > 0 {
			p.blank()
			p.prose(0, indent, "", p.moreText(rest)+" of "+list[0].State.String()+" connections")
		}
	}
}

// group writes connections that fared alike, with one as the example.
func (p *page) group(r *capture.Result, g *capture.Group, proof bool) {
	c := r.Example(g)
	subject := named(g.Server.String(), g.Name)
	p.blank()
	switch g.State {
	case capture.Undecided:
		p.prose(0, indent, "", subject+" was not decided: "+c.Verdict.Finding)
	case capture.Impaired:
		p.prose(0, indent, "", subject+" works with trouble: "+choice(&c.Verdict))
		p.subtitle(&c.Verdict)
	default:
		p.prose(0, indent, "", p.answer(subject, g.Outcome, &c.Verdict))
		p.subtitle(&c.Verdict)
	}
	times := "once"
	if g.Count > 1 {
		times = strconv.Itoa(g.Count) + " times"
	}
	from := c.Client.Addr().String()
	if g.Clients > 1 {
		from = count(g.Clients, "host", "hosts")
	}
	when := "at " + moment(g.First) + " UTC"
	if g.Count > 1 {
		when = moment(g.First) + " to " + clock(g.Last) + " UTC"
	}
	packet := fmt.Sprintf("packet %d", c.Number)
	if len(r.Files) > 1 && c.File < len(r.Files) {
		packet += " of " + r.Files[c.File].Name
	}
	p.prose(indent, 0, "", fmt.Sprintf("%s from %s, %s; example: %s, from port %d", times, from, when, packet, c.Client.Port()))
	if !proof {
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

// CaptureLine writes a failed connection as one line.
func CaptureLine(w io.Writer, b *capture.Brief, o Options) error {
	p := newPage(o)
	what := string(b.Cause)
	switch b.Certainty {
	case verdict.Narrowed:
		what += "?"
	case verdict.Unknown:
		what = b.State.String()
	}
	outcome := string(b.Outcome)
	if outcome == "" {
		outcome = b.Wire.String()
	}
	line := fmt.Sprintf("%s  %s > %s  %s  %s", clock(b.First), b.Client, named(b.Server.String(), b.Name), outcome, what)
	_, err := io.WriteString(w, p.clean(line)+"\n")
	return err
}

// moment writes a time with its day, clock without.
func moment(t tcpflow.Time) string { return t.Time().Format("2006-01-02 15:04:05.000") }

func clock(t tcpflow.Time) string { return t.Time().Format("15:04:05.000") }

// Escape makes text from outside safe for a terminal, whatever it shows.
func Escape(s string) string { return escape(s, false, maxText) }

// number writes a large number with spaces between thousands.
func number(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// timestamp is a time as in JSON and CSV, "" for none.
func timestamp(t tcpflow.Time) string {
	if t == 0 {
		return ""
	}
	return t.Time().Format(time.RFC3339Nano)
}
