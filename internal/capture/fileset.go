package capture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// member is a file of a file set.
type member struct {
	source Source
	first  int64 // time of the first packet
	empty  bool
	links  []string
	damage *pcapfile.DamageError // nothing of it can be read
}

// FileSet makes one capture of the files that a capturing program wrote one
// after the other, as tcpdump -C, -G and -W, dumpcap -b and tcpwhy capture --size
// do: Wireshark calls them a file set. It looks into each and orders them by their
// first packets. That none begins before the one ahead of it ends shows when they
// are read: the error is an *OverlapError then.
func FileSet(ctx context.Context, names []string) (Source, error) {
	s := Source{Name: "the file set", Again: true}
	for _, name := range names {
		m := member{source: FromFile(name, false)}
		if !m.source.Again {
			return s, fmt.Errorf("%s is no regular file, and the files of a set are looked into before they are read", strconv.QuoteToASCII(name))
		}
		var b pcapfile.Batch
		var damage *pcapfile.DamageError
		switch err := m.source.begin(ctx, &b); {
		case err == nil:
			m.first, m.links = b.Records[0].Time, links(&b)
		case err == io.EOF || errors.As(err, &damage):
			m.empty = true
		case hollow(name): // tcpdump without -U has begun it and written nothing yet
			m.empty, m.damage = true, &pcapfile.DamageError{What: "it is empty"}
		default:
			return s, err
		}
		s.set = append(s.set, m)
	}
	slices.SortStableFunc(s.set, func(a, b member) int {
		switch {
		case a.empty && b.empty:
			return 0
		case a.empty: // nothing tells where it belongs
			return 1
		case b.empty:
			return -1
		}
		return cmp.Compare(a.first, b.first)
	})
	return s, nil
}

func hollow(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Size() == 0
}

// OverlapError says that files of a set do not follow each other in time.
type OverlapError struct {
	// Next begins at least By before Name ends.
	Name, Next string
	By         time.Duration
}

// Error names both files.
func (e *OverlapError) Error() string {
	return fmt.Sprintf("%s and %s overlap in time: the second begins %s or more before the first ends",
		strconv.QuoteToASCII(e.Name), strconv.QuoteToASCII(e.Next), e.By.Round(time.Microsecond))
}

// Programs that capture with several threads or on several interfaces write
// packets a little out of order, also where one file ends and another begins.
// That much is no overlap: outOfOrder, or this part of the first file's time.
const (
	outOfOrder     = time.Second
	outOfOrderPart = 10
)

// setReader reads the files of a set as one capture. The numbers of the packets
// go on from file to file.
type setReader struct {
	set  []member
	in   *pcapfile.Reader // nil between two files
	last int64            // time of the last packet of in
	read []File           // what was read of each so far
	// starts are how many packets there are before each file.
	starts []uint64
	count  uint64
}

// Waits says that a read waits for nobody.
func (s *setReader) Waits() bool { return false }

// Close closes the file that is being read.
func (s *setReader) Close() error {
	if s.in == nil {
		return nil
	}
	err := s.in.Close()
	s.in = nil
	return err
}

// ReadBatch is that of pcapfile.Reader. A batch is of one file. Damage ends a
// file and not the set.
func (s *setReader) ReadBatch(ctx context.Context, b *pcapfile.Batch) error {
	for {
		for s.in == nil {
			if err := s.next(); err != nil {
				return err
			}
		}
		err := s.in.ReadBatch(ctx, b)
		if err == nil {
			return s.take(b)
		}
		f := &s.read[len(s.read)-1]
		if err != io.EOF && !errors.As(err, &f.Damage) {
			return fmt.Errorf("%s: %w", strconv.QuoteToASCII(f.Name), err)
		}
		if err := s.overlap(min(outOfOrder, f.Last.Sub(f.First)/outOfOrderPart)); err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
}

// next opens the next file, or passes by one that cannot be read.
func (s *setReader) next() (err error) {
	n := len(s.read)
	if n == len(s.set) {
		return io.EOF
	}
	m := &s.set[n]
	if m.damage == nil {
		if s.in, err = m.source.Open(); err != nil {
			return err
		}
	}
	s.read = append(s.read, File{Name: m.source.Name, Links: m.links, Damage: m.damage})
	s.starts = append(s.starts, s.count)
	return nil
}

// take counts a batch of the current file.
func (s *setReader) take(b *pcapfile.Batch) error {
	f := &s.read[len(s.read)-1]
	for i := range b.Records {
		at := tcpflow.Time(b.Records[i].Time)
		if f.Packets == 0 {
			f.First, f.Last = at, at
		}
		f.Packets++
		f.First, f.Last = min(f.First, at), max(f.Last, at)
	}
	b.First = s.count
	s.count += uint64(len(b.Records))
	s.last = b.Records[len(b.Records)-1].Time
	return s.overlap(outOfOrder)
}

// overlap compares the current file's last packet so far with the next file's
// first one.
func (s *setReader) overlap(allowed time.Duration) error {
	n := len(s.read)
	if n == len(s.set) || s.set[n].empty || s.read[n-1].Packets == 0 {
		return nil
	}
	if by := time.Duration(s.last - s.set[n].first); by > max(allowed, 0) {
		return &OverlapError{s.read[n-1].Name, s.set[n].source.Name, by}
	}
	return nil
}

// locate says in which of Files a packet of a source is, and its number there.
func (r *Result) locate(source int, number uint64) (file int, there uint64) {
	if r.starts == nil {
		return source, number
	}
	i, _ := slices.BinarySearch(r.starts, number) // the first that starts with it or later
	i = max(i-1, 0)
	return i, number - r.starts[i]
}

// InSequence says that there are several files, each read by itself, and none
// begins before another that began earlier has ended: they may be a file set.
func (r *Result) InSequence() bool {
	if r.starts != nil || len(r.Files) < 2 {
		return false
	}
	files := slices.Clone(r.Files)
	slices.SortStableFunc(files, func(a, b File) int { return cmp.Compare(a.First, b.First) })
	for i := range files {
		if files[i].Packets == 0 || i > 0 && files[i].First < files[i-1].Last {
			return false
		}
	}
	return true
}
