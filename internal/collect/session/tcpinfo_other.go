//go:build !linux

package session

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
)

// state fails: only Linux tells both what is acknowledged and what is queued.
func (st *stream) state() (tcpState, error) {
	return tcpState{}, fmt.Errorf("TCP_INFO on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func quietErrors(syscall.RawConn) {}
