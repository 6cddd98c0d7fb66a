package report

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"

	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// duration writes a time for people: "0.3 ms", "120 ms", "1.2 s", "2 min 5 s".
func duration(d time.Duration) string {
	ms := float64(max(d, 0)) / float64(time.Millisecond)
	switch {
	case ms < 99.95:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 999.5:
		return fmt.Sprintf("%.0f ms", ms)
	case ms < 59_950:
		return fmt.Sprintf("%.1f s", ms/1000)
	default:
		s := int64(math.Round(ms / 1000))
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	}
}

// count writes a number with its noun: "1 cause", "4 causes".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// percent writes a likelihood of 0 to 1: "62 %", "<1 %".
func percent(f float64) string {
	if n := math.Round(f * 100); n >= 1 {
		return fmt.Sprintf("%.0f %%", min(n, 100))
	}
	return "<1 %"
}

// inWords says a likelihood of 0 to 1 in words.
func inWords(f float64) string {
	switch {
	case f >= 0.75:
		return "very likely"
	case f >= 0.4:
		return "likely"
	case f >= 0.1:
		return "possible"
	default:
		return "unlikely"
	}
}

// target writes what was asked about: "db.internal:5432", "[fd77::2]:22".
func target(t flow.Target) string {
	host := t.Host
	if t.Addr.IsValid() {
		host = t.Addr.String() // with its zone
	}
	return net.JoinHostPort(host, strconv.Itoa(int(t.Port)))
}

// endpoint writes an address as it is known: with its port, without, or "".
func endpoint(a netip.AddrPort) string {
	switch {
	case !a.Addr().IsValid():
		return ""
	case a.Port() == 0:
		return a.Addr().String()
	default:
		return a.String()
	}
}

// experience says an outcome as the predicate of a sentence whose subject is
// the target.
func experience(o verdict.Outcome) string {
	switch o {
	case verdict.Open:
		return "works"
	case verdict.Refused:
		return "is refused"
	case verdict.Timeout:
		return "times out"
	case verdict.Unreachable:
		return "is unreachable"
	case verdict.Reset:
		return "is reset"
	case verdict.LocalError:
		return "fails on this host"
	case verdict.NameError:
		return "cannot be resolved"
	case verdict.Degraded:
		return "works only in part"
	default:
		return "was not decided"
	}
}

// Untrusted text is cut at these numbers of runes.
const (
	maxText    = 400
	maxCommand = 2000
)

// escape makes text safe for a terminal: what is not printable becomes a Go
// escape, with ascii also all that is not ASCII; more than limit runes are cut.
func escape(s string, ascii bool, limit int) string {
	if len(s) <= limit && plain(s) {
		return s
	}
	var b strings.Builder
	for n, i := 0, 0; i < len(s); n++ {
		if n == limit {
			b.WriteString("...")
			break
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !unicode.IsPrint(r) || ascii && r > unicode.MaxASCII:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// plain says whether s is printable ASCII only.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// cells is the number of terminal columns that escaped text takes.
func cells(s string) int {
	if plain(s) {
		return len(s)
	}
	n := 0
	for _, r := range s {
		n += runeCells(r)
	}
	return n
}

func runeCells(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	default:
		return 1
	}
}

// cut shortens s to at most n columns and marks that it did.
func cut(s string, n int) string {
	if cells(s) <= n {
		return s
	}
	const mark = ".."
	head, _ := split(s, n-len(mark))
	return strings.TrimRight(head, " ") + mark[:max(0, min(len(mark), n))]
}

// split cuts s after the runes that fit into n columns.
func split(s string, n int) (head, tail string) {
	used := 0
	for i, r := range s {
		if used += runeCells(r); used > n {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// wrap breaks text between words into lines of at most n columns (n > 1); a
// longer word is broken, a number and its unit stay together.
func wrap(text string, n int) []string {
	var lines []string
	line, used := "", 0
	words := strings.Fields(text)
	for i := 0; i < len(words); i++ {
		word := words[i]
		if i+1 < len(words) && isQuantity(word, words[i+1]) {
			i++
			word += " " + words[i]
		}
		w := cells(word)
		if line != "" && used+1+w <= n {
			line, used = line+" "+word, used+1+w
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for w > n {
			var head string
			head, word = split(word, n)
			lines = append(lines, head)
			w = cells(word)
		}
		line, used = word, w
	}
	return append(lines, line)
}

// isQuantity says whether two words are a number and its unit.
func isQuantity(number, unit string) bool {
	if number[0] < '0' || number[0] > '9' {
		return false
	}
	switch strings.TrimRight(unit, ".,;:)") {
	case "ms", "s", "min", "%", "bytes":
		return true
	}
	return false
}
