//go:build !linux

package sandbox

import "net"

// sendState is what Linux alone tells.
func sendState(*net.TCPConn) *SendState { return nil }

// peerEnded is what Linux alone tells without reading.
func peerEnded(*net.TCPConn) string { return "" }

// acceptQueue is what Linux alone tells.
func acceptQueue(*net.TCPListener) (wait, fit int, ok bool) { return 0, 0, false }
