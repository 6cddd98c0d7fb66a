package session

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// tlsHeader is the length of a TLS record header, RFC 8446, 5.1.
const tlsHeader = 5

// recognise names the protocol that a server's first bytes look like, or gives
// "". Where bytes fit several protocols, expect decides.
func recognise(b []byte, expect string) string {
	if got := recogniseBinary(b); got != "" || len(b) == 0 || !isText(b) {
		return got
	}
	has := func(prefix string) bool { return bytes.HasPrefix(b, []byte(prefix)) }
	switch {
	case has("SSH-"):
		return protoSSH
	case has("HTTP/"):
		if mentionsTLS(b) {
			return protoTLS
		}
		return protoHTTP
	case has("INFO {"):
		return protoNATS
	case has("RFB "):
		return protoVNC
	case has("@RSYNCD:"):
		return protoRsync
	case has("AMQP"):
		return protoAMQP
	case has("* OK"), has("* PREAUTH"), has("* BYE"):
		return protoIMAP
	case has("VERSION "), has("ERROR\r\n"), has("CLIENT_ERROR "):
		return protoMemcached
	case isRedis(b, expect):
		return protoRedis
	case has("+OK"), has("-ERR"):
		return protoPOP3
	case isPostgres(b, expect):
		return protoPostgres
	case isReplyCode(b):
		return mailOrFTP(b, expect)
	}
	return ""
}

// complete says that no more needs to be read to know what b is.
func complete(b []byte, expect string) bool {
	got := recognise(b, expect)
	switch {
	case got == "" || len(b) >= maxHead:
		return got != ""
	case bytes.HasPrefix(b, []byte("HTTP/")):
		return bytes.Contains(b, []byte("\r\n\r\n")) || bytes.Contains(b, []byte("\n\n"))
	}
	switch got {
	case protoTLS, protoMySQL, protoPostgres, protoAMQP, protoMQTT, protoTelnet:
		return true
	}
	return bytes.IndexByte(b, '\n') >= 0 || len(b) > 512 // no protocol here greets with a longer line
}

func isText(b []byte) bool { return b[0] >= ' ' && b[0] < 0x7f }

func recogniseBinary(b []byte) string {
	switch {
	case isTLS(b):
		return protoTLS
	case len(b) >= 5 && isMySQL(b):
		return protoMySQL
	case len(b) >= 11 && b[0] == 1 && b[1] == 0 && b[2] == 0 && bytes.Equal(b[7:11], []byte{0, 10, 0, 10}):
		return protoAMQP // method frame, connection.start
	case len(b) >= 4 && b[0] == 0x20 && b[1] == 2 && b[2] <= 1 && b[3] <= 5:
		return protoMQTT // CONNACK
	case len(b) >= 3 && b[0] == 0xff && b[1] >= 0xfb && b[1] <= 0xfe:
		return protoTelnet // IAC WILL, WONT, DO or DONT
	}
	return ""
}

// isTLS knows the header of a record that a server may send first: a handshake
// message or an alert, of SSL 3.0 to TLS 1.3.
func isTLS(b []byte) bool {
	const alert, handshake, maxRecord = 21, 22, 1<<14 + 256
	return len(b) >= tlsHeader && (b[0] == alert || b[0] == handshake) && b[1] == 3 && b[2] <= 4 &&
		int(b[3])<<8|int(b[4]) <= maxRecord
}

// mentionsTLS knows how web servers turn away plain text on a TLS port: nginx,
// Go and Apache, in this order.
func mentionsTLS(b []byte) bool {
	for _, s := range []string{
		"plain HTTP request was sent to HTTPS port",
		"HTTP request to an HTTPS server",
		"speaking plain HTTP to an SSL-enabled server port",
	} {
		if bytes.Contains(b, []byte(s)) {
			return true
		}
	}
	return false
}

