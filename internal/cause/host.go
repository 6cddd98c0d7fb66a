package cause

import (
	"slices"

	. "github.com/tcpwhy/tcpwhy/internal/evidence" //lint:ignore ST1001 the vocabulary is the language of this file
)

func hostCauses() []Cause {
	// A host that never answers us, whatever the port.
	mute := func(drop []Value, proof P) P {
		return with(silent(), remote(), beyondRouters(), P{HostAnswers: is(No, ResetsOnly), ProbeACK: is(ProbeSilent, ProbeSilentHere), ProbeFIN: is(ProbeSilent),
			HostSYN: is(Yes), HostSYNACK: is(No), HostDrop: drop, HostUp: is(Yes), PathRule: is(RuleNone)}, proof)
	}
	ruled := P{AnswerFrom: is(DistanceHost, DistanceSame), HostSYN: is(Yes), HostSYNACK: is(No), HostReset: is(Yes), HostRule: is(RuleReset), HostDrop: is(DropNetfilter)}
	nat := P{NATHere: is(Yes, No)}
	here := P{NATHere: is(Yes), SynLeft: is(Yes, No), HostSYN: is(No)}
	// It is the host that translates, or something before it: then no SYN to the
	// port arrives, or at a machine that has not the address.
	translated := func(resets bool, each ...P) []P {
		var all []P
		for _, w := range each {
			for _, v := range []P{{HostNAT: is(Yes), HostReset: is(Yes), HostRule: is(RuleNone)}, {HostSYN: is(No, OtherPort), HostReset: is(No)}, {HostOwns: is(No), HostReset: is(Yes)}} {
				if !resets {
					delete(v, HostReset)
				}
				all = append(all, with(w, v))
			}
		}
		return all
	}
	return []Cause{
		{ID: "host-down", Stage: StageHost, Title: "nobody has the address", Prior: 16,
			Ways: ways(
				with(rejected(is(FromRouter), is(ICMPHost)), remote(), P{HostAnswers: is(No), HostSYN: is(No), HostUp: is(No)}),
				with(silent(), remote(), beyondRouters(), P{HostAnswers: is(No, ResetsOnly), ProbeACK: is(ProbeSilent, ProbeSilentHere), ProbeFIN: is(ProbeSilent), HostSYN: is(No), HostUp: is(No), PathRule: is(RuleNone)}),
				with(leaves(), remote(), P{RouteTo: is(NextHopTarget), NeighState: is(NeighFailed), HostAnswers: is(No), SynLeft: is(No),
					Connect: is(ConnHostUnreach, ConnTimeout), Answer: is(AnswerNone, AnswerICMP), ICMPFrom: is(FromHere), ICMPCode: is(ICMPHost),
					PathEnd: is(PathNoHop, PathOnLink), ConnectRepeat: is(RepeatSteady, NotAsked), ProbeLoss: is(LossAll), HostSYN: is(No), HostUp: is(No)}),
			), Weights: guarded()},
		{ID: "host-firewall-drop", Stage: StageHost, Title: "the host's own rules drop the SYN, or its answer", Prior: 20,
			Ways: ways(with(silent(), beyondRouters(), P{
				HostSYN: is(Yes), HostSYNACK: is(No), HostRule: is(RuleDrop), HostDrop: is(DropNetfilter), HostUp: is(Yes), HostQueue: is(Free), HostSYNQueue: is(Free), PathRule: is(RuleNone)}),
				// One that limits the rate lets others in. On another machine that is what
				// chance does to packets, too; here there is no path to lose them on.
				with(leaves(), anyProbe(), P{TargetHere: is(Yes), ProbeLoss: is(LossSome), ConnectRepeat: is(RepeatMixed), Connect: is(ConnOpen, ConnRefused), Answer: is(AnswerSYNACK, AnswerRST),
					ConnectInTime: is(Yes, No, WhenNever), ProbeSources: is(SourcesSame, SourcesDiffer), AnswerDropped: is(No), HostRule: is(RuleDrop), HostDrop: is(DropNetfilter)})),
			Weights: []Weight{{ProbeACK, ProbeRST, 0.1}}},
		{ID: "host-firewall-reset", Stage: StageHost, Title: "the host's rules answer with RST", Prior: 3,
			Ways: ways(
				with(reset(), ruled, P{HostSockets: is(SocketsServe, SocketsUnreached)}),
				// Nor does anything listen, which only the rules show not to be the reason.
				with(reset(), remote(), ruled, P{HostSockets: is(SocketsNone, SocketsLoopback, SocketsElsewhere)}))},
		{ID: "host-firewall-reject", Stage: StageHost, Title: "the host's rules reject with ICMP", Prior: 5,
			Ways: ways(with(rejected(is(FromTarget, FromHereTarget), is(ICMPPort, ICMPProhibited, ICMPHost, ICMPNet, ICMPOther)), P{
				ICMPDelay: is(DelayNone), // quoted anyhow: our own NAT may rewrite it
				HostSYN:   is(Yes), HostSYNACK: is(No), HostRule: is(RuleReject), HostDrop: is(DropNetfilter)}))},
		{ID: "host-reverse-path-filter", Stage: StageHost, Title: "the host's reverse path filter drops packets from here", Prior: 1,
			Ways: ways(mute(is(DropRPFilter), P{HostOwns: is(Yes), HostRPFilter: is(No)})), Weights: guarded()},
		// Not every kernel gives a reason for a SYN whose answer it cannot send.
		{ID: "host-no-return-route", Stage: StageHost, Title: "the host has no route back to here", Prior: 2,
			Ways: ways(mute(is(DropNoRoute, DropNone), P{HostOwns: is(Yes), HostBack: is(No)})), Weights: guarded()},
		{ID: "host-address-missing", Stage: StageHost, Title: "packets reach a host that does not own the address", Prior: 1,
			Ways: ways(mute(is(DropNotLocal), P{HostOwns: is(No), HostNAT: is(No)})), Weights: guarded()},
		{ID: "host-packet-filter", Stage: StageHost, Title: "an XDP, tc or cgroup BPF program on the host drops the SYN", Prior: 1,
			Ways:    ways(with(silent(), beyondRouters(), P{HostSYNACK: is(No), HostRule: is(RuleNone), HostDrop: is(DropPacketFilter), HostPrograms: is(Yes), HostUp: is(Yes), HostQueue: is(Free), HostSYNQueue: is(Free)})),
			Weights: []Weight{{ProbeACK, ProbeRST, 0.1}}},
		{ID: "nat-dead-backend", Stage: StageHost, Title: "the port is forwarded (NAT) to a backend that is dead", Prior: 1.5,
			Ways: slices.Concat(
				translated(true,
					// The backend or its firewall resets: at its own distance, never at
					// that of a router that just answered as a router.
					with(reset(), nat, remote(), P{AnswerFrom: is(DistanceFarther, DistanceNearer, DistanceSame, DistanceHost), HostSockets: is(SocketsNone, SocketsServe), HostDrop: is(DropNone, DropNoSocket)}),
					// One of several backends is dead.
					with(reset(), nat, remote(), P{ConnectRepeat: is(RepeatMixed), ProbeSources: is(SourcesSame, SourcesDiffer), HostDrop: is(DropNone, DropNoSocket)})),
				translated(false,
					with(rejected(is(FromTarget, FromRouter), is(ICMPHost, ICMPNet)), nat, remote(), P{ConnectRepeat: is(RepeatMixed), ProbeSources: is(SourcesSame, SourcesDiffer), HostDrop: is(DropNone)}),
					with(silent(), anyProbe(), nat, remote(), P{ConnectRepeat: is(RepeatMixed), ProbeLoss: is(LossSome), ProbeSources: is(SourcesSame, SourcesDiffer), ConnectInTime: is(Yes, No, WhenNever),
						PathEnd: is(PathAnswered, PathLastHop, PathUnknown, PathNoHop, PathOnLink, PathShort), HostDrop: is(DropNone)}),
					// Nobody answers for the backend's address: host unreachable, translated
					// to come "from" the target, after a failed address resolution. A NAT that
					// puts the quoted checksum right again leaves no other trace.
					with(rejected(is(FromTarget, FromHereTarget), is(ICMPHost, ICMPNet)), nat, P{ICMPDelay: is(DelayLate)}),
					with(rejected(is(FromTarget, FromHereTarget), is(ICMPPort, ICMPProhibited, ICMPHost, ICMPNet, ICMPOther)), nat, P{ICMPQuote: is(Value(QuoteRewritten))}),
					with(silent(), nat, P{PathEnd: is(PathLastHop, PathUnknown, PathNoHop, PathOnLink, PathBlackhole, PathShort), HostSYNACK: is(No), HostDrop: is(DropNone), HostQueue: is(Free), HostSYNQueue: is(Free)})),
				ways(
					// Here, a forwarding rule counts only where a socket (a published
					// port's proxy) is there to be bypassed: without one nothing listens.
					with(reset(), nat, P{TargetHere: is(Yes), HostSockets: is(SocketsServe), HostDrop: is(DropNone), HostNAT: is(Yes)}),
					// This host's own rules (a published or a service address) send it there:
					// no SYN to the target is ever seen, and whoever answers is not the target.
					with(reset(), here, P{AnswerFrom: is(DistanceHost, DistanceSame, DistanceNearer, DistanceRouter, DistanceFarther)}),
					with(rejected(is(FromTarget, FromHereTarget), is(ICMPPort, ICMPHost, ICMPNet, ICMPProhibited, ICMPOther)), here),
					with(silent(), here, P{HostSYNQueue: is(Free)})),
			),
			Weights: []Weight{{AnswerFrom, DistanceHost, 0.3}, {AnswerFrom, DistanceSame, 0.3}, {AnswerFrom, DistanceFarther, 10}, {Answer, AnswerNone, 0.5}}},
		{ID: "tcp-signature-required", Stage: StageHost, Title: "the listener wants signed segments (TCP-MD5 or TCP-AO)", Prior: 0.3,
			Ways: ways(with(silent(), beyondRouters(), P{ProbeACK: is(ProbeSilent, ProbeSilentHere), ProbeFIN: is(ProbeSilent),
				HostSYN: is(Yes), HostSYNACK: is(No), HostDrop: is(DropMD5), HostSockets: is(SocketsServe), HostRule: is(RuleNone), HostQueue: is(Free), HostSYNQueue: is(Free)}, answers())),
			Weights: []Weight{{ProbeACK, ProbeSilentHere, 3}}},
		{ID: "ttl-security", Stage: StageHost, Title: "the listener wants a minimum TTL (GTSM)", Prior: 0.2,
			Ways: ways(with(silent(), remote(), beyondRouters(), P{ProbeTTL255: is(ProbeAnswered),
				HostSYN: is(Yes), HostSYNACK: is(No), HostDrop: is(DropMinTTL), HostSockets: is(SocketsServe), HostRule: is(RuleNone), HostQueue: is(Free), HostSYNQueue: is(Free)}, answers())),
			Weights: []Weight{{ProbeTTL255, ProbeAnswered, 50}}},
	}
}
