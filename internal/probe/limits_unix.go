//go:build unix

package probe

import "golang.org/x/sys/unix"

// OpenFiles is the limit of open descriptors, RLIMIT_NOFILE of getrlimit(2).
func OpenFiles() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil || r.Cur > 1<<20 {
		return 1 << 20
	}
	return int(r.Cur)
}
