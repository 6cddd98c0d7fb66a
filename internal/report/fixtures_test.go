package report_test

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

const (
	ms = time.Millisecond
	us = time.Microsecond
)

// titles stand for the catalogue's, so that a new wording there does not
// change the golden files here.
var titles = map[verdict.CauseID]string{
	"no-listener":            "nothing listens on the port",
	"service-down":           "the service's unit or process is not running",
	"listens-on-loopback":    "the service listens on the loopback address only",
	"listens-elsewhere":      "the service listens on another address or family only",
	"host-firewall-reset":    "the host's rules answer with RST",
	"path-firewall-reset":    "a firewall on the way answers with RST",
	"nat-dead-backend":       "the port is forwarded (NAT) to a backend that is dead",
	"host-firewall-drop":     "the host's input rules drop the SYN",
	"path-firewall-drop":     "a firewall on the way drops the SYN",
	"return-path-lost":       "the SYN-ACK leaves the host and gets lost",
	"tcp-signature-required": "the listener wants signed segments (TCP-MD5 or TCP-AO)",
	"path-prohibited":        "a router on the way refuses by ICMP",
	"host-down":              "nobody has the address",
	"name-not-found":         "the name does not exist",
	"some-addresses-fail":    "some addresses of the name work, others do not",
	"tls-failed":             "the TLS handshake fails",
	"local-firewall-drop":    "this host's own filters drop the SYN, or its answer",
	"no-route":               "this host has no route to the destination",
}

func title(c verdict.CauseID) string { return titles[c] }

func addr(s string) netip.Addr         { return netip.MustParseAddr(s) }
func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// fixture begins a diagnosis of host:port.
func fixture(host string, port uint16) *verdict.Diagnosis {
	d := &verdict.Diagnosis{}
	d.Set.Target = flow.Target{Input: fmt.Sprintf("%s:%d", host, port), Host: host, Port: port}
	d.Set.Started = time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.UTC)
	d.Set.Elapsed = 31 * ms
	return d
}

// fact adds a fact; the IDs count up.
func fact(d *verdict.Diagnosis, key evidence.Key, value evidence.Value, source string, at time.Duration, text string) {
	f := evidence.Fact{ID: evidence.ID(fmt.Sprintf("e%d", len(d.Facts)+1)), Key: key, Value: value, Source: source, At: at, Text: text}
	if i, ok := evidence.Lookup(key); ok && i.Scope == evidence.ScopeAddress && len(d.Set.Addresses) > 0 {
		f.Addr = d.Set.Addresses[len(d.Set.Addresses)-1].Addr
	}
	d.Facts = append(d.Facts, f)
}

// single gives the whole target the verdict of its only address.
func single(d *verdict.Diagnosis, o verdict.Outcome, v verdict.Verdict) *verdict.Diagnosis {
	d.Outcome, d.Verdict = o, v
	for _, a := range d.Set.Addresses {
		d.Addresses = append(d.Addresses, verdict.AddressVerdict{Addr: a.Addr, Outcome: o, Verdict: v})
	}
	return d
}

func attempt(local, remote string) evidence.Attempt {
	return evidence.Attempt{Tuple: flow.Tuple{Local: addrPort(local), Remote: addrPort(remote)}, At: 4 * ms}
}

// out rules causes out by one fact.
func out(id string, causes string) []verdict.RuledOut {
	var r []verdict.RuledOut
	for c := range strings.FieldsSeq(causes) {
		r = append(r, verdict.RuledOut{Cause: verdict.CauseID(c), Because: []evidence.ID{evidence.ID(id)}})
	}
	return r
}

func join(lists ...[]verdict.RuledOut) []verdict.RuledOut {
	var r []verdict.RuledOut
	for _, l := range lists {
		r = append(r, l...)
	}
	return r
}

var setcap = "sudo setcap cap_net_raw+ep /usr/local/bin/tcpwhy"

