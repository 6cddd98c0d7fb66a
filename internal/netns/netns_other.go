//go:build !linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
)

var errNotSupported = fmt.Errorf("netns: network namespaces on %s: %w", runtime.GOOS, errors.ErrUnsupported)

// NS is a network namespace. This system has none.
type NS struct{}

// New fails with errors.ErrUnsupported.
func New() (*NS, error) { return nil, errNotSupported }

// Current fails with errors.ErrUnsupported.
func Current() (*NS, error) { return nil, errNotSupported }

// Fd returns -1.
func (*NS) Fd() int { return -1 }

// Close does nothing.
func (*NS) Close() error { return nil }

// Do fails with errors.ErrUnsupported.
func (*NS) Do(func() error) error { return errNotSupported }

// Start fails with errors.ErrUnsupported.
func (*NS) Start(*exec.Cmd, map[string]string) error { return errNotSupported }

// FindOthers fails with errors.ErrUnsupported.
func FindOthers(context.Context) (Others, error) { return Others{}, errNotSupported }

// Open fails with errors.ErrUnsupported.
func (Other) Open() (*NS, error) { return nil, errNotSupported }
