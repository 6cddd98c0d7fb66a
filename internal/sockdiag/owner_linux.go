package sockdiag

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxDescriptors = 1 << 18 // looked at by one call of Owners
	commLen        = 16      // TASK_COMM_LEN, linux/sched.h
)

// Owners finds the processes that hold the sockets with these inodes, by
// /proc/PID/fd. Sockets of processes that the caller may not look into are
// missing in the answer, as is what was not found before ctx was done.
//
// Of several processes that share a socket it names the one with the lowest
// PID, the parent as a rule; the init process only where it is alone, since a
// service manager keeps the sockets that it hands on.
//
// To look through all processes takes long where there are many. The likely ones,
// if any are known, are looked at first, and the rest only for what those do not
// have.
func Owners(ctx context.Context, likely []int, inodes ...uint64) map[uint64]Owner {
	s := scan{wanted: make(map[uint64]struct{}), owners: make(map[uint64]Owner), left: maxDescriptors}
	for _, i := range inodes {
		if i != 0 {
			s.wanted[i] = struct{}{}
		}
	}
	s.processes(ctx, likely)
	if len(s.wanted) > 0 {
		s.processes(ctx, processes())
	}
	return s.owners
}

// processes lists the PIDs in ascending order, the init process last.
func processes() []int {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	pids := make([]int, 0, len(names))
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	if len(pids) > 0 && pids[0] == 1 {
		pids = append(pids[1:], 1)
	}
	return pids
}

type scan struct {
	wanted map[uint64]struct{} // inodes without owner yet
	owners map[uint64]Owner
	left   int // descriptors that may still be looked at
}

func (s *scan) processes(ctx context.Context, pids []int) {
	for _, pid := range pids {
		if len(s.wanted) == 0 || s.left <= 0 || ctx.Err() != nil {
			return
		}
		s.process(pid)
	}
}

func (s *scan) process(pid int) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	fds, err := os.Open(filepath.Join(dir, "fd"))
	if err != nil {
		return
	}
	defer fds.Close()
	var name string
	var link [64]byte
	for s.left > 0 && len(s.wanted) > 0 {
		entries, err := fds.Readdirnames(512)
		for _, e := range entries {
			s.left--
			n, err := unix.Readlinkat(int(fds.Fd()), e, link[:])
			if err != nil {
				continue
			}
			inode := socketInode(link[:n])
			if _, ok := s.wanted[inode]; !ok {
				continue
			}
			if name == "" {
				name = command(dir)
			}
			s.owners[inode] = Owner{pid, name}
			delete(s.wanted, inode)
		}
		if err != nil {
			return
		}
	}
}

// socketInode reads "socket:[123]"; 0 for anything else.
func socketInode(link []byte) uint64 {
	s, ok := strings.CutPrefix(string(link), "socket:[")
	if !ok {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSuffix(s, "]"), 10, 64)
	return n
}

// command reads the name of a process, which the process itself chose.
func command(dir string) string {
	f, err := os.Open(filepath.Join(dir, "comm"))
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, commLen))
	return escape(strings.TrimSuffix(string(b), "\n"))
}

// escape makes printable ASCII of a name of at most commLen bytes; none of
// them becomes more than four characters.
func escape(name string) string {
	var b strings.Builder
	for _, c := range []byte(name[:min(len(name), commLen)]) {
		if c < ' ' || c > '~' || c == '\\' {
			b.WriteString(`\x`)
			b.WriteString(strconv.FormatUint(uint64(c)|0x100, 16)[1:])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
