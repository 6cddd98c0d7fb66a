package lab

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// languages are servers that speak, and not as the user expects.
func languages() []Scenario {
	toTLS := []string{"application-silent", "tls-failed", "wrong-protocol"}
	hungUp := []string{"application-silent", "wrong-protocol"}
	none := func(*Lab) {}
	return []Scenario{
		speaking("wrong-protocol-http-on-tls-port", 443, "https://"+app+"/", web(http.StatusOK), (*Lab).healthyTLS).leaving(toTLS, toTLS).seen(toTLS, toTLS).
			showing("HTTPS fails: the server speaks plain HTTP on port 443."),
		speaking("wrong-protocol-ssh-on-tls-port", 443, "https://"+app+"/", ssh, (*Lab).healthyTLS).
			showing("HTTPS fails: an SSH server has port 443."),
		{
			Name: "wrong-protocol-tls-on-http-port", Cause: "wrong-protocol", Connect: Opens, prove: proveTLS(""),
			Shows: "HTTP fails: the server speaks TLS on the port.",
			setup: func(l *Lab) {
				l.service(Server)
				l.target = "http://" + l.dst.String() + "/"
			},
			fault: func(l *Lab) { l.serveTLS(l.dst.Port(), l.trust(), certificate{}) },
		},
		speaking("wrong-protocol-ssh-on-postgres-port", 5432, "", ssh, none).showing("The database client fails: an SSH server has port 5432."),
		speaking("wrong-protocol-mysql-on-postgres-port", 5432, "", mysql, none).showing("The PostgreSQL client fails: MySQL has port 5432."),
		speaking("wrong-protocol-postgres-on-mysql-port", 3306, "", postgres, none).
			leaving(quietServer, quietServer).seen(quietServer, quietServer).
			showing("The MySQL client waits for a greeting: PostgreSQL has port 3306."),
		speaking("wrong-protocol-smtp-on-http-port", 80, "", smtp, none).showing("The browser shows nonsense: a mail server has port 80."),
		speaking("wrong-protocol-redis-on-http-port", 80, "", redis, none).leaving(hungUp, hungUp).seen(hungUp, hungUp).showing("The browser shows an empty answer of Redis, which has port 80."),
		speaking("wrong-protocol-http-on-redis-port", 6379, "", web(http.StatusOK), none).
			leaving(hungUp, hungUp).seen(hungUp, hungUp).
			showing("The Redis client fails: an HTTP server has port 6379."),
		speaking("wrong-protocol-http-on-ssh-port", 22, "", webOrElse, none).showing("Ssh hangs or fails: an HTTP server has port 22."),
		gatewayError("http-gateway-error", http.StatusBadGateway).showing("502 Bad Gateway: the proxy cannot reach what is behind it."),
		gatewayError("http-gateway-error-503", http.StatusServiceUnavailable).caused("http-gateway-error").
			showing("503 Service Unavailable: the proxy has nothing behind it."),
		gatewayError("http-gateway-error-504", http.StatusGatewayTimeout).caused("http-gateway-error").
			showing("504 Gateway Timeout: what is behind the proxy is too slow."),
	}
}

// speaking is a server of another protocol at a well-known port. The target is
// the port of the server, or a URL.
func speaking(name string, port uint16, url string, handle func(net.Conn), setup func(*Lab)) Scenario {
	return Scenario{
		Name: name, Cause: "wrong-protocol", Connect: Opens,
		setup: func(l *Lab) {
			l.service(Server)
			l.dst = l.at(Server, port)
			l.serve(Server, port, fitting(port))
			if setup(l); url != "" {
				l.target = url
			}
		},
		fault: func(l *Lab) { l.serve(Server, port, handle) },
	}
}

// fitting is the protocol that belongs to a port.
func fitting(port uint16) func(net.Conn) {
	switch port {
	case 22:
		return ssh
	case 3306:
		return mysql
	case 5432:
		return postgres
	case 6379:
		return redis
	}
	return web(http.StatusOK)
}

// gatewayError is a proxy whose backend is at fault.
func gatewayError(name string, status int) Scenario {
	s := urled(name, web(http.StatusOK))
	s.Cause = ""
	s.fault = func(l *Lab) { l.serve(Server, l.dst.Port(), web(status)) }
	return s
}

