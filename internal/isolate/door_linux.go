package isolate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// doorName begins the names of doors; the PID of who opened it follows. It is an
// abstract name, unix(7): there is no file, and it is gone with its process.
const doorName = "@tcpwhy-lab."

// Open lets other programs of the same user, and of root, connect to the copy,
// until it ends or ctx does.
func (c *Cell) Open(ctx context.Context) error {
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: doorName + strconv.Itoa(os.Getpid()), Net: "unixpacket"})
	if err != nil {
		return fmt.Errorf("isolate: %w", err)
	}
	context.AfterFunc(ctx, func() { ln.Close() })
	go func() {
		defer ln.Close()
		for {
			conn, err := ln.AcceptUnix()
			if err != nil {
				return
			}
			if uid, err := peer(conn); err == nil && (uid == os.Geteuid() || uid == 0) {
				if f, err := conn.File(); err == nil {
					_ = c.hand(f) // the guest sees the end of its connection
					f.Close()
				}
			}
			conn.Close()
		}
	}()
	return nil
}

// peer is the user at the other end.
func peer(c *net.UnixConn) (uid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, cerr); err != nil {
		return 0, err
	}
	return int(cred.Uid), nil
}

// Door is that of a running copy.
type Door struct {
	Pid int // of the program outside
	// Command is how it was called, as ps(1) shows it.
	Command []string
}

// Doors lists those in this network namespace, by PID. Which of them let the
// caller in only Dial knows.
func Doors() ([]Door, error) {
	f, err := os.Open("/proc/net/unix")
	if err != nil {
		return nil, fmt.Errorf("isolate: %w", err)
	}
	defer f.Close()
	var doors []Door
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != 8 {
			continue
		}
		digits, ok := strings.CutPrefix(fields[7], doorName)
		pid, err := strconv.Atoi(digits)
		if !ok || err != nil || slices.ContainsFunc(doors, func(d Door) bool { return d.Pid == pid }) {
			continue
		}
		d := Door{Pid: pid}
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil {
			d.Command = strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
		}
		doors = append(doors, d)
	}
	slices.SortFunc(doors, func(a, b Door) int { return a.Pid - b.Pid })
	return doors, lines.Err()
}

// Dial connects to the copy that belongs to the process. Only the same user's
// and root's are trusted with a terminal.
func Dial(pid int) (*net.UnixConn, error) {
	d := net.Dialer{Timeout: 2 * time.Second}
	conn, err := d.Dial("unixpacket", doorName+strconv.Itoa(pid))
	if err != nil {
		return nil, fmt.Errorf("isolate: %w", err)
	}
	u := conn.(*net.UnixConn)
	uid, err := peer(u)
	if err == nil && uid != os.Geteuid() && uid != 0 && os.Geteuid() != 0 {
		err = fmt.Errorf("it belongs to the user with the ID %d", uid)
	}
	if err != nil {
		u.Close()
		return nil, fmt.Errorf("isolate: %w", err)
	}
	return u, nil
}
