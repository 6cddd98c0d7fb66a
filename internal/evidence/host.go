package evidence

import (
	"net/netip"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/flow"
)

// Host is what the machine that should answer tells about one of its ports: the
// server's side of the story. Times called At are since Started. What could not
// be looked at is nil or empty, and stands in NotChecked with the reason.
type Host struct {
	Started time.Time     `json:"started"`
	Elapsed time.Duration `json:"elapsed"`
	Name    string        `json:"name"`   // of the host, escaped
	System  string        `json:"system"` // "linux 6.18.1"
	Port    uint16        `json:"port"`   // 0: all ports
	// Client is the address whose attempts are in question; zero for anybody's.
	Client netip.Addr `json:"client,omitzero"`
	// Complete is false in evidence that is written while the kernel is still
	// being watched.
	Complete  bool          `json:"complete"`
	Addresses []HostAddress `json:"addresses,omitempty"`
	// LocalRoutes are the ways by which it takes packets for other addresses than
	// those as its own; RoutesRead says that they are all there.
	LocalRoutes []LocalRoute  `json:"local_routes,omitempty"`
	RoutesRead  bool          `json:"routes_read,omitempty"`
	Sockets     *HostTable    `json:"sockets,omitempty"`
	Firewall    *Firewall     `json:"firewall,omitempty"`
	Returns     []Return      `json:"returns,omitempty"`
	Counters    *HostCounters `json:"counters,omitempty"`
	// Programs are the BPF programs in the way of packets. LinksRead says that those
	// of the interfaces (XDP, tc) are all there, ProgramsRead that there are no
	// others at all.
	Programs     []Program      `json:"programs,omitempty"`
	LinksRead    bool           `json:"links_read,omitempty"`
	ProgramsRead bool           `json:"programs_read,omitempty"`
	Watched      *Watched       `json:"watched,omitempty"`
	Service      *Service       `json:"service,omitempty"`
	Limits       *ServiceLimits `json:"limits,omitempty"`
	// NotChecked lists what was wanted and could not be done.
	NotChecked []NotChecked `json:"not_checked,omitempty"`
}

// HostAddress is an address of one of the host's interfaces.
type HostAddress struct {
	Prefix    netip.Prefix `json:"prefix"`
	Interface string       `json:"interface"`
	Up        bool         `json:"up"` // the interface is up and has carrier
	// Tentative says that duplicate address detection is not over, or failed.
	Tentative bool `json:"tentative,omitempty"`
}

// LocalRoute is a route of type local, ip-route(8), as for anycast or a transparent
// proxy.
type LocalRoute struct {
	Prefix netip.Prefix `json:"prefix"`
	// Table is RT_TABLE_LOCAL, 255; in any other one policy rules choose the packets.
	Table int `json:"table"`
}

// Owns says whether the host takes what is for an address as its own. known is
// false where that was not read, or policy rules decide it for each packet.
func (h *Host) Owns(addr netip.Addr) (yes, known bool) {
	const tableLocal = 255
	addr = addr.Unmap().WithZone("")
	for _, a := range h.Addresses {
		if a.Prefix.Addr().WithZone("") == addr {
			return true, true
		}
	}
	known = h.Addresses != nil && h.RoutesRead
	for _, r := range h.LocalRoutes {
		if r.Prefix.Contains(addr) {
			if r.Table == tableLocal {
				return true, true
			}
			known = false
		}
	}
	return addr.IsLoopback(), known || addr.IsLoopback()
}

// HostTable is the socket table, of this network namespace and of those others
// that could be looked into.
type HostTable struct {
	At time.Duration `json:"at"`
	// Ports are those whose listeners are listed; none means all.
	Ports []uint16 `json:"ports,omitempty"`
	// Listeners listen on the port; with port 0 all listeners. Those of other
	// namespaces have Namespace set, and never serve an address of this one.
	Listeners []Listener `json:"listeners,omitempty"`
	// Others are listeners on other ports, in any namespace, that have to do with
	// the port: of the same program, unit or container, or by the service's name.
	Others []Listener `json:"others,omitempty"`
	// Total counts the listeners of this namespace, Namespaces the namespaces
	// looked into, this one included, Omitted the listeners left out of the lists.
	Total      int `json:"total"`
	Namespaces int `json:"namespaces"`
	Omitted    int `json:"omitted,omitempty"`
	// Diverted names what can serve a port on which nobody listens: "IPVS".
	Diverted []string `json:"diverted,omitempty"`
	// States counts the connections with the port in this namespace by TCP state.
	States map[string]int `json:"states,omitempty"`
	// Unaccepted counts those that no process has taken yet.
	Unaccepted int `json:"unaccepted,omitempty"`
}

