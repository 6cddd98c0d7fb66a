package manual

import (
	"embed"
	"slices"
)

//go:embed pages/*.md
var pages embed.FS

// Cause is one page of the manual.
type Cause struct {
	ID    string
	Stage string // name, local, path, host, listener, session; none
	Title string // what is wrong, without full stop
	// Meaning says in one sentence what it means for the person who asks.
	Meaning string
	// LookAlikes are the IDs of causes that are easily mistaken for this one.
	LookAlikes []string
	Sources    []string // RFC sections, man pages, kernel documentation
	// Confirm begins with the check that tells this cause from its look-alikes.
	Confirm []Item
	Fix     []Item
	// Markdown is the whole page behind its front matter, placeholders unfilled.
	Markdown string
}

// Item is one thing to do.
type Item struct {
	OS      string // linux, macos or windows
	Where   string // client, host, both; empty for another machine, which Text names
	Text    string
	Command string // a line for a shell; may be empty
}

// IDs lists every page by stage, in the order in which a connection passes
// the stages; "none" and "undetermined" come last.
func IDs() []string { return slices.Clone(ids[:]) }

// Page returns the page of a cause, parsed anew at each call: the caller owns
// it. It is false for an ID without a page.
func Page(id string) (*Cause, bool) {
	if !slices.Contains(ids[:], id) {
		return nil, false
	}
	text, err := pages.ReadFile("pages/" + id + ".md")
	if err != nil {
		return nil, false
	}
	c, err := parse(string(text))
	if err != nil {
		return nil, false // no page in the tree is so: a test parses them all
	}
	return c, true
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
