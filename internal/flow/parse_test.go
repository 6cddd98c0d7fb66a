package flow

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"unicode"
)

func TestParseTarget(t *testing.T) {
	label := strings.Repeat("a", 63)
	long := strings.Join([]string{label, label, label, label[:61]}, ".")
	tests := []struct {
		in, host string
		port     uint16
		scheme   string
		input    string // "" means as typed
	}{
		{in: "db:5432", host: "db", port: 5432},
		{in: "db 5432", host: "db", port: 5432},
		{in: " db:5432\n", host: "db", port: 5432, input: "db:5432"},
		{in: "DB.Example:1", host: "db.example", port: 1},
		{in: "db:65535", host: "db", port: 65535},
		{in: "db:0080", host: "db", port: 80},
		{in: "my_db-1.example:80", host: "my_db-1.example", port: 80},
		{in: "db.example.:80", host: "db.example.", port: 80},
		{in: "db:HTTPS", host: "db", port: 443, scheme: "https"},
		{in: "db redis", host: "db", port: 6379, scheme: "redis"},
		{in: "192.0.2.7:80", host: "192.0.2.7", port: 80},
		{in: "[2001:DB8::1]:80", host: "2001:db8::1", port: 80},
		{in: "2001:db8::1 80", host: "2001:db8::1", port: 80},
		{in: "[2001:db8::1] ssh", host: "2001:db8::1", port: 22, scheme: "ssh"},
		{in: "[::ffff:192.0.2.7]:80", host: "192.0.2.7", port: 80},
		{in: "[fe80::1%eth0]:80", host: "fe80::1", port: 80},
		{in: "fe80::1%eth0 80", host: "fe80::1", port: 80},
		{in: "http://[fe80::1%25eth0]/", host: "fe80::1", port: 80, scheme: "http"},
		{in: "http://[fe80::1%eth0]:81/", host: "fe80::1", port: 81, scheme: "http"},
		{in: "bücher.example:80", host: "xn--bcher-kva.example", port: 80},
		{in: "BÜCHER。example:80", host: "xn--bcher-kva.example", port: 80},
		{in: "https://例え.example/x", host: "xn--r8jz45g.example", port: 443, scheme: "https"},
		{in: "１９２.0.2.7:80", host: "192.0.2.7", port: 80},
		{in: long + ":80", host: long, port: 80},
		{in: long + ".:80", host: long + ".", port: 80},
		{in: "HTTP://Example.example", host: "example.example", port: 80, scheme: "http"},
		{in: "https://h:8443/x", host: "h", port: 8443, scheme: "https"},
		{in: "https://h:/", host: "h", port: 443, scheme: "https"},
		{in: "https://h?x", host: "h", port: 443, scheme: "https", input: "https://h?***"},
		{in: "https://h/a?token=x#y", host: "h", port: 443, scheme: "https", input: "https://h/a?***"},
		{in: "https://h:8080/@scope/x", host: "h", port: 8080, scheme: "https", input: "https://h:8080/***"},
		{in: "tcp://h:1", host: "h", port: 1, scheme: "tcp"},
		{in: "foo://h:7", host: "h", port: 7, scheme: "foo"},
		{in: "git+ssh://git@h/x", host: "h", port: 22, scheme: "ssh", input: "git+ssh://***@h/x"},
		{in: "postgresql+asyncpg://h/x", host: "h", port: 5432, scheme: "postgresql"},
		{in: "postgres://u:p@ss@h/db", host: "h", port: 5432, scheme: "postgres", input: "postgres://***@h/db"},
		{in: "postgres://u:p@[2001:db8::1]:5433/db", host: "2001:db8::1", port: 5433, scheme: "postgres", input: "postgres://***@[2001:db8::1]:5433/db"},
		{in: "u:p@h:22", host: "h", port: 22, input: "***@h:22"},
		{in: "http://h/\u202ex", host: "h", port: 80, scheme: "http", input: `http://h/\u202ex`},
	}
	for scheme, port := range map[string]uint16{
		"http": 80, "https": 443, "ws": 80, "wss": 443, "postgres": 5432, "postgresql": 5432, "mysql": 3306,
		"redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671, "mongodb": 27017, "ssh": 22, "smtp": 25,
		"smtps": 465, "imap": 143, "imaps": 993, "ldap": 389, "ldaps": 636, "ftp": 21, "nats": 4222,
		"kafka": 9092, "mqtt": 1883, "mqtts": 8883,
	} {
		tests = append(tests, struct {
			in, host string
			port     uint16
			scheme   string
			input    string
		}{in: scheme + "://h", host: "h", port: port, scheme: scheme})
	}
	for _, tt := range tests {
		got, err := ParseTarget(tt.in)
		if err != nil {
			t.Errorf("ParseTarget(%q): %v", tt.in, err)
			continue
		}
		want := Target{Input: tt.in, Host: tt.host, Port: tt.port, Scheme: tt.scheme, Addr: got.Addr}
		if tt.input != "" {
			want.Input = tt.input
		}
		if got != want {
			t.Errorf("ParseTarget(%q)\n got %+v\nwant %+v", tt.in, got, want)
		}
		wantAddr, _ := netip.ParseAddr(tt.host)
		if got.Addr.WithZone("") != wantAddr {
			t.Errorf("ParseTarget(%q): Addr %v, want %v", tt.in, got.Addr, wantAddr)
		}
		if scoped := strings.Contains(tt.in, "%"); scoped && got.Addr.Zone() != "eth0" {
			t.Errorf("ParseTarget(%q): scope %q, want eth0", tt.in, got.Addr.Zone())
		}
	}
}

