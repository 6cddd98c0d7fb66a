package evidence

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

// NameSystem answers: the system's own resolver beside ours.
const (
	SystemAgrees  Value = "agrees"    // the same addresses, or none as well
	SystemDiffers Value = "differs"   // other addresses
	SystemFails   Value = "fails"     // none, though the servers give some
	SystemOnly    Value = "only-here" // some, though the servers give none
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
	NeighWrong   Value = "wrong" // somebody else has the link-layer address in the table, or nobody
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

// ResetsOnly, of HostAnswers: what came back was RST for a closed port, which a
// firewall in front of a dead host may send as well.
const ResetsOnly Value = "resets-only"

// ConnectWhen answers.
const (
	WhenAtOnce   Value = "in-the-call" // bind() or connect() itself failed; no packet
	WhenAnswered Value = "by-an-answer"
	WhenNever    Value = "never"
)

// ConnectRepeat and SessionRepeat answers: several tries with the same question.
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

// DroppedReversePath is the AnswerDropped answer that says by what: the reverse
// path filter, rp_filter in ip-sysctl.
const DroppedReversePath Value = "reverse-path"

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
	LossHere        Value = "some-here" // they never left this host
	LossAll         Value = "all"
)

// Session answers.
const (
	EndNone Value = "none"
	EndRST  Value = "rst"
	EndFIN  Value = "fin"
	// The peer ended it only once it had our hello, which may be why.
	EndRSTAfter Value = "rst-after-hello"
	EndFINAfter Value = "fin-after-hello"
	// The end and our hello crossed: nothing tells which of the two came first.
	EndRSTCrossed Value = "rst-around-hello"
	EndFINCrossed Value = "fin-around-hello"
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
	SocketsUnreached Value = "unreached" // none serves, and rules here let no SYN get that far
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
	OtherPort        Value = "other-port" // of HostSYN: NAT before the host leads it to another port, where it is not served
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
