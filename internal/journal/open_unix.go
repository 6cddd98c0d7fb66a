//go:build unix

package journal

import "syscall"

const nonblock, nofollow = syscall.O_NONBLOCK, syscall.O_NOFOLLOW
