package capture

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// edges are the times at which something changes its meaning, in diagnose or
// in the protocols; between two of them all times are alike.
var edges = []time.Duration{
	1, 200 * time.Millisecond, 900 * time.Millisecond, time.Second, 2 * time.Second, 2500 * time.Millisecond, 3 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, time.Minute,
}

// enough is the number beyond which a count of packets says no more.
const enough = 16

// shape appends what is equal for conversations that give equal facts, the
// numbers in their texts apart. TestShape holds it against diagnose.
func shape(b []byte, c *evidence.Conversation, k *kept, early string) []byte {
	if early != "" {
		return append(b, "early"...)
	}
	r, p := c.Client, &c.Peers
	num := func(v int) { b = binary.AppendVarint(b, int64(v)) }
	yes := func(all ...bool) {
		var x byte
		for i, y := range all {
			x |= bit(y, 1<<i)
		}
		b = append(b, x)
	}
	when := func(d time.Duration) {
		i, exact := slices.BinarySearch(edges, d)
		num(2*i + int(bit(exact, 1)))
	}
	server := c.Tuple.Remote.Addr()
	b = append(b, byte(k.wire), byte(k.odd&(OddSYNAgain|OddSYNACKAgain)), packPlace(r.Place))
	yes(server.Is4(), server.IsLoopback(), r.Began, r.ACK, r.ECN, r.ZeroWindow, r.Missed, r.SYNACKAgain)
	yes(r.ClientBytes == 0, r.ServerBytes == 0, r.ServerBytes > 1, r.Unacked > 0, r.Resent > 0, r.FINClient > 0, r.FINServer > 0, r.FINServer < r.FINClient)
	num(min(r.SYNCount, enough))
	num(min(r.SYNACKCount, 2))
	if r.SYNACKCount > 1 && r.ServerBytes == 0 {
		num(min(r.SYNACKCount+r.Resent, enough))
	}
	num(r.ServerTTL)
	when(r.Idle)
	when(r.Watched)
	if r.Unacked > 0 {
		num(min(r.Resent, enough))
		yes(r.Unacked < r.ClientBytes)
	}
	watched := r.Watched
	if n := len(r.SYNs); n > 0 {
		watched += r.SYNs[n-1]
	}
	when(watched)
	// The share of SYNs that were lost, with those of the peers.
	lost := r.SYNCount
	if r.SYNACKCount > 0 || slices.ContainsFunc(r.Resets, func(x evidence.RecordedReset) bool { return x.FromServer }) {
		lost--
	}
	lost += p.LostSYNs
	num(min(lost, enough))
	yes(lost == r.SYNCount+p.SYNs, p.Same > 0, p.Other > 0, p.Silent > 0, p.Changed)
	trip := func(at time.Duration) {
		i, _ := slices.BinarySearchFunc(r.SYNs, at, func(x, y time.Duration) int { return int(min(max(x-y, -1), 1)) })
		if i < len(r.SYNs) && r.SYNs[i] == at {
			i++
		}
		if i > 0 {
			when(at - r.SYNs[i-1])
		} else {
			num(-1)
		}
	}
	trip(r.SYNACK)
	yes(len(r.SYNs) > 0 && r.SYNs[max(len(r.SYNs)-1, 0)] > r.SYNACK)
	for _, list := range [][]int{p.OpenTTLs, p.ClosedTTLs} {
		num(len(list))
		for _, v := range list {
			num(v)
		}
	}
	num(len(r.Resets))
	for _, x := range r.Resets {
		yes(x.FromServer, x.Valid, x.At < r.FINClient, x.At >= r.SYNACK, x.At < r.FINServer)
		num(x.TTL)
		trip(x.At)
	}
	num(len(r.ICMP))
	for _, x := range r.ICMP {
		num(x.Type)
		num(x.Code)
		yes(x.From == c.Tuple.Local.Addr(), x.From == server, x.From.Is4(), x.Quote == evidence.QuoteIntact, x.Quote == evidence.QuoteRewritten)
		when(x.At)
		trip(x.At)
	}
	for i, x := range r.ICMP {
		for _, y := range r.ICMP[i+1:] {
			yes(x.TTL == y.TTL)
			when(y.At - x.At)
		}
	}
	b = beginning(b, r.ClientData)
	return beginning(b, r.ServerData)
}

// beginning appends what of the first data a verdict may look at: a TLS record
// header, or the status line of HTTP/1.
func beginning(b, data []byte) []byte {
	n := 0
	switch {
	case looksTLS(data):
		n = 3
	case len(data) >= 7 && string(data[:7]) == "HTTP/1.":
		n = 12
	case len(data) >= 1 && (data[0] == tlsAlert || data[0] == tlsAlert+1):
		n = 3
	}
	b = append(b, bit(len(data) > 0, 1)|bit(len(data) > 2, 2), byte(n))
	return append(b, data[:min(n, len(data))]...)
}
