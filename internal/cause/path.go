package cause

import . "github.com/tcpwhy/tcpwhy/internal/evidence" //lint:ignore ST1001 the vocabulary is the language of this file

func pathCauses() []Cause {
	fromRouter := is(FromRouter)
	// Who opens the connection is not the host, whatever its rules say.
	anyRule := is(RuleNone, RuleDrop, RuleReset, RuleReject)
	// A SYN proxy whose backend is dead lets us wait.
	mute := P{SessionEnd: is(EndNone, EndFIN, EndFINAfter), AnswerFrom: is(DistanceNearer, DistanceRouter, DistanceSame), SessionReply: is(ReplyNothing), SessionAcked: is(No), HostRule: anyRule}
	return []Cause{
		{ID: "path-no-route", Stage: StagePath, Title: "a router has no route to the address", Prior: 4,
			Ways: ways(
				with(rejected(fromRouter, is(ICMPNet)), remote(), P{HostAnswers: is(No), PathRule: is(RuleNone)}),
				// A Linux router whose route is of type unreachable says host unreachable.
				with(rejected(fromRouter, is(ICMPHost)), remote(), P{HostAnswers: is(No), ICMPDelay: is(DelayNone)}),
			),
			Weights: []Weight{{ICMPCode, ICMPHost, 0.3}}},
		{ID: "path-prohibited", Stage: StagePath, Title: "a router refuses with ICMP administratively prohibited", Prior: 5,
			Ways: ways(with(rejected(fromRouter, is(ICMPProhibited)), remote()))},
		{ID: "path-firewall-reject", Stage: StagePath, Title: "a firewall on the way rejects with ICMP", Prior: 4,
			Ways: ways(
				with(rejected(fromRouter, is(ICMPPort, ICMPOther)), remote()),
				with(rejected(fromRouter, is(ICMPHost)), remote(), P{ICMPDelay: is(DelayNone)}),
				with(rejected(fromRouter, is(ICMPNet)), remote(), P{PathRule: is(RuleReject)}),
				// A bridge with a firewall, such as a hypervisor's, rejects in the
				// host's name.
				with(rejected(is(FromTarget), is(ICMPPort, ICMPProhibited, ICMPHost, ICMPNet, ICMPOther)), remote(), P{ICMPDelay: is(DelayNone),
					PathRule: is(RuleReject), HostSYN: is(No), HostRule: is(RuleNone), HostDrop: is(DropNone)}),
			),
			// Where no other port of the host is reached, routes are the likelier reason.
			Weights: []Weight{{ICMPCode, ICMPNet, 0.2}, {ICMPFrom, FromTarget, 0.05}}},
		{ID: "path-firewall-reset", Stage: StagePath, Title: "a firewall on the way answers with RST", Prior: 2,
			// A rule behind the last router's TTL check answers at the host's own
			// distance, and one that resets closed ports too looks like the host. An
			// answer of another kind from the host (as-host) leaves a bridge in
			// front of it, such as a hypervisor's, which is no hop.
			Ways: ways(
				with(reset(), remote(), P{AnswerFrom: is(DistanceNearer, DistanceRouter, DistanceSame, DistanceHost), AnswerVia: is(ViaNetwork),
					HostSYN: is(Yes, No), HostReset: is(No), HostRule: is(RuleNone), HostDrop: is(DropNone), PathRule: is(RuleReset)}),
				with(opens(), remote(), P{SessionEnd: is(EndRST, EndRSTAfter), SessionTTL: is(DistanceNearer), HostReset: is(No), SessionReply: is(ReplyNothing, ReplyCut, NotAsked)}),
			),
			Weights: []Weight{{AnswerFrom, DistanceNearer, 10}, {AnswerFrom, DistanceHost, 0.05}, {Connect, ConnOpen, 0.2}}},
		{ID: "path-firewall-drop", Stage: StagePath, Title: "a firewall on the way drops the SYN", Prior: 14,
			Ways: ways(
				with(silent(), remote(), P{
					PathEnd: is(PathShort, PathLastHop, PathUnknown, PathNoHop, PathOnLink, PathBlackhole),
					HostSYN: is(No), HostRule: is(RuleNone), HostDrop: is(DropNone), PathRule: is(RuleDrop)}),
				// It lets SYNs pass and drops what follows.
				with(opens(), remote(), P{SessionReply: is(ReplyNothing, NotAsked), SessionAcked: is(No), AnswerFrom: is(DistanceHost, DistanceSame),
					HostSYN: is(Yes), HostSYNACK: is(Yes), HostACK: is(No), HostRule: is(RuleNone), PathRule: is(RuleDrop)}),
			),
			Weights: []Weight{{PathEnd, PathLastHop, 0.5}, {PathEnd, PathOnLink, 0.2}, {ProbeACK, ProbeRST, 0.1}, {Connect, ConnOpen, 0.1}}},
		{ID: "path-blackhole", Stage: StagePath, Title: "everything vanishes behind a hop", Prior: 6,
			Ways: ways(with(silent(), remote(), P{HostAnswers: is(No), PathEnd: is(PathUnknown, PathNoHop, PathBlackhole), HostSYN: is(No), ProbeACK: is(ProbeSilent), ProbeFIN: is(ProbeSilent), PathRule: is(RuleNone), HostUp: is(Yes)}),
				// The router's own next hop is dead: to us it looks as if it were the host.
				with(rejected(fromRouter, is(ICMPHost)), remote(), P{HostAnswers: is(No), ICMPDelay: is(DelayLate), HostSYN: is(No), PathRule: is(RuleNone), HostUp: is(Yes)})),
			Weights: []Weight{{PathEnd, PathNoHop, 0.5}, {Answer, AnswerICMP, 0.3}}},
		{ID: "routing-loop", Stage: StagePath, Title: "packets circle between routers", Prior: 3,
			Ways: ways(
				with(leaves(), remote(), P{Connect: is(ConnHostUnreach, ConnNetUnreach, ConnTimeout), Answer: is(AnswerICMP), ICMPCode: is(ICMPExceeded), ICMPFrom: fromRouter, PathEnd: is(PathLoop), HostAnswers: is(No)}),
				// The ICMP that ends the full-TTL SYN may be lost or rate-limited.
				with(silent(), remote(), P{PathEnd: is(PathLoop), HostAnswers: is(No), HostSYN: is(No)}),
			)},
		{ID: "ttl-too-small", Stage: StagePath, Title: "the target is farther away than the TTL reaches", Prior: 0.3,
			Ways: ways(
				// Without the router's ICMP: only SYNs with a larger TTL are answered.
				with(silent(), remote(), P{PathEnd: is(PathFar), ConnectRepeat: is(RepeatMixed), ProbeLoss: is(LossSome), ProbeTTL255: is(ProbeAnswered), HostSYN: is(No)}),
				with(leaves(), remote(), P{Connect: is(ConnHostUnreach, ConnNetUnreach, ConnTimeout), Answer: is(AnswerICMP), ICMPCode: is(ICMPExceeded), ICMPFrom: fromRouter,
					PathEnd: is(PathFar, PathUnknown, PathLastHop, PathShort, PathBlackhole, PathNoHop), ProbeTTL255: is(ProbeAnswered), ConnectRepeat: is(RepeatSteady, RepeatMixed, NotAsked)}))},
		{ID: "return-path-lost", Stage: StagePath, Title: "the SYN-ACK leaves the host and never arrives here", Prior: 3,
			Ways:    ways(with(silent(), remote(), beyondRouters(), P{HostSYN: is(Yes), HostSYNACK: is(Yes), HostSockets: is(SocketsServe), HostRule: is(RuleNone)})),
			Weights: []Weight{{ProbeACK, ProbeRST, 0.2}}},
		{ID: "mtu-blackhole", Stage: StagePath, Title: "the handshake works, but large segments vanish", Prior: 2,
			Ways: ways(with(opens(), remote(), P{HostACK: is(Yes), SessionLarge: is(LargeStalls), SessionReply: is(ReplyNothing, ReplyCut, ReplyTLSError, ReplyExpected, NotAsked), SessionTTL: is(DistanceHost)}))},
		{ID: "packet-loss", Stage: StagePath, Title: "packets are lost at random", Prior: 2,
			Ways: ways(
				with(talks(), P{ProbeLoss: is(LossSome, LossHere), ConnectInTime: is(Yes, No), ProbeECN: is(NotAsked, ECNPasses), SessionReply: is(ReplyExpected, ReplyNothing, ReplyCut, NotAsked), SessionLarge: is(LargePasses, LargeStalls, LargeDead, NotAsked)}),
				with(silent(), anyProbe(), P{ProbeLoss: is(LossSome, LossHere), ConnectRepeat: is(RepeatMixed), ProbeSources: is(SourcesSame, SourcesDiffer), ConnectInTime: is(Yes, No, WhenNever), PathEnd: is(PathAnswered, PathLastHop, PathUnknown, PathNoHop, PathOnLink, PathShort)}),
				with(reset(), P{ProbeLoss: is(LossSome, LossHere), ConnectRepeat: is(RepeatMixed), ProbeSources: is(SourcesSame, SourcesDiffer)}),
			),
			// A few tries from two ports may differ by chance, too.
			Weights: []Weight{{ProbeSources, SourcesDiffer, 0.1}, {TargetHere, Yes, 0.05}}},
		{ID: "bad-ecmp-path", Stage: StagePath, Title: "one of several parallel paths is broken: the outcome follows the source port", Prior: 1,
			Ways: ways(
				with(opens(), remote(), P{ConnectRepeat: is(RepeatMixed), ProbeSources: is(SourcesDiffer), ProbeLoss: is(LossNone, LossSome)}),
				with(silent(), anyProbe(), remote(), P{ConnectRepeat: is(RepeatMixed), ProbeSources: is(SourcesSame, SourcesDiffer), ProbeLoss: is(LossSome), ConnectInTime: is(Yes, No, WhenNever),
					PathEnd: is(PathAnswered, PathLastHop, PathUnknown, PathNoHop, PathOnLink, PathShort)}),
				with(rejected(fromRouter, is(ICMPHost, ICMPNet)), remote(), P{ConnectRepeat: is(RepeatMixed), ProbeSources: is(SourcesSame, SourcesDiffer)}),
			),
			// Balanced by packet, or with loss besides, a port does not always fare alike.
			Weights: []Weight{{ProbeSources, SourcesSame, 0.1}}},
		{ID: "syn-proxy-dead-backend", Stage: StagePath, Title: "a middlebox completes the handshake, the backend behind it is dead", Prior: 1,
			Ways: ways(
				with(opens(), remote(), P{SessionEnd: is(EndRST, EndRSTAfter), SessionTTL: is(DistanceFarther), SessionReply: is(ReplyNothing, NotAsked), HostRule: anyRule}),
				// The proxy is on the host itself, or before it.
				with(opens(), remote(), mute, P{HostACK: is(Yes)}),
				with(opens(), remote(), mute, P{HostSYNACK: is(No)}),
			)},
		{ID: "answers-for-everything", Stage: StagePath, Title: "a middlebox accepts every port", Prior: 0.5,
			Ways: ways(with(opens(), remote(), P{EveryPort: is(Yes), HostSYN: is(No), HostRule: anyRule, SessionEnd: is(EndNone, EndFIN, EndRST, EndFINAfter, EndRSTAfter)}))},
		{ID: "ecn-blocked", Stage: StagePath, Title: "SYNs that ask for ECN vanish, others pass", Prior: 0.5,
			Ways: ways(
				with(silent(), remote(), beyondRouters(), P{ProbeECN: is(ECNBlocked), HostAnswers: is(Yes, ResetsOnly), ProbeLoss: is(LossSome, LossAll), ConnectRepeat: is(RepeatSteady, RepeatMixed)}),
				// Linux leaves ECN out of the SYNs that it sends again (tcp_ecn_fallback),
				// so the connect works after a second.
				with(opens(), remote(), P{ProbeECN: is(ECNBlocked), ProbeLoss: is(LossSome), ConnectRepeat: is(RepeatSteady, RepeatMixed, NotAsked), SessionReply: is(ReplyExpected, ReplyNothing, NotAsked)}),
			)},
		{ID: "duplicate-address", Stage: StagePath, Title: "two hosts own the address", Prior: 0.3,
			Ways: ways(
				with(leaves(), remote(), P{RouteTo: is(NextHopTarget), NeighOwners: is(OwnersSeveral), ConnectInTime: is(Yes, WhenNever), AnswerDropped: is(No), HostSYN: is(No)}),
				with(leaves(), remote(), P{RouteTo: is(NextHopTarget), ConnectRepeat: is(RepeatMixed), ProbeLoss: is(LossNone), ProbeSources: is(SourcesSame, SourcesDiffer), Connect: is(ConnOpen, ConnRefused), ConnectInTime: is(Yes), HostSYN: is(No)}),
			)},
	}
}
