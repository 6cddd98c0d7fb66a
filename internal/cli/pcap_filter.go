package cli

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/capture"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// filter is what the flags select in a capture that begins at a time.
func (f *pcapFlags) filter(begin tcpflow.Time) (capture.Filter, error) {
	out, err := f.targetFilter()
	if err != nil {
		return out, err
	}
	out.Cause = verdict.CauseID(f.cause)
	out.From, out.To, err = f.times(begin)
	return out, err
}

// targetFilter reads HOST:PORT, HOST, :PORT, where HOST is an address or a name.
func (f *pcapFlags) targetFilter() (out capture.Filter, err error) {
	host := f.target
	if host == "" {
		return out, nil
	}
	bad := func(problem string) (capture.Filter, error) {
		return out, &usageError{fmt.Sprintf("--target %s %s", strconv.QuoteToASCII(f.target), problem), "For example: --target db.example:5432, --target 192.0.2.7, --target :443 or --target '[2001:db8::7]:443'"}
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil {
		if i := strings.LastIndexByte(host, ':'); i >= 0 {
			h, p, err := net.SplitHostPort(host)
			if err != nil {
				return bad("is no host and port")
			}
			n, err := strconv.ParseUint(p, 10, 16)
			if err != nil || n == 0 {
				return bad("has no port between 1 and 65535")
			}
			host, out.Port = h, uint16(n)
		}
	}
	if host == "" {
		return out, nil
	}
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		out.Addr = a.Unmap().WithZone("")
	} else {
		out.Host = host
	}
	return out, nil
}

// secondTime lets --between take two arguments: the second is the first of the
// others that is a time and no file.
func (f *pcapFlags) secondTime(args []string) ([]string, error) {
	if f.between == "" || strings.Contains(f.between, ",") {
		return args, nil
	}
	for i, a := range args {
		if _, ok := readTime(a, 0); !ok {
			continue
		}
		if _, err := os.Stat(a); err != nil {
			f.between += "," + a
			return slices.Delete(slices.Clone(args), i, i+1), nil
		}
	}
	return nil, badTimes(f.between)
}

func badTimes(given string) error {
	return &usageError{
		fmt.Sprintf("--between %s is not two times", strconv.QuoteToASCII(given)),
		"Give both, each as 2026-01-02T15:04:05Z, as 15:04:05 of the capture's first day in UTC, or in seconds from its start: --between 10,12.5",
	}
}

// times reads --between for a capture that begins at a time.
func (f *pcapFlags) times(begin tcpflow.Time) (from, to tcpflow.Time, err error) {
	if f.between == "" {
		return 0, 0, nil
	}
	a, b, _ := strings.Cut(f.between, ",")
	from, ok := readTime(a, begin)
	to, ok2 := readTime(b, begin)
	if !ok || !ok2 {
		return 0, 0, badTimes(f.between)
	}
	const absolute = tcpflow.Time(1e17) // 1973: before any capture, and behind all that is relative
	if mixed := begin == 0 && (from < absolute) != (to < absolute); to < from && !mixed {
		return 0, 0, &usageError{fmt.Sprintf("--between %s ends before it begins", strconv.QuoteToASCII(f.between)), "Give the earlier time first."}
	}
	return from, to, nil
}

// readTime reads a time: RFC 3339, HH:MM:SS with or without a fraction on the
// day of begin, or seconds from begin.
func readTime(s string, begin tcpflow.Time) (tcpflow.Time, bool) {
	s = strings.TrimSpace(s)
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return max(tcpflow.Time(t.UnixNano()), 1), true
	}
	if t, err := time.Parse("15:04:05", s); err == nil {
		day := begin.Time().UTC().Truncate(24 * time.Hour)
		if begin == 0 {
			day = time.Unix(0, 0).UTC()
		}
		return max(tcpflow.Time(day.Add(t.Sub(t.Truncate(24*time.Hour))).UnixNano()), 1), true
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || n < 0 || n > 1e9 {
		return 0, false
	}
	return max(begin+tcpflow.Time(n*1e9), 1), true
}
