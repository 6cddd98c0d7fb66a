package evidence

import (
	"net/netip"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/flow"
)

// Set is all raw evidence of one run against one target.
type Set struct {
	Target  flow.Target `json:"target"`
	Started time.Time   `json:"started"`
	// Elapsed is the length of the run when the set was closed.
	Elapsed time.Duration `json:"elapsed"`
	// Interrupted says that the user stopped the run early.
	Interrupted bool      `json:"interrupted,omitempty"`
	Name        *Name     `json:"name,omitempty"`
	Addresses   []Address `json:"addresses,omitempty"`
	// AddressesSkipped counts the addresses of the name beyond the limit of a
	// run; they were not tried.
	AddressesSkipped int `json:"addresses_skipped,omitempty"`
	// Options are the parts of the request that change what evidence means.
	Options Options `json:"options"`
	// NotChecked lists what was wanted and could not be done for the whole run.
	NotChecked []NotChecked `json:"not_checked,omitempty"`
}

// Options are the parts of the request that change what evidence means.
type Options struct {
	Source         netip.Addr    `json:"source,omitzero"`
	SourcePort     uint16        `json:"source_port,omitempty"`
	Interface      string        `json:"interface,omitempty"`
	ConnectTimeout time.Duration `json:"connect_timeout"`
	Gentle         bool          `json:"gentle,omitempty"`
	Privileged     bool          `json:"privileged,omitempty"` // CAP_NET_RAW was there
}

// Address is the evidence about one address of the target.
type Address struct {
	Addr      netip.AddrPort `json:"addr"`
	Route     *Route         `json:"route,omitempty"`
	Attempts  []Attempt      `json:"attempts,omitempty"` // connects to the port asked for, in order
	Packets   []Packet       `json:"packets,omitempty"`  // captured, in order of arrival
	Capture   *Capture       `json:"capture,omitempty"`
	Path      *Path          `json:"path,omitempty"`       // trace with the port asked for
	OtherPath *Path          `json:"other_path,omitempty"` // trace with a control port of the same host
	Controls  []Control      `json:"controls,omitempty"`
	Session   *Session       `json:"session,omitempty"`
	Listeners *Listeners     `json:"listeners,omitempty"` // socket table, for a target on this host
	// Own is what this host's own rules do with the SYN and its answer; nil where
	// that was not asked.
	Own *Own `json:"own,omitempty"`
	// Host is what the machine that should answer told of itself. HostLive says
	// that it was told while the attempts were made, so that what was not seen
	// there did not happen.
	Host     *Host         `json:"host,omitempty"`
	HostLive bool          `json:"host_live,omitempty"`
	HostFrom time.Duration `json:"host_from,omitempty"` // attempts from then on were watched
	Counters *Counters     `json:"counters,omitempty"`
	// NotChecked lists what was wanted and could not be done.
	NotChecked []NotChecked `json:"not_checked,omitempty"`
}

// NotChecked is a check that was not made: why, and how it could be.
type NotChecked struct {
	Check  string `json:"check"`         // "packets of the attempt"
	Reason string `json:"reason"`        // "needs CAP_NET_RAW"
	How    string `json:"how,omitempty"` // "sudo setcap cap_net_raw+ep /usr/bin/tcpwhy"
	// Keys are the facts this check would have given.
	Keys []Key `json:"keys,omitempty"`
}