func rawNotChecked() []evidence.NotChecked {
	return []evidence.NotChecked{
		{Check: "packets of the attempt", Reason: "needs CAP_NET_RAW", How: setcap},
		{Check: "bare ACK and FIN to the port", Reason: "needs CAP_NET_RAW", How: setcap},
	}
}

// fixtures make the diagnoses of the golden files, by name.
var fixtures = map[string]func() *verdict.Diagnosis{
	"refused-certain-local": refusedCertainLocal,
	"refused-narrowed":      refusedNarrowed,
	"timeout-narrowed":      timeoutNarrowed,
	"prohibited-by-router":  prohibitedByRouter,
	"host-down":             hostDown,
	"host-down-own-lan":     hostDownOwnLAN,
	"no-route":              noRoute,
	"name-not-found":        nameNotFound,
	"two-addresses":         twoAddresses,
	"three-alike":           threeAlike,
	"tls-failed":            tlsFailed,
	"works":                 works,
	"works-two-addresses":   worksTwoAddresses,
	"undetermined":          undetermined,
	"interrupted":           interrupted,
	"hostile":               hostile,
	"many":                  many,
	"own-rules":             ownRules,
}

func refusedCertainLocal() *verdict.Diagnosis {
	d := fixture("localhost", 81)
	a := evidence.Address{Addr: addrPort("127.0.0.1:81"), Listeners: &evidence.Listeners{Total: 9}}
	att := attempt("127.0.0.1:41234", "127.0.0.1:81")
	att.Took, att.Errno = 61*us, "ECONNREFUSED"
	a.Attempts = []evidence.Attempt{att}
	d.Set.Addresses = []evidence.Address{a}
	fact(d, evidence.TargetHere, evidence.Yes, "route", 1*ms, "127.0.0.1 is an address of this host")
	fact(d, evidence.Connect, evidence.ConnRefused, "connect", 4*ms, "connect() to 127.0.0.1:81 failed with ECONNREFUSED after 0.1 ms")
	fact(d, evidence.Answer, evidence.AnswerRST, "connect", 4*ms, "the SYN was answered with RST")
	fact(d, evidence.HostSockets, evidence.SocketsNone, "listener", 6*ms, "none of the 9 listening sockets of this host has port 81")
	return single(d, verdict.Refused, verdict.Verdict{
		Certainty: verdict.Certain, Cause: "no-listener", Where: addr("127.0.0.1"),
		Candidates: []verdict.Candidate{{Cause: "no-listener", Likelihood: 1}},
		Finding:    "nothing listens on port 81 of this host",
		Because:    []evidence.ID{"e2", "e4"},
		RuledOut: join(out("e3", "host-down host-firewall-drop path-firewall-drop path-blackhole packet-loss accept-queue-full"),
			out("e4", "host-firewall-reset listens-on-loopback listens-elsewhere"), out("e1", "path-firewall-reset nat-dead-backend")),
		Next: []verdict.Step{{Check: "see which ports this host listens on", Command: "ss -ltn", Where: "host"}},
		Fix:  []verdict.Fix{{OS: "linux", Text: "start the service that should listen on port 81", Command: "sudo systemctl start SERVICE"}},
	})
}

