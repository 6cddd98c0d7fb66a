package manual

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	screens   = 2
	rows      = 50 // of a screen
	columns   = 80
	maxLadder = 10 // lines
)

var (
	source = regexp.MustCompile(`^(RFC \d+( section \d+(\.\d+)*)?|man \d\w* \S+|Linux Documentation/\S+\.(rst|html)|(` +
		strings.Join(publishers, "|") + `): \S.*)$`)
	placeholder = regexp.MustCompile(`\{\{\.(Host|Addr|Port|Client|Interface|Gateway|Router|Service|Server|Path)\}\}`)
	// A full stop, colon or the like in the middle that begins a new sentence.
	newSentence = regexp.MustCompile(`[.!?] +[A-Z]`)
)

// publishers are those whose documentation a page may name.
var publishers = []string{"Apple", "Microsoft", "AWS", "Azure", "Google Cloud", "Kubernetes", "Docker", "Go", "Python", "Java",
	"Node.js", "nginx", "HAProxy", "PostgreSQL", "ISC", "systemd", "curl", "OpenSSL", "FreeBSD", "MySQL", "Redis", "Ruby", "PHP",
	"Rust", "Debian", "Red Hat", "Ubuntu", "netfilter", "IANA", "Perl", "Chromium", "Mozilla", "Linux kernel"}

func TestPages(t *testing.T) {
	for _, c := range allPages(t) {
		t.Run(c.ID, func(t *testing.T) {
			got, ok := Page(c.ID)
			if !ok || got.ID != c.ID || got.Markdown != c.Markdown {
				t.Fatalf("Page gives %v, %v", got, ok)
			}
			if !slices.Contains(IDs(), c.ID) {
				t.Error("the front matter names another ID than the file")
			}
			checkFront(t, c)
			if c.Stage != "none" {
				checkSections(t, c)
			}
			for line := range strings.SplitSeq(c.Markdown, "\n") {
				limit := 100
				if strings.Contains(line, "`") {
					limit = 130
				}
				if utf8.RuneCountInString(line) > limit {
					t.Errorf("longer than %d columns: %s", limit, line)
				}
			}
			for _, it := range c.all() {
				checkItem(t, it)
			}
			for _, s := range c.Texts() {
				if s := placeholder.ReplaceAllString(s.Text, ""); strings.Contains(s, "{{") {
					t.Errorf("unknown placeholder: %s", s)
				}
			}
			checkLength(t, c.ID)
		})
	}
}

func checkFront(t *testing.T, c *Cause) {
	t.Helper()
	if c.Title == "" || strings.HasSuffix(c.Title, ".") {
		t.Errorf("title %q", c.Title)
	}
	if !strings.HasSuffix(c.Meaning, ".") || newSentence.MatchString(c.Meaning) {
		t.Errorf("the meaning is not one sentence: %q", c.Meaning)
	}
	if len(c.LookAlikes) == 0 || slices.Contains(c.LookAlikes, c.ID) {
		t.Errorf("look-alikes %v", c.LookAlikes)
	}
	checkKnown(t, "look-alike", c.LookAlikes, IDs())
	checkKnown(t, "topic", c.Topics, Topics())
	checkKnown(t, "errors", c.Errors, ErrorIDs())
	checkSources(t, c.Sources)
}

func checkKnown(t *testing.T, what string, ids, known []string) {
	t.Helper()
	for _, id := range ids {
		if !slices.Contains(known, id) {
			t.Errorf("%s %q is not known", what, id)
		}
	}
}

func checkSources(t *testing.T, sources []string) {
	t.Helper()
	if len(sources) == 0 {
		t.Error("no source")
	}
	for _, s := range sources {
		if !source.MatchString(s) {
			t.Errorf("source %q", s)
		}
	}
}

// checkSections sees that every section is there and says what it must.
func checkSections(t *testing.T, c *Cause) {
	t.Helper()
	lines := strings.Split(c.Ladder, "\n")
	if c.Ladder == "" || len(lines) > maxLadder {
		t.Errorf("a ladder of %d lines", len(lines))
	}
	for _, line := range lines {
		if len(line) > 74 || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) || strings.Contains(line, "{{") {
			t.Errorf("ladder: %q", line)
		}
	}
	if len(c.Texts()) == 0 {
		t.Error("nothing says how it shows")
	}
	if len(c.Confirm) == 0 || c.Confirm[0].Command == "" || c.Confirm[0].Healthy+c.Confirm[0].Sick == "" {
		t.Error("the check that separates it has no command, or no healthy or sick answer")
	}
	both := slices.Concat(c.Confirm, c.Fix)
	linuxOnly := slices.ContainsFunc(both, func(it Item) bool { return strings.HasPrefix(it.Text, "Linux only") })
	for _, os := range []string{"linux", "macos", "windows"} {
		if !linuxOnly && !slices.ContainsFunc(both, func(it Item) bool { return it.OS == os }) {
			t.Errorf("nothing for %s", os)
		}
	}
	if n := len(both); n > 16 {
		t.Errorf("%d items are too many at night", n)
	}
	if len(c.Fix) == 0 {
		t.Error("no fix")
	}
	for _, it := range c.Fix {
		reads := slices.ContainsFunc(readers, func(r string) bool { return strings.HasPrefix(it.Command, r) })
		if it.Command != "" && !reads && it.Changes+it.Undo+it.UndoCommand == "" {
			t.Errorf("neither what it changes nor how to undo it: %s", it.Command)
		}
	}
	if !slices.ContainsFunc(c.Verify, func(it Item) bool { return strings.Contains(it.Command, "tcpwhy ") }) {
		t.Error("no call of tcpwhy to verify it")
	}
	if len(c.Prevent) == 0 {
		t.Error("nothing prevents it")
	}
}

