//go:build linux

package test

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// site is a lab in which real servers run on the server's host, next to a
// client on the same link.
type site struct {
	*lab.Lab
	dir string // where servers keep their files; everybody may read and write
}

const siteAddr = "10.77.1.3" // the server's, in lab.OwnLink

func newSite(t *testing.T) *site {
	t.Helper()
	s, ok := lab.Find("none-own-link")
	if !ok {
		t.Fatal("no scenario none-own-link")
	}
	l := open(t, s, lab.V4)
	err := l.Do(lab.Server, func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	return &site{l, publicDir(t)}
}

// publicDir is a directory that the servers' user may use too, which
// t.TempDir is not.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tcpwhy-site-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (s *site) write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// run starts a server as an ordinary user and waits until it answers at addr.
// The server ends before the lab does.
func (s *site) run(t *testing.T, addr, name string, args ...string) {
	t.Helper()
	cmd := s.Command(lab.Server, true, name, args...)
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		// For PostgreSQL SIGINT is the fast way out; for the others it is one.
		cmd.Process.Signal(syscall.SIGINT)
		select {
		case <-ended:
		case <-time.After(nettest.Patience):
			cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", name, out.Bytes())
		}
	})
	nettest.Eventually(t, name+" listens on "+addr, func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", name, err, out.Bytes())
		default:
		}
		return s.Do(lab.Server, func() error {
			c, err := net.DialTimeout("tcp", addr, nettest.Patience)
			if err == nil {
				c.Close()
			}
			return err
		}) == nil
	})
}

// visit is a run of the program against a site, and what it must say.
type visit struct {
	name   string
	from   string // lab.Client unless it says otherwise
	target string
	env    []string
	args   []string

	outcome string
	cause   string
	certain bool // and not just among the candidates
	finding string
}

// check makes the visits, as root and as an ordinary user.
func (s *site) check(t *testing.T, program string, visits []visit) {
	for _, v := range visits {
		for _, ordinary := range []bool{false, true} {
			t.Run(v.name+"/"+who(ordinary), func(t *testing.T) {
				t.Parallel()
				cmd := s.Command(cmp.Or(v.from, lab.Client), ordinary, program, append(v.args, "-o", "json", v.target)...)
				cmd.Env = append(cmd.Env, v.env...)
				out, err := cmd.Output()
				a := parse(t, out)
				code := 1
				if v.cause == "none" {
					code = 0
				}
				if got := cmd.ProcessState.ExitCode(); got != code {
					t.Errorf("exit code %d, want %d (%v)", got, code, err)
				}
				v.judge(t, a)
			})
		}
	}
}

func (v visit) judge(t *testing.T, a *answer) {
	t.Helper()
	among := false
	for _, c := range a.Verdict.Candidates {
		among = among || c.Cause == v.cause
	}
	certain := a.Verdict.Certainty == "certain"
	if a.Outcome != v.outcome || !among || certain && a.Verdict.Cause != v.cause || v.certain && !certain ||
		!strings.Contains(a.Verdict.Finding, v.finding) {
		t.Errorf("%s is %s, %s of %v: %q\nwant %s, %s (certain: %v), %q", v.target, a.Outcome,
			a.Verdict.Certainty, a.Verdict.Candidates, a.Verdict.Finding, v.outcome, v.cause, v.certain, v.finding)
	}
}

// TestServers asks real servers, right and wrong.
func TestServers(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		program := nettest.Build(t, "../cmd/tcpwhy")
		for name, test := range map[string]func(*testing.T, string){
			"nginx": testNginx, "nginx-tls": testNginxTLS, "postgres": testPostgres, "redis": testRedis, "sshd": testSSH,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, program)
			})
		}
	})
}

// nginx runs one with these servers in its configuration.
func (s *site) nginx(t *testing.T, addr, servers string) {
	t.Helper()
	config := s.write(t, "nginx.conf", `
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi; scgi_temp_path scgi;
`+servers+"\n}\n")
	s.run(t, addr, nettest.NeedProgram(t, "nginx"), "-p", s.dir, "-e", "stderr", "-c", config)
}

