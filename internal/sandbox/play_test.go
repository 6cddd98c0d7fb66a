package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// tape records events.
type tape struct {
	mu     sync.Mutex
	events []Event
}

func (p *tape) record(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, e)
}

func (p *tape) all() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.events)
}

// find returns the first event that is as it should be.
func (p *tape) find(ok func(Event) bool) (Event, bool) {
	for _, e := range p.all() {
		if ok(e) {
			return e, true
		}
	}
	return Event{}, false
}

// await waits for an event of a kind.
func (p *tape) await(t *testing.T, k Kind) Event {
	t.Helper()
	return p.awaitOne(t, string(k), func(e Event) bool { return e.Kind == k })
}

func (p *tape) awaitOne(t *testing.T, what string, ok func(Event) bool) Event {
	t.Helper()
	var e Event
	for end := time.Now().Add(nettest.Patience); ; time.Sleep(5 * time.Millisecond) {
		var found bool
		if e, found = p.find(ok); found {
			return e
		}
		if time.Now().After(end) {
			t.Fatalf("no event: %s\n%s", what, p)
		}
	}
}

func (p *tape) String() string {
	var b strings.Builder
	for _, e := range p.all() {
		fmt.Fprintf(&b, "%s: %s\n", e.Kind, e.Text)
	}
	return b.String()
}

// played is an application that runs.
type played struct {
	*tape
	addr string
	end  func() // ends it and waits
}

// play runs an application until the test ends.
func play(t *testing.T, run func(context.Context, func(Event)) error) *played {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &played{tape: &tape{}}
	done := make(chan error, 1)
	go func() { done <- run(ctx, p.record) }()
	p.end = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(nettest.Patience):
			t.Errorf("it does not end\n%s", p)
		}
	})
	t.Cleanup(p.end)
	p.addr = p.await(t, Listening).Local
	return p
}

func serve(t *testing.T, s Server) *played {
	t.Helper()
	if s.Addr == "" {
		s.Addr = "127.0.0.1:0"
	}
	if s.Backlog == 0 {
		s.Backlog = -1
	}
	if s.MaxClients == 0 {
		s.MaxClients = 100
	}
	return play(t, s.Run)
}

// call runs a client to its end.
func call(t *testing.T, c Client) (*tape, error) {
	t.Helper()
	if c.Name == "" {
		c.Name = "alice"
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = nettest.Patience
	}
	c.ConnectTimeout = nettest.Patience
	p := &tape{}
	return p, c.Run(t.Context(), p.record)
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, nettest.Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(nettest.Patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// loopbacks are addresses of both families as far as there are both.
func loopbacks(t *testing.T, test func(t *testing.T, addr string)) {
	for family, addr := range map[string]string{"IPv4": "127.0.0.1:0", "IPv6": "[::1]:0"} {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", addr)
			if err != nil {
				nettest.Unsupported(t, err.Error())
			}
			ln.Close()
			test(t, addr)
		})
	}
}

func TestConversation(t *testing.T) {
	nettest.LeakCheck(t)
	loopbacks(t, func(t *testing.T, addr string) {
		for _, withTLS := range []bool{false, true} {
			s := serve(t, Server{Addr: addr, TLS: withTLS})
			var clients sync.WaitGroup
			for _, name := range []string{"alice", "bob", "Carol C"} {
				clients.Go(func() {
					p, err := call(t, Client{Addr: s.addr, Name: name, Count: 3, TLS: withTLS})
					if err != nil {
						t.Errorf("%s: %v\n%s", name, err, p)
						return
					}
					for n := 1; n <= 3; n++ {
						if _, ok := p.find(func(e Event) bool { return e.Kind == Answered && e.Number == n && e.PID == os.Getpid() }); !ok {
							t.Errorf("%s: no answer to message %d\n%s", name, n, p)
						}
					}
					if e := p.await(t, Disconnected); e.Ended != "FIN" {
						t.Errorf("%s: the server ended with %q", name, e.Ended)
					}
					if e, _ := p.find(func(e Event) bool { return e.Kind == Handshake }); withTLS && (e.Fingerprint == "" || e.Fingerprint != s.await(t, Listening).Fingerprint) {
						t.Errorf("%s: another certificate: %q", name, e.Fingerprint)
					}
				})
			}
			clients.Wait()
			s.end()
			for _, name := range []string{"alice", "bob", "Carol C"} {
				e, ok := s.find(func(e Event) bool { return e.Kind == Disconnected && e.Name == name })
				if !ok || e.Ended != "FIN" || e.Number != 3 || e.PID != os.Getpid() {
					t.Errorf("%s: %+v", name, e)
				}
			}
			if e := s.await(t, Summary); !strings.HasPrefix(e.Text, "3 clients and 9 messages in ") {
				t.Error(e.Text)
			}
		}
	})
}

