package session

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// server is a server on loopback. While a client dials it does nothing: a RST
// must not come before connect() is done.
type server struct {
	*net.TCPAddr
	dialing sync.Mutex
}

func (s *server) dial(ctx context.Context, mss int) (*net.TCPConn, error) {
	s.dialing.Lock()
	defer s.dialing.Unlock()
	d := net.Dialer{Timeout: nettest.Patience, Control: withMSS(mss)}
	c, err := d.DialContext(ctx, "tcp", s.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// serve runs a server that gives each connection to handle, and closes it
// afterwards. It ends with the test.
func serve(t *testing.T, handle func(*net.TCPConn)) *server {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{TCPAddr: l.Addr().(*net.TCPAddr)}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			wg.Go(func() {
				done := make(chan struct{})
				wg.Go(func() {
					select {
					case <-stop:
					case <-done:
					}
					c.Close()
				})
				s.dialing.Lock()
				s.dialing.Unlock() //lint:ignore SA2001 it was only to be waited for
				handle(c)
				close(done)
			})
		}
	})
	t.Cleanup(func() { close(stop); l.Close(); wg.Wait() })
	return s
}

// speak returns a server that says something and then takes all it is sent.
func speak(greeting string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		io.WriteString(c, greeting)
		io.Copy(io.Discard, c)
	}
}

// answer returns a server that says something once it was sent anything.
func answer(reply string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		if _, err := c.Read(make([]byte, 4096)); err == nil {
			io.WriteString(c, reply)
			io.Copy(io.Discard, c)
		}
	}
}

func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// run probes addr with connections of its own.
func run(t *testing.T, addr *server, o Options) evidence.Session {
	t.Helper()
	c, err := addr.dial(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if o.Redial == nil {
		o.Redial = addr.dial
	}
	if o.Host == "" {
		o.Host = addr.IP.String()
	}
	if o.Reply == 0 {
		o.Reply = 300 * time.Millisecond // longer than a zero window probe takes
	}
	o.Port = uint16(addr.TCPAddr.Port)
	return Probe(t.Context(), collect.Env{Clock: collect.NewClock()}, c, o)
}

// brief is what most tests look at.
type brief struct {
	expect, got, end, hello string
	received                bool
}

func (b brief) check(t *testing.T, s evidence.Session) {
	t.Helper()
	if got := (brief{s.Expect, s.Got, s.End, s.Hello, s.Received > 0}); got != b {
		t.Errorf("got  %+v\nwant %+v\nin %+v", got, b, s)
	}
}

func TestEnds(t *testing.T) {
	nettest.LeakCheck(t)
	for name, c := range map[string]struct {
		serve  func(*net.TCPConn)
		scheme string
		want   brief
	}{
		"rst on accept":             {reset, "", brief{end: "rst"}},
		"rst on accept, http":       {reset, "http", brief{expect: "http", end: "rst"}},
		"rst on accept, tls":        {reset, "tls", brief{expect: "tls", end: "rst"}},
		"rst on accept, ssh":        {reset, "ssh", brief{expect: "ssh", end: "rst"}},
		"fin on accept":             {func(*net.TCPConn) {}, "", brief{end: "fin"}},
		"fin on accept, http":       {func(*net.TCPConn) {}, "http", brief{expect: "http", end: "fin"}},
		"fin on accept, ssh":        {func(*net.TCPConn) {}, "ssh", brief{expect: "ssh", end: "fin"}},
		"fin after a while, http":   {slowClose, "http", brief{expect: "http", end: "fin"}},
		"silence":                   {speak(""), "", brief{}},
		"rst after the request":     {func(c *net.TCPConn) { c.Read(make([]byte, 9999)); reset(c) }, "http", brief{expect: "http", hello: "http head", end: "rst"}},
		"fin after the request":     {func(c *net.TCPConn) { c.Read(make([]byte, 9999)) }, "postgres", brief{expect: "postgres", hello: "postgres ssl request", end: "fin"}},
		"rst after a banner":        {func(c *net.TCPConn) { io.WriteString(c, "SSH-2.0-x\r\n"); reset(c) }, "ssh", brief{expect: "ssh", got: "ssh", end: "rst", received: true}},
		"rst in the middle":         {func(c *net.TCPConn) { c.Read(make([]byte, 9999)); io.WriteString(c, "HTTP/1.1 200 OK\r\n"); reset(c) }, "http", brief{expect: "http", got: "http", hello: "http head", end: "rst", received: true}},
		"banner, unknown port":      {speak("SSH-2.0-x\r\n"), "", brief{got: "ssh", received: true}},
		"banner where http belongs": {speak("SSH-2.0-x\r\n"), "http", brief{expect: "http", got: "ssh", received: true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := run(t, serve(t, c.serve), Options{Scheme: c.scheme, Quick: 30 * time.Millisecond})
			c.want.check(t, s)
			if (s.End == "") != (s.EndAt == 0) || (s.End == "") == (s.Looked == 0) {
				t.Errorf("end %q at %v, looked %v", s.End, s.EndAt, s.Looked)
			}
		})
	}
}

// A second connection that is reset before connect() returns is one that ends
// without a request.
func TestResetWhileConnecting(t *testing.T) {
	nettest.LeakCheck(t)
	s := run(t, serve(t, func(c *net.TCPConn) { c.Read(make([]byte, 9999)); reset(c) }), Options{Scheme: "https",
		Redial: func(context.Context, int) (*net.TCPConn, error) {
			return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNRESET)}
		}})
	brief{expect: "tls", end: "rst"}.check(t, s)
	if s.TLS != nil || s.Sent != 0 || s.EndAt == 0 {
		t.Errorf("%+v, %+v", s, s.TLS)
	}
	s = run(t, serve(t, func(c *net.TCPConn) { c.Read(make([]byte, 9999)); reset(c) }), Options{Scheme: "https",
		Redial: func(context.Context, int) (*net.TCPConn, error) { return nil, syscall.ECONNREFUSED }})
	brief{expect: "tls", end: "rst", hello: "tls client hello"}.check(t, s)
	if len(s.NotChecked) == 0 {
		t.Error("nothing says that no second connection was had")
	}
}

