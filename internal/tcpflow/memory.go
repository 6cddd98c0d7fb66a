package tcpflow

import (
	"os"
	"strconv"
	"strings"
)

// The bounds of DefaultMaxConnections. A connection takes about 400 bytes, and
// at most perConnection with every list full.
const (
	perConnection  = 1200
	leastDefault   = 1 << 14
	mostDefault    = 1 << 22
	unknownDefault = 1 << 20
)

// DefaultMaxConnections goes by the memory that is available: what fits a
// quarter of it, and no more than four million.
func DefaultMaxConnections() int {
	free, ok := availableMemory()
	if !ok {
		return unknownDefault
	}
	return int(min(max(free/4/perConnection, leastDefault), mostDefault))
}

// availableMemory reads MemAvailable of proc_meminfo(5), in bytes.
func availableMemory() (uint64, bool) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "MemAvailable:" && f[2] == "kB" {
			kb, err := strconv.ParseUint(f[1], 10, 53)
			return kb << 10, err == nil
		}
	}
	return 0, false
}
