package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// NS is a network namespace, held by a file descriptor. Its methods may be
// called from several goroutines at once.
type NS struct{ f *os.File }

// New makes an empty network namespace. It needs CAP_SYS_ADMIN in the current
// user namespace and returns an error wrapping EPERM without it.
func New() (*NS, error) {
	var ns *NS
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("netns: new namespace: %w", err)
		}
		ns, err = open("/proc/thread-self/ns/net")
		return err
	})
	return ns, err
}

// Current returns the namespace of the program itself.
func Current() (*NS, error) { return open("/proc/self/ns/net") }

func open(path string) (*NS, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("netns: %w", err)
	}
	return &NS{f}, nil
}

// Fd is the descriptor that holds the namespace. It is valid until Close.
func (ns *NS) Fd() int { return int(ns.f.Fd()) }

// Close lets go of the namespace. It lives on while a socket or a process is
// left in it.
func (ns *NS) Close() error { return ns.f.Close() }

// Do runs f in the namespace and returns its error. f runs on a thread of its
// own and must not start goroutines that rely on the namespace: those run on
// other threads. A panic in f ends the program, as in any goroutine.
func (ns *NS) Do(f func() error) error {
	return onThread(func() error {
		if err := ns.enter(); err != nil {
			return err
		}
		return f()
	})
}

// Start starts cmd in the namespace, as cmd.Start does otherwise. If binds is
// not empty the process gets a mount namespace of its own in which each file
// named by a value lies over the path that is its key, for example
// {"/etc/resolv.conf": "/tmp/lab/resolv.conf"}; both must exist. The caller
// waits for cmd as usual.
//
// What a process inherits from the thread that starts it, such as a seccomp
// filter, the prepare functions can set: they run on that thread, which ends
// when Start returns.
//
// cmd.SysProcAttr.Pdeathsig is refused: the parent in its sense is the thread
// that starts the process, and that one ends when Start returns.
func (ns *NS) Start(cmd *exec.Cmd, binds map[string]string, prepare ...func() error) error {
	if cmd.SysProcAttr != nil && cmd.SysProcAttr.Pdeathsig != 0 {
		return errors.New("netns: a process started in a namespace cannot have a Pdeathsig")
	}
	return ns.Do(func() error {
		if err := bind(binds); err != nil {
			return err
		}
		for _, f := range prepare {
			if err := f(); err != nil {
				return err
			}
		}
		return cmd.Start()
	})
}

func (ns *NS) enter() error {
	if err := unix.Setns(ns.Fd(), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("netns: enter namespace: %w", err)
	}
	return nil
}

// bind moves the calling thread to a private mount namespace and mounts files
// there.
func bind(binds map[string]string) error {
	if len(binds) == 0 {
		return nil
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("netns: new mount namespace: %w", err)
	}
	// Nothing that is mounted here may spread to where we came from.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("netns: private mounts: %w", err)
	}
	for path, file := range binds {
		if err := unix.Mount(file, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("netns: mount %s over %s: %w", file, path, err)
		}
	}
	return nil
}

// onThread runs f on a thread that nothing else uses and that ends with f: a
// goroutine that returns while locked takes its thread along.
func onThread(f func() error) error {
	errc := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread cannot be thrown away, and /proc/self shows its
			// namespaces. Keep it occupied while another one does the work.
			defer runtime.UnlockOSThread()
			errc <- onThread(f)
			return
		}
		err := errors.New("netns: the function ended its goroutine") // as t.FailNow does
		defer func() { errc <- err }()
		err = f()
	}()
	return <-errc
}
