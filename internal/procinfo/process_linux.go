package procinfo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/visible"
)

// userHZ is the unit of times in /proc/PID/stat, the same on every architecture
// that Go supports; time(7).
const userHZ = 100

// Read tells of a process what /proc does, proc_pid(5). An ordinary user may
// read all of it of any process, unless /proc is mounted with hidepid. The
// error is that of the first file, and means that there is no such process.
func Read(pid int) (Process, error) {
	p := Process{PID: pid}
	stat, err := read(pid, "stat")
	if err != nil {
		return p, fmt.Errorf("process %d: %w", pid, err)
	}
	ticks := parseStart(stat)
	var now unix.Timespec
	if ticks > 0 && unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) == nil {
		age := time.Duration(now.Nano()) - ticks
		p.Started = time.Now().Add(-age).Round(time.Second / userHZ) // it is no more exact
	}
	if b, err := read(pid, "comm"); err == nil {
		p.Name = visible.Text(strings.TrimSuffix(string(b), "\n"), maxName)
	}
	if b, err := read(pid, "cmdline"); err == nil {
		p.Command = Command(arguments(b))
	}
	if b, err := read(pid, "cgroup"); err == nil {
		p.Unit, p.Container = Cgroup(string(b))
	}
	return p, nil
}

// parseStart takes the start of a process from /proc/PID/stat, as time since
// boot; 0 if it is not there. The name of the process, in parentheses, may hold
// anything.
func parseStart(stat []byte) time.Duration {
	const starttime = 22 - 3 // counted from the state, the third field
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) <= starttime {
		return 0
	}
	n, err := strconv.ParseInt(f[starttime], 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/int64(time.Second/userHZ) {
		return 0
	}
	return time.Duration(n) * (time.Second / userHZ)
}

// arguments splits /proc/PID/cmdline. A process that writes a title over it
// leaves one string, and zeros or spaces up to the old length.
func arguments(b []byte) []string {
	text := strings.TrimRight(string(b), "\x00 ")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\x00")
}

// Files counts the descriptors that a process has open and gives its soft limit,
// RLIMIT_NOFILE of getrlimit(2). The number needs the right to look into the
// process: the same user, or CAP_SYS_PTRACE.
func Files(pid int) (used, limit int, err error) {
	b, err := read(pid, "limits")
	if err != nil {
		return 0, 0, fmt.Errorf("descriptors of process %d: %w", pid, err)
	}
	if limit, err = parseLimit(string(b)); err != nil {
		return 0, 0, fmt.Errorf("descriptors of process %d: %w", pid, err)
	}
	if used, err = countFiles(fmt.Sprintf("/proc/%d/fd", pid)); err != nil {
		return 0, limit, fmt.Errorf("descriptors of process %d: %w", pid, err)
	}
	if pid == os.Getpid() {
		used-- // the one by which it was counted
	}
	return used, limit, nil
}

func countFiles(dir string) (n int, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(4096)
		n += len(names)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// parseLimit finds the soft limit on open files in /proc/PID/limits.
func parseLimit(text string) (int, error) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "Max open files")
		if !ok {
			continue
		}
		if f := strings.Fields(rest); len(f) > 0 {
			if n, err := strconv.Atoi(f[0]); err == nil && n >= 0 {
				return n, nil
			}
		}
		break
	}
	return 0, errors.New(`no number for "Max open files" in its limits`)
}

// read reads the start of a file of a process.
func read(pid int, file string) ([]byte, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxRead))
}
