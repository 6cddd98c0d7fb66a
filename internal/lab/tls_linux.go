package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
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

// issue makes a server's certificate for a DNS name, valid for a year up to
// the given time.
func (a *authority) issue(name string, notAfter time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    notAfter.AddDate(-1, 0, 0),
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// caFile holds the certificate of the authority that programs trust.
const caFile = "ca.pem"

// trust makes an authority that the programs of the lab trust, by way of
// SSL_CERT_FILE.
func (l *Lab) trust() *authority {
	a := l.authority("Lab CA")
	if a != nil {
		path := l.write(caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})))
		l.env = append(l.env, "SSL_CERT_FILE="+path)
	}
	return a
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

// serveTLS serves HTTPS on a port of the server with a certificate of a.
func (l *Lab) serveTLS(port uint16, a *authority, name string, notAfter time.Time) {
	if l.err != nil {
		return
	}
	cert, err := a.issue(name, notAfter)
	if err != nil {
		l.fail(err)
		return
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	l.serve(Server, port, func(c net.Conn) { web(http.StatusOK)(tls.Server(c, config)) })
}
