package evidence

import (
	"net/netip"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/flow"
)

// Attempt is one connect() to a port, with everything the socket told.
type Attempt struct {
	Tuple flow.Tuple `json:"tuple"`
	// TTL is the hop limit set on the socket; 0 means the system's default.
	TTL int           `json:"ttl,omitempty"`
	At  time.Duration `json:"at"`
	// Took is the time until the outcome, or until waiting ended.
	Took time.Duration `json:"took"`
	// Errno names the error ("ECONNREFUSED"), "" when connected or when
	// waiting ended without an outcome (then Pending).
	Errno string `json:"errno,omitempty"`
	// Syscall says which call failed: "socket", "bind", "connect" (at once,
	// before any packet) or "" (the error came later, from the network).
	Syscall   string `json:"syscall,omitempty"`
	Connected bool   `json:"connected,omitempty"`
	// Pending means the socket was still in SYN_SENT when waiting ended.
	Pending bool `json:"pending,omitempty"`
	// ICMP holds the ICMP errors from the socket's error queue (ip(7),
	// IP_RECVERR), in order.
	ICMP []SocketError `json:"icmp,omitempty"`
	// State is the TCP state by TCP_INFO at the end ("SYN_SENT", …).
	State string `json:"state,omitempty"`
	// Retransmits is tcpi_total_retrans at the end.
	Retransmits int `json:"retransmits,omitempty"`
	// RTT is tcpi_rtt, once connected.
	RTT time.Duration `json:"rtt,omitempty"`
	MSS int           `json:"mss,omitempty"` // tcpi_snd_mss, once connected
	Err string        `json:"err,omitempty"` // any other failure in words
}

// SocketError is one entry of a socket's error queue.
type SocketError struct {
	At       time.Duration `json:"at"`
	Errno    string        `json:"errno"`
	Type     int           `json:"type"` // ICMP or ICMPv6 type
	Code     int           `json:"code"`
	From     netip.Addr    `json:"from"`               // who sent it (the offender)
	TTL      int           `json:"ttl,omitempty"`      // hop limit of the ICMP packet; 0 if not known
	MTU      int           `json:"mtu,omitempty"`      // next-hop MTU of "too big"
	Local    bool          `json:"local,omitempty"`    // made by this host itself without a packet
	Quote    Quote         `json:"quote,omitempty"`    // what the quoted packet tells
	QuoteLen int           `json:"quoted,omitempty"`   // bytes of TCP header quoted
	Seq      uint32        `json:"seq,omitempty"`      // quoted sequence number
	DstPort  uint16        `json:"dst_port,omitempty"` // quoted destination port
}

// Quote says whether the packet inside an ICMP error is the one we sent.
type Quote string

const (
	QuoteUnknown   Quote = ""          // too little was quoted to tell
	QuoteIntact    Quote = "intact"    // ports, addresses and checksum fit our SYN
	QuoteRewritten Quote = "rewritten" // something changed addresses or ports: NAT
	QuoteForeign   Quote = "foreign"   // not our packet at all
)

// Path is the result of TTL-limited SYNs to one port.
type Path struct {
	Port   uint16        `json:"port"`
	Method string        `json:"method"` // "connect" (IP_RECVERR) or "raw"
	At     time.Duration `json:"at"`
	Took   time.Duration `json:"took"`
	Hops   []Hop         `json:"hops,omitempty"` // by TTL, one per TTL probed
	// AnswerTTL is the smallest TTL at which the port itself answered; 0 when
	// it never did.
	AnswerTTL int `json:"answer_ttl,omitempty"`
	// Answer is what it answered there: "syn-ack", "rst" or "icmp".
	Answer string `json:"answer,omitempty"`
	// Unanswered counts SYNs to the port that had enough TTL to reach a host
	// at the known distance and got nothing. Filled by the collector for TTLs
	// above the last hop that answered.
	Unanswered int `json:"unanswered,omitempty"`
	// Uneven says that SYNs with one and the same TTL reach the port by some
	// paths and not by others, so that its distance says nothing.
	Uneven bool `json:"uneven,omitempty"`
}

// Hop is what came back for one TTL.
type Hop struct {
	TTL int `json:"ttl"`
	// Addr is who sent time exceeded (or the other ICMP error in Kind).
	Addr netip.Addr    `json:"addr,omitzero"`
	RTT  time.Duration `json:"rtt,omitempty"`
	// Kind is "time-exceeded", "syn-ack", "rst", "icmp" (another ICMP error,
	// see Type and Code), "silent" or "error" (a local errno, see Errno).
	Kind  string `json:"kind"`
	Type  int    `json:"type,omitempty"`
	Code  int    `json:"code,omitempty"`
	Errno string `json:"errno,omitempty"`
	Tries int    `json:"tries,omitempty"`
}

