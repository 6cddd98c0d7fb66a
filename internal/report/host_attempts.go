package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect/kernel"
)

// AttemptSchemaID is the value of "schema" of every attempt that Attempts writes
// as JSON.
const AttemptSchemaID = "tcpwhy.attempt/1"

// Attempts writes connection attempts as they come, as a table or as JSON lines.
type Attempts struct {
	page *page
	json bool
	port uint16

	mu     sync.Mutex // guards out and err
	out    *bufio.Writer
	err    error
	broken chan struct{}
	flush  *time.Timer
}

// NewAttempts writes to w.
func NewAttempts(w io.Writer, o Options, asJSON bool) *Attempts {
	return &Attempts{page: newPage(o), json: asJSON, out: bufio.NewWriterSize(w, 64<<10), broken: make(chan struct{})}
}

// Begin writes the head of the table. Of port 0 the server's end is shown, too.
func (a *Attempts) Begin(port uint16) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.port = port
	if !a.json && !a.page.Quiet {
		a.write(a.page.paint(sgrDim, a.row("TIME", "CLIENT", "SERVER", "FATE AND WHY")))
	}
}

// Broken is closed when nothing can be written any more.
func (a *Attempts) Broken() <-chan struct{} { return a.broken }

// Attempt writes an attempt whose fate is new. Fates that only wait for the next
// one are left out of the table.
func (a *Attempts) Attempt(at kernel.Attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.json {
		line, err := json.Marshal(newAttemptLine(&at))
		if err == nil {
			a.write(string(escapeUnprintable(line)))
		}
		return
	}
	switch at.Fate {
	case kernel.FateArrived, kernel.FateAnswered, kernel.FateHalfOpen:
		return
	}
	if a.page.Quiet {
		return
	}
	color := sgrRed
	switch at.Fate {
	case kernel.FateAccepted, kernel.FateResetByClient, kernel.FateForwarded:
		color = ""
	case kernel.FateComplete:
		color = sgrYellow
	}
	text := fateText(&at)
	a.write(a.row(fmt.Sprintf("%.3f", at.At.Seconds()), at.Client.String(), at.Server.String(), "") + a.page.paint(color, a.page.clean(text)))
}

func (a *Attempts) row(at, client, server, rest string) string {
	s := padLeft(at, 9) + "  " + pad(client, 22) + " "
	if a.port == 0 {
		s += pad(server, 22) + " "
	}
	return s + rest
}

// write adds a line, which is flushed a moment later: there may be very many.
func (a *Attempts) write(line string) {
	if a.err != nil {
		return
	}
	a.out.WriteString(line)
	if err := a.out.WriteByte('\n'); err != nil {
		a.fail(err)
		return
	}
	const soon = 50 * time.Millisecond
	if a.flush == nil {
		a.flush = time.AfterFunc(soon, func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.flush = nil
			if err := a.out.Flush(); err != nil {
				a.fail(err)
			}
		})
	}
}

func (a *Attempts) fail(err error) {
	if a.err == nil {
		a.err = err
		close(a.broken)
	}
}

// fateText says what became of an attempt and why.
func fateText(at *kernel.Attempt) string {
	why := func(a kernel.Act) string {
		var parts []string
		if a.Reason != "" {
			parts = append(parts, a.Reason)
		}
		if a.Location != "" {
			parts = append(parts, "in "+a.Location)
		}
		if a.Interface != "" {
			parts = append(parts, "on "+a.Interface)
		}
		if len(parts) == 0 {
			return ""
		}
		return ": " + strings.Join(parts, " ")
	}
	switch at.Fate {
	case kernel.FateAccepted:
		s := "accepted"
		if at.Process != "" {
			s += fmt.Sprintf(" by %s (%d)", at.Process, at.PID)
		}
		if waited, ok := at.Waited(); ok {
			s += " " + duration(waited) + " after the handshake"
		}
		return s
	case kernel.FateComplete:
		return "handshake complete, not accepted by the application yet"
	case kernel.FateRefused:
		if at.Reset.Reason == "" && at.Drop.Reason != "" {
			return "refused with RST by a packet filter" + why(at.Drop)
		}
		return "refused with RST" + why(at.Reset)
	case kernel.FateRejected:
		return "rejected with ICMP " + at.ICMP + why(at.Drop)
	case kernel.FateDropped:
		what := "SYN"
		if at.Drop.Flags != "" {
			what = at.Drop.Flags
		}
		return what + " dropped" + why(at.Drop)
	case kernel.FateForwarded:
		return "forwarded to another host or namespace"
	case kernel.FateUnanswered:
		return fmt.Sprintf("SYN-ACK sent %s, no ACK comes", count(at.Resent+1, "time", "times"))
	case kernel.FateIgnored:
		return "ignored: nothing was sent back, and the kernel gives no reason (is the accept queue full?)"
	case kernel.FateResetByClient:
		return "reset by the client"
	case kernel.FateResetByServer:
		return "reset by the server" + why(at.Reset)
	}
	return string(at.Fate)
}

