//go:build !linux

package rawsock

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
)

var errNotSupported = fmt.Errorf("send raw packets on %s: %w", runtime.GOOS, errors.ErrUnsupported)

type (
	conn struct{}
	port struct{}
)

// Open fails with errors.ErrUnsupported.
func Open(bool, string) (*Conn, error) { return nil, errNotSupported }

// Send fails with errors.ErrUnsupported.
func (*Conn) Send([]byte, netip.Addr) error { return errNotSupported }

// Close does nothing.
func (*Conn) Close() error { return nil }

// Source fails with errors.ErrUnsupported.
func Source(netip.AddrPort, string) (netip.Addr, error) { return netip.Addr{}, errNotSupported }

// Ask fails with errors.ErrUnsupported.
func Ask(string, netip.Addr, netip.Addr) error { return errNotSupported }

// Reserve fails with errors.ErrUnsupported.
func Reserve(netip.Addr, uint16, string) (*Port, error) { return nil, errNotSupported }

// Close does nothing.
func (*Port) Close() error { return nil }
