package nettest

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Powerless runs f as an ordinary user would: on a thread without capabilities,
// which ends with it. An error of f ends the test.
func Powerless(t testing.TB, f func() error) {
	t.Helper()
	errc := make(chan error)
	go func() {
		runtime.LockOSThread() // and never back
		var none [2]unix.CapUserData
		err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0])
		if err == nil {
			err = f()
		}
		errc <- err
	}()
	if err := <-errc; err != nil {
		t.Fatal(err)
	}
}
