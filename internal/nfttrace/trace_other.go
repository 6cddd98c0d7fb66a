//go:build !linux

package nfttrace

import (
	"errors"
	"fmt"
)

var errNotSupported = fmt.Errorf("nftrace on this system: %w", errors.ErrUnsupported)

// ErrChanged says that the rules are no longer those that the packet met.
var ErrChanged = errors.New("nftrace: the rules have changed since")

// Tracer does not exist on this system.
type Tracer struct{}

// Open fails with errors.ErrUnsupported.
func Open(Filter) (*Tracer, error) { return nil, errNotSupported }

// Next fails with errors.ErrUnsupported.
func (*Tracer) Next() (Event, error) { return Event{}, errNotSupported }

// Lookup fails with errors.ErrUnsupported.
func (*Tracer) Lookup(Event, Chain) (Rule, error) { return Rule{}, errNotSupported }

// Lost is 0.
func (*Tracer) Lost() uint64 { return 0 }

// Stop fails with errors.ErrUnsupported.
func (*Tracer) Stop() (uint64, error) { return 0, errNotSupported }

// Close does nothing.
func (*Tracer) Close() error { return nil }
