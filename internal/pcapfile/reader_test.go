package pcapfile_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
)

// read gives all records as text, and what ended the reading.
func read(t testing.TB, data []byte, o pcapfile.ReadOptions) ([]string, error) {
	t.Helper()
	r, err := pcapfile.NewReader(bytes.NewReader(data), o)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return drain(t, t.Context(), r)
}

func drain(t testing.TB, ctx context.Context, r *pcapfile.Reader) (out []string, err error) {
	t.Helper()
	var b pcapfile.Batch
	for {
		if err = r.ReadBatch(ctx, &b); err != nil {
			return out, err
		}
		if len(b.Records) == 0 {
			t.Fatal("a batch without packets")
		}
		if b.First != uint64(len(out)) {
			t.Errorf("batch begins with %d, %d were read", b.First, len(out))
		}
		for i := range b.Records {
			rec := &b.Records[i]
			out = append(out, fmt.Sprintf("%d if%d link%d dir%d orig%d at%d %x", rec.Time, rec.Iface, rec.Link, rec.Dir, rec.OrigLen, b.Offset+int64(rec.Off), b.Packet(rec)))
		}
	}
}

var (
	le binary.ByteOrder = binary.LittleEndian
	be binary.ByteOrder = binary.BigEndian
)

func u16(o binary.ByteOrder, v ...uint16) (b []byte) {
	for _, x := range v {
		b = append(b, 0, 0)
		o.PutUint16(b[len(b)-2:], x)
	}
	return
}

func u32(o binary.ByteOrder, v ...uint32) (b []byte) {
	for _, x := range v {
		b = append(b, 0, 0, 0, 0)
		o.PutUint32(b[len(b)-4:], x)
	}
	return
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func classic(o binary.ByteOrder, magic uint32) []byte {
	return join(u32(o, magic), u16(o, 2, 4), u32(o, 0, 0, 65535, 1))
}

func classicRecord(o binary.ByteOrder, sec, frac, orig uint32, data string) []byte {
	return join(u32(o, sec, frac, uint32(len(data)), orig), []byte(data))
}

func TestClassic(t *testing.T) {
	for _, o := range []binary.ByteOrder{le, be} {
		for magic, ns := range map[uint32]string{0xa1b2c3d4: "5000007000", 0xa1b23c4d: "5000000007"} {
			file := join(classic(o, magic), classicRecord(o, 5, 7, 99, "abc"), classicRecord(o, 6, 0, 0, "d"))
			got, err := read(t, file, pcapfile.ReadOptions{})
			want := []string{ns + " if0 link1 dir0 orig99 at40 616263", "6000000000 if0 link1 dir0 orig1 at59 64"}
			if err != io.EOF || strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("%v %x: %v, %v; want %v", o, magic, got, err, want)
			}
		}
		modified := join(classic(o, 0xa1b2cd34), u32(o, 5, 7, 1, 1), make([]byte, 8), []byte("x"))
		if got, err := read(t, modified, pcapfile.ReadOptions{}); err != io.EOF || len(got) != 1 || !strings.HasSuffix(got[0], "at48 78") {
			t.Errorf("%v, %v", got, err)
		}
	}
}

