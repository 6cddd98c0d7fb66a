package sandbox

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// Client is a TCP client that sends numbered messages to a [Server].
type Client struct {
	// Addr is host:port, as net.Dial takes it.
	Addr string
	// Name is what the client calls itself; CheckName says what it may be.
	Name string
	// Count is how many messages are sent, 0 for as many as there is time for.
	Count int
	// Interval is the time from an answer to the next message.
	Interval time.Duration
	// ConnectTimeout bounds connect(2), the look-up of the name and the TLS
	// handshake; ReadTimeout the wait for each answer and, in an eager client,
	// for room in the send buffer.
	ConnectTimeout, ReadTimeout time.Duration
	// Eager sends as fast as it can and reads no answers.
	Eager bool
	// TLS is spoken; the server's certificate is shown and not verified.
	TLS bool
}

// ErrFailed is what Run returns when not every message was answered. The events
// have said why.
var ErrFailed = errors.New("not every message was answered")

// calling is a client that runs.
type calling struct {
	Client
	log
	tcp    *net.TCPConn
	stream net.Conn // tcp, or TLS over it

	sent, answered     int
	fastest, sum, slow time.Duration // of the round trips
}

// Run connects, sends and reads until all is done or ctx ends. It tells what
// happens by on and returns nil or [ErrFailed].
func (c Client) Run(ctx context.Context, on func(Event)) error {
	v := &calling{Client: c, log: on}
	if !v.connect(ctx) {
		return ErrFailed
	}
	defer v.tcp.Close()
	// The end of ctx interrupts reads and writes; what remains is the goodbye.
	stop := context.AfterFunc(ctx, func() { v.tcp.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if v.Eager {
		return v.flood(ctx)
	}
	ok := v.converse(ctx)
	times := ""
	if v.answered > 0 {
		times = fmt.Sprintf("; round trip %s at least, %s on average, %s at most",
			took(v.fastest), took(v.sum/time.Duration(v.answered)), took(v.slow))
	}
	v.say(Event{Kind: Summary, Number: v.answered}, "%d of %s answered%s", v.answered, count(cmp.Or(v.Count, v.sent), "message"), times)
	if !ok || v.answered < v.Count {
		return ErrFailed
	}
	return nil
}

func (v *calling) event(k Kind) Event {
	e := Event{Kind: k, Name: clean(v.Name)}
	if v.tcp != nil {
		e.Local, e.Peer = text(v.tcp.LocalAddr()), text(v.tcp.RemoteAddr())
	}
	return e
}

// connect makes the connection and, if asked for, the TLS session.
func (v *calling) connect(ctx context.Context) bool {
	hurry, cancel := context.WithTimeout(ctx, v.ConnectTimeout)
	defer cancel()
	e := v.event(Connecting)
	e.PID = os.Getpid()
	v.say(e, "%s (PID %d) connects to %s", clean(v.Name), e.PID, clean(v.Addr))
	start := time.Now()
	var d net.Dialer
	c, err := d.DialContext(hurry, "tcp", v.Addr)
	long := time.Since(start)
	switch {
	case err != nil && ctx.Err() != nil:
		v.say(Event{Kind: Summary}, "ended by the user while connecting, after %s", took(long))
		return false
	case err != nil:
		e := v.event(Failed)
		e.TookMS = milliseconds(long)
		v.fail(e, err, "connect failed after %s", took(long))
		return false
	}
	v.tcp = c.(*net.TCPConn)
	v.stream = v.tcp
	e = v.event(Connected)
	e.TookMS = milliseconds(long)
	v.say(e, "connected from %s to %s in %s", e.Local, e.Peer, took(long))
	return !v.TLS || v.handshake(hurry)
}

func (v *calling) handshake(ctx context.Context) bool {
	start := time.Now()
	// The certificate of a sandbox server is its own word; its fingerprint is
	// shown beside the one that the server shows, and nothing secret is sent.
	t := tls.Client(v.tcp, &tls.Config{InsecureSkipVerify: true})
	if err := t.HandshakeContext(ctx); err != nil {
		e := v.event(Failed)
		e.TookMS = milliseconds(time.Since(start))
		v.fail(e, err, "TLS handshake failed after %s", took(time.Since(start)))
		v.tcp.Close()
		return false
	}
	v.stream = t
	e, state := v.event(Handshake), t.ConnectionState()
	e.TookMS = milliseconds(time.Since(start))
	e.Fingerprint = fingerprint(state.PeerCertificates[0].Raw)
	v.say(e, "%s in %s; the certificate is not verified, its SHA-256 is %s", tls.VersionName(state.Version),
		took(time.Since(start)), e.Fingerprint)
	return true
}

// converse sends the messages one by one, each after the answer to the one
// before, and says whether all went well.
func (v *calling) converse(ctx context.Context) bool {
	in := newLines(v.stream)
	for v.Count == 0 || v.sent < v.Count {
		if v.sent > 0 && !sleep(ctx, v.Interval) {
			break
		}
		start := time.Now()
		m := Message{v.sent + 1, os.Getpid(), v.Name, "sent at " + start.Format("15:04:05.000")}
		if err := v.send(m); err != nil {
			v.broken(ctx, err, start, "send of message %d failed", m.Number)
			return false
		}
		v.sent++
		e := v.event(Sent)
		e.Number = m.Number
		v.say(e, "message %d sent", m.Number)
		if !v.answer(ctx, in, start) {
			return false
		}
	}
	v.bye(goodbye)
	return true
}

// send writes one message.
func (v *calling) send(m Message) error {
	_, err := v.stream.Write([]byte(m.String() + "\n"))
	return err
}

// answer reads the acknowledgement of the message that was sent last.
func (v *calling) answer(ctx context.Context, in lines, start time.Time) bool {
	if err := v.stream.SetReadDeadline(start.Add(v.ReadTimeout)); err != nil {
		v.broken(ctx, err, start, "read of the answer to message %d failed", v.sent)
		return false
	}
	if ctx.Err() != nil { // the deadline that ends reads may be overwritten
		return false
	}
	line, _, err := in.next()
	rtt := time.Since(start)
	if err != nil {
		v.broken(ctx, err, start, "no answer to message %d", v.sent)
		return false
	}
	a, ok := ParseAck(line)
	if !ok || a.Number != v.sent {
		e := v.event(Failed)
		e.Number = v.sent
		v.say(e, "the answer to message %d acknowledges something else: %s", v.sent, clean(line))
		return false
	}
	v.answered++
	v.sum += rtt
	v.fastest, v.slow = min(cmp.Or(v.fastest, rtt), rtt), max(v.slow, rtt)
	e := v.event(Answered)
	e.Number, e.PID, e.TookMS = v.sent, a.PID, milliseconds(rtt)
	v.say(e, "message %d answered by PID %d in %s", v.sent, a.PID, took(rtt))
	return true
}

// broken says how a connection failed, unless it was the user who ended it.
func (v *calling) broken(ctx context.Context, err error, start time.Time, format string, args ...any) {
	if ctx.Err() != nil {
		return
	}
	e := v.event(Failed)
	e.Number = v.sent
	e.TookMS = milliseconds(time.Since(start))
	what := fmt.Sprintf(format, args...) + " after " + took(time.Since(start))
	how, _ := ended(err)
	if e.Ended = how; how != "" {
		what += ", the server ended the connection with " + how
	}
	v.fail(e, err, "%s", what)
}

// goodbye is how long the server's FIN is waited for when nothing depends on it.
const goodbye = 2 * time.Second

// bye ends the connection with a FIN and waits for the server's, and says
// whether it came: then the server has taken everything.
func (v *calling) bye(patience time.Duration) bool {
	e := v.event(Disconnected)
	if t, ok := v.stream.(*tls.Conn); ok {
		_ = t.CloseWrite()
	}
	err := v.tcp.CloseWrite()
	if err == nil {
		err = v.drain(patience)
	}
	how, said := ended(err)
	e.Ended = how
	v.say(e, "closed with FIN; the server's end: %s", said)
	return how == "FIN"
}

// drain reads and forgets until the server ends the connection, which the
// error says.
func (v *calling) drain(patience time.Duration) error {
	if err := v.tcp.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, v.stream)
	return cmp.Or(err, io.EOF)
}