func refusedNarrowed() *verdict.Diagnosis {
	d := fixture("db.internal", 5432)
	a := evidence.Address{Addr: addrPort("10.77.3.2:5432")}
	att := attempt("10.77.1.2:41234", "10.77.3.2:5432")
	att.Took, att.Errno = 310*us, "ECONNREFUSED"
	a.Attempts = []evidence.Attempt{att}
	a.Path = &evidence.Path{
		Port: 5432, Method: "connect", Took: 12 * ms, AnswerTTL: 3, Answer: "rst",
		Hops: []evidence.Hop{
			{TTL: 1, Addr: addr("10.77.1.1"), RTT: 110 * us, Kind: "time-exceeded", Type: 11},
			{TTL: 2, Addr: addr("10.77.2.2"), RTT: 190 * us, Kind: "time-exceeded", Type: 11},
			{TTL: 3, RTT: 280 * us, Kind: "rst"},
		},
	}
	d.Set.Addresses = []evidence.Address{a}
	d.Set.Name = &evidence.Name{Host: "db.internal", AddrsFrom: "dns", Took: 1200 * us, Queries: []evidence.Query{
		{Server: addrPort("10.77.1.53:53"), Net: "udp", Name: "db.internal.", Type: "A", Rcode: "NOERROR", Addrs: []netip.Addr{addr("10.77.3.2")}, Took: 400 * us},
		{Server: addrPort("10.77.1.53:53"), Net: "udp", Name: "db.internal.", Type: "AAAA", Rcode: "NOERROR", Took: 420 * us},
		{Server: addrPort("10.77.1.54:53"), Net: "udp", Name: "db.internal.", Type: "A", Timeout: true, Took: 2 * time.Second},
	}}
	fact(d, evidence.NameResult, evidence.NameResolved, "resolve", 1*ms, "db.internal is 10.77.3.2, says 10.77.1.53 after 0.4 ms")
	fact(d, evidence.Connect, evidence.ConnRefused, "connect", 4*ms, "connect() to 10.77.3.2:5432 failed with ECONNREFUSED after 0.3 ms")
	fact(d, evidence.Answer, evidence.AnswerRST, "connect", 4*ms, "the SYN was answered with RST")
	fact(d, evidence.AnswerFrom, evidence.DistanceHost, "path", 16*ms, "the RST comes from 3 hops away, as far as the host's answer on port 22")
	d.NotChecked = rawNotChecked()
	return single(d, verdict.Refused, verdict.Verdict{
		Certainty: verdict.Narrowed, Cause: "no-listener", Where: addr("10.77.3.2"),
		Candidates: []verdict.Candidate{
			{Cause: "no-listener", Likelihood: 0.41}, {Cause: "service-down", Likelihood: 0.22, Refines: "no-listener"},
			{Cause: "listens-on-loopback", Likelihood: 0.15, Refines: "no-listener"},
			{Cause: "host-firewall-reset", Likelihood: 0.12}, {Cause: "listens-elsewhere", Likelihood: 0.06, Refines: "no-listener"},
			{Cause: "nat-dead-backend", Likelihood: 0.04},
		},
		Finding: "10.77.3.2 itself answers with RST: it is up, and does not accept on port 5432",
		Because: []evidence.ID{"e3", "e4"},
		RuledOut: join(out("e3", "host-down host-firewall-drop path-firewall-drop path-blackhole packet-loss accept-queue-full path-no-route path-prohibited"),
			out("e4", "path-firewall-reset"), out("e1", "name-not-found dns-timeout dns-server-failure")),
		Next: []verdict.Step{
			{Check: "list the listening sockets on 10.77.3.2", Command: "ss -ltnp 'sport = :5432'", Where: "host", Separates: []verdict.CauseID{"listens-on-loopback", "host-firewall-reset"}},
			{Check: "look at the state of the service on 10.77.3.2", Command: "systemctl status postgresql", Where: "host"},
		},
		Fix: []verdict.Fix{{OS: "linux", Text: "start the service", Command: "sudo systemctl start postgresql"}},
	})
}