// attemptLine is an attempt as JSON, by docs/json.md.
type attemptLine struct {
	Schema      string      `json:"schema"`
	Client      string      `json:"client"`
	Server      string      `json:"server"`
	At          millis      `json:"at_ms"`
	Since       millis      `json:"since_ms"`
	Fate        kernel.Fate `json:"fate"`
	Text        string      `json:"text"`
	SYNs        int         `json:"syns,omitempty"`
	Interface   string      `json:"interface,omitempty"`
	Resent      int         `json:"syn_acks_resent,omitempty"`
	Established *millis     `json:"established_ms,omitempty"`
	AcceptedAt  *millis     `json:"accepted_ms,omitempty"`
	PID         int         `json:"pid,omitempty"`
	Process     string      `json:"process,omitempty"`
	Ended       *millis     `json:"ended_ms,omitempty"`
	Retransmits int         `json:"retransmits,omitempty"`
	Drops       int         `json:"drops,omitempty"`
	DropReason  string      `json:"drop_reason,omitempty"`
	DropIn      string      `json:"drop_location,omitempty"`
	ResetReason string      `json:"reset_reason,omitempty"`
	ICMP        string      `json:"icmp,omitempty"`
	Incomplete  bool        `json:"incomplete,omitempty"`
}

func newAttemptLine(at *kernel.Attempt) attemptLine {
	moment := func(d time.Duration) *millis {
		if d == 0 {
			return nil
		}
		m := millis(d)
		return &m
	}
	return attemptLine{
		Schema: AttemptSchemaID, Client: at.Client.String(), Server: at.Server.String(), At: millis(at.At), Since: millis(at.Since),
		Fate: at.Fate, Text: fateText(at), SYNs: at.SYNs, Interface: at.Interface, Resent: at.Resent,
		Established: moment(at.Established), AcceptedAt: moment(at.AcceptedAt), PID: at.PID, Process: at.Process, Ended: moment(at.Ended),
		Retransmits: at.Retransmits, Drops: at.Drops, DropReason: at.Drop.Reason, DropIn: at.Drop.Location, ResetReason: at.Reset.Reason,
		ICMP: at.ICMP, Incomplete: at.Incomplete,
	}
}

// End writes the summary and what is still to be written.
func (a *Attempts) End(s kernel.Summary) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flush != nil {
		a.flush.Stop()
	}
	lost := s.LostEvents + s.LostPackets
	if a.json {
		line, err := json.Marshal(struct {
			Schema      string              `json:"schema"`
			Attempts    int                 `json:"attempts"`
			Fates       map[kernel.Fate]int `json:"fates"`
			Forgotten   int                 `json:"forgotten"`
			LostEvents  uint64              `json:"lost_events"`
			LostPackets uint64              `json:"lost_packets"`
		}{"tcpwhy.attempts-summary/1", s.Attempts, s.Fates, s.Forgotten, s.LostEvents, s.LostPackets})
		if err != nil {
			return fmt.Errorf("report: encoding the summary: %w", err)
		}
		a.write(string(line))
	} else {
		a.write("")
		text := count(s.Attempts, "attempt", "attempts")
		for _, f := range []kernel.Fate{kernel.FateAccepted, kernel.FateComplete, kernel.FateRefused, kernel.FateRejected, kernel.FateDropped,
			kernel.FateUnanswered, kernel.FateIgnored, kernel.FateForwarded, kernel.FateHalfOpen, kernel.FateResetByClient, kernel.FateResetByServer, kernel.FateAnswered, kernel.FateArrived} {
			if n := s.Fates[f]; n > 0 {
				text += fmt.Sprintf(", %d %s", n, f)
			}
		}
		if lost > 0 {
			text += fmt.Sprintf("; %d events and %d packets were lost for want of room", s.LostEvents, s.LostPackets)
		}
		a.write(text)
	}
	if a.err != nil {
		return a.err
	}
	return a.out.Flush()
}
