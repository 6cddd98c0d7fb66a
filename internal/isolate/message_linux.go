package isolate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Request is what a guest asks for.
type Request struct {
	Op   string
	Args []string
	// Rows and Cols are the size of the guest's terminal. Both are 0 where it
	// has none and sends its standard streams along instead.
	Rows, Cols uint16
	Env        []string // of the guest, for the shell that it asks for
}

// Reply is an answer. To a Request for a shell there are two: one when the
// shell runs, and one with Done set when it has ended.
type Reply struct {
	Text  string // to be shown
	Error string // why not, "" if all went well
	Hint  string // what to do about Error
	Code  int    // exit code
	Done  bool   // nothing follows
}

// maxMessage bounds a message; it is more than the environment of a shell and
// less than what a socket takes at once.
const maxMessage = 128 << 10

// send writes a message and descriptors.
func send(c *net.UnixConn, message any, files ...*os.File) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(b) > maxMessage {
		return fmt.Errorf("isolate: a message of %d bytes, more than %d", len(b), maxMessage)
	}
	var rights []byte
	if len(files) > 0 {
		var fds []int
		for _, f := range files {
			fds = append(fds, int(f.Fd()))
		}
		rights = unix.UnixRights(fds...)
	}
	_, _, err = c.WriteMsgUnix(b, rights, nil)
	return err
}

// receive reads one message and the descriptors that came with it.
func receive(c *net.UnixConn) ([]byte, []*os.File, error) {
	const most = 3 // the standard streams
	buf, oob := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(most*4))
	n, oobn, flags, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, nil, err
	}
	var files []*os.File
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil {
			for _, fd := range fds {
				files = append(files, os.NewFile(uintptr(fd), "received"))
			}
		}
	}
	switch {
	case err != nil:
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = errors.New("isolate: a message that is too long")
	case n == 0:
		err = io.EOF
	}
	if err != nil {
		closeAll(files)
		return nil, nil, err
	}
	return buf[:n], files, nil
}

// receiveInto reads one message.
func receiveInto(c *net.UnixConn, message any) ([]*os.File, error) {
	b, files, err := receive(c)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, message); err != nil {
		closeAll(files)
		return nil, fmt.Errorf("isolate: %w", err)
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// Ask sends a request that needs no terminal and returns the answer.
func Ask(c *net.UnixConn, r Request) (Reply, error) {
	var reply Reply
	if err := send(c, r); err != nil {
		return reply, fmt.Errorf("isolate: ask: %w", err)
	}
	files, err := receiveInto(c, &reply)
	closeAll(files)
	return reply, err
}
