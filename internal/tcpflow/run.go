package tcpflow

import (
	"unsafe"

	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// run is a run of packets of a shard on their way to their connections.
type run struct {
	shard   *shard
	packets []packet
	hashes  [ahead]uint64
}

// ahead is how many packets a run has at most: what they touch is to stay in
// the first-level cache for stages runs, the steps that each takes.
const (
	ahead  = 64
	stages = 3
)

// lines are addresses of cache lines to be fetched.
type lines struct {
	at [4 * ahead]uintptr
	n  int
}

// cacheLine is the size of those that matter here: others have larger ones.
const cacheLine = 64

// want notes an address. What does not fit is left out.
func (l *lines) want(p uintptr) {
	if l.n < len(l.at) {
		l.at[l.n] = p
		l.n++
	}
}

// fetch asks for what is noted.
func (l *lines) fetch() {
	prefetch(l.at[:l.n])
	l.n = 0
}

// follow applies the packets of a batch that belong to the worker's shards.
// Their connections are all over the memory, and the processor would wait for
// each. So a run takes three steps, with those of other runs between them: its
// places in the index are asked for, then its connections, and then its packets
// are applied.
func (w *worker) follow(b *batch, all *[shards]shard, linger int64) {
	if len(w.shards) == 0 {
		return
	}
	for _, k := range w.shards {
		all[k].sweeps = b.sweeps
	}
	own := &all[w.shards[0]]
	for _, k := range w.shards {
		for packets := b.shards[k]; len(packets) > 0; {
			run := packets[:min(len(packets), ahead)]
			packets = packets[len(run):]
			w.step(&all[k], run, b, linger)
		}
	}
	for range stages - 1 {
		w.step(own, nil, b, linger)
	}
	for _, k := range w.shards {
		s := &all[k]
		for _, w := range s.sweeps {
			s.sweep(linger, w.now, b.First+uint64(w.number))
		}
		b.letGo[k], s.letGo = append(b.letGo[k][:0], s.letGo...), s.letGo[:0]
	}
}

// step takes a run into the first step, and the two before it one further.
func (w *worker) step(s *shard, packets []packet, b *batch, linger int64) {
	r := w.runs[0]
	r.shard, r.packets = s, packets
	r.hash(&w.lines)
	if w.runs[1].shard != nil {
		w.runs[1].fetch(&w.lines)
	}
	if w.runs[2].shard != nil {
		w.runs[2].apply(b, linger)
	}
	w.runs[0], w.runs[1], w.runs[2] = w.runs[2], w.runs[0], w.runs[1]
}

// hash hashes the four-tuples and asks for their places in the index.
func (r *run) hash(l *lines) {
	s := r.shard
	slots := s.index.slots
	base, mask := uintptr(unsafe.Pointer(unsafe.SliceData(slots))), uint64(len(slots)-1)
	for i := range r.packets {
		p := &r.packets[i]
		h := s.hash(p.src, p.dst, p.ports)
		r.hashes[i] = h
		l.at[i] = base + uintptr(h>>32&mask)*wordBytes
	}
	l.n = len(r.packets)
	l.fetch()
}

// fetch asks for what are likely to be the connections.
func (r *run) fetch(l *lines) {
	s := r.shard
	slots := s.index.slots
	fresh := s.conns.n + 1
	n := 0
	for i := range r.packets {
		id := uint32(slots[r.hashes[i]>>32&uint64(len(slots)-1)])
		if id == 0 { // it will be the next one
			id = fresh
			fresh++
			if int(id>>chunkBits) >= len(s.conns.chunks) {
				continue
			}
		}
		at := uintptr(unsafe.Pointer(s.conns.at(id)))
		q := (*[4]uintptr)(l.at[n:])
		q[0], q[1], q[2], q[3] = at, at+cacheLine, at+2*cacheLine, at+3*cacheLine
		n += 2
		if r.packets[i].flags&(wire.SYN|wire.FIN|wire.RST) != 0 {
			n += 2 // the rest of it, too
		}
	}
	l.n = n
	l.fetch()
}

// apply follows the packets.
func (r *run) apply(b *batch, linger int64) {
	s := r.shard
	for i := range r.packets {
		p := &r.packets[i]
		for len(s.sweeps) > 0 && p.number >= s.sweeps[0].number {
			w := s.sweeps[0]
			s.sweeps = s.sweeps[1:]
			s.sweep(linger, w.now, b.First+uint64(w.number))
		}
		if p.bits&bitICMP == 0 {
			s.packet(b, p, r.hashes[i])
		} else {
			s.icmp(b, p, r.hashes[i])
		}
	}
}
