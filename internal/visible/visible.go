// Package visible makes text from outside safe to show: printable ASCII, bounded.
// It imports nothing of ours.
package visible

import (
	"strconv"
	"strings"
)

const cut = "..."

// Text escapes control characters, backslashes and what is not ASCII as Go does,
// and cuts what is longer than limit characters; limit is at least 3.
func Text(s string, limit int) string {
	q := strconv.QuoteToASCII(s[:min(len(s), 4*limit)])
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	if len(q) > limit {
		q = q[:limit-len(cut)] + cut
	}
	return q
}

// Name is Text for names that are typed with their backslashes, such as that of
// the unit dev-disk\x2dby.device: those stay.
func Name(s string, limit int) string {
	var b strings.Builder
	for i := range len(s) {
		one := s[i : i+1]
		if c := s[i]; c < ' ' || c > '~' {
			one = `\x` + strconv.FormatUint(uint64(c)|0x100, 16)[1:]
		}
		if b.Len()+len(one) > limit {
			return b.String()[:min(b.Len(), limit-len(cut))] + cut
		}
		b.WriteString(one)
	}
	return b.String()
}
