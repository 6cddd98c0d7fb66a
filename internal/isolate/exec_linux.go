package isolate

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ExecKeepingUser becomes another program, for which setgroups(2) does nothing.
// A program that is started by root and drops its privileges fails where root is
// the only user; told to become root, with this it goes on. It returns only with
// an error.
func ExecKeepingUser(path string, args ...string) error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // struct seccomp_data: nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SETGROUPS, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO}, // 0: done
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // the filter is one of the thread that becomes the program
	defer runtime.UnlockOSThread()
	if os.Geteuid() == 0 {
		err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
		runtime.KeepAlive(filter)
		if err != nil {
			return fmt.Errorf("isolate: seccomp filter: %w", err)
		}
	}
	return fmt.Errorf("isolate: %s: %w", path, unix.Exec(path, append([]string{path}, args...), os.Environ()))
}
