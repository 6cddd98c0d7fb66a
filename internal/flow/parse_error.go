package flow

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// TargetError says why a text is no target. Its parts are bounded, on one
// line, and show no password.
type TargetError struct {
	// Input is the text, escaped, with user name and password masked.
	Input string
	// Problem is what is wrong with it, as a clause without a full stop.
	Problem string
	// Hint is what to do, as a clause without a full stop.
	Hint string
}

// Error gives input, problem and hint on one line.
func (e *TargetError) Error() string {
	if e.Input == "" {
		return fmt.Sprintf("target: %s; %s", e.Problem, e.Hint)
	}
	return fmt.Sprintf("target \"%s\": %s; %s", e.Input, e.Problem, e.Hint)
}

func problem(hint, format string, args ...any) *TargetError {
	return &TargetError{Problem: fmt.Sprintf(format, args...), Hint: hint}
}

// Lengths in bytes up to which text is shown.
const (
	maxQuote = 64
	maxInput = 300
)

// cut bounds s to n bytes at the start of a rune.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

func quote(s string) string { return strconv.Quote(cut(s, maxQuote)) }

// shorten is quote without the quotation marks, for text to type again.
func shorten(s string) string {
	q := quote(s)
	return q[1 : len(q)-1]
}

// display bounds and escapes a whole input; printable text stays as it is.
func display(s string) string {
	s = cut(s, maxInput)
	if strings.IndexFunc(s, func(r rune) bool { return r == utf8.RuneError || !strconv.IsPrint(r) }) < 0 {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

const masked = "***"

// mask hides user name and password of a target that was understood, and the
// parts of a URL behind the host that may hold secrets: the query, and a path
// with an @, which may be the rest of a password.
func mask(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return maskAll(s)
	}
	auth, tail := cutAuthority(rest)
	if i := strings.LastIndexByte(auth, '@'); i >= 0 {
		auth = masked + auth[i:]
	}
	if strings.Contains(tail, "@") {
		tail = tail[:1] + masked
	} else if i := strings.IndexAny(tail, "?#"); i >= 0 {
		tail = tail[:i+1] + masked
	}
	return scheme + "://" + auth + tail
}

// maskAll hides everything that could be user name and password in a text
// that was not understood: all up to the last @, and the query.
func maskAll(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if ok && validScheme(strings.ToLower(scheme)) {
		scheme += "://"
	} else {
		scheme, rest = "", s
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = masked + rest[i:]
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i+1] + masked
	}
	return scheme + rest
}
