package isolate

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Guest is a connection inside.
type Guest struct {
	Request Request
	conn    *net.UnixConn
	streams []*os.File
}

// Listen reads the request of a connection. Close must be called.
func Listen(c *net.UnixConn) (*Guest, error) {
	g := &Guest{conn: c}
	var err error
	g.streams, err = receiveInto(c, &g.Request)
	if err != nil {
		c.Close()
		return nil, err
	}
	return g, nil
}

// Close ends the connection.
func (g *Guest) Close() {
	closeAll(g.streams)
	g.conn.Close()
}

// Reply answers.
func (g *Guest) Reply(r Reply) error { return send(g.conn, r) }

// Shell runs a command for the guest: text is shown first, then the command has
// the guest's terminal, or its streams. uid owns the terminal. It returns when
// the command has ended or the guest has gone. start and wait are those of cmd.
func (g *Guest) Shell(cmd *exec.Cmd, start, wait func() error, uid int, text string) error {
	var masters []*os.File // one, or none without a terminal
	if g.Request.Rows > 0 {
		master, slave, err := openPTY(g.Request.Rows, g.Request.Cols, uid)
		if err != nil {
			return err
		}
		masters, g.streams = append(masters, master), append(g.streams, slave)
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = new(syscall.SysProcAttr)
		}
		cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty, cmd.SysProcAttr.Ctty = true, true, 0
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	} else if len(g.streams) == 3 {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = g.streams[0], g.streams[1], g.streams[2]
	} else {
		return errors.New("isolate: a guest with neither a terminal nor streams")
	}
	if err := start(); err != nil {
		closeAll(masters)
		return err
	}
	err := send(g.conn, Reply{Text: text}, masters...)
	// From here on the guest alone has its terminal: when it dies, the shell
	// hears of it as of a terminal that was closed.
	closeAll(slices.Concat(masters, g.streams))
	g.streams = nil
	if err != nil { // the guest has gone
		cmd.Process.Kill()
	}
	code, werr := exitCode(wait())
	if werr != nil {
		return nil // killed: the guest sees the connection end
	}
	return send(g.conn, Reply{Code: code, Done: true})
}

// openPTY makes a pseudo terminal, pty(7).
func openPTY(rows, cols uint16, uid int) (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("isolate: a terminal: /dev/ptmx: %w", err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	defer func() {
		if err != nil {
			master.Close()
			err = fmt.Errorf("isolate: a terminal: %w", err)
		}
	}()
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, os.NewSyscallError("ioctl TIOCSPTLCK", err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		return nil, nil, os.NewSyscallError("ioctl TIOCSWINSZ", err)
	}
	// Not by its name: that one may lead elsewhere in our mounts.
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return nil, nil, os.NewSyscallError("ioctl TIOCGPTPEER", errno)
	}
	slave = os.NewFile(peer, "tty")
	if uid >= 0 {
		_ = slave.Chown(uid, -1) // where there is no such user, ours may use it
	}
	return master, slave, nil
}
