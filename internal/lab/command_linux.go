package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/netns"
)

// nobody is the user and group of ordinary programs.
const nobody = 65534

// Cmd is a command that runs on a host of the lab. It is an exec.Cmd but for
// how it is started, so use only the methods below to do that.
type Cmd struct {
	*exec.Cmd
	ns      *netns.NS
	binds   map[string]string
	prepare func() error
}

// Command prepares a program to run on a host, where it sees the scenario's
// /etc/resolv.conf and /etc/hosts. It is killed when the lab closes.
//
// An ordinary program has no privilege over the network, whatever runs the
// lab. As real root the lab starts it as user nobody, so everybody must be able
// to reach and run its file; inside a user namespace, where there is no other
// user to become, it starts it in one more, in which it is not root either.
func (l *Lab) Command(host string, ordinary bool, name string, args ...string) *Cmd {
	user := host == l.Scenario.From
	if user && l.descriptors > 0 {
		// The limit is one of a process: only itself can set it before it begins.
		limit := fmt.Sprintf(`ulimit -n %d && exec "$@"`, l.descriptors)
		name, args = "/bin/sh", append([]string{"-c", limit, "sh", name}, args...)
	}
	cmd := exec.CommandContext(l.ctx, name, args...)
	cmd.WaitDelay = time.Second // for children of its own that hold its output
	cmd.Env = append(os.Environ(), l.env...)
	if ordinary {
		cmd.SysProcAttr = unprivileged()
	}
	c := &Cmd{cmd, l.machines[host].ns, l.files, func() error { return nil }}
	if user {
		c.prepare = l.confine
	}
	return c
}

// Start starts the command; Wait must follow.
func (c *Cmd) Start() error { return c.ns.Start(c.Cmd, c.binds, c.prepare) }

// Run starts the command and waits for its end.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// inhabit keeps a process on a host until the lab ends: a network namespace in
// which no process is cannot be found from outside.
func (l *Lab) inhabit(host string) {
	if l.err != nil {
		return
	}
	stdin, end, err := os.Pipe()
	if err != nil {
		l.fail(err)
		return
	}
	l.closers = append(l.closers, end)
	c := l.Command(host, false, "/bin/sh", "-c", "read nothing")
	c.Stdin = stdin
	err = errors.Join(c.Start(), stdin.Close())
	if err != nil {
		l.fail(fmt.Errorf("a process on %s: %w", host, err))
		return
	}
	l.serving.Go(func() { _ = c.Wait() })
}

// Output runs the command and returns its standard output. What it wrote to
// standard error is in an *exec.ExitError.
func (c *Cmd) Output() ([]byte, error) {
	var stdout, stderr bytes.Buffer
	c.Stdout = &stdout
	if c.Stderr == nil {
		c.Stderr = &stderr
	}
	err := c.Run()
	if exit, ok := err.(*exec.ExitError); ok {
		exit.Stderr = stderr.Bytes()
	}
	return stdout.Bytes(), err
}

// CombinedOutput runs the command and returns all it wrote.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}

// unprivileged makes a process that has no capability over the lab.
func unprivileged() *syscall.SysProcAttr {
	if mapped(nobody) {
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	// Only one user exists here. In a user namespace of its own, and not root in
	// it, the process loses its capabilities when it executes the program.
	one := func(id int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: nobody, HostID: id, Size: 1}}
	}
	return &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: one(os.Geteuid()),
		GidMappings: one(os.Getegid()),
	}
}

// mapped says whether the user exists in our user namespace;
// user_namespaces(7), "User and group ID mappings".
func mapped(uid int) bool {
	b, _ := os.ReadFile("/proc/self/uid_map")
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		first, err1 := strconv.Atoi(f[0])
		size, err2 := strconv.Atoi(f[2])
		if err1 == nil && err2 == nil && first <= uid && uid-first < size {
			return true
		}
	}
	return false
}
