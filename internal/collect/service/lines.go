package service

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/journal"
	"github.com/tcpwhy/tcpwhy/internal/procinfo"
)

// maxLog bounds the lines of the result.
const maxLog = 20

// line is a line of a log before it is put down as evidence.
type line struct {
	evidence.LogLine
	raw  []byte
	from origin
}

// entryLine makes a line of an entry of the journal.
func entryLine(e *journal.Entry) line {
	l := line{LogLine: evidence.LogLine{Time: e.Time, Unit: cmp.Or(e.About, e.Unit), Process: cmp.Or(e.Comm, e.Identifier), PID: e.PID}, raw: bytes.TrimRight(e.Message, "\r\n")}
	switch {
	case e.Kernel:
		l.from, l.Unit, l.Process = fromKernel, "", "kernel"
	case e.Manager:
		l.from, l.Process = fromManager, "systemd"
	}
	return l
}

// mark finds the meaning of lines, in order of time. It sees what one line alone
// does not tell: the end of a Python traceback, and the port that PostgreSQL and
// others name behind the error.
func mark(lines []line) {
	type stream struct {
		traceback, binds bool  // in one, and it is in bind
		portless         *line // a bind error without port, just before
		left             int   // lines that may still name it
	}
	type writer struct {
		unit, process string
		pid           int
	}
	streams := map[writer]*stream{}
	for i := range lines {
		l := &lines[i]
		id := writer{l.Unit, l.Process, l.PID}
		s := streams[id]
		if s == nil {
			s = &stream{}
			streams[id] = s
		}
		raw, ended := l.raw, false
		switch {
		case bytes.HasPrefix(raw, []byte("Traceback (most recent call last)")):
			s.traceback, s.binds = true, false
		case s.traceback && (len(raw) == 0 || raw[0] == ' ' || raw[0] == '\t'):
			s.binds = s.binds || bytes.Contains(raw, []byte(".bind("))
		case s.traceback:
			s.traceback, ended = false, true
			if s.binds {
				raw = append([]byte("bind: "), raw...) // which the error itself leaves out
			}
		}
		l.Kind, l.Addr = recognise(raw, l.from)
		if ended && l.Kind == "" {
			l.Kind = evidence.LogPanic
		}
		if s.left--; s.left >= 0 && s.portless != nil {
			if port := hintedPort(raw); port != 0 {
				addr := s.portless.Addr.Addr()
				if !addr.IsValid() {
					addr = netip.IPv6Unspecified()
				}
				s.portless.Addr, s.portless = netip.AddrPortFrom(addr, port), nil
			}
		}
		if isBind(l.Kind) && l.Addr.Port() == 0 {
			s.portless, s.left = l, 3
		}
	}
}

func isBind(k evidence.LogKind) bool {
	return k == evidence.LogBindInUse || k == evidence.LogBindDenied || k == evidence.LogBindNoAddress
}

// inOrder sorts lines by time and leaves out what is there twice, as two sources
// read it.
func inOrder(lines []line) []line {
	slices.SortStableFunc(lines, func(a, b line) int { return a.Time.Compare(b.Time) })
	return slices.CompactFunc(lines, func(a, b line) bool {
		return a.Time.Equal(b.Time) && a.PID == b.PID && a.Unit == b.Unit && bytes.Equal(a.raw, b.raw)
	})
}

// choose picks the lines to show: the newest that are known to mean something,
// up to half, and then the newest at all; in order of time, as lines are.
func choose(lines []line) []evidence.LogLine {
	taken := make([]bool, len(lines))
	n := 0
	for i, l := range slices.Backward(lines) {
		if l.Kind != "" && n < maxLog/2 {
			taken[i], n = true, n+1
		}
	}
	for i := range slices.Backward(lines) {
		if !taken[i] && n < maxLog {
			taken[i], n = true, n+1
		}
	}
	var out []evidence.LogLine
	for i, l := range lines {
		if taken[i] {
			// A log may hold the secrets of a command line, as that does.
			l.Text = procinfo.Command([]string{string(l.raw)})
			out = append(out, l.LogLine)
		}
	}
	return out
}

// timestamps are the beginnings of lines in plain files, with how much of the
// line they take.
var timestamps = []struct {
	layout string
	skip   int // bytes before it
}{
	{"2006-01-02 15:04:05.000 MST", 0},     // PostgreSQL
	{"2006/01/02 15:04:05", 0},             // nginx, Go
	{time.RFC3339Nano, 0},                  // MySQL, newer rsyslog
	{"2006-01-02 15:04:05", 0},             // MariaDB, Python
	{"Mon Jan 02 15:04:05.000000 2006", 1}, // Apache, in brackets
	{"02 Jan 2006 15:04:05.000", -1},       // Redis, behind "123:M "
	{time.Stamp, 0},                        // syslog, without a year
}

// lineTime reads the time at the beginning of a line; false where there is none.
// A time without zone is local, one without year the last that was.
func lineTime(raw []byte, now time.Time) (time.Time, bool) {
	for _, ts := range timestamps {
		s := string(raw[:min(len(raw), 64)])
		switch {
		case ts.skip == 1:
			if len(s) == 0 || s[0] != '[' {
				continue
			}
			s = s[1:]
		case ts.skip == -1:
			i := bytes.IndexByte(raw[:min(len(raw), 16)], ' ')
			if i < 0 {
				continue
			}
			s = s[i+1:]
		}
		if ts.layout == time.RFC3339Nano {
			s, _, _ = strings.Cut(s, " ")
		} else {
			s = s[:min(len(s), len(ts.layout))]
		}
		zone := time.Local
		if bytes.HasPrefix(raw[len(s):], []byte(" UTC")) || bytes.HasPrefix(raw[len(s):], []byte(" GMT")) {
			zone = time.UTC
		}
		t, err := time.ParseInLocation(ts.layout, s, zone)
		if err != nil {
			continue
		}
		if t.Year() == 0 {
			t = t.AddDate(now.Year(), 0, 0)
			if t.After(now.Add(24 * time.Hour)) {
				t = t.AddDate(-1, 0, 0)
			}
		}
		return t, !t.After(now.Add(24 * time.Hour))
	}
	return time.Time{}, false
}
