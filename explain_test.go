package tcpwhy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// closedPort is host:port of the loopback address where nothing listens until
// the test ends: the near end of a connection keeps the port.
func closedPort(t testing.TB) string {
	t.Helper()
	conn, err := net.Dial("tcp4", handled(t, func(c net.Conn) { io.Copy(io.Discard, c) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().String()
}

func dialError(t *testing.T, ctx context.Context, address string) error {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err == nil {
		conn.Close()
		t.Fatalf("%s can be connected to", address)
	}
	return err
}

func TestExplainRealErrors(t *testing.T) {
	closed := closedPort(t)
	port := closed[strings.LastIndexByte(closed, ':')+1:]
	past, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // that the client hangs up
	server.StartTLS()
	defer server.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	get := func(c *http.Client, url string) error {
		resp, err := c.Get(url)
		if err == nil {
			resp.Body.Close()
			t.Fatalf("%s answers", url)
		}
		return err
	}
	ends := handled(t, func(c net.Conn) { c.Read(make([]byte, 4096)) })
	resets := handled(t, func(c net.Conn) {
		c.Read(make([]byte, 4096))
		c.(*net.TCPConn).SetLinger(0)
	})
	hangs := handled(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	silent, err := net.Dial("tcp", hangs)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	silent.SetReadDeadline(time.Unix(1, 0))
	_, readError := silent.Read(make([]byte, 1))

	for _, c := range []struct {
		name, kind, op, target string
		err                    error
	}{
		{"net.Dial", "refused", "connect", closed, dialError(t, t.Context(), closed)},
		{"a wrapped one", "refused", "connect", closed, fmt.Errorf("open database: %w", dialError(t, t.Context(), closed))},
		{"joined ones", "refused", "connect", closed, errors.Join(errors.New("retries used up"), dialError(t, t.Context(), closed))},
		{"text alone", "refused", "connect", closed, errors.New("pq: " + dialError(t, t.Context(), closed).Error())},
		{"a deadline", "connect-timeout", "connect", "192.0.2.7:80", &net.OpError{Op: "dial", Net: "tcp", Addr: tcp("192.0.2.7:80"), Err: os.ErrDeadlineExceeded}},
		{"a context that is over", "connect-timeout", "connect", closed, dialError(t, past, closed)},
		{"http", "refused", "connect", "localhost:" + port, get(http.DefaultClient, "http://localhost:"+port+"/x?y=z")},
		{"http over a proxy", "refused", "connect", closed, get(&http.Client{Transport: &http.Transport{Proxy: proxy("http://" + closed)}}, "http://www.example/")},
		{"http that ends", "closed", "transfer", ends, get(http.DefaultClient, "http://"+ends+"/")},
		{"http that is reset", "reset", "transfer", resets, get(http.DefaultClient, "http://"+resets+"/")},
		{"http that hangs", "timeout", "", hangs, get(&http.Client{Timeout: 20 * time.Millisecond}, "http://"+hangs+"/")},
		{"a read", "read-timeout", "transfer", hangs, readError},
		{"an unknown issuer", "tls-certificate-untrusted", "handshake", server.Listener.Addr().String(), get(http.DefaultClient, server.URL)},
		{"plain text for TLS", "wrong-protocol", "handshake", plain.Listener.Addr().String(), get(http.DefaultClient, "https://"+plain.Listener.Addr().String())},
		{"an expired certificate", "tls-certificate-expired", "handshake", "", &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}},
		{"a wrong name", "tls-certificate-name", "handshake", "", &url.Error{Op: "Get", Err: &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "www.example"}}}},
		{"NXDOMAIN", "name-not-found", "lookup", "", &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "db.example", IsNotFound: true}}},
		{"a dead name server", "name-temporary", "lookup", "", &net.DNSError{Err: "i/o timeout", Name: "db.example", IsTimeout: true}},
		{"no route", "network-unreachable", "connect", "192.0.2.7:80", op("dial", "192.0.2.7:80", syscall.ENETUNREACH)},
		{"no host", "host-unreachable", "connect", "192.0.2.7:80", op("dial", "192.0.2.7:80", syscall.EHOSTUNREACH)},
		{"no file", "too-many-files", "connect", "192.0.2.7:80", op("dial", "192.0.2.7:80", syscall.EMFILE)},
		{"no port", "address-not-available", "connect", "192.0.2.7:80", op("dial", "192.0.2.7:80", syscall.EADDRNOTAVAIL)},
		{"a lost connection", "read-timeout", "transfer", "192.0.2.7:80", op("read", "192.0.2.7:80", syscall.ETIMEDOUT)},
		{"a port in use", "address-in-use", "listen", "127.0.0.1:" + port, op("listen", "127.0.0.1:"+port, syscall.EADDRINUSE)},
		{"SOCKS", "refused", "connect", closed, &net.OpError{Op: "socks connect", Net: "tcp", Addr: tcp("192.0.2.7:80"), Err: dialError(t, t.Context(), closed)}},
	} {
		e := Explain(c.err)
		if e.Kind != c.kind || e.Op != c.op || e.Target() != c.target {
			t.Errorf("%s: %v\n got %s, %s, %q\nwant %s, %s, %q", c.name, c.err, e.Kind, e.Op, e.Target(), c.kind, c.op, c.target)
		}
		if e.Certainty == "" || e.Proves == "" || e.CannotTell == "" || len(e.Causes) == 0 {
			t.Errorf("%s: %+v", c.name, e)
		}
	}
}

func TestExplainWhatIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	_, accepted := closed.Accept()
	for _, err := range []error{nil, errors.New("record not found"), io.EOF, os.ErrNotExist, context.Canceled, accepted,
		dialError(t, ctx, "127.0.0.1:1"), fmt.Errorf("read config: %w", io.ErrUnexpectedEOF)} {
		if e := Explain(err); e.Known() || e.Command() != "" || len(e.Causes) > 0 {
			t.Errorf("%v is taken for %s", err, e.Kind)
		}
	}
}

func TestExplainTextCommand(t *testing.T) {
	for line, want := range map[string]string{
		`dial tcp 192.0.2.7:5432: i/o timeout`:                                    "tcpwhy 192.0.2.7:5432",
		`dial tcp [2001:db8::7]:5432: i/o timeout`:                                "tcpwhy '[2001:db8::7]:5432'",
		`curl: (6) Could not resolve host: db.example`:                            "tcpwhy db.example:PORT",
		`nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)`: "ss -ltnp 'sport = :80'",
		`java.net.SocketException: Connection reset`:                              "",
	} {
		e, ok := ExplainText([]byte(line))
		if !ok || e.Command() != want {
			t.Errorf("%s: %v, %q, want %q", line, ok, e.Command(), want)
		}
	}
}

func op(what, address string, errno syscall.Errno) error {
	return fmt.Errorf("driver: %w", &net.OpError{Op: what, Net: "tcp", Addr: tcp(address), Err: os.NewSyscallError("connect", errno)})
}

func tcp(address string) net.Addr {
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		panic(err)
	}
	return a
}

func proxy(address string) func(*http.Request) (*url.URL, error) {
	return func(*http.Request) (*url.URL, error) { return url.Parse(address) }
}

// handled serves on the loopback address until the test ends.
func handled(t testing.TB, handle func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nettest.Serve(t, ln, handle)
	return ln.Addr().String()
}
