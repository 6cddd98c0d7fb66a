//go:build !linux

package probe

// MayCapture is false: packets are captured on Linux only.
func MayCapture() bool { return false }
