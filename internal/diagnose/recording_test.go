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
		{"answer lost", conversation(syns(4), at(syns(4), func(r *evidence.Recording) { r.SYNACK, r.SYNACKCount = time.Millisecond, 4 }), evidence.Peers{}),
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
			r.ClientBytes, r.ClientData, r.SYNACKCount = 0, nil, 4
		}), nil, evidence.Peers{}), verdict.Degraded, verdict.Narrowed,
			[]verdict.CauseID{"accept-queue-full", "path-firewall-drop", "packet-loss"}, []verdict.CauseID{"none", "syn-queue-full"}},
		{"final ACK never taken", conversation(opened(func(r *evidence.Recording) {
			r.ClientBytes, r.ClientData, r.SYNACKCount = 0, nil, 6
		}), nil, evidence.Peers{}), verdict.Degraded, verdict.Narrowed,
			[]verdict.CauseID{"accept-queue-full", "path-firewall-drop"}, []verdict.CauseID{"none", "packet-loss"}},
		{"final ACK never taken, nor data", conversation(opened(func(r *evidence.Recording) {
			r.SYNACKCount, r.Resent, r.Unacked, r.ServerBytes, r.ServerData = 3, 4, 100, 0, nil
		}), nil, evidence.Peers{}), verdict.Degraded, verdict.Narrowed,
			[]verdict.CauseID{"accept-queue-full", "path-firewall-drop"}, []verdict.CauseID{"none", "packet-loss"}},
		{"final ACK lost, perhaps by chance", conversation(opened(func(r *evidence.Recording) { r.ClientBytes, r.ClientData, r.SYNACKCount = 0, nil, 4 }),
			at(opened(func(r *evidence.Recording) { r.ClientBytes, r.ClientData, r.SYNACKCount, r.ACK = 0, nil, 4, false }), same), evidence.Peers{}),
			verdict.Degraded, verdict.Narrowed, []verdict.CauseID{"path-firewall-drop", "packet-loss"}, []verdict.CauseID{"accept-queue-full"}},
		{"final ACK lost", conversation(opened(func(r *evidence.Recording) { r.ClientBytes, r.ClientData, r.SYNACKCount = 0, nil, 6 }),
			at(opened(func(r *evidence.Recording) { r.ClientBytes, r.ClientData, r.SYNACKCount, r.ACK = 0, nil, 6, false }), same), evidence.Peers{}),
			verdict.Degraded, verdict.Certain, []verdict.CauseID{"path-firewall-drop"}, nil},
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
