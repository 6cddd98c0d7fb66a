package session

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestRecognise(t *testing.T) {
	for _, c := range []struct{ b, expect, want string }{
		{"", "", ""},
		{"x", "", ""},
		{"\x00", "tls", ""},
		{"\x16\x03\x01\x00\x05", "", "tls"},
		{"\x15\x03\x03\x00\x02\x02\x28", "http", "tls"},
		{"\x17\x03\x03\x00\x02", "tls", ""}, // application data is not first
		{"\x16\x03\x03\xff\xff", "tls", ""},
		{"HTTP/1.1 400 Bad Request\r\n\r\n<center>The plain HTTP request was sent to HTTPS port</center>", "http", "tls"},
		{"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n", "http", "tls"},
		{"HTTP/1.1 400 Bad Request\r\n\r\n", "tls", "http"},
		{"S", "postgres", "postgres"}, {"N", "postgres", "postgres"}, {"S", "", ""}, {"SS", "postgres", ""},
		{"E\x00\x00\x00\x40SERROR\x00", "http", "postgres"},
		{"-ERR unknown command 'HEAD'\r\n", "http", "redis"},
		{"-ERR bad\r\n", "redis", "redis"}, {"-ERR bad\r\n", "", "pop3"},
		{"220 FTP here\r\n", "smtp", "ftp"}, {"220 x ESMTP\r\n", "ftp", "smtp"},
		{"220 x\r\n", "", "smtp"}, {"421 x\r\n", "ftp", "ftp"}, {"220x\r\n", "", ""},
		{"ERROR\r\nERROR\r\n", "http", "memcached"},
		{"RFB 003.008\n", "ssh", "vnc"}, {"@RSYNCD: 31.0\n", "", "rsync"}, {"\xff\xfd\x18", "", "telnet"},
		{"* BYE full\r\n", "", "imap"}, {"INFO {", "", "nats"},
		{"\x05\x00\x00\x00\x0a8.0\x00", "", "mysql"}, {"\x05\x00\x00\x01\x0a8.0\x00", "", ""},
	} {
		if got := recognise([]byte(c.b), c.expect); got != c.want {
			t.Errorf("recognise(%q, %q) = %q, want %q", c.b, c.expect, got, c.want)
		}
	}
}

func TestExpected(t *testing.T) {
	for _, c := range []struct {
		scheme string
		port   uint16
		want   string
		https  bool
	}{
		{"", 443, "tls", true}, {"", 6380, "tls", false}, {"", 80, "http", false}, {"", 5432, "postgres", false},
		{"wss", 80, "tls", true}, {"http", 443, "http", false}, {"rediss", 6379, "tls", false}, {"REDIS", 1, "redis", false},
		{"", 12345, "", false}, {"x", 12345, "", false}, {"x", 22, "ssh", false}, {"ws", 9, "http", false},
	} {
		if p := expected(Options{Scheme: c.scheme, Port: c.port}); p.name != c.want || p.https != c.https {
			t.Errorf("%q, %d: %q, %v", c.scheme, c.port, p.name, p.https)
		}
	}
}

func TestHostHeader(t *testing.T) {
	for _, c := range []struct {
		host string
		port uint16
		want string
	}{
		{"web.example", 80, "web.example"}, {"web.example", 8080, "web.example:8080"},
		{"192.0.2.1", 81, "192.0.2.1:81"}, {"2001:db8::1", 80, "[2001:db8::1]"}, {"2001:db8::1", 81, "[2001:db8::1]:81"},
		{"fe80::1%eth0", 81, "[fe80::1]:81"}, {"a\r\nX: y", 80, "localhost"}, {"", 80, "localhost"},
	} {
		if got := hostHeader(Options{Host: c.host, Port: c.port}, 80); got != c.want {
			t.Errorf("%q, %d: %q, want %q", c.host, c.port, got, c.want)
		}
	}
}

func TestEscape(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"a\"b\\c", 99, `a\"b\\c`}, {"é€", 1, "é"}, {"a\x1bb", 4, "a"}, {"\xff\u202e", 99, `\xff\u202e`}, {"", 9, ""},
	} {
		if got := escape([]byte(c.in), c.limit); got != c.want {
			t.Errorf("escape(%q, %d) = %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}

func FuzzRecognise(f *testing.F) {
	for _, s := range []string{"", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", "HTTP/1.1 99", "HTTP/ 200", "\x16\x03\x01\x00\x05",
		"220 x\r\n", "E\x00\x00\x00\x40S", "\x04\x00\x00\x00\x0a", "\x04\x00\x00\x00\xff\x00\x04x", "+PONG", "\xff\xfb\x01", "\x01\x00\x00\x00\x00\x00\x10\x00\x0a\x00\x0a"} {
		for _, expect := range []string{"", protoPostgres, protoRedis, protoHTTP} {
			f.Add([]byte(s), expect)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, expect string) {
		before := bytes.Clone(b)
		got := recognise(b, expect)
		if complete(b, expect) && got == "" {
			t.Error("complete, and not known")
		}
		h := parseHTTP(b)
		if h != nil && (h.Status < 100 || h.Status > 999 || !bytes.HasPrefix(b, []byte("HTTP/")) || !clean(h.Server, 100)) {
			t.Errorf("%+v", h)
		}
		if e := escape(b, 200); !clean(e, 200) {
			t.Errorf("escaped %q", e)
		}
		if !bytes.Equal(b, before) {
			t.Error("the input was changed")
		}
	})
}

// clean says that s is fit for a report.
func clean(s string, limit int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= limit &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 })
}
