//go:build !linux

package afpacket

import (
	"time"

	"golang.org/x/net/bpf"
)

type ring struct{}

// OpenRing fails with errors.ErrUnsupported.
func OpenRing([]bpf.RawInstruction, RingOptions) (*Ring, error) { return nil, errNotSupported }

// Wait fails with errors.ErrUnsupported.
func (*Ring) Wait() error { return errNotSupported }

// Next returns false.
func (*Ring) Next(*Packet) bool { return false }

// SetDeadline fails with errors.ErrUnsupported.
func (*Ring) SetDeadline(time.Time) error { return errNotSupported }

// InterfaceName returns "".
func (*Ring) InterfaceName(int) string { return "" }

// Stats fails with errors.ErrUnsupported.
func (*Ring) Stats() (Stats, error) { return Stats{}, errNotSupported }

// Close does nothing.
func (*Ring) Close() error { return nil }