// slowClose closes without a byte, later than a hello is sent: a balancer that
// looks for a backend first. Unread data then makes its FIN a RST.
func slowClose(*net.TCPConn) { time.Sleep(20 * time.Millisecond) }

func TestGreetings(t *testing.T) {
	nettest.LeakCheck(t)
	mysql := "\x4a\x00\x00\x00\x0a8.0.36\x00aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for name, c := range map[string]struct {
		serve              func(*net.TCPConn)
		scheme, got, hello string
		banner             string
	}{
		"ssh":             {speak("SSH-2.0-OpenSSH_9.2\r\n"), "ssh", "ssh", "", `SSH-2.0-OpenSSH_9.2\r\n`},
		"smtp":            {speak("220 mail.example ESMTP\r\n"), "smtp", "smtp", "", `220 mail.example ESMTP\r\n`},
		"smtp, terse":     {speak("554 no\r\n"), "smtp", "smtp", "", `554 no\r\n`},
		"ftp":             {speak("220 (vsFTPd 3.0.3)\r\n"), "ftp", "ftp", "", `220 (vsFTPd 3.0.3)\r\n`},
		"ftp, terse":      {speak("220 ready\r\n"), "ftp", "ftp", "", `220 ready\r\n`},
		"pop3":            {speak("+OK ready\r\n"), "pop3", "pop3", "", `+OK ready\r\n`},
		"imap":            {speak("* OK ready\r\n"), "imap", "imap", "", `* OK ready\r\n`},
		"nats":            {speak("INFO {\"server_id\":\"N\"}\r\n"), "nats", "nats", "", `INFO {\"server_id\":\"N\"}\r\n`},
		"mysql":           {speak(mysql), "mysql", "mysql", "", `J\x00\x00\x00\n8.0.36\x00` + strings.Repeat("a", 65)},
		"mysql, blocked":  {speak("\x10\x00\x00\x00\xff\x69\x04Host blocked"), "mysql", "mysql", "", `\x10\x00\x00\x00\xffi\x04Host blocked`},
		"redis":           {answer("+PONG\r\n"), "redis", "redis", "redis ping", `+PONG\r\n`},
		"redis, noauth":   {answer("-NOAUTH Authentication required.\r\n"), "redis", "redis", "redis ping", `-NOAUTH Authentication required.\r\n`},
		"redis, denied":   {speak("-DENIED Redis is running in protected mode\r\n"), "redis", "redis", "", `-DENIED Redis is running in protected mode\r\n`},
		"postgres, S":     {answer("S"), "postgres", "postgres", "postgres ssl request", "S"},
		"postgres, N":     {answer("N"), "postgresql", "postgres", "postgres ssl request", "N"},
		"postgres, error": {answer("E\x00\x00\x00\x12SFATAL\x00C53300\x00\x00"), "postgres", "postgres", "postgres ssl request", `E\x00\x00\x00\x12SFATAL\x00C53300\x00\x00`},
		"amqp":            {answer("AMQP\x00\x00\x09\x01"), "amqp", "amqp", "amqp header", `AMQP\x00\x00\t\x01`},
		"amqp, start":     {answer("\x01\x00\x00\x00\x00\x00\x10\x00\x0a\x00\x0a\x00\x09"), "amqp", "amqp", "amqp header", `\x01\x00\x00\x00\x00\x00\x10\x00\n\x00\n\x00\t`},
		"memcached":       {answer("VERSION 1.6.18\r\n"), "memcached", "memcached", "memcached version", `VERSION 1.6.18\r\n`},
		"mqtt":            {answer("\x20\x02\x00\x05"), "mqtt", "mqtt", "mqtt connect", ` \x02\x00\x05`},
		"hostile":         {speak("\x1b]0;x\x07\u202e\xff\n"), "ssh", "", "", `\x1b]0;x\a\u202e\xff\n`},
	} {
		t.Run(name, func(t *testing.T) {
			s := run(t, serve(t, c.serve), Options{Scheme: c.scheme})
			if s.Got != c.got || s.Hello != c.hello || s.Banner != c.banner || s.ReplyAfter <= 0 || s.End != "" {
				t.Errorf("%+v", s)
			}
			if c.hello != "" && (s.Acked == nil || !*s.Acked || s.Sent == 0) {
				t.Errorf("a hello that was answered was acknowledged: %+v", s)
			}
		})
	}
}

