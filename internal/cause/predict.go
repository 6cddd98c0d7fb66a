package cause

import (
	"maps"

	. "github.com/tcpwhy/tcpwhy/internal/evidence" //lint:ignore ST1001 the vocabulary is the language of this file
)

func is(v ...Value) []Value { return v }

// with returns the union of prediction sets; a later one replaces the answers
// of an earlier one for the same key.
func with(sets ...P) P {
	p := P{}
	for _, s := range sets {
		maps.Copy(p, s)
	}
	return p
}

func ways(p ...P) []P { return p }

// leaves: everything on this host works and the SYN goes out. Holds for every
// cause beyond this host.
func leaves() P {
	return P{
		RouteLookup: is(RouteOK, RouteLocal), LinkState: is(LinkUp), NeighState: is(NeighAnswers),
		FamilyHere: is(Yes), SourceHere: is(Yes), PortsHere: is(Free), FilesHere: is(Free),
		TrackHere: is(Free), NATHere: is(No), LocalRule: is(RuleNone), SynLeft: is(Yes), SelfConnect: is(No),
	}
}

// inCall: bind() or connect() itself fails, nothing is sent.
func inCall(errs ...Value) P {
	return P{Connect: errs, ConnectWhen: is(WhenAtOnce), Answer: is(AnswerNone), SynLeft: is(No)}
}

// silent: the SYN leaves and nothing comes back, however often it is sent.
func silent() P {
	return with(leaves(), P{
		Connect: is(ConnTimeout), ConnectWhen: is(WhenNever), Answer: is(AnswerNone),
		ProbeLoss: is(LossAll), ConnectRepeat: is(RepeatSteady), ConnectInTime: is(WhenNever),
		ProbeSources: is(SourcesSame), ProbeECN: is(NotAsked, ECNPasses),
		ProbeTTL255: is(ProbeSilent), NeighOwners: is(OwnersOne, NotAsked), AnswerDropped: is(No),
	})
}

// reset: a RST answers the SYN, every time.
func reset() P {
	return with(leaves(), P{
		Connect: is(ConnRefused), ConnectWhen: is(WhenAnswered), Answer: is(AnswerRST),
		ProbeLoss: is(LossNone, LossSome), ConnectRepeat: is(RepeatSteady), ConnectInTime: is(Yes),
		PathEnd: is(PathAnswered), ProbeSources: is(SourcesSame), NeighOwners: is(OwnersOne, NotAsked),
	})
}

// rejected: an ICMP error answers the SYN, every time.
func rejected(from, codes []Value) P {
	return with(leaves(), P{
		Connect:     is(ConnRefused, ConnHostUnreach, ConnNetUnreach, ConnDenied, ConnNoProto, ConnTimeout, ConnOther),
		ConnectWhen: is(WhenAnswered), Answer: is(AnswerICMP),
		ICMPFrom: from, ICMPCode: codes, ConnectRepeat: is(RepeatSteady, NotAsked), NeighOwners: is(OwnersOne, NotAsked),
		ProbeSources: is(SourcesSame),
	})
}

// opens: the handshake completes at the first SYN.
func opens() P {
	return with(leaves(), P{
		Connect: is(ConnOpen), ConnectWhen: is(WhenAnswered), Answer: is(AnswerSYNACK),
		ConnectInTime: is(Yes), ProbeLoss: is(LossNone), ConnectRepeat: is(RepeatSteady, NotAsked),
		ProbeSources: is(SourcesSame, NotAsked), NeighOwners: is(OwnersOne, NotAsked),
		ProbeECN: is(NotAsked, ECNPasses), EveryPort: is(No, NotAsked), SessionIdle: is(IdleSurvives, NotAsked),
		SessionLarge: is(LargePasses, NotAsked), SessionWindow: is(WindowOpen),
		SessionEnd: is(EndNone), SessionTTL: is(DistanceHost), HostRule: is(RuleNone), HostUp: is(Yes),
	})
}

// talks: the handshake completes, perhaps not at the first SYN, for packets may
// be lost besides. What comes after it is seen all the same.
func talks() P {
	return with(opens(), P{ProbeLoss: is(LossNone, LossSome), ConnectRepeat: is(RepeatSteady, RepeatMixed, NotAsked), ProbeSources: is(SourcesSame, SourcesDiffer, NotAsked)})
}

// anyProbe: single probes get through or not, as it happens.
func anyProbe() P {
	return P{ProbeTTL255: is(ProbeSilent, ProbeAnswered), ProbeECN: is(NotAsked, ECNPasses, ECNBlocked)}
}

// guarded: a host that never answers, behind a firewall that resets in its
// place. Possible, but far less likely than that the host reset.
func guarded() []Weight { return []Weight{{HostAnswers, ResetsOnly, 0.03}} }

// answers: the host has the address and can send to the client, so that it is its
// TCP that decides.
func answers() P {
	return P{HostOwns: is(Yes), HostUp: is(Yes), HostBack: is(Yes), HostRPFilter: is(Yes)}
}

// remote: the target is another machine.
func remote() P { return P{TargetHere: is(No)} }

// beyondRouters: SYNs to the port pass every router that is known, so what
// swallows them is the host, or the last router behind its TTL check.
func beyondRouters() P {
	return P{PathEnd: is(PathLastHop, PathUnknown, PathNoHop, PathOnLink, PathBlackhole)}
}