// Firewall is what the packet filters of the host do with the packets of a
// handshake.
type Firewall struct {
	At time.Duration `json:"at"`
	// Systems are the filters in use: "nftables", "iptables", "ip6tables" (the
	// legacy ones), and Managers who wrote them: "ufw", "firewalld", "docker".
	Systems  []string      `json:"systems,omitempty"`
	Managers []string      `json:"managers,omitempty"`
	Verdicts []RuleVerdict `json:"verdicts,omitempty"`
	Traces   []RuleVerdict `json:"traces,omitempty"` // by packets that came while --trace was on
	Unread   []NotChecked  `json:"unread,omitempty"`
}

// RuleVerdict is what the rules do with one packet.
type RuleVerdict struct {
	At time.Duration `json:"at,omitempty"` // of a trace
	// Packet is "syn" (from the client) or "syn-ack" (the answer), in a trace also
	// "rst" (the answer of a closed port), and Tuple its source (Local) and
	// destination (Remote). A client's port of 0 is any, no address is anybody's.
	Packet string     `json:"packet"`
	Tuple  flow.Tuple `json:"tuple"`
	// In and Out are the interfaces it comes in and goes out by, as far as known.
	In  string `json:"in,omitempty"`
	Out string `json:"out,omitempty"`
	// Verdict is "accept", "drop", "reset" (TCP RST), "reject" (ICMP) or, where
	// it turns on what Depends names, "depends".
	Verdict string `json:"verdict"`
	// Rule decides; nil where no rule has a say. With "accept" it is the last one
	// that accepts, if any.
	Rule *Rule `json:"rule,omitempty"`
	// With says what a reject answers with: "icmp port-unreachable", "tcp reset".
	With string `json:"with,omitempty"`
	// NAT is where a rule sends the packet instead; zero if none does. NATRule is
	// that rule.
	NAT     netip.AddrPort `json:"nat,omitzero"`
	NATRule *Rule          `json:"nat_rule,omitempty"`
	// Depends names what could not be decided without the packet itself, each
	// with its rule: "limit rate 10/second (inet filter input handle 7)".
	Depends []string `json:"depends,omitempty"`
	// Forwarded says that the packet passes this host and is not for it.
	Forwarded bool `json:"forwarded,omitempty"`
}

// Rule is one rule of a packet filter, or the policy of a chain.
type Rule struct {
	System   string `json:"system"`           // "nftables", "iptables", "ip6tables"
	Family   string `json:"family,omitempty"` // of an nftables table: "inet"
	Table    string `json:"table"`
	Chain    string `json:"chain"`
	Hook     string `json:"hook,omitempty"` // of the base chain it was reached from: "input"
	Priority int    `json:"priority,omitempty"`
	Handle   uint64 `json:"handle,omitempty"` // nftables
	Number   int    `json:"number,omitempty"` // iptables: position in the chain, from 1
	// Text is the rule as its own tool prints it, escaped and bounded.
	Text    string `json:"text"`
	Comment string `json:"comment,omitempty"`
	Policy  bool   `json:"policy,omitempty"` // the chain's policy, no rule
	// Packets and Bytes are the rule's counter; nil where it has none.
	Packets *uint64 `json:"packets,omitempty"`
	Bytes   *uint64 `json:"bytes,omitempty"`
	// Manager is who wrote the rule, as in Firewall.Managers; "" if not known.
	Manager string `json:"manager,omitempty"`
	// Allow is a command that lets the port pass.
	Allow string `json:"allow,omitempty"`
}