// What the modes are to a client, by the plain calls of the kernel.
func TestModes(t *testing.T) {
	nettest.LeakCheck(t)
	loopbacks(t, func(t *testing.T, addr string) {
		t.Run("reset", func(t *testing.T) {
			s := serve(t, Server{Addr: addr, Mode: Reset})
			c, err := net.Dial("tcp", s.addr)
			if err == nil {
				defer c.Close()
				_, err = io.ReadAll(c)
			}
			if !isReset(err) {
				t.Errorf("%v, want a reset", err)
			}
			p, err := call(t, Client{Addr: s.addr, Count: 1})
			if e := p.await(t, Failed); err != ErrFailed || !strings.Contains(e.Error, "reset") {
				t.Errorf("%v: %+v", err, e)
			}
		})
		t.Run("close", func(t *testing.T) {
			s := serve(t, Server{Addr: addr, Mode: Close})
			c := dial(t, s.addr)
			// Neither data before nor after the FIN may make an RST of it.
			for range 3 {
				if _, err := io.WriteString(c, "hello\n"); err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
					t.Fatalf("%q, %v, want the end", b, err)
				}
			}
			p, err := call(t, Client{Addr: s.addr, Count: 1})
			if e := p.await(t, Failed); err != ErrFailed || e.Ended != "FIN" {
				t.Errorf("%v: %+v", err, e)
			}
		})
		t.Run("silent", func(t *testing.T) {
			s := serve(t, Server{Addr: addr, Mode: Silent})
			c := dial(t, s.addr)
			io.WriteString(c, "hello\n")
			s.await(t, Received)
			c.(*net.TCPConn).CloseWrite()
			if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
				t.Errorf("%q, %v, want nothing", b, err)
			}
			p, err := call(t, Client{Addr: s.addr, Count: 1, ReadTimeout: 50 * time.Millisecond})
			if e := p.await(t, Failed); err != ErrFailed || !strings.Contains(e.Error, "i/o timeout") || e.Number != 1 {
				t.Errorf("%v: %+v", err, e)
			}
		})
		t.Run("no-accept", func(t *testing.T) {
			s := serve(t, Server{Addr: addr, Mode: NoAccept})
			c := dial(t, s.addr)
			io.WriteString(c, "hello\n")
			s.end()
			if _, err := io.ReadAll(c); !isReset(err) {
				t.Errorf("when the listener goes: %v, want a reset", err)
			}
			if e, ok := s.find(func(e Event) bool { return e.Kind == Connected }); ok {
				t.Error(e.Text)
			}
		})
		t.Run("read-delay", func(t *testing.T) {
			s := serve(t, Server{Addr: addr, ReadDelay: 10 * time.Millisecond})
			if p, err := call(t, Client{Addr: s.addr, Count: 3}); err != nil {
				t.Errorf("%v\n%s", err, p)
			}
		})
	})
}

func TestTyped(t *testing.T) {
	nettest.LeakCheck(t)
	s := serve(t, Server{})
	c := dial(t, s.addr)
	answers := bufio.NewScanner(c)
	for i, in := range []string{"hi\r\n", "\x1b[31mred\x00\xff\u202e\n", strings.Repeat("x", 9*maxLine) + "\n", "message 7 pid 5 from al\x07ice: x\n", "\n", "forged \\x1b\n"} {
		if _, err := io.WriteString(c, in); err != nil {
			t.Fatal(err)
		}
		if !answers.Scan() {
			t.Fatal(answers.Err())
		}
		if a, ok := ParseAck(answers.Text()); !ok || a.Number != i+1 || a.PID != os.Getpid() || a.Bytes != len(strings.TrimRight(in, "\r\n")) {
			t.Errorf("%q is answered by %q", in, answers.Text())
		}
	}
	for _, e := range s.all() {
		if strings.ContainsFunc(e.Text, func(r rune) bool { return !unicode.IsPrint(r) }) || len(e.Text) > 1000 {
			t.Errorf("not fit to be shown: %q", e.Text)
		}
	}
	want := `message 2: \x1b[31mred\x00\xff\u202e`
	s.awaitOne(t, want, func(e Event) bool { return strings.HasSuffix(e.Text, want) })
	want = `message 6: forged \\x1b`
	s.awaitOne(t, want, func(e Event) bool { return strings.HasSuffix(e.Text, want) })
	want = fmt.Sprintf("(%d bytes more were cut)", 8*maxLine)
	s.awaitOne(t, want, func(e Event) bool { return strings.HasSuffix(e.Text, want) })
}

func TestMaxClients(t *testing.T) {
	nettest.LeakCheck(t)
	s := serve(t, Server{MaxClients: 1})
	first := dial(t, s.addr)
	s.await(t, Connected)
	c, err := net.Dial("tcp", s.addr)
	if err == nil {
		_, err = io.ReadAll(c)
		c.Close()
	}
	if !isReset(err) {
		t.Errorf("the second: %v, want a reset", err)
	}
	first.Close()
	s.await(t, Disconnected)
	nettest.Eventually(t, "the place is not free again", func() bool {
		_, err := call(t, Client{Addr: s.addr, Count: 1})
		return err == nil
	})
}

