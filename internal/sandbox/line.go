package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of the protocol. What is longer is cut, and the cut is shown.
const (
	maxLine = 1024 // bytes of a line, without its end
	maxName = 64   // bytes of a client's name
)

// Message is a line from client to server: "message 3 pid 4711 from alice:
// text". Any other line, such as one typed into nc(1), is a message of the text
// alone.
type Message struct {
	Number int // from 1; 0 when the line says none
	PID    int
	Name   string
	Text   string
}

// String is the line, without its end.
func (m Message) String() string {
	return fmt.Sprintf("message %d pid %d from %s: %s", m.Number, m.PID, m.Name, m.Text)
}

// ParseMessage reads a line, which may hold anything.
func ParseMessage(line string) Message {
	number, rest, ok1 := field(line, "message ")
	pid, rest, ok2 := field(rest, " pid ")
	rest, ok3 := strings.CutPrefix(rest, " from ")
	name, text, ok4 := strings.Cut(rest, ": ")
	if !ok1 || !ok2 || !ok3 || !ok4 || number == 0 || CheckName(name) != nil {
		return Message{Text: line}
	}
	return Message{Number: number, PID: pid, Name: name, Text: text}
}

// Ack is a line from server to client: "ack 3 pid 99: 42 bytes".
type Ack struct {
	Number int // of the message
	PID    int // of the server
	Bytes  int // of the line that was received
}

// String is the line, without its end.
func (a Ack) String() string {
	return fmt.Sprintf("ack %d pid %d: %d bytes", a.Number, a.PID, a.Bytes)
}

// ParseAck reads a line and says whether it is an acknowledgement.
func ParseAck(line string) (a Ack, ok bool) {
	number, rest, ok1 := field(line, "ack ")
	pid, rest, ok2 := field(rest, " pid ")
	bytes, rest, ok3 := field(rest, ": ")
	return Ack{number, pid, bytes}, ok1 && ok2 && ok3 && rest == " bytes"
}

// field reads a word and the number behind it, written without sign and
// leading zero.
func field(s, word string) (n int, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, word)
	end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(s)
	}
	v, err := strconv.ParseInt(s[:end], 10, 32)
	return int(v), s[end:], ok && err == nil && (s[0] != '0' || end == 1)
}

// CheckName says what is wrong with the name of a client; it is nil for a name
// of printable text, without ": ", of at most 64 bytes.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case len(name) > maxName:
		return fmt.Errorf("the name has %d bytes; %d are allowed", len(name), maxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("the name has characters that cannot be printed")
	case strings.Contains(name+" ", ": "):
		return errors.New("the name has a colon before a space or at its end")
	}
	return nil
}

// lines reads lines of any length, of which it keeps maxLine bytes each.
type lines struct{ r *bufio.Reader }

func newLines(r io.Reader) lines { return lines{bufio.NewReaderSize(r, maxLine)} }

// next returns the next line without its end, LF or CR LF, and how many bytes
// were cut from it. A last line without an end comes before io.EOF.
func (l lines) next() (line string, cut int, err error) {
	var kept []byte
	got := 0
	for {
		part, err := l.r.ReadSlice('\n')
		got += len(part)
		kept = append(kept, part[:min(len(part), maxLine+2-len(kept))]...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (got == 0 || !errors.Is(err, io.EOF)):
			return "", 0, err
		case err == nil:
			got--
			if len(kept) > got {
				kept = kept[:got]
			}
			if n := len(kept); n == got && n > 0 && kept[n-1] == '\r' {
				kept, got = kept[:n-1], got-1
			}
		}
		kept = kept[:min(len(kept), maxLine)]
		return string(kept), got - len(kept), nil
	}
}
