package tcpwhy

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/errtext"
)

// Explanation is what an error proves and what it leaves open. The zero value
// says that the error is not known; see Known.
type Explanation struct {
	// Kind is what failed: "refused", "connect-timeout", "name-not-found" and so
	// on. All kinds are listed by ErrorKinds.
	Kind  string
	Title string
	// Proves and CannotTell are a sentence or two each.
	Proves, CannotTell string
	// Op is what was being done: "lookup", "connect", "listen", "accept",
	// "transfer" or "handshake"; empty if that is not told.
	Op string
	// Errno is the name of the error, such as ECONNREFUSED, WSAECONNREFUSED or
	// EAI_NONAME, empty if there is none.
	Errno string
	// Program is the program or language whose wording a text is.
	Program string
	// Certainty is Certain, or Narrowed where the words may mean other things.
	Certainty Certainty
	// Host, Addr and Port are the target as far as it is told. Addr is set where
	// the host is an address, or the address that it led to is told.
	Host string
	Addr netip.Addr
	Port uint16
	// Causes are those that remain, the likeliest first. An error alone seldom
	// leaves one.
	Causes []Cause
}

// Known says that the error was recognised.
func (e Explanation) Known() bool { return e.Kind != "" }

// Target is what to diagnose, host:port, and empty where the error does not
// tell the port.
func (e Explanation) Target() string {
	if e.Port == 0 {
		return ""
	}
	return errtext.Target{Host: e.Host, Addr: e.Addr, Port: e.Port}.String()
}

// Command is the call of the program that would tell more, with the target
// where it is known.
func (e Explanation) Command() string {
	switch {
	case !e.Known():
		return ""
	case e.Op == string(errtext.OpListen):
		if e.Port != 0 {
			return fmt.Sprintf("ss -ltnp 'sport = :%d'", e.Port)
		}
		return ""
	case e.Target() != "":
		return "tcpwhy " + quoted(e.Target())
	case e.Host != "":
		return "tcpwhy " + quoted(e.Host) + ":PORT"
	}
	return ""
}

// quoted keeps the brackets of an IPv6 address from a shell. The parts of a
// target hold no other sign that one would obey.
func quoted(s string) string {
	if strings.ContainsAny(s, "[]%") {
		return "'" + s + "'"
	}
	return s
}

// String is the explanation as a few lines of plain text, without its causes'
// titles.
func (e Explanation) String() string {
	if !e.Known() {
		return "this error is not known"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s. %s Not told: %s", e.Title, e.Proves, e.CannotTell)
	if len(e.Causes) > 0 {
		b.WriteString(" Likeliest:")
		for i, c := range e.Causes[:min(len(e.Causes), 3)] {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(" " + c.ID)
		}
		b.WriteByte('.')
	}
	if c := e.Command(); c != "" {
		b.WriteString(" Next: " + c)
	}
	return b.String()
}

// ExplainText explains a line of text that a program of any language printed
// or logged. It is false if the line holds no error of a connection that is
// known. To go through a whole log with it is fine: other lines cost little.
func ExplainText(line []byte) (Explanation, bool) {
	m, ok := errtext.Recognise(line)
	if !ok {
		return Explanation{}, false
	}
	return explain(m), true
}

// ErrorKinds lists the kinds of error with what each proves, without causes and
// target, in the order in which a connection can fail.
func ErrorKinds() []Explanation {
	var all []Explanation
	for _, k := range errtext.Kinds() {
		all = append(all, describe(k))
	}
	return all
}

// ExplainKind explains a kind of ErrorKinds without knowing of a target. It is
// false for what is none.
func ExplainKind(kind string) (Explanation, bool) {
	if _, ok := errtext.Describe(errtext.Kind(kind)); !ok {
		return Explanation{}, false
	}
	return explain(errtext.Match{Kind: errtext.Kind(kind), Certainty: errtext.Certain}), true
}

func describe(k errtext.Info) Explanation {
	return Explanation{Kind: string(k.Kind), Title: k.Title, Proves: k.Proves, CannotTell: k.Hides, Certainty: Certain}
}

func explain(m errtext.Match) Explanation {
	k, _ := errtext.Describe(m.Kind)
	e := describe(k)
	e.Op, e.Errno, e.Program = string(m.Op), m.Errno, m.Program
	if m.Certainty != errtext.Certain {
		e.Certainty = Narrowed
	}
	e.Host, e.Addr, e.Port = m.Target.Host, m.Target.Addr, m.Target.Port
	e.Causes = remaining(m.Kind, m.Op, m.Target.Host, m.Target.Addr)
	return e
}
