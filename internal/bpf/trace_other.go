//go:build !linux || !(amd64 || arm64)

package bpf

import (
	"errors"
	"runtime"
	"time"
)

// Tracer is a running trace. This system has none.
type Tracer struct{}

// Trace fails with errors.ErrUnsupported.
func Trace(Filter) (*Tracer, error) {
	return nil, &Error{Missing: "Linux on amd64 or arm64, and this is " + runtime.GOOS + " on " + runtime.GOARCH, Kind: errors.ErrUnsupported}
}

// Read fails with errors.ErrUnsupported.
func (*Tracer) Read(*Event) error { return errors.ErrUnsupported }

// SetDeadline does nothing.
func (*Tracer) SetDeadline(time.Time) {}

// Lost returns 0.
func (*Tracer) Lost() uint64 { return 0 }

// Close does nothing.
func (*Tracer) Close() error { return nil }
