//go:build !linux

package path

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// TraceRaw fails with errors.ErrUnsupported.
func TraceRaw(context.Context, collect.Env, netip.AddrPort, Options) (evidence.Path, error) {
	return evidence.Path{}, fmt.Errorf("path by raw packets on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
