package sandbox

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

func TestParseMessage(t *testing.T) {
	for line, want := range map[string]Message{
		"message 3 pid 4711 from alice: hello":     {3, 4711, "alice", "hello"},
		"message 1 pid 0 from Ann Lee: a: b":       {1, 0, "Ann Lee", "a: b"},
		"message 1 pid 1 from a:b: ":               {1, 1, "a:b", ""},
		"hi":                                       {Text: "hi"},
		"":                                         {},
		"message 0 pid 1 from a: x":                {Text: "message 0 pid 1 from a: x"},
		"message 01 pid 1 from a: x":               {Text: "message 01 pid 1 from a: x"},
		"message -1 pid 1 from a: x":               {Text: "message -1 pid 1 from a: x"},
		"message 99999999999 pid 1 from a: x":      {Text: "message 99999999999 pid 1 from a: x"},
		"message 1 pid 1 from : x":                 {Text: "message 1 pid 1 from : x"},
		"message 1 pid 1 from \x1b[31m: x":         {Text: "message 1 pid 1 from \x1b[31m: x"},
		"message":                                  {Text: "message"},
		"message 1 pid 1 from " + long(65) + ": x": {Text: "message 1 pid 1 from " + long(65) + ": x"},
	} {
		if got := ParseMessage(line); got != want {
			t.Errorf("%q: %+v, want %+v", line, got, want)
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func FuzzParseMessage(f *testing.F) {
	f.Add("message 3 pid 4711 from alice: hello")
	f.Add("message 3 pid 4711 from \x1b]0;a\a: hello")
	f.Add("ack 3 pid 9: 42 bytes")
	f.Add("ack 03 pid 9: 42 bytes")
	f.Fuzz(func(t *testing.T, line string) {
		m := ParseMessage(line)
		if m.Number != 0 && m.String() != line || m.Number == 0 && m.Text != line {
			t.Errorf("%q is read as %+v", line, m)
		}
		if a, ok := ParseAck(line); ok && a.String() != line {
			t.Errorf("%q is read as %+v", line, a)
		}
		shown := clean(line)
		if strings.ContainsFunc(shown, func(r rune) bool { return !unicode.IsPrint(r) }) || len(shown) > 10*maxText+3 {
			t.Errorf("%q is shown as %q", line, shown)
		}
	})
}

func TestLines(t *testing.T) {
	type line struct {
		Text string
		Cut  int
	}
	for name, c := range map[string]struct {
		in   string
		want []line
	}{
		"empty":        {"", nil},
		"lf":           {"a\n\nb\n", []line{{"a", 0}, {"", 0}, {"b", 0}}},
		"crlf":         {"a\r\n\r\n", []line{{"a", 0}, {"", 0}}},
		"cr inside":    {"a\rb\n", []line{{"a\rb", 0}}},
		"no end":       {"a\nb", []line{{"a", 0}, {"b", 0}}},
		"as long":      {long(maxLine) + "\nb\n", []line{{long(maxLine), 0}, {"b", 0}}},
		"as long crlf": {long(maxLine) + "\r\nb\n", []line{{long(maxLine), 0}, {"b", 0}}},
		"one more":     {long(maxLine+1) + "\nb\n", []line{{long(maxLine), 1}, {"b", 0}}},
		"much more":    {long(9*maxLine) + "\nb\n", []line{{long(maxLine), 8 * maxLine}, {"b", 0}}},
		"more, no end": {long(9 * maxLine), []line{{long(maxLine), 8 * maxLine}}},
	} {
		for _, r := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
			var got []line
			l := newLines(r)
			for {
				text, cut, err := l.next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, line{text, cut})
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("%s: %s", name, d)
			}
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\nb"))
	f.Add([]byte(long(3*maxLine) + "\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		l := newLines(iotest.HalfReader(strings.NewReader(string(in))))
		got := 0
		for {
			text, cut, err := l.next()
			if err != nil {
				break
			}
			if len(text) > maxLine || strings.Contains(text, "\n") || cut < 0 || cut > 0 && len(text) < maxLine {
				t.Fatalf("%q and %d more", text, cut)
			}
			got += len(text) + cut
		}
		if ends := strings.Count(string(in), "\n"); got > len(in)-ends || got < len(in)-2*ends {
			t.Errorf("%d bytes of %d with %d ends of lines", got, len(in), ends)
		}
	})
}