func TestParseTargetErrors(t *testing.T) {
	tests := []struct{ in, problem, hint string }{
		{"", "the host is empty", ""},
		{":80", "the host is empty", "localhost"},
		{" 80", "number without a host", "HOST:80"},
		{"db", "it has no port", "db:443"},
		{"db:", "the port is empty", "1 to 65535"},
		{"db:0", "port 0", "1 to 65535"},
		{"db:65536", "port 65536 is larger", "1 to 65535"},
		{"db:99999999999999999999", "is larger than 65535", "1 to 65535"},
		{"db:-1", `port "-1" is neither`, "1 to 65535"},
		{"db:+80", `port "+80" is neither`, "1 to 65535"},
		{"db:http5", `port "http5" is neither a number nor a known service`, "https"},
		{"db http5", `port "http5" is neither`, "https"},
		{"db:80/x", `port "80/x" is neither`, ""},
		{"db:80:90", "several colons", "HOST:PORT"},
		{"a b c", "contains ' '", ""},
		{"2001:db8::1:80", "it may be 2001:db8::1 port 80, or the address 2001:db8::1:80 without a port", "[2001:db8::1]:80 or [2001:db8::1:80]:PORT"},
		{"2001:db8::1", "without brackets and port", "[2001:db8::1]:PORT"},
		{"2001:db8:1:2:3:4:5:6:80", "needs brackets", "[2001:db8:1:2:3:4:5:6]:80"},
		{"fe80::1%eth0:80", "needs brackets", "[fe80::1%eth0]:80"},
		{"[2001:db8::1", "not closed", "[ADDRESS]:PORT"},
		{"[2001:db8::1]80", "after ]", "[ADDRESS]:PORT"},
		{"[2001:db8::1]", "it has no port", "[2001:db8::1]:443"},
		{"[2001:db8::g]:80", "is no IPv6 address", ""},
		{"[]:80", "empty", ""},
		{"[db]:80", "brackets are for IPv6", "db without brackets"},
		{"[192.0.2.7]:80", "brackets are for IPv6", "192.0.2.7"},
		{"[2001:db8::1%eth0]:80", "means nothing on 2001:db8::1", "leave the scope out"},
		{"192.0.2.7%eth0:80", "means nothing on 192.0.2.7", "leave the scope out"},
		{"[::ffff:192.0.2.7%eth0]:80", "means nothing", ""},
		{"[fe80::1%]:80", "names no interface", "%eth0"},
		{"[fe80::1%a/b]:80", "names no interface", "%eth0"},
		{"[fe80::1]:80", "needs the interface", "[fe80::1%eth0]"},
		{"224.0.0.1:80", "224.0.0.1 is a multicast address", "one host"},
		{"[ff02::1%eth0]:80", "ff02::1 is a multicast address", "one host"},
		{"255.255.255.255:80", "is the broadcast address", "one host"},
		{"192.0.2.256:80", "no IPv4 address", "0 to 255"},
		{"192.0.2.07:80", "no IPv4 address", "leading zeros"},
		{"127.1:80", "no IPv4 address", ""},
		{"0x7f000001:80", "no IPv4 address", ""},
		{"192.0.2.7.:80", "no IPv4 address", ""},
		{"a..b:80", "empty label", ""},
		{".a:80", "empty label", ""},
		{".:80", "only a dot", ""},
		{"-a:80", "starts with a hyphen", ""},
		{"a*b:80", `contains '*'`, ""},
		{"a b:80", "contains ' '", ""},
		{strings.Repeat("a", 64) + ":80", "64 bytes", ""},
		{strings.Repeat("a.", 127) + "a:80", "255 bytes", "253"},
		{strings.Repeat("ü", 1<<20) + ":80", "253", ""},
		{strings.Repeat("ü", 60) + ":80", "bytes", ""},
		{"a\x1b[31m:80", `'\x1b'`, ""},
		{"a\u0085:80", `'\u0085'`, ""},
		{"a\xff:80", "UTF-8", ""},
		{"a\u2260\u202e.example:80", "international name", ""},
		{"http://", "the URL has no host", "http://HOST:PORT"},
		{"http:///x", "the URL has no host", ""},
		{"http://:80/", "the URL has no host", ""},
		{"http://u:p@/x", "the URL has no host", ""},
		{"postgres:///db", "the URL has no host", ""},
		{"foo://h", `"foo" says no port`, "foo://h:PORT"},
		{"tcp://h", `"tcp" says no port`, "tcp://h:PORT"},
		{"1x://h:80", "no URL scheme", ""},
		{"http://h:65536/", "larger than 65535", ""},
		{"http://2001:db8::1/", "without brackets", "[2001:db8::1]:PORT"},
		{"mongodb://a:1,b:2/x", "several hosts", ""},
		{"mongodb+srv://h/x", "in DNS", "_mongodb._tcp.h"},
		{"http://h%20x/", "contains '%'", ""},
	}
	for _, tt := range tests {
		got, err := ParseTarget(tt.in)
		var te *TargetError
		if !errors.As(err, &te) {
			t.Errorf("ParseTarget(%q) = %+v, %v; want a *TargetError", tt.in, got, err)
			continue
		}
		if !strings.Contains(te.Problem, tt.problem) && !strings.Contains(te.Hint, tt.problem) {
			t.Errorf("ParseTarget(%q): problem %q, want %q", tt.in, te.Problem, tt.problem)
		}
		if all := te.Error(); !strings.Contains(all, tt.hint) || !strings.HasSuffix(all, te.Hint) {
			t.Errorf("ParseTarget(%q): %q, want hint %q", tt.in, all, tt.hint)
		}
		checkLine(t, te)
	}
}