// Return is the way back from an address of the host to the client, and whether
// the client's packets may come in.
type Return struct {
	At     time.Duration `json:"at"`
	Local  netip.Addr    `json:"local"`
	Client netip.Addr    `json:"client"`
	// IsLocal says that the address is one of the host's own.
	IsLocal bool `json:"is_local"`
	// Route is how the host would send to the client from Local.
	Route Route `json:"route"`
	// Arrives is the interface by which the client's packets come in: one they
	// were seen on (Seen), else that of the address.
	Arrives string `json:"arrives,omitempty"`
	Seen    bool   `json:"seen,omitempty"`
	// RPFilter is the reverse path filter in force there, ip-sysctl: "off",
	// "strict" or "loose"; PassesRP says whether the client's packets pass it.
	RPFilter string `json:"rp_filter,omitempty"`
	PassesRP *bool  `json:"passes_rp,omitempty"`
	// Forwarding says that the host forwards packets of the family that come in
	// there.
	Forwarding bool `json:"forwarding,omitempty"`
	// LogMartians says that the kernel logs packets with impossible addresses
	// that come in there, ip-sysctl. IPv4 only.
	LogMartians bool `json:"log_martians,omitempty"`
}

// HostCounters are counters of the host's network namespace, now and how they
// changed while the kernel was watched.
type HostCounters struct {
	At time.Duration `json:"at"`
	// Now and Delta are by dotted name: "TcpExt.ListenOverflows",
	// "conntrack.insert_failed", "softnet.dropped", "eth0.rx_dropped".
	// Delta has only those that changed.
	Now   map[string]int64 `json:"now,omitempty"`
	Delta map[string]int64 `json:"delta,omitempty"`
	// ConntrackCount and ConntrackMax; -1 when not readable or not there.
	ConntrackCount int `json:"conntrack_count"`
	ConntrackMax   int `json:"conntrack_max"`
}

// Program is a BPF program in the way of packets.
type Program struct {
	// Kind is "xdp", "tc" or "cgroup".
	Kind      string `json:"kind"`
	Interface string `json:"interface,omitempty"`
	Cgroup    string `json:"cgroup,omitempty"`
	Attach    string `json:"attach,omitempty"` // "native", "generic", "ingress", "cgroup_inet_ingress"
	ID        uint32 `json:"id"`
	Name      string `json:"name,omitempty"` // escaped
}

// ServiceLimits are limits on what the listener can take.
type ServiceLimits struct {
	Somaxconn     int `json:"somaxconn"`         // net.core.somaxconn
	MaxSYNBacklog int `json:"max_syn_backlog"`   // net.ipv4.tcp_max_syn_backlog
	SYNCookies    int `json:"syncookies"`        // net.ipv4.tcp_syncookies: 0, 1 or 2
	AbortOverflow int `json:"abort_on_overflow"` // net.ipv4.tcp_abort_on_overflow
	// Files are the descriptors of the processes that own the listeners.
	Files []FilesOf `json:"files,omitempty"`
}

// FilesOf is the use of descriptors by one process.
type FilesOf struct {
	PID     int    `json:"pid"`
	Process string `json:"process"`
	Used    int    `json:"used"`
	Limit   int    `json:"limit"` // soft RLIMIT_NOFILE
}

// BindTrial says whether a server could listen on an address.
type BindTrial struct {
	Addr netip.AddrPort `json:"addr"`
	// Errno is "" where it could, else EADDRINUSE, EACCES, EADDRNOTAVAIL, ….
	Errno string `json:"errno,omitempty"`
	// Syscall is the one that failed: "socket", "setsockopt" or "bind". The trial
	// never listens.
	Syscall string `json:"syscall,omitempty"`
	// Holders are sockets in the way, in any state that counts.
	Holders []Listener `json:"holders,omitempty"`
	// TimeWait counts connections in TIME_WAIT on the address. Those of a server
	// that set SO_REUSEADDR are in the way only of one that does not; those of a
	// client, which as a rule did not set it, of both.
	TimeWait int `json:"time_wait,omitempty"`
	// WithReuse is the errno with SO_REUSEADDR set, as nearly all servers do.
	// Errno is without it.
	WithReuse string `json:"with_reuse,omitempty"`
	// PortStart is net.ipv4.ip_unprivileged_port_start; -1 if there is none.
	PortStart int `json:"port_start"`
	// Findings say in sentences what is in the way, and Fix what to do.
	Findings []string `json:"findings,omitempty"`
	Fix      []string `json:"fix,omitempty"`
}
