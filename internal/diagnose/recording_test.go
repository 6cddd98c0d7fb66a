package diagnose_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/diagnose"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

func conversation(client, server *evidence.Recording, peers evidence.Peers) *evidence.Conversation {
	return &evidence.Conversation{
		Tuple:  flow.Tuple{Local: netip.MustParseAddrPort("192.0.2.1:40000"), Remote: netip.MustParseAddrPort("198.51.100.7:5432")},
		Client: client, Server: server, Compared: server != nil, Peers: peers,
	}
}

// syns is a recording of n SYNs, a second apart, and a long silence.
func syns(n int) *evidence.Recording {
	r := &evidence.Recording{Place: "client", Began: true, SYNCount: n, Watched: 5 * time.Second}
	for i := range n {
		r.SYNs = append(r.SYNs, time.Duration(i)*time.Second)
	}
	return r
}

// change returns r after f.
func change(r *evidence.Recording, f func(*evidence.Recording)) *evidence.Recording {
	f(r)
	return r
}

func refused(ttl int) *evidence.Recording {
	return change(syns(1), func(r *evidence.Recording) {
		r.Resets = []evidence.RecordedReset{{At: time.Millisecond, FromServer: true, TTL: ttl, Valid: true}}
	})
}

// rejected is a recording of SYNs, a second apart from 0 to the time, and then of
// errors of the target that come together 1 ms after the last one.
func rejected(last, errors int) *evidence.Recording {
	return change(syns(last+1), func(r *evidence.Recording) {
		at := max(time.Duration(last)*time.Second, 2800*time.Millisecond) + time.Millisecond
		if errors > 1 {
			r.SYNs = append(r.SYNs, 2*time.Second, 2200*time.Millisecond)
			r.SYNCount += 2
		}
		for range errors {
			r.ICMP = append(r.ICMP, evidence.SocketError{At: at, Type: 3, Code: 1, TTL: 60, From: netip.MustParseAddr("198.51.100.7"), Quote: evidence.QuoteIntact})
			at += time.Millisecond
		}
	})
}

// opened is a connection on which the client sent data.
func opened(f func(*evidence.Recording)) *evidence.Recording {
	return change(syns(1), func(r *evidence.Recording) {
		r.SYNACK, r.SYNACKCount, r.ACK, r.ServerTTL = time.Millisecond, 1, true, 60
		r.ClientBytes, r.ClientData = 18, []byte("GET / HTTP/1.1\r\n\r\n")
		f(r)
	})
}