// readers are the beginnings of commands in a fix that change nothing.
var readers = []string{"journalctl ", "nft -a list ", "nft list ", "env ", "systemctl list-", "systemctl show ", "systemctl status ",
	"ip route get ", "ip route show", "ip -br ", "ip neigh show", "tail ", "cat ", "ls ", "ss ", "grep ", "tcpwhy ", "ssh ", "dig ",
	"resolvectl status", "traceroute ", "mtr ", "tracepath ", "lsof ", "ps ", "df ", "docker ps", "bpftool ", "tc filter show ",
	"kubectl get ", "kubectl describe ", "curl ", "openssl ", "arping ", "ping ",
	"getent ", "ip -s ", "ethtool {{", "bridge fdb show", "vtysh -c 'show ", "Get-Net", "Find-NetRoute "}

// checkLength sees that a page fits two screens.
func checkLength(t *testing.T, id string) {
	t.Helper()
	text, ok := Render(id, columns)
	n := 0
	for line := range strings.Lines(text) {
		n += max(1, (utf8.RuneCountInString(strings.TrimSuffix(line, "\n"))+columns-1)/columns)
	}
	if !ok || n > screens*rows {
		t.Errorf("%d rows, more than %d screens", n, screens)
	}
}

func checkItem(t *testing.T, it Item) {
	t.Helper()
	if s := placeholder.ReplaceAllString(it.Text+it.Command+it.Healthy+it.Sick+it.Changes+it.Undo, ""); strings.Contains(s, "{{") || strings.Contains(s, "}}") {
		t.Errorf("unknown placeholder: %+v", it)
	}
	// What only the reader knows is a word, never an example to paste by mistake.
	for _, w := range blank.FindAllString(it.Command, -1) {
		if !slices.Contains(blanksKnown, w) {
			t.Errorf("unknown blank %s", w)
		}
	}
	empty, full := it.Fill(Vars{}), it.Fill(sample)
	for _, f := range []Item{empty, full} {
		if s := f.Text + f.Command + f.Healthy + f.Sick + f.Changes + f.Undo; strings.Contains(s, "{{") || strings.Contains(s, "<no value>") || strings.Contains(s, "<value>") {
			t.Errorf("badly filled: %+v", f)
		}
		if f.OS != it.OS || f.Where != it.Where {
			t.Errorf("Fill changes more than text: %+v", f)
		}
	}
	if it.UndoCommand != "" {
		checkItem(t, Item{OS: it.OS, Where: it.Where, Command: it.UndoCommand})
	}
	// Fill knows single quotes only.
	if strings.Count(it.Command, "'")%2 != 0 || strings.ContainsAny(it.Command, "\"$\\`#") &&
		strings.Contains(it.Command, "{{") && !strings.Contains(it.Command, `\n' `) {
		t.Errorf("placeholder beside shell syntax that Fill does not know: %s", it.Command)
	}
	// Interface and Gateway are the client's: they mean nothing elsewhere.
	if it.Where != "client" {
		for _, p := range []string{"{{.Interface}}", "{{.Gateway}}"} {
			if strings.Contains(it.Command, p) {
				t.Errorf("%s in a command for another machine: %s", p, it.Command)
			}
		}
	}
	// ss wants IPv6 addresses in brackets, IPv4 without.
	if strings.HasPrefix(it.Command, "ss ") && strings.Contains(placeholderOtherThanPort(it.Command), "{{") {
		t.Errorf("an address in a filter of ss: %s", it.Command)
	}
	// nft joins its arguments and reads them anew, so quoting does not help.
	if strings.HasPrefix(it.Command, "nft ") && strings.Contains(placeholderOtherThanPort(it.Command), "{{") {
		t.Errorf("more than a port in a rule: %s", it.Command)
	}
	if i := strings.Index(it.Command, "tcpwhy "); i >= 0 {
		words := strings.Fields(it.Command[i:])
		for j, f := range words {
			if strings.HasPrefix(f, "-") && !slices.Contains(tcpwhyFlags, f) {
				t.Errorf("tcpwhy has no flag %s", f)
			}
			if f == "--expect" && (j+1 == len(words) || !slices.Contains(outcomes, words[j+1]) && !slices.Contains(IDs(), words[j+1])) {
				t.Errorf("nothing that tcpwhy can expect: %s", it.Command)
			}
		}
	}
}

var (
	blank       = regexp.MustCompile(`<[^ <>]*>`)
	blanksKnown = strings.Fields("<pid> <handle> <next-hop> <prefix> <device> <other-server> <image> <container> <backend> " +
		"<pod> <namespace> <group-id> <acl-id> <resource-group> <nsg> <rule> <project> " +
		"<subnet-id> <network> <instance> <zone> <nic> <service> <selector>")
)

var tcpwhyFlags = []string{"--source", "--interface", "-4", "-6", "--connect-timeout", "--count", "--dns-tcp",
	"--expect", "--write", "--gentle", "--patience", "--idle", "-o", "-q", "-v"}

// outcomes are what tcpwhy --expect takes besides the ID of a cause.
var outcomes = strings.Fields("open refused timeout unreachable reset local-error name-error degraded")

func placeholderOtherThanPort(s string) string { return strings.ReplaceAll(s, "{{.Port}}", "") }
