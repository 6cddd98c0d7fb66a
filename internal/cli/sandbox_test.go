package cli

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tcpwhy/tcpwhy/internal/sandbox"
)

func TestWrap(t *testing.T) {
	for s, want := range map[string][]string{
		"":                       {""},
		"abcdefghij":             {"abcdefghij"},
		"abcdefghijk":            {"abcdefghij", "k"},
		"abcdefghij k":           {"abcdefghij", "k"},
		"abcde fghij":            {"abcde", "fghij"},
		"a b c d e f g":          {"a b c d e", "f g"},
		" abcdefghijklmnopqrstu": {" abcdefghi", "jklmnopqrs", "tu"},
		"ääääääääääää":           {"ääääääääää", "ää"},
	} {
		if got := wrap(s, 10); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func FuzzWrap(f *testing.F) {
	f.Add("a word and anotherwordthatislong", 7)
	f.Fuzz(func(t *testing.T, s string, width int) {
		width = 1 + max(0, width)%200
		lines := wrap(s, width)
		for _, line := range lines {
			if utf8.RuneCountInString(line) > width {
				t.Fatalf("%d: %q", width, line)
			}
		}
		// Only spaces may go.
		if got := strings.Join(lines, ""); strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(s, " ", "") {
			t.Errorf("%q becomes %q", s, lines)
		}
	})
}

// Colour is for terminals that want it.
func TestEventText(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	hello := sandbox.Event{Time: at, Kind: sandbox.Received, Client: 2, Text: "bob says grüezi"}
	for name, c := range map[string]struct {
		columns int
		env     map[string]string
		event   sandbox.Event
		want    string
	}{
		"terminal":      {80, map[string]string{"LANG": "C.UTF-8"}, hello, "03:04:05.678 \x1b[33mbob says grüezi\x1b[0m\n"},
		"failure":       {80, nil, sandbox.Event{Time: at, Kind: sandbox.Failed, Text: "no"}, "03:04:05.678 \x1b[31mno\x1b[0m\n"},
		"no client":     {80, nil, sandbox.Event{Time: at, Kind: sandbox.Summary, Text: "0"}, "03:04:05.678 0\n"},
		"pipe":          {0, map[string]string{"LANG": "C.UTF-8"}, hello, "03:04:05.678 bob says grüezi\n"},
		"NO_COLOR":      {80, map[string]string{"LANG": "C.UTF-8", "NO_COLOR": "1"}, hello, "03:04:05.678 bob says grüezi\n"},
		"ASCII":         {0, nil, hello, "03:04:05.678 bob says gr\\u00fcezi\n"},
		"narrow screen": {40, map[string]string{"TERM": "dumb"}, sandbox.Event{Time: at, Text: strings.Repeat("word ", 7) + "end"}, "03:04:05.678 word word word word word\n             word word end\n"},
	} {
		host := &Host{Columns: c.columns, Getenv: func(k string) string { return c.env[k] }}
		if got := (&teller{host: host}).text(c.event); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
