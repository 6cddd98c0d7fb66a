package netns

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Privileged says whether the process may make network namespaces and links as
// it is: as root with CAP_NET_ADMIN, CAP_SYS_ADMIN and CAP_NET_RAW.
func Privileged() bool {
	const needed = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_RAW
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if os.Geteuid() != 0 || unix.Capget(&header, &data[0]) != nil {
		return false
	}
	return data[0].Effective&needed == needed
}

// UserNS makes a process root of a new user namespace, in which its user is the
// only one; user_namespaces(7). More clone flags may be added.
func UserNS() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
}

// ForbiddenError says that an ordinary user may not make user namespaces here.
type ForbiddenError struct {
	Err error
	// Sysctls are the settings found that forbid it, as "name=value".
	Sysctls []string
}

func (e *ForbiddenError) Error() string {
	what := "user namespaces for ordinary users: " + e.Err.Error()
	for _, s := range e.Sysctls {
		what += "; sysctl " + s + " forbids them"
	}
	return what
}

// Unwrap gives the system's error.
func (e *ForbiddenError) Unwrap() error { return e.Err }

// Forbidden explains an error of starting a process in a new user namespace, or
// of the first thing that it did as root there. An error that no setting can
// be the cause of comes back as it is.
func Forbidden(err error) error {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EINVAL) {
		return err
	}
	e := &ForbiddenError{Err: err}
	for _, s := range []struct{ name, value string }{
		{"user.max_user_namespaces", "0"},
		{"kernel.unprivileged_userns_clone", "0"},             // Debian's
		{"kernel.apparmor_restrict_unprivileged_userns", "1"}, // Ubuntu's
	} {
		b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(s.name, ".", "/"))
		if err == nil && strings.TrimSpace(string(b)) == s.value {
			e.Sysctls = append(e.Sysctls, fmt.Sprintf("%s=%s", s.name, s.value))
		}
	}
	return e
}
