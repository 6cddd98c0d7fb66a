package visible_test

import (
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/visible"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"nginx":                 "nginx",
		`a "b" \c`:              `a "b" \\c`,
		"\x1b[2J\u202e\n":       `\x1b[2J\u202e\n`,
		strings.Repeat("x", 21): "xxxxxxxxxxxxxxxxx...",
	} {
		if got := visible.Text(in, 20); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestName(t *testing.T) {
	for in, want := range map[string]string{
		`dev\x2dsda`:            `dev\x2dsda`,
		"a\x1bb":                `a\x1bb`,
		strings.Repeat("x", 12): "xxxxxxxxxxxx",
		strings.Repeat("x", 13): "xxxxxxxxx...",
	} {
		if got := visible.Name(in, 12); got != want {
			t.Errorf("Name(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzBothAreBoundedASCII(f *testing.F) {
	f.Add("\x00\xff\u2028\\", 5)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 3 + limit&0xff
		for _, got := range []string{visible.Text(s, limit), visible.Name(s, limit)} {
			if len(got) > limit || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q of %q, limit %d", got, s, limit)
			}
		}
	})
}