// isMySQL knows the packet that a MySQL server sends first: sequence number 0
// and a greeting of protocol 9 or 10 with its version, or an error.
func isMySQL(b []byte) bool {
	size := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	if size < 4 || size > 4096 || b[3] != 0 {
		return false
	}
	body := b[4:min(len(b), 4+size)]
	switch body[0] {
	case 9, 10:
		version, _, ended := bytes.Cut(body[1:], []byte{0})
		return ended && len(version) > 0 && '0' <= version[0] && version[0] <= '9'
	case 0xff: // error code, message
		return len(body) > 3 && body[2] >= 0x03 && body[2] <= 0x10 && isText(body[3:])
	}
	return false
}

// isRedis knows the replies of Redis to PING and to what it takes for commands.
func isRedis(b []byte, expect string) bool {
	for _, s := range []string{"+PONG", "-NOAUTH ", "-DENIED ", "-LOADING ", "-NOPERM ", "-MASTERDOWN ", "-BUSY ",
		"-ERR unknown command", "-ERR wrong number of arguments", "-ERR Protocol error", "-ERR max number of clients"} {
		if bytes.HasPrefix(b, []byte(s)) {
			return true
		}
	}
	return expect == protoRedis && (b[0] == '-' || b[0] == '+')
}

// isPostgres knows the answer to an SSLRequest, one byte, and an ErrorResponse
// (length, then fields, the severity first).
func isPostgres(b []byte, expect string) bool {
	if len(b) == 1 {
		return expect == protoPostgres && (b[0] == 'S' || b[0] == 'N')
	}
	if b[0] != 'E' || len(b) < 6 || b[1] != 0 || b[2] != 0 {
		return false
	}
	// Servers before 7.4 send a plain string.
	return b[5] == 'S' || expect == protoPostgres
}

// isReplyCode knows the replies of SMTP and FTP: three digits, then a space or
// a hyphen.
func isReplyCode(b []byte) bool {
	return len(b) >= 4 && '2' <= b[0] && b[0] <= '5' && '0' <= b[1] && b[1] <= '5' &&
		'0' <= b[2] && b[2] <= '9' && (b[3] == ' ' || b[3] == '-')
}

// mailOrFTP tells two protocols apart that greet alike.
func mailOrFTP(b []byte, expect string) string {
	text := strings.ToUpper(string(b[:min(len(b), 512)]))
	switch {
	case strings.Contains(text, "SMTP"):
		return protoSMTP
	case strings.Contains(text, "FTP"):
		return protoFTP
	case expect == protoFTP:
		return protoFTP
	}
	return protoSMTP
}

// parseHTTP reads the status line and the Server header of a response, RFC
// 9112, 4 and 5. It returns nil where b has no whole status code.
func parseHTTP(b []byte) *evidence.HTTP {
	status, rest, _ := bytes.Cut(b, []byte("\n"))
	version, code, _ := bytes.Cut(status, []byte(" "))
	if !bytes.HasPrefix(version, []byte("HTTP/")) || len(code) < 3 {
		return nil
	}
	n, err := strconv.ParseUint(string(code[:3]), 10, 16)
	if err != nil || n < 100 || len(code) > 3 && code[3] != ' ' && code[3] != '\r' {
		return nil
	}
	h := &evidence.HTTP{Status: int(n)}
	for line := range bytes.Lines(rest) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if strings.EqualFold(string(name), "server") {
			h.Server = escape(bytes.TrimSpace(value), 100)
			break
		}
	}
	return h
}

// escape makes b printable as strconv.Quote does, without the quotes around it,
// and cuts it to at most limit characters, never within an escape.
func escape(b []byte, limit int) string {
	var out strings.Builder
	for n := 0; len(b) > 0; {
		_, size := utf8.DecodeRune(b)
		q := strconv.Quote(string(b[:size]))
		q = q[1 : len(q)-1]
		if n += utf8.RuneCountInString(q); n > limit {
			break
		}
		out.WriteString(q)
		b = b[size:]
	}
	return out.String()
}
