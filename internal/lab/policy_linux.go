package lab

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data, linux/seccomp.h: the number of the system call
// and, little-endian, the low half of its third argument.
const (
	seccompNumber = 0
	seccompThird  = 16 + 2*8
)

// confine puts the calling thread, and what it starts, under the policy that the
// scenario has for the user's programs.
func (l *Lab) confine() error {
	if l.denied == 0 {
		return nil
	}
	// The length of the address is all that a filter sees of it: connections of
	// the other family and of UNIX sockets pass.
	length := uint32(pick(l, unix.SizeofSockaddrInet4, unix.SizeofSockaddrInet6))
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: seccompNumber},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CONNECT, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: seccompThird},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: length, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(l.denied)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// Without privilege a filter is only for those who cannot gain any.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	runtime.KeepAlive(filter)
	if err != nil {
		return fmt.Errorf("seccomp filter: %w", err)
	}
	return nil
}