// block builds a pcapng block.
func block(o binary.ByteOrder, kind uint32, body ...[]byte) []byte {
	b := join(body...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	n := uint32(len(b) + 12)
	return join(u32(o, kind, n), b, u32(o, n))
}

func section(o binary.ByteOrder) []byte {
	return block(o, 0x0a0d0d0a, u32(o, 0x1a2b3c4d), u16(o, 1, 0), u32(o, 0xffffffff, 0xffffffff))
}

func enhanced(o binary.ByteOrder, iface uint32, t uint64, data string, options ...[]byte) []byte {
	n := uint32(len(data))
	pad := make([]byte, -n&3)
	return block(o, 6, u32(o, iface, uint32(t>>32), uint32(t), n, n), []byte(data), pad, join(options...))
}

func option(o binary.ByteOrder, code uint16, value []byte) []byte {
	return join(u16(o, code, uint16(len(value))), value, make([]byte, -len(value)&3))
}

func offset(o binary.ByteOrder, s int64) []byte {
	b := make([]byte, 8)
	o.PutUint64(b, uint64(s))
	return option(o, 14, b)
}

// nextGeneration is a file with everything the reader has to know or to skip.
func nextGeneration(o binary.ByteOrder) []byte {
	return join(
		section(o),
		block(o, 1, u16(o, 1, 0), u32(o, 0)),
		block(o, 1, u16(o, 101, 0), u32(o, 2), option(o, 2, []byte("lan")), option(o, 9, []byte{9}), offset(o, 100), u32(o, 0)),
		block(o, 1, u16(o, 276, 0), u32(o, 0), option(o, 9, []byte{0x80 | 10})),
		block(o, 5, u32(o, 0, 0, 0)),            // statistics
		block(o, 4, u32(o, 0)),                  // names
		block(o, 0x80001234, []byte("private")), // unknown
		enhanced(o, 0, 5_000_001, "abcde", option(o, 1, []byte("a comment")), option(o, 2, u32(o, 1)), u32(o, 0)),
		enhanced(o, 1, 7, "fg", option(o, 2, u32(o, 0x202))),
		enhanced(o, 2, 3<<10+512, "h"),
		block(o, 3, u32(o, 9), []byte("simple789")),
		block(o, 2, u16(o, 0, 3), u32(o, 0, 6_000_000, 3, 77), []byte("old")),
	)
}

func TestNextGeneration(t *testing.T) {
	want := []string{
		"5000001000 if0 link1 dir1 orig5 6162636465",
		"100000000007 if1 link101 dir2 orig2 6667",
		"3500000000 if2 link276 dir0 orig1 68",
		"3500000000 if0 link1 dir0 orig9 73696d706c65373839",
		"6000000000 if0 link1 dir0 orig77 6f6c64",
	}
	two := join(nextGeneration(le), nextGeneration(be), nextGeneration(le))
	for _, size := range []int{0, 1, 50, 200} {
		got, err := read(t, two, pcapfile.ReadOptions{BatchBytes: size})
		if err != io.EOF || len(got) != 3*len(want) {
			t.Fatalf("%v, %v", got, err)
		}
		for i, g := range got {
			f := strings.Fields(g)
			if g = strings.Join(append(f[:5:5], f[6]), " "); g != want[i%len(want)] {
				t.Errorf("packet %d: %s, want %s", i, g, want[i%len(want)])
			}
		}
	}
}

func TestClocks(t *testing.T) {
	for _, c := range []struct {
		res  byte
		in   uint64
		want string
	}{
		{0, 7, "7000000000"}, {3, 7, "7000000"}, {9, 7, "7"}, {12, 7999, "7"}, {40, 1, "0"},
		{0x80, 7, "7000000000"}, {0x80 | 1, 3, "1500000000"}, {0x80 | 32, 5<<32 + 1<<31, "5500000000"}, {0x80 | 127, 1, "0"},
	} {
		got, err := read(t, join(section(le), block(le, 1, u16(le, 1, 0), u32(le, 0), option(le, 9, []byte{c.res})), enhanced(le, 0, c.in, "x")), pcapfile.ReadOptions{})
		if err != io.EOF || len(got) != 1 || !strings.HasPrefix(got[0], c.want+" ") {
			t.Errorf("resolution %#x: %v, %v, want %s", c.res, got, err, c.want)
		}
	}
}

// Damage is named with its place, and what comes before it is read.
func TestDamage(t *testing.T) {
	pcap := join(classic(le, 0xa1b2c3d4), classicRecord(le, 1, 0, 3, "abc"))
	ng := join(section(le), block(le, 1, u16(le, 1, 0), u32(le, 0)), enhanced(le, 0, 0, "abcd"))
	for _, c := range []struct {
		name   string
		file   []byte
		offset int64
		what   string
	}{
		{"cut in a record header", join(pcap, []byte{1, 2, 3}), 43, "it ends within the header of a packet, after 3 of 16 bytes"},
		{"cut in a packet", join(pcap, classicRecord(le, 1, 0, 9, "abcdefghi")[:20]), 43, "it ends within a packet, after 4 of 9 bytes"},
		{"impossible length", join(pcap, u32(le, 1, 0, 0xfffffff0, 0xfffffff0), make([]byte, 100)), 43, "a packet of 4294967280 bytes"},
		{"cut in a block", join(ng, enhanced(le, 0, 0, "x")[:20]), 84, "it ends within a block, after 20 of 36 bytes"},
		{"odd block length", join(ng, u32(le, 6, 37), make([]byte, 37)), 84, "a block of 37 bytes"},
		{"huge block", join(ng, u32(le, 5, 1<<31), make([]byte, 37)), 84, "a block of 2147483648 bytes"},
		{"lengths differ", join(ng, u32(le, 5, 16, 0, 20)), 84, "16 at its beginning and 20 at its end"},
		{"unknown interface", join(ng, enhanced(le, 7, 0, "x")), 84, "interface 7"},
		{"packet beyond its block", join(ng, block(le, 6, u32(le, 0, 0, 0, 500, 500))), 84, "a packet of 500 bytes in a block that has 0"},
		{"another version", join(ng, block(le, 0x0a0d0d0a, u32(le, 0x1a2b3c4d), u16(le, 9, 0), u32(le, 0, 0))), 84, "version 9"},
		{"no byte order", join(ng, u32(le, 0x0a0d0d0a, 28, 5, 0, 0, 0, 28)), 84, "byte-order magic"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := read(t, c.file, pcapfile.ReadOptions{})
			var d *pcapfile.DamageError
			if !errors.As(err, &d) || d.Offset != c.offset || !strings.Contains(d.What, c.what) || len(got) != 1 {
				t.Errorf("%v after %v, want byte %d: %s", err, got, c.offset, c.what)
			}
		})
	}
}

