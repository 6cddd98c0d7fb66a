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
	"sync"
	"syscall"
	"time"
)

// Mode is how a server treats who connects.
type Mode string

const (
	Answer      Mode = ""             // acknowledges each message
	NoAccept    Mode = "no-accept"    // listens and never calls accept(2)
	Reset       Mode = "reset"        // RST right after accept(2)
	Close       Mode = "close"        // FIN right after accept(2)
	Silent      Mode = "silent"       // reads and never answers
	StopReading Mode = "stop-reading" // never reads: the window closes
)

// smallBuffer is the receive buffer of a server that reads slowly or not at
// all, in bytes (Linux doubles it), so that its window closes soon.
const smallBuffer = 4096

const (
	answerTimeout = 30 * time.Second       // for a client that does not read
	lookAgain     = 100 * time.Millisecond // between two looks at what the kernel knows
)

// Server is a TCP server to play with.
type Server struct {
	// Addr is where to listen, as net.Listen takes it; port 0 is any free one.
	Addr string
	Mode Mode
	// Backlog is the argument of listen(2), negative for the system's maximum.
	// Linux lets one more connection than that wait.
	Backlog int
	// AcceptDelay is how long each connection waits in the accept queue once it
	// is the first of it. Not on Windows.
	AcceptDelay time.Duration
	// ReadDelay is the wait before each message is read.
	ReadDelay time.Duration
	// TLS is spoken, with a certificate made for the occasion.
	TLS bool
	// MaxClients are served at once, 0 standing for 1; more are reset.
	MaxClients int
}

// serving is a server that runs.
type serving struct {
	Server
	log
	tls     *tls.Config
	waiting pending // with AcceptDelay
	clients sync.WaitGroup
	slots   chan struct{}

	mu       sync.Mutex
	accepted int
	received int
}

// Run serves until ctx ends. It tells what happens by on, which is called from
// several goroutines, and fails if it cannot listen.
func (s Server) Run(ctx context.Context, on func(Event)) error {
	v := &serving{Server: s, log: on, slots: make(chan struct{}, cmp.Or(s.MaxClients, 1))}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		if s.Mode != StopReading && s.ReadDelay == 0 {
			return nil
		}
		var set error
		if err := c.Control(func(fd uintptr) { set = setReceiveBuffer(fd, smallBuffer) }); err != nil {
			return err
		}
		return set
	}}
	l, err := config.Listen(ctx, "tcp", s.Addr)
	if err != nil {
		return err
	}
	ln := l.(*net.TCPListener)
	defer ln.Close()
	if s.Backlog >= 0 {
		if err := setBacklog(ln, s.Backlog); err != nil {
			return err
		}
	}
	if s.AcceptDelay > 0 {
		if v.waiting, err = newPending(ln); err != nil {
			return err
		}
		defer v.waiting.Close()
	}
	at := ln.Addr().(*net.TCPAddr)
	e := Event{Kind: Listening, Local: at.String(), PID: os.Getpid()}
	if s.TLS {
		host, _, _ := net.SplitHostPort(s.Addr)
		cert, err := selfSigned(host, at.IP)
		if err != nil {
			return fmt.Errorf("make a certificate: %w", err)
		}
		v.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
		e.Fingerprint = fingerprint(cert.Certificate[0])
		v.say(e, "server (PID %d) listens on %s and speaks TLS; Ctrl-C ends it; SHA-256 of the certificate %s", e.PID, e.Local, e.Fingerprint)
	} else {
		v.say(e, "server (PID %d) listens on %s; Ctrl-C ends it", e.PID, e.Local)
	}
	start := time.Now()
	v.watch(ctx, ln)
	v.clients.Wait()
	v.say(Event{Kind: Summary, Number: v.received}, "%s and %s in %s", count(v.accepted, "client"), count(v.received, "message"), took(time.Since(start)))
	return nil
}

// watch accepts, or does not, until ctx ends; then nothing listens any more.
func (v *serving) watch(ctx context.Context, ln *net.TCPListener) {
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	if v.Mode == NoAccept || v.AcceptDelay > 0 {
		v.clients.Go(func() { v.queue(ctx, ln) })
	}
	if v.Mode == NoAccept {
		<-ctx.Done()
		return
	}
	if v.AcceptDelay > 0 {
		defer context.AfterFunc(ctx, func() { v.waiting.Close() })()
	}
	for failing := false; ; {
		if v.AcceptDelay > 0 && (v.waiting.wait() != nil || !sleep(ctx, v.AcceptDelay)) {
			return
		}
		c, err := ln.AcceptTCP()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return
		case err != nil:
			if !failing {
				v.fail(Event{}, err, "accept")
			}
			failing = true // say it once: too many open files lasts
			if !sleep(ctx, lookAgain) {
				return
			}
			continue
		}
		failing = false
		v.mu.Lock()
		v.accepted++
		n := v.accepted
		v.mu.Unlock()
		select {
		case v.slots <- struct{}{}:
			v.clients.Go(func() {
				defer func() { <-v.slots }()
				v.client(ctx, n, c)
			})
		default:
			e := Event{Kind: Failed, Client: n, Peer: text(c.RemoteAddr())}
			_ = c.SetLinger(0)
			c.Close()
			v.say(e, "client %d %s is reset: %s at once are the limit", n, e.Peer, count(v.MaxClients, "client"))
		}
	}
}

