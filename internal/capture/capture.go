// Package capture says what became of the connections in captures: it has
// tcpflow follow them, keeps what a verdict may need of those that failed or are
// odd, compares them with the other connections of the same server, and asks
// diagnose about each. It claims no more than a capture shows: one that begins
// late, ends early or misses packets leaves connections undecided.
//
// Memory is bounded: connections that fared well leave a few bytes, the others
// less than a hundred each, verdicts are made when they are asked for, and what
// is let go is counted. It imports tcpflow, pcapfile, decap, wire and diagnose,
// and the values.
package capture

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/diagnose"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// Options of Analyze. The zero value is good.
type Options struct {
	// Parallelism is how many goroutines work; 0 takes runtime.GOMAXPROCS. The
	// results do not depend on it.
	Parallelism int
	// MaxConnections bounds the connections that are followed at a time, and
	// those that are kept for a verdict; 0 goes by the memory that is available.
	MaxConnections int
	// All keeps the connections that fared well, too.
	All bool
	// Settled, if set, is told of every failed connection as soon as nothing
	// more is expected of it, with the verdict and the result so far; see [tcpflow.Options] for
	// what that means. It is for captures that grow.
	Settled func(*Connection, *Result)
}

// linger is how long a connection must be silent to be settled, by the
// capture's clock: longer than the pause before the third SYN of older
// kernels, see tcp(7), tcp_syn_retries.
const linger = 5 * time.Second

// aMinute is how long a connection that is over, or an attempt that goes
// nowhere, must be silent where nobody waits for it: as long as Linux keeps the
// side that closed first in TIME-WAIT, tcp(7). What is held until the end of a
// large capture takes much memory.
const aMinute = time.Minute

// File is one capture that was read.
type File struct {
	Name string
	// Counts of a file that belongs to a set are its packets and times only.
	tcpflow.Counts
	// Links names the link types at its beginning; none for a stream.
	Links []string
	// Damage says where the file stops making sense; nil if it does not.
	Damage *pcapfile.DamageError
}

// State is what became of a connection in the eyes of its client.
type State uint8

// The states.
const (
	// Fine: established, and nothing wrong came after.
	Fine State = iota
	// Impaired: it served, though the verdict names a cause such as packet loss.
	Impaired
	// Failed: not established, or it did not serve.
	Failed
	// Undecided: the capture shows too little of it.
	Undecided
)

var states = [...]string{"fine", "impaired", "failed", "undecided"}

// String gives "fine", "impaired", "failed" or "undecided", as in the JSON
// output.
func (s State) String() string { return states[s%State(len(states))] }

// Odd are peculiarities of a connection, a bit each.
type Odd uint8

// The peculiarities.
const (
	// OddSYNAgain: the SYN was sent more than once, and then answered.
	OddSYNAgain Odd = 1 << iota
	// OddSYNACKAgain: the SYN-ACK came more than once: it, or the ACK, was lost.
	OddSYNACKAgain
	// OddReset: a RST ended the established connection.
	OddReset
	// OddZeroWindow: a side announced a window of 0.
	OddZeroWindow
	// OddHalfClosed: one side ended it, and the other had not at the end.
	OddHalfClosed
	// OddKeepAlive: the last keepalives were not answered.
	OddKeepAlive
	// OddUnacked: data was sent again and never acknowledged.
	OddUnacked
	// OddHole: the capture itself misses packets of it.
	OddHole

	odds = 8
)

// OddNames name the bits of Odd from the lowest, as in the JSON output.
var OddNames = [odds]string{
	"syn-again", "syn-ack-again", "reset", "zero-window", "half-closed", "keepalive-unanswered", "unacknowledged", "hole",
}

// Connection is one connection and what may be said about it.
type Connection struct {
	// File is the index of the capture it is in, Number that of its first
	// packet there, from 1.
	File   int
	Number uint64
	Client netip.AddrPort
	Server netip.AddrPort
	// Name is that by which the capture shows the server's address to have been
	// looked up, "" without one. It is not escaped beyond what tcpflow does.
	Name        string
	First, Last tcpflow.Time
	// Wire is what the packets show, Outcome what the client experienced: "" if
	// that is undecided.
	Wire    tcpflow.Outcome
	State   State
	Outcome verdict.Outcome
	Odd     Odd
	Facts   []evidence.Fact
	Verdict verdict.Verdict
	// Recording is what the verdict rests on.
	Recording evidence.Recording
}

