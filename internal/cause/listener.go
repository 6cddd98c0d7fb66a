package cause

import (
	"slices"

	. "github.com/tcpwhy/tcpwhy/internal/evidence" //lint:ignore ST1001 the vocabulary is the language of this file
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

func listenerCauses() []Cause {
	// The host's own TCP answers RST because no socket takes the SYN.
	closed := func(sockets Value, more P) []P {
		return ways(with(reset(), P{AnswerFrom: is(DistanceHost, DistanceSame), HostSockets: is(sockets),
			HostRule: is(RuleNone), HostDrop: is(DropNoSocket, DropNone), HostNAT: is(No),
			HostSYN: is(Yes), HostSYNACK: is(No), HostReset: is(Yes)}, answers(), more))
	}
	const nothing verdict.CauseID = "no-listener"
	because := func(id verdict.CauseID, title string, prior float64, service Value) Cause {
		return Cause{ID: id, Stage: StageListener, Title: title, Refines: nothing, Prior: prior,
			Ways: closed(SocketsNone, P{HostService: is(service)})}
	}
	inUse := P{HostService: is(ServiceBindInUse)}
	// Who listens is the service, and not a program that keeps it from its port.
	mended := P{HostService: is(ServiceRunning, ServiceNone, ServiceStopped, ServiceFlapping, ServiceOtherPort, ServiceOtherNS)}
	full := func(more P) []P {
		return ways(with(silent(), beyondRouters(), P{ProbeACK: is(ProbeRST, ProbeSilent), ProbeFIN: is(ProbeSilent),
			HostSYN: is(Yes), HostSYNACK: is(No), HostSockets: is(SocketsServe), HostRule: is(RuleNone), HostNAT: is(No),
			HostDrop: is(DropQueue, DropNone)}, answers(), more))
	}
	return []Cause{
		{ID: nothing, Stage: StageListener, Title: "nothing listens on the port", Prior: 30, Ways: closed(SocketsNone, nil)},
		{ID: "listens-on-loopback", Stage: StageListener, Title: "the service listens on the loopback address only", Prior: 8, Ways: closed(SocketsLoopback, mended)},
		{ID: "listens-elsewhere", Stage: StageListener, Title: "the service listens on another address or family only", Prior: 4, Ways: closed(SocketsElsewhere, mended)},
		because("listens-on-other-port", "the service listens on another port", 4, ServiceOtherPort),
		because("listens-in-other-namespace", "the service listens inside a container or namespace and is not published", 3, ServiceOtherNS),
		because("service-down", "the service is not running", 10, ServiceStopped),
		{ID: "service-restarting", Stage: StageListener, Title: "the service comes and goes", Refines: nothing, Prior: 2,
			Ways: slices.Concat(closed(SocketsNone, P{HostService: is(ServiceFlapping)}),
				closed(SocketsNone, P{HostService: is(ServiceFlapping), ConnectRepeat: is(RepeatMixed), ProbeLoss: is(LossNone), ProbeSources: is(SourcesSame, SourcesDiffer), HostSockets: is(SocketsNone, SocketsServe), HostQueue: is(Free), HostSYNQueue: is(Free)}),
				// It was up at the handshake, and perhaps gone soon after.
				ways(with(opens(), answers(), P{HostService: is(ServiceFlapping), HostSockets: is(SocketsNone, SocketsServe), HostRule: is(RuleNone), HostQueue: is(Free), HostSYNQueue: is(Free), ConnectRepeat: is(RepeatMixed), ProbeSources: is(SourcesSame, SourcesDiffer),
					SessionEnd: is(EndNone, EndRST, EndFIN, EndRSTAfter, EndFINAfter)})))},
		{ID: "bind-address-in-use", Stage: StageListener, Title: "the service could not bind: address in use", Refines: nothing, Prior: 1,
			// Another program may have the port at a part of the addresses.
			Ways: slices.Concat(closed(SocketsNone, inUse), closed(SocketsLoopback, inUse), closed(SocketsElsewhere, inUse))},
		because("bind-not-permitted", "the service could not bind: permission denied", 1, ServiceBindPerm),
		because("bind-address-missing", "the service could not bind: address not on the host", 1, ServiceBindAddr),
		{ID: "accept-queue-full", Stage: StageListener, Title: "the application does not accept fast enough: its accept queue is full", Prior: 3,
			Ways: append(full(P{HostQueue: is(Full)}),
				// It filled between SYN-ACK and ACK: the kernel ignores the ACK and what
				// follows, and sends its SYN-ACK again.
				with(opens(), P{SessionReply: is(ReplyNothing, NotAsked), SessionAcked: is(No), AnswerFrom: is(DistanceHost, DistanceSame), HostSYN: is(Yes), HostSYNACK: is(Yes), HostACK: is(Yes),
					HostQueue: is(Full), HostSockets: is(SocketsServe), HostRule: is(RuleNone), HostDrop: is(DropQueue, DropNone)})),
			Weights: []Weight{{ProbeACK, ProbeRST, 8}, {ProbeACK, ProbeSilent, 0.3}}},
		{ID: "syn-queue-full", Stage: StageListener, Title: "the table of half-open connections is full", Prior: 0.4,
			Ways: append(full(P{HostQueue: is(Free), HostSYNQueue: is(Full)}),
				// A later SYN finds room, and so its ACK.
				with(opens(), P{ProbeLoss: is(LossSome), SessionReply: is(ReplyExpected, ReplyNothing, NotAsked), SessionAcked: is(Yes, NotAsked), ConnectRepeat: is(RepeatSteady, RepeatMixed, NotAsked), HostSYN: is(Yes), HostSYNACK: is(Yes),
					HostQueue: is(Free), HostSYNQueue: is(Full), HostSockets: is(SocketsServe), HostRule: is(RuleNone), HostDrop: is(DropQueue, DropNone)})),
			Weights: []Weight{{ProbeACK, ProbeRST, 8}, {ProbeACK, ProbeSilent, 0.3}}},
	}
}
