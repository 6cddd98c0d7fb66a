//go:build !linux

package nettest

import "testing"

// NeedRoot ends the test: the privileges meant exist on Linux only.
func NeedRoot(t testing.TB) { Unsupported(t, "Linux capabilities") }

// NeedUserNS ends the test: user namespaces exist on Linux only.
func NeedUserNS(t testing.TB) { Unsupported(t, "user namespaces") }

// InUserNS ends the test: user namespaces exist on Linux only.
func InUserNS(t *testing.T, _ func(t *testing.T)) { NeedUserNS(t) }