// checkLine holds an error to one bounded printable line.
func checkLine(t *testing.T, e *TargetError) {
	t.Helper()
	s := e.Error()
	if e.Problem == "" || e.Hint == "" || len(s) > 2500 ||
		strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
		t.Errorf("not one plain line with problem and hint: %q (%d bytes)", s, len(s))
	}
}

func TestPasswordsStaySecret(t *testing.T) {
	for _, in := range []string{
		"postgres://u:SECRET@h/db",
		"postgres://u:SECRET@h:http5/db",
		"postgres://u:x/SECRET@h/db",
		"postgres://u:SECRET/x@h/db",
		"postgres://u:SECRET?x@h/db",
		"postgres://u:x@y:SECRET/z@h/db",
		"postgres://u:SECRET#x@h:0/db",
		"postgres://u:SECRET@[h]/db",
		"postgres://u:SECRET@/db",
		"https://h/x?token=SECRET",
		"https://h:0/x?token=SECRET",
		"u:SECRET@h",
		"u:SECRET@h:0",
		"u:SECRET://x@h:0",
		"u:SECRET\x01@h:80",
	} {
		got, err := ParseTarget(in)
		if s := fmt.Sprintf("%+v %v", got, err); strings.Contains(s, "SECRET") {
			t.Errorf("ParseTarget(%q) shows the secret: %s", in, s)
		}
	}
}

