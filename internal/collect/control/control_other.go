//go:build !linux

package control

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

var errNotSupported = fmt.Errorf("control probes on %s: %w", runtime.GOOS, errors.ErrUnsupported)

// Echo fails with errors.ErrUnsupported.
func Echo(context.Context, collect.Env, netip.Addr, time.Duration) (evidence.Control, error) {
	return evidence.Control{}, errNotSupported
}

// Prober sends raw probes. This system has none.
type Prober struct{}

// NewProber fails with errors.ErrUnsupported.
func NewProber(collect.Env, netip.AddrPort) (*Prober, error) { return nil, errNotSupported }

// ACK fails with errors.ErrUnsupported.
func (*Prober) ACK(context.Context, Options) (evidence.Control, error) {
	return evidence.Control{}, errNotSupported
}

// FIN fails with errors.ErrUnsupported.
func (*Prober) FIN(context.Context, Options) (evidence.Control, error) {
	return evidence.Control{}, errNotSupported
}

// SYN fails with errors.ErrUnsupported.
func (*Prober) SYN(context.Context, Options) (evidence.Control, error) {
	return evidence.Control{}, errNotSupported
}

// Close does nothing.
func (*Prober) Close() error { return nil }
