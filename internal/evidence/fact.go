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
	// "path", "control", "route", "session", "listener", "counters".
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
	NameOutcomes  Key = "name.outcomes"

	// About this host.
	RouteLookup Key = "route.lookup"
	RouteTo     Key = "route.next-hop"
	LinkState   Key = "route.link"
	NeighState  Key = "route.neighbour"
	NeighOwners Key = "route.neighbour-owners"
	FamilyHere  Key = "local.family"
	SourceHere  Key = "local.source"
	PortsHere   Key = "local.ports"
	FilesHere   Key = "local.files"
	TrackHere   Key = "local.conntrack"
	SynLeft     Key = "local.syn-left"
	SelfConnect Key = "local.self-connection"
	SourcePort  Key = "local.source-port"

	// The attempt.
	Connect       Key = "connect.result"
	ConnectWhen   Key = "connect.when"
	ConnectRepeat Key = "connect.repeat"
	ConnectInTime Key = "connect.in-time"
	Answer        Key = "answer.kind"
	AnswerFrom    Key = "answer.distance"
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
	HostSYN      Key = "host.syn-arrives"
	HostSYNACK   Key = "host.syn-ack-leaves"
	TargetHere   Key = "host.is-here"
	HostUp       Key = "host.up"
)

// Answers shared by several keys.
const (
	Yes Value = "yes"
	No  Value = "no"
	// NotAsked says that this run did not look, because what was asked works
	// without: a cause that shows only there is not what the run is about.
	NotAsked Value = "not-asked"
)

// NameResult answers.
const (
	NameLiteral     Value = "literal" // an address was typed
	NameResolved    Value = "resolved"
	NameNXDomain    Value = "nxdomain"
	NameNoData      Value = "no-data"
	NameServFail    Value = "servfail"
	NameRefused     Value = "refused"
	NameTimeout     Value = "timeout"
	NameUnreachable Value = "unreachable"
	NameNoServer    Value = "no-server"
	NameTCPBlocked  Value = "tcp-blocked"
	NameBrokenAlias Value = "broken-alias"
)

// NameHostsFile answers.
const (
	HostsUnused  Value = "unused"
	HostsAgrees  Value = "agrees"  // the hosts file decided, DNS says the same
	HostsDiffers Value = "differs" // the hosts file decided, DNS says otherwise
	HostsOnly    Value = "only"    // the hosts file decided, DNS has no such name or was not asked
)

// NamePointsTo and NameSpeed answers.
const (
	PointsElsewhere Value = "elsewhere"
	PointsSelf      Value = "self"
	SpeedFast       Value = "fast"
	SpeedSlow       Value = "slow"
)

// NameOutcomes answers: how the addresses of the name fared together.
const (
	OutcomesOne        Value = "one-address"
	OutcomesAllWork    Value = "all-work"
	OutcomesAllFail    Value = "all-fail"
	OutcomesSomeFail   Value = "some-fail"   // mixed, not along the family line
	OutcomesFamilyFail Value = "family-fail" // all of one family fail, all of the other work
)

// RouteLookup answers.
const (
	RouteOK          Value = "found"
	RouteNone        Value = "none"
	RouteBlackhole   Value = "blackhole"
	RouteUnreachable Value = "unreachable"
	RouteProhibit    Value = "prohibit"
	RouteLocal       Value = "local"
)

// RouteTo answers.
const (
	NextHopTarget  Value = "target"  // on-link
	NextHopGateway Value = "gateway" //
	NextHopSelf    Value = "self"    // local delivery
)

// LinkState and NeighState answers.
const (
	LinkUp       Value = "up"
	LinkDown     Value = "down"
	NeighAnswers Value = "answers"
	NeighFailed  Value = "failed"
)

// NeighOwners, PortsHere, FilesHere, TrackHere, HostQueue, HostSYNQueue.
const (
	OwnersOne     Value = "one"
	OwnersSeveral Value = "several"
	Free          Value = "free"
	Full          Value = "full"
)

