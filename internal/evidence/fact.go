package evidence

import (
	"net/netip"
	"time"
)

// Key names a question with a few possible answers. The catalogue predicts
// answers; package diagnose derives them from raw evidence.
type Key string

// Value is one answer to a Key. Values() lists those that a key can have.
type Value string

// ID names a fact within one run: "e3".
type ID string

// Fact is one answered question.
type Fact struct {
	ID    ID    `json:"id"`
	Key   Key   `json:"kind"`
	Value Value `json:"value"`
	// Source is the collector that saw it: "resolve", "connect", "packets",
	// "path", "control", "route", "rules", "session", "listener", "counters".
	Source string        `json:"source"`
	At     time.Duration `json:"-"`
	// Addr is the address the fact is about; zero for facts about the name.
	Addr netip.AddrPort `json:"-"`
	// Text says the fact in one sentence with its numbers.
	Text string `json:"text"`
}

// Scope of a key: about the name as a whole, or about one address.
type Scope uint8

const (
	ScopeAddress Scope = iota
	ScopeName
)

// KeyInfo documents a key: its question, its answers, and the check that
// gives it.
type KeyInfo struct {
	Key      Key
	Scope    Scope
	Question string
	Values   []Value
}

// The keys.
const (
	// About the name.
	NameResult    Key = "name.result"
	NameHostsFile Key = "name.hosts-file"
	NameSuffix    Key = "name.search-suffix"
	NameServers   Key = "name.servers-agree"
	NamePointsTo  Key = "name.points-to"
	NameSpeed     Key = "name.speed"
	NameSystem    Key = "name.system"
	NameOutcomes  Key = "name.outcomes"

	// About this host.
	RouteLookup Key = "route.lookup"
	RouteTo     Key = "route.next-hop"
	RouteRules  Key = "route.rules"
	LinkState   Key = "route.link"
	NeighState  Key = "route.neighbour"
	NeighOwners Key = "route.neighbour-owners"
	FamilyHere  Key = "local.family"
	SourceHere  Key = "local.source"
	PortsHere   Key = "local.ports"
	FilesHere   Key = "local.files"
	TrackHere   Key = "local.conntrack"
	NATHere     Key = "local.nat"
	SynLeft     Key = "local.syn-left"
	SelfConnect Key = "local.self-connection"
	LocalRule   Key = "local.rule"
	LocalBack   Key = "local.rule-answer"
	LocalFilter Key = "local.reverse-path-filter"
	SourcePort  Key = "local.source-port"

	// The attempt.
	Connect       Key = "connect.result"
	ConnectWhen   Key = "connect.when"
	ConnectRepeat Key = "connect.repeat"
	ConnectInTime Key = "connect.in-time"
	Answer        Key = "answer.kind"
	AnswerFrom    Key = "answer.distance"
	AnswerDropped Key = "answer.dropped-here"
	AnswerVia     Key = "answer.interface"
	ICMPCode      Key = "icmp.code"
	ICMPFrom      Key = "icmp.from"
	ICMPDelay     Key = "icmp.delay"
	ICMPQuote     Key = "icmp.quote"

	// The path and other probes.
	HostAnswers  Key = "host.answers"
	PathEnd      Key = "path.end"
	PathRule     Key = "path.rule"
	ProbeACK     Key = "probe.ack"
	ProbeFIN     Key = "probe.fin"
	ProbeTTL255  Key = "probe.ttl-255"
	ProbeECN     Key = "probe.ecn"
	ProbeSources Key = "probe.source-ports"
	ProbeLoss    Key = "probe.loss"
	EveryPort    Key = "probe.every-port"

	// After the handshake.
	SessionEnd    Key = "session.end"
	SessionReply  Key = "session.reply"
	SessionAcked  Key = "session.acked"
	SessionWindow Key = "session.window"
	SessionLarge  Key = "session.large-segments"
	SessionIdle   Key = "session.idle"
	SessionHello  Key = "session.hello"
	SessionRepeat Key = "session.repeat"
	SessionTTL    Key = "session.reset-distance"

	// On the host that should answer: seen directly only when the target is
	// this host, or with evidence taken there.
	HostSockets  Key = "host.sockets"
	HostQueue    Key = "host.accept-queue"
	HostSYNQueue Key = "host.syn-queue"
	HostAccepted Key = "host.accepted"
	HostService  Key = "host.service"
	HostRule     Key = "host.rule"
	HostDrop     Key = "host.drop-reason"
	HostNAT      Key = "host.nat"
	HostOwns     Key = "host.owns-address"
	HostBack     Key = "host.route-back"
	HostRPFilter Key = "host.rp-filter"
	HostPrograms Key = "host.programs"
	HostSYN      Key = "host.syn-arrives"
	HostSYNACK   Key = "host.syn-ack-leaves"
	HostACK      Key = "host.ack-arrives"
	HostReset    Key = "host.rst-leaves"
	TargetHere   Key = "host.is-here"
	HostUp       Key = "host.up"
)

// Keys lists the vocabulary in the order of a report.
func Keys() []KeyInfo { return keys }

// Lookup returns the entry of a key.
func Lookup(k Key) (KeyInfo, bool) {
	for _, i := range keys {
		if i.Key == k {
			return i, true
		}
	}
	return KeyInfo{}, false
}