func testNginx(t *testing.T, program string) {
	s := newSite(t)
	s.nginx(t, siteAddr+":80", `
	server { listen 10.77.1.3:80; return 200 "well\n"; }
	server { listen 10.77.1.3:82; location / { proxy_pass http://127.0.0.1:9; } }
	server { listen 10.77.1.3:84; return 503; }
	server { listen 127.0.0.1:83; return 200 "well\n"; }
	server { listen 10.77.1.3:86; return 404; }`)
	s.check(t, program, []visit{
		{name: "up", target: "http://10.77.1.3/", outcome: "open", cause: "none"},
		{name: "up, by port", target: "10.77.1.3:80", outcome: "open", cause: "none"},
		{name: "not found is an answer", target: "http://10.77.1.3:86/", outcome: "open", cause: "none"},
		{name: "up, seen from itself", from: lab.Server, target: "http://127.0.0.1:83/", outcome: "open", cause: "none"},
		{name: "wrong port", target: "10.77.1.3:85", outcome: "refused", cause: "no-listener"},
		{name: "wrong port, seen from itself", from: lab.Server, target: "10.77.1.3:85", outcome: "refused", cause: "no-listener", certain: true},
		{name: "loopback only", from: lab.Server, target: "10.77.1.3:83", outcome: "refused", cause: "listens-on-loopback", certain: true, finding: "127.0.0.1"},
		{name: "loopback only, from outside", target: "10.77.1.3:83", outcome: "refused", cause: "listens-on-loopback"},
		{name: "TLS to plain", target: "https://10.77.1.3:80/", outcome: "degraded", cause: "wrong-protocol"},
		{name: "dead upstream", target: "http://10.77.1.3:82/", outcome: "degraded", cause: "http-gateway-error", certain: true, finding: "502"},
		{name: "overloaded", target: "http://10.77.1.3:84/", outcome: "degraded", cause: "http-gateway-error", certain: true, finding: "503"},
		// nginx waits for the rest of what could be a request.
		{name: "ssh to nginx", target: "ssh://10.77.1.3:80", outcome: "degraded", cause: "wrong-protocol"},
		{name: "ssh to nginx, seen from itself", from: lab.Server, target: "ssh://10.77.1.3:80", outcome: "degraded", cause: "wrong-protocol"},
	})
}

func testNginxTLS(t *testing.T, program string) {
	s := newSite(t)
	year := 365 * 24 * time.Hour
	good := s.certificate(t, "good", time.Now().Add(year))
	s.certificate(t, "expired", time.Now().Add(-24*time.Hour))
	s.nginx(t, siteAddr+":443", `
	server { listen 10.77.1.3:443 ssl; ssl_certificate good.pem; ssl_certificate_key good.key; return 200 "well\n"; }
	server { listen 10.77.1.3:444 ssl; ssl_certificate expired.pem; ssl_certificate_key expired.key; return 200 "well\n"; }`)
	trust := []string{"SSL_CERT_FILE=" + good}
	s.check(t, program, []visit{
		{name: "up", target: "https://10.77.1.3/", env: trust, outcome: "open", cause: "none"},
		{name: "plain to TLS", target: "http://10.77.1.3:443/", outcome: "degraded", cause: "wrong-protocol"},
		{name: "self-signed", target: "https://10.77.1.3/", outcome: "degraded", cause: "tls-failed", certain: true},
		{name: "expired", target: "https://10.77.1.3:444/", env: []string{"SSL_CERT_FILE=" + filepath.Join(s.dir, "expired.pem")},
			outcome: "degraded", cause: "tls-failed", certain: true, finding: "expired"},
		{name: "other name", target: "https://127.0.0.1:443/", from: lab.Server, outcome: "refused", cause: "listens-elsewhere", certain: true},
	})
}

// certificate makes a self-signed one for the site, name.pem and name.key, and
// returns the path of the first.
func (s *site) certificate(t *testing.T, name string, notAfter time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.ParseIP(siteAddr)},
		NotBefore: notAfter.AddDate(-2, 0, 0), NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	return s.write(t, name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
}

