package cause

import . "github.com/tcpwhy/tcpwhy/internal/evidence" //lint:ignore ST1001 the vocabulary is the language of this file

func hostCauses() []Cause {
	// A host that never answers us, whatever the port.
	mute := func(drop Value) P {
		return with(silent(), remote(), beyondRouters(), P{HostAnswers: is(No, ResetsOnly), ProbeACK: is(ProbeSilent, ProbeSilentHere), ProbeFIN: is(ProbeSilent),
			HostSYN: is(Yes), HostSYNACK: is(No), HostDrop: is(drop), PathRule: is(RuleNone)})
	}
	nat := P{NATHere: is(Yes, No)}
	here := P{NATHere: is(Yes), SynLeft: is(Yes, No), HostSYN: is(No)}
	return []Cause{
		{ID: "host-down", Stage: StageHost, Title: "nobody has the address", Prior: 16,
			Ways: ways(
				with(rejected(is(FromRouter), is(ICMPHost)), remote(), P{HostAnswers: is(No), HostSYN: is(No), HostUp: is(No)}),
				with(silent(), remote(), beyondRouters(), P{HostAnswers: is(No, ResetsOnly), ProbeACK: is(ProbeSilent, ProbeSilentHere), ProbeFIN: is(ProbeSilent), HostSYN: is(No), HostUp: is(No), PathRule: is(RuleNone)}),
				with(leaves(), remote(), P{RouteTo: is(NextHopTarget), NeighState: is(NeighFailed), HostAnswers: is(No), SynLeft: is(No),
					Connect: is(ConnHostUnreach, ConnTimeout), Answer: is(AnswerNone, AnswerICMP), ICMPFrom: is(FromHere), ICMPCode: is(ICMPHost),
					PathEnd: is(PathNoHop, PathOnLink), ConnectRepeat: is(RepeatSteady, NotAsked), ProbeLoss: is(LossAll), HostSYN: is(No), HostUp: is(No)}),
			), Weights: guarded()},
		{ID: "host-firewall-drop", Stage: StageHost, Title: "the host's input rules drop the SYN", Prior: 20,
			Ways: ways(with(silent(), beyondRouters(), P{
				HostSYN: is(Yes), HostSYNACK: is(No), HostRule: is(RuleDrop), HostDrop: is(DropNetfilter), HostQueue: is(Free), HostSYNQueue: is(Free), PathRule: is(RuleNone)})),
			Weights: []Weight{{ProbeACK, ProbeRST, 0.1}}},
		{ID: "host-firewall-reset", Stage: StageHost, Title: "the host's rules answer with RST", Prior: 3,
			Ways: ways(with(reset(), P{AnswerFrom: is(DistanceHost, DistanceSame),
				HostSYN: is(Yes), HostSYNACK: is(No), HostReset: is(Yes), HostRule: is(RuleReset), HostDrop: is(DropNetfilter), HostSockets: is(SocketsServe)}))},
		{ID: "host-firewall-reject", Stage: StageHost, Title: "the host's rules reject with ICMP", Prior: 5,
			Ways: ways(with(rejected(is(FromTarget, FromHereTarget), is(ICMPPort, ICMPProhibited, ICMPHost, ICMPNet, ICMPOther)), P{
				ICMPDelay: is(DelayNone), // quoted anyhow: our own NAT may rewrite it
				HostSYN:   is(Yes), HostSYNACK: is(No), HostRule: is(RuleReject), HostDrop: is(DropNetfilter)}))},
		{ID: "host-reverse-path-filter", Stage: StageHost, Title: "the host's reverse path filter drops packets from here", Prior: 1,
			Ways: ways(mute(DropRPFilter)), Weights: guarded()},
		{ID: "host-no-return-route", Stage: StageHost, Title: "the host has no route back to here", Prior: 2,
			Ways: ways(mute(DropNoRoute)), Weights: guarded()},
		{ID: "host-address-missing", Stage: StageHost, Title: "packets reach a host that does not own the address", Prior: 1,
			Ways: ways(mute(DropNotLocal)), Weights: guarded()},
		{ID: "host-packet-filter", Stage: StageHost, Title: "an XDP, tc or cgroup BPF program on the host drops the SYN", Prior: 1,
			Ways:    ways(with(silent(), beyondRouters(), P{HostSYNACK: is(No), HostRule: is(RuleNone), HostDrop: is(DropPacketFilter), HostQueue: is(Free), HostSYNQueue: is(Free)})),
			Weights: []Weight{{ProbeACK, ProbeRST, 0.1}}},
		{ID: "nat-dead-backend", Stage: StageHost, Title: "the port is forwarded (NAT) to a backend that is dead", Prior: 1.5,
			Ways: ways(
				// The backend or its firewall resets: at its own distance, never at
				// that of a router that just answered as a router.
				with(reset(), nat, remote(), P{AnswerFrom: is(DistanceFarther, DistanceNearer, DistanceSame, DistanceHost), HostSockets: is(SocketsNone, SocketsServe), HostDrop: is(DropNone), HostSYN: is(No), HostReset: is(No)}),
				// It is the host that translates, or the backend that was watched.
				with(reset(), nat, remote(), P{AnswerFrom: is(DistanceFarther, DistanceNearer, DistanceSame, DistanceHost), HostSockets: is(SocketsNone, SocketsServe), HostDrop: is(DropNone), HostSYN: is(Yes), HostReset: is(Yes)}),
				// One of several backends is dead.
				with(reset(), nat, remote(), P{ConnectRepeat: is(RepeatMixed), ProbeSources: is(SourcesSame, SourcesDiffer), HostDrop: is(DropNone), HostSYN: is(No), HostReset: is(No)}),
				with(reset(), nat, remote(), P{ConnectRepeat: is(RepeatMixed), ProbeSources: is(SourcesSame, SourcesDiffer), HostDrop: is(DropNone), HostSYN: is(Yes), HostReset: is(Yes)}),
				with(rejected(is(FromTarget, FromRouter), is(ICMPHost, ICMPNet)), nat, remote(), P{ConnectRepeat: is(RepeatMixed), ProbeSources: is(SourcesSame, SourcesDiffer), HostDrop: is(DropNone)}),
				with(silent(), anyProbe(), nat, remote(), P{ConnectRepeat: is(RepeatMixed), ProbeLoss: is(LossSome), ProbeSources: is(SourcesSame, SourcesDiffer), ConnectInTime: is(Yes, No, WhenNever),
					PathEnd: is(PathAnswered, PathLastHop, PathUnknown, PathNoHop, PathOnLink, PathShort), HostSYNACK: is(No), HostDrop: is(DropNone)}),
				// Here, a forwarding rule counts only where a socket (a published
				// port's proxy) is there to be bypassed: without one nothing listens.
				with(reset(), nat, P{TargetHere: is(Yes), HostSockets: is(SocketsServe), HostDrop: is(DropNone)}),
				// Nobody answers for the backend's address: host unreachable, translated
				// to come "from" the target, after a failed address resolution. A NAT that
				// puts the quoted checksum right again leaves no other trace.
				with(rejected(is(FromTarget, FromHereTarget), is(ICMPHost, ICMPNet)), nat, P{ICMPDelay: is(DelayLate)}),
				with(rejected(is(FromTarget, FromHereTarget), is(ICMPPort, ICMPProhibited, ICMPHost, ICMPNet, ICMPOther)), nat, P{ICMPQuote: is(Value(QuoteRewritten))}),
				with(silent(), nat, P{PathEnd: is(PathLastHop, PathUnknown, PathNoHop, PathOnLink, PathBlackhole, PathShort), HostSYNACK: is(No), HostDrop: is(DropNone), HostQueue: is(Free), HostSYNQueue: is(Free)}),
				// This host's own rules (a published or a service address) send it there:
				// no SYN to the target is ever seen, and whoever answers is not the target.
				with(reset(), here, P{AnswerFrom: is(DistanceHost, DistanceSame, DistanceNearer, DistanceRouter, DistanceFarther)}),
				with(rejected(is(FromTarget, FromHereTarget), is(ICMPPort, ICMPHost, ICMPNet, ICMPProhibited, ICMPOther)), here),
				with(silent(), here, P{HostSYNQueue: is(Free)}),
			),
			Weights: []Weight{{AnswerFrom, DistanceHost, 0.3}, {AnswerFrom, DistanceSame, 0.3}, {AnswerFrom, DistanceFarther, 10}, {Answer, AnswerNone, 0.5}}},
		{ID: "tcp-signature-required", Stage: StageHost, Title: "the listener wants signed segments (TCP-MD5 or TCP-AO)", Prior: 0.3,
			Ways: ways(with(silent(), beyondRouters(), P{ProbeACK: is(ProbeSilent, ProbeSilentHere), ProbeFIN: is(ProbeSilent),
				HostSYN: is(Yes), HostSYNACK: is(No), HostDrop: is(DropMD5), HostSockets: is(SocketsServe), HostRule: is(RuleNone), HostQueue: is(Free), HostSYNQueue: is(Free)})),
			Weights: []Weight{{ProbeACK, ProbeSilentHere, 3}}},
		{ID: "ttl-security", Stage: StageHost, Title: "the listener wants a minimum TTL (GTSM)", Prior: 0.2,
			Ways: ways(with(silent(), remote(), beyondRouters(), P{ProbeTTL255: is(ProbeAnswered),
				HostSYN: is(Yes), HostSYNACK: is(No), HostDrop: is(DropMinTTL), HostSockets: is(SocketsServe), HostRule: is(RuleNone)})),
			Weights: []Weight{{ProbeTTL255, ProbeAnswered, 50}}},
	}
}
