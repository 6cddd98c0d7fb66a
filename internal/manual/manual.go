package manual

import (
	"embed"
	"path"
	"slices"
	"strings"
)

//go:embed pages
var pages embed.FS

// Cause is one page of the manual: that of a cause.
type Cause struct {
	ID    string
	Stage string // name, local, path, host, listener, session; none
	Title string // what is wrong, without full stop
	// Aliases are other words for it by which Lookup finds the page.
	Aliases []string
	// Meaning says in one sentence what it means for the person who asks.
	Meaning string
	// Ladder is a picture of the packets in lines of ASCII, without placeholders.
	Ladder string
	// Errors are the IDs of the tables of error texts that programs print then.
	Errors []string
	// Shows is what else is seen. Texts joins it with the tables.
	Shows []Shown
	// LookAlikes are the IDs of causes that are easily mistaken for this one.
	LookAlikes []string
	Topics     []string // IDs of topics that say more
	// Sources are RFC sections, man pages, documentation, each with its publisher.
	Sources []string
	// Confirm begins with the check that tells this cause from its look-alikes.
	Confirm []Item
	Fix     []Item // in order of likelihood
	Verify  []Item // how to see that it works again
	Prevent []Item
	// Markdown is the whole page behind its front matter, placeholders unfilled.
	// Markdown, the function, gives the page with all that it points to.
	Markdown string
}

// Shown is the text that a program prints or writes to its log. Text may hold
// placeholders.
type Shown struct {
	Program string // or several, with commas; or a system, or "monitoring"
	Text    string
}

// Fill returns the text with its placeholders replaced.
func (s Shown) Fill(v Vars) Shown {
	s.Text = v.fill(s.Text, noShell)
	return s
}

// Item is one thing to do.
type Item struct {
	// OS is linux, macos or windows; docker, kubernetes, aws, azure or gcp; any
	// where it makes no difference.
	OS      string
	Where   string // client, host, both; empty for another machine, which Text names
	Text    string
	Command string // a line for a shell (PowerShell on Windows); may be empty

	// Healthy and Sick are what the command says where all is well, and here.
	Healthy, Sick string
	// Changes is what the command changes, and for how long.
	Changes string
	// Undo says how to take it back, in words, by a command, or both.
	Undo, UndoCommand string
}

// systems are the values of Item.OS.
var systems = []string{"linux", "macos", "windows", "docker", "kubernetes", "aws", "azure", "gcp", "any"}

// IDs lists the page of every cause by stage, in the order in which a connection passes
// the stages; "none" and "undetermined" come last.
func IDs() []string { return slices.Clone(ids[:]) }

// Page returns the page of a cause, parsed anew at each call: the caller owns
// it. It is false for an ID without a page.
func Page(id string) (*Cause, bool) { return load(ids[:], "", id, parse) }

// load reads and parses the file of an ID in a folder of pages.
func load[T any](known []string, folder, id string, parse func(string) (*T, error)) (*T, bool) {
	if !slices.Contains(known, id) {
		return nil, false
	}
	text, err := pages.ReadFile(path.Join("pages", folder, id+".md"))
	if err != nil {
		return nil, false
	}
	t, err := parse(string(text))
	if err != nil {
		return nil, false // no file in the tree is so: a test parses them all
	}
	return t, true
}

// Lookup finds the page that a word stands for: the ID of a cause or topic, or
// one of its aliases or its title, whatever the case.
func Lookup(word string) (id string, ok bool) {
	word = strings.Join(strings.Fields(word), " ")
	is := func(names []string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, word) })
	}
	for _, id := range ids {
		if c, ok := Page(id); ok && (is(c.Aliases) || is([]string{id, c.Title})) {
			return id, true
		}
	}
	for _, id := range topicIDs {
		if t, ok := Topic(id); ok && (is(t.Aliases) || is([]string{id, t.Title})) {
			return id, true
		}
	}
	return "", false
}

var ids = [...]string{
	// name
	"name-not-found",
	"name-no-address",
	"dns-server-failure",
	"dns-query-refused",
	"dns-timeout",
	"dns-unreachable",
	"dns-no-server",
	"dns-tcp-blocked",
	"dns-stale-address",
	"hosts-file-override",
	"dns-search-suffix",
	"dns-cname-broken",
	"dns-slow",
	"name-points-to-self",
	"some-addresses-fail",
	"address-family-broken",
	// local
	"no-route",
	"route-rejects",
	"interface-down",
	"ports-exhausted",
	"source-address-missing",
	"source-port-busy",
	"too-many-open-files",
	"local-firewall-drop",
	"local-firewall-reject",
	"local-policy-denies",
	"family-unsupported",
	"conntrack-full",
	"neighbour-unreachable",
	"gateway-unreachable",
	"self-connection",
	// path
	"path-no-route",
	"path-prohibited",
	"path-firewall-reject",
	"path-firewall-reset",
	"path-firewall-drop",
	"path-blackhole",
	"routing-loop",
	"ttl-too-small",
	"return-path-lost",
	"mtu-blackhole",
	"packet-loss",
	"bad-ecmp-path",
	"syn-proxy-dead-backend",
	"answers-for-everything",
	"ecn-blocked",
	"duplicate-address",
	// host
	"host-down",
	"host-firewall-drop",
	"host-firewall-reset",
	"host-firewall-reject",
	"host-reverse-path-filter",
	"host-no-return-route",
	"host-address-missing",
	"host-packet-filter",
	"nat-dead-backend",
	"tcp-signature-required",
	"ttl-security",
	// listener
	"no-listener",
	"listens-on-loopback",
	"listens-elsewhere",
	"listens-on-other-port",
	"listens-in-other-namespace",
	"service-down",
	"service-restarting",
	"bind-address-in-use",
	"bind-not-permitted",
	"bind-address-missing",
	"accept-queue-full",
	"syn-queue-full",
	// session
	"reset-on-accept",
	"closed-on-accept",
	"never-accepted",
	"application-silent",
	"receiver-stalled",
	"tls-failed",
	"wrong-protocol",
	"http-gateway-error",
	"idle-dropped",
	"reset-mid-stream",
	"timeout-too-short",
	// works; or nothing fits
	"none",
	"undetermined",
}
