package capture

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// crowd is a result of attempts of many hosts in all parts.
func crowd(t *testing.T, workers int) *Result {
	t.Helper()
	r := rand.New(rand.NewPCG(9, 9))
	s := &scene{b: newBook(Options{All: true})}
	for range 4000 {
		s.client, s.server = byte(r.IntN(40)), byte(r.IntN(12))
		s.part = r.IntN(tcpflow.Parts)
		s.attempt(float64(r.IntN(6000))/10, "ort"[r.IntN(3)], uint16(80+r.IntN(3)), uint8(60+r.IntN(3)))
	}
	s.b.ended([tcpflow.Parts]int{}, start+700e9)
	out := &Result{book: s.b, workers: workers}
	out.finish()
	return out
}

// TestSummarize holds the sums against the list of connections.
func TestSummarize(t *testing.T) {
	r := crowd(t, 3)
	addr := netip.MustParseAddr("198.51.100.3")
	for _, f := range []Filter{{}, {Port: 81}, {Addr: addr}, {From: start + 100e9, To: start + 400e9}, {Cause: "no-listener"}} {
		type group struct {
			server  netip.AddrPort
			outcome verdict.Outcome
			cause   verdict.CauseID
			certain verdict.Certainty
		}
		groups, clients, failed := map[group]int{}, map[group]map[netip.Addr]bool{}, map[netip.AddrPort]int{}
		all, fine := 0, 0
		for b := range r.Briefs(f, Everything) {
			all++
			if b.State == Fine {
				fine++
			}
			if b.State == Failed {
				g := group{b.Server, b.Outcome, b.Cause, b.Certainty}
				groups[g]++
				failed[b.Server]++
				if clients[g] == nil {
					clients[g] = map[netip.Addr]bool{}
				}
				clients[g][b.Client.Addr()] = true
			}
		}
		s := r.Summarize(f, 1000)
		n := 0
		for _, g := range s.Groups {
			n += g.Count
			// Other candidates make another group.
			k := group{g.Server, g.Outcome, g.Cause, g.Certainty}
			if g.Count > groups[k] || g.Count == groups[k] && g.Clients != len(clients[k]) || g.First > g.Last {
				t.Errorf("%+v: %+v; want %d of %d clients", f, g, groups[k], len(clients[k]))
			}
		}
		if n != s.Failed || s.GroupCount != len(s.Groups) || len(s.Groups) < len(groups) {
			t.Errorf("%+v: %d in %d groups, %d failed; want %d groups or more", f, n, s.GroupCount, s.Failed, len(groups))
		}
		if !slices.IsSortedFunc(s.Groups, func(x, y Group) int { return cmp.Compare(y.Count, x.Count) }) {
			t.Errorf("%+v: groups are not in order", f)
		}
		if f.Cause == "" && (s.Connections != all || s.Fine != fine) {
			t.Errorf("%+v: %d connections, %d fine; want %d, %d", f, s.Connections, s.Fine, all, fine)
		}
		for _, x := range s.Targets {
			if x.Failed != failed[x.Server] || x.Attempts < x.Failed {
				t.Errorf("%+v: %+v, want %d failed", f, x, failed[x.Server])
			}
		}
		if s.TargetCount != len(failed) || len(s.Targets) != len(failed) {
			t.Errorf("%+v: %d targets, want %d", f, s.TargetCount, len(failed))
		}
		few := r.Summarize(f, 2)
		if fmt.Sprint(few.Groups) != fmt.Sprint(s.Groups[:2]) || few.GroupCount != s.GroupCount {
			t.Errorf("%+v: the first groups are %+v, want %+v", f, few.Groups, s.Groups[:2])
		}
	}
}

// TestSameWhateverWorkers: the opinions and their order do not depend on how
// many judge.
func TestSameWhateverWorkers(t *testing.T) {
	list := func(r *Result) (out []string) {
		for b := range r.Briefs(Filter{}, Everything) {
			out = append(out, fmt.Sprintf("%+v", b))
		}
		return append(out, fmt.Sprintf("%+v", r.Summarize(Filter{}, 50)))
	}
	want := list(crowd(t, 1))
	if len(want) != 4001 {
		t.Fatalf("%d lines", len(want))
	}
	for _, n := range []int{2, 7} {
		if got := list(crowd(t, n)); !slices.Equal(got, want) {
			t.Errorf("with %d workers it is something else", n)
		}
	}
}
