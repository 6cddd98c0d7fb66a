//go:build !linux

package counters

import (
	"errors"
	"fmt"
)

// files is not supported on this system.
func files() (used, limit int, err error) {
	return 0, 0, fmt.Errorf("count of descriptors: %w on this system", errors.ErrUnsupported)
}
