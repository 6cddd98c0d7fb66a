package probe

import (
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/diagnose"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

var hop = netip.MustParseAddr("192.0.2.9")

// What was given up before the round trip had passed is asked again once that is
// known, from whichever answer, and what was waited for is not.
func TestForget(t *testing.T) {
	const rtt = 300 * time.Millisecond
	all := []diagnose.CheckID{diagnose.CheckPath, diagnose.CheckOtherPort, diagnose.CheckEcho, diagnose.CheckACK, diagnose.CheckTTL255}
	silent := func(kind string, took time.Duration) evidence.Control {
		return evidence.Control{Kind: kind, Took: took, Answer: "silent"}
	}
	for _, c := range []struct {
		name  string
		a     evidence.Address
		again []diagnose.CheckID
	}{
		{"no answer yet", evidence.Address{
			Path: &evidence.Path{Took: rtt / 2}, Controls: []evidence.Control{silent(evidence.ControlACK, rtt/2)},
		}, nil},
		{"the echo tells", evidence.Address{
			Path: &evidence.Path{Took: rtt / 2}, OtherPath: &evidence.Path{Took: rtt / 2},
			Controls: []evidence.Control{{Kind: evidence.ControlEcho, Took: rtt, Answer: "echo-reply"}, silent(evidence.ControlACK, rtt/2), silent(evidence.ControlTTL255, 2*rtt)},
		}, []diagnose.CheckID{diagnose.CheckPath, diagnose.CheckOtherPort, diagnose.CheckACK}},
		{"the SYN with TTL 255 tells", evidence.Address{
			Path: &evidence.Path{Took: 3 * rtt}, Controls: []evidence.Control{{Kind: evidence.ControlTTL255, Took: rtt, Answer: "syn-ack"}, silent(evidence.ControlEcho, rtt/2)},
		}, []diagnose.CheckID{diagnose.CheckEcho}},
		{"a router's error tells", evidence.Address{
			Attempts: []evidence.Attempt{{Took: 4 * rtt, Errno: "EHOSTUNREACH", ICMP: []evidence.SocketError{{From: hop, Type: 11}}}},
			Path:     &evidence.Path{Took: rtt},
		}, []diagnose.CheckID{diagnose.CheckPath}},
		{"an error after a failed address resolution does not", evidence.Address{
			Attempts: []evidence.Attempt{{Took: 10 * rtt, Errno: "EHOSTUNREACH", ICMP: []evidence.SocketError{{From: hop, Type: 3, Code: 1}}}},
			Path:     &evidence.Path{Took: rtt},
		}, nil},
	} {
		v := &investigation{a: &c.a, done: slices.Clone(all), confirmed: true, weighed: true}
		some := v.forget()
		var again []diagnose.CheckID
		for _, id := range all {
			if !slices.Contains(v.done, id) {
				again = append(again, id)
			}
		}
		if !slices.Equal(again, c.again) || some != (len(c.again) > 0) {
			t.Errorf("%s: %v are asked again (%v), want %v", c.name, again, some, c.again)
		}
		if slices.Contains(again, diagnose.CheckPath) && (v.a.Path != nil || v.confirmed || v.weighed) {
			t.Errorf("%s: the path is still there, or what came of it", c.name)
		}
		if slices.ContainsFunc(v.a.Controls, func(c evidence.Control) bool { return c.Answer == "silent" && c.Took < rtt }) && len(again) > 0 {
			t.Errorf("%s: silence that was not heard out is left: %+v", c.name, v.a.Controls)
		}
	}
}

// Of several copies of a probe one answer is enough; that none could be sent is no
// silence.
func TestSeveral(t *testing.T) {
	var (
		lost  = evidence.Control{Kind: evidence.ControlACK, Sent: 1, Answer: "silent"}
		heard = evidence.Control{Kind: evidence.ControlACK, Sent: 1, Answer: "rst", TTL: 62}
		local = evidence.Control{Kind: evidence.ControlACK, Answer: "not-sent", Errno: "EPERM"}
	)
	for _, c := range []struct {
		name   string
		comes  []evidence.Control // the zero value is an error
		want   string
		sent   int
		missed bool
	}{
		{"all lost", []evidence.Control{lost, lost, lost}, "silent", 3, false},
		{"the first is heard", []evidence.Control{heard, lost, lost}, "rst", 3, false},
		{"the last is heard", []evidence.Control{lost, lost, heard}, "rst", 3, false},
		{"none leaves", []evidence.Control{local, local}, "not-sent", 0, false},
		{"one fails", []evidence.Control{{}, heard}, "rst", 1, false},
		{"all fail", []evidence.Control{{}, {}}, "", 0, true},
	} {
		v := &investigation{a: &evidence.Address{}}
		var next atomic.Int64
		v.several("bare ACK", len(c.comes), func() (evidence.Control, error) {
			got := c.comes[next.Add(1)-1]
			if got.Answer == "" {
				return got, errors.New("broken")
			}
			return got, nil
		})
		var got evidence.Control
		if len(v.a.Controls) > 0 {
			got = v.a.Controls[0]
		}
		if len(v.a.Controls) > 1 || got.Answer != c.want || got.Sent != c.sent || len(v.a.NotChecked) > 0 != c.missed {
			t.Errorf("%s: %+v, not checked %v", c.name, v.a.Controls, v.a.NotChecked)
		}
	}
}
