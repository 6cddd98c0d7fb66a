package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/journal"
	"github.com/tcpwhy/tcpwhy/internal/procinfo"
)

const (
	maxScan  = 2000 // entries of the whole journal that are looked at
	maxPer   = 200  // entries of the units
	maxFiles = 12
)

// scan looks through the newest entries of the journal for bind errors with the
// port.
func (g *gathering) scan(ctx context.Context, f *found) {
	if g.o.Port == 0 {
		return
	}
	entries, err := journal.Read(ctx, journal.Query{Since: g.o.Since, Last: maxScan, Dir: g.src.journal, Match: g.namesPort})
	f.journal(checkScan, entries, err)
}

// namesPort says that an entry is a bind error of a system service, or of the
// manager about one, that names the port. In a session anybody can write such a
// line, and what an engine passes on of a container is about the container's
// network.
func (g *gathering) namesPort(e *journal.Entry) bool {
	l := entryLine(e)
	if e.Container || !strings.HasSuffix(l.Unit, ".service") && !strings.HasSuffix(l.Unit, ".socket") || strings.HasPrefix(l.Unit, "user@") {
		return false
	}
	kind, addr := recognise(l.raw, l.from)
	return isBind(kind) && addr.Port() == g.o.Port
}

// unitLogs reads what the units wrote last, and what systemd wrote of them.
func (g *gathering) unitLogs() func(context.Context, *found) {
	var names []string
	for _, u := range g.found.units {
		// What another user's manager or a login session writes is not the service's.
		if !strings.HasSuffix(u.Name, ".scope") && !strings.HasPrefix(u.Name, "user@") {
			names = append(names, u.Name)
		}
	}
	return func(ctx context.Context, f *found) {
		if len(names) == 0 {
			return
		}
		entries, err := journal.Read(ctx, journal.Query{Units: names, Since: g.o.Since, Last: maxPer, Dir: g.src.journal})
		f.journal(checkJournal, entries, err)
	}
}

// kernel looks for processes that the kernel killed or that crashed; concerns
// then tells which of them matter.
func (g *gathering) kernel(ctx context.Context, f *found) {
	since := g.now.Add(-oomBack)
	if g.o.Since.After(since) {
		since = g.o.Since
	}
	entries, err := journal.Read(ctx, journal.Query{Kernel: true, Since: since, Last: maxScan, Dir: g.src.journal, Match: func(e *journal.Entry) bool {
		return kernelKind(e.Message) != "" || bytes.HasPrefix(e.Message, []byte("oom-kill:"))
	}})
	f.journal(checkKernel, entries, err)
}

// concerns says that a message of the kernel is about a process of the services:
// by its name, or by the control group that the kernel names for the same one.
func (g *gathering) concerns(l *line) bool {
	if l.Kind == "" {
		return false
	}
	name, pid := victim(l.raw)
	if slices.Contains(g.programs, name) || pid != 0 && (slices.Contains(g.o.PIDs, pid) || slices.ContainsFunc(g.found.units, func(u evidence.Unit) bool { return u.MainPID == pid })) {
		return true
	}
	for i := range g.lines {
		k := &g.lines[i]
		if k.from != fromKernel || !bytes.HasPrefix(k.raw, []byte("oom-kill:")) || !bytes.Contains(k.raw, fmt.Appendf(nil, ",pid=%d,", pid)) {
			continue
		}
		_, group, _ := bytes.Cut(k.raw, []byte("task_memcg="))
		group, _, _ = bytes.Cut(group, []byte(","))
		if slices.ContainsFunc(g.found.units, func(u evidence.Unit) bool { return bytes.HasSuffix(group, []byte("/"+u.Name)) }) {
			return true
		}
	}
	return false
}

func (f *found) journal(check string, entries []journal.Entry, err error) {
	for i := range entries {
		f.lines = append(f.lines, entryLine(&entries[i]))
	}
	switch {
	case err == nil:
	case errors.Is(err, os.ErrPermission):
		f.miss(check, "the journal of the system may not be read", "sudo tcpwhy host …, or sudo usermod -aG systemd-journal USER")
	case errors.Is(err, journal.ErrNone):
		f.miss(check, err.Error(), "look into the service's own log")
	default:
		f.miss(check, err.Error(), "journalctl --since -1d")
	}
}

