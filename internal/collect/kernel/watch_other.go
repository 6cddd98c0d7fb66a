//go:build !linux

package kernel

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// Watch is a running watch. This system has none.
type Watch struct{}

// Start fails with errors.ErrUnsupported.
func Start(context.Context, collect.Env, Options) (*Watch, error) {
	return nil, fmt.Errorf("watch the kernel on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

// NotChecked returns nil.
func (*Watch) NotChecked() []evidence.NotChecked { return nil }

// Attempts returns nil.
func (*Watch) Attempts() []Attempt { return nil }

// Summary returns nothing.
func (*Watch) Summary() Summary { return Summary{} }

// Stop returns nothing.
func (*Watch) Stop() evidence.Watched { return evidence.Watched{} }

// Err returns nil.
func (*Watch) Err() error { return nil }

// Watched is never called.
func (w *Watch) Watched() evidence.Watched { return evidence.Watched{} }
