//go:build !linux

package sockdiag

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

var errNotSupported = fmt.Errorf("sock_diag: %w on this system", errors.ErrUnsupported)

// Conn reads the socket table; on this system there is none to be had.
type Conn struct{}

// Dial fails with an error that wraps errors.ErrUnsupported.
func Dial(context.Context) (*Conn, error) { return nil, errNotSupported }

// Close does nothing.
func (*Conn) Close() error { return nil }

// Sockets yields nothing but an error that wraps errors.ErrUnsupported.
func (*Conn) Sockets(Query) iter.Seq2[Socket, error] {
	return func(yield func(Socket, error) bool) { yield(Socket{}, errNotSupported) }
}

// Owners knows none on this system.
func Owners(context.Context, []int, ...uint64) map[uint64]Owner { return nil }
