package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// HostExitCode is the exit status of a look at a port of this host: 0 when a
// client would be served, 1 when not and the report says why, 3 when that is not
// known.
func HostExitCode(d *verdict.HostDiagnosis) int {
	switch {
	case d.Outcome == verdict.Open:
		return exitWorks
	case explained(&d.Verdict):
		return exitExplained
	default:
		return exitUnknown
	}
}

// HostListText writes all listeners of a host, by port.
func HostListText(w io.Writer, h *evidence.Host, o Options) error {
	p := newPage(o)
	var ls []evidence.Listener
	if h.Sockets != nil {
		ls = slices.Clone(h.Sockets.Listeners)
	}
	slices.SortStableFunc(ls, func(a, b evidence.Listener) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Addr.Port(), b.Addr.Port()), a.Addr.Compare(b.Addr))
	})
	full := 0
	for i := range ls {
		if ls[i].Queue > ls[i].Backlog {
			full++
		}
	}
	head := fmt.Sprintf("%s has %s", orHost(h.Name), count(len(ls), "listening TCP socket", "listening TCP sockets"))
	color := sgrGreen
	if full > 0 {
		head += fmt.Sprintf("; the accept queue of %d is full", full)
		color = sgrRed
	}
	if o.Quiet {
		p.raw(p.paint(color, p.clean(head)))
	} else {
		p.prose(0, indent, color, head)
		p.blank()
		p.table(listenerRows(ls))
		p.blank()
		p.notChecked(h.NotChecked)
	}
	_, err := w.Write(append(bytes.TrimRight(p.buf.Bytes(), "\n"), '\n'))
	return err
}

// reach says from where a listener can be connected to, by its address alone.
func reach(l *evidence.Listener) string {
	switch a := l.Addr.Addr(); {
	case a.IsLoopback():
		return "this host"
	case !a.IsUnspecified():
		return "by its address"
	case a.Is4():
		return "all IPv4"
	case l.V6Only:
		return "all IPv6"
	}
	return "everywhere"
}

// listenerRows is a table of listeners, a line each.
func listenerRows(ls []evidence.Listener) [][]string {
	rows := [][]string{{"ADDRESS", "REACHED FROM", "QUEUE", "PROCESS", "WHERE"}}
	for i := range ls {
		l := &ls[i]
		process, where := fmt.Sprintf("of user %d", l.UID), cmp.Or(l.Unit, l.Container)
		if l.Process != "" {
			process = fmt.Sprintf("%s (%d)", l.Process, l.PID)
		}
		if l.Namespace != 0 {
			where = strings.TrimSpace(fmt.Sprintf("netns %d %s", l.Namespace, where))
		}
		rows = append(rows, []string{l.Addr.String(), reach(l), fmt.Sprintf("%d/%d", l.Queue, l.Backlog), process, where})
	}
	return rows
}
