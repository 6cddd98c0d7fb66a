package netns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxOthers    = 256     // namespaces
	maxMountinfo = 4 << 20 // bytes read of the mounts
)

// FindOthers looks for the namespaces of processes, /proc/PID/ns/net, and those
// held by a bind mount, as ip-netns(8) and Docker make them. One that is held by
// a descriptor or a socket alone cannot be found. It lists up to 256, each once,
// and stops looking when ctx is done.
//
// To see the namespace of another user's process needs CAP_SYS_PTRACE, and to
// enter one CAP_SYS_ADMIN.
func FindOthers(ctx context.Context) (Others, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return Others{}, fmt.Errorf("netns: /proc/thread-self/ns/net: %w", err)
	}
	s := search{seen: map[uint64]bool{st.Ino: true}}
	if err := s.processes(ctx); err != nil {
		return Others{}, fmt.Errorf("netns: %w", err)
	}
	if f, err := os.Open("/proc/thread-self/mountinfo"); err == nil {
		defer f.Close()
		for path, inode := range mounts(f) {
			s.add(Other{Inode: inode, Path: path})
		}
	}
	return s.found, nil
}

// Open opens the namespace. It fails if what is at the path now is another one:
// the process may have ended and its number be in use again.
func (o Other) Open() (*NS, error) {
	// Whatever came to be at the path, opening it must not wait.
	f, err := os.OpenFile(o.Path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("netns: %w", err)
	}
	ns := &NS{f}
	var st unix.Stat_t
	if err := unix.Fstat(ns.Fd(), &st); err != nil || st.Ino != o.Inode {
		_ = ns.Close()
		return nil, fmt.Errorf("netns: %s is not namespace %d any more: %w", o.Path, o.Inode, errors.Join(fs.ErrNotExist, err))
	}
	return ns, nil
}

type search struct {
	seen  map[uint64]bool
	found Others
}

func (s *search) add(o Other) {
	switch {
	case o.Inode == 0 || s.seen[o.Inode]:
	case len(s.found.List) == maxOthers:
		s.seen[o.Inode] = true
		s.found.Omitted++
	default:
		s.seen[o.Inode] = true
		s.found.List = append(s.found.List, o)
	}
}

func (s *search) processes(ctx context.Context) error {
	proc, err := os.Open("/proc")
	if err != nil {
		return err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return err
	}
	var link [64]byte
	for i, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid <= 0 {
			continue
		}
		if i%64 == 0 && ctx.Err() != nil {
			s.found.Unseen = len(names) - i
			return nil
		}
		n, err := unix.Readlinkat(int(proc.Fd()), name+"/ns/net", link[:])
		switch {
		case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
			s.found.Hidden++
		case err == nil: // else it ended, or is about to
			s.add(Other{Inode: parseLink(string(link[:n])), PID: pid, Path: "/proc/" + name + "/ns/net"})
		}
	}
	return nil
}

// parseLink reads "net:[4026531840]"; 0 for anything else.
func parseLink(link string) uint64 {
	rest, ok := strings.CutPrefix(link, "net:[")
	if !ok {
		return 0
	}
	rest, ok = strings.CutSuffix(rest, "]")
	if !ok {
		return 0
	}
	n, _ := strconv.ParseUint(rest, 10, 64)
	return n
}

// mounts yields the mount points of network namespaces and their inodes, from
// proc_pid_mountinfo(5).
func mounts(r io.Reader) func(yield func(path string, inode uint64) bool) {
	return func(yield func(string, uint64) bool) {
		lines := bufio.NewScanner(io.LimitReader(r, maxMountinfo))
		for lines.Scan() {
			// 1129 35 0:4 net:[4026532245] /run/netns/a rw shared:9 - nsfs nsfs rw
			f := strings.Fields(lines.Text())
			end := slices.Index(f, "-")
			if end < 6 || end+1 >= len(f) || f[end+1] != "nsfs" {
				continue
			}
			if inode := parseLink(f[3]); inode != 0 && !yield(unescape(f[4]), inode) {
				return
			}
		}
	}
}

// unescape undoes what the kernel does to spaces, tabs, newlines and backslashes
// in a mount point: "\040".
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