func timeoutNarrowed() *verdict.Diagnosis {
	d := fixture("db.internal", 5432)
	d.Set.Elapsed = 1100 * ms
	a := evidence.Address{Addr: addrPort("10.77.3.2:5432")}
	att := attempt("10.77.1.2:41234", "10.77.3.2:5432")
	att.Took, att.Pending, att.Retransmits, att.State = 1060*ms, true, 1, "SYN_SENT"
	a.Attempts = []evidence.Attempt{att}
	a.Path = &evidence.Path{
		Port: 5432, Method: "connect", Took: 480 * ms, Unanswered: 6,
		Hops: []evidence.Hop{
			{TTL: 1, Addr: addr("10.77.1.1"), RTT: 110 * us, Kind: "time-exceeded", Type: 11},
			{TTL: 2, Addr: addr("10.77.2.2"), RTT: 190 * us, Kind: "time-exceeded", Type: 11},
			{TTL: 3, Kind: "silent"},
		},
	}
	d.Set.Addresses = []evidence.Address{a}
	fact(d, evidence.Connect, evidence.ConnTimeout, "connect", 1064*ms, "7 SYNs to 10.77.3.2:5432 from 7 source ports got no answer in 1.1 s")
	fact(d, evidence.HostAnswers, evidence.Yes, "control", 20*ms, "10.77.3.2 answers on port 81 with RST after 0.3 ms")
	fact(d, evidence.PathEnd, evidence.PathLastHop, "path", 490*ms, "the last router before the host, 10.77.2.2, still gets SYNs to port 5432")
	d.NotChecked = rawNotChecked()
	return single(d, verdict.Timeout, verdict.Verdict{
		Certainty: verdict.Narrowed, Cause: "host-firewall-drop",
		Candidates: []verdict.Candidate{
			{Cause: "host-firewall-drop", Likelihood: 0.62}, {Cause: "path-firewall-drop", Likelihood: 0.25},
			{Cause: "return-path-lost", Likelihood: 0.08}, {Cause: "tcp-signature-required", Likelihood: 0.05},
		},
		Finding: "10.77.3.2 is up and answers elsewhere, but SYNs to port 5432 vanish behind 10.77.2.2",
		Because: []evidence.ID{"e1", "e2", "e3"},
		RuledOut: join(out("e2", "host-down path-blackhole host-no-return-route host-reverse-path-filter host-address-missing"),
			out("e1", "no-listener service-down listens-on-loopback listens-elsewhere host-firewall-reset path-firewall-reset path-prohibited"), out("e3", "routing-loop ttl-too-small")),
		Next: []verdict.Step{
			{Check: "see on 10.77.3.2 whether the SYN arrives", Command: "sudo tcpdump -nni any 'host 10.77.1.2 and tcp port 5432'", Where: "host"},
			{Check: "list the firewall rules on 10.77.3.2", Command: "sudo nft list ruleset", Where: "host"},
		},
	})
}

// packet makes a captured TCP packet between two ends.
func packet(at time.Duration, outgoing bool, from, to, flags string, ttl int) evidence.Packet {
	return evidence.Packet{
		At: at, Interface: "eth0", Outgoing: outgoing, Kind: "tcp", Src: addrPort(from), Dst: addrPort(to),
		TTL: ttl, DF: true, Flags: flags, Seq: 1000, Window: 64240,
	}
}

func icmp(at time.Duration, from, to string, typ, code, ttl int, inner flow.Tuple) evidence.Packet {
	return evidence.Packet{
		At: at, Interface: "eth0", Kind: "icmp", Src: netip.AddrPortFrom(addr(from), 0), Dst: netip.AddrPortFrom(addr(to), 0),
		TTL: ttl, Type: typ, Code: code, Quote: evidence.QuoteIntact, Inner: inner,
	}
}