// Packet is one captured packet that belongs to the attempts, decoded.
type Packet struct {
	At        time.Duration `json:"at"`
	Interface string        `json:"interface"`
	Outgoing  bool          `json:"outgoing,omitempty"`
	// Kind is "tcp", "icmp", "arp" or "nd".
	Kind string         `json:"kind"`
	Src  netip.AddrPort `json:"src,omitzero"`
	Dst  netip.AddrPort `json:"dst,omitzero"`
	TTL  int            `json:"ttl,omitempty"`
	IPID uint16         `json:"ip_id,omitempty"`
	DF   bool           `json:"df,omitempty"`
	// TCP
	Flags      string `json:"flags,omitempty"` // "SYN", "SYN,ACK", "RST,ACK", "SYN,ECE,CWR"
	Seq        uint32 `json:"seq,omitempty"`
	Ack        uint32 `json:"ack,omitempty"`
	Window     int    `json:"window,omitempty"`
	Options    string `json:"options,omitempty"` // "mss 1460,sackOK,ts,wscale 7"
	MSS        int    `json:"mss,omitempty"`
	PayloadLen int    `json:"payload_len,omitempty"`
	// ICMP
	Type  int        `json:"type,omitempty"`
	Code  int        `json:"code,omitempty"`
	MTU   int        `json:"mtu,omitempty"`
	Quote Quote      `json:"quote,omitempty"`
	Inner flow.Tuple `json:"inner,omitzero"` // the quoted packet's addresses and ports
	// ARP and ND
	Op    string     `json:"op,omitempty"`   // "who-has", "is-at", "solicitation", "advertisement"
	About netip.Addr `json:"about,omitzero"` // address asked for or announced
	MAC   string     `json:"mac,omitempty"`  // of the sender
}

// Capture says how the packets were captured.
type Capture struct {
	Interfaces []string `json:"interfaces,omitempty"`
	Received   int      `json:"received"`
	Dropped    int      `json:"dropped"` // by the kernel, for want of room
	Malformed  int      `json:"malformed,omitempty"`
}

// Control is one control probe and its answer.
type Control struct {
	// Kind is one of the Control… constants.
	Kind string `json:"kind"`
	Port uint16 `json:"port,omitempty"` // destination port, if TCP
	// SourcePort is our port, where the probe is about it.
	SourcePort uint16        `json:"source_port,omitempty"`
	At         time.Duration `json:"at"`
	Took       time.Duration `json:"took,omitempty"`
	Sent       int           `json:"sent"` // packets sent
	// Answer is "rst", "syn-ack", "icmp", "echo-reply", "silent", or
	// "not-sent" with Errno when our own host refused to send.
	Answer string     `json:"answer"`
	TTL    int        `json:"ttl,omitempty"` // hop limit of the answer; 0 if not known
	Errno  string     `json:"errno,omitempty"`
	From   netip.Addr `json:"from,omitzero"` // sender of the answer
	Type   int        `json:"type,omitempty"`
	Code   int        `json:"code,omitempty"`
}

// The control probes.
const (
	ControlEcho       = "echo"        // ICMP echo request
	ControlACK        = "ack"         // bare ACK to the port
	ControlFIN        = "fin"         // bare FIN to the port
	ControlTTL255     = "ttl-255"     // SYN with TTL 255
	ControlECN        = "ecn"         // SYN that asks for ECN
	ControlPlain      = "plain"       // SYN without ECN
	ControlSourcePort = "source-port" // SYN from another source port
)

// Route is how this host would send to the address.
type Route struct {
	At time.Duration `json:"at"`
	// Type is "unicast", "local", "blackhole", "unreachable", "prohibit",
	// "broadcast", "multicast", or "" when there is no route (see Errno).
	Type      string     `json:"type,omitempty"`
	Errno     string     `json:"errno,omitempty"`
	Prefix    string     `json:"prefix,omitempty"` // the route that matched, "10.0.0.0/8" or "default"
	Table     int        `json:"table,omitempty"`
	Gateway   netip.Addr `json:"gateway,omitzero"` // zero when on-link
	Source    netip.Addr `json:"source,omitzero"`  // preferred source address
	Interface string     `json:"interface,omitempty"`
	MTU       int        `json:"mtu,omitempty"`
	// Port is the destination port that the lookup named, with TCP as the
	// protocol; 0 when it named neither.
	Port uint16 `json:"port,omitempty"`
	// Rules are policy rules that are not the three standard ones, as text.
	Rules []string `json:"rules,omitempty"`
	// RejectedBy is the policy rule that turns such packets away by itself, as
	// text; "" when none does.
	RejectedBy string `json:"rejected_by,omitempty"`
	// Exact says that the lookup named all that the policy rules here choose by,
	// so that connect() meets the same answer.
	Exact bool  `json:"exact,omitempty"`
	Link  *Link `json:"link,omitempty"` // the interface chosen
	// DownLinks are interfaces that are not loopback, are down or without
	// carrier, and still carry an address of the target's family, or could
	// (an Ethernet interface whose IPv6 addresses vanish when it goes down).
	DownLinks []Link `json:"down_links,omitempty"`
	// Neighbour is the entry for the next hop before the attempt, and
	// NeighbourAfter the one after it; nil when there was none.
	Neighbour      *Neighbour `json:"neighbour,omitempty"`
	NeighbourAfter *Neighbour `json:"neighbour_after,omitempty"`
	// FamilyAddrs are this host's addresses of the target's family with
	// global scope (loopback and link-local left out).
	FamilyAddrs []netip.Addr `json:"family_addrs,omitempty"`
	// Local says that the address is one of this host's own.
	Local bool `json:"local,omitempty"`
	// SourceIsLocal answers, for a requested source address, whether this host
	// has it.
	SourceIsLocal *bool        `json:"source_is_local,omitempty"`
	NotChecked    []NotChecked `json:"not_checked,omitempty"`
}

