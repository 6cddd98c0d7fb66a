package cause

import (
	. "github.com/tcpwhy/tcpwhy/internal/evidence" //lint:ignore ST1001 the vocabulary is the language of this file
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

func sessionCauses() []Cause {
	// An open port whose session fails in the way that more says.
	session := func(more P) []P { return ways(with(talks(), more)) }
	mute := func(accepted Value) []P {
		return session(P{SessionReply: is(ReplyNothing, NotAsked), SessionAcked: is(Yes, NotAsked), HostAccepted: is(accepted)})
	}
	// It may also fail at our request, and end the connection without a word.
	gone := with(talks(), P{SessionReply: is(ReplyNothing), SessionEnd: is(EndFINAfter), HostAccepted: is(Yes)})
	return []Cause{
		{ID: "reset-on-accept", Stage: StageSession, Title: "the connection is accepted and reset at once", Prior: 5,
			Ways: session(P{HostReset: is(Yes), SessionEnd: is(EndRST), SessionReply: is(ReplyNothing, NotAsked)})},
		{ID: "closed-on-accept", Stage: StageSession, Title: "the connection is accepted and closed without a byte", Prior: 5,
			Ways: session(P{SessionEnd: is(EndFIN), SessionReply: is(ReplyNothing, NotAsked)})},
		{ID: "never-accepted", Stage: StageSession, Title: "the kernel completed the handshake, the application never took the connection", Prior: 2, Ways: mute(No),
			Weights: []Weight{{SessionReply, NotAsked, 0.02}}},
		{ID: "application-silent", Stage: StageSession, Title: "the application accepted and does not answer", Prior: 5, Ways: append(mute(Yes), gone),
			Weights: []Weight{{SessionReply, NotAsked, 0.02}}},
		{ID: "receiver-stalled", Stage: StageSession, Title: "the application stopped reading: its window is zero", Prior: 1,
			Ways: session(P{SessionWindow: is(WindowZero), SessionReply: is(ReplyNothing, NotAsked), SessionLarge: is(LargePasses, LargeStalls, LargeDead, NotAsked)})},
		{ID: "tls-failed", Stage: StageSession, Title: "the TLS handshake fails", Prior: 5,
			Ways: ways(
				with(talks(), P{SessionReply: is(ReplyTLSError), SessionEnd: is(EndNone, EndFINAfter, EndRSTAfter)}),
				// Some servers end the connection without the alert that would say why.
				with(talks(), P{SessionReply: is(ReplyNothing), SessionEnd: is(EndFINAfter, EndRSTAfter), SessionHello: is(HelloTLS)}),
			)},
		{ID: "wrong-protocol", Stage: StageSession, Title: "another protocol answers", Prior: 4,
			Ways: ways(
				with(talks(), P{SessionReply: is(ReplyOther), SessionEnd: is(EndNone, EndFIN, EndRST, EndFINAfter, EndRSTAfter)}),
				// A server that cannot read our hello may hang up, or wait for the rest of
				// what it takes for a request of its own protocol.
				with(talks(), P{SessionReply: is(ReplyNothing), SessionEnd: is(EndNone, EndFINAfter, EndRSTAfter), SessionAcked: is(Yes, NotAsked), HostAccepted: is(Yes)}),
			),
			Weights: []Weight{{SessionEnd, EndNone, 0.3}}},
		{ID: "http-gateway-error", Stage: StageSession, Title: "a proxy answers with a gateway error", Prior: 4,
			Ways: session(P{SessionReply: is(ReplyGateway), SessionEnd: is(EndNone, EndFINAfter, EndRSTAfter)})},
		{ID: "idle-dropped", Stage: StageSession, Title: "an idle connection is silently forgotten on the way", Prior: 1,
			Ways: session(P{HostACK: is(Yes), SessionIdle: is(IdleDies)})},
		{ID: "reset-mid-stream", Stage: StageSession, Title: "the connection is reset after data", Prior: 2,
			Ways: append(session(P{HostReset: is(Yes), SessionReply: is(ReplyCut), SessionEnd: is(EndRST, EndRSTAfter)}),
				session(P{HostReset: is(Yes), SessionReply: is(ReplyNothing), SessionEnd: is(EndRSTAfter)})...)},
		{ID: "timeout-too-short", Stage: StageSession, Title: "the answer comes after the caller's timeout", Prior: 2,
			Ways: ways(
				with(opens(), P{ConnectInTime: is(No), ProbeLoss: is(LossNone, LossSome)}),
				with(silent(), P{ConnectInTime: is(No), ProbeLoss: is(LossNone, LossSome, LossAll)}),
			)},
	}
}

func works() Cause {
	// A healthy application may need longer than we wait, to answer or to greet.
	// As the host itself sees it, if it does.
	served := with(answers(), P{HostQueue: is(Free), HostSYNQueue: is(Free)})
	slow := with(opens(), served, P{SessionReply: is(ReplyNothing), SessionEnd: is(EndNone), SessionAcked: is(Yes, NotAsked), HostAccepted: is(Yes), HostSockets: is(SocketsServe)})
	// A proxy or balancer may fail a connection now and then.
	now := with(opens(), served, P{SessionReply: is(ReplyNothing), SessionRepeat: is(RepeatMixed), SessionEnd: is(EndNone, EndRST, EndRSTAfter),
		SessionTTL: is(DistanceHost, DistanceSame, DistanceNearer, DistanceRouter, DistanceFarther), HostAccepted: is(Yes, No), HostSockets: is(SocketsServe)})
	good := with(opens(), served, P{SessionReply: is(ReplyExpected, NotAsked), SessionAcked: is(Yes, NotAsked),
		// A single SYN may be lost, or wait for an address resolution.
		ProbeLoss: is(LossNone, LossSome), HostAccepted: is(Yes, No), HostSockets: is(SocketsServe)})
	// Where the host sends it on, or has not the address, its own sockets do not matter.
	var all []P
	for _, w := range ways(slow, now, good) {
		elsewhere := with(w)
		delete(elsewhere, HostSockets)
		delete(elsewhere, HostOwns)
		all = append(all, w, with(elsewhere, P{HostNAT: is(Yes)}), with(elsewhere, P{HostOwns: is(No)}))
	}
	return Cause{ID: verdict.None, Stage: StageNone, Title: "it works", Prior: 100,
		Ways:    all,
		Weights: []Weight{{HostSockets, SocketsNone, 0.002}, {HostSockets, SocketsElsewhere, 0.002}, {HostSockets, SocketsLoopback, 0.002}, {ProbeLoss, LossSome, 0.01}, {SessionReply, ReplyNothing, 0.01}, {SessionRepeat, RepeatMixed, 0.5}}}
}
