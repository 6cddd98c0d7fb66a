//go:build !unix

package bind

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"

	"github.com/tcpwhy/tcpwhy/internal/collect"
)

type place struct{ addr netip.AddrPort }

func newPlace(_ collect.Env, addr netip.AddrPort) (place, error) {
	return place{}, fmt.Errorf("%v: trying to bind on %s: %w", addr, runtime.GOOS, errors.ErrUnsupported)
}

func (place) attempt(options) (syscall, errno string) { return "", "" }
