package pcapfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"
)

// ReadOptions of Open and NewReader.
type ReadOptions struct {
	// Follow waits at the end of a file for more, until the context given to
	// ReadBatch ends.
	Follow bool
	// BatchBytes is how much is read for a batch; 0 takes 256 KiB, which the
	// second-level cache of a processor holds, and more than 1 MiB takes that.
	// Larger packets are read, too.
	BatchBytes int
}

// MaxRecords is how many records a batch has at most. A record takes 16 bytes of
// it, and only a single one makes a batch larger than asked for.
const MaxRecords = largestBatch / 16

const (
	defaultBatch = 256 << 10
	largestBatch = 1 << 20
	// maxPacket bounds a packet, maxBlock another block of pcapng. libpcap
	// takes 256 KiB from Ethernet and 128 MiB from D-Bus.
	maxPacket = 16 << 20
	maxBlock  = 64 << 20
	// poll is how often a file that grows is looked at.
	poll = 50 * time.Millisecond
)

// DamageError says where a capture stops making sense. What comes before it
// has been read.
type DamageError struct {
	// Offset of the damage in bytes from the start of the capture, of the
	// decompressed one where it is compressed.
	Offset int64
	What   string
}

// Error names the damage and its place.
func (e *DamageError) Error() string {
	return fmt.Sprintf("the capture is damaged at byte %d: %s", e.Offset, e.What)
}

// Record is a packet in a batch.
type Record struct {
	Time int64 // ns since 1970
	// Off is where the captured bytes begin in Batch.Data.
	Off uint32
	// CapLen is how many were captured, OrigLen how many the packet had.
	CapLen, OrigLen uint32
	// Link is a LINKTYPE_ value, https://www.tcpdump.org/linktypes.html.
	Link uint16
	// Dir is what the file says about the direction.
	Dir Direction
	// Iface is the number of the interface in its section of a pcapng file;
	// 255 stands for all from there on, which Batch.Interface tells apart.
	Iface uint8
}

// manyInterfaces is the Record.Iface that stands for several.
const manyInterfaces = math.MaxUint8

// Direction of a packet as seen by the capturing host.
type Direction uint8

// The directions, as in epb_flags.
const (
	DirUnknown Direction = iota
	DirIn
	DirOut
)

// Batch is a run of consecutive packets. Its memory is used anew by the next
// ReadBatch into it.
type Batch struct {
	Data    []byte
	Records []Record
	// First is the number of the first record in the capture, from 0.
	First uint64
	// Offset is where Data begins in the (decompressed) capture.
	Offset int64
	// Interfaces are those that the file describes in between, in order.
	Interfaces []Interface
}

// Interface is one that a file describes, a classic capture by its header.
type Interface struct {
	// From is the first record of the batch that the description may be for, the
	// number of records where it comes behind them all. It holds until another of
	// the same Number, which is that of Batch.Interface, follows.
	From   int
	Number int
	// Name is if_name, "" without; valid UTF-8 of at most 1024 bytes.
	Name string
	// Resolution is that of the times.
	Resolution Resolution
}

// Packet gives the captured bytes of a record.
func (b *Batch) Packet(r *Record) []byte {
	return b.Data[r.Off : r.Off+r.CapLen : r.Off+r.CapLen]
}

// Interface gives the number of a record's interface in its section.
func (b *Batch) Interface(r *Record) int {
	if r.Iface < manyInterfaces {
		return int(r.Iface)
	}
	return packetInterface(b.Data[:r.Off])
}

// format reads the records of one kind of file.
type format interface {
	// parse appends the whole records at the beginning of data to recs and
	// says how many bytes it took. What is missing for the next record is in
	// want, at least; damage is at offset n of data.
	parse(data []byte, recs []Record) (out []Record, n, want int, damage string)
	// rest says in words what data, which ends too early, is the beginning of.
	rest(data []byte) string
	// described appends the interfaces described since the last call.
	described(to []Interface) []Interface
}

// Reader reads captures: pcap and pcapng, plain or compressed by gzip, zstd or
// LZ4. It is not safe for concurrent use.
type Reader struct {
	src     io.Reader
	close   []func() error
	file    *os.File // that grows
	full    bool     // reads may wait until a batch is full
	unpacks bool     // the source is compressed
	batch   int
	format  format
	tail    []byte // read, and not parsed yet
	offset  int64  // of tail in the capture
	count   uint64
	err     error // what the next call returns
}

// Open opens a capture file; "-" is standard input.
func Open(path string, o ReadOptions) (*Reader, error) {
	if path == "-" {
		return NewReader(os.Stdin, o)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open capture: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a directory; name a capture file in it", path)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open capture: %w", err)
	}
	r, err := newReader(f, o, info.Mode().IsRegular())
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r.close = append(r.close, f.Close)
	if o.Follow && info.Mode().IsRegular() {
		r.file, r.full = f, false
	}
	return r, nil
}

