package sandbox

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// The window of a server that does not read becomes zero, and the client says
// so from what the kernel knows.
func TestWindowZero(t *testing.T) {
	nettest.LeakCheck(t)
	loopbacks(t, func(t *testing.T, addr string) {
		for _, withTLS := range []bool{false, true} {
			s := serve(t, Server{Addr: addr, Mode: StopReading, TLS: withTLS})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p := &tape{}
			done := make(chan error, 1)
			go func() {
				done <- Client{Addr: s.addr, Name: "eager", Eager: true, TLS: withTLS, ReadTimeout: time.Hour, ConnectTimeout: time.Hour}.Run(ctx, p.record)
			}()
			e := p.awaitOne(t, "a blocked write at window zero", func(e Event) bool { return e.Kind == Blocked && e.Window != nil && e.Window.Peer == 0 })
			if e.Window.Unsent == 0 || e.Window.Queued < e.Window.Unsent || !strings.Contains(e.Text, "the peer's window is zero") {
				t.Errorf("%+v: %s", e.Window, e.Text)
			}
			cancel()
			if err := <-done; err != ErrFailed {
				t.Errorf("ended while a write was blocked: %v\n%s", err, p)
			}
			p.await(t, Summary)
		}
	})
}

func TestEagerGivesUp(t *testing.T) {
	nettest.LeakCheck(t)
	s := serve(t, Server{Mode: StopReading})
	p, err := call(t, Client{Addr: s.addr, Eager: true, ReadTimeout: 300 * time.Millisecond})
	e := p.await(t, Failed)
	if err != ErrFailed || !strings.Contains(e.Error, "i/o timeout") || e.Window == nil || e.Window.Queued == 0 {
		t.Errorf("%v: %+v", err, e)
	}
	// Written is not delivered.
	p, err = call(t, Client{Addr: s.addr, Eager: true, Count: 50, ReadTimeout: 200 * time.Millisecond})
	if e := p.await(t, Summary); err != ErrFailed || e.Number != 50 || e.Window.Queued == 0 {
		t.Errorf("%v: %s", err, e.Text)
	}
}

func TestEager(t *testing.T) {
	nettest.LeakCheck(t)
	for _, withTLS := range []bool{false, true} {
		s := serve(t, Server{TLS: withTLS})
		p, err := call(t, Client{Addr: s.addr, Eager: true, Count: 500, TLS: withTLS})
		if e := p.await(t, Summary); err != nil || e.Number != 500 || e.Window.Queued != 0 {
			t.Errorf("%v\n%s", err, p)
		}
		if e := s.await(t, Disconnected); e.Number != 500 || e.Ended != "FIN" {
			t.Errorf("the server has got %d: %s", e.Number, e.Text)
		}
	}
}

// A write that was blocked goes on when the server reads again.
func TestEagerResumes(t *testing.T) {
	nettest.LeakCheck(t)
	read := make(chan struct{})
	addr := fake(t, func(c net.Conn) {
		<-read
		io.Copy(io.Discard, c)
	})
	p := &tape{}
	done := make(chan error, 1)
	go func() {
		done <- Client{Addr: addr, Name: "e", Eager: true, Count: 20000, ReadTimeout: time.Minute, ConnectTimeout: time.Minute}.Run(t.Context(), p.record)
	}()
	p.await(t, Blocked)
	close(read)
	if err := <-done; err != nil {
		t.Errorf("%v\n%s", err, p)
	}
	p.await(t, Resumed)
}

// One connection more than the backlog waits; the next one's SYN is dropped.
func TestBacklog(t *testing.T) {
	nettest.LeakCheck(t)
	loopbacks(t, func(t *testing.T, addr string) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := &tape{}
		done := make(chan error, 1)
		go func() { done <- Server{Addr: addr, Mode: NoAccept, Backlog: 0}.Run(ctx, s.record) }()
		at := s.await(t, Listening).Local
		dial(t, at)
		if e := s.await(t, Queue); e.Number != 1 || e.Text != "accept queue: 1 of 1" {
			t.Error(e.Text)
		}
		c, err := net.DialTimeout("tcp", at, 200*time.Millisecond)
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) && !strings.Contains(err.Error(), "i/o timeout") {
			t.Errorf("the second connection: %v, want a timeout", err)
		}
		// A client that its user ends while it connects has not seen a failure.
		p, ended := &tape{}, make(chan error, 1)
		calling, stop := context.WithCancel(ctx)
		defer stop()
		go func() { ended <- Client{Addr: at, Name: "a", ConnectTimeout: time.Hour}.Run(calling, p.record) }()
		p.await(t, Connecting)
		stop()
		if err := <-ended; err != ErrFailed {
			t.Error(err)
		}
		if e, ok := p.find(func(e Event) bool { return e.Kind == Failed }); ok {
			t.Error(e.Text)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A connection is in the accept queue while its accept is delayed.
func TestAcceptDelay(t *testing.T) {
	nettest.LeakCheck(t)
	s := serve(t, Server{AcceptDelay: 3 * lookAgain})
	for i := range 2 {
		if p, err := call(t, Client{Addr: s.addr, Count: 1}); err != nil {
			t.Errorf("%v\n%s", err, p)
		}
		nettest.Eventually(t, "the queue is not empty again", func() bool {
			return strings.Count(s.String(), "accept queue: 0 of") == i+1
		})
	}
	kinds := ""
	for _, e := range s.all() {
		if e.Kind == Queue && e.Number > 0 || e.Kind == Connected {
			kinds += string(e.Kind) + " "
		}
	}
	if kinds != "queue connected queue connected " {
		t.Errorf("%s\n%s", kinds, s)
	}
}

// A peer that goes away is noticed although nobody reads.
func TestIgnoredClientEnds(t *testing.T) {
	nettest.LeakCheck(t)
	s := serve(t, Server{Mode: StopReading})
	for i, linger := range []int{-1, 0} {
		c := dial(t, s.addr)
		s.awaitOne(t, "connected", func(e Event) bool { return e.Kind == Connected && e.Client == i+1 })
		c.(*net.TCPConn).SetLinger(linger)
		c.Close()
		e := s.awaitOne(t, "disconnected", func(e Event) bool { return e.Kind == Disconnected && e.Client == i+1 })
		if want := []string{"FIN", "RST"}[i]; e.Ended != want {
			t.Errorf("%+v, want %s", e, want)
		}
	}
}

func TestErrno(t *testing.T) {
	nettest.LeakCheck(t)
	// A port that is taken and on which nobody listens.
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: sa.(*syscall.SockaddrInet4).Port}).String()
	p, err := call(t, Client{Addr: addr, Count: 1})
	e := p.await(t, Failed)
	if err != ErrFailed || e.Errno != "ECONNREFUSED" || !strings.HasSuffix(e.Text, ": dial tcp "+addr+": connect: connection refused (ECONNREFUSED 111)") {
		t.Errorf("%v: %s", err, e.Text)
	}
}
