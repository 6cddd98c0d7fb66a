package session

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Protocols, in the words of evidence.Session.
const (
	protoTLS       = "tls"
	protoHTTP      = "http"
	protoSSH       = "ssh"
	protoSMTP      = "smtp"
	protoFTP       = "ftp"
	protoPOP3      = "pop3"
	protoIMAP      = "imap"
	protoMySQL     = "mysql"
	protoPostgres  = "postgres"
	protoRedis     = "redis"
	protoAMQP      = "amqp"
	protoMemcached = "memcached"
	protoNATS      = "nats"
	protoMQTT      = "mqtt"
	protoVNC       = "vnc"
	protoRsync     = "rsync"
	protoTelnet    = "telnet"
)

// protocol is what a client first does in a protocol.
type protocol struct {
	name  string // "" if not known
	label string // names hello in evidence.Session.Hello
	// hello is what a client may send first and a server answers, or, where
	// serverFirst, what it may send to a server that stays silent. For TLS it
	// is made by crypto/tls.
	hello       []byte
	serverFirst bool
	https       bool // HTTP inside TLS
}

// expected gives the protocol of a target, by scheme or else by port. The
// result has no name where neither tells.
func expected(o Options) protocol {
	name, https := byScheme(o.Scheme)
	if name == "" {
		name, https = byPort(o.Port)
	}
	p := greeting(name, o)
	p.https = https
	return p
}

// byScheme knows URL schemes and the names of services(5).
func byScheme(scheme string) (name string, https bool) {
	switch strings.ToLower(scheme) {
	case "https", "wss", "https-alt", "dav+https":
		return protoTLS, true
	case "tls", "ssl", "smtps", "submissions", "imaps", "pop3s", "ldaps", "ftps", "amqps", "rediss", "mqtts", "secure-mqtt", "nntps", "ircs", "domain-s":
		return protoTLS, false
	case "http", "ws", "http-alt", "www":
		return protoHTTP, false
	case "ssh", "sftp", "scp", "git+ssh", "ssh+git":
		return protoSSH, false
	case "smtp", "submission", "mail":
		return protoSMTP, false
	case "ftp":
		return protoFTP, false
	case "pop3", "pop":
		return protoPOP3, false
	case "imap", "imap2":
		return protoIMAP, false
	case "mysql", "mariadb":
		return protoMySQL, false
	case "postgres", "postgresql":
		return protoPostgres, false
	case "redis", "valkey":
		return protoRedis, false
	case "amqp":
		return protoAMQP, false
	case "memcached", "memcache":
		return protoMemcached, false
	case "nats":
		return protoNATS, false
	case "mqtt":
		return protoMQTT, false
	}
	return "", false
}

// byPort knows the ports on which one protocol is all but certain.
func byPort(port uint16) (name string, https bool) {
	switch port {
	case 443, 4443, 6443, 8443, 9443, 10250:
		return protoTLS, true
	case 465, 563, 636, 853, 990, 993, 995, 2376, 3269, 5671, 6380, 6697, 8883:
		return protoTLS, false
	case 80, 81, 591, 2375, 3000, 3128, 5000, 5601, 8000, 8008, 8080, 8081, 8086, 8088, 8200, 8500, 8888, 9090, 9093, 9100, 9200, 15672:
		return protoHTTP, false
	case 22, 2222:
		return protoSSH, false
	case 25, 587, 2525:
		return protoSMTP, false
	case 21:
		return protoFTP, false
	case 110:
		return protoPOP3, false
	case 143:
		return protoIMAP, false
	case 3306:
		return protoMySQL, false
	case 5432, 6432:
		return protoPostgres, false
	case 6379, 26379:
		return protoRedis, false
	case 5672:
		return protoAMQP, false
	case 11211:
		return protoMemcached, false
	case 4222:
		return protoNATS, false
	case 1883:
		return protoMQTT, false
	}
	return "", false
}

// greeting gives the first words of a protocol.
func greeting(name string, o Options) protocol {
	first := func(label, hello string) protocol {
		return protocol{name: name, label: label, hello: []byte(hello)}
	}
	second := func(label, hello string) protocol {
		return protocol{name: name, label: label, hello: []byte(hello), serverFirst: true}
	}
	switch name {
	case protoTLS:
		return first("tls client hello", "")
	case protoHTTP:
		return first("http head", string(headRequest(o, 80, 0)))
	case protoPostgres: // PostgreSQL manual, 53.7: SSLRequest, length 8, code 80877103
		return first("postgres ssl request", "\x00\x00\x00\x08\x04\xd2\x16\x2f")
	case protoRedis:
		return first("redis ping", "*1\r\n$4\r\nPING\r\n")
	case protoAMQP: // AMQP 0-9-1, 4.2.2
		return first("amqp header", "AMQP\x00\x00\x09\x01")
	case protoMemcached:
		return first("memcached version", "version\r\n")
	case protoMQTT: // MQTT 3.1.1, 3.1: clean session, no client ID, keep alive 60 s
		return first("mqtt connect", "\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")
	case protoSSH: // RFC 4253, 4.2: both sides send their version, in any order
		return second("ssh version", "SSH-2.0-tcpwhy\r\n")
	case protoSMTP, protoFTP, protoPOP3:
		return second(name+" quit", "QUIT\r\n")
	case protoIMAP:
		return second("imap logout", "a LOGOUT\r\n")
	case protoNATS:
		return second("nats ping", "PING\r\n")
	case protoMySQL: // COM_QUIT
		return second("mysql quit", "\x01\x00\x00\x00\x01")
	}
	return protocol{}
}

// headRequest is a HEAD request of HTTP/1.1, RFC 9110, 9.3.2, with a header of
// pad bytes unless that is 0. defaultPort is the one left out of Host.
func headRequest(o Options, defaultPort uint16, pad int) []byte {
	b := append([]byte("HEAD / HTTP/1.1\r\nHost: "), hostHeader(o, defaultPort)...)
	b = append(b, "\r\nUser-Agent: tcpwhy\r\nConnection: close\r\n"...)
	if pad > 0 {
		b = append(b, "X-Padding: "+strings.Repeat("x", pad)+"\r\n"...)
	}
	return append(b, "\r\n"...)
}

// hostHeader is the value of the Host header, RFC 9110, 7.2, without a zone
// (RFC 6874, 4).
func hostHeader(o Options, defaultPort uint16) string {
	host := o.Host
	if a, err := netip.ParseAddr(host); err == nil {
		if host = a.WithZone("").String(); a.Is6() {
			host = "[" + host + "]"
		}
	} else if host == "" || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		host = "localhost" // no way for a name to add lines to the request
	}
	if o.Port == defaultPort || o.Port == 0 {
		return host
	}
	if strings.HasPrefix(host, "[") {
		return host + ":" + strconv.Itoa(int(o.Port))
	}
	return net.JoinHostPort(host, strconv.Itoa(int(o.Port)))
}