// Link is a network interface.
type Link struct {
	Index   int    `json:"index"`
	Name    string `json:"name"`
	Kind    string `json:"kind,omitempty"` // "veth", "bridge", "" for hardware
	Up      bool   `json:"up"`             // IFF_UP
	Carrier bool   `json:"carrier"`        // IFF_LOWER_UP
	MTU     int    `json:"mtu"`
	MAC     string `json:"mac,omitempty"`
}

// Neighbour is an entry of the ARP or ND table, ip-neighbour(8).
type Neighbour struct {
	Addr  netip.Addr `json:"addr"`
	State string     `json:"state"` // "REACHABLE", "STALE", "FAILED", "INCOMPLETE", …
	MAC   string     `json:"mac,omitempty"`
}

// Listeners is what the socket table of this host says about a port.
type Listeners struct {
	At time.Duration `json:"at"`
	// OnPort are all listening TCP sockets with the port, on any address.
	OnPort []Listener `json:"on_port,omitempty"`
	// Total counts all listening TCP sockets of this namespace.
	Total int `json:"total"`
}

// Listener is one listening TCP socket.
type Listener struct {
	Addr    netip.AddrPort `json:"addr"`
	V6Only  bool           `json:"v6only,omitempty"`
	Device  string         `json:"device,omitempty"` // SO_BINDTODEVICE
	Queue   int            `json:"queue"`            // connections waiting for accept (Recv-Q)
	Backlog int            `json:"backlog"`          // limit of that queue (Send-Q)
	UID     uint32         `json:"uid"`
	Inode   uint64         `json:"inode,omitempty"`
	PID     int            `json:"pid,omitempty"`
	Process string         `json:"process,omitempty"` // escaped and bounded; "" when not permitted to see
	// Serves says whether a SYN to the target address would reach it.
	Serves bool `json:"serves"`
	// Of a look at the server's side only, where they can be seen.
	// Command is the command line, secrets masked, escaped and bounded.
	Command   string    `json:"command,omitempty"`
	Unit      string    `json:"unit,omitempty"`      // systemd unit, by the cgroup
	Container string    `json:"container,omitempty"` // container ID, by the cgroup
	Started   time.Time `json:"started,omitzero"`    // of the process
	// Namespace is the inode of the network namespace, where it is another one.
	Namespace uint32 `json:"namespace,omitempty"`
	// Usual says that the program is one that usually has the port, or was asked for.
	Usual bool `json:"usual,omitempty"`
	// Shared says that other sockets share the port by SO_REUSEPORT.
	Shared bool `json:"shared,omitempty"`
	// Of a socket in the way of a server (BindTrial) that does not listen, State
	// is "BOUND_INACTIVE" or its TCP state, and Remote its peer.
	State  string         `json:"state,omitempty"`
	Remote netip.AddrPort `json:"remote,omitzero"`
}

// Counters are kernel counters and limits of this namespace before and after
// the attempts, and limits that matter.
type Counters struct {
	// Delta holds the change of /proc/net/netstat and /proc/net/snmp counters
	// during the attempt, only those that changed: "TcpExt.ListenOverflows".
	Delta map[string]int64 `json:"delta,omitempty"`
	// Sysctl holds values read, by dotted name: "net.ipv4.tcp_ecn": "2".
	Sysctl map[string]string `json:"sysctl,omitempty"`
	// PortsUsed counts the ephemeral ports taken towards this destination,
	// PortsTotal the size of the range (ip_local_port_range).
	PortsUsed  int `json:"ports_used,omitempty"`
	PortsTotal int `json:"ports_total,omitempty"`
	// Conntrack count and max; -1 when not readable.
	ConntrackCount int `json:"conntrack_count,omitempty"`
	ConntrackMax   int `json:"conntrack_max,omitempty"`
	// FilesUsed and FilesLimit are this process's descriptors.
	FilesUsed  int `json:"files_used,omitempty"`
	FilesLimit int `json:"files_limit,omitempty"`
}