func TestHTTP(t *testing.T) {
	nettest.LeakCheck(t)
	request := make(chan string, 1)
	addr := serve(t, func(c *net.TCPConn) {
		b := make([]byte, 4096)
		n, _ := c.Read(b)
		request <- string(b[:n])
		io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nDate: now\r\nSERVER:  nginx\x1b[1m\r\n\r\n")
	})
	s := run(t, addr, Options{Scheme: "http", Host: "web.example"})
	brief{expect: "http", got: "http", hello: "http head", received: true}.check(t, s)
	if s.HTTP == nil || *s.HTTP != (evidence.HTTP{Status: 502, Server: `nginx\x1b[1m`}) {
		t.Errorf("HTTP: %+v", s.HTTP)
	}
	want := "HEAD / HTTP/1.1\r\nHost: web.example:" + addr.String()[len("127.0.0.1:"):] +
		"\r\nUser-Agent: tcpwhy\r\nConnection: close\r\n\r\n"
	if got := <-request; got != want {
		t.Errorf("request %q\nwant %q", got, want)
	}
}

// What never ends, or hardly begins, must not hold us.
func TestBounds(t *testing.T) {
	nettest.LeakCheck(t)
	forever := func(what string, pause time.Duration) func(*net.TCPConn) {
		return func(c *net.TCPConn) {
			for {
				if _, err := io.WriteString(c, what); err != nil {
					return
				}
				time.Sleep(pause)
			}
		}
	}
	for name, c := range map[string]struct {
		serve  func(*net.TCPConn)
		scheme string
		got    string
	}{
		"garbage":             {forever(strings.Repeat("\x01\x02\x03\x04", 16<<10), 0), "http", ""},
		"garbage, unknown":    {forever(strings.Repeat("\x01\x02\x03\x04", 16<<10), 0), "", ""},
		"garbage for tls":     {forever(strings.Repeat("\x01\x02\x03\x04", 16<<10), 0), "https", ""},
		"endless header":      {forever("HTTP/1.1 200 OK\r\nA: "+strings.Repeat("x", 9999), 0), "http", "http"},
		"endless tls":         {forever("\x16\x03\x03\x40\x00"+strings.Repeat("x", 16<<10), 0), "https", "tls"},
		"endless line":        {forever("SSH-"+strings.Repeat("x", 9999), 0), "ssh", "ssh"},
		"a byte now and then": {forever("H", 100*time.Millisecond), "http", ""},
		"drops, tls":          {forever("\x16", 100*time.Millisecond), "https", ""},
		"drops, ssh":          {forever("S", 100*time.Millisecond), "ssh", ""},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			s := run(t, serve(t, c.serve), Options{Scheme: c.scheme})
			if s.Got != c.got || s.Received == 0 || s.Received > maxRead || len(s.Banner) == 0 || len([]rune(s.Banner)) > 200 {
				t.Errorf("%+v", s)
			}
			if took := time.Since(start); took > nettest.Patience {
				t.Errorf("took %v", took)
			}
		})
	}
}