func TestNoCapture(t *testing.T) {
	for _, file := range []string{"", "ab", "hello, world", "\xd4\xc3\xb2\xa1\x02\x00"} {
		if _, err := pcapfile.NewReader(strings.NewReader(file), pcapfile.ReadOptions{}); !errors.Is(err, pcapfile.ErrFormat) {
			t.Errorf("%q: %v", file, err)
		}
	}
}

func compressed(t testing.TB, data []byte) map[string][]byte {
	t.Helper()
	var g, z, l bytes.Buffer
	gw, lw := gzip.NewWriter(&g), lz4.NewWriter(&l)
	zw, err := zstd.NewWriter(&z)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{gw, zw, lw} {
		_, err := w.Write(data)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return map[string][]byte{"gzip": g.Bytes(), "zstd": z.Bytes(), "lz4": l.Bytes()}
}

func TestCompressed(t *testing.T) {
	file := classic(le, 0xa1b2c3d4)
	for i := range 5000 {
		file = append(file, classicRecord(le, uint32(i), 0, 200, fmt.Sprint("packet ", i, i*7))...)
	}
	want, err := read(t, file, pcapfile.ReadOptions{})
	if err != io.EOF || len(want) != 5000 {
		t.Fatal(len(want), err)
	}
	for name, data := range compressed(t, file) {
		got, err := read(t, data, pcapfile.ReadOptions{})
		if err != io.EOF || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: %d packets, %v", name, len(got), err)
		}
		got, err = read(t, data[:len(data)*2/3], pcapfile.ReadOptions{})
		if d := (*pcapfile.DamageError)(nil); !errors.As(err, &d) || len(got) > 5000 {
			t.Errorf("%s cut short: %d packets, %v", name, len(got), err)
		}
		for again, twice := range compressed(t, data) {
			if _, err := read(t, twice, pcapfile.ReadOptions{}); !errors.Is(err, pcapfile.ErrFormat) {
				t.Errorf("%s in %s: %v", name, again, err)
			}
		}
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := pcapfile.Open(path, pcapfile.ReadOptions{Follow: true}); err == nil {
			r.Close()
			t.Errorf("%s is followed", name)
		}
	}
}

