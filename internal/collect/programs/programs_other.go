//go:build !linux

package programs

import (
	"context"
	"errors"
	"fmt"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

func collect(context.Context, int) ([]evidence.Program, []evidence.NotChecked, error) {
	return nil, nil, fmt.Errorf("BPF programs: %w on this system", errors.ErrUnsupported)
}
