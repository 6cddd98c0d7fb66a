package tcpwhy

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/tcpwhy/tcpwhy/internal/errtext"
)

// Explain explains an error of net, net/http, crypto/tls, a database driver or
// a context's deadline, however it is wrapped or joined. Where several errors
// are joined it is the first that is known. What was cancelled or closed by the
// program itself is no failure of the connection and stays unknown.
//
// It goes by the types of the errors and their numbers, and only where these
// say nothing by their text.
func Explain(err error) Explanation {
	if err == nil {
		return Explanation{}
	}
	m := byType(err)
	if m.Kind == "" {
		if errors.Is(err, context.Canceled) || errors.Is(err, net.ErrClosed) {
			return Explanation{}
		}
		var ok bool
		if m, ok = byText(err.Error()); !ok {
			return Explanation{}
		}
	} else {
		m.Program, m.Certainty = "Go", errtext.Certain
	}
	if t := target(err, m.Op); !t.IsZero() {
		m.Target = t
	}
	return explain(m)
}

// byText takes the first line of a text that is known.
func byText(text string) (errtext.Match, bool) {
	const most = 64 << 10
	for line := range strings.Lines(text[:min(len(text), most)]) {
		if m, ok := errtext.Recognise([]byte(line)); ok {
			return m, true
		}
	}
	return errtext.Match{}, false
}

// byType goes by what the errors are, the most telling first.
func byType(err error) errtext.Match {
	op := operation(err)
	if k := handshake(err); k != "" {
		return errtext.Match{Kind: k, Op: errtext.OpHandshake}
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return errtext.Match{Kind: resolution(dns), Op: errtext.OpLookup}
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		if m, ok := meaning(number); ok {
			return errtext.Match{Kind: during(m.Kind, op), Op: op, Errno: m.Name}
		}
	}
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return errtext.Match{Kind: during(errtext.Timeout, op), Op: op}
	case (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && overNetwork(err):
		return errtext.Match{Kind: errtext.Closed, Op: errtext.OpTransfer}
	}
	return errtext.Match{}
}

// operation is what the outermost *net.OpError was doing.
func operation(err error) errtext.Op {
	var op *net.OpError
	if !errors.As(err, &op) {
		return errtext.OpUnknown
	}
	switch op.Op {
	case "dial", "proxyconnect", "socks connect":
		var inner *net.OpError
		if op.Op != "dial" && errors.As(op.Err, &inner) {
			return operation(inner)
		}
		if op.Addr == nil {
			return errtext.OpUnknown // the name may not be resolved yet
		}
		return errtext.OpConnect
	case "listen":
		return errtext.OpListen
	case "accept":
		return errtext.OpAccept
	case "read", "write", "close", "sendfile", "splice", "readfrom", "writeto":
		return errtext.OpTransfer
	case "remote error", "local error":
		return errtext.OpHandshake
	}
	return errtext.OpUnknown
}

// during makes a kind more precise by what was being done.
func during(k errtext.Kind, op errtext.Op) errtext.Kind {
	switch {
	case k == errtext.Timeout && op == errtext.OpConnect:
		return errtext.ConnectTimeout
	case (k == errtext.Timeout || k == errtext.ConnectTimeout) && op == errtext.OpTransfer:
		return errtext.ReadTimeout
	}
	return k
}

// handshake is the kind of an error of crypto/tls or crypto/x509, or empty.
func handshake(err error) errtext.Kind {
	var (
		invalid   x509.CertificateInvalidError
		name      x509.HostnameError
		authority x509.UnknownAuthorityError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		alert     tls.AlertError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return errtext.CertExpired
	case errors.As(err, &name):
		return errtext.CertName
	case errors.As(err, &authority):
		return errtext.CertUntrusted
	case errors.As(err, &invalid), errors.As(err, &verify):
		return errtext.TLSFailed
	case errors.As(err, &record):
		return errtext.WrongProtocol
	case errors.As(err, &alert):
		const protocolVersion = 70 // RFC 8446 section 6
		if alert == protocolVersion {
			return errtext.TLSVersion
		}
		return errtext.TLSFailed
	}
	return ""
}

func resolution(e *net.DNSError) errtext.Kind {
	switch {
	case e.IsNotFound:
		return errtext.NameNotFound
	case e.IsTimeout, e.IsTemporary:
		return errtext.NameTemporary
	}
	return errtext.NameFailed
}

// meaning is what a number of this system's stands for.
func meaning(e syscall.Errno) (errtext.Meaning, bool) {
	system := errtext.MacOS
	switch runtime.GOOS {
	case "linux", "android":
		system = errtext.Linux
	case "windows":
		system = errtext.Windows
	}
	for _, m := range errtext.Lookup(strconv.Itoa(int(e))) {
		if m.System == system && m.Kind != "" && !strings.HasPrefix(m.Name, "EAI_") {
			return m, true
		}
	}
	return errtext.Meaning{}, false
}

// overNetwork says that the error comes from a connection and not, say, from a
// file that ended.
func overNetwork(err error) bool {
	var (
		op  *net.OpError
		web *url.Error
	)
	return errors.As(err, &op) || errors.As(err, &web)
}

// target is whom the errors name.
func target(err error, op errtext.Op) errtext.Target {
	var t errtext.Target
	var web *url.Error
	if errors.As(err, &web) {
		if u, err := url.Parse(web.URL); err == nil {
			port, _ := strconv.ParseUint(cmp.Or(u.Port(), ports[u.Scheme]), 10, 16)
			t = checked(u.Hostname(), uint16(port))
		}
	}
	var dns *net.DNSError
	if op == errtext.OpLookup && errors.As(err, &dns) {
		if n := checked(dns.Name, 0); !strings.EqualFold(n.Host, t.Host) {
			return n // the proxy's name, or there is no URL
		}
		return t
	}
	addr, proxied := endpoint(err)
	if !addr.IsValid() {
		return t
	}
	if !t.IsZero() && t.Port == addr.Port() && !proxied && !t.Addr.IsValid() {
		t.Addr = addr.Addr()
		return t
	}
	return errtext.Target{Host: addr.Addr().String(), Addr: addr.Addr(), Port: addr.Port()}
}

var ports = map[string]string{"http": "80", "https": "443"}

// checked takes only what can be a host.
func checked(host string, port uint16) errtext.Target {
	if a, err := netip.ParseAddr(host); err == nil {
		return errtext.Target{Host: a.String(), Addr: a, Port: port}
	}
	if !errtext.IsHost(host) {
		return errtext.Target{}
	}
	return errtext.Target{Host: host, Port: port}
}

// endpoint is the remote end of the innermost *net.OpError, and whether a proxy
// was being connected to.
func endpoint(err error) (addr netip.AddrPort, proxied bool) {
	for {
		var op *net.OpError
		if !errors.As(err, &op) {
			return addr, proxied
		}
		proxied = proxied || op.Op == "proxyconnect"
		if a, ok := op.Addr.(*net.TCPAddr); ok && a != nil {
			if ap := a.AddrPort(); ap.Addr().IsValid() && ap.Port() != 0 {
				addr = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
			}
		}
		err = op.Err
	}
}
