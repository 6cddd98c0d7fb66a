package isolate

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/netns"
)

// controlFd is where the copy finds its end of the control socket: the first
// descriptor behind the standard ones. Init hands it on under the same number.
const controlFd = 3

// Cell is a copy of the program in namespaces of its own.
type Cell struct {
	control *net.UnixConn
	ended   chan struct{}
	code    int
	err     error
}

// Start runs the program anew, isolated, with these arguments, which must lead
// it to Init. It shares the standard streams. An error that is a
// *netns.ForbiddenError names what does not allow it.
func Start(args ...string) (*Cell, error) {
	// A program with file capabilities belongs to root in /proc, and its user
	// may not map the users of its own child; capabilities(7), prctl(2).
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("isolate: make the program dumpable: %w", err)
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	attr := new(syscall.SysProcAttr)
	if !netns.Privileged() {
		attr = netns.UserNS()
	}
	attr.Cloneflags |= unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	attr.Pdeathsig = unix.SIGKILL
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0] // for ps(1)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = attr

	c := &Cell{control: ours, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The parent in the sense of Pdeathsig is the thread, so this one must
		// live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		c.code, c.err = exitCode(cmd.Wait())
		close(c.ended)
	}()
	if err := <-started; err != nil {
		ours.Close()
		if attr.Cloneflags&unix.CLONE_NEWUSER != 0 {
			err = netns.Forbidden(err)
		}
		return nil, fmt.Errorf("isolate: %w", err)
	}
	return c, nil
}

// End asks the copy to end: the context that Enter gave it is cancelled.
func (c *Cell) End() { c.control.Close() }

// Wait returns the exit code of the copy, or an error if it was killed.
func (c *Cell) Wait() (int, error) {
	<-c.ended
	c.control.Close()
	return c.code, c.err
}

// Connect makes a connection to the copy, as Enter's Guests sees them.
func (c *Cell) Connect() (*net.UnixConn, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	if err := c.hand(theirs); err != nil {
		ours.Close()
		return nil, err
	}
	return ours, nil
}

// hand passes a connection to the copy.
func (c *Cell) hand(conn *os.File) error {
	if _, _, err := c.control.WriteMsgUnix([]byte{0}, unix.UnixRights(int(conn.Fd())), nil); err != nil {
		return fmt.Errorf("isolate: the copy has ended: %w", err)
	}
	return nil
}

// exitCode reads what exec.Cmd.Wait says.
func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// socketPair is two ends of a connection that keeps messages apart: one for us,
// one to give away.
func socketPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("isolate: %w", os.NewSyscallError("socketpair", err))
	}
	theirs := os.NewFile(uintptr(fds[1]), "socket")
	ours, err := unixConn(os.NewFile(uintptr(fds[0]), "socket"))
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// unixConn makes a connection of a file, which it closes.
func unixConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("isolate: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("isolate: a descriptor that is no unix socket")
	}
	return u, nil
}
