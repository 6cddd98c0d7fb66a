package procinfo

import (
	"path"
	"regexp"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/visible"
)

const (
	// masked stands where a secret was.
	masked = "***"
	// maxArguments bounds the bytes that Command looks at.
	maxArguments = 4 * maxCommand
)

// Command makes one line of the arguments of a process, program first, for
// people to read: in printable ASCII, at most 512 characters, and with *** in
// place of secrets. These are what follows a name like password, token or key
// (--password=X, --password X, PGPASSWORD=X, "password": "X"), user and
// password in a URL, and the password of programs known to take it with a short
// option (mysql -pX). It masks too much rather than too little; what it cannot
// know is a secret under a name of its own.
func Command(args []string) string {
	var line strings.Builder
	var short *regexp.Regexp // how the program takes a password
	left := maxArguments
	secret := false // the argument before was an option that takes a secret
	for i, a := range args {
		if i > 0 {
			line.WriteByte(' ')
		}
		if left <= 0 {
			line.WriteString("...")
			break
		}
		cut := len(a) > left
		a = a[:min(len(a), left)]
		left -= len(a) + 1
		// An option in the place of a secret may have one of its own behind it.
		was := secret
		secret = strings.HasPrefix(a, "-") && !strings.ContainsAny(a, "=: \t\n") && isSecret(a)
		text, takes := mask(a, short)
		if was {
			text = masked
		}
		secret = secret || takes
		line.WriteString(text)
		if cut {
			line.WriteString("...")
		}
		if r := shortOption(a); r != nil {
			short = r
		}
	}
	return visible.Text(line.String(), maxCommand)
}

// mask replaces the secrets within one argument, and says whether the next is
// one, by the short option that the program takes it with.
func mask(arg string, short *regexp.Regexp) (text string, takes bool) {
	if short != nil {
		if m := short.FindStringSubmatch(arg); m != nil {
			if m[2] == "" {
				return arg, true
			}
			return m[1] + masked, false
		}
	}
	// Where the argument as a whole is NAME=VALUE, all the rest is the value.
	if i := strings.IndexAny(arg, "=: \t\n\"'"); i > 0 && (arg[i] == '=' || arg[i] == ':') && isSecret(arg[:i]) {
		if i+1 == len(arg) {
			return arg, false
		}
		return arg[:i+1] + masked, false
	}
	for _, name := range []*regexp.Regexp{assignment, option, bearer} {
		arg = maskAfter(name, arg)
	}
	return userinfo.ReplaceAllStringFunc(arg, maskUserinfo), false
}

// Names of secrets in running text, a script for the shell or a line of JSON,
// up to where the value starts. The first group is the name.
var (
	assignment = regexp.MustCompile(`([\w.-]+)\\*["']?\s*[=:]\s*`)
	option     = regexp.MustCompile(`(--?[\w.-]+)\s+`)
	bearer     = regexp.MustCompile(`(?i)\b(bearer|basic)\s+`)
)

// value is a word of a shell, quoted or not. An open quote ends with the text.
// In a header the scheme of RFC 9110 section 11.4 goes before it.
var value = regexp.MustCompile(`(?is)^(?:(?:bearer|basic|digest|token)\s+)?` +
	`(?:\\*"(?:[^"\\]|\\.)*(?:"|\\?$)|\\*'(?:[^'\\]|\\.)*(?:'|\\?$)|\S+)`)

// maskAfter masks the values of names that secrets go by.
func maskAfter(name *regexp.Regexp, text string) string {
	var b strings.Builder
	for {
		m := name.FindStringSubmatchIndex(text)
		if m == nil {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:m[1]])
		word := text[m[2]:m[3]]
		text = text[m[1]:]
		if v := value.FindString(text); v != "" && (name == bearer || isSecret(word)) {
			b.WriteString(masked)
			text = text[len(v):]
		}
	}
}

// userinfo finds "user:password@" with what is before it in the word. It goes up
// to the last "@", since a password may hold one, and a "/" too where that was
// not encoded as it should be, RFC 3986 section 3.2.1.
var userinfo = regexp.MustCompile(`\S*@`)

func maskUserinfo(word string) string {
	keep := 0
	switch i := strings.Index(word, "://"); {
	case i >= 0:
		keep = i + len("://")
	case !strings.Contains(word, ":"):
		return word // user@host
	default: // user:password@tcp(host:port), perhaps behind "name="
		keep = len(named.FindString(word))
	}
	return word[:keep] + masked + "@"
}

var named = regexp.MustCompile(`^[\w.-]+=`)

// isSecret says that a name, of an option, a variable or a header, is one that
// secrets go by.
func isSecret(name string) bool {
	name = strings.ToLower(name)
	for _, w := range []string{
		"password", "passwd", "passphrase", "requirepass", "secret", "token", "credential",
		"apikey", "authorization", "cookie", "masterauth",
	} {
		if strings.Contains(name, w) {
			return true
		}
	}
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '-' || r == '_' || r == '.' }) {
		switch part {
		case "pwd", "pw", "psk", "passin", "passout", "auth":
			return true
		}
		if strings.HasSuffix(part, "pass") || strings.HasSuffix(part, "key") {
			return true
		}
	}
	return false
}

// How programs take a password by an option that does not say so. The second
// group is the password; where it is empty the next argument is.
var (
	mysqlPassword = regexp.MustCompile(`(?s)^(-p)(.+)$`) // -p alone asks for it
	sshPassword   = regexp.MustCompile(`(?s)^(-p)(.*)$`)
	redisPassword = regexp.MustCompile(`(?s)^(-a)(.*)$`)
	curlUser      = regexp.MustCompile(`(?s)^(-u|-U|--(?:proxy-)?user(?:=|$))(.*)$`)
)

// shortOption is the way of the program that an argument names, nil if it does
// not name one of these.
func shortOption(arg string) *regexp.Regexp {
	switch name := path.Base(arg); {
	case name == "mysqld", strings.HasPrefix(name, "mysqld_"), name == "mariadbd", strings.HasPrefix(name, "mariadbd-"):
		return nil // there -p is something else, or nothing
	case strings.HasPrefix(name, "mysql"), strings.HasPrefix(name, "mariadb"):
		return mysqlPassword
	case name == "sshpass":
		return sshPassword
	case name == "redis-cli", name == "valkey-cli":
		return redisPassword
	case name == "curl":
		return curlUser
	}
	return nil
}
