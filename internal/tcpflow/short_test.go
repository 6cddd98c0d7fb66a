package tcpflow

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow/flowtest"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// TestShortWay: the short way through packet does what any does, for sound
// connections and for packets that make no sense.
func TestShortWay(t *testing.T) {
	var capture bytes.Buffer
	if _, err := flowtest.Write(&capture, flowtest.Config{Connections: 4000, Seconds: 1, Seed: 5, Snaplen: 128}); err != nil {
		t.Fatal(err)
	}
	r, err := pcapfile.NewReader(&capture, pcapfile.ReadOptions{BatchBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	var a arena
	defer a.release()
	var short, long [shards]shard
	for k := range shards {
		for _, s := range []*shard{&short[k], &long[k]} {
			s.arena, s.max = &a, 1<<20
			s.index.grow(&a)
		}
	}
	d, b := &decoder{}, &batch{}
	rnd := rand.New(rand.NewPCG(1, 2))
	for r.ReadBatch(t.Context(), &b.Batch) == nil {
		d.decode(b)
		for k := range shards {
			for i := range b.shards[k] {
				p := &b.shards[k][i]
				if p.bits&bitICMP != 0 {
					continue
				}
				if rnd.IntN(4) == 0 {
					spoil(rnd, p)
				}
				for range []int{1, 1, 1, 1, 1, 1, 0, 2, 3, 4}[rnd.IntN(10)] { // lost, or repeated
					short[k].packet(b, p)
					long[k].search(b, p)
					short[k].copyData(b)
					long[k].copyData(b)
					_, x, _ := short[k].find(b, p)
					if _, y, _ := long[k].find(b, p); *x != *y {
						t.Fatalf("after %+v the short way\n%+v\nthe long way\n%+v", *p, *x, *y)
					}
				}
			}
		}
	}
	taken := 0
	for k := range shards {
		if short[k].conns.n != long[k].conns.n {
			t.Fatalf("%d connections and %d", short[k].conns.n, long[k].conns.n)
		}
		var f, g filler
		for id := uint32(1); id <= short[k].conns.n; id++ {
			x, y := short[k].conns.at(id), long[k].conns.at(id)
			if one, two := fmt.Sprintf("%+v", f.fill(&short[k], x)), fmt.Sprintf("%+v", g.fill(&long[k], y)); one != two {
				t.Fatalf("the short way\n%s\nthe long way\n%s", one, two)
			}
			taken++
		}
	}
	if taken < 4000 {
		t.Errorf("only %d connections", taken)
	}
}

// spoil changes what packet looks at.
func spoil(r *rand.Rand, p *packet) {
	switch r.IntN(9) {
	case 0:
		p.flags ^= wire.Flags(1 << r.IntN(8))
	case 1:
		p.window = 0
	case 2:
		p.seq += uint32(r.IntN(5)) - 2
	case 3:
		p.ack += uint32(r.IntN(5)) - 2
	case 4:
		p.ttl = uint8(r.IntN(256))
	case 5:
		p.length = uint32(r.IntN(3))
	case 6:
		p.bits ^= []uint8{bitIn, bitOut, bitCut, bitFragment, bitTunnel}[r.IntN(5)]
	case 7:
		p.length = 1<<31 + uint32(r.IntN(3))
	case 8:
		p.time += int64(r.IntN(3)-1) * 1e9
	}
}
