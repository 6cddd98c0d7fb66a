package systemd

import (
	"slices"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/visible"
)

// maxList bounds the addresses and names of one unit.
const maxList = 32

// suffixes are the types of units, systemd.unit(5).
var suffixes = []string{".service", ".socket", ".target", ".scope", ".slice", ".mount", ".automount", ".swap", ".device", ".path", ".timer"}

// withSuffix makes a service of a name without a type, as systemctl does.
func withSuffix(name string) string {
	if slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) }) {
		return name
	}
	return name + ".service"
}

// validPattern says that s has only characters of unit names, systemd.unit(5),
// and of patterns. The manager refuses a whole list for one that is wrong.
func validPattern(s string) bool {
	const signs = `:-_.\@*?[]`
	return len(s) < maxText && s[0] != '.' && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(signs, r))
	})
}

// text is a property that is a string.
func text(p map[string]any, name string) string {
	s, _ := p[name].(string)
	return s
}

// number is a property that is a number of any size.
func number(p map[string]any, name string) int64 {
	switch n := p[name].(type) {
	case int32:
		return int64(n)
	case uint32:
		return int64(n)
	case int64:
		return n
	case uint64:
		return int64(n)
	}
	return 0
}

// moment is a property in microseconds of CLOCK_REALTIME, 0 for never.
func moment(p map[string]any, name string) time.Time {
	if us := number(p, name); us > 0 {
		return time.UnixMicro(us)
	}
	return time.Time{}
}

// streams takes the addresses of stream sockets from Listen, an array of type
// and address.
func streams(v any) []string {
	pairs, _ := v.([][]any)
	var list []string
	for _, p := range pairs {
		if len(p) != 2 || len(list) == maxList {
			continue
		}
		kind, _ := p[0].(string)
		address, _ := p[1].(string)
		if kind == "Stream" {
			list = append(list, shown(address))
		}
	}
	return list
}

func strs(v any) []string {
	list, _ := v.([]string)
	list = slices.Clone(list[:min(len(list), maxList)])
	for i := range list {
		list[i] = shown(list[i])
	}
	return list
}

// shown is text that may be shown. The backslashes of the names of units stay.
func shown(s string) string { return visible.Name(s, maxText) }
