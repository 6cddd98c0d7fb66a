package lab

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"time"
)

// authority issues certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(name string) (*authority, error) {
	a := new(authority)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().AddDate(-10, 0, 0),
		NotAfter:              time.Now().AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	a.cert, err = x509.ParseCertificate(der)
	return a, err
}

// certificate is what a server's certificate says; the zero value is right for
// the server.
type certificate struct {
	name       string // DNS name; "" is app
	days       int    // for how long it has been valid; negative for what is not yet; 0 is a month
	left       int    // for how long it still is; negative for what has expired; 0 is a month
	selfSigned bool   // by its own key
}

func (a *authority) issue(c certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	name, now := cmp.Or(c.name, app), time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    now.AddDate(0, 0, -cmp.Or(c.days, 30)),
		NotAfter:     now.AddDate(0, 0, cmp.Or(c.left, 30)),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	issuer, signer := a.cert, a.key
	if c.selfSigned {
		issuer, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// caFile holds the certificate of the authority that programs trust.
const caFile = "ca.pem"

// trust makes an authority that the programs of the lab trust, by way of
// SSL_CERT_FILE; nil if that fails.
func (l *Lab) trust() *authority {
	if l.ca != nil {
		return l.ca
	}
	if l.ca = l.authority("Lab CA"); l.ca != nil {
		path := l.write(caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: l.ca.cert.Raw})))
		l.env = append(l.env, "SSL_CERT_FILE="+path)
	}
	return l.ca
}

// authority makes one that nobody trusts; nil if that fails.
func (l *Lab) authority(name string) *authority {
	a, err := newAuthority(name)
	if err != nil {
		l.fail(err)
		return nil
	}
	return a
}

// serveTLS serves HTTPS on a port of the server with a certificate of a, and
// what more is configured.
func (l *Lab) serveTLS(port uint16, a *authority, c certificate, configure ...func(*tls.Config)) {
	if l.err != nil {
		return
	}
	cert, err := a.issue(c)
	if err != nil {
		l.fail(err)
		return
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	for _, f := range configure {
		f(config)
	}
	l.serve(Server, port, func(c net.Conn) {
		if s := tls.Server(c, config); len(config.NextProtos) == 0 {
			web(http.StatusOK)(s)
		} else {
			serveHTTP2(s, config)
		}
	})
}

// serveHTTP2 speaks HTTP/2, and no older version.
func serveHTTP2(c *tls.Conn, config *tls.Config) {
	ln := &single{conn: c, closed: make(chan struct{})}
	s := http.Server{
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(page)) }),
		TLSConfig: config,
		ErrorLog:  log.New(io.Discard, "", 0),
		Protocols: new(http.Protocols),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				close(ln.closed)
			}
		},
	}
	s.Protocols.SetHTTP2(true)
	s.Serve(ln) // until the connection is closed
}

// single is a listener that has one connection.
type single struct {
	conn   net.Conn
	closed chan struct{} // when the connection is
}

func (s *single) Accept() (net.Conn, error) {
	if c := s.conn; c != nil {
		s.conn = nil
		return c, nil
	}
	<-s.closed
	return nil, net.ErrClosed
}

func (s *single) Close() error   { return nil }
func (s *single) Addr() net.Addr { return new(net.TCPAddr) }