// A stream gives its packets as they come, not when a batch is full.
func TestStream(t *testing.T) {
	pr, pw := io.Pipe()
	defer pw.Close()
	written := make(chan error, 1)
	go func() {
		_, err := pw.Write(join(classic(le, 0xa1b2c3d4), classicRecord(le, 1, 0, 1, "x"), []byte{9}))
		written <- err
	}()
	r, err := pcapfile.NewReader(pr, pcapfile.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var b pcapfile.Batch
	if err := r.ReadBatch(t.Context(), &b); err != nil || len(b.Records) != 1 {
		t.Errorf("%d records, %v", len(b.Records), err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

func TestFollowShortened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pcap")
	if err := os.WriteFile(path, join(classic(le, 0xa1b2c3d4), classicRecord(le, 1, 0, 1, "x")), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := pcapfile.Open(path, pcapfile.ReadOptions{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b pcapfile.Batch
	if err := r.ReadBatch(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 10); err != nil {
		t.Fatal(err)
	}
	if err := r.ReadBatch(t.Context(), &b); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Error(err)
	}
}

func TestOpenErrors(t *testing.T) {
	if _, err := pcapfile.Open(t.TempDir(), pcapfile.ReadOptions{}); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Error(err)
	}
	if _, err := pcapfile.Open(filepath.Join(t.TempDir(), "none"), pcapfile.ReadOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// However small the packets are, and however large the batch, a batch has a
// bounded number of them, also behind a packet that is larger than the batch.
func TestMaxRecords(t *testing.T) {
	many := bytes.Repeat(classicRecord(le, 1, 2, 0, ""), 3*pcapfile.MaxRecords)
	large := classicRecord(le, 1, 2, 3, strings.Repeat("x", 5<<20))
	data := join(classic(le, 0xa1b2c3d4), many, large, many)
	r, err := pcapfile.NewReader(bytes.NewReader(data), pcapfile.ReadOptions{BatchBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	var b pcapfile.Batch
	n := 0
	for err == nil {
		if err = r.ReadBatch(t.Context(), &b); len(b.Records) > pcapfile.MaxRecords {
			t.Fatalf("%d records in a batch", len(b.Records))
		}
		n += len(b.Records)
	}
	if err != io.EOF || n != 6*pcapfile.MaxRecords+1 {
		t.Errorf("%d packets, %v", n, err)
	}
}

// What the writer of this package writes is read, too.
func TestOwnFiles(t *testing.T) {
	var b bytes.Buffer
	write(t, &b)
	if got, err := read(t, b.Bytes(), pcapfile.ReadOptions{}); err != io.EOF || len(got) != len(packets()) {
		t.Errorf("%v, %v", got, err)
	}
}

// FuzzRead holds the reader to its promises for any bytes: an end, memory by
// what is there, records within their batch, the same whatever the batch.
func FuzzRead(f *testing.F) {
	pcap := join(classic(be, 0xa1b23c4d), classicRecord(be, 1, 2, 3, "abc"))
	f.Add(pcap)
	f.Add(nextGeneration(le))
	f.Add(join(nextGeneration(be), nextGeneration(le)))
	for _, z := range compressed(f, pcap) {
		f.Add(z)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		// What is compressed may be large once it is not.
		want, end := bounded(t, data, 0)
		got, again := bounded(t, data, 7)
		if strings.Join(want, "\n") != strings.Join(got, "\n") || fmt.Sprint(end) != fmt.Sprint(again) {
			t.Errorf("%d packets and %v in one batch, %d and %v in small ones", len(want), end, len(got), again)
		}
	})
}

func bounded(t *testing.T, data []byte, size int) (out []string, err error) {
	r, err := pcapfile.NewReader(bytes.NewReader(data), pcapfile.ReadOptions{BatchBytes: size})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var b pcapfile.Batch
	for range 2000 {
		if err = r.ReadBatch(t.Context(), &b); err != nil {
			return out, err
		}
		for i := range b.Records {
			if len(out) == 2000 {
				return out, nil
			}
			rec := &b.Records[i]
			out = append(out, fmt.Sprintf("%+v %d %x", rec.Time, b.Interface(rec), b.Packet(rec)))
		}
	}
	return out, nil
}
