// Package journal reads what services wrote: from systemd's journal by way of
// journalctl(1), which knows its format and its permissions, and from plain log
// files. It only reads, and only so much.
//
// Whoever may write to a log may write anything. Messages come out as the bytes
// they are, bounded; every other text in printable ASCII. The package imports
// nothing of ours.
package journal

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The errors of Read, beside os.ErrPermission where the reader may not see the
// messages of others.
var (
	// ErrNone says that there is no journal here, or no journalctl.
	ErrNone = errors.New("there is no journal here")
	// ErrCut says that there was more than is read, or that time was up.
	ErrCut = errors.New("the journal was not read to its end")
)

const (
	maxLine    = 256 << 10 // bytes of an entry in JSON; a longer one is passed over
	maxTotal   = 16 << 20  // bytes of a whole answer
	maxEntries = 5000
	maxStderr  = 4 << 10
	maxMessage = 4 << 10 // bytes of a message that are kept
	maxText    = 256
)

// Query says which entries to read. What is empty does not restrict; of several
// fields all must hold, of the values of one field any.
type Query struct {
	// Units are system units: what they wrote, and what the service manager says
	// of them, as with journalctl -u.
	Units []string
	// Identifiers are SYSLOG_IDENTIFIER fields, which a program chooses itself.
	Identifiers []string
	PIDs        []int // _PID, which the kernel vouches for
	Kernel      bool  // messages of the kernel only
	Since       time.Time
	// Last bounds the number of entries to the newest ones, before Match looks
	// at them; 0 and all above 5000 is 5000.
	Last int
	// Match keeps the entries for which it holds, if not nil.
	Match func(*Entry) bool
	// Dir is the directory of the journal, or its file; "" is that of the system.
	Dir string
}

// Entry is one message. Unit, Comm and PID are filled by the journal itself and
// can be believed, as can Kernel; Identifier and Message are the writer's.
type Entry struct {
	Time time.Time // when the journal got it
	// Unit is the unit that wrote it; About is the unit that it is about, where
	// the service manager wrote it, "" elsewhere.
	Unit, About string
	Identifier  string // SYSLOG_IDENTIFIER
	Comm        string // command name
	PID         int
	// Kernel says that it is the kernel's, Manager that it is the system's
	// service manager's (process 1).
	Kernel, Manager bool
	// Container says that an engine passes it on from a container, by the journald
	// log driver of Docker and podman.
	Container bool
	Message   []byte // at most 4096 bytes, unescaped
}

// Read reads entries, oldest first. Beside an error that wraps ErrCut or
// os.ErrPermission the result holds what could be read. It ends with ctx.
func Read(ctx context.Context, q Query) ([]Entry, error) {
	// One wrong name would spoil the query, and none at all would not restrict it.
	if units := slices.DeleteFunc(slices.Clone(q.Units), func(u string) bool { return !isUnit(u) }); len(units) < len(q.Units) {
		if q.Units = units; len(units) == 0 {
			return nil, nil
		}
	}
	unread, err := access(q.Dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "journalctl", q.args()...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_COLORS=0", "SYSTEMD_LOG_LEVEL=notice")
	cmd.WaitDelay = 50 * time.Millisecond // a child of its that lives on
	var complaint limited
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("journalctl: %w", err)
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: no program journalctl", ErrNone)
		}
		return nil, fmt.Errorf("journalctl: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { out.Close() }) // wakes the reader, too
	entries, cut := parse(out, q.Match)
	stop()
	ended := ctx.Err() != nil
	if cut {
		cancel()
	}
	err = cmd.Wait()
	return entries, verdict(err, string(complaint.text), unread, cut, ended)
}

// args are those of journalctl.
func (q *Query) args() []string {
	last := q.Last
	if last <= 0 || last > maxEntries {
		last = maxEntries
	}
	args := []string{"--output=json", "--all", "--no-pager", "--lines=" + strconv.Itoa(last)}
	if q.Dir != "" {
		if info, err := os.Stat(q.Dir); err == nil && !info.IsDir() {
			args = append(args, "--file="+q.Dir)
		} else {
			args = append(args, "--directory="+q.Dir)
		}
	}
	if !q.Since.IsZero() {
		args = append(args, "--since=@"+strconv.FormatInt(q.Since.Unix(), 10))
	}
	for _, u := range q.Units {
		args = append(args, "--unit="+u)
	}
	for _, i := range q.Identifiers {
		args = append(args, "--identifier="+i)
	}
	if q.Kernel {
		args = append(args, "_TRANSPORT=kernel")
	}
	for _, p := range q.PIDs {
		args = append(args, "_PID="+strconv.Itoa(p))
	}
	return args
}

// parse reads entries up to the bounds; cut says that there was more.
func parse(r io.Reader, match func(*Entry) bool) (entries []Entry, cut bool) {
	limit := &io.LimitedReader{R: r, N: maxTotal}
	b := bufio.NewReaderSize(limit, maxLine)
	for {
		line, err := b.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			cut = true
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = b.ReadSlice('\n')
			}
			line = nil
		}
		// What is left without a newline was broken off.
		if err == nil {
			if len(entries) == maxEntries {
				return entries, true
			}
			if e, ok := parseEntry(line); ok && (match == nil || match(&e)) {
				entries = append(entries, e)
			}
		}
		if err != nil {
			return entries, cut || limit.N == 0 || len(bytes.TrimSpace(line)) > 0 && err != nil
		}
	}
}

// isUnit says that s can be the name of a unit, systemd.unit(5).
func isUnit(s string) bool {
	return s != "" && len(s) <= maxText && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(`:-_.\@`, r))
	})
}

// access looks for the files of a journal, and says whether some cannot be read
// by this user: of those journalctl says nothing where it can read others.
func access(dir string) (unread bool, err error) {
	patterns := []string{"/run/log/journal/*/*.journal", "/var/log/journal/*/*.journal"}
	if dir != "" {
		patterns = []string{dir, dir + "/*.journal", dir + "/*/*.journal"}
	}
	found := false
	for _, p := range patterns {
		names, _ := filepath.Glob(p)
		for _, name := range names {
			f, err := os.OpenFile(name, os.O_RDONLY|nonblock, 0)
			if err == nil {
				info, _ := f.Stat()
				f.Close()
				found = found || info != nil && info.Mode().IsRegular()
				continue
			}
			if errors.Is(err, fs.ErrPermission) {
				found, unread = true, true
			}
		}
	}
	if !found {
		return false, ErrNone
	}
	return unread, nil
}

// verdict makes an error of how journalctl ended.
func verdict(err error, complaint string, unread, cut, ended bool) error {
	switch {
	case unread:
		return fmt.Errorf("journal: %w", os.ErrPermission)
	case ended, cut:
		return ErrCut
	case err != nil:
		line, _, _ := strings.Cut(strings.TrimSpace(complaint), "\n")
		return fmt.Errorf("journalctl: %w: %s", err, shown(line))
	}
	return nil
}

// limited keeps the start of what is written to it.
type limited struct{ text []byte }

func (l *limited) Write(p []byte) (int, error) {
	l.text = append(l.text, p[:min(len(p), maxStderr-len(l.text))]...)
	return len(p), nil
}
