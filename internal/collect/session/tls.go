package session

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// talkTLS makes a TLS handshake and, for https, a HEAD request in it.
func (s *probe) talkTLS() {
	t := &evidence.TLS{}
	s.out.TLS = t
	asked := false
	config := tlsConfig(s.opts)
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		return new(tls.Certificate), nil
	}
	c := tls.Client(s.st, config)
	s.st.allow(s.opts.Reply)
	if err := c.Handshake(); err != nil {
		s.tlsFailure(t, err)
		return
	}
	state := c.ConnectionState()
	t.Version = tls.VersionName(state.Version)
	s.verify(t, state)
	switch {
	case s.proto.https:
		s.headInTLS(t, c)
	case asked && state.Version == tls.VersionTLS13:
		// In TLS 1.3 a server turns a missing certificate down only after
		// the client has finished the handshake.
		s.st.setDeadline(time.Now().Add(s.opts.Quick))
		_, err := c.Read(make([]byte, 1))
		s.noteAlert(t, err)
	}
	t.OK = t.Problem == ""
}

// headInTLS sends HEAD and reads the header of the response.
func (s *probe) headInTLS(t *evidence.TLS, c *tls.Conn) {
	s.st.setDeadline(time.Now().Add(s.opts.Reply))
	_, err := c.Write(headRequest(s.opts, 443, 0))
	var head []byte
	for buf := make([]byte, 2048); err == nil && len(head) < maxHead && (len(head) == 0 || !complete(head, protoHTTP)); {
		var n int
		n, err = c.Read(buf)
		head = append(head, buf[:n]...)
	}
	if s.out.HTTP = parseHTTP(head); s.out.HTTP == nil {
		s.noteAlert(t, err)
	}
}

// tlsFailure says why the handshake did not complete.
func (s *probe) tlsFailure(t *evidence.TLS, err error) {
	t.Detail = escape([]byte(err.Error()), 200)
	got := recognise(s.st.head, protoTLS)
	switch {
	case s.noteAlert(t, err):
	case s.st.received > 0 && got != protoTLS:
		t.Problem = "not-tls"
		t.Detail = "the reply is no TLS record"
		if got != "" {
			t.Detail = "the peer answers with " + got
		}
	case strings.Contains(err.Error(), "unsupported protocol version"):
		t.Problem = "version"
	case errors.Is(err, os.ErrDeadlineExceeded):
		t.Problem = "timeout"
		t.Detail = "the handshake did not go on within " + s.opts.Reply.String()
	case s.st.end != "":
		t.Problem = "other"
		t.Detail = "the peer ended the connection (" + s.st.end + ") during the handshake"
	default:
		t.Problem = "other"
	}
}

// noteAlert reports an alert of the peer, if err is one.
func (s *probe) noteAlert(t *evidence.TLS, err error) bool {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return false
	}
	const protocolVersion = tls.AlertError(70) // RFC 8446, 6.2
	t.OK, t.Problem = false, "alert"
	if op.Err.Error() == protocolVersion.Error() {
		t.Problem = "version"
	}
	t.Alert = strings.TrimPrefix(op.Err.Error(), "tls: ")
	t.Detail = "the peer ended it with the alert " + t.Alert
	return true
}

// tlsConfig asks for what any client of today would. Certificates are verified
// afterwards, so that each fault is told and not only the first. No ALPN is
// offered, since servers may turn down a list without their protocol, and no
// hybrid key share, whose hello would not fit one segment.
func tlsConfig(o Options) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true,
		ServerName:         serverName(o),
		MinVersion:         tls.VersionTLS10,
		CurvePreferences:   []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384},
	}
}

// serverName is the name to ask for; "" where the target is an address.
func serverName(o Options) string {
	name := o.ServerName
	if name == "" {
		name = o.Host
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return ""
	}
	return strings.TrimSuffix(name, ".")
}

