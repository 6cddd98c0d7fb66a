package sandbox

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// Kind says what an [Event] is about.
type Kind string

const (
	Listening    Kind = "listening"    // the socket takes connections or queries
	Queue        Kind = "queue"        // the number of connections that wait for accept(2) changed
	Connecting   Kind = "connecting"   // the client is about to call connect(2)
	Connected    Kind = "connected"    // connect(2) or accept(2) succeeded
	Handshake    Kind = "handshake"    // the TLS handshake is done
	Received     Kind = "received"     // a message arrived at the server
	Sent         Kind = "sent"         // the client sent a message
	Answered     Kind = "answered"     // the answer to a message arrived at the client
	Blocked      Kind = "blocked"      // a write waits for room in the send buffer
	Resumed      Kind = "resumed"      // a write that waited goes on
	Disconnected Kind = "disconnected" // a connection ended
	Failed       Kind = "failed"       // something did not work
	Query        Kind = "query"        // a DNS query and what was answered
	Response     Kind = "response"     // the answer to the DNS question
	Record       Kind = "record"       // one record of that answer
	Summary      Kind = "summary"      // what came of it all; the last event
)

// Event is something that happened. Its strings are printable text on one line,
// whatever the peer sent.
type Event struct {
	Time time.Time `json:"time"`
	Kind Kind      `json:"event"`
	// Client counts the server's connections from 1.
	Client int `json:"client,omitempty"`
	// Local and Peer are the addresses of the connection, with ports.
	Local string `json:"local,omitempty"`
	Peer  string `json:"peer,omitempty"`
	// Name and PID are what the client of a sandbox server says of itself.
	Name string `json:"name,omitempty"`
	PID  int    `json:"pid,omitempty"`
	// Number is the message's, from 1.
	Number int `json:"number,omitempty"`
	// Ended is how a connection ended: "FIN" or "RST" of the peer, or "closed"
	// by this side.
	Ended string `json:"ended,omitempty"`
	// Error and Errno are the error as Go says it and the name of its number.
	Error string `json:"error,omitempty"`
	Errno string `json:"errno,omitempty"`
	// TookMS is how long it took, in milliseconds.
	TookMS float64 `json:"took_ms,omitempty"`
	// Fingerprint is the SHA-256 of the server's certificate, in hexadecimal.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Window is what the kernel knows when a write is blocked; Linux only.
	Window *SendState `json:"window,omitempty"`
	// Rcode is the name of a DNS response code, RFC 6895 section 2.3.
	Rcode string `json:"rcode,omitempty"`
	// Truncated says that a DNS answer has the TC bit.
	Truncated bool `json:"truncated,omitempty"`
	// Text says it all in a sentence.
	Text string `json:"text"`
}

// SendState is what the kernel says of the sending half of a connection.
type SendState struct {
	// Queued are bytes written and not acknowledged by the peer (SIOCOUTQ of
	// tcp(7)); Unsent are those of them that were not even sent (tcpi_notsent_bytes).
	Queued int `json:"queued"`
	Unsent int `json:"unsent"`
	// Peer is the receive window that the peer announced last, in bytes
	// (tcpi_snd_wnd, Linux 5.4).
	Peer int `json:"peer_window"`
	// Probes are the zero-window probes without progress since (tcpi_probes).
	Probes int `json:"probes"`
}

// log hands events on.
type log func(Event)

// say completes an event with its time and sentence and hands it on.
func (l log) say(e Event, format string, args ...any) {
	e.Time = time.Now()
	e.Text = fmt.Sprintf(format, args...)
	l(e)
}

// fail says what failed, with the error's own words and the errno.
func (l log) fail(e Event, err error, format string, args ...any) {
	e.Error, e.Errno = clean(err.Error()), errnoName(err)
	if e.Kind == "" {
		e.Kind = Failed
	}
	l.say(e, "%s", fmt.Sprintf(format, args...)+": "+e.Error+errnoText(err))
}

// errnoText is " (ECONNREFUSED 111)", "" without an errno.
func errnoText(err error) string {
	var no syscall.Errno
	switch {
	case !errors.As(err, &no):
		return ""
	case errnoName(err) == "":
		return fmt.Sprintf(" (errno %d)", uint(no))
	}
	return fmt.Sprintf(" (%s %d)", errnoName(err), uint(no))
}

// ended says how a connection ended whose read gave err.
func ended(err error) (how, said string) {
	switch {
	case errors.Is(err, io.EOF):
		return "FIN", "FIN"
	case isReset(err):
		return "RST", "RST"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", "no data in time"
	}
	return "", clean(err.Error()) + errnoText(err)
}

// text is an address as text; package net has none where a connection was gone
// before it could be asked for.
func text(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// maxText is how many characters of foreign text are shown.
const maxText = 300

// clean makes foreign text fit to be shown: printable, on one line, bounded. A
// backslash is doubled, so that an escape cannot be forged.
func clean(s string) string { return printable(strings.ReplaceAll(s, `\`, `\\`)) }

// printable is clean for text that package dns wrote, with escapes of its own.
func printable(s string) string {
	var b strings.Builder
	for n, i := 0, 0; i < len(s); n++ {
		if n == maxText {
			b.WriteString("...")
			break
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !unicode.IsPrint(r):
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// took writes a time for people: "0.3 ms", "1.2 s".
func took(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.1f ms", milliseconds(d))
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// count writes a number with its noun: "1 message", "4 messages".
func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
