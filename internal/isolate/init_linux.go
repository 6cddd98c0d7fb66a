package isolate

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/netns"
)

// Dir is the memory that the copy keeps its files in, gone with it. It lies
// over a directory that nearly every system has, and that means the same
// inside.
const Dir = "/dev/shm"

// Bin is a directory with the program, in which every user may run it: the one
// that it was started from may be closed to others.
const Bin = Dir + "/bin"

// Init is PID 1 of the copy: it makes the mounts, runs the program once more
// under this name and with these arguments, which must lead it to Enter, and
// reaps what that leaves behind until it ends. It returns its exit code.
func Init(name string, args ...string) (int, error) {
	if os.Getpid() != 1 {
		return 0, errors.New("isolate: only for a program that isolates itself")
	}
	if err := mounts(); err != nil {
		return 0, fmt.Errorf("isolate: %w", netns.Forbidden(err))
	}
	program, err := install(name)
	if err != nil {
		return 0, fmt.Errorf("isolate: %w", err)
	}
	if err := os.Setenv("TMPDIR", Dir); err != nil {
		return 0, fmt.Errorf("isolate: %w", err)
	}
	control := os.NewFile(controlFd, "control")
	p, err := os.StartProcess(program, append([]string{name}, args...), &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, control},
	})
	if err != nil {
		return 0, fmt.Errorf("isolate: %w", err)
	}
	control.Close() // its end must be seen by the one that uses it
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, fmt.Errorf("isolate: %w", os.NewSyscallError("wait4", err))
		case pid == p.Pid && status.Signaled() && status.Signal() == unix.SIGPIPE:
			return 128 + int(unix.SIGPIPE), nil // who reads has seen enough; as a shell says it
		case pid == p.Pid && status.Signaled():
			return 0, fmt.Errorf("isolate: the program was killed: %v", status.Signal())
		case pid == p.Pid && status.Exited():
			return status.ExitStatus(), nil
		}
	}
}

// mounts makes the mounts of the copy, which nobody else sees.
func mounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("tmpfs", Dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
		return fmt.Errorf("memory on %s: %w", Dir, err)
	}
	// The processes outside stay visible where a container forbids this one, and
	// nothing else changes.
	_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	return nil
}

// install copies the program to where everybody may run it.
func install(name string) (path string, err error) {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer from.Close()
	if err := mkdir(Bin); err != nil {
		return "", err
	}
	path = filepath.Join(Bin, name)
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, from)
	return path, errors.Join(err, to.Chmod(0o755), to.Close())
}

// mkdir makes a directory that everybody may read, whatever the umask.
func mkdir(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}