func TestConversation(t *testing.T) {
	// At the server the same is seen, or what f makes of it.
	at := func(r *evidence.Recording, f func(*evidence.Recording)) *evidence.Recording {
		c := *r
		c.Place = "server"
		f(&c)
		return &c
	}
	same := func(*evidence.Recording) {}
	for _, c := range []struct {
		name      string
		from      *evidence.Conversation
		outcome   verdict.Outcome
		certainty verdict.Certainty
		// has must be among the candidates, not must not be.
		has, not []verdict.CauseID
	}{
		{"silence", conversation(syns(4), nil, evidence.Peers{}), verdict.Timeout, verdict.Narrowed,
			[]verdict.CauseID{"host-firewall-drop", "path-firewall-drop", "return-path-lost", "host-down"}, []verdict.CauseID{"no-listener", "local-firewall-drop", "no-route", "none"}},
		{"cut short", conversation(change(syns(1), func(r *evidence.Recording) { r.Watched = 300 * time.Millisecond }), nil, evidence.Peers{}),
			verdict.Timeout, verdict.Unknown, nil, []verdict.CauseID{"host-firewall-drop"}},
		{"own rules", conversation(change(syns(4), func(r *evidence.Recording) { r.SYNACK, r.SYNACKCount = time.Millisecond, 4 }), nil, evidence.Peers{}),
			verdict.Timeout, verdict.Certain, []verdict.CauseID{"local-firewall-drop"}, nil},
		{"at the server, no ACK", conversation(change(syns(4), func(r *evidence.Recording) { r.Place, r.SYNACK, r.SYNACKCount = "server", time.Millisecond, 4 }), nil, evidence.Peers{}),
			verdict.Timeout, verdict.Narrowed, []verdict.CauseID{"local-firewall-drop", "return-path-lost"}, []verdict.CauseID{"host-firewall-drop", "path-firewall-drop"}},
		{"at the server, silence", conversation(change(syns(4), func(r *evidence.Recording) { r.Place = "server" }), nil, evidence.Peers{}),
			verdict.Timeout, verdict.Narrowed, []verdict.CauseID{"host-firewall-drop", "accept-queue-full"}, []verdict.CauseID{"path-firewall-drop", "return-path-lost", "host-down"}},
		{"half open", conversation(change(syns(1), func(r *evidence.Recording) { r.SYNACK, r.SYNACKCount = time.Millisecond, 1 }), nil, evidence.Peers{}),
			verdict.Degraded, verdict.Unknown, nil, []verdict.CauseID{"none"}},
		{"lost on the way", conversation(syns(4), &evidence.Recording{Place: "server"}, evidence.Peers{}), verdict.Timeout, verdict.Narrowed,
			[]verdict.CauseID{"path-firewall-drop", "host-down", "path-blackhole"}, []verdict.CauseID{"return-path-lost", "host-firewall-drop"}},
		{"answer lost, perhaps by chance", conversation(syns(4), at(syns(4), func(r *evidence.Recording) { r.SYNACK, r.SYNACKCount = time.Millisecond, 4 }), evidence.Peers{}),
			verdict.Timeout, verdict.Narrowed, []verdict.CauseID{"return-path-lost", "packet-loss"}, []verdict.CauseID{"host-firewall-drop", "path-firewall-drop"}},
		{"answer lost", conversation(syns(4), at(syns(4), func(r *evidence.Recording) { r.SYNACK, r.SYNACKCount = time.Millisecond, 8 }), evidence.Peers{}),
			verdict.Timeout, verdict.Certain, []verdict.CauseID{"return-path-lost"}, nil},
		{"swallowed by the host", conversation(syns(4), at(syns(4), same), evidence.Peers{}), verdict.Timeout, verdict.Narrowed,
			[]verdict.CauseID{"host-firewall-drop", "accept-queue-full", "tcp-signature-required"}, []verdict.CauseID{"return-path-lost", "path-firewall-drop"}},
		{"refused", conversation(refused(60), nil, evidence.Peers{OpenTTLs: []int{60}}), verdict.Refused, verdict.Narrowed,
			[]verdict.CauseID{"no-listener", "host-firewall-reset", "path-firewall-reset"}, []verdict.CauseID{"host-down"}},
		{"refused nearer", conversation(refused(61), nil, evidence.Peers{OpenTTLs: []int{60}}), verdict.Refused, verdict.Narrowed,
			[]verdict.CauseID{"path-firewall-reset", "nat-dead-backend", "no-listener"}, nil},
		{"RST made up", conversation(refused(60), at(syns(1), same), evidence.Peers{}), verdict.Refused, verdict.Certain,
			[]verdict.CauseID{"path-firewall-reset"}, nil},
		{"RST of the host", conversation(refused(60), at(refused(64), same), evidence.Peers{}), verdict.Refused, verdict.Narrowed,
			[]verdict.CauseID{"no-listener", "host-firewall-reset"}, []verdict.CauseID{"path-firewall-reset"}},
		{"answered", conversation(opened(func(r *evidence.Recording) { r.ServerBytes, r.ServerData = 15, []byte("HTTP/1.1 200 OK") }), nil, evidence.Peers{}),
			verdict.Open, verdict.Certain, []verdict.CauseID{"none"}, nil},
		{"bad gateway", conversation(opened(func(r *evidence.Recording) { r.ServerBytes, r.ServerData = 15, []byte("HTTP/1.1 502 Bad") }), nil, evidence.Peers{}),
			verdict.Degraded, verdict.Certain, []verdict.CauseID{"http-gateway-error"}, nil},
		{"window zero", conversation(opened(func(r *evidence.Recording) { r.ZeroWindow = true }), nil, evidence.Peers{}),
			verdict.Degraded, verdict.Certain, []verdict.CauseID{"receiver-stalled"}, nil},
		{"reset at once", conversation(opened(func(r *evidence.Recording) {
			r.ClientBytes, r.ClientData = 0, nil
			r.Resets = []evidence.RecordedReset{{At: 2 * time.Millisecond, FromServer: true, TTL: 60, Valid: true}}
		}), nil, evidence.Peers{}), verdict.Reset, verdict.Narrowed, []verdict.CauseID{"reset-on-accept", "answers-for-everything"}, []verdict.CauseID{"none"}},
		{"reset from nearer", conversation(opened(func(r *evidence.Recording) {
			r.Resets = []evidence.RecordedReset{{At: 2 * time.Millisecond, FromServer: true, TTL: 62, Valid: true}}
		}), nil, evidence.Peers{}), verdict.Reset, verdict.Certain, []verdict.CauseID{"path-firewall-reset"}, nil},
		{"a RST that the receiver ignores", conversation(opened(func(r *evidence.Recording) {
			r.ServerBytes, r.ServerData = 15, []byte("HTTP/1.1 200 OK")
			r.Resets = []evidence.RecordedReset{{At: 2 * time.Millisecond, FromServer: true, TTL: 62}}
		}), nil, evidence.Peers{}), verdict.Open, verdict.Certain, []verdict.CauseID{"none"}, nil},
		{"TLS cut off", conversation(opened(func(r *evidence.Recording) {
			r.ClientBytes, r.ClientData = 300, []byte{22, 3, 1}
			r.ServerBytes, r.ServerData = 1200, []byte{22, 3, 3}
			r.Resets = []evidence.RecordedReset{{At: 9 * time.Millisecond, FromServer: true, TTL: 60, Valid: true}}
		}), nil, evidence.Peers{}), verdict.Reset, verdict.Narrowed, []verdict.CauseID{"tls-failed", "reset-mid-stream"}, []verdict.CauseID{"none"}},
		{"final ACK not taken", conversation(opened(func(r *evidence.Recording) {
			r.ClientBytes, r.ClientData, r.SYNACKCount, r.SYNACKAgain = 0, nil, 4, true
		}), nil, evidence.Peers{}), verdict.Degraded, verdict.Narrowed,
			[]verdict.CauseID{"accept-queue-full", "path-firewall-drop", "packet-loss"}, []verdict.CauseID{"none", "syn-queue-full"}},
		{"final ACK never taken", conversation(opened(func(r *evidence.Recording) {
			r.ClientBytes, r.ClientData, r.SYNACKCount, r.SYNACKAgain = 0, nil, 6, true
		}), nil, evidence.Peers{}), verdict.Degraded, verdict.Narrowed,
			[]verdict.CauseID{"accept-queue-full", "path-firewall-drop"}, []verdict.CauseID{"none", "packet-loss"}},
		{"final ACK never taken, nor data", conversation(opened(func(r *evidence.Recording) {
			r.SYNACKCount, r.SYNACKAgain, r.Resent, r.Unacked = 3, true, 4, 100
		}), nil, evidence.Peers{}), verdict.Degraded, verdict.Narrowed,
			[]verdict.CauseID{"accept-queue-full", "path-firewall-drop"}, []verdict.CauseID{"none", "packet-loss"}},
		{"final ACK lost, perhaps by chance", conversation(opened(func(r *evidence.Recording) {
			r.ClientBytes, r.ClientData, r.SYNACKCount, r.SYNACKAgain = 0, nil, 4, true
		}),
			at(opened(func(r *evidence.Recording) { r.ClientBytes, r.ClientData, r.SYNACKCount, r.ACK = 0, nil, 4, false }), same), evidence.Peers{}),
			verdict.Degraded, verdict.Narrowed, []verdict.CauseID{"path-firewall-drop", "packet-loss"}, []verdict.CauseID{"accept-queue-full"}},
		{"final ACK lost", conversation(opened(func(r *evidence.Recording) {
			r.ClientBytes, r.ClientData, r.SYNACKCount, r.SYNACKAgain = 0, nil, 6, true
		}),
			at(opened(func(r *evidence.Recording) { r.ClientBytes, r.ClientData, r.SYNACKCount, r.ACK = 0, nil, 6, false }), same), evidence.Peers{}),
			verdict.Degraded, verdict.Certain, []verdict.CauseID{"path-firewall-drop"}, nil},
		{"reset at once, after a SYN was lost", conversation(opened(func(r *evidence.Recording) {
			r.ClientBytes, r.ClientData, r.SYNCount, r.SYNs, r.SYNACK = 0, nil, 2, []time.Duration{0, time.Second}, 1001*time.Millisecond
			r.Resets = []evidence.RecordedReset{{At: 1002 * time.Millisecond, FromServer: true, TTL: 60, Valid: true}}
		}), nil, evidence.Peers{}), verdict.Reset, verdict.Narrowed, []verdict.CauseID{"reset-on-accept"}, []verdict.CauseID{"packet-loss", "none"}},
		{"closed at once, other attempts unanswered", conversation(opened(func(r *evidence.Recording) { r.FINServer = 2 * time.Millisecond }), nil,
			evidence.Peers{Same: 3, Silent: 2, SYNs: 9, LostSYNs: 6}), verdict.Degraded, verdict.Narrowed, []verdict.CauseID{"closed-on-accept"}, []verdict.CauseID{"packet-loss", "none"}},
		{"bad gateway, others otherwise", conversation(opened(func(r *evidence.Recording) { r.ServerBytes, r.ServerData = 15, []byte("HTTP/1.1 502 Bad") }), nil,
			evidence.Peers{Same: 1, Other: 2, SYNs: 9, LostSYNs: 6}), verdict.Degraded, verdict.Narrowed, []verdict.CauseID{"http-gateway-error"}, []verdict.CauseID{"packet-loss", "syn-queue-full"}},
		{"refused, other attempts unanswered", conversation(refused(60), nil, evidence.Peers{Same: 2, Silent: 3, SYNs: 14, LostSYNs: 12}),
			verdict.Refused, verdict.Narrowed, []verdict.CauseID{"no-listener", "host-firewall-reset", "packet-loss"}, nil},
		{"answer lost, or none", conversation(opened(func(*evidence.Recording) {}), nil, evidence.Peers{}),
			verdict.Degraded, verdict.Narrowed, []verdict.CauseID{"application-silent", "never-accepted", "packet-loss"}, nil},
		{"no answer for long", conversation(opened(func(r *evidence.Recording) { r.Watched = 20 * time.Second }), nil, evidence.Peers{}),
			verdict.Degraded, verdict.Narrowed, []verdict.CauseID{"application-silent", "never-accepted"}, []verdict.CauseID{"packet-loss"}},
		{"no answer, at the server", conversation(opened(func(r *evidence.Recording) { r.Place = "server" }), nil, evidence.Peers{}),
			verdict.Degraded, verdict.Narrowed, []verdict.CauseID{"application-silent", "never-accepted"}, []verdict.CauseID{"packet-loss"}},
		{"no answer, after a SYN was lost", conversation(opened(func(r *evidence.Recording) {
			r.SYNCount, r.SYNs, r.SYNACK = 2, []time.Duration{0, time.Second}, 1001*time.Millisecond
		}), nil, evidence.Peers{}), verdict.Degraded, verdict.Narrowed, []verdict.CauseID{"application-silent", "never-accepted", "packet-loss"}, nil},
		{"request lost, perhaps by chance", conversation(opened(func(r *evidence.Recording) { r.Unacked, r.Resent = 18, 3 }), nil, evidence.Peers{}),
			verdict.Degraded, verdict.Narrowed, []verdict.CauseID{"path-firewall-drop", "mtu-blackhole", "packet-loss"}, []verdict.CauseID{"none"}},
		{"request lost", conversation(opened(func(r *evidence.Recording) { r.Unacked, r.Resent = 18, 8 }), nil, evidence.Peers{}),
			verdict.Degraded, verdict.Narrowed, []verdict.CauseID{"path-firewall-drop", "mtu-blackhole"}, []verdict.CauseID{"none", "packet-loss"}},
		{"rejected by the host after SYNs were lost", conversation(rejected(3, 1), nil, evidence.Peers{}),
			verdict.Unreachable, verdict.Narrowed, []verdict.CauseID{"host-firewall-reject", "nat-dead-backend"}, nil},
		{"rejected for SYNs that waited", conversation(rejected(1, 3), nil, evidence.Peers{}),
			verdict.Unreachable, verdict.Narrowed, []verdict.CauseID{"nat-dead-backend"}, []verdict.CauseID{"host-firewall-reject"}},
		{"RST that the server's capture may miss", conversation(opened(func(r *evidence.Recording) {
			r.Resets = []evidence.RecordedReset{{At: 2 * time.Millisecond, FromServer: true, TTL: 60, Valid: true}}
		}), at(opened(same), same), evidence.Peers{}), verdict.Reset, verdict.Narrowed, []verdict.CauseID{"reset-on-accept", "reset-mid-stream"}, []verdict.CauseID{"path-firewall-reset"}},
		{"reset, from before the capture", conversation(opened(func(r *evidence.Recording) {
			r.Began, r.SYNCount, r.SYNs, r.ClientData, r.ServerBytes = false, 0, nil, nil, 1
			r.Resets = []evidence.RecordedReset{{At: 2 * time.Millisecond, FromServer: true, TTL: 60, Valid: true}}
		}), nil, evidence.Peers{}), verdict.Reset, verdict.Narrowed, []verdict.CauseID{"reset-on-accept", "reset-mid-stream"}, []verdict.CauseID{"path-firewall-reset"}},
		{"reset, captured on a router", conversation(opened(func(r *evidence.Recording) {
			r.Place = "between"
			r.Resets = []evidence.RecordedReset{{At: 2 * time.Millisecond, FromServer: true, TTL: 61, Valid: true}}
		}), nil, evidence.Peers{}), verdict.Reset, verdict.Narrowed, []verdict.CauseID{"reset-on-accept", "reset-mid-stream", "path-firewall-reset", "syn-proxy-dead-backend"}, nil},
		{"reset, seen before and behind a router", conversation(opened(func(r *evidence.Recording) {
			r.Resets = []evidence.RecordedReset{{At: 2 * time.Millisecond, FromServer: true, TTL: 61, Valid: true}, {At: 2 * time.Millisecond, FromServer: true, TTL: 60, Valid: true}}
		}), nil, evidence.Peers{}), verdict.Reset, verdict.Narrowed, []verdict.CauseID{"reset-on-accept", "reset-mid-stream", "path-firewall-reset"}, nil},
		{"SYN-ACK lost, not its ACK", conversation(opened(func(r *evidence.Recording) {
			r.Place, r.ClientBytes, r.ClientData, r.SYNACKCount = "server", 0, nil, 2
		}), nil, evidence.Peers{}), verdict.Open, verdict.Narrowed, []verdict.CauseID{"none", "application-silent"}, nil},
		{"too late for the client", conversation(change(syns(2), func(r *evidence.Recording) {
			r.SYNACK, r.SYNACKCount = 3*time.Second, 1
			r.Resets = []evidence.RecordedReset{{At: 3 * time.Second, TTL: 64, Valid: true}}
		}), nil, evidence.Peers{}), verdict.Degraded, verdict.Narrowed, []verdict.CauseID{"timeout-too-short", "packet-loss"}, []verdict.CauseID{"none"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			facts, got := diagnose.Conversation(c.from)
			var left []verdict.CauseID
			for _, x := range got.Verdict.Candidates {
				left = append(left, x.Cause)
			}
			if got.Outcome != c.outcome || got.Verdict.Certainty != c.certainty {
				t.Errorf("%s, %s of %v, want %s, %s: %s\n%+v", got.Outcome, got.Verdict.Certainty, left, c.outcome, c.certainty, got.Verdict.Finding, facts)
			}
			for _, id := range c.has {
				if !slices.Contains(left, id) {
					t.Errorf("%s is not among %v", id, left)
				}
			}
			for _, id := range c.not {
				if slices.Contains(left, id) {
					t.Errorf("%s is still among %v", id, left)
				}
			}
		})
	}
}