// The protocols follow, as far as a client gets without a password.

// ssh greets as an SSH server and waits.
func ssh(c net.Conn) {
	io.WriteString(c, "SSH-2.0-OpenSSH_9.9 Lab\r\n")
	io.Copy(io.Discard, c)
}

// smtp is a mail server, RFC 5321.
func smtp(c net.Conn) {
	io.WriteString(c, "220 mail.example ESMTP Lab\r\n")
	byLine(c, func(line string) string {
		switch verb, _, _ := strings.Cut(strings.ToUpper(line), " "); verb {
		case "QUIT":
			return ""
		case "EHLO", "HELO", "NOOP":
			return "250 mail.example\r\n"
		}
		return "500 5.5.1 command unrecognized\r\n"
	})
}

// ftp is a file server, RFC 959.
func ftp(c net.Conn) {
	io.WriteString(c, "220 ftp.example ready\r\n")
	byLine(c, func(line string) string {
		if strings.EqualFold(line, "QUIT") {
			return ""
		}
		return "530 Please login with USER and PASS.\r\n"
	})
}

// redis answers PING and knows nothing else.
func redis(c net.Conn) {
	byLine(c, func(line string) string {
		switch {
		case strings.EqualFold(line, "PING"):
			return "+PONG\r\n"
		case strings.HasPrefix(line, "*"), strings.HasPrefix(line, "$"), line == "":
			return " "
		case strings.HasSuffix(line, ":"), strings.Contains(line, "HTTP/"), strings.HasPrefix(line, "Host"):
			// Redis ends connections that look like a browser's.
			return ""
		}
		return "-ERR unknown command\r\n"
	})
}

// redisLocked wants a password first.
func redisLocked(c net.Conn) {
	byLine(c, func(line string) string {
		if strings.HasPrefix(line, "*") || strings.HasPrefix(line, "$") {
			return " "
		}
		return "-NOAUTH Authentication required.\r\n"
	})
}

// byLine answers each line: "" ends the connection, " " is no answer.
func byLine(c net.Conn, answer func(line string) string) {
	in := bufio.NewScanner(c)
	for in.Scan() {
		switch a := answer(in.Text()); a {
		case "":
			return
		case " ":
		default:
			if _, err := io.WriteString(c, a); err != nil {
				return
			}
		}
	}
}

// mysql greets with protocol version 10 and waits; MySQL internals, Protocol::HandshakeV10.
func mysql(c net.Conn) {
	payload := "\x0a8.4.0\x00\x01\x00\x00\x00abcdefgh\x00\xff\xf7\xff\x02\x00\xff\xdf\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00abcdefghijkl\x00caching_sha2_password\x00"
	io.WriteString(c, string([]byte{byte(len(payload)), 0, 0, 0})+payload)
	io.Copy(io.Discard, c)
}

// postgres refuses TLS, and wants a password; PostgreSQL manual, "Message Formats".
func postgres(c net.Conn) {
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		if string(head) == "\x00\x00\x00\x08\x04\xd2\x16\x2f" { // SSLRequest
			io.WriteString(c, "N")
			continue
		}
		if head[0] != 0 || head[1] != 0 || head[2] != 0 { // no length that a startup packet has
			return
		}
		io.WriteString(c, "R\x00\x00\x00\x08\x00\x00\x00\x03") // AuthenticationCleartextPassword
		io.Copy(io.Discard, c)
		return
	}
}

// webOrElse is an HTTP server that answers what is no HTTP with a 400.
func webOrElse(c net.Conn) {
	if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		return
	}
	io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nok\n")
}

// once answers one HTTP request, as version 1.0 does.
func once(status int) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			fmt.Fprintf(c, "HTTP/1.0 %d %s\r\n\r\nwell\n", status, http.StatusText(status))
		}
	}
}

// afterEOF says nothing before the client has said all.
func afterEOF(c net.Conn) {
	io.Copy(io.Discard, c)
	io.WriteString(c, "well\n")
}

// after300ms is a server that is slow to begin.
func after300ms(handle func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		time.Sleep(300 * time.Millisecond)
		handle(c)
	}
}