// verify checks version and certificate as a client would, each fault by
// itself. The gravest is the problem, all are in the detail.
func (s *probe) verify(t *evidence.TLS, state tls.ConnectionState) {
	var details []string
	fault := func(problem, detail string) {
		if t.Problem == "" {
			t.Problem = problem
		}
		details = append(details, detail)
	}
	if state.Version < tls.VersionTLS12 {
		fault("version", t.Version+" is no longer accepted by clients (RFC 8996)")
	}
	leaf := state.PeerCertificates[0] // a handshake without one fails
	describe(t, leaf)
	now := time.Now()
	switch {
	case now.After(leaf.NotAfter):
		fault("expired", "the certificate expired at "+leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		fault("not-yet-valid", "the certificate is valid from "+leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	if name := s.verifyName(); name == "" {
		s.skip("the name in the certificate", "the target is an address, no name was asked for")
	} else if err := leaf.VerifyHostname(name); err != nil {
		fault("name-mismatch", err.Error())
	}
	s.verifyChain(state.PeerCertificates, now, fault)
	t.Detail = escape([]byte(strings.Join(details, "; ")), 200)
}

// verifyName is the name the certificate must hold. An address counts as one
// only where the user's client will hold it against the certificate: in a URL.
func (s *probe) verifyName() string {
	if name := serverName(s.opts); name != "" || s.opts.Scheme == "" {
		return name
	}
	a, _ := netip.ParseAddr(s.opts.Host)
	return a.WithZone("").String()
}

// verifyChain checks who issued the certificate, at a time when the certificate
// itself is valid: its dates are a fault of their own.
func (s *probe) verifyChain(chain []*x509.Certificate, now time.Time, fault func(problem, detail string)) {
	leaf := chain[0]
	roots := s.opts.RootCAs
	if roots == nil {
		var err error
		if roots, err = x509.SystemCertPool(); err != nil || roots.Equal(x509.NewCertPool()) {
			s.skip("who issued the certificate", "this host has no root certificates")
			return
		}
	}
	at := now
	if at.After(leaf.NotAfter) {
		at = leaf.NotAfter
	} else if at.Before(leaf.NotBefore) {
		at = leaf.NotBefore
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: at}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := leaf.Verify(options)
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
	case errors.As(err, new(x509.UnknownAuthorityError)):
		fault("unknown-issuer", err.Error())
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && at.Equal(now):
		fault("expired", "an issuer's certificate: "+err.Error())
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		// The issuer's dates may fit the leaf's badly; the leaf's are told.
	default:
		fault("other", err.Error())
	}
}

// describe copies what the certificate says, escaped and bounded.
func describe(t *evidence.TLS, c *x509.Certificate) {
	const most = 10
	for _, n := range c.DNSNames {
		t.Names = append(t.Names, escape([]byte(n[:min(len(n), 300)]), 253))
		if len(t.Names) == most {
			break
		}
	}
	for _, ip := range c.IPAddresses {
		if len(t.Names) == most {
			break
		}
		t.Names = append(t.Names, ip.String())
	}
	t.NotAfter = c.NotAfter
	t.Issuer = escape([]byte(c.Issuer.String()), 200)
}

// clientHello gives the bytes of a ClientHello, longer by about pad bytes. They
// are in protocols offered for ALPN, RFC 7301, that no server has.
func clientHello(o Options, pad int) []byte {
	config := tlsConfig(o)
	for i := 0; pad > 0; i++ {
		n := min(pad, 200)
		config.NextProtos = append(config.NextProtos, "tcpwhy-padding-"+string(rune('a'+i%26))+strings.Repeat("x", n))
		pad -= n
	}
	var r recorder
	tls.Client(&r, config).HandshakeContext(context.Background())
	return r.written
}

// recorder is a connection that keeps the first write and then fails.
type recorder struct {
	net.Conn
	written []byte
}

func (r *recorder) Write(b []byte) (int, error) {
	r.written = append(r.written, b...)
	return len(b), nil
}

func (r *recorder) Read([]byte) (int, error)    { return 0, os.ErrDeadlineExceeded }
func (r *recorder) SetDeadline(time.Time) error { return nil }
func (r *recorder) Close() error                { return nil }