// The end of a server is a FIN to its clients.
func TestServerEnds(t *testing.T) {
	nettest.LeakCheck(t)
	for _, mode := range []Mode{Answer, Silent, StopReading} {
		s := serve(t, Server{Mode: mode})
		c := dial(t, s.addr)
		s.await(t, Connected)
		s.end()
		if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
			t.Errorf("%s: %q, %v", mode, b, err)
		}
		if e := s.await(t, Disconnected); e.Ended != "closed" {
			t.Errorf("%s: %+v", mode, e)
		}
		s.await(t, Summary)
	}
}

func TestClientResets(t *testing.T) {
	nettest.LeakCheck(t)
	s := serve(t, Server{})
	c := dial(t, s.addr)
	s.await(t, Connected)
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	if e := s.await(t, Disconnected); e.Ended != "RST" {
		t.Errorf("%+v", e)
	}
}

func TestCannotListen(t *testing.T) {
	nettest.LeakCheck(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := Server{Addr: ln.Addr().String(), Backlog: -1}
	if err := s.Run(t.Context(), func(e Event) { t.Error(e.Text) }); err == nil {
		t.Error("two servers on one port")
	}
	n := NameServer{Addr: ln.Addr().String()}
	if err := n.Run(t.Context(), func(e Event) { t.Error(e.Text) }); err == nil {
		t.Error("a name server on the port of another")
	}
}

// fake serves one connection in another way than a sandbox server.
func fake(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		if c, err := ln.Accept(); err == nil {
			defer c.Close()
			handle(c)
		}
	})
	t.Cleanup(func() { ln.Close(); served.Wait() })
	return ln.Addr().String()
}

func TestClientFails(t *testing.T) {
	nettest.LeakCheck(t)
	answer := func(line string) func(net.Conn) {
		return func(c net.Conn) {
			c.Read(make([]byte, 1024))
			io.WriteString(c, line)
			io.Copy(io.Discard, c)
		}
	}
	for name, c := range map[string]struct {
		addr string
		tls  bool
		want string
	}{
		"garbage":      {addr: fake(t, answer("\x1b[2Jgo away\n")), want: `something else: \x1b[2Jgo away`},
		"wrong number": {addr: fake(t, answer("ack 2 pid 1: 3 bytes\n")), want: "something else"},
		"endless line": {addr: fake(t, func(c net.Conn) {
			for {
				if _, err := c.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}), want: "no answer to message 1"},
		"no TLS":  {addr: fake(t, answer("hello\n")), tls: true, want: "TLS handshake failed"},
		"no port": {addr: "127.0.0.1:0", want: "connect failed after"},
	} {
		p, err := call(t, Client{Addr: c.addr, TLS: c.tls, Count: 1, ReadTimeout: 200 * time.Millisecond})
		e, ok := p.find(func(e Event) bool { return e.Kind == Failed })
		if !errors.Is(err, ErrFailed) || !ok || !strings.Contains(e.Text, c.want) {
			t.Errorf("%s: %v: %s", name, err, p)
		}
	}
}

// A client that its user ends has failed if a message is unanswered.
func TestClientEnds(t *testing.T) {
	nettest.LeakCheck(t)
	for _, c := range []struct {
		mode Mode
		fine bool
	}{{Answer, true}, {Silent, false}} {
		s := serve(t, Server{Mode: c.mode})
		ctx, cancel := context.WithCancel(t.Context())
		p := &tape{}
		done := make(chan error, 1)
		go func() {
			done <- Client{Addr: s.addr, Name: "a", Interval: time.Hour, ReadTimeout: time.Hour, ConnectTimeout: time.Hour}.Run(ctx, p.record)
		}()
		if c.fine {
			p.await(t, Answered)
		} else {
			s.await(t, Received)
		}
		cancel()
		if err := <-done; (err == nil) != c.fine {
			t.Errorf("%s: %v\n%s", c.mode, err, p)
		}
		p.await(t, Summary)
		if e, ok := p.find(func(e Event) bool { return e.Kind == Failed }); ok {
			t.Errorf("%s: %s", c.mode, e.Text)
		}
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"alice": true, "Ann Lee": true, "büro": true, "DOMAIN\\user": true, "a:b": true, strings.Repeat("x", 64): true,
		"": false, "a: b": false, "a:": false, "a\nb": false, "\xff": false, strings.Repeat("x", 65): false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
		if m := (Message{1, 2, name, "x: y"}); ok && ParseMessage(m.String()) != m {
			t.Errorf("%q is read as %+v", m, ParseMessage(m.String()))
		}
	}
}
