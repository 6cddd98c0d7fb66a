package session

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// freePort is a port of loopback on which nothing listens now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// account is an ordinary user for programs that refuse to run as root, and
// whose files a directory is for.
type account struct {
	dir  string
	cred *syscall.Credential // nil: as we are
}

func newAccount(t *testing.T) account {
	t.Helper()
	dir, err := os.MkdirTemp("", "tcpwhy-session-") // unlike t.TempDir in no closed directory
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	a := account{dir: dir}
	if os.Geteuid() != 0 {
		return a
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		nettest.Unsupported(t, err.Error())
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	a.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		nettest.Unsupported(t, err.Error())
	}
	return a
}

func (a account) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = a.dir
	cmd.Env = []string{"HOME=" + a.dir, "LC_ALL=C", "PATH=/usr/bin:/bin:/usr/sbin:/sbin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.cred}
	return cmd
}

func (a account) run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := a.command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func (a account) write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if a.cred != nil {
		if err := os.Chown(path, int(a.cred.Uid), int(a.cred.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// start runs a server until the test ends, and waits until port is open.
func (a account) start(t *testing.T, port int, stop syscall.Signal, name string, args ...string) *server {
	t.Helper()
	cmd := a.command(name, args...)
	log, err := os.Create(filepath.Join(a.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Signal(stop)
		select {
		case <-ended:
		case <-time.After(nettest.Patience):
			cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			out, _ := os.ReadFile(log.Name())
			t.Logf("log of %s:\n%s", name, out)
		}
	})
	s := &server{TCPAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}}
	nettest.Eventually(t, name+" listens", func() bool {
		c, err := s.dial(context.Background(), 0)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return s
}

func TestNginx(t *testing.T) {
	nginx := nettest.NeedProgram(t, "nginx")
	a := newAccount(t)
	ca := newCA(t)
	cert := ca.issue(t, x509.Certificate{DNSNames: []string{"web.example"}, IPAddresses: []net.IP{netip.MustParseAddr("127.0.0.1").AsSlice()}})
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})))
	a.write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	plain, secure, dead := freePort(t), freePort(t), freePort(t)
	conf := a.write(t, "nginx.conf", fmt.Sprintf(`
daemon off; pid %[1]s/pid; error_log stderr; worker_processes 1;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	server { listen 127.0.0.1:%[2]d; location / { return 204; } }
	server { listen 127.0.0.1:%[3]d ssl; ssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/key.pem;
		location / { proxy_pass http://127.0.0.1:%[4]d; } }
}`, a.dir, plain, secure, dead))
	web := a.start(t, plain, syscall.SIGTERM, nginx, "-c", conf, "-p", a.dir, "-e", "stderr")
	webTLS := &server{TCPAddr: &net.TCPAddr{IP: web.IP, Port: secure}}

	s := run(t, web, Options{Scheme: "http", MTU: true})
	brief{expect: "http", got: "http", hello: "http head", received: true}.check(t, s)
	if s.HTTP == nil || s.HTTP.Status != 204 || s.HTTP.Server == "" || s.MTU == nil || !s.MTU.LargeAcked {
		t.Errorf("%+v, %+v, %+v", s, s.HTTP, s.MTU)
	}
	t.Logf("HTTP over loopback: reply after %v", s.ReplyAfter)

	s = run(t, webTLS, Options{Scheme: "https", Host: "web.example", RootCAs: ca.pool(), MTU: true})
	if s.TLS == nil || !s.TLS.OK || s.HTTP == nil || s.HTTP.Status != 502 || s.MTU == nil || !s.MTU.LargeAcked {
		t.Errorf("%+v, %+v, %+v, %+v", s, s.TLS, s.HTTP, s.MTU)
	}
	s = run(t, webTLS, Options{Scheme: "https", Host: "db.example", RootCAs: ca.pool()})
	if s.TLS == nil || s.TLS.Problem != "name-mismatch" {
		t.Errorf("%+v, %+v", s, s.TLS)
	}
	s = run(t, webTLS, Options{Scheme: "http"})
	brief{expect: "http", got: "tls", hello: "http head", received: true}.check(t, s)
	s = run(t, web, Options{Scheme: "https"})
	brief{expect: "tls", got: "http", hello: "tls client hello", received: true}.check(t, s)
	// It waits for a request, and complains about our greeting.
	s = run(t, web, Options{Scheme: "ssh"})
	if s.Got != "http" || s.Received == 0 || s.Acked == nil {
		t.Errorf("ssh to nginx: %+v", s)
	}
}

