package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// sessions are faults that begin after the handshake.
func sessions() []Scenario {
	return []Scenario{
		handled("reset-on-accept", Reset, resetting),
		handled("closed-on-accept", Closed, closing),
		handled("application-silent", Silent, silent),
		handled("reset-mid-stream", Talks, cutting),
		{
			Name: "never-accepted", Connect: Opens, After: Silent,
			make: func(l *Lab) {
				l.serve(Server, 22, ssh)
				l.listen(Server, l.dst)
			},
		},
		{
			Name: "never-accepted-local", Cause: "never-accepted", Connect: Opens, After: Silent,
			make: func(l *Lab) {
				l.dst = l.at(Client, 8080)
				l.listen(Client, l.dst)
			},
		},
		{
			Name: "receiver-stalled", Connect: Opens, After: Stalled,
			make: func(l *Lab) {
				l.serve(Server, 22, ssh)
				l.serve(Server, 8080, func(net.Conn) { <-l.ctx.Done() }, receiveBuffer(4096))
			},
		},
		{
			Name: "tls-failed-expired", Cause: "tls-failed", Connect: Opens, prove: proveTLS("expired"),
			make: func(l *Lab) { l.https(l.trust(), app, time.Now().AddDate(0, 0, -3)) },
		},
		{
			Name: "tls-failed-name", Cause: "tls-failed", Connect: Opens, prove: proveTLS("name"),
			make: func(l *Lab) { l.https(l.trust(), "other.example", time.Now().AddDate(0, 1, 0)) },
		},
		{
			Name: "tls-failed-issuer", Cause: "tls-failed", Connect: Opens, prove: proveTLS("issuer"),
			make: func(l *Lab) {
				l.trust()
				l.https(l.authority("Unknown CA"), app, time.Now().AddDate(0, 1, 0))
			},
		},
		{
			Name: "wrong-protocol-http-on-tls-port", Cause: "wrong-protocol", Connect: Opens, After: Talks, prove: proveTLS("other"),
			make: func(l *Lab) {
				l.serve(Server, 443, web(http.StatusOK))
				l.dst = l.at(Server, 443)
				l.dualStack()
				l.target = "https://" + app + "/"
			},
		},
		{
			Name: "wrong-protocol-tls-on-http-port", Cause: "wrong-protocol", Connect: Opens, prove: proveTLS("name"),
			make: func(l *Lab) {
				l.serveTLS(8080, l.trust(), "other.example", time.Now().AddDate(0, 1, 0))
				l.target = "http://" + l.dst.String() + "/"
			},
		},
		{
			Name: "wrong-protocol-ssh-on-postgres-port", Cause: "wrong-protocol", Connect: Opens, After: Talks,
			make: func(l *Lab) {
				l.serve(Server, 5432, ssh)
				l.dst = l.at(Server, 5432)
			},
		},
		{
			Name: "http-gateway-error", Connect: Opens, After: Talks,
			make: func(l *Lab) {
				l.serve(Server, 8080, web(http.StatusBadGateway))
				l.target = "http://" + l.dst.String() + "/"
			},
		},
	}
}

// handled is a server that treats its connections in a certain way.
func handled(name string, after Ending, handle func(net.Conn)) Scenario {
	return Scenario{
		Name: name, Connect: Opens, After: after,
		make: func(l *Lab) {
			l.serve(Server, 22, ssh)
			l.serve(Server, 8080, handle)
		},
	}
}

// https is a server with a certificate, and the URL as target.
func (l *Lab) https(a *authority, name string, notAfter time.Time) {
	l.serve(Server, 22, ssh)
	l.serveTLS(443, a, name, notAfter)
	l.dst = l.at(Server, 443)
	l.dualStack()
	l.target = "https://" + app + "/"
}

// proveTLS makes a TLS handshake and checks that it fails for the reason: "",
// "expired", "name", "issuer" or "other".
func proveTLS(want string) func(context.Context, *Lab) error {
	return func(ctx context.Context, l *Lab) error {
		config := &tls.Config{ServerName: app, RootCAs: x509.NewCertPool()}
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
			err = tls.Client(c, config).HandshakeContext(ctx)
			if got := tlsProblem(err); got != want {
				return fmt.Errorf("TLS handshake with %v: problem %q, want %q (%v)", l.dst, got, want, err)
			}
			return nil
		})
	}
}

func tlsProblem(err error) string {
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var issuer x509.UnknownAuthorityError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "expired"
	case errors.As(err, &name):
		return "name"
	case errors.As(err, &issuer):
		return "issuer"
	}
	return "other"
}
