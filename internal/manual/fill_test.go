package manual

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"unicode"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

var sample = Vars{Host: "db.example", Addr: "192.0.2.7", Port: "5432", Client: "192.0.2.2", Interface: "eth0", Gateway: "192.0.2.1",
	Router: "198.51.100.1", Service: "postgresql.service", Server: "192.0.2.53", Path: "/usr/bin/db"}

func TestFill(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		v              Vars
	}{
		{"plain", "tcpwhy {{.Host}}:{{.Port}}", "tcpwhy db.example:5432", sample},
		{"nothing", "{{.Host}} {{.Addr}} {{.Port}} {{.Client}} {{.Interface}} {{.Gateway}} {{.Router}} {{.Service}} {{.Server}} {{.Path}}",
			"<host> <address> <port> <client> <interface> <gateway> <router> <service> <name-server> <path>", Vars{}},
		{"all", "{{.Host}} {{.Addr}} {{.Port}} {{.Client}} {{.Interface}} {{.Gateway}} {{.Router}} {{.Service}} {{.Server}} {{.Path}}",
			"db.example 192.0.2.7 5432 192.0.2.2 eth0 192.0.2.1 198.51.100.1 postgresql.service 192.0.2.53 /usr/bin/db", sample},
		{"no placeholder", "ss -ltnp", "ss -ltnp", sample},
		{"unknown", "a {{.User}} b {{", "a <value> b <value>", sample},
		{"quoted", "systemctl start {{.Service}}", `systemctl start 'a b@c'`, Vars{Service: "a b@c"}},
		{"quote in it", "x {{.Host}} y", `x 'a'\''b' y`, Vars{Host: "a'b"}},
		{"inside quotes", "x 'host {{.Host}}' y", `x 'host a'\''; reboot' y`, Vars{Host: "a'; reboot"}},
		{"behind quotes", "x 'a' {{.Host}} 'b' {{.Host}}", `x 'a' '$(reboot)' 'b' '$(reboot)'`, Vars{Host: "$(reboot)"}},
		{"placeholder in a value", "x {{.Host}}", "x '{{.Port}}'", Vars{Host: "{{.Port}}", Port: "1"}},
		{"IPv6 and port", "tcpwhy {{.Host}}:{{.Port}}", "tcpwhy '[2001:db8::1]':443", Vars{Host: "2001:db8::1", Port: "443"}},
		{"IPv6 alone", "ip route get {{.Addr}}", "ip route get 2001:db8::1", Vars{Addr: "2001:db8::1"}},
		{"IPv6 and zone", "dig @{{.Server}} {{.Host}}", "dig @'fe80::1%eth0' db.example", Vars{Server: "fe80::1%eth0", Host: "db.example"}},
		{"hostile zone", "dig @{{.Server}}", "dig @<name-server>", Vars{Server: "fe80::1%a;b"}},
		{"port no number", "x :{{.Port}}", "x :<port>", Vars{Port: "80; reboot"}},
		{"port out of range", "x {{.Port}}", "x <port>", Vars{Port: "65536"}},
		{"port zero", "x {{.Port}}", "x <port>", Vars{Port: "0"}},
		{"address a name", "x {{.Addr}}", "x <address>", Vars{Addr: "db.example"}},
		{"option", "systemctl start {{.Service}}", "systemctl start <service>", Vars{Service: "--force"}},
		{"option of dig", "dig {{.Host}}", "dig <host>", Vars{Host: "@192.0.2.1"}},
		{"escape sequence", "x {{.Host}}", "x <host>", Vars{Host: "a\x1b[2Jb"}},
		{"newline", "x {{.Host}}", "x <host>", Vars{Host: "a\nreboot"}},
		{"text direction", "x {{.Host}}", "x <host>", Vars{Host: "a\u202eb"}},
		{"bad UTF-8", "x {{.Host}}", "x <host>", Vars{Host: "a\xff"}},
		{"too long", "x {{.Host}}", "x <host>", Vars{Host: strings.Repeat("a", 256)}},
		{"letters of the world", "x {{.Host}}", "x 'bücher.example'", Vars{Host: "bücher.example"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (Item{Command: c.in}).Fill(c.v).Command; got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestFillPowerShell(t *testing.T) {
	for _, c := range []struct{ in, service, want string }{
		{"Start-Service -Name {{.Service}}", "w3svc", "Start-Service -Name w3svc"},
		{"Start-Service -Name {{.Service}}", "a b", "Start-Service -Name 'a b'"},
		{"Start-Service -Name {{.Service}}", "a'; reboot; '", "Start-Service -Name 'a''; reboot; '''"},
		{"Start-Service -Name 'x {{.Service}}'", "a'b", "Start-Service -Name 'x a''b'"},
		{"Start-Service -Name {{.Service}}", "a\u2019; reboot", "Start-Service -Name 'a\u2019\u2019; reboot'"},
		{"Start-Service -Name {{.Service}}", "a\" -b", "Start-Service -Name <service>"},
		{"Start-Service -Name {{.Service}}", "$(reboot)", "Start-Service -Name '$(reboot)'"},
	} {
		it := Item{OS: "windows", Command: c.in, UndoCommand: c.in}.Fill(Vars{Service: c.service})
		if it.Command != c.want || it.UndoCommand != c.want {
			t.Errorf("got %s and %s, want %s", it.Command, it.UndoCommand, c.want)
		}
	}
}

func FuzzFillPowerShell(f *testing.F) {
	for _, s := range []string{"", "w3svc", "a'b", "'; reboot; '", "\u2019; reboot; \u2018", "\u201a\u201b", "$(reboot)", "a\"b", "a b", "`a", "{{.Port}}", "&", "\u201c"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		v := Vars{Host: a, Service: b, Path: a, Interface: b, Port: a, Addr: b}
		got := Item{OS: "windows", Command: hostileTemplate}.Fill(v)
		words, err := powerShellWords(got.Command)
		if err != nil {
			t.Fatalf("%q: %v", got.Command, err)
		}
		for _, s := range []*string{&v.Host, &v.Service, &v.Path, &v.Interface} {
			if strings.Contains(*s, `"`) {
				*s = ""
			}
		}
		if want := wantWords(v); strings.Join(words, "\x00") != strings.Join(want, "\x00") {
			t.Fatalf("PowerShell sees %q\nwant            %q", words, want)
		}
	})
}

// powerShellWords splits a line as PowerShell does (about_Quoting_Rules) and
// fails on every character that means something to it outside of quotes, but for
// the brackets of a word such as <host>.
func powerShellWords(s string) (words []string, err error) {
	var w strings.Builder
	inWord, quoted := false, false
	end := func() {
		if inWord {
			words = append(words, w.String())
		}
		w.Reset()
		inWord = false
	}
	rs := []rune(s)
	for i := 0; i < len(rs); i++ {
		r := rs[i]
		quote := strings.ContainsRune("'\u2018\u2019\u201a\u201b", r)
		switch {
		case quoted && quote && i+1 < len(rs) && strings.ContainsRune("'\u2018\u2019\u201a\u201b", rs[i+1]):
			w.WriteRune(r) // a doubled quote stands for itself
			i++
		case quote:
			quoted, inWord = !quoted, true
		case quoted:
			w.WriteRune(r)
		case r == ' ':
			end()
		case r < 128 && plain(string(r)) || r == '<' || r == '>':
			w.WriteRune(r)
			inWord = true
		default:
			return nil, errors.New("outside quotes: " + string(r))
		}
	}
	if quoted {
		return nil, errors.New("an open quote")
	}
	end()
	return words, nil
}

func TestFillText(t *testing.T) {
	for _, it := range []Item{{Healthy: "{{.Port}}"}, {Sick: "{{.Port}}"}, {Changes: "{{.Port}}"}, {Undo: "{{.Port}}"}} {
		if got := it.Fill(sample); got.Healthy+got.Sick+got.Changes+got.Undo != sample.Port {
			t.Errorf("got %+v", got)
		}
	}
	if got := (Shown{"curl", "to {{.Host}}"}).Fill(Vars{Host: "it's"}); got.Text != "to it's" {
		t.Errorf("got %q", got.Text)
	}
	in := Item{OS: "linux", Where: "host", Text: "let {{.Client}} in: {{.Router}}: {{.Service}} won't"}
	got := in.Fill(Vars{Client: "2001:db8::1", Router: "fe80::1%eth0", Service: "it's $HOME"})
	if want := "let 2001:db8::1 in: fe80::1%eth0: it's $HOME won't"; got.Text != want {
		t.Errorf("got  %s\nwant %s", got.Text, want)
	}
}

const hostileTemplate = "printf {{.Host}} 'a {{.Host}} b' :{{.Service}}: '{{.Path}}' {{.Interface}} {{.Port}} {{.Addr}} end"

// wantWords are the words that a shell must see in hostileTemplate.
func wantWords(v Vars) []string {
	or := func(s, word string) string {
		if s == "" {
			return word
		}
		return s
	}
	host := or(name(v.Host), "<host>")
	return []string{"printf", host, "a " + host + " b", ":" + or(name(v.Service), "<service>") + ":",
		or(printable(v.Path, 4096), "<path>"), or(name(v.Interface), "<interface>"),
		or(port(v.Port), "<port>"), or(address(v.Addr), "<address>"), "end"}
}

func FuzzFill(f *testing.F) {
	for _, s := range []string{"", "db.example", "a'b", "'; reboot; '", "$(reboot)", "`reboot`", "a\nb", "a\\'b", "-rf", "&& reboot", "a b\tc",
		"{{.Port}}", "}}{{", "*?[]~", "!!", "#", "2001:db8::1", "fe80::1%'x'", "\xff\xfe", "\u202e", "80", "<host>"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		v := Vars{Host: a, Service: b, Path: a, Interface: b, Port: a, Addr: b}
		got := Item{Text: hostileTemplate, Command: hostileTemplate}.Fill(v)
		words, err := shellWords(got.Command)
		if err != nil {
			t.Fatalf("%q: %v", got.Command, err)
		}
		want := wantWords(v)
		if strings.Join(words, "\x00") != strings.Join(want, "\x00") {
			t.Fatalf("a shell sees %q\nwant       %q", words, want)
		}
		if i := strings.IndexFunc(got.Text+got.Command, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }); i >= 0 &&
			!strings.ContainsRune(a+b, unicode.ReplacementChar) {
			t.Fatalf("a character that cannot be printed in %q", got.Text+got.Command)
		}
	})
}