// ownFiles are the logs that programs write beside the journal, as Debian, Red
// Hat and the programs' own packages place them, by command name.
var ownFiles = map[string][]string{
	"nginx":         {"/var/log/nginx/error.log"},
	"apache2":       {"/var/log/apache2/error.log"},
	"httpd":         {"/var/log/httpd/error_log"},
	"postgres":      {"/var/log/postgresql/*.log", "/var/lib/pgsql/data/log/*.log"},
	"postgresql":    {"/var/log/postgresql/*.log", "/var/lib/pgsql/data/log/*.log"},
	"redis-server":  {"/var/log/redis/*.log"},
	"valkey-server": {"/var/log/valkey/*.log"},
	"mysqld":        {"/var/log/mysql/error.log", "/var/log/mysqld.log"},
	"mariadbd":      {"/var/log/mysql/error.log", "/var/log/mariadb/mariadb.log"},
	"mongod":        {"/var/log/mongodb/mongod.log"},
	"haproxy":       {"/var/log/haproxy.log"},
	"squid":         {"/var/log/squid/cache.log"},
}

// syslogFiles are where syslog daemons write, for hosts without a journal.
var syslogFiles = []string{"/var/log/syslog", "/var/log/messages", "/var/log/daemon.log"}

// files reads the logs that programs write themselves, and those of syslog
// where there is no journal. Where no line so far had a time, nobody can say
// whether it is about the present: it is left out.
func (g *gathering) files(ctx context.Context, f *found) {
	for _, name := range g.o.Logs {
		g.asked(f, name)
	}
	read := 0
	tail := func(pattern string, keep func(l *line) bool) {
		names, _ := filepath.Glob(g.src.logs + pattern)
		for _, name := range names {
			if read++; read > maxFiles || ctx.Err() != nil {
				return
			}
			lines, err := journal.Tail(name)
			if errors.Is(err, os.ErrPermission) {
				f.miss("log file "+procinfo.Command([]string{name}), "it may not be read", "sudo tcpwhy host …")
			}
			f.fromFile(g, lines, time.Time{}, keep)
		}
	}
	for _, p := range g.programs {
		for _, pattern := range ownFiles[p] {
			tail(pattern, func(l *line) bool { l.Process = p; return true })
		}
	}
	if _, err := journal.Read(ctx, journal.Query{Last: 1, Dir: g.src.journal}); !errors.Is(err, journal.ErrNone) {
		return
	}
	for _, pattern := range syslogFiles {
		tail(pattern, func(l *line) bool { return g.syslog(l) })
	}
}

// asked reads a log that the caller names. Lines without a time are as old as the
// last change of the file: they are about the present if that is.
func (g *gathering) asked(f *found, name string) {
	lines, err := journal.Tail(name)
	info, serr := os.Stat(name)
	shown := procinfo.Command([]string{name})
	if err = errors.Join(err, serr); err != nil {
		f.miss("log file "+shown, procinfo.Command([]string{err.Error()}), "name a file that can be read: --log FILE")
		return
	}
	f.fromFile(g, lines, info.ModTime(), func(l *line) bool {
		l.Process, l.Asked = procinfo.Command([]string{filepath.Base(name)}), true
		return true
	})
}

// fromFile takes lines in, those before the first time as of first, if that is
// known.
func (f *found) fromFile(g *gathering, lines [][]byte, first time.Time, keep func(*line) bool) {
	last := first
	for _, raw := range lines {
		// A line without a time goes on with the message before it.
		if t, ok := lineTime(raw, g.now); ok {
			last = t
		}
		if last.IsZero() || last.Before(g.o.Since) {
			continue
		}
		if l := (line{LogLine: evidence.LogLine{Time: last}, raw: raw}); keep(&l) {
			f.lines = append(f.lines, l)
		}
	}
}

// syslog takes a line of a syslog file apart, "time host tag[pid]: message", and
// says whether it is of one of the programs.
func (g *gathering) syslog(l *line) bool {
	head, message, ok := bytes.Cut(l.raw, []byte(": "))
	if !ok {
		return false
	}
	tag := head[bytes.LastIndexByte(head, ' ')+1:]
	name, _, _ := bytes.Cut(tag, []byte("["))
	l.raw, l.Process = message, strings.ToValidUTF8(string(name), "?")
	switch {
	case l.Process == "kernel":
		l.from = fromKernel
		return true // concerns decides
	case string(tag) == "systemd[1]":
		l.from = fromManager
		unit, _, _ := bytes.Cut(message, []byte(": "))
		l.Unit = string(unit)
		return slices.ContainsFunc(g.programs, func(p string) bool { return l.Unit == p+".service" })
	}
	return slices.Contains(g.programs, l.Process)
}