func TestRedis(t *testing.T) {
	program := nettest.NeedProgram(t, "redis-server")
	for _, c := range []struct {
		args   []string
		banner string
	}{{nil, `+PONG\r\n`}, {[]string{"--requirepass", "x"}, `-NOAUTH Authentication required.\r\n`}} {
		a, port := newAccount(t), freePort(t)
		redis := a.start(t, port, syscall.SIGTERM, program, append([]string{"--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--dir", a.dir}, c.args...)...)
		s := run(t, redis, Options{Scheme: "redis", MTU: true})
		brief{expect: "redis", got: "redis", hello: "redis ping", received: true}.check(t, s)
		if s.Banner != c.banner || s.MTU == nil || !s.MTU.LargeAcked {
			t.Errorf("%+v, %+v", s, s.MTU)
		}
		s = run(t, redis, Options{Scheme: "http"})
		t.Logf("http to redis: %+v", s)
		if s.Got != "redis" && s.End == "" {
			t.Errorf("http to redis: %+v", s)
		}
		s = run(t, redis, Options{Scheme: "https"})
		t.Logf("tls to redis: %+v, %+v", s, s.TLS)
		if s.TLS == nil || s.TLS.OK {
			t.Errorf("tls to redis: %+v", s)
		}
	}
}

func TestSSHD(t *testing.T) {
	sshd, keygen := nettest.NeedProgram(t, "sshd"), nettest.NeedProgram(t, "ssh-keygen")
	a, port := newAccount(t), freePort(t)
	a.run(t, keygen, "-q", "-t", "ed25519", "-N", "", "-f", a.dir+"/key")
	conf := a.write(t, "conf", fmt.Sprintf("ListenAddress 127.0.0.1:%d\nHostKey %s/key\nPidFile none\nUsePAM no\n", port, a.dir))
	ssh := a.start(t, port, syscall.SIGTERM, sshd, "-D", "-e", "-f", conf)
	s := run(t, ssh, Options{Scheme: "ssh"})
	brief{expect: "ssh", got: "ssh", received: true}.check(t, s)
	for _, scheme := range []string{"", "http", "https", "redis"} {
		if s = run(t, ssh, Options{Scheme: scheme, Quick: time.Second}); s.Got != "ssh" {
			t.Errorf("%q: %+v", scheme, s)
		}
	}
	if s.MTU != nil {
		t.Errorf("%+v", s.MTU)
	}
}

func TestPostgres(t *testing.T) {
	var initdb string
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); len(found) > 0 {
		initdb = found[len(found)-1]
	} else {
		nettest.Unsupported(t, "program initdb")
	}
	a, port := newAccount(t), freePort(t)
	data := a.dir + "/data"
	a.run(t, initdb, "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")
	db := a.start(t, port, syscall.SIGINT, filepath.Dir(initdb)+"/postgres", "-D", data, "-k", a.dir, "-h", "127.0.0.1", "-p", fmt.Sprint(port), "-F")
	s := run(t, db, Options{Scheme: "postgres"})
	brief{expect: "postgres", got: "postgres", hello: "postgres ssl request", received: true}.check(t, s)
	if s.Banner != "N" {
		t.Errorf("%+v", s)
	}
	s = run(t, db, Options{Scheme: "https"})
	t.Logf("tls to postgres: %+v, %+v", s, s.TLS)
	if s.TLS == nil || s.TLS.OK {
		t.Errorf("%+v", s)
	}
	s = run(t, db, Options{Scheme: "http"})
	t.Logf("http to postgres: %+v", s)
	if s.Got == "http" || s.Got == "" && s.End == "" {
		t.Errorf("%+v", s)
	}
}
