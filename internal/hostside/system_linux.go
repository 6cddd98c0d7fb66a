package hostside

import (
	"bufio"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/visible"
)

// namespace is the inode of the network namespace of the program.
func namespace() (uint32, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: "/proc/self/ns/net", Err: err}
	}
	return uint32(st.Ino), nil
}

// system names the system and its release.
func system() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "linux"
	}
	return "linux " + visible.Text(unix.ByteSliceToString(u.Release[:]), maxName)
}

// diverted names what can serve a port on which nobody listens: the kernel's load
// balancer, ipvsadm(8), where it has any service.
func diverted() []string {
	f, err := os.Open("/proc/net/ip_vs")
	if err != nil {
		return nil // not there, or not for this user
	}
	defer f.Close()
	const head = 3 // lines
	lines := 0
	for s := bufio.NewScanner(f); s.Scan() && lines <= head; {
		lines++
	}
	if lines <= head {
		return nil
	}
	return []string{"IPVS"}
}
