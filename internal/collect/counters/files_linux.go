package counters

import (
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// files counts the descriptors of this process and gives its limit,
// RLIMIT_NOFILE of getrlimit(2).
func files() (used, limit int, err error) {
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0, 0, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return 0, 0, err
	}
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, 0, fmt.Errorf("getrlimit: %w", err)
	}
	return len(names) - 1, int(min(r.Cur, math.MaxInt)), nil // without d itself
}
