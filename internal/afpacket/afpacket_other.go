//go:build !linux

package afpacket

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/net/bpf"
)

var errNotSupported = fmt.Errorf("capture packets on %s: %w", runtime.GOOS, errors.ErrUnsupported)

type conn struct{}

// Open fails with errors.ErrUnsupported.
func Open([]bpf.RawInstruction, int) (*Conn, error) { return nil, errNotSupported }

// Wait fails with errors.ErrUnsupported.
func (*Conn) Wait() error { return errNotSupported }

// Next fails with errors.ErrUnsupported.
func (*Conn) Next(*Packet) (bool, error) { return false, errNotSupported }

// Drain fails with errors.ErrUnsupported.
func (*Conn) Drain(func(*Packet)) error { return errNotSupported }

// SetDeadline fails with errors.ErrUnsupported.
func (*Conn) SetDeadline(time.Time) error { return errNotSupported }

// InterfaceName returns "".
func (*Conn) InterfaceName(int) string { return "" }

// Stats fails with errors.ErrUnsupported.
func (*Conn) Stats() (Stats, error) { return Stats{}, errNotSupported }

// Close does nothing.
func (*Conn) Close() error { return nil }
