package journal

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/visible"
)

// parseEntry reads one entry of journalctl -o json, systemd.journal-fields(7).
// A field is a string, or an array of bytes where it is not all printable text,
// or null where it is too long, or an array of these where it was given more
// than once; of those the first counts. It is false for what is no entry.
func parseEntry(line []byte) (Entry, bool) {
	var f struct {
		Time       json.RawMessage `json:"__REALTIME_TIMESTAMP"`
		Message    json.RawMessage `json:"MESSAGE"`
		Unit       json.RawMessage `json:"_SYSTEMD_UNIT"`
		About      json.RawMessage `json:"UNIT"`
		Identifier json.RawMessage `json:"SYSLOG_IDENTIFIER"`
		Comm       json.RawMessage `json:"_COMM"`
		PID        json.RawMessage `json:"_PID"`
		Transport  json.RawMessage `json:"_TRANSPORT"`
		Container  json.RawMessage `json:"CONTAINER_ID_FULL"`
	}
	if json.Unmarshal(line, &f) != nil {
		return Entry{}, false
	}
	us, err := strconv.ParseInt(string(value(f.Time)), 10, 64)
	if err != nil || us <= 0 {
		return Entry{}, false
	}
	e := Entry{
		Time: time.UnixMicro(us), Message: value(f.Message), Unit: shown(string(value(f.Unit))),
		Identifier: shown(string(value(f.Identifier))), Comm: shown(string(value(f.Comm))),
		Kernel: string(value(f.Transport)) == "kernel", Container: len(f.Container) > 0,
	}
	if pid, err := strconv.ParseInt(string(value(f.PID)), 10, 32); err == nil && pid > 0 {
		e.PID = int(pid)
	}
	if e.Manager = e.PID == 1 && !e.Kernel; e.Manager {
		e.About = shown(string(value(f.About)))
	}
	return e, true
}

// value is the first value of a field, at most maxMessage bytes of it.
func value(raw json.RawMessage) []byte { return nested(raw, 2) }

func nested(raw json.RawMessage, depth int) []byte {
	if len(raw) == 0 || depth == 0 {
		return nil
	}
	switch raw[0] {
	case '"':
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return nil
		}
		return []byte(s[:min(len(s), maxMessage)])
	case '[':
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil || len(list) == 0 {
			return nil
		}
		if c := list[0][0]; c < '0' || c > '9' {
			return nested(list[0], depth-1)
		}
		b := make([]byte, 0, min(len(list), maxMessage))
		for _, v := range list[:min(len(list), maxMessage)] {
			n, err := strconv.ParseUint(string(v), 10, 8)
			if err != nil {
				return nil
			}
			b = append(b, byte(n))
		}
		return b
	}
	return nil
}

// shown is text that may be shown. The backslashes of the names of units stay.
func shown(s string) string { return visible.Name(s, maxText) }