// Connect answers: the result of the attempt in the words of errno.
const (
	ConnOpen        Value = "open"
	ConnRefused     Value = "refused"             // ECONNREFUSED
	ConnTimeout     Value = "timeout"             // nothing until the limit, or ETIMEDOUT
	ConnHostUnreach Value = "host-unreachable"    // EHOSTUNREACH
	ConnNetUnreach  Value = "network-unreachable" // ENETUNREACH
	ConnDenied      Value = "access-denied"       // EACCES
	ConnNotPermit   Value = "not-permitted"       // EPERM
	ConnInvalid     Value = "invalid"             // EINVAL
	ConnNoAddress   Value = "address-unavailable" // EADDRNOTAVAIL
	ConnInUse       Value = "address-in-use"      // EADDRINUSE
	ConnNoFiles     Value = "too-many-files"      // EMFILE, ENFILE
	ConnNoFamily    Value = "family-unsupported"  // EAFNOSUPPORT
	ConnReset       Value = "reset"               // ECONNRESET before it was open
	ConnNoProto     Value = "protocol-unreachable"
	ConnOther       Value = "other-error"
)

// ConnectWhen answers.
const (
	WhenAtOnce   Value = "in-the-call" // bind() or connect() itself failed; no packet
	WhenAnswered Value = "by-an-answer"
	WhenNever    Value = "never"
)

// ConnectRepeat answers: several tries with the same question.
const (
	RepeatSteady Value = "steady"
	RepeatMixed  Value = "mixed"
)

// Answer answers: what came back for the SYN.
const (
	AnswerNone   Value = "nothing"
	AnswerRST    Value = "rst"
	AnswerSYNACK Value = "syn-ack"
	AnswerICMP   Value = "icmp"
)

// AnswerFrom and SessionTTL answers: distance of the answerer compared with
// the distance of the host known from another kind of answer.
const (
	DistanceHost    Value = "as-host"   // same as an echo reply or an accepting port of the host
	DistanceSame    Value = "as-closed" // same as the answer of a closed port: whoever guards one may guard both
	DistanceNearer  Value = "nearer"
	DistanceRouter  Value = "at-router" // nearer, and that very hop answered time exceeded as a router
	DistanceFarther Value = "farther"
)

// AnswerVia answers: where a RST or ICMP came in.
const (
	ViaLoopback Value = "loopback" // made by this host
	ViaNetwork  Value = "network"
)

// ICMPCode answers.
const (
	ICMPPort       Value = "port-unreachable"    // 3/3; 1/4
	ICMPHost       Value = "host-unreachable"    // 3/1; 1/3
	ICMPNet        Value = "network-unreachable" // 3/0; 1/0
	ICMPProhibited Value = "prohibited"          // 3/9, 3/10, 3/13; 1/1, 1/5, 1/6
	ICMPExceeded   Value = "time-exceeded"       // 11/0; 3/0 of ICMPv6
	ICMPTooBig     Value = "too-big"             // 3/4; 2/0
	ICMPOther      Value = "other"
)

// ICMPFrom answers.
const (
	FromHere       Value = "here"        // one of this host's addresses, target elsewhere
	FromTarget     Value = "target"      // the target's own address, target elsewhere
	FromHereTarget Value = "here-target" // the target is this host
	FromRouter     Value = "router"      // any other address
)

// ICMPDelay answers. An address resolution that fails takes about 3 s on
// Linux (3 requests, 1 s apart), so "late" is from 0.9 s on, and
// at once is below that.
const (
	DelayNone Value = "at-once"
	DelayLate Value = "late"
)

// PathEnd answers: how far SYNs to the port get.
const (
	PathAnswered  Value = "answered"     // the port answered at some TTL
	PathFar       Value = "answered-far" // only at TTLs above this host's default
	PathNoHop     Value = "no-hop"       // no router answered at all
	PathShort     Value = "short"        // stops at a hop although another port's SYNs get further
	PathLastHop   Value = "last-router"  // every router before the host answered
	PathUnknown   Value = "stops"        // stops at a hop; nothing tells how far the host is
	PathLoop      Value = "loop"         // the same routers again and again
	PathOnLink    Value = "on-link"      // no router in between
	PathBlackhole Value = "all-stop"     // another port and echo stop at the same hop too
)