// postgres makes a database cluster, and returns where PostgreSQL's programs are
// and where the cluster is.
func (s *site) postgres(t *testing.T) (bin, data string) {
	t.Helper()
	// Debian keeps the programs of each version in a directory of its own.
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		nettest.Unsupported(t, "program postgres")
	}
	bin, data = found[len(found)-1], filepath.Join(s.dir, "data")
	initdb := s.Command(lab.Server, true, bin+"/initdb", "-D", data, "-A", "reject", "--no-sync", "--no-instructions", "-E", "UTF8", "--locale=C")
	initdb.Dir = s.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	return bin, data
}

func testPostgres(t *testing.T, program string) {
	s := newSite(t)
	bin, data := s.postgres(t)
	s.run(t, siteAddr+":5432", bin+"/postgres", "-D", data, "-k", s.dir, "-F", "-c", "listen_addresses="+siteAddr)
	s.check(t, program, []visit{
		{name: "up", target: "10.77.1.3:5432", outcome: "open", cause: "none"},
		{name: "up, by URL", target: "postgresql://user:secret@10.77.1.3/db", outcome: "open", cause: "none"},
		{name: "seen from itself", from: lab.Server, target: "10.77.1.3:postgresql", outcome: "open", cause: "none"},
		{name: "other address", from: lab.Server, target: "127.0.0.1:5432", outcome: "refused", cause: "listens-elsewhere", certain: true, finding: siteAddr},
		{name: "TLS to postgres", target: "https://10.77.1.3:5432/", outcome: "degraded", cause: "wrong-protocol"},
		{name: "redis to postgres", target: "redis://10.77.1.3:5432", outcome: "degraded", cause: "wrong-protocol"},
		{name: "http to postgres", target: "http://10.77.1.3:5432", outcome: "degraded", cause: "wrong-protocol"},
	})
}

func testRedis(t *testing.T, program string) {
	redis := nettest.NeedProgram(t, "redis-server")
	s := newSite(t)
	common := []string{"--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", s.dir}
	s.run(t, siteAddr+":6379", redis, append(common, "--bind", siteAddr, "--port", "6379", "--requirepass", "secret")...)
	s.run(t, siteAddr+":6378", redis, append(common, "--bind", "*", "--port", "6378")...) // protected mode
	s.check(t, program, []visit{
		{name: "wants a password", target: "10.77.1.3:6379", outcome: "open", cause: "none"},
		{name: "protected mode", target: "redis://10.77.1.3:6378", outcome: "open", cause: "none"},
		{name: "unprotected", from: lab.Server, target: "redis://127.0.0.1:6378", outcome: "open", cause: "none"},
		// Redis waits for the end of the line.
		{name: "postgres to redis, seen from itself", from: lab.Server, target: "postgres://10.77.1.3:6379/db", outcome: "degraded", cause: "wrong-protocol"},
		{name: "postgres to redis", target: "postgres://10.77.1.3:6379/db", outcome: "degraded", cause: "wrong-protocol"},
		{name: "http to redis", target: "http://10.77.1.3:6379/", outcome: "degraded", cause: "wrong-protocol"},
		{name: "TLS to redis", target: "rediss://10.77.1.3:6379", outcome: "degraded", cause: "wrong-protocol"},
	})
}

func testSSH(t *testing.T, program string) {
	sshd := nettest.NeedProgram(t, "sshd")
	keygen := nettest.NeedProgram(t, "ssh-keygen")
	s := newSite(t)
	key := filepath.Join(s.dir, "key")
	// Made by the user that sshd runs as, who alone may read it.
	if out, err := s.Command(lab.Server, true, keygen, "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	config := s.write(t, "sshd_config", fmt.Sprintf("ListenAddress %s:22\nHostKey %s\nPidFile none\nUsePAM no\n", siteAddr, key))
	s.run(t, siteAddr+":22", sshd, "-D", "-e", "-f", config)
	s.check(t, program, []visit{
		{name: "up", target: "10.77.1.3:22", outcome: "open", cause: "none"},
		{name: "up, by service", target: "10.77.1.3:ssh", outcome: "open", cause: "none"},
		{name: "http to ssh", target: "http://10.77.1.3:22/", outcome: "degraded", cause: "wrong-protocol"},
		{name: "TLS to ssh", target: "https://10.77.1.3:22/", outcome: "degraded", cause: "wrong-protocol"},
		{name: "postgres to ssh", target: "postgres://10.77.1.3:22/", outcome: "degraded", cause: "wrong-protocol"},
	})
}
