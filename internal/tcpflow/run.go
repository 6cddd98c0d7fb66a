package tcpflow

// run is a run of packets of a shard on their way to their connections.
type run struct {
	shard   *shard
	packets []packet
}

// ahead is how many packets a run has at most: what they touch is to stay in
// the first-level cache for stages runs, the steps that each takes.
const (
	ahead  = 64
	stages = 4
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
// each. So a run takes four steps, with those of other runs between them: its
// places in the index are asked for, then its connections, then its packets are
// applied, and last the first data of connections is copied.
func (w *worker) follow(b *batch, all *[shards]shard) {
	for _, k := range w.shards {
		s := &all[k]
		s.sweeps = b.sweeps
		for packets := b.shards[k]; len(packets) > 0; {
			n := min(len(packets), ahead)
			w.step(run{s, packets[:n]}, b)
			packets = packets[n:]
		}
	}
	for range stages {
		w.step(run{}, b)
	}
	for _, k := range w.shards {
		s := &all[k]
		for _, w := range s.sweeps {
			s.sweep(b, w.now, b.First+uint64(w.number))
		}
		b.letGo[k], s.letGo = append(b.letGo[k][:0], s.letGo...), s.letGo[:0]
	}
}

// step takes a run into the first step, and those before it one further.
func (w *worker) step(r run, b *batch) {
	done := w.runs[stages-1]
	copy(w.runs[1:], w.runs[:])
	w.runs[0] = r
	if done.shard != nil {
		done.shard.copyData(b)
	}
	if s := r.shard; s != nil {
		prefetchSlots(r.packets, s.index.slots)
	}
	if r := &w.runs[1]; r.shard != nil && r.shard.conns.n > 0 {
		prefetchConns(r.packets, r.shard.index.slots, r.shard.conns.chunks, b.Data)
	}
	if r := &w.runs[2]; r.shard != nil {
		r.apply(b)
		r.shard.want(b, &w.lines)
	}
}

// apply follows the packets.
func (r *run) apply(b *batch) {
	s := r.shard
	for i := range r.packets {
		p := &r.packets[i]
		if len(s.sweeps) > 0 {
			s.due(b, p)
		}
		if p.bits&bitICMP == 0 {
			s.packet(b, p)
		} else {
			s.icmp(b, p)
		}
	}
}

// due hands out what is to go before a packet.
func (s *shard) due(b *batch, p *packet) {
	for len(s.sweeps) > 0 && uint32(p.number) >= s.sweeps[0].number {
		w := s.sweeps[0]
		s.sweeps = s.sweeps[1:]
		s.sweep(b, w.now, b.First+uint64(w.number))
	}
}
