//go:build !linux

package packets

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

var errNotSupported = fmt.Errorf("capture packets on %s: %w", runtime.GOOS, errors.ErrUnsupported)

// Capture is a running capture. This system has none.
type Capture struct{}

// Start fails with errors.ErrUnsupported.
func Start(context.Context, collect.Env, netip.Addr, netip.Addr, Options) (*Capture, error) {
	return nil, errNotSupported
}

// Snapshot returns nil.
func (*Capture) Snapshot() []evidence.Packet { return nil }

// Stop returns nothing.
func (*Capture) Stop() ([]evidence.Packet, evidence.Capture) { return nil, evidence.Capture{} }

// Err fails with errors.ErrUnsupported.
func (*Capture) Err() error { return errNotSupported }

// Conclude fails with errors.ErrUnsupported.
func (*Capture) Conclude(string) error { return errNotSupported }