// Probe answers.
const (
	ProbeRST    Value = "rst"
	ProbeSilent Value = "silent"
	// ProbeSilentHere: silent, although the same probe to another port of the
	// host is answered, so nothing on the way swallows such packets as such.
	ProbeSilentHere Value = "silent-only-here"
	ProbeAnswered   Value = "answered"
	ECNBlocked      Value = "blocked"
	ECNPasses       Value = "no-difference"
	SourcesSame     Value = "same"
	SourcesDiffer   Value = "differ"
	LossNone        Value = "none"
	LossSome        Value = "some"
	LossAll         Value = "all"
)

// Session answers.
const (
	EndNone Value = "none"
	EndRST  Value = "rst"
	EndFIN  Value = "fin"
	// The peer ended it only once it had our hello, which may be why.
	EndRSTAfter   Value = "rst-after-hello"
	EndFINAfter   Value = "fin-after-hello"
	ReplyExpected Value = "expected"
	ReplyOther    Value = "other-protocol"
	ReplyNothing  Value = "nothing"
	ReplyTLSError Value = "tls-error"
	ReplyGateway  Value = "gateway-error" // HTTP 502, 503, 504
	ReplyNotAsked Value = "not-asked"     // no protocol known, nothing sent
	ReplyCut      Value = "cut"           // reset after data had been exchanged
	WindowOpen    Value = "open"
	WindowZero    Value = "zero"
	LargePasses   Value = "passes"
	LargeStalls   Value = "stalls"        // small passes, large does not, smaller MSS passes
	LargeDead     Value = "stalls-always" // neither size passes after the first
	IdleSurvives  Value = "survives"
	IdleDies      Value = "dies"
	HelloNone     Value = "nothing"
	HelloTLS      Value = "tls"
	HelloPlain    Value = "plain"
)

// Answers seen on the host itself.
const (
	SocketsServe     Value = "listens"
	SocketsLoopback  Value = "loopback-only"
	SocketsElsewhere Value = "other-address"
	SocketsNone      Value = "none"
	ServiceRunning   Value = "running"
	ServiceStopped   Value = "stopped"
	ServiceFlapping  Value = "restarting"
	ServiceOtherPort Value = "other-port"
	ServiceOtherNS   Value = "other-namespace"
	ServiceBindInUse Value = "bind-in-use"
	ServiceBindPerm  Value = "bind-not-permitted"
	ServiceBindAddr  Value = "bind-no-address"
	ServiceNone      Value = "none"
	RuleNone         Value = "none"
	RuleDrop         Value = "drop"
	RuleReset        Value = "reset"
	RuleReject       Value = "reject"
	DropNone         Value = "none"
	DropNetfilter    Value = "netfilter"
	DropNoSocket     Value = "no-socket"
	DropMD5          Value = "signature"
	DropRPFilter     Value = "rp-filter"
	DropNoRoute      Value = "no-route-back"
	DropPacketFilter Value = "packet-filter"
	DropMinTTL       Value = "min-ttl"
	DropQueue        Value = "queue-full"
	DropNotLocal     Value = "not-local"
)

func oneOf(v ...Value) []Value { return v }

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

var distances = oneOf(DistanceHost, DistanceSame, DistanceNearer, DistanceRouter, DistanceFarther)

