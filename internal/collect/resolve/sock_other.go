//go:build !linux

package resolve

import "syscall"

// reportICMP does nothing: these systems report the ICMP errors that they
// report on any connected UDP socket.
func reportICMP(_, _ string, _ syscall.RawConn) error { return nil }
