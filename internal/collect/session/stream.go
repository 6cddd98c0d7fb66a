package session

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
)

const (
	// maxRead bounds what is read from one connection, maxHead what is kept
	// of it to recognise the protocol.
	maxRead = 64 << 10
	maxHead = 8 << 10
)

var errTooMuch = errors.New("session: the peer sent more than 64 KiB")

// stream is a connection that counts, keeps the first bytes received, and
// notes how the peer ended it. It is a net.Conn, for crypto/tls. It is used by
// one goroutine at a time.
type stream struct {
	*net.TCPConn
	ctx   context.Context
	stop  func() bool // ends the watch on ctx
	raw   syscall.RawConn
	start time.Time
	// helloAt is the moment of the first write, firstAt that of the first byte
	// read.
	helloAt, firstAt time.Time
	sent, received   int
	head             []byte
	// end is "fin" or "rst" once the peer ended the connection, endAt when,
	// since start.
	end      string
	endAt    time.Duration
	deadline time.Time
	extend   time.Duration // from the first byte on
}

// newStream takes over conn.
func newStream(ctx context.Context, conn *net.TCPConn) *stream {
	st := &stream{TCPConn: conn, ctx: ctx, start: time.Now()}
	st.raw, _ = conn.SyscallConn() // fails for a nil conn only
	quietErrors(st.raw)
	st.stop = context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return st
}

// close closes the connection; what the peer has not taken by then is thrown
// away rather than kept and retransmitted by the kernel.
func (st *stream) close() {
	st.stop()
	if state, err := st.state(); err == nil && state.queued > 0 {
		st.SetLinger(0)
	}
	st.Close()
}

// setDeadline bounds all that follows. A cancelled context stays in force.
func (st *stream) setDeadline(t time.Time) {
	st.deadline = t
	st.SetDeadline(t)
	if st.ctx.Err() != nil {
		st.SetDeadline(time.Unix(1, 0))
	}
}

// allow gives the peer d until its first byte, and d again from there.
func (st *stream) allow(d time.Duration) {
	st.extend = d
	st.setDeadline(time.Now().Add(d))
}

// deadlineWithin brings the deadline forward to d from now.
func (st *stream) deadlineWithin(d time.Duration) {
	if t := time.Now().Add(d); t.Before(st.deadline) {
		st.setDeadline(t)
	}
}

// Read implements net.Conn.
func (st *stream) Read(p []byte) (int, error) {
	if st.received >= maxRead {
		return 0, errTooMuch
	}
	n, err := st.TCPConn.Read(p[:min(len(p), maxRead-st.received)])
	if n > 0 && st.received == 0 {
		st.firstAt = time.Now()
		if st.extend > 0 {
			st.setDeadline(st.firstAt.Add(st.extend))
		}
	}
	st.received += n
	st.head = append(st.head, p[:min(n, maxHead-len(st.head))]...)
	st.noteEnd(err)
	return n, err
}

// Write implements net.Conn.
func (st *stream) Write(p []byte) (int, error) {
	if st.helloAt.IsZero() {
		st.helloAt = time.Now()
	}
	n, err := st.TCPConn.Write(p)
	st.sent += n
	st.noteEnd(err)
	return n, err
}

// say sends b and gives the peer d to take it and to begin a reply.
func (st *stream) say(b []byte, d time.Duration) {
	st.allow(d)
	st.Write(b)
}

// listen reads for d, until enough is true of the first bytes received or the
// peer ends the connection.
func (st *stream) listen(d time.Duration, enough func(head []byte) bool) {
	st.extend = 0
	st.setDeadline(time.Now().Add(d))
	st.readUntil(enough)
}

// await is listen for a reply: it has d to begin, and d again from there.
func (st *stream) await(d time.Duration, enough func(head []byte) bool) {
	st.allow(d)
	st.readUntil(enough)
}

func (st *stream) readUntil(enough func(head []byte) bool) {
	buf := make([]byte, 4096)
	for st.end == "" && !enough(st.head) {
		if _, err := st.Read(buf); err != nil {
			return
		}
	}
}

// Conditions for listen and await.
func never([]byte) bool      { return false }
func anything(b []byte) bool { return len(b) > 0 }

// noteEnd keeps how the peer ended the connection, from the error of a call.
func (st *stream) noteEnd(err error) {
	if st.end != "" {
		return
	}
	if st.end = endOf(err); st.end != "" {
		st.endAt = max(time.Since(st.start), 1)
	}
}

// endOf says how the peer ended a connection on which a call gave err.
func endOf(err error) string {
	const wsaeConnReset, wsaeConnAborted = syscall.Errno(10054), syscall.Errno(10053)
	var errno syscall.Errno
	switch {
	case err == nil || errors.Is(err, os.ErrDeadlineExceeded):
		return ""
	case errors.Is(err, io.EOF):
		return "fin"
	case !errors.As(err, &errno):
		return ""
	case errno == syscall.ECONNRESET,
		runtime.GOOS == "windows" && (errno == wsaeConnReset || errno == wsaeConnAborted):
		return "rst"
	case errno == syscall.EPIPE:
		// Linux gives EPIPE where the RST found the connection half closed:
		// the FIN came first (net/ipv4/tcp_input.c, tcp_reset).
		return "fin"
	}
	return ""
}