// A cancelled context ends all of it, whatever it waits for.
func TestCancel(t *testing.T) {
	nettest.LeakCheck(t)
	for _, early := range []bool{false, true} {
		for _, scheme := range []string{"", "http", "https", "ssh"} {
			addr := serve(t, speak(""))
			c, err := addr.dial(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			if early {
				cancel()
			} else {
				time.AfterFunc(20*time.Millisecond, cancel)
			}
			start := time.Now()
			Probe(ctx, collect.Env{}, c, Options{Scheme: scheme, Quick: time.Hour, Reply: time.Hour, Idle: time.Hour, MTU: true, Stall: true,
				Redial: addr.dial})
			if took := time.Since(start); took > nettest.Patience {
				t.Errorf("%q: took %v", scheme, took)
			}
			if _, err := c.Write([]byte("x")); err == nil {
				t.Errorf("%q: the connection is still open", scheme)
			}
		}
	}
}

func TestEndOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""}, {io.EOF, "fin"}, {os.ErrDeadlineExceeded, ""}, {net.ErrClosed, ""}, {errTooMuch, ""},
		{&net.OpError{Err: os.NewSyscallError("read", syscall.ECONNRESET)}, "rst"},
		{&net.OpError{Err: os.NewSyscallError("write", syscall.EPIPE)}, "fin"},
		{&net.OpError{Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}, ""}, // by our own system
	} {
		if got := endOf(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}

// A TLS server where HTTP is expected, and the reverse.
func TestCrossed(t *testing.T) {
	nettest.LeakCheck(t)
	ca := newCA(t)
	cert := ca.issue(t, x509.Certificate{DNSNames: []string{"web.example"}})
	overTLS := serve(t, serveTLS(&tls.Config{Certificates: []tls.Certificate{cert}}))

	// It closes without a word, and turns out to take a TLS hello.
	s := run(t, overTLS, Options{Scheme: "http"})
	brief{expect: "http", got: "tls", hello: "http head", end: "fin"}.check(t, s)

	// nginx says it in a body that a reply to HEAD does not have.
	s = run(t, serve(t, func(c *net.TCPConn) {
		b := make([]byte, 5)
		if io.ReadFull(c, b); string(b) == "HEAD " {
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		} else {
			io.WriteString(c, "\x15\x03\x03\x00\x02\x02\x28")
		}
		io.Copy(io.Discard, c)
	}), Options{Scheme: "http"})
	brief{expect: "http", got: "tls", hello: "http head", received: true}.check(t, s)

	// A plain 400 stays one.
	s = run(t, serve(t, answer("HTTP/1.1 400 Bad Request\r\n\r\n")), Options{Scheme: "http"})
	brief{expect: "http", got: "http", hello: "http head", received: true}.check(t, s)

	s = run(t, serve(t, answer("HTTP/1.1 400 Bad Request\r\n\r\n")), Options{Scheme: "https"})
	brief{expect: "tls", got: "http", hello: "tls client hello", received: true}.check(t, s)
	if s.TLS == nil || s.TLS.Problem != "not-tls" || s.TLS.OK {
		t.Errorf("TLS: %+v", s.TLS)
	}
}