func TestParseTargets(t *testing.T) {
	tests := []struct {
		args []string
		want string // host:port of each
		err  string
	}{
		{args: []string{"db", "5432"}, want: "db:5432"},
		{args: []string{"db:1", "b:2"}, want: "db:1 b:2"},
		{args: []string{"db", "5432", "http://c", "d", "ssh", "::1", "22"}, want: "db:5432 c:80 d:22 [::1]:22"},
		{args: []string{"[::1]", "80"}, want: "[::1]:80"},
		{args: nil, err: "no target given"},
		{args: []string{"db"}, err: "no port"},
		{args: []string{"db", "b:80"}, err: `"db": it has no port`},
		{args: []string{"db:80", "443"}, err: "number without a host"},
		{args: []string{"http://h", "443"}, err: "number without a host"},
		{args: []string{"db", "http5"}, err: `"db http5": port "http5" is neither`},
		{args: []string{"db", "0"}, err: "port 0"},
		{args: []string{"", "80"}, err: "the host is empty"},
		{args: []string{"db", ""}, err: "it has no port"},
		{args: []string{"2001:db8::1:80", "b:80"}, err: "it may be"},
	}
	for _, tt := range tests {
		got, err := ParseTargets(tt.args)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) || got != nil {
				t.Errorf("ParseTargets(%q) = %v, %v; want error %q", tt.args, got, err, tt.err)
			}
			continue
		}
		var all []string
		for _, g := range got {
			all = append(all, net.JoinHostPort(g.Host, fmt.Sprint(g.Port)))
		}
		if err != nil || strings.Join(all, " ") != tt.want {
			t.Errorf("ParseTargets(%q) = %v, %v; want %s", tt.args, all, err, tt.want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{
		"db:5432", "db 5432", "[2001:db8::1]:80", "[fe80::1%eth0]:80", "2001:db8::1:80", "https://u:p@h:8/x?y#z",
		"bücher.example.:http", "192.0.2.7:80", "0x7f.1:1", "http://[fe80::1%25eth0]", "a\x00b:1", "[::ffff:192.0.2.1]:1",
		"mongodb://a,b", "@:@", "://", "[", "]:1", "%:1", "ß。..:65536", "xn--a:1", "postgresql+asyncpg://x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTarget(s)
		if err != nil {
			var te *TargetError
			if !errors.As(err, &te) || !reflect.DeepEqual(got, Target{}) {
				t.Fatalf("%q: %+v, %T", s, got, err)
			}
			checkLine(t, te)
			return
		}
		if got.Port == 0 {
			t.Errorf("%q: port 0", s)
		}
		host := got.Host
		if got.Addr.IsValid() {
			if host != got.Addr.WithZone("").String() {
				t.Errorf("%q: host %q of address %v", s, host, got.Addr)
			}
			host = got.Addr.String()
		} else if e := checkName(host); e != nil || host != strings.ToLower(host) {
			t.Errorf("%q: invalid host %q: %v", s, host, e)
		}
		again, err := ParseTarget(net.JoinHostPort(host, fmt.Sprint(got.Port)))
		if err != nil || again.Host != got.Host || again.Addr != got.Addr || again.Port != got.Port {
			t.Errorf("%q gives %+v, and that again %+v, %v", s, got, again, err)
		}
	})
}
