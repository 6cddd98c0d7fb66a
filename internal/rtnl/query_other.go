//go:build !linux

package rtnl

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

var errNotSupported = fmt.Errorf("rtnetlink: %w on this system", errors.ErrUnsupported)

// Reader reads routing state; on this system there is none to be had.
type Reader struct{}

// NewReader fails with an error that wraps errors.ErrUnsupported.
func NewReader() (*Reader, error) { return nil, errNotSupported }

// Close does nothing.
func (*Reader) Close() {}

// Route is not supported on this system.
func (*Reader) Route(Lookup) (Found, error) { return Found{}, errNotSupported }

// Interfaces is not supported on this system.
func (*Reader) Interfaces() ([]Interface, error) { return nil, errNotSupported }

// LocalRoutes is not supported on this system.
func (*Reader) LocalRoutes(v6 bool) ([]LocalRoute, error) { return nil, errNotSupported }

// Addrs is not supported on this system.
func (*Reader) Addrs(v6 bool) ([]LocalAddr, error) { return nil, errNotSupported }

// Neighbour is not supported on this system.
func (*Reader) Neighbour(link int, addr netip.Addr) (*evidence.Neighbour, error) {
	return nil, errNotSupported
}

// Rules is not supported on this system.
func (*Reader) Rules(v6 bool) ([]string, error) { return nil, errNotSupported }

// Arrival is not supported on this system.
func (*Reader) Arrival(from, to netip.Addr, link int) (string, error) { return "", errNotSupported }

// RulesLookAt is not supported on this system.
func (*Reader) RulesLookAt(v6 bool) (Criteria, error) { return Criteria{}, errNotSupported }

// Filters is not supported on this system.
func (*Reader) Filters(link int) ([]Filter, error) { return nil, errNotSupported }

// Drops is not supported on this system.
func (*Reader) Drops() (map[int]Drops, error) { return nil, errNotSupported }

// TrackStats is not supported on this system.
func TrackStats() (map[string]int64, error) { return nil, errNotSupported }

// IPsec is not supported on this system.
func IPsec() (bool, error) { return false, errNotSupported }
