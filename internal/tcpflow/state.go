package tcpflow

// conn is what is held of a connection: 256 bytes without pointers. A packet
// in the middle of it touches the first 128 only.
type conn struct {
	// The client's and the server's address as in packet, and the ports, the
	// client's in the upper half.
	client, server uint32
	ports          uint32
	v6             uint32 // of the addresses in shard.addrs, 0 for IPv4
	set            uint32
	extra          uint32 // in shard.extras, 0 without
	last           int64
	half           [2]half

	first         int64
	number        uint64 // of the first packet in the capture
	synACK, acked int64
	fin           [2]int64
	isn           [2]uint32
	data          [2]uint32 // in shard.data, 0 without
	trouble       [2]trouble
	mss           [2]uint16
	wscale        [2]int8
	syns, synACKs uint16 // the counts stop at their end
	resets, icmp  uint16
	event         uint32    // the last one in shard.events, 0 without
	repeat        uint32    // the last one in shard.repeats, 0 without
	_             [2]uint32 // to whole cache lines
}

// half is one direction.
type half struct {
	bytes    uint64
	lastData int64
	next     uint32 // the highest sequence number sent, plus one
	ack      uint32 // the last acknowledgement sent
	nextAt   uint32 // when next was reached, and ack sent: tick
	ackAt    uint32
	packets  uint32
	set      uint32
	window   uint16
	minTTL   uint8
	maxTTL   uint8
	firstTTL uint8
	dupRun   uint8 // duplicate ACKs in a row
	_        [2]uint8
}

// trouble counts what goes wrong in one direction.
type trouble struct {
	retrans  uint32
	disorder uint32
	dupACKs  uint32
	lost     uint32
}

// The bits of conn.set.
const (
	hasSYN = 1 << iota
	hasSYNACK
	hasHandshake // the client's ACK, or its data
	hasServerData
	hasSimultaneous
	isV6
	isCut
	isFragmented
	isTunnelled
	hasReset // one that its receiver may have taken
	isOver   // nothing more is expected
	isQueued // in shard.young or later
)

// The bits of half.set.
const (
	halfSYN = 1 << iota
	halfNext
	halfACK // ack and window are known
	halfFIN
	halfFINAcked
	halfSACK
	halfTimestamps
	halfECN
	halfChanged
	halfISNChanged
	halfOffloaded
	halfIn
	halfOut
	halfData // the first data is kept
	// halfMissed: a FIN acknowledged what had not been seen, and may be seen when it
	// is sent again.
	halfMissed
	// What the last packet was.
	lastKeepAlive
	lastProbe
	// inZero: the last window was 0.
	inZero
)

// extra is what few connections have.
type extra struct {
	half [2]extraHalf
}

type extraHalf struct {
	zeroFirst, zeroSince, zeroFor int64
	zeros, probes                 uint32
	keepAlives, unanswered        uint32
	gaps                          [maxGaps]gap
}

// gap is a range of sequence numbers that the capture has not seen.
type gap struct{ from, to uint32 }

const maxGaps = 4

// dataBlock is the beginning of the data of one direction.
type dataBlock struct {
	at   int64
	data [MaxFirstData]byte
	n    uint8
}

// repeat is a SYN or SYN-ACK but the first. Those of a connection are a list,
// the last one first.
type repeat struct {
	time   int64
	before uint32 // the one before
	answer bool   // a SYN-ACK
}

// event is a RST or an ICMP error. Those of a connection are a list like that
// of repeats.
type event struct {
	time       int64
	bytes      uint64 // before a RST
	seq, ack   uint32
	before     uint32 // the event before
	mtu        uint32
	address    uint32 // of the sender of ICMP, in shard.addrs
	ipid       uint16
	window     uint16
	kind       eventKind
	side       Side
	flags, ttl uint8
	place      SeqPlace
	typ, code  uint8
	quote      quoteKind
	quotedSYN  bool
}

type eventKind uint8

const (
	eventRST eventKind = iota
	eventICMP
)

type quoteKind uint8

const (
	quoteUnknown quoteKind = iota
	quoteIntact
	quoteRewritten
)

// address is the pair of IPv6 addresses of a connection, client first, or the
// sender of an ICMP error in its first half.
type address [32]byte

// shard holds a part of the connections. One goroutine at a time uses it.
type shard struct {
	seed    uint64
	max     int
	arena   *arena // shared
	index   index
	conns   slab[conn]
	live    int
	addrs   slab[address]
	extras  slab[extra]
	data    slab[dataBlock]
	events  slab[event]
	repeats slab[repeat]
	victims []uint32 // what to let go next, the last one first
	reused  bool     // numbers of connections were used again
	sweeps  []sweep  // of the batch
	linger  int64    // see Options
	// young are new connections to look at, later others.
	young, later lingerQueue
	lines        lines
	// firstData is what copyData is to do.
	firstData []firstData
	letGo     []letGo
	// part is Options.Part for this one, failed the error that it gave.
	part   func(*Conn) error
	failed error
	filler filler
	counts Counts
	_      apart
}

// apart keeps what different goroutines write out of each other's cache lines.
type apart [128]byte
