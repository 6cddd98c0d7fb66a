package cause

import . "github.com/tcpwhy/tcpwhy/internal/evidence" //lint:ignore ST1001 the vocabulary is the language of this file

func localCauses() []Cause {
	// Nobody answers ARP or ND for the next hop: silence, or after about 3 s
	// this host's own ICMP host unreachable.
	unresolved := func(next Value) []P {
		base := with(leaves(), remote(), P{
			HostUp:  is(Yes),
			RouteTo: is(next), NeighState: is(NeighFailed), HostAnswers: is(No), SynLeft: is(No),
			PathEnd: is(PathNoHop, PathOnLink), ProbeLoss: is(LossAll), ConnectRepeat: is(RepeatSteady, NotAsked),
		})
		return ways(
			with(base, P{Connect: is(ConnHostUnreach), ConnectWhen: is(WhenAnswered), Answer: is(AnswerICMP),
				ICMPFrom: is(FromHere), ICMPCode: is(ICMPHost), AnswerVia: is(ViaLoopback)}),
			with(base, P{Connect: is(ConnTimeout), ConnectWhen: is(WhenNever), Answer: is(AnswerNone)}),
			// The entry in the table is wrong, so the SYN goes to nobody, or to a
			// host that is not meant.
			with(silent(), remote(), P{RouteTo: is(next), NeighState: is(NeighWrong), HostAnswers: is(No), HostSYN: is(No), PathEnd: is(PathNoHop, PathOnLink),
				ProbeTTL255: is(ProbeSilent, ProbeAnswered), ProbeACK: is(ProbeSilent), ProbeFIN: is(ProbeSilent)}),
		)
	}
	// What a rule answers with may be lost, too.
	stops := is(RuleDrop, RuleReset, RuleReject)
	// One that limits the rate stops some SYNs only, and no connection that is open.
	limits := with(leaves(), anyProbe(), P{SessionAcked: is(Yes, NotAsked), LocalRule: stops, Connect: is(ConnOpen, ConnRefused), Answer: is(AnswerSYNACK, AnswerRST), AnswerDropped: is(No),
		ConnectInTime: is(Yes, No, WhenNever), ProbeSources: is(SourcesSame, SourcesDiffer, NotAsked)})
	return []Cause{
		{ID: "no-route", Stage: StageLocal, Title: "this host has no route to the address", Prior: 5,
			Ways: ways(with(inCall(ConnNetUnreach), remote(), P{RouteLookup: is(RouteNone), FamilyHere: is(Yes), SourceHere: is(Yes)}))},
		{ID: "route-rejects", Stage: StageLocal, Title: "a blackhole, unreachable or prohibit route here rejects the address", Prior: 2,
			Ways: ways(with(inCall(ConnInvalid, ConnHostUnreach, ConnDenied, ConnNetUnreach), P{RouteLookup: is(RouteBlackhole, RouteUnreachable, RouteProhibit)}),
				// A policy rule about what the lookup does not name, such as a mark.
				with(inCall(ConnInvalid, ConnHostUnreach, ConnNetUnreach, ConnDenied), P{RouteLookup: is(RouteOK, RouteLocal), RouteRules: is(Yes), SourceHere: is(Yes)}))},
		{ID: "interface-down", Stage: StageLocal, Title: "the interface is down or has no carrier", Prior: 3,
			Ways: ways(
				with(inCall(ConnNetUnreach, ConnHostUnreach, ConnNoAddress), remote(), P{LinkState: is(LinkDown), RouteLookup: is(RouteNone)}),
				with(remote(), P{LinkState: is(LinkDown), RouteLookup: is(RouteOK), HostAnswers: is(No), NeighState: is(NeighFailed), HostSYN: is(No), AnswerDropped: is(No),
					Connect: is(ConnTimeout, ConnHostUnreach, ConnNetUnreach), Answer: is(AnswerNone, AnswerICMP), ICMPFrom: is(FromHere), PathEnd: is(PathNoHop, PathOnLink)}),
			)},
		{ID: "ports-exhausted", Stage: StageLocal, Title: "no ephemeral port is free for this destination", Prior: 2,
			Ways: ways(with(inCall(ConnNoAddress), P{RouteLookup: is(RouteOK, RouteLocal), FamilyHere: is(Yes), SourceHere: is(Yes), SourcePort: is(No), PortsHere: is(Full)}))},
		{ID: "source-address-missing", Stage: StageLocal, Title: "the requested source address is not on this host", Prior: 2,
			Ways: ways(with(inCall(ConnNoAddress, ConnInvalid, ConnNoFamily), P{SourceHere: is(No)}))},
		{ID: "source-port-busy", Stage: StageLocal, Title: "the requested source port is taken", Prior: 2,
			Ways: ways(with(inCall(ConnInUse, ConnNoAddress), P{SourceHere: is(Yes), SourcePort: is(Yes)}))},
		{ID: "too-many-open-files", Stage: StageLocal, Title: "the limit of open descriptors is reached", Prior: 1,
			Ways: ways(with(inCall(ConnNoFiles), P{FilesHere: is(Full)}))},
		{ID: "local-firewall-drop", Stage: StageLocal, Title: "this host's own filters drop the SYN, or its answer", Prior: 3,
			Ways: ways(
				// Input rules drop what comes back.
				with(silent(), remote(), P{AnswerDropped: is(Yes), LocalBack: stops, HostSYN: is(Yes), HostSYNACK: is(Yes), HostAnswers: is(No, Yes, ResetsOnly),
					PathEnd: is(PathLastHop, PathUnknown, PathNoHop, PathOnLink, PathBlackhole)}),
				// So does its reverse path filter, and routers' errors with it.
				with(silent(), remote(), P{AnswerDropped: is(DroppedReversePath), LocalFilter: is(Yes), HostSYN: is(Yes), HostSYNACK: is(Yes), HostAnswers: is(No, Yes, ResetsOnly),
					PathEnd: is(PathLastHop, PathUnknown, PathNoHop, PathOnLink, PathBlackhole)}),
				with(silent(), P{LocalRule: stops, SynLeft: is(No), PathEnd: is(PathNoHop, PathShort, PathOnLink), HostQueue: is(Free), HostSYNQueue: is(Free)}),
				// A rule about the source port or a rate lets other SYNs out.
				with(silent(), anyProbe(), P{LocalRule: stops, SynLeft: is(No), HostQueue: is(Free), HostSYNQueue: is(Free), ConnectRepeat: is(RepeatMixed), ProbeLoss: is(LossSome), ProbeSources: is(SourcesSame, SourcesDiffer)}),
				with(limits, P{ProbeLoss: is(LossHere), ConnectRepeat: is(RepeatSteady, RepeatMixed, NotAsked)}),
				with(limits, P{ProbeLoss: is(LossSome), ConnectRepeat: is(RepeatMixed), TargetHere: is(Yes)}),
			),
			Weights: []Weight{{ConnectRepeat, RepeatMixed, 0.1}, {SynLeft, Yes, 0.2}, {LocalBack, RuleDrop, 10}, {LocalFilter, Yes, 50}, {ProbeLoss, LossHere, 30}}},
		{ID: "local-firewall-reject", Stage: StageLocal, Title: "this host's own output rules reject the SYN", Prior: 3,
			Ways: ways(
				with(rejected(is(FromHere, FromHereTarget), is(ICMPPort, ICMPHost, ICMPNet, ICMPProhibited, ICMPOther)),
					P{AnswerVia: is(ViaLoopback), ICMPDelay: is(DelayNone), LocalRule: is(RuleReject), SynLeft: is(No), PathEnd: is(PathAnswered)}),
				with(reset(), P{AnswerVia: is(ViaLoopback), LocalRule: is(RuleReset), SynLeft: is(No), AnswerFrom: is(DistanceNearer), HostSockets: is(SocketsServe, SocketsUnreached)}),
			)},
		{ID: "local-policy-denies", Stage: StageLocal, Title: "a local policy (cgroup BPF, LSM, seccomp) denies connect()", Prior: 1,
			Ways: ways(with(inCall(ConnNotPermit, ConnDenied), P{RouteLookup: is(RouteOK, RouteLocal)}))},
		{ID: "family-unsupported", Stage: StageLocal, Title: "this host has no address of the target's family", Prior: 4,
			Ways: ways(
				with(inCall(ConnNoFamily, ConnNetUnreach, ConnNoAddress), remote(), P{FamilyHere: is(No)}),
				// There is an address, but none that the kernel would use (IPv6: tentative,
				// or of another scope).
				with(inCall(ConnNoAddress), remote(), P{FamilyHere: is(Yes), RouteLookup: is(RouteOK), SourceHere: is(Yes), SourcePort: is(No), PortsHere: is(Free)}),
			)},
		{ID: "conntrack-full", Stage: StageLocal, Title: "the connection tracking table here is full", Prior: 1,
			Ways: ways(with(silent(), P{TrackHere: is(Full), SynLeft: is(No), PathEnd: is(PathNoHop, PathOnLink, PathShort)}))},
		{ID: "neighbour-unreachable", Stage: StageLocal, Title: "the target is on the own link and does not answer ARP or ND", Prior: 3, Ways: unresolved(NextHopTarget)},
		{ID: "gateway-unreachable", Stage: StageLocal, Title: "the next hop does not answer ARP or ND", Prior: 4, Ways: unresolved(NextHopGateway)},
		{ID: "self-connection", Stage: StageLocal, Title: "the socket connected to itself", Prior: 0.5,
			Ways: ways(P{Connect: is(ConnOpen), SelfConnect: is(Yes), TargetHere: is(Yes)})},
	}
}
