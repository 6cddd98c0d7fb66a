package procinfo

import (
	"context"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxCgroups = 1 << 14 // directories that are looked at
	maxMembers = 1 << 13 // processes of a group, and of all about
	rootCgroup = 1       // ID of the root, in which there may be all processes
)

// Groups are control groups of version 2 by their IDs.
type Groups struct{ paths map[uint64]string }

// FindGroups finds control groups by their IDs, which on a 64-bit system are the
// inodes of their directories. The root's is left out: that a socket was made in
// it says nothing. Any user may ask. The search ends with ctx.
func FindGroups(ctx context.Context, ids ...uint64) Groups {
	wanted := make(map[uint64]bool)
	for _, id := range ids {
		if id > rootCgroup {
			wanted[id] = true
		}
	}
	found := make(map[uint64]string)
	root := cgroupRoot()
	if root == "" {
		return Groups{}
	}
	dirs := []string{"/"}
	for i := 0; i < len(dirs) && len(found) < len(wanted) && ctx.Err() == nil; i++ {
		for _, name := range subdirs(root + dirs[i]) {
			dir := path.Join(dirs[i], name)
			var st unix.Stat_t
			if unix.Lstat(root+dir, &st) == nil && wanted[st.Ino] {
				found[st.Ino] = dir
			}
			if len(dirs) < maxCgroups {
				dirs = append(dirs, dir)
			}
		}
	}
	return Groups{found}
}

// Unit gives the unit and the container of a group as Cgroup does. What was made
// by the service manager itself, for a unit or for itself, has none.
func (g Groups) Unit(id uint64) (unit, container string) {
	unit, container = Cgroup("0::" + g.paths[id])
	if unit == "init.scope" || strings.HasSuffix(unit, "/init.scope") {
		unit = ""
	}
	return unit, container
}

// Processes lists those of the groups, without those of groups below them, in
// ascending order.
func (g Groups) Processes() (pids []int) {
	root := cgroupRoot()
	for _, p := range g.paths {
		if len(pids) < maxMembers {
			pids = append(pids, members(root+p)...)
		}
	}
	slices.Sort(pids)
	return pids
}

func members(dir string) (pids []int) {
	f, err := os.Open(dir + "/cgroup.procs")
	if err != nil {
		return nil
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, 8*maxMembers)) // 7 digits and a newline
	for line := range strings.Lines(string(b)) {
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
			pids = append(pids, pid) // 0 is one of another PID namespace
		}
	}
	return pids
}

// cgroupRoot is where version 2 is mounted: alone, or beside version 1.
func cgroupRoot() string {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && int64(st.Type) == unix.CGROUP2_SUPER_MAGIC {
			return dir
		}
	}
	return ""
}

func subdirs(dir string) (names []string) {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(256)
		for _, e := range entries {
			if e.IsDir() {
				names = append(names, e.Name())
			}
		}
		if err != nil { // at the end io.EOF
			return names
		}
	}
}
