package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// secrets are TLS handshakes that fail.
func secrets() []Scenario {
	hungUp := []string{"application-silent", "tls-failed", "wrong-protocol"}
	old := func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }
	oldest := func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }
	cipher := func(c *tls.Config) {
		// For a key that the certificate does not have.
		c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	}
	mutual := func(version uint16) func(c *tls.Config) {
		return func(c *tls.Config) {
			c.MinVersion, c.MaxVersion, c.ClientAuth = version, version, tls.RequireAnyClientCert
		}
	}
	return []Scenario{
		certified("tls-failed-expired", "expired", certificate{days: 90, left: -3}).showing("HTTPS fails: the certificate has expired."),
		certified("tls-failed-not-yet-valid", "not yet", certificate{days: -3}).showing("HTTPS fails: the certificate is not yet valid, or the clock is wrong."),
		certified("tls-failed-name", "name", certificate{name: "other.example"}).showing("HTTPS fails: the certificate is for another name."),
		certified("tls-failed-self-signed", "issuer", certificate{selfSigned: true}).showing("HTTPS fails: the certificate is self-signed."),
		handshake("tls-failed-issuer", "issuer", func(l *Lab) {
			l.serveTLS(443, l.authority("Unknown CA"), certificate{})
		}).showing("HTTPS fails: nobody here knows the certificate's issuer."),
		configuredTLS("tls-failed-version", "tls: protocol version not supported", old).showing("HTTPS fails: the server knows no newer TLS than 1.1."),
		configuredTLS("tls-failed-version-10", "tls: protocol version not supported", oldest).showing("HTTPS fails: the server knows TLS 1.0 only."),
		configuredTLS("tls-failed-cipher", "tls: handshake failure", cipher).showing("HTTPS fails: the two know no common cipher."),
		configuredTLS("tls-failed-client-certificate", "tls: certificate required", mutual(tls.VersionTLS13)).showing("HTTPS fails after the handshake: the server wants a certificate of the client."),
		configuredTLS("tls-failed-client-certificate-12", "tls: handshake failure", mutual(tls.VersionTLS12)).showing("HTTPS fails in the handshake: the server wants a certificate of the client."),
		handshake("tls-failed-server-name", "tls: unrecognized name", func(l *Lab) {
			l.serve(Server, 443, afterHello("\x15\x03\x03\x00\x02\x02\x70")) // fatal, unrecognized_name: RFC 8446, section 6
		}).showing("HTTPS fails: the server does not know the name."),
		handshake("tls-failed-hang-up", "other", func(l *Lab) {
			l.serve(Server, 443, afterHello(""))
		}).leaving(hungUp, hungUp).seen(hungUp, hungUp).showing("HTTPS fails: the server hangs up when the handshake begins."),
	}
}

// oddSecrets are TLS servers that are choosy and well.
func oddSecrets() []Scenario {
	tls12 := func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }
	tls13 := func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }
	http2 := func(c *tls.Config) { c.NextProtos = []string{"h2"} }
	asks := func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert }
	well := func(name string, c certificate, configure ...func(*tls.Config)) Scenario {
		return Scenario{
			Name: name, Cause: "none", Connect: Opens, prove: proveTLS(""),
			setup: func(l *Lab) { l.https(c, configure...) },
		}
	}
	return []Scenario{
		well("none-tls-1.2", certificate{}, tls12).showing("Works: the server knows no newer TLS than 1.2."),
		well("none-tls-1.3", certificate{}, tls13).showing("Works: the server knows no older TLS than 1.3."),
		well("none-tls-wildcard", certificate{name: "*.example"}).showing("Works: the certificate is for all names of a domain."),
		well("none-tls-asks", certificate{}, asks).showing("Works: the server asks for a certificate and does not need one."),
		well("none-http2", certificate{}, http2).showing("Works: the server speaks HTTP/2 only."),
	}
}

// handshake is a healthy HTTPS server that fails by the fault.
func handshake(name, problem string, fault func(*Lab)) Scenario {
	return Scenario{
		Name: name, Cause: "tls-failed", Connect: Opens, prove: proveTLS(problem),
		setup: (*Lab).healthyTLS,
		fault: fault,
	}
}

// certified is a server with a certificate that is not right.
func certified(name, problem string, c certificate) Scenario {
	return handshake(name, problem, func(l *Lab) { l.serveTLS(443, l.trust(), c) })
}

// configuredTLS is a server that wants TLS otherwise.
func configuredTLS(name, problem string, configure func(*tls.Config)) Scenario {
	return handshake(name, problem, func(l *Lab) { l.serveTLS(443, l.trust(), certificate{}, configure) })
}

func (l *Lab) healthyTLS() { l.https(certificate{}) }

// https is an HTTPS server, and the URL as target.
func (l *Lab) https(c certificate, configure ...func(*tls.Config)) {
	l.serve(Server, 22, ssh)
	l.serveTLS(443, l.trust(), c, configure...)
	l.name(l.machines[Server].addrs...)
	l.dst = l.at(Server, 443)
	l.target = "https://" + app + "/"
}

// afterHello says something when the client has begun, and hangs up.
func afterHello(say string) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := c.Read(make([]byte, 4096)); err == nil {
			io.WriteString(c, say)
		}
		closing(c)
	}
}

// proveTLS makes a TLS handshake, asks for a page, and checks that it fails for
// the reason that tlsProblem gives.
func proveTLS(want string) func(context.Context, *Lab) error {
	return func(ctx context.Context, l *Lab) error {
		config := &tls.Config{ServerName: app, RootCAs: x509.NewCertPool(), NextProtos: []string{"h2", "http/1.1"}}
		if pem, err := os.ReadFile(l.dir + "/" + caFile); err == nil {
			config.RootCAs.AppendCertsFromPEM(pem)
		}
		return l.Do(l.Scenario.From, func() error {
			c, err := dial(ctx, l.dst)
			if err != nil {
				return err
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(Patience))
			session := tls.Client(c, config)
			err = session.HandshakeContext(ctx)
			if err == nil { // TLS 1.3 lets the server object later
				request := hello
				if session.ConnectionState().NegotiatedProtocol == "h2" {
					request = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" // RFC 9113, section 3.4
				}
				_, err = io.WriteString(session, request)
			}
			if err == nil {
				_, err = session.Read(make([]byte, 1))
			}
			if got := tlsProblem(err); got != want {
				return fmt.Errorf("TLS handshake with %v: problem %q, want %q (%v)", l.dst, got, want, err)
			}
			return nil
		})
	}
}

// tlsProblem names what is wrong: "" for nothing, the text of crypto/tls for an
// alert of the server.
func tlsProblem(err error) string {
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var issuer x509.UnknownAuthorityError
	var remote *net.OpError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		if strings.Contains(invalid.Detail, "is before") {
			return "not yet"
		}
		return "expired"
	case errors.As(err, &name):
		return "name"
	case errors.As(err, &issuer):
		return "issuer"
	case errors.As(err, &remote) && remote.Op == "remote error":
		return remote.Err.Error()
	}
	return "other"
}
