//go:build !linux

package bind

import (
	"context"
	"errors"
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

func bindToDevice(int, string) error { return errors.ErrUnsupported }

// holders are not to be had on this system, and neither is what follows.
func (place) holders(context.Context) ([]evidence.Listener, int, error) {
	return nil, 0, errors.ErrUnsupported
}

func portStart() int        { return -1 }
func setting(string) string { return "" }
func mayBindLow() bool      { return false }
func selinux() string       { return "" }
func carrier(netip.Addr) (name string, usable bool, err error) {
	return "", false, errors.ErrUnsupported
}
