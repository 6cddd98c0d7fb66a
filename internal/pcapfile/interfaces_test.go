package pcapfile_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
)

// TestInterfaces: every packet has the name of the interface that its section
// describes, whatever the size of the batches.
func TestInterfaces(t *testing.T) {
	described := func(name string) []byte {
		return block(le, 1, u16(le, 1, 0), u32(le, 0), option(le, 9, []byte{9}), option(le, 2, []byte(name)), u32(le, 0))
	}
	file := join(
		section(le), described("eth0"), described("eth1\x00"),
		enhanced(le, 1, 1, "a"), enhanced(le, 0, 2, "b"),
		described("late"), enhanced(le, 2, 3, "c"),
		section(le), described("wlan0"), enhanced(le, 0, 4, "d"),
		block(le, 1, u16(le, 1, 0), u32(le, 0)), enhanced(le, 1, 5, "e"), // without a name
		section(le), described("bad\xff\x1b"+strings.Repeat("x", 2000)), enhanced(le, 0, 6, "f"),
	)
	want := []string{"eth1", "eth0", "late", "wlan0", "", "bad\x1b" + strings.Repeat("x", 1024-5)}
	for _, size := range []int{0, 1, 40, 100, 300} {
		r, err := pcapfile.NewReader(bytes.NewReader(file), pcapfile.ReadOptions{BatchBytes: size})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		names := map[int]string{}
		for b := new(pcapfile.Batch); r.ReadBatch(t.Context(), b) == nil; {
			rest := b.Interfaces
			for i := range b.Records {
				for len(rest) > 0 && rest[0].From <= i {
					names[rest[0].Number], rest = rest[0].Name, rest[1:]
				}
				got = append(got, names[b.Interface(&b.Records[i])])
			}
			for _, x := range rest {
				if x.From != len(b.Records) {
					t.Errorf("%q is described from record %d of %d on", x.Name, x.From, len(b.Records))
				}
				names[x.Number] = x.Name
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("in batches of %d:\n%.60q, want\n%.60q", size, got, want)
		}
		r.Close()
	}
}

// TestOnlyInterfaces: a file may describe interfaces without end, and without a
// packet.
func TestOnlyInterfaces(t *testing.T) {
	var file bytes.Buffer
	for i := range 10000 {
		file.Write(section(le))
		file.Write(block(le, 1, u16(le, 1, 0), u32(le, 0), option(le, 2, fmt.Appendf(nil, "eth%d", i)), u32(le, 0)))
	}
	file.Write(enhanced(le, 0, 1, "a"))
	r, err := pcapfile.NewReader(&file, pcapfile.ReadOptions{BatchBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b pcapfile.Batch
	if err := r.ReadBatch(t.Context(), &b); err != nil || len(b.Records) != 1 {
		t.Fatalf("%v, %d packets", err, len(b.Records))
	}
	if n := len(b.Interfaces); n > 200 || b.Interfaces[n-1].Name != "eth9999" {
		t.Errorf("%d descriptions, the last %+v", n, b.Interfaces[n-1])
	}
}

// TestManyInterfaces: a section may have more than a record has room to number,
// in either byte order and also in the obsolete packet block.
func TestManyInterfaces(t *testing.T) {
	for _, o := range []binary.ByteOrder{le, be} {
		var file bytes.Buffer
		file.Write(section(o))
		for i := range 300 {
			file.Write(block(o, 1, u16(o, 1, 0), u32(o, 0), option(o, 2, fmt.Appendf(nil, "eth%d", i)), option(o, 9, []byte{byte(i % 10)}), u32(o, 0)))
		}
		want := []int{299, 254, 255, 256, 0}
		for _, n := range want {
			file.Write(enhanced(o, uint32(n), 1, "a"))
		}
		file.Write(block(o, 2, u16(o, 298, 0), u32(o, 0, 1, 1, 1), []byte("a")))
		want = append(want, 298)
		r, err := pcapfile.NewReader(&file, pcapfile.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var b pcapfile.Batch
		if err := r.ReadBatch(t.Context(), &b); err != nil || len(b.Records) != len(want) || len(b.Interfaces) != 300 {
			t.Fatalf("%v, %d packets, %d interfaces", err, len(b.Records), len(b.Interfaces))
		}
		for i, n := range want {
			got := b.Interface(&b.Records[i])
			if got != n {
				t.Errorf("%v: packet %d is of interface %d, want %d", o, i+1, got, n)
				continue
			}
			if d := b.Interfaces[got]; d.Number != n || d.Name != fmt.Sprintf("eth%d", n) || d.Resolution != pcapfile.Resolution(n%10) {
				t.Errorf("%v: %+v", o, d)
			}
		}
	}
}

// TestClassicInterface: a classic capture has one, of the resolution that its
// magic number tells.
func TestClassicInterface(t *testing.T) {
	for magic, want := range map[uint32]pcapfile.Resolution{0xa1b2c3d4: pcapfile.Microseconds, 0xa1b23c4d: pcapfile.Nanoseconds, 0xa1b2cd34: pcapfile.Microseconds} {
		file := classic(be, magic)
		for range 9 {
			file = append(file, classicRecord(be, 1, 2, 3, "abcdefghabc")...)
		}
		r, err := pcapfile.NewReader(bytes.NewReader(file), pcapfile.ReadOptions{BatchBytes: 40})
		if err != nil {
			t.Fatal(err)
		}
		var got []pcapfile.Interface
		for b := new(pcapfile.Batch); r.ReadBatch(t.Context(), b) == nil; {
			got = append(got, b.Interfaces...)
		}
		if !slices.Equal(got, []pcapfile.Interface{{Resolution: want}}) {
			t.Errorf("%#x: %+v", magic, got)
		}
	}
}