func prohibitedByRouter() *verdict.Diagnosis {
	d := fixture("10.77.3.2", 8080)
	const c, s = "10.77.1.2:41234", "10.77.3.2:8080"
	att := attempt(c, s)
	att.Took, att.Errno = 350*us, "EHOSTUNREACH"
	att.ICMP = []evidence.SocketError{{At: 4*ms + 340*us, Errno: "EHOSTUNREACH", Type: 3, Code: 13, From: addr("10.77.2.2")}}
	d.Set.Addresses = []evidence.Address{{
		Addr: addrPort(s), Attempts: []evidence.Attempt{att}, Capture: &evidence.Capture{Interfaces: []string{"eth0"}, Received: 2},
		Packets: []evidence.Packet{packet(4*ms, true, c, s, "SYN", 64), icmp(4*ms+320*us, "10.77.2.2", "10.77.1.2", 3, 13, 63, att.Tuple)},
	}}
	fact(d, evidence.Connect, evidence.ConnHostUnreach, "connect", 4*ms, "connect() to 10.77.3.2:8080 failed with EHOSTUNREACH after 0.4 ms")
	fact(d, evidence.ICMPCode, evidence.ICMPProhibited, "packets", 4*ms, "ICMP 3/13 (communication administratively prohibited) came after 0.3 ms")
	fact(d, evidence.ICMPFrom, evidence.FromRouter, "packets", 4*ms, "it came from 10.77.2.2, which is not the target")
	return single(d, verdict.Unreachable, verdict.Verdict{
		Certainty: verdict.Certain, Cause: "path-prohibited", Where: addr("10.77.2.2"),
		Candidates: []verdict.Candidate{{Cause: "path-prohibited", Likelihood: 1}},
		Finding:    "the router 10.77.2.2 prohibits it by ICMP 3/13",
		Because:    []evidence.ID{"e1", "e2", "e3"},
		RuledOut: join(out("e2", "no-listener host-down path-no-route routing-loop host-firewall-drop path-firewall-drop path-blackhole packet-loss accept-queue-full syn-queue-full host-firewall-reset path-firewall-reset"),
			out("e3", "host-firewall-reject local-firewall-reject")),
		Next: []verdict.Step{{Check: "ask whoever runs 10.77.2.2 for its rule about 10.77.1.2 to 10.77.3.2 port 8080"}},
		Fix:  []verdict.Fix{{OS: "linux", Text: "allow it in the forward chain of 10.77.2.2", Command: "sudo nft insert rule inet filter forward ip saddr 10.77.1.2 ip daddr 10.77.3.2 tcp dport 8080 accept"}},
	})
}

func hostDown() *verdict.Diagnosis {
	d := fixture("app.example", 443)
	d.Set.Elapsed = 3200 * ms
	const c, s = "10.77.1.2:41234", "10.77.3.9:443"
	att := attempt(c, s)
	att.Took, att.Errno = 3072*ms, "EHOSTUNREACH"
	att.ICMP = []evidence.SocketError{{At: 3076 * ms, Errno: "EHOSTUNREACH", Type: 3, Code: 1, From: addr("10.77.2.2")}}
	d.Set.Addresses = []evidence.Address{{
		Addr: addrPort(s), Attempts: []evidence.Attempt{att},
		Packets: []evidence.Packet{
			packet(4*ms, true, c, s, "SYN", 64), packet(1028*ms, true, c, s, "SYN", 64), packet(2052*ms, true, c, s, "SYN", 64),
			packet(700*ms, true, "10.77.1.2:50000", s, "SYN", 2),
			icmp(3070*ms, "10.77.2.2", "10.77.1.2", 3, 1, 63, att.Tuple),
		},
	}}
	fact(d, evidence.ICMPCode, evidence.ICMPHost, "packets", 3070*ms, "ICMP 3/1 (host unreachable) came from 10.77.2.2 after 3.1 s, as long as a failed ARP takes")
	fact(d, evidence.HostAnswers, evidence.No, "control", 40*ms, "10.77.3.9 answers neither echo nor port 81")
	return single(d, verdict.Unreachable, verdict.Verdict{
		Certainty: verdict.Certain, Cause: "host-down", Where: addr("10.77.3.9"),
		Candidates: []verdict.Candidate{{Cause: "host-down", Likelihood: 1}},
		Finding:    "nobody answers for 10.77.3.9 on its network, says the router 10.77.2.2",
		Because:    []evidence.ID{"e1", "e2"},
		RuledOut:   out("e1", "no-listener path-no-route host-firewall-drop path-firewall-drop path-blackhole"),
		Next:       []verdict.Step{{Check: "see on 10.77.2.2 whether the neighbour answers", Command: "ip neigh show to 10.77.3.9"}},
	})
}

