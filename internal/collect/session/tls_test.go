package session

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Example CA"},
		NotBefore: time.Now().AddDate(-5, 0, 0), NotAfter: time.Now().AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	return authority{cert, key}
}

func (a authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// issue fills in what template leaves out.
func (a authority) issue(t *testing.T, template x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(2)
	template.Subject = pkix.Name{CommonName: "leaf"}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serveTLS answers HTTP in TLS.
func serveTLS(config *tls.Config) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		s := tls.Server(c, config)
		if _, err := s.Read(make([]byte, 4096)); err == nil {
			io.WriteString(s, "HTTP/1.1 503 Service Unavailable\r\nServer: example\r\n\r\n")
		}
		s.Close()
	}
}

func TestTLS(t *testing.T) {
	nettest.LeakCheck(t)
	ca, other := newCA(t), newCA(t)
	named := func(c x509.Certificate) tls.Certificate {
		c.DNSNames = []string{"web.example", "*.web.example"}
		return ca.issue(t, c)
	}
	good := named(x509.Certificate{})
	past := named(x509.Certificate{NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: time.Now().AddDate(-1, 0, 0)})
	future := named(x509.Certificate{NotBefore: time.Now().AddDate(1, 0, 0), NotAfter: time.Now().AddDate(2, 0, 0)})
	for name, c := range map[string]struct {
		config  *tls.Config
		host    string
		scheme  string
		problem string
		alert   string
		status  int
	}{
		"good":               {config: &tls.Config{Certificates: []tls.Certificate{good}}, status: 503},
		"no http":            {config: &tls.Config{Certificates: []tls.Certificate{good}}, scheme: "rediss"},
		"TLS 1.2":            {config: &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12}, status: 503},
		"TLS 1.0":            {config: &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, problem: "version", status: 503},
		"expired":            {config: &tls.Config{Certificates: []tls.Certificate{past}}, problem: "expired", status: 503},
		"not yet":            {config: &tls.Config{Certificates: []tls.Certificate{future}}, problem: "not-yet-valid", status: 503},
		"wrong name":         {config: &tls.Config{Certificates: []tls.Certificate{good}}, host: "db.example", problem: "name-mismatch", status: 503},
		"address in URL":     {config: &tls.Config{Certificates: []tls.Certificate{good}}, host: "127.0.0.1", problem: "name-mismatch", status: 503},
		"unknown issuer":     {config: &tls.Config{Certificates: []tls.Certificate{other.issue(t, x509.Certificate{DNSNames: []string{"web.example"}})}}, problem: "unknown-issuer", status: 503},
		"alert":              {config: &tls.Config{}, problem: "alert", alert: "unrecognized name"},
		"client certificate": {config: &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert}, problem: "alert", alert: "certificate required"},
		"the same, no http":  {config: &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert}, scheme: "ldaps", problem: "alert", alert: "certificate required"},
		"the same, TLS 1.2":  {config: &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}, problem: "alert", alert: "handshake failure"},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Scheme: "https", Host: "web.example", RootCAs: ca.pool()}
			if c.host != "" {
				o.Host = c.host
			}
			if c.scheme != "" {
				o.Scheme = c.scheme
			}
			s := run(t, serve(t, serveTLS(c.config)), o)
			if s.Expect != "tls" || s.Got != "tls" || s.TLS == nil || s.TLS.Problem != c.problem || s.TLS.Alert != c.alert || s.TLS.OK != (c.problem == "") {
				t.Fatalf("TLS %+v in %+v", s.TLS, s)
			}
			if status := s.HTTP; (status == nil) != (c.status == 0) || status != nil && status.Status != c.status {
				t.Errorf("HTTP %+v", s.HTTP)
			}
			if c.problem != "" && s.TLS.Detail == "" {
				t.Error("no detail")
			}
		})
	}
	// Several faults are all told.
	s := run(t, serve(t, serveTLS(&tls.Config{Certificates: []tls.Certificate{past}})), Options{Scheme: "https", Host: "db.example", RootCAs: other.pool()})
	if s.TLS == nil || s.TLS.Problem != "expired" ||
		!slices.Equal(s.TLS.Names, []string{"web.example", "*.web.example"}) || s.TLS.Issuer != "CN=Example CA" ||
		!strings.Contains(s.TLS.Detail, "not db.example") || !strings.Contains(s.TLS.Detail, "unknown authority") || s.TLS.Version != "TLS 1.3" {
		t.Errorf("%+v", s.TLS)
	}
	// An address without a URL asks for no name.
	s = run(t, serve(t, serveTLS(&tls.Config{Certificates: []tls.Certificate{good}})), Options{Scheme: "", Host: "127.0.0.1", RootCAs: ca.pool()})
	if s.TLS != nil {
		t.Errorf("TLS on a port of no known protocol: %+v", s.TLS)
	}
}

func TestNoName(t *testing.T) {
	ca := newCA(t)
	s := &probe{opts: Options{Host: "192.0.2.1", Port: 443, RootCAs: ca.pool()}}
	leaf, _ := x509.ParseCertificate(ca.issue(t, x509.Certificate{DNSNames: []string{"web.example"}}).Certificate[0])
	var got evidence.TLS
	s.verify(&got, tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{leaf}})
	if got.Problem != "" || len(s.out.NotChecked) != 1 {
		t.Errorf("%+v, %+v", got, s.out.NotChecked)
	}
}

func TestTLSSilent(t *testing.T) {
	nettest.LeakCheck(t)
	s := run(t, serve(t, speak("")), Options{Scheme: "https"})
	if s.TLS == nil || s.TLS.Problem != "timeout" || s.End != "" || s.Got != "" {
		t.Errorf("%+v", s)
	}
	s = run(t, serve(t, func(c *net.TCPConn) { c.Read(make([]byte, 999)) }), Options{Scheme: "https"})
	if s.TLS == nil || s.TLS.Problem != "other" || s.End != "fin" {
		t.Errorf("%+v, %+v", s, s.TLS)
	}
}

func TestClientHello(t *testing.T) {
	for _, pad := range []int{0, 1, 5000, maxLarge} {
		b := clientHello(Options{Host: "web.example"}, pad)
		if len(b) < pad || len(b) > pad+pad/8+600 || b[0] != 22 || bytes.Contains(b, []byte("web.example")) != true {
			t.Errorf("pad %d gives %d bytes", pad, len(b))
		}
	}
	if b := clientHello(Options{Host: "web.example"}, 0); len(b) > smallMSS {
		t.Errorf("the plain hello takes %d bytes, more than one small segment", len(b))
	}
}