// NewReader reads a capture from a stream, packets as they come.
func NewReader(src io.Reader, o ReadOptions) (*Reader, error) {
	return newReader(src, o, false)
}

func newReader(src io.Reader, o ReadOptions, full bool) (*Reader, error) {
	r := &Reader{src: src, full: full, batch: o.BatchBytes}
	if r.batch <= 0 {
		r.batch = defaultBatch
	}
	r.batch = min(r.batch, largestBatch)
	if err := r.begin(o.Follow); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Close frees what the reader holds, and closes a file that Open opened.
func (r *Reader) Close() error {
	var err error
	for _, c := range r.close {
		err = errors.Join(err, c())
	}
	r.close = nil
	return err
}

// Waits tells whether ReadBatch may wait for whoever writes the capture: a
// stream, or a file that grows.
func (r *Reader) Waits() bool { return !r.full }

// ReadBatch fills b with the next packets, one at least. At the end of the
// capture it returns io.EOF, or a *DamageError once what comes before has been
// returned. When ctx ends it returns its error, or io.EOF where a file that
// grows is followed: that is how the following ends.
func (r *Reader) ReadBatch(ctx context.Context, b *Batch) error {
	b.Records, b.First, b.Offset = b.Records[:0], r.count, r.offset
	b.Interfaces = b.Interfaces[:0]
	b.Data = append(b.Data[:0], r.tail...)
	r.tail = r.tail[:0]
	if r.err != nil {
		return r.err
	}
	for want := 1; ; {
		err := r.fill(ctx, b, want)
		recs, n, missing, damage := r.format.parse(b.Data, b.Records)
		b.Records = recs
		b.Interfaces = r.format.described(b.Interfaces)
		switch {
		case damage != "":
			err = &DamageError{r.offset + int64(n), damage}
		case err == io.EOF && n < len(b.Data) && r.file == nil:
			err = &DamageError{r.offset + int64(n), "it ends within " + r.format.rest(b.Data[n:])}
		}
		if err != nil || len(recs) > 0 {
			r.take(b, n, err)
			if len(recs) > 0 {
				return nil
			}
			return err
		}
		if n > 0 { // blocks without packets
			b.Data = b.Data[:copy(b.Data, b.Data[n:])]
			b.Interfaces = current(b.Interfaces) // there may be no end to them
			r.offset += int64(n)
			b.Offset = r.offset
		}
		want = missing
	}
}

// current leaves the last description of each number.
func current(all []Interface) []Interface {
	seen := make([]bool, maxInterfaces)
	slices.Reverse(all)
	all = slices.DeleteFunc(all, func(i Interface) bool {
		again := seen[i.Number]
		seen[i.Number] = true
		return again
	})
	slices.Reverse(all)
	return all
}

// take keeps what is left of a batch of which n bytes are done.
func (r *Reader) take(b *Batch, n int, err error) {
	r.tail = append(r.tail[:0], b.Data[n:]...)
	r.offset += int64(n)
	r.count += uint64(len(b.Records))
	r.err = err
}

// fill reads more, at least the bytes wanted.
func (r *Reader) fill(ctx context.Context, b *Batch, want int) error {
	room := max(want, r.batch-len(b.Data))
	// A length in the file is believed only as far as there is something.
	room = min(room, max(r.batch, len(b.Data)))
	have := len(b.Data)
	if cap(b.Data)-have < room {
		b.Data = append(make([]byte, 0, have+room), b.Data...)
	}
	for got := 0; got < room; {
		if ctx.Err() != nil {
			return r.ended(ctx)
		}
		n, err := r.src.Read(b.Data[have+got : have+room])
		got += n
		b.Data = b.Data[:have+got]
		switch {
		case err == io.EOF && r.file != nil && got == 0:
			if err := r.wait(ctx); err != nil {
				return err
			}
		case err != nil:
			return r.failed(err, int64(len(b.Data)))
		case n > 0 && !r.full:
			return nil
		}
		if got > 0 && !r.full {
			return nil
		}
	}
	return nil
}

// failed tells the end and damage of the compression from failure to read.
func (r *Reader) failed(err error, have int64) error {
	var read *os.PathError
	switch {
	case err == io.EOF:
		return io.EOF
	case errors.As(err, &read) || !r.unpacks:
		return fmt.Errorf("read capture: %w", err)
	}
	return &DamageError{r.offset + have, "decompression: " + err.Error()}
}

func (r *Reader) ended(ctx context.Context) error {
	if r.file != nil {
		return io.EOF
	}
	return context.Cause(ctx)
}

// wait lets time pass at the end of a file that grows.
func (r *Reader) wait(ctx context.Context) error {
	info, err := r.file.Stat()
	if err != nil {
		return fmt.Errorf("follow capture: %w", err)
	}
	at, err := r.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("follow capture: %w", err)
	}
	if info.Size() < at {
		return fmt.Errorf("follow capture: the file has become shorter (%d bytes, %d were read); follow the new one anew", info.Size(), at)
	}
	t := time.NewTimer(poll)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return io.EOF
	}
}
