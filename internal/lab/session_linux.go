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
		handled("reset-on-accept", Reset, resetting).leaving([]string{"reset-on-accept", "path-firewall-reset", "syn-proxy-dead-backend"}, nil),
		handled("closed-on-accept", Closed, closing).leaving([]string{"closed-on-accept", "syn-proxy-dead-backend"}, nil),
		handled("application-silent", Silent, silent).leaving(quietServer, quietServer),
		handled("reset-mid-stream", Talks, cutting).leaving([]string{"path-firewall-reset", "reset-mid-stream"}, nil),
		{
			Name: "never-accepted", Connect: Opens, After: Silent,
			Ideal: leaves(quietServer, quietServer),
			fault: func(l *Lab) { l.ignore(Server) },
		},
		{
			Name: "never-accepted-local", Cause: "never-accepted", Connect: Opens, After: Silent,
			setup: func(l *Lab) { l.local() },
			fault: func(l *Lab) { l.ignore(Client) },
		},
		{
			Name: "receiver-stalled", Connect: Opens, After: Stalled,
			fault: func(l *Lab) {
				l.serve(Server, l.dst.Port(), func(net.Conn) { <-l.ctx.Done() }, receiveBuffer(4096))
			},
		},
		{
			Name: "tls-failed-expired", Cause: "tls-failed", Connect: Opens, prove: proveTLS("expired"),
			setup: func(l *Lab) { l.https(l.trust(), app, time.Now().AddDate(0, 0, -3)) },
		},
		{
			Name: "tls-failed-name", Cause: "tls-failed", Connect: Opens, prove: proveTLS("name"),
			setup: func(l *Lab) { l.https(l.trust(), "other.example", time.Now().AddDate(0, 1, 0)) },
		},
		{
			Name: "tls-failed-issuer", Cause: "tls-failed", Connect: Opens, prove: proveTLS("issuer"),
			setup: func(l *Lab) {
				l.trust()
				l.https(l.authority("Unknown CA"), app, time.Now().AddDate(0, 1, 0))
			},
		},
		{
			Name: "wrong-protocol-http-on-tls-port", Cause: "wrong-protocol", Connect: Opens, After: Talks, prove: proveTLS("other"),
			Ideal: leaves([]string{"application-silent", "tls-failed", "wrong-protocol"}, []string{"application-silent", "tls-failed", "wrong-protocol"}),
			setup: func(l *Lab) {
				l.serve(Server, 443, web(http.StatusOK))
				l.dst = l.at(Server, 443)
				l.dualStack()
				l.target = "https://" + app + "/"
			},
		},
		{
			Name: "wrong-protocol-tls-on-http-port", Cause: "wrong-protocol", Connect: Opens, prove: proveTLS("name"),
			setup: func(l *Lab) {
				l.serveTLS(l.dst.Port(), l.trust(), "other.example", time.Now().AddDate(0, 1, 0))
				l.target = "http://" + l.dst.String() + "/"
			},
		},
		{
			Name: "wrong-protocol-ssh-on-postgres-port", Cause: "wrong-protocol", Connect: Opens, After: Talks,
			setup: func(l *Lab) {
				l.serve(Server, 5432, ssh)
				l.dst = l.at(Server, 5432)
			},
		},
		{
			Name: "http-gateway-error", Connect: Opens, After: Talks,
			setup: func(l *Lab) {
				l.service(Server)
				l.target = "http://" + l.dst.String() + "/"
			},
			fault: func(l *Lab) { l.serve(Server, l.dst.Port(), web(http.StatusBadGateway)) },
		},
	}
}

// handled is a server that treats its connections in a certain way.
func handled(name string, after Ending, handle func(net.Conn)) Scenario {
	return Scenario{
		Name: name, Connect: Opens, After: after,
		fault: func(l *Lab) { l.serve(Server, l.dst.Port(), handle) },
	}
}

// ignore listens at the target and never accepts.
func (l *Lab) ignore(host string) {
	l.stop(host, l.dst.Port())
	l.listen(host, l.dst)
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
