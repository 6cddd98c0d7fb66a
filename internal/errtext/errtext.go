// Package errtext recognises the error texts of programs: from one line of a
// log or of a terminal to what failed, for which target, as told by which
// program. It knows texts and error numbers, and nothing of causes: what a text
// can mean further is for the layers above.
//
// A line that holds none is passed over in one pass of an automaton, without
// an allocation, so that whole logs can be read. It imports the standard
// library only.
package errtext

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
)

// MaxLine is how many bytes of a line are looked at; what follows is ignored.
const MaxLine = 16 << 10

// Certainty says how sure it is that a text has this kind.
type Certainty string

// The certainties. Likely is for words that programs also use for other things.
const (
	Certain Certainty = "certain"
	Likely  Certainty = "likely"
)

// Op is what the program was doing, as far as the line tells.
type Op string

// The operations.
const (
	OpUnknown   Op = ""
	OpLookup    Op = "lookup"    // resolving a name
	OpConnect   Op = "connect"   // opening a connection
	OpListen    Op = "listen"    // bind(2) or listen(2) of a server
	OpAccept    Op = "accept"    // taking connections
	OpTransfer  Op = "transfer"  // reading or writing on an open connection
	OpHandshake Op = "handshake" // TLS
)

// Target is whom a line is about. Its parts come from the line and are not
// trusted, but Host is always a DNS name by its characters, or an address.
type Target struct {
	Host string     // as written; empty if the line names none
	Addr netip.Addr // the address, where Host is one or the line tells both
	Port uint16     // 0 if the line names none
}

// IsZero says that the line names no target.
func (t Target) IsZero() bool { return t.Host == "" }

// String is host:port in the form that the command line takes, or the host
// alone. A name that stands beside its address wins.
func (t Target) String() string {
	if t.Port == 0 {
		return t.Host
	}
	host := t.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(t.Port))
}

// Match is an error text that was recognised.
type Match struct {
	Kind Kind
	Op   Op
	// Errno is the name of the error that the line gives or stands for, such as
	// ECONNREFUSED, WSAECONNREFUSED or EAI_NONAME; empty where none is told.
	Errno string
	// Program is the program, library or language whose wording it is, empty if
	// that is not to be seen.
	Program   string
	Target    Target
	Certainty Certainty
	// Start and End bound the words of the line that told.
	Start, End int
}

// Recognise finds the error text of a line. Where a line holds several it is
// the one that says most, and of equals the last: wrapped errors end with their
// cause. The line may be without or with its newline.
func Recognise(line []byte) (Match, bool) {
	line = bytes.TrimRight(line[:min(len(line), MaxLine)], "\r\n")
	var found [maxHits]hit
	n := machine().scan(line, &found)
	if n == 0 {
		return Match{}, false
	}
	return read(line, found[:n])
}

// read is the slow path: it weighs the words that were found.
func read(line []byte, found []hit) (Match, bool) {
	r := newReader(line)
	var best *phrase
	var at hit
	kinds := map[Kind]hit{}
	for _, h := range found {
		p := &r.phrases[h.phrase]
		if !r.fits(p, h) {
			continue
		}
		if p.constant {
			if other, ok := kinds[p.kind]; !ok || other.end < h.end {
				kinds[p.kind] = h
			}
		}
		if best == nil || p.rank() > best.rank() || p.rank() == best.rank() && !covered(h, p, at, best) {
			best, at = p, h
		}
	}
	if best == nil || best.constant && r.isList(kinds) {
		return Match{}, false
	}
	m := Match{Kind: best.kind, Errno: best.errno, Certainty: best.certainty(), Start: at.end - len(best.text), End: at.end}
	m.Program = r.program(best)
	if !best.phaseless {
		m.Op = r.op(best, at)
		m.Kind = refine(m.Kind, m.Op)
	}
	m.Target = r.target(m)
	return m, true
}

// covered says that a hit lies within the one chosen before.
func covered(h hit, p *phrase, at hit, best *phrase) bool {
	return h.end <= at.end && h.end-len(p.text) >= at.end-len(best.text)
}

// refine makes of what is known of the operation a more precise kind.
func refine(k Kind, op Op) Kind {
	switch op {
	case OpLookup:
		switch k {
		case Timeout, ConnectTimeout, ReadTimeout, Refused, Reset, HostUnreachable, NetworkUnreachable, ConnectFailed:
			return NameTemporary // it is the name server that does not answer
		}
	case OpConnect:
		if k == Timeout {
			return ConnectTimeout
		}
	case OpTransfer:
		if k == Timeout || k == ConnectTimeout {
			return ReadTimeout
		}
	}
	return k
}
