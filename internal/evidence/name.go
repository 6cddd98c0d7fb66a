package evidence

import (
	"net/netip"
	"time"
)

// Name is what resolving the host name gave, from every source asked.
type Name struct {
	Host string `json:"host"`
	// Order is the nsswitch "hosts" order as configured, for example
	// ["files","dns"]. See nsswitch.conf(5).
	Order []string `json:"order,omitempty"`
	// HostsFile holds the addresses /etc/hosts gives; nil when it has no entry.
	HostsFile []netip.Addr `json:"hosts_file,omitempty"`
	// Servers are the name servers configured, in order.
	Servers []netip.AddrPort `json:"servers,omitempty"`
	Search  []string         `json:"search,omitempty"`
	NDots   int              `json:"ndots"`
	// Queries are all DNS queries that this program made.
	Queries []Query `json:"queries,omitempty"`
	// System is what the system's own resolver (getaddrinfo order) answered.
	System *SystemAnswer `json:"system,omitempty"`
	// FullName is the name that finally gave the answer, with a search suffix
	// where one was added; empty when nothing answered.
	FullName string `json:"full_name,omitempty"`
	// Addrs are the addresses a program would use, in the order it would try
	// them (hosts file or DNS by Order, RFC 6724 left aside).
	Addrs []netip.Addr `json:"addrs,omitempty"`
	// AddrsFrom is "literal", "files", "dns", "localhost" (RFC 6761 decides) or
	// "system" (only the system's own resolver knew); empty when there are none.
	AddrsFrom string        `json:"addrs_from,omitempty"`
	At        time.Duration `json:"at"`
	Took      time.Duration `json:"took"` // until the first usable answer or the last failure
	// Err is a configuration problem that left nothing to ask ("no usable
	// server configured"), with what was read.
	Err        string       `json:"err,omitempty"`
	NotChecked []NotChecked `json:"not_checked,omitempty"`
}

// SystemAnswer is what net.Resolver, and so the C library's rules, gave.
type SystemAnswer struct {
	Addrs []netip.Addr  `json:"addrs,omitempty"`
	Err   string        `json:"err,omitempty"`
	Took  time.Duration `json:"took"`
}

// Query is one question to one name server and what came of it.
type Query struct {
	Server netip.AddrPort `json:"server"`
	Net    string         `json:"net"` // "udp" or "tcp"
	Name   string         `json:"name"`
	Type   string         `json:"type"` // "A" or "AAAA"
	// Rcode is the mnemonic ("NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED"), or
	// "" when no valid answer came (see Err and Errno).
	Rcode string `json:"rcode,omitempty"`
	// ExtendedError is the RFC 8914 code and text, if given.
	ExtendedError string       `json:"extended_error,omitempty"`
	Addrs         []netip.Addr `json:"addrs,omitempty"`
	MinTTL        uint32       `json:"min_ttl,omitempty"` // seconds, the least of the answer
	CNAMEs        []string     `json:"cnames,omitempty"`  // the chain, first owner left out
	CNAMELoop     bool         `json:"cname_loop,omitempty"`
	Truncated     bool         `json:"truncated,omitempty"` // the TC bit
	// Authoritative is the AA bit, RFC 1035 section 4.1.1.
	Authoritative bool          `json:"authoritative,omitempty"`
	At            time.Duration `json:"at"`
	Took          time.Duration `json:"took"`
	Tries         int           `json:"tries"`
	// Timeout is true when nothing came in time.
	Timeout bool `json:"timeout,omitempty"`
	// Errno is the kernel's error name ("ECONNREFUSED"), if there was one.
	Errno string `json:"errno,omitempty"`
	Err   string `json:"err,omitempty"` // text of any other failure, bounded and escaped
	// Ignored counts datagrams that came but were not an answer to this query
	// (wrong ID, wrong question, garbage).
	Ignored int `json:"ignored,omitempty"`
}