// shellWords splits a line as a POSIX shell does and fails on every character
// that means something to a shell outside single quotes, but for the brackets
// of a word such as <host>.
func shellWords(s string) (words []string, err error) {
	var w strings.Builder
	inWord, quoted := false, false
	end := func() {
		if inWord {
			words = append(words, w.String())
		}
		w.Reset()
		inWord = false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quoted && c == '\'':
			quoted = false
		case quoted:
			w.WriteByte(c)
		case c == '\'':
			quoted, inWord = true, true
		case c == '\\' && i+1 < len(s) && s[i+1] == '\'':
			i++
			w.WriteByte('\'')
			inWord = true
		case c == ' ':
			end()
		case plain(string(c)) || c == '<' || c == '>':
			w.WriteByte(c)
			inWord = true
		default:
			return nil, errors.New("outside quotes: " + string(c))
		}
	}
	if quoted {
		return nil, errors.New("an open quote")
	}
	end()
	return words, nil
}

// A real shell judges the quoting, too.
func TestFillInARealShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		nettest.Unsupported(t, "sh")
	}
	for _, s := range []string{"a'b", "'; echo evil; '", "$(echo evil)", "`echo evil`", "a;b", "a|b", "a&b", "a>b", "*", "~", "#a", "$HOME", `a\b`, `\'`, "!x", "(x)", "{{.Port}}", "ü"} {
		line := Item{Command: `printf '%s,' {{.Host}} 'x{{.Host}}y' {{.Service}}`}.Fill(Vars{Host: s, Service: s}).Command
		out, err := exec.CommandContext(t.Context(), sh, "-c", line).CombinedOutput()
		if want := s + ",x" + s + "y," + s + ","; err != nil || string(out) != want {
			t.Errorf("%s gives %q, %v, want %q", line, out, err, want)
		}
	}
}
