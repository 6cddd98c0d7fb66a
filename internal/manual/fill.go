package manual

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Vars are the values of the placeholders {{.Host}}, {{.Addr}} and so on.
//
// Values come from the network and are not trusted. One that cannot be what it
// stands for (a port that is no number, an address that is none, a name with
// control characters or one that a program would take for an option) counts as
// missing. A missing value leaves a word such as <port>.
type Vars struct {
	Host      string // the target as typed
	Addr      string // the target's address
	Port      string // the target's port, 1 to 65535
	Client    string // this host's address
	Interface string // the interface here that leads to the target
	Gateway   string // the address of the next hop here
	Router    string // the address of the hop that speaks
	Service   string // the unit that should serve the port
	Server    string // the address of the name server
	Path      string // the file of the service's program
}

// Fill returns the item with its placeholders replaced. In a command a value is
// quoted for a POSIX shell, or for PowerShell on Windows, unless it is plain,
// and an IPv6 address before a colon and a port is put in brackets.
func (it Item) Fill(v Vars) Item {
	sh := shellOf(it.OS)
	for _, s := range []*string{&it.Text, &it.Healthy, &it.Sick, &it.Changes, &it.Undo} {
		*s = v.fill(*s, noShell)
	}
	it.Command = v.fill(it.Command, sh)
	it.UndoCommand = v.fill(it.UndoCommand, sh)
	return it
}

// shell says for which shell values are quoted.
type shell int

const (
	noShell shell = iota
	posix
	powerShell
)

func shellOf(os string) shell {
	if os == "windows" {
		return powerShell
	}
	return posix
}

func (v *Vars) fill(s string, sh shell) string {
	var b strings.Builder
	quoted := false // inside '...' of the command
	for {
		before, rest, ok := strings.Cut(s, "{{")
		b.WriteString(before)
		quoted = quoted != (strings.Count(before, "'")%2 == 1)
		if !ok {
			return b.String()
		}
		var key string
		key, s, _ = strings.Cut(rest, "}}")
		value, word := v.lookup(key)
		if value == "" || sh == powerShell && strings.Contains(value, `"`) {
			// PowerShell hands a double quote to a program in ways that split words.
			value = word
		} else {
			if len(s) > 1 && s[0] == ':' && s[1] != ' ' && isIPv6(value) {
				value = "[" + value + "]"
			}
			if sh != noShell {
				value = sh.quote(value, quoted)
			}
		}
		b.WriteString(value)
	}
}

// lookup returns the value of a placeholder, empty if there is none that can be
// used, and the word that stands for a missing one.
func (v *Vars) lookup(key string) (value, word string) {
	switch key {
	case ".Host":
		return name(v.Host), "<host>"
	case ".Addr":
		return address(v.Addr), "<address>"
	case ".Port":
		return port(v.Port), "<port>"
	case ".Client":
		return address(v.Client), "<client>"
	case ".Interface":
		return name(v.Interface), "<interface>"
	case ".Gateway":
		return address(v.Gateway), "<gateway>"
	case ".Router":
		return address(v.Router), "<router>"
	case ".Service":
		return name(v.Service), "<service>"
	case ".Server":
		return address(v.Server), "<name-server>"
	case ".Path":
		return printable(v.Path, 4096), "<path>"
	}
	return "", "<value>"
}

func port(s string) string {
	if n, err := strconv.ParseUint(s, 10, 16); err != nil || n == 0 {
		return ""
	}
	return s
}

// address accepts what netip parses. A zone is an interface's name, which may
// hold nearly anything; tools that parse their arguments anew, as nft and
// tcpdump do, must not see more than a plain one.
func address(s string) string {
	a, err := netip.ParseAddr(s)
	if err != nil || !plain(a.Zone()) {
		return ""
	}
	return s
}

func isIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6()
}

// name accepts names as long as DNS and systemd allow.
func name(s string) string { return printable(s, 255) }

// printable accepts printable text of at most limit bytes that no program takes for
// an option (-x, +x) or for a server (dig's @x).
func printable(s string, limit int) string {
	if s == "" || len(s) > limit || !utf8.ValidString(s) || strings.ContainsRune("-+@", rune(s[0])) ||
		strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return s
}

// plain says whether s means itself to a shell.
func plain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("._:/-", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// quote makes s one word of the shell, or a part of one where the template is
// inside single quotes already.
func (sh shell) quote(s string, inside bool) string {
	if plain(s) {
		return s
	}
	if sh == powerShell {
		s = powerShellQuotes.Replace(s)
	} else {
		s = strings.ReplaceAll(s, "'", `'\''`)
	}
	if inside {
		return s
	}
	return "'" + s + "'"
}

// powerShellQuotes doubles what ends a string in single quotes there: typographic
// quotes do, too (about_Quoting_Rules).
var powerShellQuotes = strings.NewReplacer("'", "''", "\u2018", "\u2018\u2018", "\u2019", "\u2019\u2019",
	"\u201a", "\u201a\u201a", "\u201b", "\u201b\u201b")
