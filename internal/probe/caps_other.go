//go:build !linux

package probe

// MayCapture is false: packets are captured on Linux only.
func MayCapture() bool { return false }

// mayReadRules is true: what forbids it here is not the privilege.
func mayReadRules() bool { return true }