var keys = []KeyInfo{
	{NameResult, ScopeName, "what does resolving the name give", oneOf(NameLiteral, NameResolved, NameNXDomain, NameNoData, NameServFail, NameRefused, NameTimeout, NameUnreachable, NameNoServer, NameTCPBlocked, NameBrokenAlias)},
	{NameHostsFile, ScopeName, "does the hosts file decide", oneOf(HostsUnused, HostsAgrees, HostsDiffers, HostsOnly)},
	{NameSuffix, ScopeName, "was a search suffix added to the name", oneOf(Yes, No)},
	{NameServers, ScopeName, "do all name servers give the same addresses", oneOf(Yes, No)},
	{NamePointsTo, ScopeName, "where does the name point", oneOf(PointsElsewhere, PointsSelf)},
	{NameSpeed, ScopeName, "did resolving eat most of the time", oneOf(SpeedFast, SpeedSlow)},
	{NameOutcomes, ScopeName, "do all addresses fare alike", oneOf(OutcomesOne, OutcomesAllWork, OutcomesAllFail, OutcomesSomeFail, OutcomesFamilyFail)},

	{RouteLookup, ScopeAddress, "has this host a route", oneOf(RouteOK, RouteNone, RouteBlackhole, RouteUnreachable, RouteProhibit, RouteLocal)},
	{RouteTo, ScopeAddress, "what is the next hop", oneOf(NextHopTarget, NextHopGateway, NextHopSelf)},
	{LinkState, ScopeAddress, "is the interface up", oneOf(LinkUp, LinkDown)},
	{NeighState, ScopeAddress, "does the next hop answer ARP or ND", oneOf(NeighAnswers, NeighFailed)},
	{NeighOwners, ScopeAddress, "how many hosts claim the address", oneOf(OwnersOne, OwnersSeveral, NotAsked)},
	{FamilyHere, ScopeAddress, "has this host an address of the family", oneOf(Yes, No)},
	{SourceHere, ScopeAddress, "is the requested source address on this host", oneOf(Yes, No)},
	{SourcePort, ScopeAddress, "was a source port asked for", oneOf(Yes, No)},
	{PortsHere, ScopeAddress, "are ephemeral ports free", oneOf(Free, Full)},
	{FilesHere, ScopeAddress, "are descriptors free", oneOf(Free, Full)},
	{TrackHere, ScopeAddress, "has the connection table here room", oneOf(Free, Full)},
	{SynLeft, ScopeAddress, "did the SYN leave this host", oneOf(Yes, No)},
	{SelfConnect, ScopeAddress, "did the socket connect to itself", oneOf(Yes, No)},

	{Connect, ScopeAddress, "what did connect() say", oneOf(ConnOpen, ConnRefused, ConnTimeout, ConnHostUnreach, ConnNetUnreach, ConnDenied, ConnNotPermit, ConnInvalid, ConnNoAddress, ConnInUse, ConnNoFiles, ConnNoFamily, ConnReset, ConnNoProto, ConnOther)},
	{ConnectWhen, ScopeAddress, "when did it say so", oneOf(WhenAtOnce, WhenAnswered, WhenNever)},
	{ConnectRepeat, ScopeAddress, "do repeated attempts agree", oneOf(RepeatSteady, RepeatMixed, NotAsked)},
	{ConnectInTime, ScopeAddress, "did the answer come within the timeout", oneOf(Yes, No, WhenNever)},
	{Answer, ScopeAddress, "what answered the SYN", oneOf(AnswerNone, AnswerRST, AnswerSYNACK, AnswerICMP)},
	{AnswerFrom, ScopeAddress, "how far away is who answered, compared with the host", distances},
	{AnswerVia, ScopeAddress, "where did the answer come in", oneOf(ViaLoopback, ViaNetwork)},
	{ICMPCode, ScopeAddress, "what did the ICMP error say", oneOf(ICMPPort, ICMPHost, ICMPNet, ICMPProhibited, ICMPExceeded, ICMPTooBig, ICMPOther)},
	{ICMPFrom, ScopeAddress, "who sent the ICMP error", oneOf(FromHere, FromTarget, FromHereTarget, FromRouter)},
	{ICMPDelay, ScopeAddress, "how soon did the ICMP error come", oneOf(DelayNone, DelayLate)},
	{ICMPQuote, ScopeAddress, "is the packet quoted in the ICMP error ours", oneOf(Value(QuoteIntact), Value(QuoteRewritten))},

	{HostAnswers, ScopeAddress, "does the host answer anything", oneOf(Yes, No)},
	{PathEnd, ScopeAddress, "how far do SYNs to the port get", oneOf(PathAnswered, PathFar, PathNoHop, PathShort, PathLastHop, PathUnknown, PathLoop, PathOnLink, PathBlackhole)},
	{PathRule, ScopeAddress, "what do the rules of the routers on the way do with the SYN", oneOf(RuleNone, RuleDrop, RuleReset, RuleReject)},
	{ProbeACK, ScopeAddress, "what does a bare ACK to the port give", oneOf(ProbeRST, ProbeSilent, ProbeSilentHere)},
	{ProbeFIN, ScopeAddress, "what does a bare FIN to the port give", oneOf(ProbeRST, ProbeSilent)},
	{ProbeTTL255, ScopeAddress, "does a SYN with TTL 255 get an answer", oneOf(ProbeAnswered, ProbeSilent)},
	{ProbeECN, ScopeAddress, "do SYNs that ask for ECN vanish", oneOf(NotAsked, ECNBlocked, ECNPasses)},
	{ProbeSources, ScopeAddress, "does the outcome depend on the source port", oneOf(SourcesSame, SourcesDiffer, NotAsked)},
	{ProbeLoss, ScopeAddress, "what share of SYNs is lost", oneOf(LossNone, LossSome, LossAll)},
	{EveryPort, ScopeAddress, "does an unlikely port open too", oneOf(Yes, No, NotAsked)},

	{SessionEnd, ScopeAddress, "did the peer end the connection at once", oneOf(EndNone, EndRST, EndFIN, EndRSTAfter, EndFINAfter)},
	{SessionReply, ScopeAddress, "what did the application reply", oneOf(ReplyExpected, ReplyOther, ReplyNothing, ReplyTLSError, ReplyGateway, ReplyCut, NotAsked)},
	{SessionAcked, ScopeAddress, "did the peer's TCP acknowledge our data", oneOf(Yes, No)},
	{SessionWindow, ScopeAddress, "does the peer keep its window open", oneOf(WindowOpen, WindowZero)},
	{SessionLarge, ScopeAddress, "do large segments pass", oneOf(LargePasses, LargeStalls, LargeDead, NotAsked)},
	{SessionIdle, ScopeAddress, "does an idle connection survive", oneOf(IdleSurvives, IdleDies, NotAsked)},
	{SessionHello, ScopeAddress, "what did we say first", oneOf(HelloNone, HelloTLS, HelloPlain)},
	{SessionTTL, ScopeAddress, "how far away is who ended the connection, compared with who opened it", distances},

	{TargetHere, ScopeAddress, "is the target this very host", oneOf(Yes, No)},
	{HostUp, ScopeAddress, "is a host with the address up, seen from its console", oneOf(Yes, No)},
	{HostSockets, ScopeAddress, "which sockets of the host listen on the port", oneOf(SocketsServe, SocketsLoopback, SocketsElsewhere, SocketsNone)},
	{HostQueue, ScopeAddress, "has the accept queue room", oneOf(Free, Full)},
	{HostSYNQueue, ScopeAddress, "has the SYN queue room", oneOf(Free, Full)},
	{HostAccepted, ScopeAddress, "did the application accept the connection", oneOf(Yes, No)},
	{HostService, ScopeAddress, "what is the state of the service on the host", oneOf(ServiceRunning, ServiceStopped, ServiceFlapping, ServiceOtherPort, ServiceOtherNS, ServiceBindInUse, ServiceBindPerm, ServiceBindAddr, ServiceNone)},
	{HostRule, ScopeAddress, "what do the host's firewall rules do with the SYN", oneOf(RuleNone, RuleDrop, RuleReset, RuleReject)},
	{HostDrop, ScopeAddress, "what reason does the host's kernel give", oneOf(DropNone, DropNetfilter, DropNoSocket, DropMD5, DropRPFilter, DropNoRoute, DropPacketFilter, DropMinTTL, DropQueue, DropNotLocal)},
	{HostSYN, ScopeAddress, "does the SYN arrive at the host", oneOf(Yes, No)},
	{HostSYNACK, ScopeAddress, "does a SYN-ACK leave the host", oneOf(Yes, No)},
}