// queue tells when the length of the accept queue changes.
func (v *serving) queue(ctx context.Context, ln *net.TCPListener) {
	for last := 0; ; {
		wait, fit, ok := acceptQueue(ln)
		if !ok {
			return
		}
		if wait != last {
			last = wait
			v.say(Event{Kind: Queue, Number: wait}, "accept queue: %d of %d", wait, fit)
		}
		if !sleep(ctx, lookAgain) {
			return
		}
	}
}

// sleep waits and says whether ctx lasted so long.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// guest is one client of the server.
type guest struct {
	*serving
	n    int
	conn *net.TCPConn
	peer string
	name string // what it says of itself
	pid  int
	got  int // messages
}

func (v *serving) client(ctx context.Context, n int, c *net.TCPConn) {
	defer context.AfterFunc(ctx, func() { c.Close() })()
	defer c.Close()
	g := &guest{serving: v, n: n, conn: c, peer: text(c.RemoteAddr())}
	v.say(g.event(Connected), "%s connected", g.who())
	switch v.Mode {
	case Reset:
		g.reset()
		return
	case Close:
		g.finish(ctx)
		return
	}
	var stream net.Conn = c
	if v.tls != nil {
		t := tls.Server(c, v.tls)
		hurry, cancel := context.WithTimeout(ctx, handshakeTimeout)
		defer cancel()
		if err := t.HandshakeContext(hurry); err != nil {
			v.fail(g.event(Disconnected), err, "%s: TLS handshake", g.who())
			return
		}
		state := t.ConnectionState()
		v.say(g.event(Handshake), "%s: %s with %s", g.who(), tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
		stream = t
	}
	how, said := "", ""
	if v.Mode == StopReading {
		how, said = g.ignore(ctx)
	} else {
		how, said = g.talk(ctx, stream)
	}
	e := g.event(Disconnected)
	e.Number = g.got
	if ctx.Err() != nil {
		how, said = "closed", "the server ends"
	}
	e.Ended = how
	v.say(e, "%s disconnected after %s: %s", g.who(), count(g.got, "message"), said)
}

// event is one that concerns this client.
func (g *guest) event(k Kind) Event {
	return Event{Kind: k, Client: g.n, Peer: g.peer, Local: text(g.conn.LocalAddr()), Name: clean(g.name), PID: g.pid}
}

// who names the client as it is known by now.
func (g *guest) who() string {
	if g.name == "" {
		return fmt.Sprintf("client %d %s", g.n, g.peer)
	}
	return fmt.Sprintf("%s (PID %d) %s", clean(g.name), g.pid, g.peer)
}

// reset ends the connection with RST.
func (g *guest) reset() {
	e := g.event(Disconnected)
	e.Ended = "closed"
	_ = g.conn.SetLinger(0)
	g.conn.Close()
	g.say(e, "%s is closed with RST", g.who())
}

// finish ends the connection with FIN. It does not simply close: with data that
// nobody has read, or that comes later, that would be RST.
func (g *guest) finish(ctx context.Context) {
	e := g.event(Disconnected)
	e.Ended = "closed"
	if err := g.conn.CloseWrite(); err != nil {
		g.fail(e, err, "%s: FIN", g.who())
		return
	}
	g.say(e, "%s is closed with FIN", g.who())
	if g.conn.SetReadDeadline(time.Now().Add(answerTimeout)) == nil && ctx.Err() == nil {
		_, _ = io.Copy(io.Discard, g.conn)
	}
}

// ignore lets the window close, and returns how the client ended it.
func (g *guest) ignore(ctx context.Context) (how, said string) {
	for sleep(ctx, lookAgain) {
		if how := peerEnded(g.conn); how != "" {
			return how, how
		}
	}
	return "", ""
}

// talk reads messages and answers them, and returns how the client ended it.
func (g *guest) talk(ctx context.Context, stream net.Conn) (how, said string) {
	in := newLines(stream)
	for {
		if g.ReadDelay > 0 && !sleep(ctx, g.ReadDelay) {
			return "", ""
		}
		line, cut, err := in.next()
		if err != nil {
			return ended(err)
		}
		g.got++
		g.mu.Lock()
		g.received++
		g.mu.Unlock()
		m := ParseMessage(line)
		if m.Number == 0 {
			m.Number = g.got // typed by hand
		} else {
			g.name, g.pid = m.Name, m.PID
		}
		e, more := g.event(Received), ""
		e.Number = m.Number
		if cut > 0 {
			more = fmt.Sprintf(" (%d bytes more were cut)", cut)
		}
		g.say(e, "%s message %d: %s%s", g.who(), m.Number, clean(m.Text), more)
		if g.Mode == Silent {
			continue
		}
		if err := stream.SetWriteDeadline(time.Now().Add(answerTimeout)); err != nil {
			return ended(err)
		}
		ack := Ack{m.Number, os.Getpid(), len(line) + cut}
		if _, err := stream.Write([]byte(ack.String() + "\n")); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return "closed", "it does not read its answers"
			}
			return ended(err)
		}
	}
}