func hostDownOwnLAN() *verdict.Diagnosis {
	d := fixture("10.77.1.9", 22)
	att := attempt("10.77.1.2:41234", "10.77.1.9:22")
	att.Took, att.Errno = 3060*ms, "EHOSTUNREACH"
	arp := func(at time.Duration) evidence.Packet {
		return evidence.Packet{At: at, Interface: "eth0", Outgoing: true, Kind: "arp", Op: "who-has", About: addr("10.77.1.9"), MAC: "02:00:00:00:00:01"}
	}
	reply := icmp(3064*ms, "10.77.1.2", "10.77.1.2", 3, 1, 64, att.Tuple)
	reply.Interface = "lo"
	d.Set.Addresses = []evidence.Address{{
		Addr: addrPort("10.77.1.9:22"), Attempts: []evidence.Attempt{att},
		Packets: []evidence.Packet{arp(4 * ms), arp(1028 * ms), arp(2052 * ms), reply},
	}}
	fact(d, evidence.NeighState, evidence.NeighFailed, "route", 3066*ms, "10.77.1.9 did not answer 3 ARP requests on eth0")
	return single(d, verdict.Unreachable, verdict.Verdict{
		Certainty: verdict.Narrowed, Cause: "host-down",
		Candidates: []verdict.Candidate{{Cause: "host-down", Likelihood: 0.7}, {Cause: "neighbour-unreachable", Likelihood: 0.3}},
		Finding:    "10.77.1.9 is on the own network and does not answer ARP",
		Because:    []evidence.ID{"e1"},
		Next:       []verdict.Step{{Check: "look whether 10.77.1.9 is on, and on this network", Command: "ip neigh show to 10.77.1.9"}},
	})
}

func noRoute() *verdict.Diagnosis {
	d := fixture("2001:db8::7", 443)
	att := attempt("[::]:0", "[2001:db8::7]:443")
	att.Tuple.Local = netip.AddrPort{}
	att.Took, att.Errno, att.Syscall = 20*us, "ENETUNREACH", "connect"
	d.Set.Addresses = []evidence.Address{{Addr: addrPort("[2001:db8::7]:443"), Attempts: []evidence.Attempt{att}}}
	fact(d, evidence.RouteLookup, evidence.RouteNone, "route", 1*ms, "the kernel finds no route to 2001:db8::7")
	fact(d, evidence.ConnectWhen, evidence.WhenAtOnce, "connect", 4*ms, "connect() itself failed with ENETUNREACH; no packet was sent")
	return single(d, verdict.LocalError, verdict.Verdict{
		Certainty: verdict.Certain, Cause: "no-route",
		Candidates: []verdict.Candidate{{Cause: "no-route", Likelihood: 1}},
		Finding:    "this host has no route to 2001:db8::7",
		Because:    []evidence.ID{"e1", "e2"},
		Next:       []verdict.Step{{Check: "see the routes of this host", Command: "ip -6 route"}},
	})
}

func nameNotFound() *verdict.Diagnosis {
	d := fixture("nosuch.example", 443)
	d.Set.Name = &evidence.Name{Host: "nosuch.example", Queries: []evidence.Query{
		{Server: addrPort("10.77.1.53:53"), Net: "udp", Name: "nosuch.example.", Type: "A", Rcode: "NXDOMAIN", Took: 400 * us},
	}}
	fact(d, evidence.NameResult, evidence.NameNXDomain, "resolve", 2*ms, "10.77.1.53 says NXDOMAIN for nosuch.example after 0.4 ms")
	fact(d, evidence.NameHostsFile, evidence.HostsUnused, "resolve", 1*ms, "/etc/hosts has no entry for nosuch.example")
	d.NotChecked = []evidence.NotChecked{{Check: "connecting", Reason: "there is no address to connect to"}}
	return single(d, verdict.NameError, verdict.Verdict{
		Certainty: verdict.Certain, Cause: "name-not-found",
		Candidates: []verdict.Candidate{{Cause: "name-not-found", Likelihood: 1}},
		Finding:    "the name does not exist, says 10.77.1.53",
		Because:    []evidence.ID{"e1", "e2"},
		RuledOut:   out("e1", "name-no-address dns-server-failure dns-query-refused dns-timeout dns-unreachable dns-no-server"),
		Next:       []verdict.Step{{Check: "check the spelling; ask the zone's own servers", Command: "dig +trace nosuch.example"}},
	})
}