// Result is what captures hold.
type Result struct {
	Files []File
	// Total is the sum over all files.
	Total tcpflow.Counts
	// NotKept counts connections that are not in the result for want of room.
	NotKept uint64
	// KernelDrops counts packets that the kernel did not hand to whoever captured,
	// for want of room; nil where nothing tells, as in a file.
	KernelDrops *uint64
	// Gaps are those of a file set, in order: a connection that goes on behind one
	// and did not fare well is undecided.
	Gaps []Gap

	book    *book
	names   names
	peers   *peers
	judges  []*opinion // by place in book.kept
	memo    *memo
	known   diagnose.Memo
	workers int
	starts  []uint64 // of a file set: how many packets are before each of Files
	began   tcpflow.Time
}

// Began is the time of the first packet, while the capture is read that of the
// first connection.
func (r *Result) Began() tcpflow.Time {
	if r.Total.First != 0 {
		return r.Total.First
	}
	return r.began
}

// FileSet says that Files were read as one capture.
func (r *Result) FileSet() bool { return r.starts != nil }

// Analyze reads captures, one after the other; a file set is the only one. The
// error is that of opening or reading; damage of a file is none, as what comes
// before it counts. The result is never nil, and holds for what was read.
func Analyze(ctx context.Context, sources []Source, o Options) (*Result, error) {
	b := newBook(o)
	if o.Parallelism <= 0 {
		o.Parallelism = runtime.GOMAXPROCS(0)
	}
	r := &Result{book: b, workers: o.Parallelism}
	var err error
	for i, s := range sources {
		if err = r.read(ctx, i, s, o); err != nil {
			break
		}
	}
	r.finish()
	return r, err
}

func (r *Result) read(ctx context.Context, i int, s Source, o Options) error {
	in, err := s.open()
	if err != nil {
		return err
	}
	f := File{Name: s.Name, Links: s.links(ctx)}
	t := tcpflow.Options{Parallelism: o.Parallelism, MaxConnections: o.MaxConnections}
	from := r.book.counts()
	if o.Settled == nil {
		t.Linger = aMinute
		t.Part = func(part int, c *tcpflow.Conn) error {
			r.book.add(part, i, c)
			return nil
		}
	} else {
		t.Linger = linger
		t.Conn = func(c *tcpflow.Conn) error {
			if r.began == 0 {
				r.began = c.First
			}
			c.LetGo = false // by lingering, not for want of room
			if r.book.add(0, i, c) {
				r.settled(o.Settled)
			}
			return nil
		}
	}
	sum, err := tcpflow.Analyze(ctx, in, t)
	if e := in.Close(); err == nil {
		err = e
	}
	r.book.ended(from, sum.Last)
	r.names.add(sum)
	r.count(&sum.Counts)
	if set, ok := in.(*setReader); ok {
		r.Files, r.starts, r.Gaps = set.read, set.starts, gaps(set.read)
		r.book.across(from, r.Gaps)
		return err
	}
	f.Counts = sum.Counts
	if errors.As(err, &f.Damage) {
		err = nil
	}
	r.Files = append(r.Files, f)
	return err
}

// count adds the counts of a file.
func (r *Result) count(c *tcpflow.Counts) {
	t := &r.Total
	if c.Packets > 0 {
		if t.Packets == 0 {
			t.First, t.Last = c.First, c.Last
		}
		t.First, t.Last = min(t.First, c.First), max(t.Last, c.Last)
	}
	t.Packets += c.Packets
	t.Bytes += c.Bytes
	t.TCP += c.TCP
	t.ICMP += c.ICMP
	t.DNS += c.DNS
	t.NotTCP += c.NotTCP
	t.Malformed += c.Malformed
	t.Fragments += c.Fragments
	t.Snapped += c.Snapped
	t.CutData += c.CutData
	t.ICMPSnapped += c.ICMPSnapped
	t.UnknownLink += c.UnknownLink
	t.Backwards += c.Backwards
	t.ICMPStray += c.ICMPStray
	t.Connections += c.Connections
	t.LetGo += c.LetGo
	t.LetGoUnfinished += c.LetGoUnfinished
}
