package isolate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// What Attach says when the connection ends.
var (
	// ErrRefused: before there was a shell. The copy ends, or its door does not
	// open for this user.
	ErrRefused = errors.New("isolate: no shell")
	// ErrEnded: before the shell ended. The copy has ended, or the shell was
	// killed.
	ErrEnded = errors.New("isolate: ended")
)

// Attach asks for a shell and connects it to the streams until it ends. On a
// terminal the shell gets one of its own, with job control, that is as large;
// otherwise it gets the streams themselves. shown is called with the first
// reply's text before the shell has the terminal. The code is the shell's.
func Attach(ctx context.Context, c *net.UnixConn, r Request, stdin, stdout, stderr *os.File, shown func(string)) (code int, err error) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	tty := term.IsTerminal(int(stdin.Fd())) && term.IsTerminal(int(stdout.Fd()))
	var files []*os.File
	if tty {
		size, err := unix.IoctlGetWinsize(int(stdout.Fd()), unix.TIOCGWINSZ)
		if err != nil {
			return 0, fmt.Errorf("isolate: size of the terminal: %w", err)
		}
		r.Rows, r.Cols = max(size.Row, 1), max(size.Col, 1)
	} else {
		files = []*os.File{stdin, stdout, stderr}
	}
	if err := send(c, r, files...); errors.Is(err, unix.EPIPE) {
		return 0, ErrRefused // the other end is closed already
	} else if err != nil {
		return 0, fmt.Errorf("isolate: ask for a shell: %w", err)
	}
	var first Reply
	got, err := receiveInto(c, &first)
	defer closeAll(got)
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case err != nil:
		return 0, ErrRefused
	case first.Error != "":
		return 0, &RefusedError{first.Error, first.Hint}
	case tty && len(got) != 1:
		return 0, errors.New("isolate: there came no terminal")
	}
	shown(first.Text)
	last := &final{done: make(chan struct{}), err: ErrEnded}
	go func() {
		defer close(last.done)
		if files, err := receiveInto(c, &last.reply); err == nil {
			closeAll(files)
			last.err = nil
		}
	}()
	if tty {
		if err := proxy(stdin, stdout, got[0], last.done); err != nil {
			return 0, err
		}
	}
	<-last.done
	return last.reply.Code, last.err
}

// final is the last reply; fields are set when done is closed.
type final struct {
	done  chan struct{}
	reply Reply
	err   error
}

// RefusedError is a request that was answered with an error.
type RefusedError struct{ Problem, Hint string }

func (e *RefusedError) Error() string { return e.Problem }

// proxy connects our terminal to the other one until the shell ends.
func proxy(stdin, stdout, received *os.File, ended <-chan struct{}) error {
	master, err := pollable(received)
	if err != nil {
		return err
	}
	defer master.Close()
	was, err := term.MakeRaw(int(stdin.Fd()))
	if err != nil {
		return fmt.Errorf("isolate: raw terminal: %w", err)
	}
	defer term.Restore(int(stdin.Fd()), was)

	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	defer signal.Stop(resized)
	stop, stopped, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stop.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		pump(master, stdin, stop)
	}()
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		io.Copy(stdout, master) // EIO when nobody has the other side any more
	}()
	for done := false; !done; {
		select {
		case <-resized:
			if size, err := unix.IoctlGetWinsize(int(stdout.Fd()), unix.TIOCGWINSZ); err == nil {
				control(master, func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size) })
			}
		case <-ended:
			// What the shell wrote last is there already; what it left running
			// may hold the terminal for ever.
			master.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			done = true
		}
	}
	<-wrote
	stopped.Close()
	<-read
	return nil
}

// pump copies what is typed, until the other end of stop is closed. A read that
// blocks would take a line from whoever reads after us.
func pump(to io.Writer, stdin, stop *os.File) {
	buf := make([]byte, 4096)
	for {
		p := []unix.PollFd{{Fd: int32(stdin.Fd()), Events: unix.POLLIN}, {Fd: int32(stop.Fd()), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, -1); err == unix.EINTR {
			continue
		} else if err != nil || p[1].Revents != 0 {
			return
		}
		n, err := unix.Read(int(stdin.Fd()), buf)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if n <= 0 {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// pollable is the file, which it closes, with deadlines.
func pollable(f *os.File) (*os.File, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func control(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var derr error
	err = raw.Control(func(fd uintptr) { derr = do(int(fd)) })
	return errors.Join(err, derr)
}
